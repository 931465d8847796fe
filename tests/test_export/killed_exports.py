"""Kills exports with SIGKILL before every rename and compares what a second run makes of the remains.

Started by test_images.py in a process of its own: each run is a fork of this one, which has imported everything and has no
threads yet. Prints one JSON object.
"""

import json
import os
import signal
import sys
from pathlib import Path

from mmdel.export import export_images
from mmdel.subset import Subset


def run(subset: Path, pool: Path, out: Path, die_at: int = -1) -> int:
    """Export in a fork; returns how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left, replace = [die_at], os.replace

    def dying(*names: object) -> None:
        left[0] -= 1
        if left[0] == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)

    os.replace = dying
    exported = export_images(Subset.read(subset), pool, out, workers=2)
    os._exit(1 if exported.problems else 0)


def remains(out: Path) -> dict[str, bytes]:
    """All files but the state of the export."""
    files = [path for path in sorted(out.rglob('*')) if path.is_file() and '.export' not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def main(subset: Path, pool: Path, outs: Path) -> None:
    run(subset, pool, outs / 'whole')
    expected = remains(outs / 'whole')
    kills, different = 0, []
    for step in range(100):
        out = outs / str(step)
        if run(subset, pool, out, step) == 0:
            break
        kills += 1
        again = run(subset, pool, out)
        if again or remains(out) != expected or list((out / '.export' / 'staging').iterdir()):
            different.append(step)
    print(json.dumps({'kills': kills, 'different': different, 'files': len(expected)}))


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))

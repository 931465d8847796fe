"""Kills writers of one store with SIGKILL at every step, and looks at what is left.

Started by test_decoded_store.py in a process of its own: each writer is a fork of this one, which has no threads. Prints one JSON
object.
"""

import builtins
import json
import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mmdel.datasets import decoded_store
from mmdel.datasets.decoded_store import DecodedStore

ENTRIES = 6
LIMIT = 5 * 3 * 4096


def values(number: int) -> dict[str, Any]:
    return {'img': np.full((64, 128), number, np.uint8), 'ori_shape': (64, 128)}


def fill(store: DecodedStore) -> None:
    for number in range(ENTRIES):
        if store.get(f'entry{number}', []) is None:
            store.put(f'entry{number}', [], values(number))


def write(folder: Path, kill_at: int) -> int:
    """Write all entries in a fork, which is killed before its n-th step; returns how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [kill_at]

    def counted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    class Opened:
        def __init__(self, path: Any, mode: str) -> None:
            self.file = builtins.open(path, mode, buffering=0)  # noqa: SIM115  closed by __exit__

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            self.file.close()

        truncate = property(lambda self: counted(self.file.truncate))

        def writelines(self, parts: list[bytes]) -> None:
            for part in parts:
                counted(self.file.write)(part)

    decoded_store.open = Opened  # type: ignore[attr-defined]
    os.replace = counted(os.replace)
    store = DecodedStore(str(folder), LIMIT)
    fill(store)
    os._exit(0)


def main(folder: Path) -> None:
    kills, wrong = 0, []
    for step in range(1000):
        if write(folder, step) == 0:
            break
        kills += 1
        write(folder, step // 2)
        store = DecodedStore(str(folder), LIMIT)
        for number in range(ENTRIES):
            found = store.get(f'entry{number}', [])
            if found is not None and not (found['img'] == number).all():
                wrong.append([step, number])
        if sum(path.stat().st_size for path in folder.glob('??/*')) > LIMIT:
            wrong.append([step, 'above the limit'])
        # whoever comes next fills what room there is, whatever the killed ones had taken
        fill(store)
        kept = [number for number in range(ENTRIES) if store.get(f'entry{number}', []) is not None]
        if len(kept) != 5 or store.used() > LIMIT or list(folder.glob('??/.*')):
            wrong.append([step, kept])
        shutil.rmtree(folder)
    print(json.dumps({'kills': kills, 'wrong': wrong}))


if __name__ == '__main__':
    # what is said goes to the log
    logging.disable()
    main(Path(sys.argv[1]) / 'store')

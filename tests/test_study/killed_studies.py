"""Not a test: one process that imports everything once, and forks studies that are killed at chosen moments.

    python killed_studies.py FOLDER MOMENTS

MOMENTS are words like rename:7 (before the 7th file is renamed to its name) and call:3 (in the middle of the 3rd tool). Prints
one JSON object: what became of each. ``test_killed.py`` reads it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import little_study

from mmdel.study import make_plan, read_study
from mmdel.study.execute import execute

PLAIN_REPLACE = os.replace


def fork(root, arm=lambda: None):
    """Run the study in a child; returns 'exit N' or 'killed'."""
    child = os.fork()
    if not child:
        try:
            arm()
            execute(make_plan(read_study(str(root / 'study.py'))), root / 'tools', jobs=2)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return 'killed' if killed else f'exit {os.WEXITSTATUS(status)}'


def die_before_rename(count):
    """In the child: SIGKILL between writing a file and renaming it, at the count-th file."""
    left = [count]

    def replace(*arguments):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        PLAIN_REPLACE(*arguments)

    os.replace = replace


def alive(root):
    """Command lines of this study's tools that still run."""
    lines = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().decode(errors='replace'))
    return [line for line in lines if f'{root}/tools' in line]


def outcome(root):
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in little_study.tables(root).items()}
    return {'tables': digests, 'calls': len(little_study.calls(root)), 'left': [str(p) for p in root.rglob('*.tmp')]}


def main():
    base, moments = Path(sys.argv[1]), sys.argv[2:]
    found = {}
    root = base / 'study'  # the same place each time: a config may hold a path, a result may not
    for moment in ('plain', *moments):
        root.mkdir(parents=True)
        little_study.write_little_study(root)
        if moment == 'plain':
            first = fork(root)
        else:
            kind, count = moment.split(':')
            if kind == 'call':
                little_study.order(root, 'kill', count)
            first = fork(
                root, (lambda count=count: die_before_rename(int(count))) if kind == 'rename' else lambda: None
            )
        time.sleep(0.1)
        alone = not alive(root)
        then = fork(root) if first == 'killed' else first
        found[moment] = {'first': first, 'alone': alone, 'then': then, **outcome(root)}
        shutil.rmtree(root)
    print('RESULT ' + json.dumps(found))


if __name__ == '__main__':
    main()

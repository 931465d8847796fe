"""The name of a work dir, where none is given: the config's, and what on the command line makes this run another one."""

import argparse
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from mmdel.config.shipped import LIBRARIES, part_label

SOURCES = ('images', 'dataset_from', 'embeddings')
NOT_THE_QUESTION = (
    *('config', 'work_dir', 'cache_dir', 'update', 'device', 'overwrite', 'report', 'launcher', 'list_skipped', 'json'),
)
"""Options that another result does not come from."""

LONGEST_NAME = 120
"""Bytes of the name of a work dir, before the digits that tell it apart."""


def default_work_dir(args: argparse.Namespace) -> str:
    """Of an update it is the old name with a number.

    Six digits at the end stand for what has no short name: whole paths, and lists of options.
    """
    if args.update:
        old = Path(args.update).resolve()
        name = (old if old.is_dir() else old.parent).name
        before, _, number = name.rpartition('-update')
        again = before and number.isdigit()
        return str(Path('work_dirs') / f'{before if again else name}-update{int(number) + 1 if again else 1}')
    asked = {
        name: value
        for name, value in vars(args).items()
        if value is not None and value is not False and name not in NOT_THE_QUESTION
    }
    changes = sorted(each for each in asked.pop('cfg_options', ()) if each.partition('=')[0] not in NOT_THE_QUESTION)
    asked |= {'cfg_options': changes} if changes else {}
    parts = [Path(args.config).stem, *(_readable(asked[name]) for name in SOURCES if name in asked)]
    parts += [f'videos-{args.videos}'] if args.videos else []
    parts += [part_label(name) for name in (args.encoder, args.selector) if name]
    parts += [f'{name}{asked.pop(name)}' for name in ('eta', 'ratio') if name in asked]
    for name in ('videos', 'encoder', 'selector'):
        asked_for = str(asked.get(name))
        if not asked_for.endswith('.py') and not os.path.exists(asked_for.partition(':')[2]):
            asked.pop(name, None)
    name = re.sub(r'[^\w.+=-]+', '_', '-'.join(parts))
    if asked or len(name.encode()) > LONGEST_NAME:
        text = json.dumps([name, {option: _absolute(value) for option, value in asked.items()}], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        name = f'{name.encode()[:LONGEST_NAME].decode(errors="ignore")}-{digest}'
    return str(Path('work_dirs') / name)


def _readable(source: str | list[str]) -> str:
    """What a source is called in the name of a work dir."""
    path = Path(source if isinstance(source, str) else source[0]).resolve()
    return path.name if path.is_dir() else path.stem


def _absolute(value: Any) -> Any:
    """An option with its paths as they are the same from every folder."""
    if isinstance(value, list):
        return [_absolute(each) for each in value]
    if not isinstance(value, str):
        return value
    kind, _, rest = value.partition(':')
    if kind in LIBRARIES and os.path.exists(rest):
        return f'{kind}:{os.path.realpath(rest)}'
    return os.path.realpath(value) if os.path.exists(value) else value

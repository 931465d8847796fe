"""Lists of images as text files, one a line, that other programs read."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc

from mmdel.blocks import BLOCK
from mmdel.files import atomic

SUFFIX = re.compile(r'\.([A-Za-z][A-Za-z0-9]{0,4})')
"""What counts as the ending of a file: other dots are part of a name, as in ``1.2.840.10008``."""


def write_lists(folder: Path, images: pa.Table, classes: Sequence[str]) -> list[Path]:
    """Write ``keep.txt``, ``keep_labels.txt`` (where every image has a label) and for each ending ``keep_stems.<suffix>.txt``.

    Args:
        folder (Path): Where they go; lists that are not written now are removed from it.
        images (pa.Table): ``image`` and ``label``, both text.
        classes (Sequence[str]): Names of the labels; a label is written as its place among them.

    Returns:
        list[Path]: The files written.
    """
    number = pc.index_in(images['label'], pa.array(classes, pa.string()))
    labelled = len(images) > 0 and number.null_count == 0
    with ExitStack() as stack:
        lists: dict[str, TextIO] = {}

        def write(name: str, lines: Iterable[str]) -> None:
            if name not in lists:
                temporary = stack.enter_context(atomic(folder / name))
                lists[name] = stack.enter_context(open(temporary, 'w', encoding='utf-8', newline='\n'))
            lists[name].writelines(line + '\n' for line in lines)

        write('keep.txt', ())
        for batch in pa.table({'image': images['image'], 'number': number}).to_batches(BLOCK):
            keys = batch['image'].to_pylist()
            write('keep.txt', keys)
            if labelled:
                numbers = batch['number'].to_pylist()
                write('keep_labels.txt', (f'{key} {place}' for key, place in zip(keys, numbers, strict=True)))
            stems: dict[str, list[str]] = {}
            for stem, ending in map(os.path.splitext, keys):
                if suffix := SUFFIX.fullmatch(ending):
                    stems.setdefault(suffix[1], []).append(stem)
            for name, lines in stems.items():
                write(f'keep_stems.{name}.txt', lines)
    for old in folder.glob('keep*.txt'):
        if old.name not in lists:
            old.unlink()
    return [folder / name for name in lists]

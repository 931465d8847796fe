"""The catalogue as a page for people; ``docs/datadel.md`` is this page."""

from collections.abc import Sequence

from mmdel.datadel.catalog import CATALOG
from mmdel.datadel.catalog_entry import Entry

HOW_TO = """\
# DataDEL: the fourteen datasets

After this page you can lay out, check and split whatever part of DataDEL you have downloaded.

This page is written by `python tools/prepare_datadel.py --list --format markdown > docs/datadel.md`.

Download what you want from the official pages below into one folder; unpacked or as the archives that the pages hand out,
zip or tar, under any outer folder names. Then

    python tools/prepare_datadel.py --raw downloads --out data/datadel

recognises the datasets, checks every file, brings each into the canonical layout and prints what is complete and what is missing.
The downloads are never changed. By default files on disk are linked (symbolic, relative links), with `--copy` they are
copied; files in archives are written out. A second run does nothing, and a run that was killed goes on where it stopped.

| What | Where |
|---|---|
| pre-training sets, in their native tree, videos included | `data/datadel/<id>/` |
| downstream sets | `data/datadel/<id>/images`, `masks`, `train.txt`, `val.txt`, `test.txt`, `splits.json` |
| every file that was left out, and why | `data/datadel/ledger/<id>.csv` |

    python tools/prepare_datadel.py --out data/datadel --verify            # look at all of it again, pixel by pixel
    python tools/prepare_datadel.py --raw downloads --out data/datadel --only kvasir-seg edd2020
    python tools/prepare_datadel.py --raw downloads --download kvasir-seg  # where the publisher has a direct link; asks first

In configs `mmdel.DataDEL(data_root='data/datadel', sources=('pretraining',))` reads the pre-training sets that are there, and
with `videos='1fps'` frames of their videos ([videos.md](videos.md)). Images of the downstream sets are refused for pre-training
unless `allow_downstream=True` says that they are meant.

The licence column gives the meaning of the terms in a few words; the page is what counts. mmdel hands out no images.
"""


def markdown() -> str:
    """The whole page."""
    blocks = [HOW_TO]
    for division, title in (('pretraining', 'Model pre-training'), ('downstream', 'Model downstream testing')):
        entries = [entry for entry in CATALOG.values() if entry.division == division]
        blocks.append(f'## {title}\n\nThe numbers of Table 1; what the sources say is below.\n\n{_table(entries)}')
        blocks += [_section(entry) for entry in entries]
    return '\n'.join(blocks)


def amounts(numbers: dict[str, int]) -> str:
    """Numbers with what they count."""
    return ', '.join(f'{number:,} {what}' for what, number in numbers.items())


# --- private


def _table(entries: Sequence[Entry]) -> str:
    lines = [
        '| id | Dataset | Task | Centres | Videos | Frames | Disease | Licence |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for entry in entries:
        centres = 'not mentioned' if entry.centres is None else f'{entry.centres}'
        videos = f'{entry.videos:,}' if entry.videos else 'none'
        lines.append(
            f'| `{entry.id}` | {entry.name} | {entry.task} | {centres} | {videos} | {entry.frames:,} | {entry.disease} '
            f'| {entry.licence} |'
        )
    return '\n'.join(lines) + '\n'


def _section(entry: Entry) -> str:
    lines = [
        f'### {entry.name}',
        '',
        f'- Page: <{entry.page}>',
        f'- Archives: {", ".join(f"`{name}`" if " " not in name else name for name in entry.archives)}',
        f'- Read by: `{entry.dataset}`',
        f'- The source holds: {amounts(entry.expected)}',
        f'- Cite: {entry.citation}',
        *(f'- Native form: `{form}`' for form in entry.layout),
    ]
    for link in entry.links:
        size = f', {link.size:,} bytes' if link.size else ''
        contents = f', {link.contents}' if link.contents else ''
        lines.append(f'- Direct link: <{link.url}>{size}{contents}')
    return '\n'.join([*lines, *(f'- {note}' for note in entry.notes)]) + '\n'

"""The catalogue as a page for people; ``docs/datadel.md`` is this page."""

from collections.abc import Sequence

from mmdel.datadel.catalog import CATALOG
from mmdel.datadel.catalog_entry import Entry

HOW_TO = """\
# DataDEL: the fourteen datasets

After this page you can arrange, check and split the parts of DataDEL that you have downloaded.

This page is written by `python tools/prepare_datadel.py --list --format markdown > docs/datadel.md`.

Download the datasets that you want from the official pages below into one folder, as zip or tar archives or unpacked, with any
outer folder names. Then

    python tools/prepare_datadel.py --raw downloads --out data/datadel

recognises the datasets, checks every file, arranges each dataset in the canonical layout, and reports what is complete and what
is missing. The downloads are never changed. Files on disk are linked (symbolic, relative links), or copied with `--copy`; files
in archives are extracted. A second run does nothing, and a killed run continues.

| What | Where |
|---|---|
| pre-training sets, in their original layout, including videos | `data/datadel/<id>/` |
| downstream sets | `data/datadel/<id>/images`, `masks`, `train.txt`, `val.txt`, `test.txt`, `splits.json` |
| every file that was left out, and why | `data/datadel/ledger/<id>.csv` |

    python tools/prepare_datadel.py --out data/datadel --verify            # check everything again, pixel by pixel
    python tools/prepare_datadel.py --raw downloads --out data/datadel --only kvasir-seg edd2020
    python tools/prepare_datadel.py --raw downloads --download kvasir-seg  # if the publisher has a direct link; asks first

In configs, `mmdel.DataDEL(data_root='data/datadel', sources=('pretraining',))` reads the pre-training sets that are present,
and with `videos='1fps'` frames of their videos ([videos.md](videos.md)). It refuses images of the downstream sets for
pre-training unless you set `allow_downstream=True`.

The licence column summarises the terms in a few words; the official page is authoritative. mmdel distributes no images.
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

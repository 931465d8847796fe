"""An assembled DataDEL is looked at again: every file against the manifest, every picture decoded."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmdel.compute.progress import SILENT, Stages
from mmdel.datadel.assembly import checks
from mmdel.datadel.assembly.assembly import Report, count_found, manifest_of
from mmdel.datadel.assembly.manifest import Placed
from mmdel.datadel.catalog import CATALOG
from mmdel.datadel.converters.converter import Row
from mmdel.errors import UnreadableImage


def verify(out: str | Path, only: Sequence[str] = (), progress: Stages = SILENT) -> dict[str, Report]:
    """Look at each file that was assembled: is it there, is it as it was placed, can it be decoded, has a mask its image's size.

    Of videos, only presence, size and time are looked at.

    Args:
        out (str): The folder of the result.
        only (Sequence[str]): Datasets of the catalogue. Defaults to (), all that were assembled.
        progress (Stages): Draws bars. Defaults to none.

    Returns:
        dict[str, Report]: A report for each dataset; its rows are what is wrong.
    """
    out = Path(out)
    reports = {}
    for entry in [CATALOG[name] for name in only or CATALOG]:
        manifest = manifest_of(out, entry.id)
        if not manifest.placed and not only:
            continue
        report = Report(entry, count_found(entry, manifest, out))
        if not manifest.finished:
            report.notes.append('was not assembled to its end: run again with --raw')
        sizes: dict[str, set[tuple[int, int]]] = defaultdict(set)
        with progress.stage(entry.id, len(manifest.placed), 'files') as tick:
            for placed in manifest.placed.values():
                report.rows += _look(out / entry.id, placed, len(entry.classes), sizes)
                tick(1)
        for stem, found in sorted(sizes.items()):
            if len(found) > 1:
                report.rows.append(Row(f'masks/{stem}', 'unreadable', 'has another size than its image'))
        reports[entry.id] = report
    return reports


# --- private


def _look(folder: Path, placed: Placed, labels: int, sizes: dict[str, set[tuple[int, int]]]) -> list[Row]:
    path = folder / placed.target
    if not path.exists():
        lost = 'its link leads nowhere: the download has moved' if path.is_symlink() else 'is gone'
        return [Row(placed.target, 'missing', f'{lost}; assemble again with --raw')]
    if not placed.is_there(folder):
        return [Row(placed.target, 'unreadable', 'has changed since it was assembled')]
    try:
        size = checks.decode(path, placed.kind, labels if placed.kind == 'index' else None)
    except UnreadableImage as error:
        return [Row(placed.target, 'unreadable', error.reason)]
    folder_name, _, name = placed.target.partition('/')
    if size is not None and folder_name in ('images', 'masks'):
        sizes[name.rpartition('.')[0]].add(size)
    return []

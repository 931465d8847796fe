"""Recognises what is among the downloads and assembles DataDEL from it.

    reports = assemble(['downloads'], 'data/datadel')
    reports['kvasir-seg'].status       # 'complete'

The result is one folder for each dataset of the catalogue, and beside them ``ledger/<dataset>.csv`` with a line for every
file that is not in the result, and why. What a second run needs is in ``.manifest``. The downloads are only read.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from mmdel.compute.files import csv_text, write_text
from mmdel.compute.progress import SILENT, Stages
from mmdel.datadel.assembly import lists
from mmdel.datadel.assembly.manifest import Journal, Manifest
from mmdel.datadel.assembly.placing import Placer, clean
from mmdel.datadel.catalog import ASKED, CATALOG, Entry
from mmdel.datadel.converters.converter import Claimed, Plan, Row
from mmdel.datadel.converters.raw import Raw, RawFile
from mmdel.errors import LockedError

STATE = '.manifest'
"""The folder of what a second run needs, below the result; hidden, so that no listing of images looks into it."""

LEDGERS = 'ledger'


@dataclass
class Report:
    """What became of one dataset.

    Args:
        entry (Entry): Of the catalogue.
        found (dict[str, int]): Files or pairs in the result, by part.
        rows (list[Row]): The ledger.
        notes (list[str]): For people.
    """

    entry: Entry
    found: dict[str, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """'complete', 'partial' or 'not found'."""
        if not sum(self.found.values()):
            return 'not found'
        return 'partial' if self.missing else 'complete'

    @property
    def missing(self) -> int:
        """How many of what the source holds are not in the result."""
        return sum(max(0, number - self.found.get(part, 0)) for part, number in self.entry.expected.items())

    def count(self, kind: str) -> int:
        """Rows of a kind: 'unreadable', 'missing' or 'extra'."""
        return sum(row.kind == kind for row in self.rows)


def assemble(
    downloads: Sequence[str | Path],
    out: str | Path,
    only: Sequence[str] = (),
    copy: bool = False,
    progress: Stages = SILENT,
) -> tuple[dict[str, Report], list[str]]:
    """Bring what is among the downloads into the canonical layout.

    Args:
        downloads (Sequence[str]): Folders or archives.
        out (str): The folder of the result.
        only (Sequence[str]): Datasets of the catalogue. Defaults to (), all that are there.
        copy (bool): Whether files on disk are copied instead of linked. Defaults to False.
        progress (Stages): Draws bars. Defaults to none.

    Returns:
        tuple: A report for each dataset of the catalogue or of ``only``, and notes on files of no dataset.

    Raises:
        DatasetError: A download is not there.
        LockedError: Another process is assembling the same folder.
    """
    out = Path(out)
    state = out / STATE
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / 'lock')
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(f'Another process is assembling {out}. Wait for it.') from error
    try:
        with progress.stage('look'):
            raw = Raw(downloads, state, out)
        with raw:
            return _assemble(raw, out, [CATALOG[name] for name in only or CATALOG], copy, progress)
    finally:
        lock.release()


def manifest_of(out: str | Path, dataset: str) -> Manifest:
    """What of a dataset is assembled below a folder."""
    return Manifest.read(Path(out) / STATE / f'{dataset}.jsonl')


def count_found(entry: Entry, manifest: Manifest, out: Path) -> dict[str, int]:
    """How many files or pairs of each part are in the result, and as they were placed."""
    there = [placed for placed in manifest.placed.values() if placed.part and placed.is_there(out / entry.id)]
    found = dict(Counter(placed.part for placed in there))
    if 'frames' in entry.expected and found:
        found['frames'] = sum(found.values()) + sum(manifest.left_out.values())
    return found


# --- private


def _assemble(
    raw: Raw, out: Path, entries: Sequence[Entry], copy: bool, progress: Stages
) -> tuple[dict[str, Report], list[str]]:
    claimed, unclaimed = _recognise(raw)
    manifests = {entry.id: manifest_of(out, entry.id) for entry in CATALOG.values()}
    plans = {
        entry.id: entry.converter.plan(claimed[entry.id], manifests[entry.id].form, tuple(entry.classes))
        for entry in ASKED
        if entry.id in claimed
    }
    strays = _share_out(raw, unclaimed, plans)
    reports = {}
    for entry in entries:
        report = Report(entry)
        manifest = manifests[entry.id]
        if entry.id in plans:
            _place(plans[entry.id], manifest, out, copy, report, progress)
        elif manifest.placed:
            report.notes.append('not among these downloads; as it was assembled before')
        report.found = count_found(entry, manifest, out)
        plan = plans.get(entry.id, Plan())
        report.rows = sorted(plan.rows, key=lambda row: (row.kind, row.path))
        report.notes += plan.notes
        report.notes += [f'{number:,} {what} left out' for what, number in sorted(plan.left_out.items())]
        if entry.id in plans:
            _write_ledger(out / LEDGERS / f'{entry.id}.csv', report.rows)
        reports[entry.id] = report
    return reports, strays


def _recognise(raw: Raw) -> tuple[dict[str, list[Claimed]], list[RawFile]]:
    """The files of each dataset, by the names of files and folders, and those that nobody claims."""
    claimed: dict[str, list[Claimed]] = defaultdict(list)
    unclaimed = []
    for file in raw.files:
        for entry in ASKED:
            claim = entry.converter.claim(file.key)
            if claim:
                claimed[entry.id].append(Claimed(file, claim))
                break
        else:
            unclaimed.append(file)
    return claimed, unclaimed


def _place(plan: Plan, manifest: Manifest, out: Path, copy: bool, report: Report, progress: Stages) -> None:
    entry = report.entry
    folder, staging = out / entry.id, out / STATE / 'staging'
    placer = Placer(folder, staging, copy, len(entry.classes))
    manifest.form, manifest.left_out = plan.form or manifest.form, plan.left_out or manifest.left_out
    with Journal(manifest) as journal, progress.stage(entry.id, len(plan.tasks), 'files') as tick:
        for task in plan.tasks:
            if not placer.is_done(task, journal):
                if not journal.changed:
                    staging.mkdir(parents=True, exist_ok=True)
                    clean(staging)
                plan.rows += placer.place(task, journal)
            tick(1)
    if not (journal.changed or not manifest.finished) or not manifest.placed:
        return
    if entry.classes:
        report.notes += lists.write(folder, entry.id, plan, manifest)
    manifest.write()


def _share_out(raw: Raw, unclaimed: Sequence[RawFile], plans: dict[str, Plan]) -> list[str]:
    """Give unknown files and problems to the dataset below whose root they lie; the others become notes."""
    owners = {root: name for name, plan in plans.items() for root in plan.roots}
    strays: list[str] = []
    for file in unclaimed:
        name, root = _owner(file.key, owners)
        if not name:
            strays.append(file.path)
            continue
        inside = file.key[len(root) + 1 :]
        entry = CATALOG[name]
        listed = lists.name_of(inside)
        if listed and entry.classes:
            plans[name].lists.setdefault(listed, file)
        elif not entry.converter.is_rest(inside):
            plans[name].rows.append(Row(file.path, 'extra', 'is no file of the dataset that is known'))
    notes = []
    for key, path, reason in raw.problems:
        name = _owner(key, owners)[0] or _owner_of_archive(path)
        if name:
            plans.setdefault(name, Plan()).rows.append(Row(path, 'unreadable', reason))
        else:
            notes.append(f'{path} {reason}')
    if strays:
        examples = ', '.join(strays[:3]) + (', ...' if len(strays) > 3 else '')
        notes.append(f'{len(strays):,} files of no known dataset: {examples}')
    return notes


def _owner(key: str, owners: dict[str, str]) -> tuple[str, str]:
    """The dataset with the longest root above a key, and that root; a folder that several share belongs to none."""
    for parent in PurePosixPath(key).parents:
        root = parent.as_posix()
        if root in owners and (len(owners) == 1 or '/' in root or not _holds(root, owners)):
            return owners[root], root
    return '', ''


def _holds(root: str, owners: dict[str, str]) -> bool:
    return any(other.startswith(f'{root}/') for other in owners)


def _owner_of_archive(path: str) -> str:
    name = PurePosixPath(path).name.casefold()
    for entry in CATALOG.values():
        if name in (archive.casefold() for archive in entry.archives):
            return entry.id
    return ''


def _write_ledger(path: Path, rows: Sequence[Row]) -> None:
    text = csv_text([('file', 'kind', 'reason'), *((row.path, row.kind, row.reason) for row in rows)])
    if not path.is_file() or path.read_text(encoding='utf-8') != text:
        write_text(path, text)

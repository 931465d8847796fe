"""The kept images of a subset as a folder of plain files, which any dataset reads without a wrapper.

    exported = export_images(Subset.read('subset.parquet'), root='data/pool', out='data/pool_5_percent')
    exported.problems          # ((key, reason), ...)

Images keep their paths; the frame ``clip.avi#000123`` becomes ``clip.avi/000123.jpg``, the page
``stack.tif#000003`` becomes ``stack.tif/000003.png``. So the frames that were dropped are never
written at all. ``manifest.csv`` says for each file which key it was, and how many bytes of which sha256 it has.

A killed export goes on after the last file: each is renamed into place when it is whole, and then noted in a journal. Nothing is
overwritten: a file that lies there already is left, and is a problem unless it is the same.
"""

import csv
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout

from mmdel.compute.cores import usable_cores
from mmdel.compute.files import csv_rows, csv_text, file_digest, write_text
from mmdel.compute.progress import SILENT, Stages
from mmdel.errors import ConfigError, DatasetError, LockedError, UnreadableImage
from mmdel.images import keys
from mmdel.images.depth import max_value_of
from mmdel.images.formats import is_video, split_frame
from mmdel.images.frame_files import read
from mmdel.images.frames import MAX_PIXELS
from mmdel.images.listing import list_images
from mmdel.images.reasons import check_file, reason_of
from mmdel.subset import Subset, plain_files

HOWS = ('copy', 'hardlink', 'symlink')
FORMATS = ('jpg', 'png')
MANIFEST = 'manifest.csv'
STATE = '.export'
"""Folder of the lock, the journal, and files that are being written; hidden, so that no listing looks into it."""


@dataclass(frozen=True)
class Row:
    """One exported file.

    Args:
        file (str): Its path below the folder.
        key (str): Which image of the subset it is.
        bytes (int): Its size.
        sha256 (str): Of its contents, hexadecimal.
    """

    file: str
    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Exported:
    """What lies in an exported folder.

    Args:
        rows (tuple[Row, ...]): The files, sorted.
        problems (tuple): ``(key, reason)`` of kept images that are not among them, sorted.
        written (int): Files that this run has written; the others were there.
    """

    rows: tuple[Row, ...]
    problems: tuple[tuple[str, str], ...]
    written: int


def export_images(
    subset: Subset,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    how: str = 'copy',
    frame_format: str = 'jpg',
    quality: int = 95,
    workers: int | None = None,
    progress: Stages = SILENT,
) -> Exported:
    """Write the kept images of a subset into a folder.

    Args:
        subset (Subset): The subset.
        root (str): The folder that its keys are relative to.
        out (str): The folder of the result, not inside ``root``.
        how (str): Whether image files are copied, or linked: 'copy', 'hardlink' or 'symlink'. Defaults to 'copy'.
        frame_format (str): Of video frames: 'jpg', or 'png' without any loss. Defaults to 'jpg'.
        quality (int): Of 'jpg', 1 to 100. Defaults to 95.
        workers (int, optional): Threads. Defaults to None: as many as cores.
        progress (Stages): Shows the stage. Defaults to ``SILENT``.

    Raises:
        ConfigError: An argument is out of range, or ``out`` holds the export of another subset or with other settings.
        DatasetError: ``root`` is missing, or a key of the subset leads out of it.
        LockedError: Another process is writing into ``out``.
    """
    root, out = Path(root), Path(out)
    _check(root, out, how, frame_format, quality)
    (out / STATE).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / STATE / 'lock')
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(f'Another process is exporting into {out}. Wait for it, or choose another --out.') from error
    try:
        max_value = max_value_of(subset.metadata.get('embedder'))
        job = _Job(root, out, how, frame_format, quality, _sources(subset, root), max_value)
        return job.run(subset, workers or usable_cores(), progress)
    finally:
        lock.release()


def file_of(key: str, frame_format: str) -> str:
    """The path below the folder at which the image of a key is written.

    Args:
        key (str): The key.
        frame_format (str): One of :data:`FORMATS`, of video frames; pages are written as PNG.
    """
    frame = split_frame(key)
    return f'{frame[0]}/{frame[1]:06d}.{_format(frame[0], frame_format)}' if frame else key


def verify_export(out: str | os.PathLike[str], progress: Stages = SILENT) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Compare every exported file with the manifest.

    Returns:
        tuple: How many files are listed, and ``(file, what is wrong)`` of those that differ.

    Raises:
        DatasetError: There is no manifest.
    """
    out = Path(out)
    try:
        header, *lines = csv_rows((out / MANIFEST).read_text(encoding='utf-8'))
        found = [dict(zip(header, line, strict=True)) for line in lines]
        rows = [Row(row['file'], row['key'], int(row['bytes']), row['sha256']) for row in found]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DatasetError(
            f'{out / MANIFEST} cannot be read ({error}). Export first: --root ROOT --out {out}'
        ) from error
    wrong = []
    with progress.stage('verify', len(rows), 'files') as tick:
        for row in rows:
            path = out / row.file
            if not _inside(row.file) or not path.is_file():
                wrong.append((row.file, 'is gone'))
            elif path.stat().st_size != row.bytes or file_digest(path) != row.sha256:
                wrong.append((row.file, 'has changed since it was exported'))
            tick(1)
    return len(rows), tuple(wrong)


# --- private


class _Job:
    """One run of one export."""

    def __init__(
        self,
        root: Path,
        out: Path,
        how: str,
        frame_format: str,
        quality: int,
        sources: dict[str, str],
        max_value: int | None,
    ) -> None:
        self.root = root
        self.out = out
        self.how = how
        self.frame_format = frame_format
        self.quality = quality
        self.sources = sources
        self.max_value = max_value
        self.journal = out / STATE / 'journal.jsonl'
        self.staging = out / STATE / 'staging'
        self.rows: dict[str, Row] = {}
        self.problems: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def run(self, subset: Subset, workers: int, progress: Stages) -> Exported:
        kept = subset.table.filter(subset.table['keep'])
        sizes = dict(zip(kept['image'].to_pylist(), kept['bytes'].to_pylist(), strict=True))
        self._resume()
        todo = [key for key in self.sources if key not in self.rows]
        with open(self.journal, 'a', encoding='utf-8') as journal:

            def note(row: Row) -> None:
                with self.lock:
                    self.rows[row.key] = row
                    journal.write(json.dumps(vars(row)) + '\n')
                    journal.flush()

            with progress.stage('export', len(todo)) as tick, ThreadPoolExecutor(workers) as pool:
                groups = [pool.submit(self._write_all, group, sizes, note, tick) for group in _groups(todo)]
                for done in as_completed(groups):
                    done.result()
        rows = tuple(self.rows[key] for key in sorted(self.rows))
        lines = ((row.file, row.key, row.bytes, row.sha256) for row in rows)
        write_text(self.out / MANIFEST, csv_text([tuple(Row.__dataclass_fields__), *lines]))
        self._write_labels(subset, rows)
        return Exported(rows, tuple(sorted(self.problems)), len(rows) - (len(self.sources) - len(todo)))

    def _resume(self) -> None:
        """Take over what a run of the same export has placed."""
        asked: dict[str, Any] = {'keys': hashlib.sha256('\n'.join(self.sources).encode()).hexdigest(), 'how': self.how}
        if any(map(split_frame, self.sources)):
            asked |= {'frame_format': self.frame_format, 'quality': self.quality}
        if self.max_value is not None:
            asked['max_value'] = self.max_value
        if self.staging.exists():
            shutil.rmtree(self.staging)
        self.staging.mkdir()
        lines = self.journal.read_text(encoding='utf-8').split('\n') if self.journal.is_file() else ['']
        header = json.dumps(asked)
        if lines[0] not in ('', header):
            raise ConfigError(
                f'{self.out} holds the export of another subset, or with other settings ({lines[0]}). Choose another --out.'
            )
        for row in (
            Row(**json.loads(line)) for line in lines[1:-1]
        ):  # what the last line break does not end was cut off
            path = self.out / row.file
            if path.is_file() and path.stat().st_size == row.bytes and row.key in self.sources:
                self.rows[row.key] = row
        write_text(self.journal, '\n'.join([header, *(json.dumps(vars(row)) for row in self.rows.values()), '']))

    def _write_all(
        self,
        group: Sequence[str],
        sizes: dict[str, int | None],
        note: Callable[[Row], None],
        tick: Callable[[int], None],
    ) -> None:
        for key in group:
            try:
                note(self._write(key, sizes[key]))
            except UnreadableImage as error:
                with self.lock:
                    self.problems.append((key, error.reason))
            with self.lock:
                tick(1)

    def _write(self, key: str, expected: int | None) -> Row:
        frame = split_frame(key)
        source = self.sources[key]
        file = file_of(key, self.frame_format)
        target = self.out / file
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.staging / str(threading.get_ident())
        try:
            if frame:
                nbytes = self._encode(source, frame[1], temporary)
            else:
                check_file(source)
                nbytes = os.path.getsize(source)
                self._place(source, target, temporary)
            if expected is not None and nbytes != expected:
                raise UnreadableImage(f'has changed since the subset was made: {nbytes:,} bytes, not {expected:,}')
            digest = file_digest(Path(source) if temporary.is_symlink() else temporary)
            if os.path.lexists(target) and not (target.is_file() and file_digest(target) == digest):
                raise UnreadableImage(f'another file lies at {file} already, and is not touched')
            os.replace(temporary, target)
        except OSError as error:
            raise UnreadableImage(f'cannot be exported: {reason_of(error, source)}') from error
        finally:
            temporary.unlink(missing_ok=True)
        return Row(file, key, target.stat().st_size, digest)

    def _place(self, source: str, target: Path, temporary: Path) -> None:
        if self.how == 'hardlink':
            os.link(os.path.realpath(source), temporary)
        elif self.how == 'symlink':
            # relative, so that the two folders can move together
            temporary.symlink_to(os.path.relpath(source, target.parent.resolve()))
        else:
            shutil.copyfile(source, temporary)

    def _encode(self, video: str, number: int, temporary: Path) -> int:
        image, nbytes = read(video, number, MAX_PIXELS, self.max_value)
        frame_format = _format(video, self.frame_format)
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality] if frame_format == 'jpg' else []
        temporary.write_bytes(cv2.imencode(f'.{frame_format}', image, options)[1].tobytes())
        return nbytes

    def _write_labels(self, subset: Subset, rows: Sequence[Row]) -> None:
        """``labels.txt`` and ``classes.txt`` where every image has a label."""
        labels = dict(zip(subset.images, subset.table['label'].to_pylist(), strict=True))
        numbers = {name: number for number, name in enumerate(subset.metadata.get('classes') or ())}
        if rows and all(labels[row.key] in numbers for row in rows):
            lines = (f'{plain_files.line_of(row.file)} {numbers[labels[row.key]]}\n' for row in rows)
            write_text(self.out / 'classes.txt', ''.join(f'{name}\n' for name in numbers))
            write_text(self.out / 'labels.txt', ''.join(lines))


def _check(root: Path, out: Path, how: str, frame_format: str, quality: int) -> None:
    for name, value, allowed in (('how', how, HOWS), ('frame_format', frame_format, FORMATS)):
        if value not in allowed:
            raise ConfigError(f'{name} must be one of {", ".join(allowed)}, got {value!r}.')
    if not 1 <= quality <= 100:
        raise ConfigError(f'quality is a number from 1 to 100, got {quality}.')
    if not root.is_dir():
        raise DatasetError(
            f'{root} is not there. Give the folder that the keys of the subset are relative to as --root.'
        )
    if os.path.commonpath([os.path.realpath(out), os.path.realpath(root)]) == os.path.realpath(root):
        raise ConfigError(
            f'{out} lies inside the image folder {root}, where the copies would be taken for images the next time. '
            'Choose another --out.'
        )


def _sources(subset: Subset, root: Path) -> dict[str, str]:
    """Where the file of each kept image lies, or the video of each kept frame; in the order of the keys.

    A key is normalised, so the name on disk may be spelled otherwise: such files are looked up in a listing.
    """
    kept = subset.kept
    for key in kept:
        if not _inside(key):
            raise DatasetError(
                f'The key {keys.escape(key)} of the subset leads out of the folder. The file is not trustworthy.'
            )
    if not kept:
        raise DatasetError('The subset keeps no image.')
    sources, lost = {}, []
    known: dict[str, bool] = {}
    for key in kept:
        frame = split_frame(key)
        file = frame[0] if frame else key
        path = os.path.join(root, file)
        if file not in known:
            known[file] = os.path.lexists(path)
        sources[key] = path
        if not known[file]:
            lost.append(key)
    if lost:
        listing = list_images(root, with_videos=True)
        for key in lost:
            frame = split_frame(key)
            sources[key] = listing.path(frame[0] if frame else key)
        if len(lost) == len(kept) and not any(os.path.lexists(path) for path in sources.values()):
            raise DatasetError(
                f'None of the {len(kept):,} kept images is below {root}: {", ".join(lost[:3])}. Give the folder that the keys '
                'are relative to as --root; mmdel select printed it.'
            )
    return sources


def _format(file: str, frame_format: str) -> str:
    """Pages are written without loss, as most of them are stored."""
    return frame_format if is_video(file) else 'png'


def _groups(todo: Sequence[str]) -> Iterator[list[str]]:
    """Frames of one video together, in order; images in handfuls."""
    videos: dict[str, list[tuple[int, str]]] = {}
    images: list[str] = []
    for key in todo:
        frame = split_frame(key)
        if frame:
            videos.setdefault(frame[0], []).append((frame[1], key))
        else:
            images.append(key)
    yield from ([key for _, key in sorted(frames)] for frames in videos.values())
    yield from (images[start : start + 64] for start in range(0, len(images), 64))


def _inside(key: str) -> bool:
    parts = key.split('/')
    return not os.path.isabs(key) and '..' not in parts and '' not in parts and '\0' not in key

"""Why one image went or stayed: what removed it, the most similar image that was kept, and its neighbours.

run = FinishedRun.open('work_dirs/meddel_eta08/subset.parquet')
found = inspect(run, 'img/0001.jpg')
found.lines        # for a terminal
found.shown        # what to draw: keys with captions
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.engine.work_dir import Origin
from mmdel.errors import DatasetError, StoreError, VectorError
from mmdel.images import keys
from mmdel.report.names import shown
from mmdel.selection.findings import LeakReport
from mmdel.similarity import canonical_cosine
from mmdel.subset import Subset, effective_eta
from mmdel.subset.columns import METADATA

BLOCK = 4096
"""Vectors read at a time."""

CHAIN = 12
"""Removers followed: what removed it, what removed that, and so on."""


class Run(Protocol):
    """A decision and what it rests on, in a work dir (:class:`~mmdel.engine.finished_run.FinishedRun`) or in memory."""

    @property
    def subset(self) -> Subset:
        """The decision."""

    @property
    def origin(self) -> Origin:
        """Where images and vectors are."""

    @property
    def unreadable(self) -> Sequence[tuple[str, str]]:
        """``(key, reason)`` of the files that could not be used."""

    @property
    def leaks(self) -> LeakReport | None:
        """What a leak check found."""

    def vectors(self, progress: Stages = SILENT) -> Vectors:
        """Row i belongs to the i-th readable row of the subset."""


@dataclass(frozen=True)
class Inspection:
    """What is known about one image; as text, one finding a line.

    Args:
        key (str): The image.
        lines (tuple[str, ...]): For a terminal; names in them are harmless text.
        shown (tuple[tuple[str, str], ...]): ``(key, caption)`` of the pictures to draw, the image itself first.
        nearest_kept (tuple[str, float], optional): The most similar *other* image that is kept, and its cosine; None where the
            vectors are not at hand or no other image is kept.
        neighbours (tuple[tuple[str, float], ...]): The most similar other images and their cosines, kept or not.
        row (Mapping[str, Any]): Its row of the subset, by the names of :data:`~mmdel.subset.columns.COLUMNS`.
    """

    key: str
    lines: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    nearest_kept: tuple[str, float] | None
    neighbours: tuple[tuple[str, float], ...]
    row: Mapping[str, Any]

    @property
    def kept(self) -> bool:
        """Whether it stays."""
        return self.row['keep']

    @property
    def reason(self) -> str:
        """Why, in a word: one of :data:`~mmdel.subset.subset.REASONS`."""
        return self.row['reason']

    @property
    def removed_by(self) -> str | None:
        """The image that stands for it; None where it stays, or the method compares no pairs."""
        return None if self.kept else self.row['removed_by']

    @property
    def similarity(self) -> float | None:
        """Its cosine to ``removed_by``, else to the most similar other image that is kept; None where neither is known."""
        if self.removed_by is not None:
            return self.row['redundancy']
        return None if self.nearest_kept is None else self.nearest_kept[1]

    @property
    def rank(self) -> int | None:
        """Its place in the ranking, 0 is kept first; None for an image that takes no part."""
        return self.row['rank']

    def __str__(self) -> str:
        return '\n'.join(self.lines)

    __repr__ = __str__


def inspect(run: Run, name: str, count: int = 8, progress: Stages = SILENT) -> Inspection:
    """Explain one decision. Without the vectors (a subset from elsewhere, an emptied cache) only what the table tells.

    Args:
        run (Run): The run.
        name (str): The image: its key, the path of its file, or the end of its key where no other key ends so.
        count (int): Neighbours. Defaults to 8.
        progress (Stages): Shows the reading. Defaults to ``SILENT``.

    Raises:
        DatasetError: No image has this name, or several.
    """
    key = find_key(run, name)
    table = run.subset.table
    row = _row(run, key)
    lines = [shown(key), *(f'  {part}' for part in _about(row)), _decision(run, row)]
    chain = _chain(run, row)
    lines += chain
    if row['keep']:
        removed = table.filter((pc.field('removed_by') == key) & (pc.field('reason') == 'duplicate')).num_rows
        lines.append(f'it is the reason why {removed:,} other image{"" if removed == 1 else "s"} left')
    copies = [] if run.leaks is None else [pair for pair in run.leaks.pairs if pair.image == key]
    lines += [
        f'  {"a copy of" if pair.leak else "looks like"} the test image {shown(pair.test_image)} of {shown(pair.test_set)}'
        f'{", mirrored" if pair.mirrored else ""}: agreement {pair.agreement:.3f}'
        for pair in copies
    ]
    nearest: tuple[str, float] | None = None
    neighbours: tuple[tuple[str, float], ...] = ()
    if row['rank'] is not None:
        try:
            nearest, neighbours = _neighbours(run, key, count, run.vectors(progress))
        except (StoreError, VectorError, DatasetError) as error:
            lines.append(f'neighbours are not known: {error}')
    state = dict(zip(table['image'].to_pylist(), table['reason'].to_pylist(), strict=True))
    pictures = [(key, 'this image: ' + row['reason'])]
    if row['removed_by'] is not None:
        what = 'most similar preferred' if row['keep'] else 'removed it'
        pictures.append((row['removed_by'], f'{what}, {row["redundancy"]:.3f}: {state.get(row["removed_by"])}'))
    if nearest is not None:
        lines.append(f'most similar kept image: {shown(nearest[0])} at {nearest[1]:.4f}')
        pictures.append((nearest[0], f'most similar kept: {nearest[1]:.3f}'))
    if neighbours:
        lines.append('neighbours:')
        lines += [f'  {cosine:.4f}  {state[other]:<10}  {shown(other)}' for other, cosine in neighbours]
        pictures += [(other, f'neighbour {cosine:.3f}: {state[other]}') for other, cosine in neighbours]
    return Inspection(key, tuple(lines), tuple(pictures), nearest, neighbours, row)


def find_key(run: Run, name: str) -> str:
    """The key that a person means.

    Raises:
        DatasetError: No image has this name, or several; the message shows some that come close.
    """
    images = run.subset.images
    known = set(images)
    candidates = [name, keys.normalise(name)]
    if run.origin.images:
        candidates += [key for key in keys.keys_under(run.origin.images, [os.path.abspath(name)]) if key]
    for candidate in candidates:
        if candidate in known:
            return candidate
    ending = '/' + keys.normalise(name).lstrip('/')
    found = [image for image in images if image.endswith(ending)]
    if len(found) == 1:
        return found[0]
    close = found or difflib.get_close_matches(name[:200], images[:20_000], n=3, cutoff=0.3)
    what = f'{len(found):,} images end in' if found else 'the subset lists no image'
    listed = ''.join(f'\n  {shown(image)}' for image in close[:3])
    raise DatasetError(
        f'{what} {shown(name)!r}. Give a key as keep.txt and subset.parquet spell it'
        + (f', such as{listed}' if listed else '.')
    )


def _row(run: Run, key: str) -> dict[str, Any]:
    table = run.subset.table
    return table.filter(pc.equal(table['image'], key)).to_pylist()[0]


def _about(row: dict[str, Any]) -> list[str]:
    parts = [f'{name}: {shown(str(row[name]))}' for name in METADATA if row[name] not in (None, '')]
    if row['width'] is not None and row['height'] is not None:
        parts.append(f'{row["width"]} x {row["height"]} pixels' + (f', {row["bytes"]:,} bytes' if row['bytes'] else ''))
    return parts


def _decision(run: Run, row: dict[str, Any]) -> str:
    """Why, in one sentence."""
    subset = run.subset
    eta, kept = effective_eta(subset), subset.metadata['kept']
    above = 'the cut' if eta is None else f'eta = {eta:.6g}'
    redundancy, remover = row['redundancy'], row['removed_by']
    compared = remover is not None and redundancy is not None and not np.isnan(redundancy)
    match row['reason']:
        case 'kept':
            if compared and eta is not None and redundancy > np.float32(eta):
                return (
                    f'kept by a guard: {shown(remover)} is preferred, and more similar ({redundancy:.4f}) than {above}'
                )
            if compared:
                return (
                    f'kept: the most similar preferred image is {shown(remover)} at {redundancy:.4f}, not above {above}'
                )
            if row['rank'] >= kept:
                return 'kept by an update: no preferred image was compared with it'
            return (
                f'kept: place {row["rank"] + 1:,} of {kept:,} in the ranking; no preferred image was compared with it'
            )
        case 'duplicate' if compared:
            return f'removed as a duplicate: {shown(remover)} is preferred, and more similar ({redundancy:.4f}) than {above}'
        case 'far':
            epsilon = (subset.metadata.get('selector') or {}).get('epsilon')
            return f'dropped by epsilon: {row["distance"]:.4f} from its centroid, farther than {epsilon}'
        case 'unreadable':
            reason = dict(run.unreadable).get(row['image'], '')
            return f'could not be used: {shown(reason)}'
        case 'excluded':
            return 'excluded on request'
        case 'leak':
            return 'left out because it is nearly identical to an image that models are tested on'
        case 'unselected' if subset.metadata.get('bounds') and subset.eta is not None:
            return 'left out by a guard, which keeps no more images of its group'
        case _:
            return f'not selected: place {row["rank"] + 1:,} in the ranking, of which the first {kept:,} stay'


def _chain(run: Run, row: dict[str, Any]) -> list[str]:
    """What removed the remover, until something was kept; a file from elsewhere may go in circles."""
    lines: list[str] = []
    known, seen = set(run.subset.images), {row['image']}
    while row['reason'] == 'duplicate' and row['removed_by'] is not None and len(lines) < CHAIN:
        if row['removed_by'] in seen or row['removed_by'] not in known:
            break
        row = _row(run, row['removed_by'])
        seen.add(row['image'])
        by = (
            f', by {shown(row["removed_by"])} at {row["redundancy"]:.4f}'
            if row['reason'] == 'duplicate' and row['removed_by']
            else ''
        )
        lines.append(f'{"  " * len(lines)}  {shown(row["image"])} is {row["reason"]}{by}')
    return lines


def _neighbours(
    run: Run, key: str, count: int, vectors: Vectors
) -> tuple[tuple[str, float] | None, tuple[tuple[str, float], ...]]:
    """The most similar other kept image, and the most similar others; ties go to the smaller key."""
    table = run.subset.readable_rows
    images = table['image'].to_pylist()
    own = images.index(key)
    cosine: NDArray[np.float32] = np.empty(len(images), np.float32)
    vector = vectors.read(np.array([own]))[0]
    for start in range(0, len(images), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(images)))
        cosine[rows] = canonical_cosine(vectors.read(rows), vector)
    order = np.argsort(-cosine, kind='stable')
    order = order[order != own]
    keep = table['keep'].to_numpy(zero_copy_only=False)
    kept = order[keep[order]]
    nearest = (images[kept[0]], float(cosine[kept[0]])) if len(kept) else None
    return nearest, tuple((images[i], float(cosine[i])) for i in order[:count].tolist())

"""Results of comparing images, as plain data that others show; and the most similar kept image of each removed one.

    found = nearest_kept(subset, vectors)
    found.row[i], found.cosine[i]     # of the i-th readable image; -1 and NaN where it stays

A person looks at that image to judge the removal: what removed an image (``removed_by`` of the subset) may be gone itself.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError
from mmdel.similarity import nearest
from mmdel.subset import Subset, effective_eta

CONFLICT_THRESHOLD = 0.95
"""Cosine above which two images are called near-identical, where nobody names another."""

LEAK_THRESHOLD = 0.8
"""Agreement from which on two pictures are nearly identical; chosen on Kvasir-SEG train, see docs/leaks.md."""

LEAK_NEIGHBOURS = 8
"""Images of the pool that each test image is compared with by pixels."""

PAIRS = 3_000_000_000
"""Up to this many pairs every removed image is compared with every kept one (100,000 images never need more, and two cores
some ten seconds); above it, only inside clusters."""


@dataclass(frozen=True)
class NearestKept:
    """The most similar kept image of each removed one.

    Args:
        cosine (NDArray[np.float32]): [readable images], canonical; NaN for kept images and where nothing was compared.
        row (NDArray[np.int64]): [readable images], that image's place among the readable ones, -1 where there is none.
        everywhere (bool): Whether all kept images were compared; else only those of the same cluster.
    """

    cosine: NDArray[np.float32]
    row: NDArray[np.int64]
    everywhere: bool


@dataclass(frozen=True)
class Conflict:
    """Two near-identical images with different labels.

    Args:
        image (str): The one.
        label (str): Its label.
        keep (bool): Whether it stays.
        other (str): The other.
        other_label (str): Its label.
        other_keep (bool): Whether it stays.
        cosine (float): Canonical cosine of the two.
    """

    image: str
    label: str
    keep: bool
    other: str
    other_label: str
    other_keep: bool
    cosine: float


@dataclass(frozen=True)
class LeakRule:
    """What is looked at, and what is a leak.

    Args:
        threshold (float): Least agreement of a leak, above 0 and at most 1. Defaults to 0.8: one photograph, whatever became of
            it, or two frames of a video that hardly differ.
        neighbours (int): How many images of the pool are compared with a test image, and with its mirror image. More find
            copies that the encoder does not recognise, and take longer. Defaults to 8.

    Raises:
        ConfigError: A value is out of range.
    """

    threshold: float = LEAK_THRESHOLD
    neighbours: int = LEAK_NEIGHBOURS

    def __post_init__(self) -> None:
        for name, value, kinds in (('threshold', self.threshold, int | float), ('neighbours', self.neighbours, int)):
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ConfigError(f'{name} of the leak check is a number, got {value!r}.')
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f'threshold of the leak check is an agreement above 0 and at most 1, got {self.threshold:g}.'
            )
        if self.neighbours < 1:
            raise ConfigError(f'neighbours of the leak check is at least 1, got {self.neighbours}.')

    def config(self) -> dict[str, Any]:
        """What decides, JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Leak:
    """A pair of images, by name.

    Args:
        image (str): Key of the image in the pool.
        test_set (str): Name of what is tested on.
        test_image (str): Key of the test image in it.
        test_file (str): Its file.
        cosine (float): See :class:`mmdel.leaks.search.Pair`.
        agreement (float): See :class:`mmdel.leaks.search.Pair`.
        mirrored (bool): See :class:`mmdel.leaks.search.Pair`.
        leak (bool): Whether the two are nearly identical; else they are listed to be looked at.
    """

    image: str
    test_set: str
    test_image: str
    test_file: str
    cosine: float
    agreement: float
    mirrored: bool
    leak: bool


@dataclass(frozen=True)
class CheckedSet:
    """What was tested against.

    Args:
        name (str): Of the config or folder.
        part (str): 'test_dataloader', 'val_dataloader' or 'folder'.
        images (int): Readable images.
        unreadable (int): Further ones, which could not be checked.
        digest (str): sha256 of the lines "key<TAB>bytes" of the readable ones.
    """

    name: str
    part: str
    images: int
    unreadable: int
    digest: str


@dataclass(frozen=True)
class LeakReport:
    """What a check found.

    Args:
        rule (LeakRule): What counted.
        pool (int): Images of the pool that were checked.
        sets (tuple[CheckedSet, ...]): What they were checked against.
        pairs (tuple[Leak, ...]): Leaks, and pairs to be looked at; by image of the pool, the best agreement first.
    """

    rule: LeakRule
    pool: int
    sets: tuple[CheckedSet, ...]
    pairs: tuple[Leak, ...]

    @property
    def images(self) -> list[str]:
        """The images of the pool that leak, sorted."""
        return sorted({pair.image for pair in self.pairs if pair.leak})

    @property
    def alike(self) -> list[str]:
        """The images of the pool that are only listed to be looked at, sorted."""
        return sorted({pair.image for pair in self.pairs} - set(self.images))

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each set, for people."""
        lines = []
        for each in self.sets:
            pairs = [pair for pair in self.pairs if pair.test_set == each.name]
            leaks = [pair for pair in pairs if pair.leak]
            tests, images = ({getattr(pair, name) for pair in leaks} for name in ('test_image', 'image'))
            line = f'{each.name} ({each.part}): {len(tests):,} of {each.images:,} test images are in the pool'
            line += f', as {len(images):,} images' if images else ''
            alike = len({pair.image for pair in pairs} - images)
            line += f'; {alike:,} more are somewhat like one' if alike else ''
            lines.append(line + (f'; {each.unreadable:,} unreadable ones were not checked' if each.unreadable else ''))
        return tuple(lines)


def uncovered(subset: Subset, nearest: NearestKept) -> int | None:
    """Duplicates without any kept image above eta: what removed them was removed itself. None where the cut has no eta."""
    eta = effective_eta(subset)
    if eta is None or subset.table['redundancy'].null_count == len(subset.table):
        return None
    duplicate = subset.has_reason('duplicate')[subset.readable]
    return int((duplicate & ~(nearest.cosine > np.float32(eta))).sum())


def nearest_kept(subset: Subset, vectors: Vectors, progress: Stages = SILENT) -> NearestKept:
    """Compare the removed images with the kept ones; ties go to the smaller key.

    Args:
        subset (Subset): The cut.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        progress (Stages): Shows the comparison. Defaults to ``SILENT``.
    """
    readable = subset.readable
    keep = subset.keep[readable]
    kept, removed = np.flatnonzero(keep), np.flatnonzero(~keep)
    cluster = subset.readable_rows['cluster']
    everywhere = len(kept) * len(removed) <= PAIRS or cluster.null_count > 0
    pairs = [(removed, kept)]
    if not everywhere:
        own = cluster.to_numpy()
        of_kept, of_removed = (np.split(rows, _ends(own[rows])) for rows in (_sorted(kept, own), _sorted(removed, own)))
        places = {int(own[rows[0]]): rows for rows in of_kept if len(rows)}
        nobody = np.empty(0, np.int64)
        pairs = [(rows, places.get(int(own[rows[0]]), nobody)) for rows in of_removed if len(rows)]
    with progress.stage('verify', sum(len(rows) * len(columns) for rows, columns in pairs), 'pairs') as tick:
        found = nearest(vectors, pairs, tick)
    return NearestKept(found.cosine, found.row, everywhere)


def _sorted(rows: NDArray[np.int64], cluster: NDArray[np.int32]) -> NDArray[np.int64]:
    return rows[np.argsort(cluster[rows], kind='stable')]


def _ends(cluster: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(cluster)) + 1

"""Pools drawn from an archive: the same question many times over, each time about other recordings.

    pool = POOLS.build(dict(type='mmdel.GroupPool', group='video', size=1000)).draw(table, np.random.default_rng(0))
    pool.rows       # the images to choose from, rows of the table
    pool.test       # the images that judge: of other recordings

What is true of one pool may be chance; over fifty of them the spread is known.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdel.errors import ConfigError, DatasetError
from mmdel.registry import POOLS
from mmdel.selection.strata import sequences

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """What was drawn; rows of the archive's table, int64.

    Args:
        rows (NDArray[np.int64]): [n], images to choose from; ascending, several times where a recording is repeated.
        repeat (NDArray[np.int64]): [n], which repetition an image belongs to, from 0.
        test (NDArray[np.int64]): [m], images that judge, ascending; no group is on both sides.
        noise (float): How far the vectors of repetitions are from the first ones, over their length. Defaults to 0.
        recordings (bool): Whether a repetition is a recording of its own. Defaults to False: a longer part of the same one.
    """

    rows: Rows
    repeat: Rows
    test: Rows
    noise: float = 0.0
    recordings: bool = False

    def table(self, table: pa.Table) -> pa.Table:
        """What a selector sees: the archive's columns; a repetition has a key of its own, and a video where it is a recording."""
        found = table.take(pa.array(self.rows))
        for name in ('image', 'video') if self.recordings else ('image',):
            if name in found.column_names:
                words = [
                    word if word is None or not again else f'{word}~{again:03d}'
                    for word, again in zip(found[name].to_pylist(), self.repeat.tolist(), strict=True)
                ]
                found = found.set_column(found.schema.get_field_index(name), name, pa.array(words, pa.string()))
        return found

    def vectors(self, raw: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        """The raw vectors of its images, float32 [n, D], those of repetitions with noise; ``raw`` is the archive's, [N, D]."""
        found = raw[self.rows]
        again = np.flatnonzero(self.repeat)
        if self.noise and len(again):
            length = np.linalg.norm(found[again], axis=1, keepdims=True) / np.sqrt(raw.shape[1])
            found[again] += (
                np.float32(self.noise) * length * random.standard_normal((len(again), raw.shape[1]), np.float32)
            )
        return found


class BasePool(ABC):
    """A way to draw pools."""

    @abstractmethod
    def draw(self, table: pa.Table, random: np.random.Generator) -> Pool:
        """Draw one.

        Args:
            table (pa.Table): The archive: ``image``, sorted, and what is known of each image.
            random (np.random.Generator): Decides.

        Raises:
            DatasetError: The archive is too small for it, or does not have the columns.
        """


@POOLS.register_module()
class GroupPool(BasePool):
    """Whole groups at random, and others that judge.

    Args:
        group (str): The column whose images stay together: on one side, and in the pool all or none (the last one drawn may be
            cut short). Defaults to 'video'.
        size (int, optional): Images to choose from. Defaults to None: all that do not judge.
        test (float): The share of the groups of each class that judges; 0 is none. Defaults to 0.3.
        column (str): The column of classes; a group has the one that most of its images have. Defaults to 'label'.
        shares (dict[str, float], optional): The share of the pool that these classes have, to make one rare or to mix sources;
            the others fill it up. Needs ``size``. Defaults to None, as it comes.

    Raises:
        ConfigError: A share is out of its range, or stands without ``size``.
    """

    def __init__(
        self,
        group: str = 'video',
        size: int | None = None,
        test: float = 0.3,
        column: str = 'label',
        shares: Mapping[str, float] | None = None,
    ) -> None:
        shares = dict(shares or {})
        if not 0 <= test < 1:
            raise ConfigError(f'test is a share of the groups, from 0 and below 1, got {test}.')
        if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) > 1:
            raise ConfigError(f'shares are parts of the pool above 0, together at most 1, got {shares}.')
        if size is None and shares:
            raise ConfigError('shares are shares of size; say how many images the pool has.')
        self.group, self.size, self.test, self.column, self.shares = group, size, test, column, shares

    def draw(self, table: pa.Table, random: np.random.Generator) -> Pool:
        groups, kinds = self._groups(table)
        judge: list[int] = []
        for kind in sorted(set(kinds)):
            mine = random.permutation([number for number, each in enumerate(kinds) if each == kind])
            judge += mine[: int(np.ceil(self.test * len(mine))) if len(mine) > 1 else 0].tolist()
        others = random.permutation(np.setdiff1d(np.arange(len(groups)), judge))
        rows, repeat = self._fill([groups[number] for number in others], [kinds[number] for number in others], random)
        order = np.lexsort((repeat, rows))
        test = np.sort(np.concatenate([np.empty(0, np.int64), *(groups[number] for number in judge)]))
        return Pool(rows[order], repeat[order], test)

    def _fill(self, groups: list[Rows], kinds: list[str], random: np.random.Generator) -> tuple[Rows, Rows]:
        """Rows and repetitions, from groups in the order in which they were drawn."""
        total = sum(map(len, groups))
        size = total if self.size is None else self.size
        room = {kind: round(share * size) for kind, share in self.shares.items()}
        rest = size - sum(room.values())
        parts = []
        for group, kind in zip(groups, kinds, strict=True):
            taken = group[: room.get(kind, rest)]
            if kind in room:
                room[kind] -= len(taken)
            else:
                rest -= len(taken)
            parts.append(taken)
        lacking = {kind: left for kind, left in {**room, 'other': rest}.items() if left}
        if lacking:
            words = ', '.join(f'{left} of {kind}' for kind, left in lacking.items())
            raise DatasetError(f'The archive is too small for a pool of {size:,} images: {words} are lacking.')
        rows = np.concatenate(parts)
        return rows, np.zeros_like(rows)

    def _groups(self, table: pa.Table) -> tuple[list[Rows], list[str]]:
        """The rows and the class of each group, by name."""
        names, codes = np.unique(group_names(table, self.group), return_inverse=True)
        classes, labels = np.unique(known_words(table, self.column), return_inverse=True)
        groups = [np.flatnonzero(codes == number) for number in range(len(names))]
        return groups, [str(classes[np.bincount(labels[rows]).argmax()]) for rows in groups]


@POOLS.register_module()
class ZipfPool(GroupPool):
    """Recordings that come again and again, a few of them very often: what an archive looks like.

    The i-th recording is drawn with a probability in proportion to i**-``exponent``, until ``size`` images are there. The vectors
    of a repetition have some noise.

    Args:
        exponent (float): Of Zipf's law; 0 draws all alike. Defaults to 1.2.
        groups (int, optional): How many different recordings there are to draw from. Defaults to None: all that do not judge.
        noise (float): See :class:`Pool`; 0.1 leaves a cosine of 0.995. Defaults to 0.1.
        recordings (bool): See :class:`Pool`; where it is True no name tells a method what is the same. Defaults to False.
        **kwargs: Further arguments of :class:`GroupPool`; ``size`` is needed.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        exponent: float = 1.2,
        groups: int | None = None,
        noise: float = 0.1,
        recordings: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.size is None or self.shares:
            raise ConfigError('ZipfPool needs size, the number of images with repetitions, and takes no shares.')
        if exponent < 0 or noise < 0 or (groups is not None and groups < 1):
            raise ConfigError(
                f'exponent and noise are at least 0 and groups at least 1, got {exponent}, {noise}, {groups}.'
            )
        self.exponent, self.groups, self.noise, self.recordings = exponent, groups, noise, recordings

    def draw(self, table: pa.Table, random: np.random.Generator) -> Pool:
        found = super().draw(table, random)
        return replace(found, noise=self.noise, recordings=self.recordings)

    def _fill(self, groups: list[Rows], kinds: list[str], random: np.random.Generator) -> tuple[Rows, Rows]:
        groups = groups[: self.groups]
        chance = np.arange(1, len(groups) + 1) ** -self.exponent
        times = np.zeros(len(groups), np.int64)
        rows, repeat, left = [], [], self.size or 0
        while left:
            number = random.choice(len(groups), p=chance / chance.sum())
            taken = groups[number][:left]
            rows.append(taken)
            repeat.append(np.full(len(taken), times[number]))
            times[number] += 1
            left -= len(taken)
        return np.concatenate(rows), np.concatenate(repeat)


def group_names(table: pa.Table, by: str) -> NDArray[np.str_]:
    """The group of each image, [N]; images without one go by their video, those without a video alone.

    Raises:
        DatasetError: No image has one.
    """
    if by not in table.column_names or table[by].null_count == len(table) > 0:
        raise DatasetError(f'No image of the archive has a {by}; --table can tell it.')
    names = [table[name].to_pylist() for name in dict.fromkeys((by, 'video', 'image')) if name in table.column_names]
    return np.array([next(name for name in row if name is not None) for row in zip(*names, strict=True)], str)


def known_words(table: pa.Table, name: str) -> NDArray[np.str_]:
    """A column of words, [N].

    Raises:
        DatasetError: Not every image has one.
    """
    if name not in table.column_names or table[name].null_count:
        raise DatasetError(f'Not every image of the archive has a {name}; --table can tell it.')
    return np.array(table[name].to_pylist(), str)


def with_scenes(table: pa.Table, gap: int, most: int) -> pa.Table:
    """The table with scenes as videos where no video is known: runs of numbered frames of one folder.

    Args:
        table (pa.Table): With ``image`` and ``video``.
        gap (int): A jump of the last number in the name by more than this begins another scene.
        most (int): So does this many frames.
    """
    images, videos = table['image'].to_pylist(), table['video'].to_pylist()
    for rows in sequences(table):
        scene, frames, before = '', 0, -np.inf
        for row in rows.tolist():
            digits = re.findall(r'\d+', images[row])
            number = int(digits[-1]) if digits else 0
            if number - before > gap or frames == most:
                scene, frames = f'scene {images[row]}', 0
            frames, before = frames + 1, number
            videos[row] = videos[row] or scene
    return table.set_column(table.schema.get_field_index('video'), 'video', pa.array(videos, pa.string()))

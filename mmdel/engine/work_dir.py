"""The work dir of a run: it holds the answer to one question, and each file in it is whole or absent.

origin = Origin.of_images(root, table, cache_dir)   # where its images and vectors lie
refuse_another(work_dir, request)             # another question's answer is not replaced unasked
write_results(work_dir, chosen, origin, request, leaks)
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from mmengine.logging import MMLogger

from mmdel.compute import storage
from mmdel.compute.files import atomic, csv_text, file_digest, write_text
from mmdel.embedding.vectors import Vectors
from mmdel.engine.request import Request, metadata, stated, still_there
from mmdel.errors import ConfigError, LockedError, SubsetError
from mmdel.leaks.leak_record import remove_leaks, write_leaks
from mmdel.selection.findings import LeakReport
from mmdel.selection.selector import Ranking
from mmdel.subset import Subset

SUBSET = 'subset.parquet'

ORIGIN = 'origin.json'

CHANGES = 'update.csv'
"""What is new, gone or changed, image by image, beside an updated subset."""

SKIPPED = 'skipped.csv'
"""The files below the image folder that were not listed, and why."""

RANKING_BYTES, RESULT_BYTES = 28, 40
"""An image's numbers in the file of a ranking, and in the other files of a run, its keys not counted."""

SHOWN = 120
"""Characters of a value in a message."""


@dataclass(frozen=True)
class Origin:
    """Where a run found its images and vectors, on the machine that it ran on.

    Args:
        images (str): Absolute folder that keys are relative to, '' where there is none. Defaults to ''.
        spelled (Mapping[str, str]): Keys whose file is spelled otherwise, to its path below that folder. Defaults to {}.
        cache_dir (str): Absolute folder of the embedding caches, '' where there is none. Defaults to ''.
        embeddings (str): Absolute path of vectors that were given, '' where none were. Defaults to ''.
        keys (str): Absolute path of their keys, '' where none were given. Defaults to ''.
    """

    images: str = ''
    spelled: Mapping[str, str] | None = None
    cache_dir: str = ''
    embeddings: str = ''
    keys: str = ''

    @classmethod
    def of_images(cls, root: str, table: pa.Table, cache_dir: str | os.PathLike[str]) -> 'Origin':
        """Of images that were listed.

        Args:
            root (str): The folder that keys are relative to.
            table (pa.Table): ``image`` and ``path``, the file of each.
            cache_dir (str): The folder of the embedding caches.
        """
        spelled = {}
        usual = pc.binary_join_element_wise(os.path.join(root, ''), table['image'], '')
        other = table.filter(pc.not_equal(usual, table['path']))
        for key, path in zip(other['image'].to_pylist(), other['path'].to_pylist(), strict=True):
            spelled[key] = os.path.relpath(path, root)
        return cls(root, spelled, os.path.abspath(cache_dir))

    def write(self, folder: Path) -> None:
        """Write ``origin.json``."""
        values = {name: value for name, value in vars(self).items() if value}
        write_text(folder / ORIGIN, json.dumps(values, indent=1, sort_keys=True) + '\n')

    @classmethod
    def read(cls, folder: Path) -> 'Origin':
        """Read ``origin.json``; an empty one where there is none.

        Raises:
            SubsetError: The file is damaged.
        """
        path = folder / ORIGIN
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise SubsetError(
                f'{path} cannot be read ({error}). Run mmdel select again, or remove the file.'
            ) from error
        spelled = values.pop('spelled', {}) if isinstance(values, dict) else None
        known = set(vars(cls()))
        if not (
            isinstance(spelled, dict)
            and all(name in known and isinstance(value, str) for name, value in values.items())
            and all(isinstance(value, str) for value in spelled.values())
        ):
            raise SubsetError(f'{path} is not what a run writes. Run mmdel select again, or remove the file.')
        return cls(spelled=spelled, **values)


@dataclass(frozen=True)
class Changes:
    """How the images differ from those of the old subset.

    Args:
        new (tuple[str, ...]): Images and unusable files that it does not list.
        gone (tuple[str, ...]): Those that it lists and that are not there any more.
        changed (tuple[str, ...]): Those that it lists and whose file holds something else than when it was read.
    """

    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """``(image, change)``, sorted by image."""
        return tuple(sorted((image, name) for name in ('new', 'gone', 'changed') for image in getattr(self, name)))

    def write(self, folder: Path) -> None:
        """Write ``update.csv``: ``image,change``."""
        write_text(folder / CHANGES, csv_text([('image', 'change'), *self.rows]))


@dataclass(frozen=True)
class Chosen:
    """What was decided, and what it rests on.

    Args:
        subset (Subset): The decision.
        ranking (Ranking): What it was cut from.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        paths (Mapping): Key to file; {} for vectors without images.
        unreadable (tuple): ``(key, reason)`` of the files that could not be used.
        changes (Changes, optional): Where old decisions stay, how the images differ from theirs. Defaults to None.
    """

    subset: Subset
    ranking: Ranking
    vectors: Vectors
    paths: Mapping[str, str]
    unreadable: tuple[tuple[str, str], ...]
    changes: Changes | None = None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a work dir, and keep other runs out of it.

    Raises:
        LockedError: One is in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / '.lock')
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise LockedError(
            f'Another run is writing into {folder}. Wait for it, or give this one its own --work-dir.'
        ) from error
    try:
        yield
    finally:
        lock.release()


def previous_subset(folder: Path) -> Subset | None:
    """The subset that lies in a work dir already, None where there is none or it cannot be read."""
    path = folder / SUBSET
    if not path.exists():
        return None
    try:
        return Subset.read(path)
    except SubsetError as error:
        MMLogger.get_current_instance().warning(f'The old result is no use and will be replaced: {error}')
        return None


def refuse_another(folder: Path, request: Request) -> None:
    """Refuse to replace the answer to another question. What is not known yet of this one is not compared.

    Args:
        folder (Path): The work dir.
        request (Request): What is asked now.

    Raises:
        ConfigError: The work dir holds another answer; the message says what was asked otherwise.
    """
    path = folder / SUBSET
    told = metadata(path)
    if not told:
        return
    other = _other_question(path, told, request)
    if other:
        raise ConfigError(
            f'{folder} holds the result of another run ({other}). '
            'Give this run its own --work-dir, or replace the old result with --overwrite.'
        )


def refuse_other_images(folder: Path, dataset: Mapping[str, Any] | None, images: pa.Table) -> None:
    """Refuse to replace the result of other images: those of another folder, or where not one is left of the old ones.

    A folder that was moved as a whole still holds most of them; one that has grown or shrunk holds some.

    Args:
        folder (Path): The work dir.
        dataset (Mapping): Which images are meant now, see :class:`~mmdel.engine.request.Request`.
        images (pa.Table): These, see :func:`~mmdel.engine.request.still_there`.

    Raises:
        ConfigError: They are others.
    """
    previous = previous_subset(folder)
    if previous is None:
        return
    root = str((dataset or {}).get('root', ''))
    before = _root_of(folder) or root
    found, wanted = still_there(previous, images)
    if not wanted or (found if before == root else 2 * found >= wanted):
        return
    where = f'{before}, now {root}' if before != root else root or 'the given vectors'
    raise ConfigError(
        f'{folder} holds the result of other images (dataset: {where}; of {wanted:,} of them that were looked for {found:,} are '
        'here, with the size they had). Give this run its own --work-dir, or replace the old result with --overwrite.'
    )


def refuse_inside(root: str | None, dataset: Mapping[str, Any] | None, **folders: Path) -> None:
    """Refuse folders of ours among the images: what is in them would be taken for images the next time.

    Args:
        root (str, optional): The folder of the images, None or '' where there is none.
        dataset (Mapping, optional): The config of their dataset. Where a list names the images, nothing else is taken.
        **folders (Path): By the keys of a config.

    Raises:
        ConfigError: One lies inside.
    """
    inside = {name: folder for name, folder in folders.items() if root and _is_inside(folder, root)}
    if inside and not (dataset or {}).get('ann_file'):
        there = ' and '.join(f'{name} {folder}' for name, folder in inside.items())
        beside = os.path.dirname(os.path.realpath(root or ''))
        other = ' '.join(f'{name}={os.path.join(beside, folder.name)}' for name, folder in inside.items())
        raise ConfigError(
            f'{there} would lie inside the image folder {root}, where the next run would look for images. '
            f'Choose another place, e.g. --cfg-options {other}'
        )


def require_space(folder: Path, cache_dir: Path, images: pa.ChunkedArray) -> None:
    """Say what a run will write, and refuse to begin what cannot be written in the end.

    Args:
        folder (Path): The work dir.
        cache_dir (Path): Where the ranking is kept.
        images (pa.ChunkedArray): [N], the keys.

    Raises:
        StoreError: It has no room.
    """
    text = pc.sum(pc.binary_length(images)).as_py()
    storage.require_space(cache_dir, len(images) * RANKING_BYTES, 'ranking')
    # a key stands in image, in removed_by, and in up to three lists
    storage.require_space(folder, len(images) * RESULT_BYTES + 5 * text, 'results')


def write_results(
    folder: Path,
    chosen: Chosen,
    origin: Origin,
    request: Request,
    leaks: LeakReport | None = None,
) -> tuple[str, ...]:
    """Write everything but the report.

    Args:
        folder (Path): The work dir.
        chosen (Chosen): The decision.
        origin (Origin): Where images and vectors are.
        request (Request): What was asked.
        leaks (LeakReport, optional): What a leak check found. Defaults to None: there was none.

    Returns:
        tuple[str, ...]: What the lists leave out, for people.
    """
    # the question first, so that a run that is killed here can be started again; then the table: all else can be derived from it
    request.write(folder)
    chosen.subset.write(folder / SUBSET)
    lists = chosen.subset.write_lists(folder, origin.spelled)
    write_text(folder / 'unreadable.csv', csv_text([('image', 'reason'), *chosen.unreadable]))
    if chosen.ranking.centroids is not None:
        with atomic(folder / 'centroids.npy') as temporary, open(temporary, 'wb') as file:
            np.save(file, chosen.ranking.centroids, allow_pickle=False)
    origin.write(folder)
    # what an earlier check found was of another pool
    remove_leaks(folder)
    if leaks is not None:
        write_leaks(folder, leaks, chosen.subset)
    if chosen.changes is None:
        (folder / CHANGES).unlink(missing_ok=True)
    else:
        chosen.changes.write(folder)
    write_text(folder / 'config.py', request.config.pretty_text)
    return lists.notes


def write_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Write :data:`SKIPPED`, where there is anything to say.

    Args:
        folder (Path): The work dir.
        skipped (Sequence[tuple[str, str]]): ``(key, reason)``.
    """
    if skipped:
        write_text(folder / SKIPPED, csv_text([('file', 'reason'), *skipped]))
    else:
        (folder / SKIPPED).unlink(missing_ok=True)


def _other_question(path: Path, told: Mapping[str, Any], request: Request) -> str:
    """What was asked for otherwise, '' where nothing was."""
    updates = told.get('updates') or [{}]
    if request.updated is None and updates[-1]:
        return 'it was updated, and its old decisions would be lost'
    if request.updated is not None:
        # an update without new images is the old subset itself
        if request.updated not in (updates[-1].get('of'), file_digest(path)):
            return 'it is no update of the subset that this one is to update'
        told = {}
    found = request.differs({**told, 'dataset': None}) or request.differs(stated(path.parent))
    if not found:
        return ''
    name, before, now = found
    return f'{name.replace("dataset.config", "dataset")}: {_short(before)}, now {_short(now)}'


def _root_of(folder: Path) -> str:
    """Where the images of a result lay, '' where that is not known."""
    try:
        root = (stated(folder).get('dataset') or {}).get('root') or Origin.read(folder).images
    except (SubsetError, AttributeError):
        return ''
    return os.path.realpath(root) if isinstance(root, str) and root else ''


def _is_inside(folder: Path, root: str) -> bool:
    return os.path.commonpath([os.path.realpath(folder), os.path.realpath(root)]) == os.path.realpath(root)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'

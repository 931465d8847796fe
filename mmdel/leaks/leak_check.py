"""The leak check: embeds the test images with the pool's own encoder, and compares them with the pool.

    report = check_leaks(pool, ExcludeNear.from_cfg(dict(against=['configs/segmentation/...py'])), embedder, cache_dir)
    report.pairs

Test images are embedded as they are and mirrored. What was compared is kept in the cache: another cut of the same pool opens
no picture again.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import MMLogger

from mmdel import similarity
from mmdel.compute.files import write_text
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.embed import Embedded, embed_images
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.vectors import ChosenRows, StackedRows, Vectors
from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images.depth import max_value_of
from mmdel.images.frames import read_frame
from mmdel.images.image_table import dataset_digest
from mmdel.leaks import same_picture
from mmdel.leaks import search as leaks
from mmdel.leaks.downstream_sets import DownstreamSet, list_downstream_sets, set_name
from mmdel.leaks.same_picture import ImageFeatures, compare, extract_features
from mmdel.leaks.search import Pair, Rows, View, find_leaks, is_leak
from mmdel.selection.findings import CheckedSet, Leak, LeakReport, LeakRule

CACHED_FEATURES = 512
"""Pictures of the pool that are held ready, some 0.5 MB each."""


@dataclass(frozen=True)
class ExcludeNear:
    """The key ``exclude_near`` of a dedup config.

    Args:
        against (Sequence[str]): mmseg or mmpretrain configs, whose test images count (where there are none, those of the
            validation), or folders of images.
        rule (LeakRule): What is a leak. Defaults to ``LeakRule()``.
    """

    against: Sequence[str]
    rule: LeakRule = field(default_factory=LeakRule)

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any] | None) -> 'ExcludeNear | None':
        """Build from the config; None where there is no such key.

        Raises:
            ConfigError: A key is unknown, or has a value that cannot be used.
        """
        if cfg is None:
            return None
        if not isinstance(cfg, Mapping):
            raise ConfigError(f'exclude_near is a dict such as dict(against=[CONFIG]), got {cfg!r}.')
        unknown = sorted(set(cfg) - {'against', 'threshold', 'neighbours'})
        if unknown:
            raise ConfigError(f'exclude_near has no key {unknown[0]!r}; it has against, threshold and neighbours.')
        against = cfg.get('against')
        against = [against] if isinstance(against, str | os.PathLike) else against
        if (
            not isinstance(against, Sequence)
            or not against
            or not all(isinstance(each, str | os.PathLike) for each in against)
        ):
            raise ConfigError(
                f'exclude_near.against lists configs or folders of test images, got {against!r}; name at least one.'
            )
        rule = LeakRule(**{name: cfg[name] for name in ('threshold', 'neighbours') if name in cfg})
        return cls(tuple(map(str, against)), rule)

    def config(self) -> dict[str, Any]:
        """What was asked for, JSON-able and without paths."""
        return {'against': [set_name(each) for each in self.against], **self.rule.config()}


def check_leaks(
    pool: Embedded,
    asked: ExcludeNear,
    embedder: BaseEmbedder,
    cache_dir: str,
    device: str | None = None,
    progress: Stages = SILENT,
) -> LeakReport:
    """Look for copies of test images in a pool.

    Args:
        pool (Embedded): The pool.
        asked (ExcludeNear): What is tested on, and what is a leak.
        embedder (BaseEmbedder): The one that embedded the pool.
        cache_dir (str): Where vectors and comparisons are kept between runs.
        device (str, optional): Where the encoder runs. Defaults to None (CUDA where there is one).
        progress (Stages): Shows the stages. Defaults to ``SILENT``.

    Raises:
        MmdelError: The test images are not there, or cannot be embedded.
    """
    with progress.stage('list'):
        sets = list_downstream_sets(asked.against)
    checked, pairs = [], []
    for each in sets:
        tests = _embedded(each, embedder, cache_dir, device, progress)
        MMLogger.get_current_instance().info(
            f'{len(tests.keys):,} test images of {each.name} ({each.part}), {tests.unreadable:,} more are unreadable'
        )
        checked.append(CheckedSet(each.name, each.part, len(tests.keys), tests.unreadable, tests.digest))
        pairs += _check_set(pool, each.name, tests, asked.rule, cache_dir, progress)
    order = {each.name: place for place, each in enumerate(sets)}
    pairs.sort(key=lambda pair: (pair.image, -pair.agreement, order[pair.test_set], pair.test_image))
    return LeakReport(asked.rule, len(pool.table), tuple(checked), tuple(pairs))


def _check_set(
    pool: Embedded, name: str, tests: '_Tests', rule: LeakRule, cache_dir: str, progress: Stages
) -> list[Leak]:
    """The pairs of one set, which do not depend on what else is checked."""
    images, paths = (pool.table[column].to_pylist() for column in ('image', 'path'))
    size, count = len(images), len(tests.keys)
    # centred: images of scopes share most of what encoders see, and their raw cosines hardly differ
    source = StackedRows([pool.source, tests.plain, tests.mirrored])
    vectors = Vectors(source, [*images, *tests.keys, *tests.keys], center=True, progress=progress)
    rows = Rows(np.arange(size), size + np.arange(count), size + count + np.arange(count))

    def search() -> list[Pair]:
        with _Pictures(paths, tests.paths, max_value_of(pool.fingerprint)) as pictures:
            return find_leaks(vectors, rows, pictures.compare, rule, progress)

    return [
        Leak(
            image=images[pair.pool],
            test_set=name,
            test_image=tests.keys[pair.test],
            test_file=tests.paths[pair.test],
            cosine=pair.cosine,
            agreement=pair.agreement,
            mirrored=pair.mirrored,
            leak=is_leak(pair.agreement, rule),
        )
        for pair in _kept(Path(cache_dir), rule, vectors, size, [*images, *tests.keys, *paths, *tests.paths], search)
    ]


@dataclass(frozen=True)
class _Tests:
    """The readable images of one set, as they are and mirrored."""

    keys: list[str]
    paths: list[str]
    plain: ChosenRows
    mirrored: ChosenRows
    unreadable: int
    digest: str


def _embedded(
    test: DownstreamSet, embedder: BaseEmbedder, cache_dir: str, device: str | None, progress: Stages
) -> _Tests:
    plain, mirrored = (
        embed_images(test.images, each, cache_dir, device=device, progress=progress)
        for each in (embedder, embedder.mirrored())
    )
    place = {key: row for row, key in enumerate(mirrored.table['image'].to_pylist())}
    # a file may have come or gone in between
    both = [(row, key) for row, key in enumerate(plain.table['image'].to_pylist()) if key in place]
    table = plain.table.take([row for row, _ in both])
    return _Tests(
        keys=[key for _, key in both],
        paths=table['path'].to_pylist(),
        plain=ChosenRows(plain.source, np.array([row for row, _ in both], np.int64)),
        mirrored=ChosenRows(mirrored.source, np.array([place[key] for _, key in both], np.int64)),
        unreadable=len(test.images.table) + len(test.images.ledger) - len(both),
        digest=dataset_digest(table),
    )


class _Pictures:
    """Compares image files; a context manager, in which OpenCV leaves threads to us."""

    def __init__(self, pool: Sequence[str], tests: Sequence[str], max_value: int | None) -> None:
        self._pool = pool
        self._tests = tests
        self._features = functools.lru_cache(CACHED_FEATURES)(functools.partial(_features, max_value))
        self._both = functools.lru_cache(16)(functools.partial(_both_features, max_value))

    def __enter__(self) -> '_Pictures':
        self._threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        return self

    def __exit__(self, *_: Any) -> None:
        cv2.setNumThreads(self._threads)

    def compare(self, pool: int, test: int) -> View | None:
        """The better of the two orientations; the plain one where they are alike."""
        one, both = self._features(self._pool[pool]), self._both(self._tests[test])
        if one is None or both is None:
            return None
        plain, mirrored = (compare(one, other).agreement for other in both)
        return View(max(plain, mirrored), mirrored > plain)


def _features(max_value: int | None, path: str) -> ImageFeatures | None:
    try:
        return extract_features(read_frame(path, max_value=max_value).image)
    except UnreadableImage:  # it could be read when it was embedded, and is in no pair now
        return None


def _both_features(max_value: int | None, path: str) -> tuple[ImageFeatures, ImageFeatures] | None:
    try:
        image = read_frame(path, max_value=max_value).image
    except UnreadableImage:
        return None
    return extract_features(image), extract_features(np.ascontiguousarray(image[:, ::-1]))


def _kept(
    cache_dir: Path, rule: LeakRule, vectors: Vectors, size: int, names: Sequence[str], search: Callable[[], list[Pair]]
) -> list[Pair]:
    """What was found, from the cache or now; a file that is damaged is made again."""
    versions = [leaks.VERSION, same_picture.VERSION, similarity.VERSION]
    about = {'versions': versions, 'rule': rule.config(), 'pool': size, 'vectors': vectors.digest}
    digest = hashlib.sha256(json.dumps([about, list(names)], sort_keys=True).encode()).hexdigest()[:32]
    path = cache_dir / 'leaks' / f'{digest}.json'
    try:
        pairs = [Pair(**each) for each in json.loads(path.read_bytes())]
        if all(0 <= pair.pool < size and 0 <= pair.test < len(vectors) - size for pair in pairs):
            return pairs
    except (OSError, ValueError, TypeError):
        pass
    pairs = search()
    write_text(path, json.dumps([asdict(pair) for pair in pairs]) + '\n')
    return pairs

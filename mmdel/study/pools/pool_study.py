"""Studies without training: methods choose from many drawn pools, and what they chose is judged in seconds.

    study = read_pool_study('configs/study/pools_wce.py')
    results = run_pool_study(study)          # work_dirs/study/pools_wce/results.parquet

The keys of the file:

    archive = dict(config='../meddel_eta08.py', options={'center': True})   # images, and the encoder that chooses
    judges = {'pixels': dict(type='mmdel.PixelEmbedder')}   # other encoders, that judge where an evaluation names them
    pool = dict(type='mmdel.GroupPool', size=1000)   # how pools are drawn
    pools, budgets = 50, (20, 40, 80)                # how many, and images to choose; below 1, a share of the pool
    selectors = {'random': dict(type='mmdel.RandomSelector', seed='{seed}')}
    evaluations = {'events': dict(type='mmdel.RareEvents'), 'coverage': dict(type='mmdel.FeatureCoverage', judge='pixels')}
    baselines = ('random',)

``'{seed}'`` is the number of the pool. What a pool gives is kept when it is done, so that a study that was stopped goes on; its
files say all that decides them, and another question makes others.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

import mmdel
from mmdel.compute.files import atomic
from mmdel.compute.progress import SILENT, Stages
from mmdel.config.config_check import check_keys, check_value
from mmdel.config.config_file import merge_values, read_config
from mmdel.embedding.embed import embed_images
from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.engine.dedup_config import build_part, check_dedup_config
from mmdel.errors import ConfigError
from mmdel.images.image_table import image_table
from mmdel.registry import EVALUATIONS, POOLS
from mmdel.selection.selector import build_selector
from mmdel.study.pools.drawing import BasePool, with_scenes
from mmdel.study.pools.evaluations import Archive, BaseEvaluation, Resample
from mmdel.study.study_config import PLACES, Recipe, filled, plain_config, with_seed
from mmdel.subset import size_at
from mmdel.subset.columns import METADATA

VERSION = 2
"""Of what a pool gives; raised when the same config gives other figures."""

RESULTS = 'results.parquet'

SCHEMA = pa.schema(
    [
        ('pool', pa.int64()),
        ('selector', pa.string()),
        ('budget', pa.string()),
        ('kept', pa.int64()),
        ('evaluation', pa.string()),
        ('figure', pa.string()),
        ('value', pa.float64()),
        ('redrawn', pa.list_(pa.float32())),
    ]
)
"""One row for each figure: ``budget`` as it was asked for ('all' for what rests on the whole ranking), ``kept`` images;
``redrawn`` is the same figure of redrawn groups, the same ones in every row of a pool and evaluation."""

_KEYS: dict[str, Any] = {
    'work_dir': str | None,
    'data_root': str | None,
    'weights': str | None,
    'archive': dict,
    'judges': dict[str, dict],
    'scenes': dict | None,
    'pool': dict,
    'pools': int,
    'draws': int,
    'budgets': Sequence[float],
    'selectors': dict[str, dict],
    'evaluations': dict[str, dict],
    'baselines': Sequence[str],
}


@dataclass(frozen=True)
class PoolStudy:
    """What is compared, checked.

    Args:
        name (str): The stem of the config's file.
        work_dir (Path): Where everything goes.
        archive (Recipe): The dedup config whose dataset and encoder pools are drawn from.
        judges (dict[str, dict]): Further encoders by name; an evaluation with ``judge`` has the features of that one, and any
            other one those of the encoder that chooses.
        scenes (dict, optional): Arguments of :func:`~mmdel.study.pools.drawing.with_scenes`.
        pool (dict): Config of the pools.
        pools (int): How many are drawn.
        draws (int): How often groups are redrawn in each.
        budgets (tuple[float, ...]): Images to choose, or shares of the pool below 1.
        selectors (dict[str, dict]): By name.
        evaluations (dict[str, dict]): By name.
        baselines (tuple[str, ...]): Selectors that the others are compared with.
    """

    name: str
    work_dir: Path
    archive: Recipe
    judges: dict[str, dict[str, Any]]
    scenes: dict[str, int] | None
    pool: dict[str, Any]
    pools: int
    draws: int
    budgets: tuple[float, ...]
    selectors: dict[str, dict[str, Any]]
    evaluations: dict[str, dict[str, Any]]
    baselines: tuple[str, ...]


def is_pool_study(path: str) -> bool:
    """Whether a study's config draws pools."""
    return 'pools' in read_config(path)


def read_pool_study(path: str, options: list[str] | None = None, work_dir: str | None = None) -> PoolStudy:
    """Read and check the config of a study of pools; arguments as of :func:`~mmdel.study.study_config.read_study`.

    Raises:
        ConfigError: A key is missing, unknown or of no use; the message names it.
    """
    raw = plain_config(read_config(path, options))
    raw = filled(raw, {f'{{{name}}}': str(raw[name]) for name in PLACES if raw.get(name) is not None})
    check_keys(raw, _KEYS, '', 'a study of pools')
    for key, value in raw.items():
        check_value(value, _KEYS[key], key)
    for key in ('archive', 'pool', 'pools', 'budgets', 'selectors', 'evaluations'):
        if key not in raw:
            raise ConfigError(f'{path} lacks the key {key!r}; see configs/study/pools_wce.py.')
    if raw['pools'] < 1 or raw.get('draws', 1) < 1:
        raise ConfigError('pools and draws are at least 1.')
    if any(budget <= 0 for budget in raw['budgets']):
        raise ConfigError(f'budgets are numbers of images, or shares below 1, got {raw["budgets"]}.')
    baselines = tuple(raw.get('baselines', ()))
    for name in baselines:
        if name not in raw['selectors']:
            raise ConfigError(f'baselines names {name!r}, and there are: {", ".join(raw["selectors"])}.')
    judges = raw.get('judges', {})
    for name, config in raw['evaluations'].items():
        if config.get('judge') is not None and config['judge'] not in judges:
            raise ConfigError(
                f'evaluations[{name!r}].judge names {config["judge"]!r}, and there are: {", ".join(judges)}.'
            )
    archive = raw['archive']
    check_keys(archive, ('config', 'options'), 'archive', 'archive')
    return PoolStudy(
        name=Path(path).stem,
        work_dir=Path(work_dir or raw.get('work_dir') or Path('work_dirs', 'study', Path(path).stem)),
        archive=Recipe(Path(path).parent / archive.get('config', ''), dict(archive.get('options', {}))),
        judges=dict(raw.get('judges', {})),
        scenes=raw.get('scenes'),
        pool=raw['pool'],
        pools=raw['pools'],
        draws=raw.get('draws', 25),
        budgets=tuple(raw['budgets']),
        selectors=dict(raw['selectors']),
        evaluations=dict(raw['evaluations']),
        baselines=baselines,
    )


def run_pool_study(
    study: PoolStudy, progress: Stages = SILENT, say: Callable[[str], None] = lambda line: None
) -> pa.Table:
    """Draw, choose and judge what is not done yet, and write ``results.parquet``, of :data:`SCHEMA`.

    Raises:
        MmdelError: Something that the author of the config can mend; the message says how.
    """
    pool, evaluations = _built(POOLS, 'pool', study.pool), {}
    for name, config in study.evaluations.items():
        own = {key: value for key, value in config.items() if key != 'judge'}
        evaluations[name] = _built(EVALUATIONS, f'evaluations[{name!r}]', own)
    for config in study.selectors.values():
        build_selector(with_seed(config, 0))
    material = _material(study, progress)
    digest = hashlib.sha256(json.dumps(material.about, sort_keys=True).encode()).hexdigest()
    parts = []
    with progress.stage('pools', study.pools, 'pools') as tick:
        for number in range(study.pools):
            path = study.work_dir / 'pools' / f'{number:04d}-{digest[:12]}.parquet'
            if not path.is_file():
                found = _one_pool(study, number, material, pool, evaluations)
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic(path) as other:
                    pq.write_table(found, other)
            parts.append(pq.read_table(path, schema=SCHEMA))
            tick(1)
    table = pa.concat_tables(parts).replace_schema_metadata({'study': json.dumps(material.about, sort_keys=True)})
    with atomic(study.work_dir / RESULTS) as other:
        pq.write_table(table, other)
    say(f'{study.pools} pools, {len(table):,} figures: {study.work_dir / RESULTS}')
    return table


@dataclass(frozen=True)
class _Material:
    """What pools are drawn from, and judged by.

    Args:
        archives (dict[str | None, Archive]): By the name of the judge; None is the encoder that chooses.
        center (bool): Whether its vectors are centred before methods see them.
        about (dict): All that decides the figures of a pool.
    """

    archives: dict[str | None, Archive]
    center: bool
    about: dict[str, Any]


def _one_pool(
    study: PoolStudy, number: int, material: _Material, drawing: BasePool, evaluations: Mapping[str, BaseEvaluation]
) -> pa.Table:
    archive = material.archives[None]
    pool = drawing.draw(archive.table, np.random.default_rng((number, 0)))
    table = pool.table(archive.table)
    source = ArraySource(pool.vectors(archive.raw, np.random.default_rng((number, 1))))
    vectors = Vectors(source, table['image'], material.center)
    sizes = {str(budget): int(budget) if budget >= 1 else size_at(budget, len(vectors)) for budget in study.budgets}
    if max(sizes.values()) > len(vectors):
        raise ConfigError(f'budgets: pool {number} has {len(vectors):,} images, fewer than {max(sizes.values()):,}.')
    judges = {name: material.archives[config.get('judge')] for name, config in study.evaluations.items()}
    rows: list[dict[str, Any]] = []
    resample = {name: Resample((number, place), study.draws) for place, name in enumerate(evaluations)}
    for selector, config in study.selectors.items():
        method = build_selector(with_seed(config, number))
        order = None
        for budget, size in sizes.items():
            if order is None or method.recut == 'none':
                order = np.argsort(method.rank(vectors, table, size).rank)
            for name, evaluation in evaluations.items():
                figures = evaluation.judge(judges[name], pool, order[:size], resample[name])
                rows += _rows(number, selector, budget, size, name, figures)
        if method.recut != 'none' and order is not None:
            for name, evaluation in evaluations.items():
                figures = evaluation.judge_ranking(judges[name], pool, order)
                rows += _rows(number, selector, 'all', len(order), name, figures)
    return pa.Table.from_pylist(rows, SCHEMA)


def _rows(
    number: int, selector: str, budget: str, kept: int, evaluation: str, figures: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    about = dict(pool=number, selector=selector, budget=budget, kept=kept, evaluation=evaluation)
    return [dict(about, figure=name, value=float(each[0]), redrawn=each[1:].tolist()) for name, each in figures.items()]


def _material(study: PoolStudy, progress: Stages) -> _Material:
    cfg = read_config(str(study.archive.path))
    merge_values(cfg, study.archive.options, 'archive.options')
    cfg.selector = cfg.get('selector') or dict(type='mmdel.Coverage')
    check_dedup_config({**cfg, 'work_dir': str(study.work_dir)})
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    images = image_table(build_part('dataset', cfg.dataset))
    embedded = {
        name: embed_images(images, build_part('embedder', config), cfg.cache_dir, progress=progress)
        for name, config in [(None, cfg.embedder), *study.judges.items()]
    }
    own = embedded[None]
    table = own.table if study.scenes is None else with_scenes(own.table, **study.scenes)
    archives: dict[str | None, Archive] = {}
    about: dict[str, Any] = {
        'mmdel': mmdel.__version__,
        'version': VERSION,
        'center': bool(cfg.get('center')),
        'encoders': [],
    }
    for name, each in embedded.items():
        if each.table['image'] != own.table['image']:
            raise ConfigError(f'judges[{name!r}] cannot read the same images as the encoder that chooses.')
        # features are centred over the archive: what all images have in common tells none from another
        unit = Vectors(each.source, table['image'], center=True)
        raw = each.source.read(slice(0, len(table))).astype(np.float32)
        archives[name] = Archive(table, unit.read(slice(0, len(table))), raw)
        about['encoders'].append([name, each.fingerprint, unit.digest])
    known = json.dumps(table.select(['image', *METADATA]).to_pydict())
    about['archive'] = hashlib.sha256(known.encode()).hexdigest()
    about |= {name: getattr(study, name) for name in ('scenes', 'pool', 'budgets', 'draws', 'selectors', 'evaluations')}
    return _Material(archives, about['center'], about)


def _built(registry: Any, where: str, config: Mapping[str, Any]) -> Any:
    if registry.get(config.get('type', '')) is None:
        raise ConfigError(f'{where}.type={config.get("type")!r}: there is no such {registry.name}.')
    try:
        return registry.build(dict(config))
    except TypeError as error:
        raise ConfigError(f'{where}: {error}') from error

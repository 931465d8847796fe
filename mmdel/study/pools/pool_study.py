"""Studies without training: methods choose from many drawn pools, and what they chose is judged in seconds.

    study = read_pool_study('configs/study/pools_wce.py')
    results = run_pool_study(study)          # work_dirs/study/pools_wce/results.parquet

The keys of the file:

    archive = dict(config='../meddel_eta08.py', options={'center': True})   # images, and the encoder that chooses
    judge = dict(type='mmdel.ViTEmbedder', ...)      # another encoder, that judges
    pool = dict(type='mmdel.GroupPool', size=1000)   # how pools are drawn
    pools, budgets = 50, (20, 40, 80)                # how many, and images to choose; below 1, a share of the pool
    selectors = {'random': dict(type='mmdel.RandomSelector', seed='{seed}')}
    evaluations = {'events': dict(type='mmdel.RareEvents')}
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

VERSION = 1
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
    'judge': dict | None,
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
        judge (dict, optional): The encoder that judges; None is the one that chooses.
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
    judge: dict[str, Any] | None
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
    archive = raw['archive']
    check_keys(archive, ('config', 'options'), 'archive', 'archive')
    return PoolStudy(
        name=Path(path).stem,
        work_dir=Path(work_dir or raw.get('work_dir') or Path('work_dirs', 'study', Path(path).stem)),
        archive=Recipe(Path(path).parent / archive.get('config', ''), dict(archive.get('options', {}))),
        judge=raw.get('judge'),
        scenes=raw.get('scenes'),
        pool=raw['pool'],
        pools=raw['pools'],
        draws=raw.get('draws', 100),
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
        evaluations[name] = _built(EVALUATIONS, f'evaluations[{name!r}]', config)
    for config in study.selectors.values():
        build_selector(with_seed(config, 0))
    archive, raw, center, about = _archive(study, progress)
    parts = []
    with progress.stage('pools', study.pools, 'pools') as tick:
        for number in range(study.pools):
            path = study.work_dir / 'pools' / f'{number:04d}-{_digest(about)[:12]}.parquet'
            if not path.is_file():
                found = _one_pool(study, number, archive, raw, center, pool, evaluations)
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic(path) as other:
                    pq.write_table(found, other)
            parts.append(pq.read_table(path, schema=SCHEMA))
            tick(1)
    table = pa.concat_tables(parts).replace_schema_metadata({'study': json.dumps(about, sort_keys=True)})
    with atomic(study.work_dir / RESULTS) as other:
        pq.write_table(table, other)
    say(f'{study.pools} pools, {len(table):,} figures: {study.work_dir / RESULTS}')
    return table


def _one_pool(
    study: PoolStudy,
    number: int,
    archive: Archive,
    raw: NDArray[np.float32],
    center: bool,
    drawing: BasePool,
    evaluations: Mapping[str, BaseEvaluation],
) -> pa.Table:
    pool = drawing.draw(archive.table, np.random.default_rng((number, 0)))
    table = pool.table(archive.table)
    source = ArraySource(pool.vectors(raw, np.random.default_rng((number, 1))))
    vectors = Vectors(source, table['image'], center)
    sizes = {f'{budget:g}': budget if budget >= 1 else size_at(budget, len(vectors)) for budget in study.budgets}
    rows: list[dict[str, Any]] = []
    resample = {name: Resample((number, place), study.draws) for place, name in enumerate(evaluations)}
    for selector, config in study.selectors.items():
        method = build_selector(with_seed(config, number))
        order = None
        for budget, size in sizes.items():
            if order is None or method.recut == 'none':
                order = np.argsort(method.rank(vectors, table, int(size)).rank)
            for name, evaluation in evaluations.items():
                figures = evaluation.judge(archive, pool, order[: int(size)], resample[name])
                rows += _rows(number, selector, budget, int(size), name, figures)
        if method.recut != 'none' and order is not None:
            for name, evaluation in evaluations.items():
                rows += _rows(number, selector, 'all', len(order), name, evaluation.judge_ranking(archive, pool, order))
    return pa.Table.from_pylist(rows, SCHEMA)


def _rows(
    number: int, selector: str, budget: str, kept: int, evaluation: str, figures: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    about = dict(pool=number, selector=selector, budget=budget, kept=kept, evaluation=evaluation)
    return [dict(about, figure=name, value=float(each[0]), redrawn=each[1:].tolist()) for name, each in figures.items()]


def _archive(study: PoolStudy, progress: Stages) -> tuple[Archive, NDArray[np.float32], bool, dict[str, Any]]:
    """The archive, raw vectors of the encoder that chooses, whether they are centred, and all that decides the figures."""
    cfg = read_config(str(study.archive.path))
    merge_values(cfg, study.archive.options, 'archive.options')
    cfg.selector = cfg.get('selector') or dict(type='mmdel.Coverage')
    check_dedup_config({**cfg, 'work_dir': str(study.work_dir)})
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    images = image_table(build_part('dataset', cfg.dataset))
    chooses = embed_images(images, build_part('embedder', cfg.embedder), cfg.cache_dir, progress=progress)
    judges = chooses
    if study.judge is not None:
        judges = embed_images(images, build_part('embedder', study.judge), cfg.cache_dir, progress=progress)
    if judges.table['image'] != chooses.table['image']:
        raise ConfigError('The encoder that chooses and the one that judges cannot read the same images.')
    table = chooses.table
    if study.scenes is not None:
        table = with_scenes(table, **study.scenes)
    raw = chooses.source.read(slice(0, len(table))).astype(np.float32)
    # features are centred over the archive: what all images have in common tells none from another
    unit = Vectors(judges.source, table['image'], center=True)
    about = {
        'mmdel': mmdel.__version__,
        'version': VERSION,
        'archive': hashlib.sha256('\n'.join(table['image'].to_pylist()).encode()).hexdigest(),
        'chooses': [chooses.fingerprint, Vectors(chooses.source, table['image']).digest],
        'judges': [judges.fingerprint, unit.digest],
        'center': bool(cfg.get('center')),
        **{name: getattr(study, name) for name in ('scenes', 'pool', 'budgets', 'draws', 'selectors', 'evaluations')},
    }
    return Archive(table, unit.read(slice(0, len(table)))), raw, about['center'], about


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _built(registry: Any, where: str, config: Mapping[str, Any]) -> Any:
    if registry.get(config.get('type', '')) is None:
        raise ConfigError(f'{where}.type={config.get("type")!r}: there is no such {registry.name}.')
    try:
        return registry.build(dict(config))
    except TypeError as error:
        raise ConfigError(f'{where}: {error}') from error

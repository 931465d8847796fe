"""A finished run checked for leaks, and the same run again without them: what ``tools/check_leakage.py`` does.

    report = check_run(FinishedRun.open('work_dirs/meddel_eta08'), ExcludeNear([CONFIG]))
    runner, subset = exclude_leaks(finished, ExcludeNear([CONFIG]), Path('work_dirs/meddel_eta08-without-leaks'))

Leaving images out of a finished subset is not enough: what they removed as duplicates has to come back. So the run is made again,
with its vectors from the cache, and the copies take no part in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmdel.compute.progress import SILENT, Stages
from mmdel.config.config_file import read_config
from mmdel.embedding.embed import embed_images
from mmdel.engine.dedup_runner import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.request import recorded_config
from mmdel.errors import ConfigError, DatasetError
from mmdel.images.depth import max_value_of, use_range
from mmdel.images.image_table import SCHEMA, ImageTable
from mmdel.leaks.leak_check import ExcludeNear, check_leaks
from mmdel.registry import EMBEDDERS
from mmdel.selection.findings import LeakReport, LeakRule
from mmdel.subset import Subset
from mmdel.subset.columns import conform


def exclusion_options(against: Sequence[str], threshold: float | None, neighbours: int | None) -> ExcludeNear:
    """The options of the command line; what is None has its default."""
    given: dict[str, Any] = {'threshold': threshold, 'neighbours': neighbours}
    return ExcludeNear(tuple(against), LeakRule(**{name: value for name, value in given.items() if value is not None}))


def check_run(
    run: FinishedRun,
    asked: ExcludeNear,
    config: str | None = None,
    device: str | None = None,
    progress: Stages = SILENT,
) -> LeakReport:
    """Look for copies of test images among all images that took part in a run, kept or not.

    Args:
        run (FinishedRun): The run.
        asked (ExcludeNear): What is tested on, and what is a leak.
        config (str, optional): Its config, which is executed. Defaults to None: what ``request.json`` records.
        device (str, optional): Where the encoder runs. Defaults to None (CUDA where there is one).
        progress (Stages): Shows the stages. Defaults to ``SILENT``.

    Raises:
        ConfigError: The encoder is not known, or not trusted.
        DatasetError: The images are not there.
    """
    cfg = _config(run, config, 'embedder')
    images = _images(run)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    embedder = EMBEDDERS.build(cfg['embedder'])
    stored = run.subset.metadata.get('embedder')
    use_range(embedder, max_value_of(stored))
    pool = embed_images(images, embedder, _cache_dir(run, cfg), device=device, progress=progress)
    if pool.fingerprint != stored:
        MMLogger.get_current_instance().warning(
            'The encoder is another one now than when the subset was chosen (other weights or precision), so all images '
            'were embedded again.'
        )
    return check_leaks(pool, asked, embedder, _cache_dir(run, cfg), device, progress)


def exclude_leaks(
    run: FinishedRun,
    asked: ExcludeNear,
    out: Path,
    config: str | None = None,
    device: str | None = None,
    progress: Stages = SILENT,
) -> tuple[DedupRunner, Subset]:
    """The run again, without the copies, into another work dir.

    Args:
        run (FinishedRun): The run; it stays as it is.
        asked (ExcludeNear): What is tested on, and what is a leak; added to what the run itself was told.
        out (Path): The new work dir.
        config (str, optional): See :func:`check_run`. Defaults to None.
        device (str, optional): Where the encoder runs. Defaults to None (CUDA where there is one).
        progress (Stages): Shows the stages. Defaults to ``SILENT``.

    Raises:
        ConfigError: ``out`` is the run's own folder or holds something else, or the encoder or dataset is not trusted.
    """
    if out.resolve() == run.folder.resolve():
        raise ConfigError(f'{out} is the run itself, which stays as it is. Give --exclude another folder.')
    cfg = _config(run, config, 'embedder', 'dataset', 'selector')
    before = ExcludeNear.from_cfg(cfg.get('exclude_near'))
    against = list(dict.fromkeys([*(before.against if before else ()), *asked.against]))
    cfg['exclude_near'] = dict(against=against, **asked.rule.config())
    cfg['work_dir'] = str(out)
    cfg['cache_dir'] = _cache_dir(run, cfg)
    ratio = (run.subset.metadata.get('asked') or {}).get('ratio')
    runner = DedupRunner.from_cfg(cfg, ratio=ratio, device=device, progress=progress)
    return runner, runner.run()


def _config(run: FinishedRun, config: str | None, *parts: str) -> Config:
    """The config of the run, of which these parts are going to be built."""
    if run.origin.embeddings:
        raise ConfigError(
            f'{run.folder} was chosen by vectors that were given (--embeddings). Test images need the encoder that made them: '
            'choose with --images and --encoder instead.'
        )
    if config is None:
        return recorded_config(run.folder, *parts)
    cfg = read_config(config)
    if cfg.get('embedder') is None:
        raise ConfigError(f'{config} has no embedder.')
    return cfg


def _images(run: FinishedRun) -> ImageTable:
    """The images that took part in the run, with their files."""
    paths = run.paths
    keys = run.subset.readable_rows['image'].to_pylist()
    if not paths:
        raise DatasetError(f'Where the images of {run.folder} are is not known; name their folder with --images DIR')
    known = [key for key in keys if key in paths]
    files = pa.table(
        {'image': pa.array(known, pa.string()), 'path': pa.array([paths[key] for key in known], pa.string())}
    )
    return ImageTable(run.origin.images, conform(files, SCHEMA), (), (), ())


def _cache_dir(run: FinishedRun, cfg: Config) -> str:
    return run.origin.cache_dir or str(cfg.get('cache_dir', 'work_dirs/.embeddings'))

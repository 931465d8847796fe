"""Applies command-line options to a training config."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, DATASETS, MODELS, OPTIMIZERS, TRANSFORMS, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdel.config.config_check import arguments, check_keys
from mmdel.config.config_file import merge_options, read_config
from mmdel.errors import ConfigError, MmdelError

TOP_KEYS = {
    *arguments(Runner).kinds,
    *('default_scope', 'custom_imports', 'env_cfg', 'auto_scale_lr', 'runner_type', 'model_wrapper_cfg', 'resume'),
    *('find_unused_parameters', 'sync_bn', 'compile', 'tta_model', 'tta_pipeline', 'log_level', 'work_dir'),
}
"""What mmengine's runner and the tools read of a training config."""

LOADER_KEYS = {
    *arguments(DataLoader).kinds,
    *(
        'dataset',
        'sampler',
        'batch_sampler',
        'num_batch_per_epoch',
        'worker_init_fn',
        'collate_fn',
        'persistent_workers',
    ),
}

_REGISTRIES: dict[str, Registry] = {
    'dataset': DATASETS,
    'pipeline': TRANSFORMS,
    'sampler': DATA_SAMPLERS,
    'optimizer': OPTIMIZERS,
    **dict.fromkeys(('model', 'backbone', 'neck', 'head', 'decode_head', 'auxiliary_head'), MODELS),
}
"""Parts of a training config whose keys are the arguments of their class, and of nobody else."""


def read_training_config(path: str, options: Sequence[str] | None = None) -> Config:
    """Read a config, change keys of it, and add what mmpretrain's own tools add to configs that say nothing.

    Args:
        path (str): The file.
        options (Sequence[str], optional): KEY=VALUE, as every OpenMMLab tool takes them. Defaults to None.

    Raises:
        ConfigError: There is no such file, an option makes a key that nobody would read.
    """
    cfg = read_config(path)
    for place in merge_options(cfg, options):
        _check_new_key(cfg, place.split('.'))
    if cfg.get('default_scope') == 'mmpretrain':
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(name):
                cfg[name].setdefault('collate_fn', dict(type='default_collate'))  # its data preprocessors expect it
    return cfg


def set_pretrained(cfg: Config, checkpoint: str) -> None:
    """Start the backbone from a pre-training's checkpoint.

    Raises:
        ConfigError: The config has no ``model.backbone``.
    """
    backbone = (cfg.get('model') or {}).get('backbone')
    if backbone is None:
        raise ConfigError('--pretrained sets model.backbone.init_cfg, and this config has no model.backbone.')
    prefix = (backbone.get('init_cfg') or {}).get('prefix', 'backbone.')
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint, prefix=prefix)


def set_retention(cfg: Config, retention: str) -> None:
    """Tell ``NormDELEvaluator`` of validation and test which share of the data was kept.

    Args:
        cfg (Config): The config.
        retention (str): A number, or a subset file.

    Raises:
        ConfigError: Neither evaluator is a NormDELEvaluator.
    """
    found = [
        cfg[name]
        for name in ('val_evaluator', 'test_evaluator')
        if isinstance(cfg.get(name), dict) and cfg[name].get('type') == 'mmdel.NormDELEvaluator'
    ]
    if not found:
        raise ConfigError(
            '--retention needs an mmdel.NormDELEvaluator, and this config has none: '
            "val_evaluator=dict(type='mmdel.NormDELEvaluator', metrics=[...], retention=..., key='mIoU', scale='percent')."
        )
    for evaluator in found:
        evaluator['retention'] = _number_or_path(retention)


def draw_predictions(cfg: Config, folder: str | None, show: bool, interval: int, wait_time: float) -> None:
    """Let the visualization hook of mmseg or mmpretrain draw what the model predicts.

    Args:
        cfg (Config): The config.
        folder (str | None): Where pictures are written; None for the work dir.
        show (bool): Whether to open windows.
        interval (int): Every how many images.
        wait_time (float): Seconds a window stays.

    Raises:
        ConfigError: The config has no such hook.
    """
    hook: dict[str, Any] | None = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(
            "Drawing needs the hook of the model's library in default_hooks: "
            "visualization=dict(type='SegVisualizationHook') for mmseg, dict(type='VisualizationHook') for mmpretrain."
        )
    hook.update(show=show, interval=interval, wait_time=wait_time)
    if cfg.get('default_scope') == 'mmseg':
        hook['draw'] = True
        if folder:
            cfg.visualizer['save_dir'] = folder
    else:
        hook['enable'] = True
        hook['out_dir'] = folder


def keep_predictions(cfg: Config, out: str) -> None:
    """Keep what the model predicts: mmseg's metrics write index masks into a folder, elsewhere all goes into one file.

    Raises:
        ConfigError: A file is wanted that is not a .pkl.
    """
    evaluator = cfg.test_evaluator
    if cfg.get('default_scope') == 'mmseg' and isinstance(evaluator, dict):
        evaluator.update(output_dir=out, keep_results=True)
        return
    if not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {out}: the predictions of such a model go into one file, FILE.pkl.')
    dump = dict(type='mmengine.DumpResults', out_file_path=out)
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        metrics = evaluator['metrics']
        evaluator['metrics'] = [*(metrics if isinstance(metrics, list | tuple) else [metrics]), dump]
    else:
        cfg.test_evaluator = [*(evaluator if isinstance(evaluator, list | tuple) else [evaluator]), dump]


@contextmanager
def mistakes_of(cfg: Config) -> Iterator[None]:
    """Say in one line which part of a config cannot be built, or which file of the data is not there.

    Raises:
        ConfigError: Instead of what was raised then; everything else passes, as an error in the training itself does.
    """
    try:
        yield
    except (MmdelError, ImportError):
        raise
    except FileNotFoundError as error:
        raise ConfigError(f'The config {cfg.filename} needs a file that is not there: {error}') from error
    except Exception as error:
        if isinstance(error, KeyError) and error.args == ('model',):
            raise ConfigError(f"{cfg.filename} has no key 'model', so it is no config of a training.") from error
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, OSError) or not any(frame.name.startswith('build_') for frame in frames):
            raise
        text, place = str(error.args[0] if error.args else error).strip().partition('\n')[0], frames[-1]
        raise ConfigError(
            f'The config {cfg.filename} cannot be built: {text} ({place.filename}, line {place.lineno})'
        ) from error


def _check_new_key(cfg: Config, parts: list[str]) -> None:
    """Refuse a key that an option has made where it is known that nobody reads it."""
    place: Any = cfg._cfg_dict
    for part in parts[:-1]:
        place = place[int(part)] if isinstance(place, list) else place[part]
    above, key = '.'.join(parts[:-1]), parts[-1]
    if not isinstance(place, Mapping) or key not in place:
        return
    beside = [each for each in place if each != key]
    if not above:
        check_keys({key: place[key]}, [*beside, *sorted(TOP_KEYS)], '', f'{cfg.filename}, and a training,')
        return
    name = next(part for part in reversed(parts[:-1]) if not part.isdigit())
    if name.endswith('_dataloader'):
        check_keys({key: place[key]}, [*beside, *sorted(LOADER_KEYS)], above, 'a dataloader')
    elif name in _REGISTRIES and place.get('type') is not None:
        kind: Any = place['type']
        if isinstance(kind, str):
            with _REGISTRIES[name].switch_scope_and_registry(cfg.get('default_scope')) as registry:
                kind = registry.get(kind)
        known = arguments(kind) if kind is not None else None
        if known is not None and not known.open:
            check_keys({key: place[key]}, [*beside, *known.kinds], above, str(place['type']))


def _number_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text

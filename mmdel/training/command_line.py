"""What options of the command line do to a config."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from mmdel.config_file import read_config
from mmdel.errors import ConfigError


def read_training_config(path: str, options: Sequence[str] | None = None) -> Config:
    """Read a config, change keys of it, and add what mmpretrain's own tools add to configs that say nothing.

    Args:
        path (str): The file.
        options (Sequence[str], optional): KEY=VALUE, as every OpenMMLab tool takes them. Defaults to None.

    Raises:
        ConfigError: There is no such file.
    """
    cfg = read_config(path, options)
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


def _number_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text

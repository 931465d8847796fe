"""``mmdel test``: evaluate a checkpoint with any OpenMMLab config, and draw or keep its predictions.

mmdel test CONFIG CHECKPOINT --retention work_dirs/meddel_eta08/subset.parquet
mmdel test CONFIG CHECKPOINT --show-dir work_dirs/pictures
"""

import argparse
from typing import TYPE_CHECKING

from mmdel.cli import options, train
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from mmengine.config import Config


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, 'the config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='the checkpoint')
    parser.add_argument(
        '--work-dir', help="where the log and metrics go (default: the config's, or work_dirs/<config>)"
    )
    parser.add_argument(
        '--out', help='keep the predictions: a folder of index masks for segmentation, a .pkl file otherwise'
    )
    parser.add_argument('--metrics-out', metavar='FILE.json', help='write the metrics to this file')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions over the images, below this folder')
    parser.add_argument('--show', action='store_true', help='show them in windows')
    parser.add_argument(
        '--interval',
        type=at_least(1),
        default=1,
        help='draw every n-th image of mmpretrain (default: 1); mmseg draws each',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window stays (default: 2)')
    parser.add_argument(
        '--tta', action='store_true', help="test-time augmentation: the config's tta_model and tta_pipeline"
    )
    train.add_shared_arguments(parser)


def _load_config(args: argparse.Namespace) -> 'Config':
    from mmdel.errors import ConfigError
    from mmdel.training import training_config

    cfg = train.read_training_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if not cfg.get('test_dataloader'):
        raise ConfigError(f'{args.config} has no test_dataloader: there is nothing to evaluate.')
    if args.show or args.show_dir:
        training_config.draw_predictions(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    if args.out:
        training_config.keep_predictions(cfg, args.out)
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise ConfigError(f'--tta needs tta_model and tta_pipeline, and {args.config} has none.')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(cfg.tta_model, module=cfg.model)
    return cfg


def _run(args: argparse.Namespace) -> None:
    import mmengine
    from mmengine.dist import is_main_process

    from mmdel.compute.weights import check_checkpoint

    check_checkpoint(args.checkpoint)
    with train.built_runner(_load_config(args), args.launcher) as runner:
        metrics = runner.test()
    if args.metrics_out and is_main_process():
        mmengine.dump({key: float(value) for key, value in metrics.items()}, args.metrics_out)


COMMAND = Command(
    'Evaluate a checkpoint with an OpenMMLab config.',
    _add_arguments,
    _run,
    train.check,
)

"""Evaluate a checkpoint with any OpenMMLab config, and draw or keep its predictions.

python tools/test.py CONFIG CHECKPOINT --retention work_dirs/meddel_eta08/subset.parquet
python tools/test.py CONFIG CHECKPOINT --show-dir work_dirs/pictures
"""

import argparse
import os
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser, at_least


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description='Evaluate a checkpoint with an OpenMMLab config.')
    parser.add_argument('config', help='the config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='the checkpoint')
    parser.add_argument(
        '--work-dir', help="where the log and metrics go (default: the config's, or work_dirs/<config>)"
    )
    parser.add_argument(
        '--out', help='keep the predictions: a folder of index masks for segmentation, a .pkl file otherwise'
    )
    parser.add_argument('--metrics-out', metavar='FILE.json', help='write the metrics to this file')
    parser.add_argument(
        '--retention',
        metavar='R',
        help="the share of data that NormDEL weighs: a number in (0, 1], or that run's subset file",
    )
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
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help='change any key of the config'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='started by which launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace):
    from mmdel.errors import ConfigError
    from mmdel.training import training_config

    cfg = training_config.read_training_config(args.config, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if not cfg.get('test_dataloader'):
        raise ConfigError(f'{args.config} has no test_dataloader: there is nothing to evaluate.')
    if args.retention is not None:
        training_config.set_retention(cfg, args.retention)
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


def run(args: argparse.Namespace) -> None:
    import mmengine
    from mmengine.dist import is_main_process
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmdel.compute import distributed
    from mmdel.compute.weights import check_checkpoint
    from mmdel.training.training_config import mistakes_of

    check_checkpoint(args.checkpoint)
    cfg = load_config(args)
    distributed.prepare(cfg, args.launcher)
    with mistakes_of(cfg):
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        metrics = runner.test()
    if args.metrics_out and is_main_process():
        mmengine.dump({key: float(value) for key, value in metrics.items()}, args.metrics_out)


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()

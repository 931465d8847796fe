"""``mmdel train``: train with any OpenMMLab config: pre-training (mmpretrain) and segmentation (mmseg) alike.

mmdel train configs/mae/mae_vit-base-p16_1xb16-coslr-1000e_datadel-eta08.py
mmdel train CONFIG --resume
mmdel train MAE_CONFIG --equal-compute
mmdel train SEGMENTATION_CONFIG --pretrained FILE.pth --retention work_dirs/meddel_eta08/subset.parquet
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from mmengine.config import Config


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, 'the training config')
    parser.add_argument(
        '--work-dir', help="where logs and checkpoints go (default: the config's, or work_dirs/<config>)"
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='FILE',
        help='resume from this checkpoint, or without FILE from the latest in the work dir; never done unasked',
    )
    parser.add_argument(
        '--equal-compute',
        nargs='?',
        type=at_least(1),
        const=-1,
        metavar='EPOCHS',
        help='train on a subset at the cost of EPOCHS over all images (default: 200)',
    )
    parser.add_argument(
        '--pretrained', metavar='FILE', help='the encoder to start from: model.backbone.init_cfg.checkpoint'
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision if the hardware supports it')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate by the actual batch size')
    add_shared_arguments(parser)


def add_shared_arguments(parser: ArgumentParser) -> None:
    """Declare the options that `mmdel train` and `mmdel test` share."""
    parser.add_argument(
        '--retention',
        metavar='R',
        help="the share of data that NormDEL weighs: a number in (0, 1], or that run's subset file",
    )
    options.add_cfg_options(parser)
    options.add_launcher(parser, 'started by which launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def check(args: argparse.Namespace, parser: ArgumentParser) -> None:
    """Complete what both have."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


def read_training_config(args: argparse.Namespace) -> 'Config':
    """The config that is named, with the options that both have."""
    from mmdel.training import training_config

    cfg = training_config.read_training_config(args.config, args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    if args.retention is not None:
        training_config.set_retention(cfg, args.retention)
    return cfg


@contextmanager
def built_runner(cfg: 'Config', launcher: str) -> Iterator[Any]:
    """The runner of a config; in the block a mistake in the config is told as one."""
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmdel.compute import distributed
    from mmdel.training.training_config import mistakes_of

    distributed.prepare(cfg, launcher)
    with mistakes_of(cfg):
        yield RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _load_config(args: argparse.Namespace) -> 'Config':
    from mmdel.errors import ConfigError
    from mmdel.training import equal_compute, training_config

    cfg = read_training_config(args)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.pretrained:
        training_config.set_pretrained(cfg, args.pretrained)
    if args.equal_compute is not None:
        full = equal_compute.FULL_EPOCHS if args.equal_compute == -1 else args.equal_compute
        budget = equal_compute.equal_compute(cfg, full)
        equal_compute.set_epochs(cfg, budget.epochs)
        print(f'equal compute: {budget}', flush=True)
    if args.amp and cfg.optim_wrapper.get('type', 'OptimWrapper') == 'OptimWrapper':
        cfg.optim_wrapper.type = 'mmdel.AutoAmpOptimWrapper'
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise ConfigError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
    return cfg


def _run(args: argparse.Namespace) -> None:
    with built_runner(_load_config(args), args.launcher) as runner:
        runner.train()


COMMAND = Command(
    'Train with an OpenMMLab config.',
    _add_arguments,
    _run,
    check,
    epilog='The other options are those of mmpretrain and mmseg.',
    kept='checkpoints written so far are kept; the same command with --resume goes on from the last one',
)

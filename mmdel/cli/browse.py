"""``mmdel browse``: look at what a dataset serves, the images of its subset after its pipeline, with masks and labels.

mmdel browse MAE_CONFIG --mode concat
mmdel browse SEGMENTATION_CONFIG --phase val --output-dir work_dirs/look
"""

import argparse
from pathlib import Path

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least
from mmdel.cli.command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, 'a training config of mmpretrain, mmseg or plain mmengine')
    parser.add_argument(
        '-p', '--phase', choices=['train', 'val', 'test'], default='train', help='whose dataset (default: train)'
    )
    parser.add_argument(
        '-m',
        '--mode',
        choices=['transformed', 'original', 'concat'],
        default='transformed',
        help='the input of the model, the loaded image, or both side by side (default: transformed)',
    )
    parser.add_argument(
        '-n', '--show-number', type=at_least(1), default=20, help='how many, evenly spaced (default: 20)'
    )
    parser.add_argument('-o', '--output-dir', help='where pictures go (default: work_dirs/browse/<config>)')
    parser.add_argument('--seed', type=at_least(0), default=0, help='of the random parts of the pipeline (default: 0)')
    options.add_cfg_options(parser)


def _run(args: argparse.Namespace) -> None:
    from mmdel.cli.output import stages
    from mmdel.training import served_images
    from mmdel.training.training_config import mistakes_of, read_training_config

    cfg = read_training_config(args.config, args.cfg_options)
    with mistakes_of(cfg):
        dataset = served_images.build_dataset(cfg, args.phase)
    folder = Path(args.output_dir or Path('work_dirs', 'browse', Path(args.config).stem))
    served_images.check_output(folder, dataset)
    name = f'{Path(args.config).name}: {args.phase}'
    count, inputs = served_images.draw_items(dataset, folder, name, args.mode, args.show_number, args.seed, stages())
    print(f'dataset: {served_images.describe(dataset)}')
    print(f'serves:  {len(dataset)} images, {count} of them drawn')
    print(f'classes: {", ".join(map(str, dataset.metainfo.get("classes") or ())) or "none"}')
    if args.mode != 'original':
        print(f'inputs:  {"; ".join(inputs)}')
    print(f'look at: {folder / "sheet.jpg"}')


COMMAND = Command(
    'Draw the images that a dataset yields with pipeline and subset: one picture per item, and a contact sheet.',
    _add_arguments,
    _run,
)

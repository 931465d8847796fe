"""``mmdel curves``: how well the subsets of each method represent all images, judged by the encoder that selected and by others.

    mmdel curves configs/meddel_eta08.py --images my/frames --judges pixels phash

Nothing is trained: seconds, once the vectors are there.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdel.cli import options
from mmdel.cli.arguments import ArgumentParser, at_least, share
from mmdel.cli.command import Command
from mmdel.config.shipped import ENCODERS, SELECTORS, part_label

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmdel.compute.progress import Stages
    from mmdel.engine.coverage import Judge


def _add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser, 'a dedup config, e.g. configs/meddel_eta08.py')
    parser.add_argument('--images', metavar='DIR', help="your own folder of images instead of the config's dataset")
    options.add_encoder(parser, 'the encoder that selects: one of configs/_base_/embedders/, or a config file')
    parser.add_argument(
        '--judges',
        nargs='*',
        default=['pixels'],
        metavar='NAME',
        help='encoders that judge but do not select (default: pixels)',
    )
    parser.add_argument(
        '--selectors',
        nargs='+',
        default=['random', 'every-nth', 'meddel', 'coverage', 'coverage-time'],
        metavar='NAME',
        help='names in configs/_base_/selectors/, or config files (default: random every-nth meddel coverage coverage-time)',
    )
    parser.add_argument('--ratios', nargs='+', type=share, default=[0.05, 0.1, 0.2], help='default: 0.05 0.1 0.2')
    parser.add_argument('--seeds', type=at_least(1), default=5, help='draws of random methods (default: 5)')
    parser.add_argument('--out', default='work_dirs/coverage', help='where results go (default: work_dirs/coverage)')
    options.add_cfg_options(parser)
    options.add_device(parser, 'where encoders run')


def _run(args: argparse.Namespace) -> None:
    import matplotlib
    from rich.console import Console
    from rich.table import Table

    from mmdel.cli.output import stages
    from mmdel.compute.files import atomic, write_text
    from mmdel.config.config_file import read_part
    from mmdel.engine import coverage
    from mmdel.engine.asked_images import asked_images
    from mmdel.engine.compose import compose
    from mmdel.engine.dedup_config import KEYS, check_dedup_config
    from mmdel.errors import ConfigError
    from mmdel.report.coverage_plot import plot_coverage
    from mmdel.selection.selector import build_selector
    from mmdel.subset import size_at

    for ratio in args.ratios:
        size_at(ratio, 1_000_000_000)
    images = asked_images(args.images) if args.images else None
    cfg = compose(args.config, args.encoder, images=images, options=args.cfg_options)
    check_dedup_config({**cfg, 'work_dir': args.out})
    for name in ('dataset', 'embedder'):
        if cfg.get(name) is None:
            raise ConfigError(f'{args.config} lacks the key {name!r}; see configs/meddel_eta08.py.')
    selectors = {Path(name).stem: dict(read_part(name, SELECTORS, 'selector')) for name in args.selectors}
    for selector in selectors.values():
        build_selector(selector)  # a mistake shows before images are embedded
    own = part_label(args.encoder) if args.encoder else cfg.embedder.type.rpartition('.')[2]
    encoders = {own: cfg.embedder}
    encoders |= {part_label(name): read_part(name, ENCODERS, 'embedder') for name in args.judges}

    cache_dir = cfg.get('cache_dir', KEYS['cache_dir'].default)
    progress = stages()
    table, (chooser, *judges) = _load_judges(cfg, encoders, cache_dir, args.device, progress)
    points = coverage.coverage_points(
        selectors, args.ratios, args.seeds, table, chooser, judges, Path(cache_dir), progress
    )
    out = Path(args.out)
    found = coverage.coverage_table(points)
    write_text(out / 'coverage.csv', coverage.to_csv(points))
    write_text(out / 'coverage.md', found.to_markdown())
    figure = plot_coverage(points, coverage.EVERY_NTH if coverage.EVERY_NTH in selectors else None)
    with matplotlib.rc_context({'svg.hashsalt': 'mmdel', 'svg.fonttype': 'none'}):
        for suffix, metadata in (('png', None), ('svg', {'Date': None})):
            with atomic(out / f'coverage.{suffix}') as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata)
    console = Console()
    grid = Table(*found.header, title=f'{len(table):,} images: mean / 5th percentile', show_edge=False)
    for number, row in enumerate(found.rows, 1):
        grid.add_row(*row, end_section=number % len(selectors) == 0)
    console.print(grid)
    console.print(f'- table, every point and figure: {out}/coverage.{{md,csv,png,svg}}', highlight=False)


def _load_judges(
    cfg: 'Config', encoders: Mapping[str, Any], cache_dir: str, device: str | None, progress: 'Stages'
) -> tuple[Any, list['Judge']]:
    """The table of the images and a judge for each encoder, all with the same rows."""
    from mmengine.registry import DATASETS, init_default_scope

    from mmdel.embedding.embed import embed_images
    from mmdel.embedding.vectors import Vectors
    from mmdel.engine.coverage import Judge
    from mmdel.errors import DatasetError
    from mmdel.images.depth import set_range
    from mmdel.images.image_table import image_table
    from mmdel.registry import EMBEDDERS

    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    with progress.stage('list'):
        images = image_table(DATASETS.build(cfg.dataset))
    table: Any = None
    judges: list[Judge] = []
    for name, config in encoders.items():
        embedder = EMBEDDERS.build(config)
        set_range(embedder, images.table['path'], images.root, Path(cache_dir), progress=progress)
        embedded = embed_images(images, embedder, cache_dir, device=device, progress=progress)
        keys = embedded.table['image'].to_pylist()
        table = embedded.table if table is None else table
        if keys != table['image'].to_pylist():
            raise DatasetError(f'The encoder {name} can read other images than the first; see its pipeline.')
        judges.append(Judge(name, Vectors(embedded.source, keys, cfg.get('center', False), progress)))
    return table, judges


COMMAND = Command(
    'For methods x ratios (x draws): mean and 5th percentile of the similarity of every image to the nearest '
    'kept one, as a table, CSV, Markdown and a figure.',
    _add_arguments,
    _run,
)

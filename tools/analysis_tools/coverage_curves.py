"""How well the subsets of each method represent all images, at every ratio, judged by the encoder that selected and by others.

python tools/analysis_tools/coverage_curves.py configs/meddel_eta08.py --images my/frames --judges pixels phash

Nothing is trained: seconds, once the vectors are there.
"""

import argparse
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser, at_least, share

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
ENCODERS = CONFIGS / '_base_' / 'embedders'
SELECTORS = CONFIGS / '_base_' / 'selectors'


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(
        description='For methods x ratios (x draws): mean and 5th percentile of the similarity of every image to the nearest '
        'kept one, as a table, CSV, Markdown and a figure.',
    )
    parser.add_argument('config', help='a dedup config, e.g. configs/meddel_eta08.py')
    parser.add_argument('--images', metavar='DIR', help="your own folder of images instead of the config's dataset")
    parser.add_argument(
        '--encoder', metavar='NAME', help='the encoder that selects: one of configs/_base_/embedders/, or a config file'
    )
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
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE', help='change any key of the config'
    )
    parser.add_argument('--device', help="where encoders run, e.g. 'cuda:1' (default: a GPU if there is one)")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    import matplotlib
    from rich.console import Console
    from rich.table import Table

    from mmdel.compute.files import atomic, write_text
    from mmdel.compute.progress import Stages
    from mmdel.config.config_file import merge_options, read_config, read_part
    from mmdel.engine import coverage
    from mmdel.engine.asked_images import asked_images
    from mmdel.engine.dedup_config import KEYS, check_dedup_config
    from mmdel.errors import ConfigError
    from mmdel.report.coverage_plot import plot_coverage
    from mmdel.selection.selector import build_selector
    from mmdel.subset import size_at

    for ratio in args.ratios:
        size_at(ratio, 1_000_000_000)
    cfg = read_config(args.config)
    if args.encoder:
        cfg.embedder = read_part(args.encoder, ENCODERS, 'embedder')
    if args.images:
        cfg.dataset = asked_images(args.images).dataset
    merge_options(cfg, args.cfg_options)
    check_dedup_config({**cfg, 'work_dir': args.out})
    for name in ('dataset', 'embedder'):
        if cfg.get(name) is None:
            raise ConfigError(f'{args.config} lacks the key {name!r}; see configs/meddel_eta08.py.')
    selectors = {Path(name).stem: dict(read_part(name, SELECTORS, 'selector')) for name in args.selectors}
    for selector in selectors.values():
        build_selector(selector)  # a mistake shows before images are embedded
    own = Path(args.encoder).stem if args.encoder else cfg.embedder.type.rpartition('.')[2]
    encoders = {own: cfg.embedder}
    encoders |= {Path(name).stem: read_part(name, ENCODERS, 'embedder') for name in args.judges}

    cache_dir = cfg.get('cache_dir', KEYS['cache_dir'].default)
    progress = Stages(Console(stderr=True))
    table, (chooser, *judges) = load_judges(cfg, encoders, cache_dir, args.device, progress)
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


def load_judges(cfg, encoders, cache_dir, device, progress):
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
    table, judges = None, []
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


def main() -> None:
    args = parse_args()
    from mmdel.compute.exits import end_with

    end_with(run, args)


if __name__ == '__main__':
    main()

"""How many images each eta keeps on your own frames, by rule and scope, and what cluster scope never compares.

    python benchmarks/retention.py configs/meddel_eta08.py --images FRAMES --encoder dinov2-small --center

Prints Markdown. Vectors come from the config's embedder and its cache, as in ``tools/dedup.py``.
"""

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS, init_default_scope

import mmdel.datasets
import mmdel.embedding
import mmdel.selection  # noqa: F401
from mmdel.embedding.embed import embed_images
from mmdel.embedding.vectors import Vectors
from mmdel.images.image_table import image_table
from mmdel.registry import EMBEDDERS, SELECTORS

ETAS = (0.99, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
BLOCK = 2048
EMBEDDERS_FOLDER = Path(__file__).resolve().parent.parent / 'configs' / '_base_' / 'embedders'


def retention(selector: dict, vectors: Vectors, table: object) -> list[float]:
    """Share kept at each eta: one ranking for pairwise, one run an eta for greedy."""
    if selector.get('rule') == 'greedy':
        runs = [SELECTORS.build({**selector, 'eta': eta}).rank(vectors, table) for eta in ETAS]
        return [(run.kept or 0) / len(vectors) for run in runs]
    ranking = SELECTORS.build(selector).rank(vectors, table)
    far = ranking.distance > np.float32(selector['epsilon'])
    return [float((~far & ~(ranking.redundancy > np.float32(eta))).mean()) for eta in ETAS]


def never_compared(vectors: Vectors, cluster: np.ndarray) -> list[tuple[int, float]]:
    """For each eta: the pairs above it, and the share of them that lie in two clusters."""
    above, missed = np.zeros(len(ETAS), np.int64), np.zeros(len(ETAS), np.int64)
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        columns = np.arange(rows[-1] + 1)
        product = vectors.read(rows) @ vectors.read(columns).T
        product[rows[:, None] <= columns] = -2
        apart = cluster[rows][:, None] != cluster[columns]
        for i, eta in enumerate(ETAS):
            hit = product > eta
            above[i] += hit.sum()
            missed[i] += (hit & apart).sum()
    return [(int(a), float(m / a) if a else 0.0) for a, m in zip(above, missed, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--images', required=True)
    parser.add_argument('--encoder', help='one of configs/_base_/embedders/')
    parser.add_argument('--center', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    if args.encoder:
        cfg.embedder = Config.fromfile(EMBEDDERS_FOLDER / f'{args.encoder}.py').embedder
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    images = image_table(DATASETS.build(dict(type='mmdel.DataDEL', data_root=args.images)))
    embedded = embed_images(images, EMBEDDERS.build(cfg.embedder), cfg.cache_dir)
    vectors = Vectors(embedded.source, embedded.table['image'].to_pylist(), args.center)
    selector = dict(cfg.selector)

    print(f'{len(vectors)} images, {vectors.dim} dimensions, center={args.center}, epsilon={selector["epsilon"]}\n')
    print('| share kept at eta | ' + ' | '.join(f'{eta:g}' for eta in ETAS) + ' |')
    print('|---' * (len(ETAS) + 1) + '|')
    for scope in ('cluster', 'global'):
        for name, options in (('near', {}), ('far', dict(keep='far')), ('greedy, near', dict(rule='greedy'))):
            shares = retention({**selector, 'scope': scope, **options}, vectors, embedded.table)
            print(f'| {name}, {scope} | ' + ' | '.join(f'{share:.3f}' for share in shares) + ' |')
    ranking = SELECTORS.build(selector).rank(vectors, embedded.table)
    pairs = never_compared(vectors, ranking.cluster)
    print('| pairs above eta | ' + ' | '.join(f'{count:,}' for count, _ in pairs) + ' |')
    print(
        f'| of these in two of the {len(ranking.centroids)} clusters | '
        + ' | '.join(f'{m:.1%}' for _, m in pairs)
        + ' |'
    )


if __name__ == '__main__':
    main()

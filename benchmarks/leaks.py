"""How many planted copies of test images does the leak check find, and how often is it wrong?

    python benchmarks/leaks.py --kvasir data/kvasir_seg --others data/wce --encoder pixels

Copies of Kvasir-SEG images are hidden in a pool of all other images at hand. The thresholds are chosen on images of the training
part; what they find is reported for the validation part. Cosine alone is shown beside it, of the test image and of the
better of it and its mirror image.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmdel.compute.progress import Stages
from mmdel.config.config_file import merge_options, read_part
from mmdel.embedding.embed import Embedded, embed_images
from mmdel.embedding.vectors import ChosenRows, StackedRows, Vectors
from mmdel.images.image_table import image_table
from mmdel.leaks.leak_check import ExcludeNear, check_leaks
from mmdel.leaks.search import ALIKE
from mmdel.registry import EMBEDDERS
from mmdel.selection.findings import LeakRule

EMBEDDERS_DIR = Path(__file__).resolve().parent.parent / 'configs' / '_base_' / 'embedders'
EVERY = 5
"""Every fifth training image is a test image while thresholds are chosen; the others are in the pool."""

SAME_PHOTOGRAPH = {
    ('train/0459', 'train/0620'),
    ('train/0510', 'train/0593'),
    ('train/0323', 'train/0558'),
    ('train/0284', 'train/0633'),
    ('train/0362', 'train/0384'),
    ('train/0042', 'val/0087'),
    ('train/0796', 'val/0067'),
    ('val/0061', 'val/0069'),
}
"""Pairs of Kvasir-SEG that are one photograph saved twice, most with another margin; looked at one by one."""

SAME_MOMENT = {('train/0300', 'train/0667')}
"""Pairs of frames that hardly differ, but are two photographs: neither a miss nor a false alarm."""


def copies(image: np.ndarray, seed: int) -> Iterator[tuple[str, bytes]]:
    """Kind and file contents of what could become of a photograph."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(seed)

    def cropped(picture: np.ndarray, share: float) -> np.ndarray:
        rows, columns = round(share * height), round(share * width)
        top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
        return picture[top : top + rows, left : left + columns]

    def turned(degrees: float) -> np.ndarray:
        transform = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        return cv2.warpAffine(image, transform, (width, height))

    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    third = cv2.resize(image, (width // 3, height // 3), interpolation=cv2.INTER_AREA)
    yield 'quality 40', jpeg(image, 40)
    yield 'half size', jpeg(half, 90)
    yield 'mirrored', jpeg(image[:, ::-1], 90)
    yield 'cropped to 90 %', jpeg(cropped(image, 0.9), 90)
    yield 'cropped to 75 %', jpeg(cropped(image, 0.75), 90)
    yield 'mirrored, cropped to 90 %', jpeg(cropped(image[:, ::-1], 0.9), 90)
    yield 'brighter by 15 %', jpeg(cv2.convertScaleAbs(image, alpha=1.15), 90)
    yield 'turned by 5 degrees', jpeg(turned(5), 90)
    yield 'a third, quality 20', jpeg(third, 20)


def jpeg(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def lay_out(kvasir: Path, others: Path, work: Path) -> None:
    """``work/pool`` and ``work/tests``: links to the images, and the planted copies; what is there already stays."""
    files = {part: sorted((kvasir / part / 'images').glob('*.jpg')) for part in ('train', 'val')}
    tests = {'train': files['train'][::EVERY], 'val': files['val']}
    links = [(work / 'pool' / 'train' / path.name, path) for path in files['train']]
    links += [(work / 'pool' / 'others' / path.relative_to(others), path) for path in sorted(others.rglob('*.jpg'))]
    links += [(work / 'tests' / part / path.name, path) for part in tests for path in tests[part]]
    for link, path in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.resolve())
    for part, paths in tests.items():
        for seed, path in enumerate(paths):
            made = [('exact', path.read_bytes()), *copies(cv2.imread(str(path)), seed)]
            for kind, data in made:
                copy = work / 'pool' / f'copies of {part}' / kind / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                if not copy.exists():
                    copy.write_bytes(data)


def chosen(pool: Embedded, wanted: list[bool]) -> Embedded:
    rows = np.flatnonzero(wanted)
    return replace(pool, table=pool.table.take(pa.array(rows)), source=ChosenRows(pool.source, rows))


def origin(image: str) -> str:
    """The photograph that an image of the pool shows, 'val/0061'."""
    folder, _, name = image.rpartition('/')
    return f'{folder.removeprefix("copies of ").split("/")[0]}/{Path(name).stem}'


def related(image: str, test: str, pairs: set[tuple[str, str]]) -> bool:
    return (origin(image), test) in pairs or (test, origin(image)) in pairs


class Trial:
    """One part: its pool, its test images, and all cosines between them."""

    def __init__(self, part: str, everything: Embedded, work: Path, embedder, cache: str, progress: Stages) -> None:
        images = everything.table['image'].to_pylist()
        tests = {path.name for path in (work / 'tests' / part).iterdir()}
        asked = {'train': lambda key: not (key.startswith('train/') and key[6:] in tests), 'val': lambda key: True}[
            part
        ]
        other = {'train': 'val', 'val': 'train'}[part]
        self.pool = chosen(everything, [asked(key) and not key.startswith(f'copies of {other}/') for key in images])
        self.images = self.pool.table['image'].to_pylist()
        self.folder = str(work / 'tests' / part)
        listed = image_table(DATASETS.build(dict(type='mmdel.DataDEL', data_root=self.folder)))
        plain, mirrored = (
            embed_images(listed, each, cache, progress=progress) for each in (embedder, embedder.mirrored())
        )
        self.tests = plain.table['image'].to_pylist()
        vectors = Vectors(
            StackedRows([self.pool.source, plain.source, mirrored.source]),
            [*self.images, *self.tests, *self.tests],
            True,
        ).read(slice(None))
        views = vectors[len(self.images) :] @ vectors[: len(self.images)].T
        self.plain = views[: len(self.tests)]
        self.best = np.maximum(self.plain, views[len(self.tests) :])
        names = [f'{part}/{Path(test).stem}' for test in self.tests]
        self.copy = np.array([[origin(image) == test for image in self.images] for test in names])
        twins = SAME_PHOTOGRAPH | SAME_MOMENT
        self.other = ~np.array(
            [[origin(image) == test or related(image, test, twins) for image in self.images] for test in names]
        )
        self.kind = np.array([key.split('/')[1] if key.startswith('copies') else '' for key in self.images])

    @property
    def kinds(self) -> list[str]:
        return ['exact', *dict(copies(np.zeros((32, 32, 3), np.uint8), 0))]

    def recall(self, found: np.ndarray) -> list[float]:
        """Of each kind, the part of the copies that were found, [tests, pool]."""
        return [float(found[self.copy & (self.kind == kind)].mean()) for kind in self.kinds]


def report(name: str, recall: list[float], false: int | None) -> None:
    print(
        f'| {name} | {" | ".join(f"{value:.2f}" for value in recall)} | {"" if false is None else false} |', flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kvasir', required=True, help='Kvasir-SEG: train/images and val/images')
    parser.add_argument('--others', required=True, help='further images for the pool')
    parser.add_argument('--encoder', default='pixels')
    parser.add_argument('--neighbours', type=int, nargs='+', default=[8])
    parser.add_argument('--work', help='where the copies and vectors are kept')
    parser.add_argument('--cfg-options', nargs='+')
    args = parser.parse_args()
    cfg = Config(dict(embedder=read_part(args.encoder, EMBEDDERS_DIR, 'embedder')))
    merge_options(cfg, args.cfg_options)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary).resolve()
        lay_out(Path(args.kvasir), Path(args.others), work)
        embedder, cache, progress = EMBEDDERS.build(cfg.embedder), str(work / 'cache'), Stages()
        pool = image_table(DATASETS.build(dict(type='mmdel.DataDEL', data_root=str(work / 'pool'))))
        everything = embed_images(pool, embedder, cache, progress=progress)
        train, val = (Trial(part, everything, work, embedder, cache, progress) for part in ('train', 'val'))
        print(f'train: {len(train.tests)} test images in a pool of {len(train.images):,}; '
              f'val: {len(val.tests)} in {len(val.images):,}')  # fmt: skip
        print(f'| | {" | ".join(val.kinds)} | false alarms |')
        print('|---' * (len(val.kinds) + 2) + '|')
        for name, attribute in (('cosine', 'plain'), ('cosine, mirror image too', 'best')):
            cosine = getattr(train, attribute)
            threshold = cosine[train.other].max()
            found = getattr(val, attribute) > threshold
            report(f'{name} (above {threshold:.3f})', val.recall(found), int((found & val.other).sum()))
            rank = (-getattr(val, attribute)).argsort(axis=1, kind='stable').argsort(axis=1)
            for k in (8, 16, 32):  # ten copies of each test image are planted
                report(f'{name}, among the {k} nearest', val.recall(rank < k), None)
        for neighbours in args.neighbours:
            for trial in (train, val):
                progress = Stages()
                asked = ExcludeNear([trial.folder], LeakRule(neighbours=neighbours))
                leaks = check_leaks(trial.pool, asked, embedder, cache, progress=progress)
                row = {key: i for i, key in enumerate(trial.images)}
                column = {key: i for i, key in enumerate(trial.tests)}
                agreement = np.full((len(trial.tests), len(trial.images)), -1.0)
                for pair in leaks.pairs:
                    agreement[column[pair.test_image], row[pair.image]] = pair.agreement
                found = agreement >= np.float32(asked.rule.threshold)
                part = 'train' if trial is train else 'val'
                report(f'check, {neighbours} neighbours, {part}', trial.recall(found), int((found & trial.other).sum()))
                copied = trial.copy
                listed = agreement[copied & (agreement > -1)]
                print(f'{part}: {time_of(progress)}; agreement of copies found: lowest {listed.min():.3f}; missed '
                      f'{int((copied & (agreement < 0)).sum())} of {int(copied.sum())}')  # fmt: skip
                for kind in trial.kinds:
                    those = agreement[trial.copy & (trial.kind == kind)]
                    print(f'    {kind}: lowest {those[those > -1].min():.3f}, not listed {int((those == -1).sum())}')
                others = [p for p in leaks.pairs if not copied[column[p.test_image], row[p.image]]]
                print(f'pairs that were not planted and agree at {ALIKE} or more:')
                for pair in sorted(others, key=lambda pair: -pair.agreement):
                    print(f'    {pair.agreement:.3f} cosine {pair.cosine:.3f} {pair.image} {pair.test_image}'
                          f'{" mirrored" if pair.mirrored else ""}')  # fmt: skip


def time_of(progress: Stages) -> str:
    return ', '.join(f'{name} {seconds:.1f} s' for name, seconds in progress.seconds.items())


if __name__ == '__main__':
    main()

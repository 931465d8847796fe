"""How much slower than the bare model is embedding from image files?

    python benchmarks/embedding.py --images data/wce --count 192
    python benchmarks/embedding.py --images data/wce --enlarge 1280x1024 --reduce-to none 224 --models ViT-B/16
    python benchmarks/embedding.py --images data/wce --end-to-end --reduce-to none 64

Measures, by turns in one process, images per second of the bare model (a batch of random numbers that is already on its device,
the same precision and batch size) and of ``embed_images`` on image files with an empty cache, for ViT-S/14 and ViT-B/16 with
random weights at 224 px. The ratio is the share of the bare model's rate that remains. ``--enlarge`` embeds JPEG copies
(quality 95) at another size, which stand for larger originals; ``--reduce-to`` sets ``mmdel.LoadFrame(reduce_to=...)``, several
values by turns. ``--device cuda`` is for machines with a GPU.

``--end-to-end`` times all of ``DedupRunner.run`` but the report, with the encoder ``pixels`` and empty caches, and says how many
images two ways of decoding keep alike.
"""

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import PIL
import pyarrow as pa
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger

import mmdel
from mmdel.embedding import BaseEmbedder, ViTEmbedder, embed_images
from mmdel.embedding.reader import read_batches
from mmdel.engine import DedupRunner
from mmdel.images.image_table import SCHEMA, ImageTable

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'

BACKBONES = {
    'ViT-S/14': dict(
        type='mmpretrain.VisionTransformer', arch='dinov2-small', patch_size=14, layer_scale_init_value=1e-5
    ),
    'ViT-B/16': dict(type='mmpretrain.VisionTransformer', arch='base', patch_size=16),
}

DISTURBED = 0.1
"""Cores kept busy by other processes above which a round says nothing."""


def images_below(folder: Path, count: int) -> ImageTable:
    """Every n-th JPEG below a folder."""
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in ('.jpg', '.jpeg'))
    paths = paths[:: max(1, len(paths) // count)][:count]
    columns = {
        'image': [path.relative_to(folder).as_posix() for path in paths],
        'path': [str(path.resolve()) for path in paths],
    }
    arrays = [pa.array(columns.get(field.name, [None] * len(paths)), field.type) for field in SCHEMA]
    return ImageTable(str(folder), pa.table(arrays, SCHEMA), (), (), ())


def enlarged(images: ImageTable, width: int, height: int, folder: Path) -> ImageTable:
    """JPEG copies of all images in another size."""
    for name, path in zip(images.table['image'].to_pylist(), images.table['path'].to_pylist(), strict=True):
        copy = cv2.resize(cv2.imread(path), (width, height), interpolation=cv2.INTER_CUBIC)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str((folder / name).with_suffix('.jpg')), copy, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return images_below(folder, len(images.table))


def bare_rate(embedder: BaseEmbedder, count: int, device: str) -> float:
    """Images per second of the model alone."""
    size, batch = embedder.input_size, embedder.batch_size
    pixels = torch.rand(batch, 3, size, size, device=device)
    batches = max(1, count // batch)
    _wait(device)
    start = time.perf_counter()
    for _ in range(batches):
        embedder.forward(pixels)
    _wait(device)
    return batches * batch / (time.perf_counter() - start)


def embedding_rate(embedder: BaseEmbedder, images: ImageTable, workers: int | None, device: str) -> float:
    """Images per second from files to vectors on disk."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        embed_images(images, embedder, cache, num_workers=workers, device=device)
        return len(images.table) / (time.perf_counter() - start)


def reading_time(embedder: BaseEmbedder, images: ImageTable) -> float:
    """Milliseconds of one core that it takes to read an image: decoding, sharpness, resizing. Other programs hardly change it."""
    cv2.setNumThreads(0)
    batches = [[images.table['path'].combine_chunks()]]
    start = time.process_time()
    for _ in read_batches(batches, embedder.build_pipeline(), len(images.table), embedder.input_size, 0):
        pass
    return (time.process_time() - start) / len(images.table) * 1e3


def end_to_end(folder: Path, sides: list[str], rounds: int) -> None:
    """Print images per second and CPU seconds of whole runs, by turns."""
    kept: dict[str, set[str]] = {}
    rates: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
    others = Others()
    for turn in range(rounds + 1):
        for side in sides:
            cfg = Config.fromfile(CONFIGS / 'meddel_eta08.py')
            load = dict(type='mmdel.LoadFrame', reduce_to=None if side == 'none' else int(side))
            cfg.embedder = ConfigDict(type='mmdel.PixelEmbedder', pipeline=[load])
            cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(folder))
            with tempfile.TemporaryDirectory() as work:
                cfg.work_dir, cfg.cache_dir = f'{work}/out', f'{work}/cache'
                others.look()
                start, used = time.perf_counter(), sum(os.times()[:4])
                subset = DedupRunner.from_cfg(cfg, ratio=0.1, report=False).run()
                seconds, used = time.perf_counter() - start, sum(os.times()[:4]) - used
            kept[side] = {image for image, keep in zip(subset.images, subset.keep, strict=True) if keep}
            if turn:  # the first one loads libraries
                rates[side].append((len(subset.table) / seconds, used, others.look()))
    for side, found in rates.items():
        rate, used, elsewhere = (statistics.median(column) for column in zip(*found, strict=True))
        print(
            f'reduce_to {side}: {rate:,.0f} images/s, {used:.2f} CPU seconds (other processes: {elsewhere:.2f} cores); keeps '
            f'{len(kept[side] & kept[sides[0]])} of the {len(kept[sides[0]])} that {sides[0]} keeps'
        )


def _wait(device: str) -> None:
    if device != 'cpu':
        torch.cuda.synchronize(device)


class Others:
    """Cores that other processes kept busy since the last look (Linux; elsewhere nan)."""

    def __init__(self) -> None:
        self.look()

    def look(self) -> float:
        before = getattr(self, '_seen', (0.0, 0.0))
        try:
            fields = Path('/proc/stat').read_text().split('\n')[0].split()[1:9]
        except OSError:
            return float('nan')
        busy = sum(int(field) for i, field in enumerate(fields) if i not in (3, 4)) / os.sysconf('SC_CLK_TCK')
        own = sum(os.times()[:4])
        self._seen = (time.perf_counter(), busy - own)
        return (self._seen[1] - before[1]) / max(self._seen[0] - before[0], 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, required=True, help='a folder with JPEG files')
    parser.add_argument('--count', type=int, default=192, help='files to embed in each round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, help='processes that decode (default: what embed_images chooses)')
    parser.add_argument('--models', nargs='+', default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument('--precision', default='auto')
    parser.add_argument('--enlarge', metavar='WIDTHxHEIGHT', help='embed copies of this size instead of the files')
    parser.add_argument('--reduce-to', nargs='+', default=['none'], metavar='SIDE', help='none decodes in full')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--end-to-end', action='store_true', help='whole runs with thumbnails instead')
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    if args.end_to_end:
        end_to_end(args.images, args.reduce_to, args.rounds)
        return
    images = images_below(args.images, args.count)
    print(f'mmdel {mmdel.__version__}, torch {torch.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}')
    cpu = torch.cpu.get_capabilities().get('cpu_name', platform.processor())
    print(f'{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; on {args.device}')
    with tempfile.TemporaryDirectory() as copies:
        if args.enlarge:
            images = enlarged(images, *map(int, args.enlarge.split('x')), Path(copies))
        what = f'enlarged to {args.enlarge}' if args.enlarge else 'as they are'
        print(f'{len(images.table)} files below {args.images.name} {what}, {args.rounds} rounds by turns, images/s')
        for name in args.models:
            measure(name, images, args)


def measure(name: str, images: ImageTable, args: argparse.Namespace) -> None:
    """Print the rates of one model, bare and from files decoded in each of the ways asked for."""
    embedders = {
        side: ViTEmbedder(
            BACKBONES[name],
            precision=args.precision,
            pipeline=[dict(type='mmdel.LoadFrame', **({} if side == 'none' else {'reduce_to': int(side)}))],
        ).to(args.device)
        for side in args.reduce_to
    }
    others = Others()
    rounds: dict[str, list[tuple[float, bool]]] = {side: [] for side in embedders}
    for embedder in embedders.values():
        precision = embedder.fingerprint()['precision']
        bare_rate(embedder, embedder.batch_size, args.device)
    before = bare_rate(embedder, args.count, args.device)
    others.look()
    for _ in range(args.rounds):
        for side, embedder in embedders.items():
            files = embedding_rate(embedder, images, args.workers, args.device)
            after = bare_rate(embedder, args.count, args.device)
            # the machine's speed drifts: compared with the mean of the bare rates just before and just after
            bare, elsewhere = (before + after) / 2, others.look()
            rounds[side].append((files / bare, elsewhere < DISTURBED))
            print(
                f'  {name} {precision}, reduce_to {side}: bare {bare:.1f}, from files {files:.1f}, '
                f'ratio {files / bare:.3f} (other processes: {elsewhere:.2f} cores)',
                flush=True,
            )
            before = after
    for side, embedder in embedders.items():
        times = sorted(reading_time(embedder, images) for _ in range(3))
        print(
            f'reduce_to {side}: reading takes {times[1]:.1f} ms of a core an image ({times[0]:.1f} to {times[-1]:.1f})'
        )
    for side, found in rounds.items():
        quiet = [ratio for ratio, undisturbed in found if undisturbed]
        ratios = quiet or [ratio for ratio, _ in found]
        print(
            f'{name} {precision}, reduce_to {side}: median ratio {statistics.median(ratios):.3f} '
            + (f'of {len(quiet)} undisturbed rounds' if quiet else '(no round was undisturbed: measure again)'),
            flush=True,
        )


if __name__ == '__main__':
    main()

"""What mmdel does on a GPU, measured in at most eight minutes; benchmarks/gpu.sh runs it.

    python benchmarks/gpu.py --out OUT                       # OUT/gpu.json and OUT/gpu.log
    python benchmarks/gpu.py --out OUT --only selection      # some of the parts
    python benchmarks/gpu.py --out OUT --device cpu --small  # whether the script itself runs, on any machine

Each part is a process of its own with its own time; what it has measured until it fails or is stopped is in the JSON. Images are
JPEG files of the synthetic demo data, enlarged, and weights are random: both decide no speed but that of decoding.
"""

import argparse
import contextlib
import glob
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOTAL_S = 470
"""Of all parts together."""


class Sizes:
    """How much is measured: on a GPU, or only to see that the script runs."""

    def __init__(self, small: bool) -> None:
        self.seconds = 0.5 if small else 1.5  # of one rate
        self.frames, self.files, self.side = (4, 12, 320) if small else (64, 8192, 640)
        self.batches = [2, 4] if small else [64, 256, 1024]
        self.workers = [0, 2] if small else [4, 8, 16]
        self.models = ['ViT-S/14'] if small else ['ViT-S/14', 'ViT-B/16']
        self.dim = 64 if small else 768
        self.clustered, self.compared, self.everything = (
            (3000, 2000, 3000) if small else (1_000_000, 200_000, 1_000_000)
        )
        self.probed, self.tiles = (2000, [256, 1024]) if small else (131_072, [1024, 4096, 16_384])
        self.side_of_product = 512 if small else 16_384
        self.kept_files, self.training_s = (12, 1) if small else (4096, 12)
        self.training_batches = [1, 2] if small else [16, 256]


class Part:
    """What a part gets: where to work, what on, and ``note`` for each figure."""

    def __init__(self, folder: Path, name: str, device: str, small: bool) -> None:
        self.folder, self.device, self.sizes = folder, device, Sizes(small)
        self.images = folder / 'images'
        self._notes = folder / f'{name}.jsonl'

    def note(self, **figures: Any) -> None:
        line = json.dumps(
            {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
        )
        print(line, flush=True)
        with open(self._notes, 'a', encoding='utf-8') as file:
            file.write(line + '\n')

    @contextmanager
    def survived(self, **about: Any) -> Iterator[None]:
        """Note an error, and go on with the next figure."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.note(**about, error=f'{type(error).__name__}: {error}'[-2000:])

    def wait(self) -> None:
        import torch

        if self.device != 'cpu':
            torch.cuda.synchronize(self.device)

    def rate(self, work: Callable[[], object], images: int) -> float:
        """Images a second of work on so many; a GPU gets about a thousand between two waits."""
        at_once = max(1, 1024 // images) if self.device != 'cpu' else 1
        for _ in range(3):
            work()
        self.wait()
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < self.sizes.seconds:
            for _ in range(at_once):
                work()
            self.wait()
            done += at_once * images
        return done / (time.perf_counter() - start)

    @contextmanager
    def utilisation(self) -> Iterator[dict[str, float]]:
        """Share of the time in which the GPU computed anything, and its highest memory in GB, as the driver says; {} on a CPU."""
        import torch

        found: dict[str, float] = {}
        over, shares, memory = threading.Event(), [], []

        def look() -> None:
            with contextlib.suppress(Exception):  # pynvml may be missing
                while not over.wait(0.2):
                    shares.append(torch.cuda.utilization(self.device) / 100)
                    free, total = torch.cuda.mem_get_info(self.device)
                    memory.append((total - free) / 1e9)

        watch = threading.Thread(target=look)
        if self.device != 'cpu':
            watch.start()
        try:
            yield found
        finally:
            over.set()
            if self.device != 'cpu':
                watch.join()
            if memory:
                found.update(gpu_busy=sum(shares) / len(shares), gpu_memory_gb=max(memory))


def versions(part: Part) -> None:
    import torch

    part.note(
        python=platform.python_version(), cores=len(os.sched_getaffinity(0)), torch=torch.__version__,
        cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
        memory_gib=os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30,
        cpu=next((line.split(': ')[1] for line in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in line), ''),
    )  # fmt: skip
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        part.note(
            gpu=properties.name,
            gpu_memory_gib=properties.total_memory / 2**30,
            processors=properties.multi_processor_count,
        )
    query = 'nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv,noheader'
    with part.survived(what='nvidia-smi'):
        part.note(nvidia_smi=subprocess.run(query.split(), capture_output=True, text=True, timeout=20).stdout.strip())
    for name in ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'faiss', 'av', 'cv2', 'numpy', 'pyarrow', 'PIL', 'mmdel'):
        with part.survived(package=name):
            part.note(package=name, version=getattr(import_module(name), '__version__', '?'))
    for name in ('triton', 'faiss-gpu', 'faiss-cpu'):
        try:
            part.note(package=name, version=version(name))
        except PackageNotFoundError:
            part.note(package=name, version=None)


def images(part: Part) -> None:
    """Frames of the demo data, enlarged; each file holds other bytes by a comment, so that none is embedded as a copy."""
    import cv2

    from mmdel.datasets.synthetic import render_segmentation

    start = time.perf_counter()
    frames = sorted(render_segmentation(part.folder / 'demo', pairs=part.sizes.frames).rglob('images/*.jpg'))
    sizes = part.sizes
    part.images.mkdir()

    def encoded(path: Path) -> bytes:
        picture = cv2.resize(cv2.imread(str(path)), (sizes.side, sizes.side), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()

    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(encoded, frames))

        def write(number: int) -> None:
            jpeg = pictures[number % len(pictures)]
            comment = f'{number:08d}'.encode()
            segment = b'\xff\xfe' + (len(comment) + 2).to_bytes(2, 'big') + comment
            (part.images / f'{number:06d}.jpg').write_bytes(jpeg[:2] + segment + jpeg[2:])

        list(pool.map(write, range(sizes.files)))
    part.note(files=sizes.files, side=sizes.side, mean_bytes=sum(map(len, pictures)) / len(pictures),
              seconds=time.perf_counter() - start)  # fmt: skip


def tests(part: Part) -> None:
    """`pytest -m gpu`; without a GPU, the same laws on the CPU."""
    marker = 'gpu' if part.device != 'cpu' else 'not gpu'
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-m',
        marker,
        '-v',
        '-p',
        'no:cacheprovider',
        '-W',
        'ignore',
        'tests/test_devices.py',
    ]
    # plugins of the machine are of no use, and may not fit
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | {'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}, stdout=subprocess.PIPE, text=True
    )
    print(ended.stdout)
    lines = ended.stdout.splitlines()
    wrong = [line for line in lines if line.startswith(('FAILED', 'ERROR'))]
    part.note(status=ended.returncode, summary=lines[-1] if lines else '', wrong=wrong)


def embedding(part: Part) -> None:
    """Images a second of the bare model in several forms, of ``embed`` from memory, and of ``embed_images`` from files."""
    import torch
    from embedding import BACKBONES, images_below, reading_time

    from mmdel.embedding import ViTEmbedder, embed_images

    sizes, device = part.sizes, part.device
    listed = images_below(part.images, sizes.files)
    with part.survived(what='reading'):
        cores = len(os.sched_getaffinity(0))
        threads = torch.get_num_threads()
        milliseconds = reading_time(ViTEmbedder(BACKBONES['ViT-S/14']), images_below(part.images, 64))
        torch.set_num_threads(threads)
        part.note(what='reading', ms_of_a_core=milliseconds, most_images_s=cores / milliseconds * 1e3, cores=cores)
    for name in sizes.models:
        for batch in sizes.batches:
            with part.survived(model=name, batch=batch):
                embedder = ViTEmbedder(BACKBONES[name], batch_size=batch).to(device)
                pixels = torch.randn(batch, 3, 224, 224, device=device)
                pictures = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8)
                bare = part.rate(lambda: embedder.forward(pixels), batch)  # noqa: B023  called here
                with part.utilisation() as busy:
                    memory = part.rate(lambda: embedder.embed(pictures), batch)  # noqa: B023
                part.note(model=name, precision=embedder.fingerprint()['precision'], batch=batch, bare=bare,
                          from_memory=memory, of_bare=memory / bare, **busy)  # fmt: skip
        for batch, workers in [(sizes.batches[1], each) for each in sizes.workers] + [(32, sizes.workers[-1])]:
            with (
                part.survived(model=name, batch=batch, workers=workers),
                tempfile.TemporaryDirectory(dir=part.folder) as cache,
            ):
                embedder = ViTEmbedder(BACKBONES[name], batch_size=batch).to(device)
                embedder.forward(torch.randn(batch, 3, 224, 224, device=device))
                start = time.perf_counter()
                with part.utilisation() as busy:
                    embed_images(listed, embedder, cache, num_workers=workers, device=device)
                part.note(
                    model=name,
                    batch=batch,
                    workers=workers,
                    from_files=sizes.files / (time.perf_counter() - start),
                    **busy,
                )
    for name in sizes.models:
        for form in ('channels_last', 'bfloat16 weights', 'compiled'):
            with part.survived(model=name, form=form):
                batch = sizes.batches[1]
                model = ViTEmbedder(BACKBONES[name]).to(device).ready_model()
                pixels = torch.randn(batch, 3, 224, 224, device=device)
                start = time.perf_counter()
                if form == 'channels_last':
                    model, pixels = (each.to(memory_format=torch.channels_last) for each in (model, pixels))
                elif form == 'compiled':
                    model = torch.compile(model)
                else:
                    model, pixels = model.bfloat16(), pixels.bfloat16()
                with torch.inference_mode(), torch.autocast(device.split(':')[0], torch.bfloat16):
                    model(pixels)
                    part.wait()
                    first = time.perf_counter() - start
                    bare = part.rate(lambda: model(pixels), batch)  # noqa: B023
                part.note(model=name, form=form, batch=batch, bare=bare, first_s=first)


def selection(part: Part) -> None:
    """The command on the device and on the CPU, then what the step itself could reach with other tiles."""
    import numpy as np
    import torch
    from selection import bare_rate, draw_vectors, products, run_dedup, write_vectors

    from mmdel.embedding import vectors as module
    from mmdel.embedding.vectors import ArraySource, Vectors
    from mmdel.similarity import Tuning, best_preferred

    sizes, dim, device = part.sizes, part.sizes.dim, part.device
    on_device = device if device != 'cpu' else 'cpu:0'
    side = sizes.side_of_product
    left, right = (torch.randn(side, dim, device=device) for _ in range(2))
    rate = part.rate(lambda: left @ right.T, 128) / 128 * 2 * side * side * dim
    on_cpu, library = bare_rate(dim)
    part.note(what='bare float32 product', device_flops=rate, cpu_flops=on_cpu, cpu_library=library)
    raw = draw_vectors(sizes.probed, dim)
    keys = [f'{number:08d}' for number in range(sizes.probed)]
    resident = Vectors(ArraySource(raw), keys, center=True)
    order = [np.random.default_rng(0).permutation(sizes.probed)]
    for tile in sizes.tiles:
        with part.survived(what='tiles', tile=tile):
            tuning = Tuning(
                device=on_device, tile_rows=tile, tile_columns=tile, least_rows=tile, most_rows=max(tile, 4096)
            )
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                best_preferred(resident, order, tuning=tuning)
                seconds.append(time.perf_counter() - start)
            bare = sizes.probed**2 * dim / rate
            part.note(what='tiles', images=sizes.probed, tile=tile, seconds=min(seconds), over_bare=min(seconds) / bare)
    files: dict[int, Path] = {}
    digests: dict[tuple[int, str], set[str]] = {}
    for images, scope, where in (
        (sizes.clustered, 'cluster', on_device), (sizes.compared, 'global', on_device), (sizes.compared, 'global', 'cpu'),
        (sizes.clustered, 'cluster', 'cpu'), (sizes.everything, 'global', on_device),
    ):  # fmt: skip
        with (
            part.survived(images=images, scope=scope, device=where),
            tempfile.TemporaryDirectory(dir=part.folder) as work,
        ):
            if images not in files:
                files[images] = part.folder / f'{images}.npy'
                write_vectors(files[images], images, dim)
            options = (
                '--no-report',
                '--cfg-options',
                f'selector.scope={scope}',
                f'selector.device={where}',
                'center=True',
            )
            with part.utilisation() as busy:
                run = run_dedup(('--embeddings', files[images]), Path(work), 'run', *options)
            bare = products(run['table'], scope, dim) / (on_cpu if where == 'cpu' else rate)
            digests.setdefault((images, scope), set()).add(run['digest'])
            part.note(images=images, scope=scope, device=where, wall=run['wall'], stages=run['stages'], bare_products_s=bare,
                      compare_over_bare=run['stages'].get('compare', 0) / bare, peak_gb=run['peak'] / 1e9,
                      subset=run['digest'][:16], same_bytes=len(digests[images, scope]) == 1, **busy)  # fmt: skip
    with part.survived(what='resident'):
        # all unit vectors in memory and on the device, which the command does up to a limit only
        module.RESIDENT_BYTES = 1 << 40
        tile = sizes.tiles[-1]
        large = Vectors(ArraySource(draw_vectors(sizes.everything, dim)), [f'{i:08d}' for i in range(sizes.everything)])
        tuning = Tuning(device=on_device, tile_rows=tile, tile_columns=tile, least_rows=tile, most_rows=max(tile, 4096))
        start = time.perf_counter()
        with part.utilisation() as busy:
            best_preferred(large, [np.arange(sizes.everything)], tuning=tuning)
        seconds, bare = time.perf_counter() - start, sizes.everything**2 * dim / rate
        part.note(
            what='resident', images=sizes.everything, tile=tile, seconds=seconds, over_bare=seconds / bare, **busy
        )


def training(part: Part) -> None:
    """Images a second of configs/mae, with files decoded each time and with pixels that are kept."""
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    from mmdel.datasets import DataDEL, LoadCached

    sizes, load = part.sizes, dict(type='mmdel.LoadFrame', skip_unreadable=True)
    pool = part.folder / 'training'
    pool.mkdir()
    for path in sorted(part.images.iterdir())[: sizes.kept_files]:
        os.link(path, pool / path.name)
    cached = dict(type='mmdel.LoadCached', load=load, cache_dir=str(part.folder / 'decoded'), limit='40GB')

    class Enough(Exception):
        pass

    class Clock(Hook):
        """Counts from the sixth batch on, for so many seconds."""

        def __init__(self, measured: contextlib.ExitStack) -> None:
            self.images, self.start, self.seconds, self.waited, self.left = 0, 0.0, 0.0, 0.0, 0.0
            self.measured, self.busy = measured, {}

        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            self.waited += time.perf_counter() - self.left if self.start else 0

        def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            if self.start:
                self.images += len(data_batch['inputs'])
            if not self.start and batch_idx >= (5 if part.device != 'cpu' else 0):
                part.wait()
                self.busy = self.measured.enter_context(part.utilisation())
                self.start = time.perf_counter()
            elif self.start and time.perf_counter() - self.start > sizes.training_s:
                part.wait()
                self.seconds = time.perf_counter() - self.start
                raise Enough
            self.left = time.perf_counter()

    def train(batch: int, first: dict[str, Any]) -> None:
        cfg = Config.fromfile(ROOT / 'configs' / 'mae' / 'mae_vit-base-p16_1xb16-coslr-200e_datadel-eta10.py')
        pipeline = [first, *cfg.train_dataloader.dataset.pipeline[1:]]
        dataset = dict(type='mmdel.DataDEL', data_root=str(pool), pipeline=pipeline)
        # repeated, because the workers' queues run empty at the end of an epoch
        cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=1000, dataset=dataset)
        cfg.train_dataloader.update(batch_size=batch, num_workers=min(8, len(os.sched_getaffinity(0))))
        name = f'{batch} {first["type"]}'
        cfg.update(work_dir=str(part.folder / name), experiment_name=name, custom_hooks=[])
        cfg.default_hooks = dict(checkpoint=None, logger=None)
        with DefaultScope.overwrite_default_scope('mmpretrain'), contextlib.ExitStack() as measured:
            clock = Clock(measured)
            runner = Runner.from_cfg(cfg)
            runner.register_hook(clock)
            with contextlib.suppress(Enough):
                runner.train()
        part.note(batch=batch, load=first['type'], images_s=clock.images / clock.seconds,
                  waits_for_data=clock.waited / clock.seconds, workers=cfg.train_dataloader.num_workers,
                  precision=runner.optim_wrapper.precision, **clock.busy)  # fmt: skip

    with part.survived(what='fill the cache'), ThreadPoolExecutor() as threads:
        start = time.perf_counter()
        keep = LoadCached(**{name: value for name, value in cached.items() if name != 'type'})
        dataset = DataDEL(str(pool))
        list(threads.map(lambda number: keep(dataset.get_data_info(number)), range(len(dataset))))
        part.note(what='fill the cache', images_s=len(dataset) / (time.perf_counter() - start))
    for batch in sizes.training_batches:
        for first in (load, cached):
            with part.survived(batch=batch, load=first['type']):
                train(batch, first)


def kernels(part: Part) -> None:
    """A little of everything that runs on the device, for the sanitizer."""
    import numpy as np
    import torch

    from mmdel.embedding import ViTEmbedder
    from mmdel.embedding.vectors import ArraySource, Vectors
    from mmdel.similarity import Tuning, best_preferred

    on_device = part.device if part.device != 'cpu' else 'cpu:0'
    raw = np.random.default_rng(0).standard_normal((1500, 64), np.float32)
    vectors = Vectors(ArraySource(raw), [f'{i:04d}' for i in range(1500)])
    best_preferred(vectors, [np.arange(1500)], tuning=Tuning(device=on_device))
    backbone = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', patch_size=16, img_size=64)
    embedder = ViTEmbedder(backbone, input_size=64).to(part.device)
    part.note(finite=bool(np.isfinite(embedder.embed(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))).all()))


def sanitizer(part: Part) -> None:
    places = ['/usr/local/cuda*/bin', '/opt/nvidia/*/compute-sanitizer', '/opt/nvidia/*']
    found = [
        shutil.which('compute-sanitizer'),
        *(path for place in places for path in glob.glob(f'{place}/compute-sanitizer')),
    ]
    program = next((path for path in found if path and os.access(path, os.X_OK) and not os.path.isdir(path)), None)
    command = [sys.executable, __file__, '--part', 'kernels', '--folder', str(part.folder), '--device', part.device]
    if program is None:
        part.note(error='compute-sanitizer is not there')
        program = ''
    ended = subprocess.run(
        [*([program, '--error-exitcode', '9'] if program else []), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    part.note(program=program, status=ended.returncode, last_lines=ended.stdout.splitlines()[-5:])


PARTS: dict[str, tuple[Callable[[Part], None], int]] = {
    'versions': (versions, 40),
    'images': (images, 60),
    'tests': (tests, 90),
    'embedding': (embedding, 140),
    'selection': (selection, 150),
    'training': (training, 110),
    'sanitizer': (sanitizer, 45),
}
"""In this order; seconds that each may take at most, on a GPU. Each part after the second needs the second at most."""


def run_part(name: str, seconds: float, folder: Path, args: argparse.Namespace, log: Any) -> dict[str, Any]:
    """Run a part as a process group of its own and give what it noted."""
    command = [sys.executable, __file__, '--part', name, '--folder', str(folder), '--device', args.device]
    command += ['--small'] if args.small else []
    print(f'--- {name}, at most {seconds:.0f} s', file=log, flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, preexec_fn=os.setpgrp)
    try:
        status = process.wait(seconds)
        ended = 'done' if status == 0 else f'failed, status {status}'
    except subprocess.TimeoutExpired:
        ended = 'stopped, its time was over'
    finally:
        # whatever it has started and left behind goes, too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    notes = folder / f'{name}.jsonl'
    lines = notes.read_text(encoding='utf-8').splitlines() if notes.exists() else []
    return {
        'ended': ended,
        'seconds': round(time.perf_counter() - start, 1),
        'figures': [json.loads(line) for line in lines],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, help='gets gpu.json and gpu.log')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--small', action='store_true', help='sizes for a CPU, and ten times the time')
    parser.add_argument('--only', nargs='+', choices=list(PARTS), default=list(PARTS))
    parser.add_argument('--part', choices=[*PARTS, 'kernels'], help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        work = PARTS[args.part][0] if args.part in PARTS else kernels
        work(Part(args.folder, args.part, args.device, args.small))
        return
    if args.out is None:
        parser.error('--out is needed')
    args.out.mkdir(parents=True, exist_ok=True)
    begun, found = time.perf_counter(), {}
    total, slower = (TOTAL_S * 10, 10) if args.small else (TOTAL_S, 1)
    with tempfile.TemporaryDirectory() as folder, open(args.out / 'gpu.log', 'w', encoding='utf-8') as log:
        for name in PARTS:
            if name not in {*args.only, 'images'}:
                continue
            left = total - (time.perf_counter() - begun)
            found[name] = (
                run_part(name, min(PARTS[name][1] * slower, left), Path(folder), args, log)
                if left > 10
                else {'ended': 'not begun, the time was over', 'seconds': 0, 'figures': []}
            )
            print(f'{name}: {found[name]["ended"]}, {found[name]["seconds"]} s')
            for figures in found[name]['figures']:
                print(f'    {json.dumps(figures)}')
            about = {'device': args.device, 'small': args.small, 'parts': found}
            (args.out / 'gpu.json').write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()

"""What mmdel does on a GPU, measured in at most eight minutes; benchmarks/gpu.sh runs it.

    python benchmarks/gpu.py --out OUT                       # OUT/gpu.json and OUT/gpu.log
    python benchmarks/gpu.py --out OUT --only selection      # some of the parts
    python benchmarks/gpu.py --out OUT --device cpu --small  # whether the script itself runs, on any machine

Each part is a process with a time of its own, and what it has noted until it fails or is stopped is in the JSON, the most
important first. Images are JPEG files of the synthetic demo data, enlarged, and weights are random: neither decides a speed but
that of decoding.
"""

import argparse
import contextlib
import glob
import hashlib
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
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'demo'))

UNITS = (
    'A figure ends in its unit: _s seconds, _ms milliseconds, _gb 10^9 bytes, _per_s a second (images, or multiplications and '
    'additions as _flop); _share is a fraction of 1, over_bare a multiple of the time of the bare float32 products.'
)


class Sizes:
    """How much is measured: on a GPU, or only to see that the script runs."""

    def __init__(self, small: bool) -> None:
        self.seconds = 0.5 if small else 1.5  # of one rate
        self.frames, self.files, self.side = (4, 12, 320) if small else (64, 8192, 640)
        self.batches = [1, 2] if small else [64, 256, 1024]
        self.readers = [(2, 0), (4, 2)] if small else [(32, 4), (256, 8), (256, 16)]  # batch, processes
        self.models = ['ViT-S/14'] if small else ['ViT-S/14', 'ViT-B/16']
        self.dim, self.compared, self.all = (64, 2000, 3000) if small else (768, 200_000, 1_000_000)
        self.probed, self.tiles = (2000, [256, 1024]) if small else (131_072, [1024, 4096, 16_384])
        self.factor = 512 if small else 16_384
        self.kept_files, self.training_s = (12, 1) if small else (4096, 10)
        self.training_batches = [1, 2] if small else [16, 256]


class Part:
    """What a part gets: where to work, what on, and ``note`` for its figures."""

    def __init__(self, folder: Path, name: str, device: str, small: bool) -> None:
        self.folder, self.device, self.sizes = folder, device, Sizes(small)
        self.on_gpu = device != 'cpu'
        self.images = folder / 'images'
        self._notes = folder / f'{name}.jsonl'

    def note(self, **figures: Any) -> None:
        line = json.dumps({name: float(f'{v:.4g}') if isinstance(v, float) else v for name, v in figures.items()})
        print(line, flush=True)
        with open(self._notes, 'a', encoding='utf-8') as file:
            file.write(line + '\n')

    @contextmanager
    def survived(self, **about: Any) -> Iterator[None]:
        """Note an error, and go on with the next figure."""
        try:
            yield
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.note(**about, error=f'{type(error).__name__}: {error}'[-500:])

    def wait(self) -> None:
        import torch

        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def rate(self, work: Callable[[], object], images: int) -> float:
        """Images a second of work on so many; a GPU gets about a thousand between two waits."""
        at_once = max(1, 1024 // images) if self.on_gpu else 1
        for _ in range(3 if self.on_gpu else 1):
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
        """Share of the time in which the GPU computed anything, and its highest memory, as the driver says; {} on a CPU."""
        import torch

        found: dict[str, float] = {}
        over, shares, memory = threading.Event(), [], []

        def look() -> None:
            with contextlib.suppress(Exception):  # pynvml may be missing
                while not over.wait(0.2):
                    free, total = torch.cuda.mem_get_info(self.device)
                    memory.append((total - free) / 1e9)
                    shares.append(torch.cuda.utilization(self.device) / 100)

        watch = threading.Thread(target=look)
        if self.on_gpu:
            watch.start()
        try:
            yield found
        finally:
            over.set()
            if self.on_gpu:
                watch.join()
            if memory:
                found['gpu_memory_gb'] = max(memory)
            if shares:
                found['gpu_busy_share'] = sum(shares) / len(shares)


def versions(part: Part) -> None:
    import torch

    cpu = [line.split(': ')[1] for line in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in line]
    part.note(
        python=platform.python_version(), torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
        cpu=cpu[0] if cpu else '', cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9,
        shared_memory_gb=shutil.disk_usage('/dev/shm').total / 1e9,
    )  # fmt: skip
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        part.note(gpu=about.name, gpu_memory_gb=about.total_memory / 1e9, processors=about.multi_processor_count)
    else:
        part.note(gpu='torch sees no CUDA device here')
    query = 'nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit --format=csv,noheader'
    with part.survived(program='nvidia-smi'), contextlib.suppress(FileNotFoundError):
        part.note(nvidia_smi=subprocess.run(query.split(), capture_output=True, text=True, timeout=10).stdout.strip())
    for name in ('mmdel', 'mmengine', 'mmcv', 'mmpretrain', 'faiss', 'av', 'cv2', 'numpy', 'pyarrow', 'PIL'):
        with part.survived(package=name):
            part.note(package=name, version=getattr(import_module(name), '__version__', '?'))


def images(part: Part) -> None:
    """Frames of the demo data, enlarged; each file holds other bytes by a comment, so that none is embedded as a copy."""
    import cv2

    from synthetic import render_segmentation

    start, sizes = time.perf_counter(), part.sizes
    frames = sorted(render_segmentation(part.folder / 'demo', pairs=sizes.frames).rglob('images/*.jpg'))
    part.images.mkdir()

    def encoded(path: Path) -> bytes:
        picture = cv2.resize(cv2.imread(str(path)), (sizes.side, sizes.side), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()

    def write(number: int) -> None:
        jpeg = pictures[number % len(pictures)]
        comment = b'\xff\xfe\x00\x0a' + f'{number:08d}'.encode()
        (part.images / f'{number:06d}.jpg').write_bytes(jpeg[:2] + comment + jpeg[2:])

    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(encoded, frames))
        list(pool.map(write, range(sizes.files)))
    mean = sum(map(len, pictures)) / len(pictures)
    part.note(
        files=sizes.files,
        pixels=f'{sizes.side} x {sizes.side}',
        mean_kb=mean / 1e3,
        drawn_s=time.perf_counter() - start,
    )


def tests(part: Part) -> None:
    """`pytest -m gpu`; on a CPU the same laws without the marker."""
    marker, file = 'gpu' if part.on_gpu else 'not gpu', 'tests/test_devices.py'
    # a machine's own plugins are of no use, and may not fit
    env = os.environ | {'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-m',
        marker,
        '-v',
        '-rfE',
        '-p',
        'no:cacheprovider',
        '-W',
        'ignore',
        file,
    ]
    # line by line, so that those are known that ended before the time was over
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as run:
        lines = []
        for line in run.stdout or ():
            print(line, end='', flush=True)
            lines.append(line.strip())
            if '::' in line and ' PASSED ' in line:
                part.note(passed=line.split('::')[1].split(' PASSED')[0])
    about = dict(command=f'pytest -m "{marker}" {file}', status=run.returncode, summary=lines[-1].strip('= '))
    part.note(**about, wrong=[line for line in lines if line.startswith(('FAILED', 'ERROR'))])
    sys.exit(run.returncode)


def embedding(part: Part) -> None:
    """The bare model, ``embed`` from memory and ``embed_images`` from files; then other forms of the model."""
    import torch
    from embedding import BACKBONES, images_below, reading_time

    from mmdel.embedding import ViTEmbedder, embed_images

    sizes, device = part.sizes, part.device
    calls: list[float] = []

    class Timed(ViTEmbedder):
        def embed(self, images: torch.Tensor) -> Any:
            calls.append(time.perf_counter())
            return super().embed(images)

    with part.survived(what='reading'):
        cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
        milliseconds = reading_time(ViTEmbedder(BACKBONES['ViT-S/14']), images_below(part.images, 64))
        torch.set_num_threads(threads)
        part.note(what='reading', of_a_core_ms=milliseconds, cores=cores, most_files_per_s=cores / milliseconds * 1e3)
    for name in sizes.models:
        for batch in sizes.batches:
            with part.survived(what='from memory', model=name, batch=batch):
                embedder = ViTEmbedder(BACKBONES[name], batch_size=batch).to(device)
                pixels = torch.randn(batch, 3, 224, 224, device=device)
                pictures = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8)
                bare = part.rate(lambda: embedder.forward(pixels), batch)  # noqa: B023  called here
                with part.utilisation() as busy:
                    memory = part.rate(lambda: embedder.embed(pictures), batch)  # noqa: B023
                part.note(what='from memory', model=name, precision=embedder.fingerprint()['precision'], batch=batch,
                          bare_per_s=bare, embed_per_s=memory, of_bare_share=memory / bare, **busy)  # fmt: skip
    listed = images_below(part.images, sizes.files)
    for name in sizes.models:
        for batch, workers in sizes.readers:
            about = dict(what='from files', model=name, batch=batch, processes=workers)
            with part.survived(**about), tempfile.TemporaryDirectory(dir=part.folder) as cache:
                embedder = Timed(BACKBONES[name], batch_size=batch).to(device)
                embedder.forward(torch.randn(batch, 3, 224, 224, device=device))
                calls.clear()
                start = time.perf_counter()
                with part.utilisation() as busy:
                    embed_images(listed, embedder, cache, num_workers=workers, device=device)
                seconds = time.perf_counter() - start
                # without the start of the processes, which takes long beside so few files
                running = (len(calls) - 1) * batch / (calls[-1] - calls[0])
                part.note(**about, files=sizes.files, whole_s=seconds, running_per_s=running, **busy)
    batch = sizes.batches[1]
    for form in ('channels_last', 'bfloat16 weights', 'compiled'):  # the last takes long to start
        for name in sizes.models:
            with part.survived(what='bare model', model=name, form=form):
                model = ViTEmbedder(BACKBONES[name]).to(device).ready_model()
                pixels = torch.randn(batch, 3, 224, 224, device=device)
                if form == 'channels_last':
                    model, pixels = (each.to(memory_format=torch.channels_last) for each in (model, pixels))
                elif form == 'compiled':
                    model = torch.compile(model)
                else:
                    model, pixels = model.bfloat16(), pixels.bfloat16()
                # a compiled model of mmpretrain fails in inference mode, at a guard on its NumPy numbers
                with torch.no_grad(), torch.autocast(device.split(':')[0], torch.bfloat16):
                    start = time.perf_counter()
                    model(pixels)
                    part.wait()
                    first = time.perf_counter() - start
                    bare = part.rate(lambda: model(pixels), batch)  # noqa: B023
                part.note(what='bare model', model=name, form=form, batch=batch, bare_per_s=bare, first_s=first)


def selection(part: Part) -> None:
    """The search alone with several tiles, then the command on the device and on the CPU."""
    import numpy as np
    import torch
    from selection import bare_rate, draw_vectors, products, run_dedup, write_vectors

    from mmdel.embedding.vectors import ArraySource, Vectors
    from mmdel.similarity import Tuning, best_preferred

    sizes, dim = part.sizes, part.sizes.dim
    device = part.device if part.on_gpu else 'cpu:0'  # torch's products, as on a GPU; 'cpu' is NumPy's
    factors = [torch.randn(sizes.factor, dim, device=part.device) for _ in range(2)]
    rates = {device: part.rate(lambda: factors[0] @ factors[1].T, 128) / 128 * 2 * sizes.factor**2 * dim}
    rates['cpu'], library = bare_rate(dim)
    part.note(
        what='bare float32 product', device_flop_per_s=rates[device], cpu_flop_per_s=rates['cpu'], library=library
    )
    vectors = Vectors(ArraySource(draw_vectors(sizes.probed, dim)), [f'{i:08d}' for i in range(sizes.probed)])
    for tile in sizes.tiles:
        with part.survived(what='search', tile=tile):
            tuning = Tuning(
                device=device, tile_rows=tile, tile_columns=tile, least_rows=tile, most_rows=max(tile, 4096)
            )
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                best_preferred(vectors, [np.arange(sizes.probed)], tuning=tuning)
                seconds.append(time.perf_counter() - start)
            over = min(seconds) / (sizes.probed**2 * dim / rates[device])
            part.note(what='search', images=sizes.probed, tile=tile, search_s=min(seconds), over_bare=over)
    files = {count: part.folder / f'{count}.npy' for count in (sizes.compared, sizes.all)}
    digests: dict[tuple[int, str], str] = {}
    for count, scope, where in (
        (sizes.compared, 'global', device), (sizes.compared, 'global', 'cpu'), (sizes.all, 'cluster', device),
        (sizes.all, 'global', device), (sizes.all, 'cluster', 'cpu'),
    ):  # fmt: skip
        about = dict(what='command', images=count, scope=scope, device=where)
        with part.survived(**about), tempfile.TemporaryDirectory(dir=part.folder) as work:
            if not files[count].exists():
                write_vectors(files[count], count, dim)
            options = (f'selector.scope={scope}', f'selector.device={where}', 'center=True')
            source = ('--embeddings', files[count])
            with part.utilisation() as busy:
                run = run_dedup(source, Path(work), 'run', '--no-report', '--cfg-options', *options)
            timed = ('compare',) if scope == 'global' else ('k-means', 'assign', 'compare')
            stages, bare = run['stages'], products(run['table'], scope, dim) / rates[where]
            over = sum(stages.get(stage, 0) for stage in timed) / bare
            other = digests.setdefault((count, scope), run['digest'])
            part.note(**about, command_s=run['wall'], bare_s=bare, over_bare=over,
                      peak_gb=run['peak'] / 1e9, subset=run['digest'][:16], same_bytes=other == run['digest'],
                      **{f'{stage}_s': seconds for stage, seconds in stages.items()}, **busy)  # fmt: skip


def training(part: Part) -> None:
    """Images a second of configs/mae, with files decoded each time and with pixels that are kept."""
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    from mmdel.datasets import DataDEL, LoadCached

    sizes, cores = part.sizes, len(os.sched_getaffinity(0))
    pool = part.folder / 'training'
    pool.mkdir()
    for path in sorted(part.images.iterdir())[: sizes.kept_files]:
        os.link(path, pool / path.name)
    load = dict(type='mmdel.LoadFrame', skip_unreadable=True)
    cached = dict(load=load, cache_dir=str(part.folder / 'decoded'), limit='40GB')

    class Enough(Exception):
        pass

    class Clock(Hook):
        """Counts from the sixth batch on, for so many seconds."""

        start = waited = ended = 0.0
        images = 0

        def __init__(self, measured: contextlib.ExitStack) -> None:
            self.measured, self.busy = measured, {}

        def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
            if self.start:
                self.waited += time.perf_counter() - self.ended

        def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            if self.start:
                self.images += len(data_batch['inputs'])
                if time.perf_counter() - self.start > sizes.training_s:
                    part.wait()
                    raise Enough
            elif batch_idx >= 5 or not part.on_gpu:
                part.wait()
                self.busy = self.measured.enter_context(part.utilisation())
                self.start = time.perf_counter()
            self.ended = time.perf_counter()

    def train(batch: int, first: dict[str, Any]) -> None:
        cfg = Config.fromfile(ROOT / 'configs' / 'mae' / 'mae_vit-base-p16_1xb16-coslr-200e_datadel-eta10.py')
        pipeline = [first, *cfg.train_dataloader.dataset.pipeline[1:]]
        dataset = dict(type='mmdel.DataDEL', data_root=str(pool), pipeline=pipeline)
        # repeated, because the processes' queues run empty at the end of an epoch
        cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=1000, dataset=dataset)
        cfg.train_dataloader.update(batch_size=batch, num_workers=cores)
        name = f'{batch} {first["type"]}'
        cfg.update(work_dir=str(part.folder / name), experiment_name=name, custom_hooks=[], log_level='WARNING')
        cfg.default_hooks = dict(checkpoint=None, logger=None)
        with DefaultScope.overwrite_default_scope('mmpretrain'), contextlib.ExitStack() as measured:
            clock = Clock(measured)
            runner = Runner.from_cfg(cfg)
            runner.register_hook(clock)
            with contextlib.suppress(Enough):
                runner.train()
            seconds = time.perf_counter() - clock.start
        part.note(what='training', batch=batch, load=first['type'], precision=runner.optim_wrapper.precision, processes=cores,
                  train_per_s=clock.images / seconds, waits_for_data_share=clock.waited / seconds, **clock.busy)  # fmt: skip

    with part.survived(what='fill the cache'), ThreadPoolExecutor() as threads:
        start = time.perf_counter()
        keep, dataset = LoadCached(**cached), DataDEL(str(pool))
        list(threads.map(lambda number: keep(dataset.get_data_info(number)), range(len(dataset))))
        part.note(what='fill the cache', files=len(dataset), fill_per_s=len(dataset) / (time.perf_counter() - start))
    for batch in sizes.training_batches:
        for first in (load, dict(type='mmdel.LoadCached', **cached)):
            with part.survived(what='training', batch=batch, load=first['type']):
                train(batch, first)


def kernels(part: Part) -> None:
    """A little of all that runs on the device, for the sanitizer."""
    import numpy as np
    import torch

    from mmdel.embedding import ViTEmbedder
    from mmdel.embedding.vectors import ArraySource, Vectors
    from mmdel.similarity import Tuning, best_preferred

    raw = np.random.default_rng(0).standard_normal((1500, 64), np.float32)
    vectors = Vectors(ArraySource(raw), [f'{i:04d}' for i in range(1500)])
    found = best_preferred(vectors, [np.arange(1500)], tuning=Tuning(device=part.device if part.on_gpu else 'cpu:0'))
    backbone = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', patch_size=16, img_size=64)
    embedder = ViTEmbedder(backbone, input_size=64).to(part.device)
    made = embedder.embed(torch.zeros(3, 64, 64, 3, dtype=torch.uint8))
    print('cosines', hashlib.sha256(found.cosine.tobytes()).hexdigest()[:16], 'finite', bool(np.isfinite(made).all()))


def sanitizer(part: Part) -> None:
    places = [
        os.environ.get('PATH', ''),
        *glob.glob('/usr/local/cuda*/bin'),
        *glob.glob('/usr/local/cuda*/compute-sanitizer'),
    ]
    program = shutil.which('compute-sanitizer', path=os.pathsep.join(places))
    command = [sys.executable, __file__, '--part', 'kernels', '--folder', str(part.folder), '--device', part.device]
    if program and part.on_gpu:
        command = [program, '--error-exitcode', '9', *command]
    else:
        part.note(skipped='no compute-sanitizer, or no GPU: what it would watch runs without it')
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ended.stdout)
    part.note(program=command[0], status=ended.returncode, last_lines=ended.stdout.splitlines()[-5:])
    sys.exit(ended.returncode)


PARTS: dict[str, tuple[Callable[[Part], None], int]] = {
    'versions': (versions, 25), 'images': (images, 20), 'tests': (tests, 70), 'embedding': (embedding, 115),
    'selection': (selection, 130), 'training': (training, 80), 'sanitizer': (sanitizer, 25),
}  # fmt: skip
"""In this order, with the seconds on a GPU that others leave to each; it also gets what those before it did not need."""


def run_part(name: str, seconds: float, folder: Path, args: argparse.Namespace, log: Any) -> dict[str, Any]:
    """Run a part in a process group of its own and give what it noted."""
    command = [sys.executable, __file__, '--part', name, '--folder', str(folder), '--device', args.device]
    command += ['--small'] if args.small else []
    print(f'--- {name}, at most {seconds:.0f} s', file=log, flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, preexec_fn=os.setpgrp)
    try:
        status = process.wait(seconds)
        ended = 'done' if status == 0 else f'failed with status {status}, see gpu.log'
    except subprocess.TimeoutExpired:
        ended = 'stopped, its time was over'
    finally:
        # whatever it has started and left behind goes, too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    notes = folder / f'{name}.jsonl'
    figures = [json.loads(line) for line in notes.read_text(encoding='utf-8').splitlines()] if notes.exists() else []
    wrong = sum('error' in each for each in figures)
    ended += f', with {wrong} errors' if wrong else ''
    spent = round(time.perf_counter() - start, 1)
    print(f'--- {name}: {ended}, {spent} s', file=log, flush=True)
    return {'ended': ended, 'spent_s': spent, 'figures': figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, help='gets gpu.json and gpu.log')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--small', action='store_true', help='sizes for a CPU, and ten times the time')
    parser.add_argument('--only', nargs='+', choices=list(PARTS), default=list(PARTS), help='these parts, and images')
    parser.add_argument('--part', choices=[*PARTS, 'kernels'], help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        work = PARTS[args.part][0] if args.part in PARTS else kernels
        work(Part(args.folder, args.part, args.device, args.small))
        return 0
    if args.out is None:
        parser.error('--out is needed')
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: seconds * (10 if args.small else 1) for name, (_, seconds) in PARTS.items()}
    chosen = {name: seconds for name, seconds in chosen.items() if name in {*args.only, 'images'}}
    found: dict[str, dict[str, Any]] = {}
    end = time.perf_counter() + sum(chosen.values())
    with tempfile.TemporaryDirectory() as folder, open(args.out / 'gpu.log', 'w', encoding='utf-8') as log:
        for number, name in enumerate(chosen):
            seconds = end - time.perf_counter() - sum(list(chosen.values())[number + 1 :])
            found[name] = run_part(name, seconds, Path(folder), args, log)
            print(f'{name}: {found[name]["ended"]}, {found[name]["spent_s"]} s')
            for figures in found[name]['figures']:
                print(f'    {json.dumps(figures)}')
            about = {'device': args.device, 'small': args.small, 'units': UNITS, 'parts': found}
            (args.out / 'gpu.json').write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')
    return int(any(part['ended'] != 'done' for part in found.values()))


if __name__ == '__main__':
    sys.exit(main())

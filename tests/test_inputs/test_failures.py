"""What mmdel does where the machine fails: the section "Failures of the machine" of `docs/inputs.md`."""

import builtins
import errno
import faulthandler
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mmengine.config import Config

from mmdel.compute import exits, storage
from mmdel.compute.files import NO_FILE
from mmdel.embedding import reader, reading_processes
from mmdel.embedding.store import ROWS, EmbeddingStore
from mmdel.engine import DedupRunner
from mmdel.errors import LostReaderError, ReportError, StorageError, StoreError
from mmdel.images import frame_files
from mmdel.images.formats import VIDEO, video_reader
from mmdel.images.frames import LoadFrame
from mmdel.images.listing import list_images

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / 'tests' / 'fault_injection'
ERRNOS = ('ESTALE', 'EIO', 'ETIMEDOUT', 'EAGAIN', 'EMFILE')
STAGES = {'list,': '/pool/b', 'stat,': 'img05', 'open,': 'img05', 'read,': 'img05'}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(storage, 'WAITS', (0.0, 0.0))
    monkeypatch.setattr(storage, '_said', False)


@pytest.fixture
def pool(tmp_path) -> Path:
    random = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / 'pool' / 'ab'[i // 12] / f'img{i:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 255, (4, 4, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC))
    return tmp_path / 'pool'


def runner(pool: Path, work: Path, report: bool = False) -> DedupRunner:
    cfg = Config.fromfile(ROOT / 'configs' / 'meddel_eta08.py')
    cfg.embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'pixels.py').embedder
    cfg.dataset = dict(type='mmdel.DataDEL', data_root=str(pool))
    cfg.work_dir, cfg.cache_dir = str(work / 'out'), str(work / 'cache')
    return DedupRunner.from_cfg(cfg, report=report)


class Faults:
    """Makes Python's own calls fail for paths that hold a text, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self._patch = monkeypatch

    def inject(self, owner, name: str, part: str, code: int, times: int) -> None:
        real = getattr(owner, name)
        self.left = times

        def call(path, *args, **options):
            if part in str(path) and self.left:
                self.left -= 1
                raise OSError(code, os.strerror(code), str(path))
            return real(path, *args, **options)

        self._patch.setattr(owner, name, call)


@pytest.fixture
def faults(monkeypatch) -> Faults:
    return Faults(monkeypatch)


# --- the storage


def outcomes(pool: Path, faults: list, compile_faults: Callable[[], Path]) -> list[dict]:
    """What became of a run for each fault, in one process that forks them."""
    library = compile_faults()
    (pool.parent / 'faults.json').write_text(json.dumps(faults))
    environment = {**os.environ, 'LD_PRELOAD': str(library), 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, str(FAULTS / 'faulty_runs.py'), str(pool.parent)]
    ended = subprocess.run(command, env=environment, cwd=pool.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture
def compile_faults(tmp_path) -> Callable[[], Path]:
    compiler = shutil.which('gcc') or shutil.which('cc')
    if compiler is None or sys.platform != 'linux':
        pytest.skip('there is no C compiler, or this is not Linux: calls of the system cannot be made to fail')

    def compiled() -> Path:
        library = tmp_path / 'faults.so'
        source = str(FAULTS / 'faults.c')
        subprocess.run([compiler, '-shared', '-fPIC', '-o', str(library), source, '-ldl'], check=True)
        return library

    return compiled


@pytest.mark.slow
@pytest.mark.parametrize('name', ERRNOS)
def test_storage_fails_for_a_moment__and_for_good_at_every_stage(pool, compile_faults, name):
    cases = [(stage, name, times) for stage in STAGES for times in (1, -1)]
    faulty = [[stage, STAGES[stage], getattr(errno, name), times] for stage, name, times in cases]
    plain, *found = outcomes(pool, [['', 'nothing', errno.EIO, 0], *faulty], compile_faults)
    for (stage, name, times), outcome in zip(cases, found, strict=True):
        case, what = (stage, name, times), os.strerror(getattr(errno, name)).lower()
        assert outcome['again'] == plain['faulty'], (case, outcome)
        if times == 1:
            assert outcome['left'] == 0, case  # the call did fail
            assert outcome['faulty'] == plain['faulty'], case
        elif stage == 'list,':
            assert outcome['faulty']['error'].startswith('StorageError: '), case
            assert '/pool/b' in outcome['faulty']['error'] and what in outcome['faulty']['error'], case
        else:
            rows = outcome['faulty']['unreadable'].splitlines()[1:]
            assert len(rows) == 1 and rows[0].startswith('a/img05.png,'), case
            assert f'the storage failed: {what}' in rows[0], case


@pytest.mark.parametrize('name', ERRNOS)
@pytest.mark.parametrize('owner_and_call', [(os, 'scandir'), (os, 'stat'), (builtins, 'open')])
def test_storage_fails_for_a_moment__in_python(pool, faults, name, owner_and_call):
    def read() -> list:
        listing = list_images(pool)
        paths = pa.array([listing.path(key) for key in listing.keys])
        (batch,) = reader.read_batches([[paths]], [LoadFrame()], 24, 8, 0)
        return [*listing.keys, *batch.notes, batch.images.numpy().tobytes()]

    plain = read()
    part = '/pool/b' if owner_and_call[1] == 'scandir' else 'img15'
    faults.inject(*owner_and_call, part, getattr(errno, name), 1)
    assert read() == plain
    assert faults.left == 0


@pytest.mark.parametrize('name', ERRNOS)
@pytest.mark.parametrize('workers', [0, 1])
def test_storage_fails_for_one_file__a_row_that_is_not_remembered(pool, faults, name, workers):
    paths = pa.array(sorted(map(str, pool.glob('a/*'))))
    faults.inject(builtins, 'open', 'img03', getattr(errno, name), -1)
    (batch,) = reader.read_batches([[paths]], [LoadFrame()], 12, 8, workers)
    reasons = {path[-9:]: note.reason for path, note in zip(paths.to_pylist(), batch.notes, strict=True) if note.reason}
    what = os.strerror(getattr(errno, name)).lower()
    assert reasons == {'img03.png': f'the storage failed: {what}; this is not remembered'}
    assert batch.notes[3].state == NO_FILE


def test_storage_fails_for_many_files(pool, tmp_path, faults):
    faults.inject(builtins, 'open', '/pool/', errno.EIO, -1)
    with pytest.raises(StorageError, match='one file after the other') as failed:
        runner(pool, tmp_path).run()
    assert 'the same command goes on' in str(failed.value)
    assert not (tmp_path / 'out' / 'unreadable.csv').exists()
    faults.left = 0
    assert runner(pool, tmp_path).run().count('unreadable') == 0


def test_storage_fails_for_many_files__waiting_does_not_multiply(monkeypatch):
    waited = []
    monkeypatch.setattr(storage, 'WAITS', (1.0, 2.0))
    monkeypatch.setattr(storage, '_patience', 1.0)
    monkeypatch.setattr(time, 'sleep', waited.append)

    def fail():
        raise OSError(errno.EIO, 'no')

    for _ in range(1000):
        with pytest.raises(StorageError, match='input/output error'):
            storage.patiently('x', fail)
    assert sum(waited) <= 6


@pytest.mark.parametrize('name', ERRNOS)
def test_storage_fails_for_a_folder(pool, faults, name):
    faults.inject(os, 'scandir', '/pool/b', getattr(errno, name), -1)
    with pytest.raises(StorageError, match=r'/pool/b.*cannot be read') as failed:
        list_images(pool)
    assert os.strerror(getattr(errno, name)).lower() in str(failed.value)
    faults.left = 1
    assert len(list_images(pool).keys) == 24


def test_too_many_open_files(pool, faults):
    faults.inject(os, 'scandir', '/pool/b', errno.EMFILE, -1)
    with pytest.raises(StorageError, match=r'too many open files.*ulimit -n'):
        list_images(pool)


def test_storage_fails_in_the_cache(tmp_path, faults):
    store = EmbeddingStore(str(tmp_path), 'Tiny', {})
    values = {
        'path': '/a',
        'size': 1,
        'mtime_ns': 2,
        'width': 1,
        'height': 1,
        'bytes': 1,
        'sharpness': 0.0,
        'vector': 0,
    }
    rows = pa.table([pa.array([values.get(field.name)], field.type) for field in ROWS], ROWS)
    with store.locked():
        store.append(rows, np.ones((1, 3), np.float32))
    again = EmbeddingStore(str(tmp_path), 'Tiny', {})
    faults.inject(builtins, 'open', 'shard-000000.parquet', errno.EIO, -1)
    with again.locked(), pytest.raises(StoreError, match='input/output error'):
        again.load()
    faults.left = 1
    with again.locked():
        again.load()
    assert again.latest(pa.array(['/a'])).tolist() == [0]


class FailingFile(io.FileIO):
    """Reads fail from the byte ``FROM`` on, ``TIMES`` times."""

    FROM = TIMES = 0

    def read(self, size=-1):
        if FailingFile.TIMES and self.tell() + max(size, 0) > FailingFile.FROM:
            FailingFile.TIMES -= 1
            raise OSError(errno.EIO, 'Input/output error')
        return super().read(size)


def test_storage_fails_in_a_video(tmp_path, render_video, monkeypatch):
    path = str(render_video(tmp_path / 'clip.mp4', frames=60, size=(320, 240)))
    whole = VIDEO.index(path)
    image = frame_files.read(path, 40, 10**8)[0]
    frame_files._forget()
    monkeypatch.setattr(video_reader, 'BUFFER', 4096)
    monkeypatch.setattr(storage.io, 'FileIO', FailingFile)
    FailingFile.FROM = os.path.getsize(path) // 2
    for times in (1, 2):
        FailingFile.TIMES = times
        assert VIDEO.index(path).count == whole.count
    FailingFile.TIMES = 1
    assert np.array_equal(frame_files.read(path, 40, 10**8)[0], image)
    frame_files._forget()
    for call in (lambda: VIDEO.index(path), lambda: frame_files.read(path, 40, 10**8)):
        FailingFile.TIMES = -1
        with pytest.raises(StorageError, match=r'clip\.mp4 cannot be read'):
            call()
    FailingFile.TIMES = 0
    assert np.array_equal(frame_files.read(path, 40, 10**8)[0], image)


def test_storage_fails_in_a_training(pool, faults):
    faults.inject(builtins, 'open', 'img03', errno.ESTALE, -1)
    load = LoadFrame(skip_unreadable=True)
    with pytest.raises(StorageError, match=r'img03\.png cannot be read') as failed:
        load({'img_path': str(pool / 'a' / 'img03.png')})
    said = exits.mendable(
        StorageError(f'Caught StorageError in DataLoader worker process 0.\nmmdel.errors.StorageError: {failed.value}')
    )
    assert said == str(failed.value)  # torch puts the traceback of a worker into the text of its error
    faults.left = 1
    assert load({'img_path': str(pool / 'a' / 'img03.png')})['img'].shape == (48, 64, 3)


# --- processes that read


def test_no_shared_memory(pool, monkeypatch):
    def none(*args, **options):
        raise OSError(errno.ENOSPC, 'No space left on device', '/dev/shm')

    import _multiprocessing

    monkeypatch.setattr(_multiprocessing, 'SemLock', none)
    monkeypatch.setattr('torch.multiprocessing.reductions.reduce_storage', none)
    paths = pa.array(sorted(map(str, pool.glob('*/*'))))
    batches = list(reader.read_batches([[paths]], [LoadFrame()], 24, 512, 2))
    assert [note.reason for batch in batches for note in batch.notes] == [None] * 24


def test_no_more_processes(pool, monkeypatch, caplog):
    def refuse(self):
        raise BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')

    monkeypatch.setattr('multiprocessing.process.BaseProcess.start', refuse)
    said = []
    monkeypatch.setattr(reader, 'print_log', lambda text, *args, **options: said.append(text))
    paths = pa.array(sorted(map(str, pool.glob('*/*'))))
    (batch,) = reader.read_batches([[paths]], [LoadFrame()], 24, 8, 2)
    assert [note.reason for note in batch.notes] == [None] * 24
    assert 'images are read in this one' in said[0]


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSEGV])
def test_reader_is_killed(pool, number):
    def die(results):
        if results['img_path'].endswith('img05.png'):
            faulthandler.disable()
            os.kill(os.getpid(), number)
        return results

    paths = pa.array(sorted(map(str, pool.glob('*/*'))))
    started = time.monotonic()
    with pytest.raises(LostReaderError, match=rf'killed by {number.name} while it read .*img05\.png') as lost:
        list(reader.read_batches([[paths]], [LoadFrame(), die], 24, 224, 2))
    assert time.monotonic() - started < 20
    assert ('embedder.batch_size' in str(lost.value)) == (number == signal.SIGKILL)


def test_reader_is_killed__while_it_sends(monkeypatch):
    def big(task: int, note: Callable[[int], None]) -> np.ndarray:
        return np.zeros(task, np.uint8)

    def children() -> list[int]:
        return [each.pid for each in reading_processes.multiprocessing.active_children()]

    stream = reading_processes.in_order(big, iter([1 << 24] * 6), 2)
    time.sleep(0.5)  # both are in the middle of a result that nobody has taken
    for child in children():
        os.kill(child, signal.SIGKILL)
    with pytest.raises(LostReaderError, match='was killed by SIGKILL'):
        next(stream)
    assert not children()


# --- results that cannot be written


def full(*args, **options):
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_no_space_for_the_report(pool, tmp_path, monkeypatch):
    monkeypatch.setattr('mmdel.report.page.write_text', full)
    with pytest.raises(ReportError, match=r'No space left on device.*mmdel report .*out'):
        runner(pool, tmp_path, report=True).run()
    assert (tmp_path / 'out' / 'keep.txt').exists() and (tmp_path / 'out' / 'subset.parquet').exists()


def end(run, kept: str = exits.KEPT):
    with pytest.raises(SystemExit) as ended:
        exits.end_with(lambda args: run(), None, kept)
    return ended.value.code


def test_no_space_for_results(pool, tmp_path, monkeypatch, capsys):
    write = pq.write_table
    refuse = lambda table, place, **options: full() if '/out/' in str(place) else write(table, place, **options)  # noqa: E731
    monkeypatch.setattr(pq, 'write_table', refuse)
    assert end(runner(pool, tmp_path).run) == 2
    said = capsys.readouterr().err
    assert f'error: {tmp_path}/out/subset.parquet: No space left on device. Make room' in said
    assert 'Traceback' not in said and said.count('\n') == 1
    monkeypatch.undo()
    known = []
    monkeypatch.setattr('mmdel.embedding.embed.read_batches', lambda *args: known.append(args))
    assert runner(pool, tmp_path).run().count('unreadable') == 0
    assert not known  # no image was read again


@pytest.mark.parametrize(
    ('code', 'advice'),
    [
        (errno.EROFS, '--work-dir'),
        (errno.EACCES, '--work-dir'),
        (errno.EDQUOT, 'Make room'),
        (errno.ENAMETOOLONG, 'mend that'),
        (errno.EIO, 'mend that'),
    ],
)
def test_folder_that_cannot_be_written(code, advice, capsys):
    def refuse():
        raise OSError(code, os.strerror(code), 'work_dirs/x')

    assert end(refuse) == 2
    assert capsys.readouterr().err.startswith(f'error: work_dirs/x: {os.strerror(code)}. ')
    assert end(refuse) == 2 and advice in capsys.readouterr().err


def test_current_folder_is_gone(tmp_path, monkeypatch, capsys):
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    assert end(lambda: None) == 2
    assert capsys.readouterr().err.startswith('error: The current folder is not there any more.')


def test_file_in_the_way(pool, tmp_path, capsys):
    (tmp_path / 'out').write_text('mine')
    assert end(runner(pool, tmp_path).run) == 2
    said = capsys.readouterr().err
    assert f'{tmp_path}/out' in said and '--work-dir' in said and said.count('\n') == 1
    assert (tmp_path / 'out').read_text() == 'mine'


def test_memory_is_used_up(capsys):
    def use_up():
        raise MemoryError

    assert end(use_up) == 2
    assert 'embedder.batch_size' in capsys.readouterr().err


# --- how a command ends


def test_bug(capfd):
    script = 'from mmdel.compute.exits import end_with\nend_with(lambda args: 1 / 0, None)'
    ended = subprocess.run(
        [sys.executable, '-c', script], env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    *_, error, line = ended.stderr.splitlines()
    assert error == 'ZeroDivisionError: division by zero' and 'Traceback' in ended.stderr
    assert line.startswith('This is a bug of mmdel') and 'mmdel 0.' in line


def test_closed_pipe():
    script = 'from mmdel.compute.exits import end_with\nend_with(lambda args: [print(i) for i in range(10**6)] and None, None)'
    command = f'{sys.executable} -c "$0" | head -1'
    ended = subprocess.run(
        ['bash', '-c', command, script], env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ('0\n', '')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_by_a_signal__says_what_is_kept(number, capsys):
    def wait():
        os.kill(os.getpid(), number)
        time.sleep(30)

    before = {each: signal.getsignal(each) for each in exits.SIGNALS}
    heed()
    try:
        assert end(wait, 'all of it is kept') == 128 + number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    said = capsys.readouterr().err
    assert said == f'stopped ({exits.SIGNALS[number]}): all of it is kept.\n'


def test_stopped_by_a_signal__although_a_library_swallows_it(capsys):
    def swallow():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except BaseException as error:
            raise ImportError('cannot be loaded') from error

    assert end(swallow) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.startswith('stopped (SIGTERM)')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='nothing forks here')
def test_stopped_by_a_signal__in_the_middle_of_a_fork(capsys):
    def fork():
        def in_the_middle():
            if signals:
                os.kill(os.getpid(), signals.pop())

        signals = [signal.SIGTERM]
        os.register_at_fork(before=in_the_middle)
        with exits.held():
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
        time.sleep(30)

    assert end(fork) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == f'stopped (SIGTERM): {exits.KEPT}.\n'


def test_stopped_by_a_signal__ends_a_library_that_does_not_come_back():
    script = (
        'import os, signal, time\nfrom mmdel.compute import exits\nexits.GRACE_S = 0.2\n'
        'def stubborn(args):\n    end = time.time() + 30\n    while time.time() < end:\n        try:\n'
        '            print("ready", flush=True)\n            time.sleep(30)\n        except BaseException: pass\n'
        'exits.end_with(stubborn, None)'
    )
    ended = stop_when(['-c', script], 'ready', signal.SIGINT)
    assert ended[0] == 130 and ended[1].startswith('stopped (SIGINT, Ctrl-C)') and ended[2] < 5


def stop_when(arguments: list[str], word: str, number: int, cwd: Path | None = None) -> tuple[int, str, float]:
    """Status, words, and seconds to the end of a command that gets a signal; its session is empty then."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, cwd=cwd, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed,
    )  # fmt: skip
    for line in process.stdout:
        if word in line:
            break
    started = time.monotonic()
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    seconds = time.monotonic() - started
    give_up = time.monotonic() + 2
    while left := list(session(process.pid)):
        assert time.monotonic() < give_up, left
    return process.returncode, said, seconds


def heed() -> None:
    """Signals work, although who runs the tests ignores some, as nohup does."""
    for number in exits.SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def session(leader: int) -> Iterator[str]:
    """The processes of a session that still run."""
    for status in Path('/proc').glob('[0-9]*/stat'):
        try:
            name, _, rest = status.read_text().rpartition(')')
        except OSError:
            continue
        state, _, _, owner = rest.split()[:4]
        if int(owner) == leader and state != 'Z':
            yield name


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='looks for processes in /proc')
@pytest.mark.parametrize(
    ('stage', 'number'),
    [('list', signal.SIGINT), ('embed', signal.SIGTERM), ('compare', signal.SIGHUP), ('report', signal.SIGINT)],
)
def test_stopped_by_a_signal__the_same_command_goes_on(pool, tmp_path, stage, number):
    staged = tmp_path / 'staged.py'
    staged.write_text(
        f'import sys, time\nsys.path.insert(0, {str(ROOT / "tools")!r})\n'
        'from contextlib import contextmanager\nimport dedup\nfrom mmdel.compute.progress import Stages\nplain = Stages.stage\n'
        '@contextmanager\ndef stage(self, name, *args, **options):\n'
        '    with plain(self, name, *args, **options) as tick:\n'
        '        def told(done):\n            tick(done)\n            wait(name)\n'
        '        if name != "embed":\n            wait(name)\n        yield told\n'
        'def wait(name):\n'
        f'    if name == {stage!r}:\n        print("stage reached", flush=True)\n        time.sleep(30)\n'
        'Stages.stage = stage\ndedup.main()\n'
    )
    config = ROOT / 'configs' / 'demo' / 'meddel_pixels.py'
    command = [str(config), '--images', str(pool), '--ratio', '0.5', '--work-dir', 'out']
    status, said, seconds = stop_when([str(staged), *command], 'stage reached', number, tmp_path)
    assert status == 128 + number and seconds < 10
    lines = [line for line in said.splitlines() if 'OneDL' not in line]
    assert len(lines) == 1 and lines[0].startswith('stopped (') and 'the same command goes on' in lines[0]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    tool = [sys.executable, str(ROOT / 'tools' / 'dedup.py')]
    for name, folder in (('out', tmp_path), ('fresh', tmp_path / 'elsewhere')):
        folder.mkdir(exist_ok=True)
        command[-1] = name
        subprocess.run([*tool, *command], env=environment, cwd=folder, check=True, capture_output=True)
    again, fresh = (tmp_path / 'out' / 'subset.parquet'), (tmp_path / 'elsewhere' / 'fresh' / 'subset.parquet')
    assert again.read_bytes() == fresh.read_bytes()

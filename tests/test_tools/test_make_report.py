"""The report made again, and one image explained, as people type it."""

import base64
import itertools
import re
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mmdel.cli.inspect import default_out
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.inspection import inspect
from mmdel.report.plots import plot_pictures
from mmdel.subset import Subset


@pytest.fixture
def done(dedup, pool):
    options = ('--encoder', 'pixels', '--ratio', '0.4', '--work-dir', 'out', '--cfg-options', 'center=True')
    assert dedup('--images', pool, *options)[0] == 0
    return Path('out')


def test_make_report__gives_the_page_of_the_run(done, call_tool):
    before = (done / 'report' / 'index.html').read_bytes()
    shutil.rmtree(done / 'report')
    status, out = call_tool('analysis_tools/make_report', 'out')
    assert status == 0 and 'out/report/index.html' in out
    assert (done / 'report' / 'index.html').read_bytes() == before
    status, _ = call_tool('analysis_tools/make_report', 'out/subset.parquet', '--out', 'elsewhere', '--epochs', '800')
    assert status == 0 and 'in 800 epochs' in Path('elsewhere/index.html').read_text()


def test_make_report__without_the_run_says_what_to_do(call_tool, done):
    (done / 'origin.json').unlink()
    status, out = call_tool('analysis_tools/make_report', 'out')
    assert status == 2 and 'mmdel select' in out and 'Traceback' not in out
    status, out = call_tool('analysis_tools/make_report', 'nowhere')
    assert status == 2 and 'nowhere' in out
    assert call_tool('analysis_tools/make_report', 'out', '--epochs', '0')[0] == 2
    assert call_tool('analysis_tools/make_report', 'out', '--conflicts', '3')[0] == 2


def test_inspect_image__as_text_and_as_a_picture(done, call_tool):
    key = next(row['image'] for row in Subset.read('out/subset.parquet').table.to_pylist() if not row['keep'])
    status, out = call_tool('analysis_tools/inspect_image', 'out', key, '--neighbours', '3')
    assert status == 0 and 'most similar kept image' in out and out.count('  0.') + out.count('  1.0') >= 3
    (picture,) = (done / 'report' / 'inspect').glob('*.png')
    assert str(picture) in out and picture.read_bytes().startswith(b'\x89PNG')
    status, out = call_tool('analysis_tools/inspect_image', 'out/subset.parquet', 'no such.jpg')
    assert status == 2 and 'no such.jpg' in out


@pytest.mark.parametrize('key', ['../../x', '/etc/passwd', 'a\nb' * 2000, '$x_{1}$\\frac.jpg'])
def test_inspect_image__picture_of_any_key_lies_in_its_folder(key):
    out = default_out(Path('out'), key)
    assert out.parent == Path('out/report/inspect') and len(out.name) < 120 and out.name[0] != '.'


def test_report__of_given_vectors_needs_no_images(dedup, call_tool, tmp_path):
    rng = np.random.default_rng(0)
    np.save('v.npy', rng.standard_normal((60, 16)).astype(np.float32))
    Path('k.txt').write_text('\n'.join(f'{i} <b>.jpg' for i in rng.permutation(60)))
    assert dedup('--embeddings', 'v.npy', '--keys', 'k.txt', '--ratio', '0.5', '--work-dir', 'out')[0] == 0
    before = Path('out/report/index.html').read_bytes()
    assert call_tool('analysis_tools/make_report', 'out')[0] == 0
    assert Path('out/report/index.html').read_bytes() == before
    status, out = call_tool('analysis_tools/inspect_image', 'out', '7 <b>.jpg')
    assert status == 0 and 'neighbours:' in out and '--images DIR' in out


# --- frames of videos


def frame_of(video, number):
    """The frame as another way of reading gives it, uint8 [H, W, 3], BGR."""
    with av.open(str(video)) as container:
        return next(itertools.islice(container.decode(video=0), number, None)).to_ndarray(format='bgr24')


def test_report_and_inspect_image__show_frames_as_the_video_holds_them(dedup, call_tool, tmp_path, render_video):
    video = render_video(tmp_path / 'pool' / 'ward' / 'clip.mp4', frames=24, size=(96, 64))
    options = ('--encoder', 'pixels', '--videos', 'all', '--ratio', '0.25', '--work-dir', 'out')
    assert dedup('--images', tmp_path / 'pool', *options, '--cfg-options', 'center=True')[0] == 0
    page = Path('out/report/index.html').read_text()
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="(ward/clip\.mp4#\d{6})"', page)
    subset = Subset.read('out/subset.parquet')
    assert {key for _, key in found} & set(subset.kept) and {key for _, key in found} - set(subset.kept)
    assert 'class="missing"' not in page
    for data, key in found:
        drawn = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        frame = frame_of(video, int(key[-6:]))
        assert drawn.shape == frame.shape and np.abs(drawn.astype(int) - frame).mean() < 4
    key = next(key for key in subset.images if key not in subset.kept)
    status, out = call_tool('analysis_tools/inspect_image', 'out', key)
    assert status == 0 and f'frame: {int(key[-6:])}' in out and 'picture: out/report/inspect/' in out
    run = FinishedRun.open('out')
    figure = plot_pictures(inspect(run, key).shown, run.paths)
    first = np.asarray(figure.axes[0].images[0].get_array())
    assert np.abs(first[:, :, ::-1].astype(int) - frame_of(video, int(key[-6:]))).mean() < 4
    assert not any(axis.texts for axis in figure.axes)


# --- conflicts


def test_conflict_threshold__is_a_key_of_the_config_that_later_reports_keep(dedup, call_tool, tmp_path, pool):
    for number, path in enumerate(sorted(pool.rglob('*.png'))):
        target = tmp_path / 'labelled' / 'gastrovision' / 'AB'[number % 2] / f'{number}.png'
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    arguments = ('--images', tmp_path / 'labelled', '--encoder', 'pixels', '--ratio', '0.5', '--work-dir', 'out')
    assert dedup(*arguments, '--cfg-options', 'conflict_threshold=0.5')[0] == 0
    page = Path('out/report/index.html').read_text()
    assert 'more similar than 0.500' in page
    assert call_tool('analysis_tools/make_report', 'out')[0] == 0 and Path('out/report/index.html').read_text() == page
    assert call_tool('analysis_tools/make_report', 'out', '--conflicts', '0.9')[0] == 0
    assert 'more similar than 0.900' in Path('out/report/index.html').read_text()
    for value, expected in (('2', 'conflict_threshold is a cosine'), ('high', 'conflict_threshold is a number')):
        status, out = dedup(*arguments, '--cfg-options', f'conflict_threshold={value}')
        assert status == 2 and expected in out

"""The report made again, and one image explained, as people type it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

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
    assert status == 2 and 'tools/dedup.py' in out and 'Traceback' not in out
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
def test_inspect_image__picture_of_any_key_lies_in_its_folder(load_tool, key):
    out = load_tool('analysis_tools/inspect_image').default_out(Path('out'), key)
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

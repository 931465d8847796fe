"""From videos to a plain folder that stock datasets read: the commands of the README."""

import csv

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import CustomDataset

from mmdel.subset import Subset


@pytest.fixture
def films(tmp_path, render_video):
    for number, name in enumerate(('a.mp4', 'b.avi')):
        codec = 'mpeg4' if name.endswith('.avi') else 'libx264'
        render_video(tmp_path / 'films' / name, frames=40, codec=codec, start=200 * number)
    return tmp_path / 'films'


def test_from_videos_to_a_folder__that_a_stock_dataset_reads(films, tmp_path, dedup, call_tool):
    status, text = dedup(
        '--images', films, '--videos', '2', '--encoder', 'pixels', '--ratio', '0.25', '--work-dir', 'run', '--no-report'
    )  # fmt: skip
    assert status == 0, text
    assert '10 of them are frames of videos' in text
    subset = Subset.read(tmp_path / 'run' / 'subset.parquet')
    assert len(subset.images) == 40
    assert (tmp_path / 'run' / 'keep.txt').read_text() == ''
    status, text = call_tool('export_subset', 'run', '--root', films, '--out', 'out')
    assert status == 0, text
    with open(tmp_path / 'out' / 'manifest.csv', newline='') as file:
        assert sorted(row['key'] for row in csv.DictReader(file)) == subset.kept
    read = CustomDataset(data_root=str(tmp_path / 'out'), with_label=False, pipeline=[dict(type='LoadImageFromFile')])
    assert len(read) == 10
    assert read[0]['img'].shape == (32, 48, 3)
    assert call_tool('export_subset', 'run', '--out', 'out', '--verify')[0] == 0
    (tmp_path / 'out' / 'manifest.csv').unlink()
    status, text = call_tool('export_subset', 'run', '--out', 'out', '--verify')
    assert status == 2
    assert 'Export first' in text


def test_options__cut_elsewhere_and_filter_annotations(films, tmp_path, dedup, call_tool, make_stills):
    make_stills(tmp_path / 'stills', 8)
    dedup('--images', tmp_path / 'stills', '--encoder', 'pixels', '--ratio', '0.5', '--work-dir', 'run', '--no-report')
    status, text = call_tool(
        'export_subset', 'run/subset.parquet', '--root', 'stills', '--out', 'half', '--ratio', '0.25', '--symlink'
    )
    assert status == 0, text
    assert len(list((tmp_path / 'half').glob('*.png'))) == 2
    (tmp_path / 'train.txt').write_text(''.join(f'{number}.png {number % 2}\n' for number in range(8)))
    status, text = call_tool('export_subset', 'run', '--ann-file', 'train.txt', '--out', 'kept.txt')
    assert (status, text) == (0, '4 of 8 images stay: kept.txt\n')
    names = [line.split()[0] for line in (tmp_path / 'kept.txt').read_text().splitlines()]
    assert sorted(names) == Subset.read('run/subset.parquet').kept


def test_mistakes__end_with_two_and_a_word_what_to_do(tmp_path, films, dedup, call_tool, monkeypatch):
    status, text = dedup('--images', films, '--encoder', 'pixels')
    assert status == 2
    assert '--videos 1fps' in text
    status, text = dedup('--images', films, '--encoder', 'pixels', '--videos', 'sometimes')
    assert status == 2
    assert "'2fps'" in text
    status, text = call_tool('export_subset', 'nowhere', '--root', films, '--out', 'out')
    assert status == 2
    assert 'mmdel select' in text
    status, text = call_tool('export_subset', 'nowhere', '--out', 'out')
    assert status == 2
    assert '--root' in text


def test_videos__are_for_datasets_that_know_them(dedup, tmp_path):
    (tmp_path / 'other.py').write_text(
        "train_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', data_root='x'))"
    )
    status, text = dedup('--dataset-from', 'other.py', '--videos', 'all')
    assert status == 2
    assert '--images DIR' in text


@pytest.fixture
def make_stills():
    def make(folder, count):
        folder.mkdir()
        for number in range(count):
            picture = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
            cv2.imwrite(str(folder / f'{number}.png'), picture)

    return make

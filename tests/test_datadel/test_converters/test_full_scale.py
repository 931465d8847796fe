"""The true trees of the pre-training sets, by the official lists: each image a link to one tiny picture, each video rendered."""

import csv
import os

import pytest
import torch

from mmdel.datadel.assembly import assemble
from mmdel.datasets import DataDEL

CAPSULE = {
    'Blood': 'Blood - fresh',
    'Erythematous': 'Erythema',
    'Foreign Bodies': 'Foreign body',
    'Ileo-cecal valve': 'Ileocecal valve',
    'Normal': 'Normal clean mucosa',
    'Reduced Mucosal View': 'Reduced mucosal view',
}


def rows(path, delimiter=','):
    with open(path, encoding='utf-8-sig', newline='') as file:
        return list(csv.reader(file, delimiter=delimiter))[1:]


def frames_of(number):
    """How many frames the test gives a video."""
    return 3 + number % 11


@pytest.fixture(scope='module')
def native(real_data, tmp_path_factory, render_video):
    """The folder of downloads, and the names in each dataset."""
    from PIL import Image

    raw = tmp_path_factory.mktemp('full')
    lists = real_data / 'lists'
    names = {
        'gastrovision': [f'{row[1]}/{row[0]}' for row in rows(lists / 'gastrovision_metadata.csv')],
        'hyper-kvasir': [
            f'labeled-images/lower-gi-tract/group/{row[1]}/{row[0]}{"" if row[0].endswith(".jpg") else ".jpg"}'
            for row in rows(lists / 'hyper_kvasir_labeled.csv', ';')
        ],
        'kvasir-capsule': sorted(
            {
                f'labelled_images/{CAPSULE.get(row[1], row[1])}/{row[0]}'
                for number in (0, 1)
                for row in rows(lists / f'kvasir_capsule_split_{number}.csv')
            }
        ),
    }
    names['hyper-kvasir'] += [
        f'labeled-videos/lower-gi-tract/{row[1]}/{row[0]}' for row in rows(lists / 'hyper_kvasir_videos.csv', ';')
    ]
    names['kvasir-capsule'] += [f'labelled_videos/{number:016x}.mp4' for number in range(43)]
    names['kvasir-capsule'] += [f'unlabelled_videos/{number:016x}.mp4' for number in range(74)]
    Image.new('RGB', (4, 4)).save(raw / 'one.jpg')
    folders = set()
    films = 0
    for dataset, files in names.items():
        for number, name in enumerate(files):
            path = raw / 'downloads' / f'{dataset} as downloaded' / name
            if path.parent not in folders:
                path.parent.mkdir(parents=True)
                folders.add(path.parent)
            if number % 20_000 == 0:  # a file has only so many links
                Image.new('RGB', (4, 4)).save(raw / 'one.jpg')
            if name.endswith('.jpg'):
                os.link(raw / 'one.jpg', path)
            else:
                codec = 'mpeg1video' if name.endswith('.mpg') else 'mpeg4'
                render_video(path, frames=frames_of(films), codec=codec, start=films, size=(32, 16))
                films += 1
            if number % 20_000 == 19_999:
                os.unlink(raw / 'one.jpg')
    return raw / 'downloads', names


@pytest.fixture(scope='module')
def assembled(native, tmp_path_factory):
    """An assembled DataDEL, not to be changed, and what was said about it."""
    out = tmp_path_factory.mktemp('assembled')
    reports, strays = assemble([native[0]], out)
    assert strays == []
    return out, reports


@pytest.mark.slow
def test_official_lists__every_name_arrives_and_a_second_run_changes_nothing(native, assembled):
    raw, names = native
    out, reports = assembled
    found = {name: report.found for name, report in reports.items() if report.found}
    assert found == {
        'gastrovision': {'labelled images': 8_000},
        'hyper-kvasir': {'labelled images': 10_662, 'labelled videos': 373},
        'kvasir-capsule': {'labelled images': 47_161, 'labelled videos': 43, 'unlabelled videos': 74},
    }
    for dataset, files in names.items():
        assert reports[dataset].rows == []
        there = {
            f'{folder[len(str(out / dataset)) + 1 :]}/{name}'
            for folder, _, inside in os.walk(out / dataset)
            for name in inside
        }
        assert there == set(files)
    assert reports['gastrovision'].status == 'complete'
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(out / '.manifest')}
    again, _ = assemble([raw], out)
    assert {name: report.found for name, report in again.items() if report.found} == found
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(out / '.manifest')} == before
    items = DataDEL(str(out), sources=('gastrovision',), pipeline=[dict(type='mmdel.LoadFrame')])
    assert len(items) == 8_000
    assert len(items.metainfo['classes']) == 27
    assert items[7_999]['img'].shape == (4, 4, 3)


@pytest.mark.slow
def test_videos__every_frame_is_an_item_and_goes_into_a_training_batch(native, assembled):
    _, names = native
    out, _ = assembled
    videos = [f'{dataset}/{name}' for dataset, files in names.items() for name in files if not name.endswith('.jpg')]
    assert len(videos) == 373 + 117
    pipeline = [
        dict(type='mmdel.LoadFrame'),
        dict(type='mmpretrain.Resize', scale=(32, 32)),
        dict(type='mmpretrain.PackInputs'),
    ]
    pool = DataDEL(str(out), sources=('pretraining',), videos='all', pipeline=pipeline)
    told = {f'{video}#{frame:06d}' for number, video in enumerate(videos) for frame in range(frames_of(number))}
    keys = [os.path.relpath(pool.get_data_info(index)['img_path'], out) for index in range(len(pool))]
    assert pool.ledger == ()
    assert {key for key in keys if '#' in key} == told
    assert len(keys) == 8_000 + 10_662 + 47_161 + len(told)
    assert keys == sorted(keys)
    place = {key: index for index, key in enumerate(keys)}
    shown = [pool.get_data_info(place[f'{video}#000001']) for video in videos]
    assert {info['source'] for info in shown} == {'hyper-kvasir', 'kvasir-capsule'}
    assert sum('gt_label' in info for info in shown) == 373
    batch = [pool[place[key]]['inputs'] for key in (keys[0], f'{videos[0]}#000002', f'{videos[-1]}#000000')]
    assert torch.stack(batch).shape == (3, 3, 32, 32)

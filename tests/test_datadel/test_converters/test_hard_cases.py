"""What is wrong with downloads is a row of the ledger, and never the end of a run or a guess."""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmdel.datadel.assembly import assemble, verify
from mmdel.datadel.assembly.manifest import Journal
from mmdel.datadel.catalog import CATALOG
from mmdel.errors import DatasetError, LockedError

PAIRS = [entry.id for entry in CATALOG.values() if entry.division == 'downstream']


def ledger(out, dataset):
    with open(out / 'ledger' / f'{dataset}.csv', encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def is_mask(name):
    return '/masks' in name or 'Ground Truth/' in name


@pytest.mark.parametrize('dataset', PAIRS)
def test_missing_half__is_reported_and_left_out(dataset, trees, tools, tmp_path):
    files = dict(trees[dataset])
    images_only = {name: data for name, data in files.items() if not is_mask(name)}
    tools('lay_out')(tmp_path / 'raw', images_only)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.status == 'not found'
    if dataset == 'ead2019':
        assert report.notes == ['4 frames without a mask left out']
    else:
        rows = [row for row in report.rows if row.kind == 'missing']
        assert len(rows) == (9 if dataset == 'polypgen' else 3)
        assert all('mask is not there' in row.reason for row in rows)
    assert not (tmp_path / 'out' / dataset / 'images').exists()


@pytest.mark.parametrize('dataset', PAIRS)
def test_mask_without_an_image__is_reported(dataset, trees, tools, tmp_path):
    files = dict(trees[dataset])
    gone = [
        name
        for name in files
        if not is_mask(name) and ('/1.' in name or '_1.' in name or '/50.' in name or '01.' in name)
    ]
    files = {name: data for name, data in files.items() if name not in gone}
    tools('lay_out')(tmp_path / 'raw', files)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.found['pairs'] == (6 if dataset == 'polypgen' else 2)
    lost = [row for row in report.rows if row.kind == 'missing']
    assert lost
    assert all(row.reason == 'its image is not there; left out' for row in lost)


@pytest.mark.parametrize('dataset', PAIRS)
def test_mask_of_another_size__is_reported_and_left_out(dataset, trees, tools, tmp_path):
    files = dict(trees[dataset])
    name = min(name for name in files if is_mask(name))
    kind = {'.jpg': 'JPEG', '.png': 'PNG', '.tif': 'TIFF'}[name[-4:]]
    wrong = tools('mask')(size=(7, 6), kind=kind)
    files[name] = tools('channels')(*[(0, 1)] * 5, size=(7, 6)) if dataset == 'ead2019' else wrong
    tools('lay_out')(tmp_path / 'raw', files)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.found['pairs'] == (8 if dataset == 'polypgen' else 2)
    assert [row.kind for row in report.rows] == ['unreadable']
    assert '7 x 6' in report.rows[0].reason
    assert '8 x 6' in report.rows[0].reason


@pytest.mark.parametrize('dataset', list(CATALOG))
def test_unknown_file__is_extra_and_stays_where_it_is(dataset, trees, tools, tmp_path):
    root = {'hyper-kvasir': 'labeled-images/', 'kvasir-capsule': 'labelled_images/', 'gastrovision': 'Gastrovision/'}
    folder = root.get(dataset) or f'{os.path.commonpath(list(trees[dataset]))}/'
    tools('lay_out')(tmp_path / 'raw' / 'x', trees[dataset] | {f'{folder}what is this.docx': b'?'})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert [(row.kind, Path(row.path).name) for row in report.rows] == [('extra', 'what is this.docx')]
    assert ledger(tmp_path / 'out', dataset)[0]['kind'] == 'extra'
    assert not list((tmp_path / 'out').rglob('*.docx'))


@pytest.mark.parametrize('dataset', list(CATALOG))
def test_unreadable_files__are_reported(dataset, trees, tools, tmp_path):
    files = dict(trees[dataset])
    images = sorted(name for name in files if name.endswith(('.jpg', '.tif', '.png')) and 'segmented' not in name)
    images = [name for name in images if not any(word in name for word in ('All_pos', 'only_det', 'negative'))]
    cut, empty = images[0], images[-1]
    files[cut], files[empty] = files[cut][: len(files[cut]) // 2], b''
    tools('lay_out')(tmp_path / 'raw', files)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert {row.path.removeprefix('raw/') for row in report.rows} == {cut, empty}
    assert {row.kind for row in report.rows} == {'unreadable'}
    assert any('empty' in row.reason for row in report.rows)
    assert not list((tmp_path / 'out' / '.manifest' / 'staging').iterdir())


@pytest.mark.parametrize('dataset', ['hyper-kvasir', 'kvasir-capsule'])
def test_unusable_videos__are_reported(dataset, trees, tools, tmp_path, render_video):
    folder = {'hyper-kvasir': 'labeled-videos/upper-gi-tract/x', 'kvasir-capsule': 'labelled_videos'}[dataset]
    sound = render_video(tmp_path / 'sound.mp4', frames=0).read_bytes()
    wrong = {
        'sound.mp4': sound,
        'empty.mp4': b'',
        'text.mp4': b'no video at all',
        'cut.mp4': tools('film')('mp4')[:300],
    }
    tools('lay_out')(tmp_path / 'raw', trees[dataset] | {f'{folder}/{name}': data for name, data in wrong.items()})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.found['labelled videos'] == 1
    assert {Path(row.path).name: row.kind for row in report.rows} == dict.fromkeys(wrong, 'unreadable')
    reasons = {Path(row.path).name: row.reason for row in report.rows}
    assert 'sound, but no pictures' in reasons['sound.mp4']
    assert verify(tmp_path / 'out', [dataset])[dataset].rows == []


@pytest.mark.parametrize('suffix', ['.zip', '.tar', '.tar.gz'])
@pytest.mark.parametrize('dataset', list(CATALOG))
def test_archive_cut_off__what_lies_before_the_cut_counts(dataset, suffix, trees, tools, tmp_path):
    path = tmp_path / 'raw' / f'{dataset}{suffix}'
    if suffix == '.zip':
        tools('zipped')(path, trees[dataset])
    else:
        tools('tarred')(path, trees[dataset], 'w:gz' if suffix == '.tar.gz' else 'w')
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * (0.3 if suffix == '.tar' else 0.5))])
    reports, strays = assemble([tmp_path / 'raw'], tmp_path / 'out')
    said = [*strays, *(row.reason for row in reports[dataset].rows)]
    assert any('load it again' in line or 'cut off' in line for line in said)
    assert reports[dataset].status != 'complete'
    for report in verify(tmp_path / 'out').values():
        assert report.rows == []


@pytest.mark.parametrize('dataset', list(CATALOG))
def test_two_files_that_differ_only_in_case__one_is_taken_and_one_reported(dataset, trees, tools, tmp_path):
    files = dict(trees[dataset])
    images = sorted(name for name in files if name.endswith(('.jpg', '.tif', '.png')) and not is_mask(name))
    images = [
        name for name in images if not any(word in name for word in ('segmented', 'All_pos', 'only_det', 'negative'))
    ]
    twin = images[0][:-4] + images[0][-4:].upper()
    tools('lay_out')(tmp_path / 'raw', files | {twin: files[images[0]]})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert len(report.rows) == 1
    assert 'case only' in report.rows[0].reason
    names = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / 'out' / dataset).rglob('*')]
    assert len({name.casefold() for name in names}) == len(names)


def test_case_twins__in_folders_too(tools, tmp_path):
    files = {f'{root}/Pylorus/a.jpg': tools('picture')(level) for level, root in ((1, 'G'), (200, 'H'))}
    tools('lay_out')(tmp_path / 'raw', files | {'H/Pylorus/A.jpg': tools('picture')(9)})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['gastrovision']
    assert report.found == {'labelled images': 1}
    assert len(report.rows) + len(report.notes) >= 2


def test_gastrovision__one_name_in_two_classes_is_two_images(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['gastrovision'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    found = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('a.jpg'))
    assert found == ['gastrovision/Pylorus/a.jpg', 'gastrovision/Ulcer/a.jpg']


def test_packed_and_unpacked__the_unpacked_one_is_taken(trees, tools, tmp_path):
    for dataset in ('kvasir-seg', 'gastrovision'):
        tools('lay_out')(tmp_path / 'raw' / dataset, trees[dataset])
        tools('zipped')(tmp_path / 'raw' / f'{dataset}.zip', trees[dataset])
    reports, _ = assemble([tmp_path / 'raw'], tmp_path / 'out')
    for dataset in ('kvasir-seg', 'gastrovision'):
        assert reports[dataset].rows == []
        pictures = list((tmp_path / 'out' / dataset).rglob('*.jpg'))
        assert pictures
        assert all(path.is_symlink() for path in pictures)


def test_own_file_in_the_way__is_not_touched(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['cvc-300'])
    mine = tmp_path / 'out' / 'cvc-300' / 'images' / '1.png'
    tools('lay_out')(tmp_path / 'out', {'cvc-300/images/1.png': b'mine'})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['cvc-300']
    assert mine.read_bytes() == b'mine'
    assert ['is not touched' in row.reason for row in report.rows] == [True]
    assert report.found == {'pairs': 2}


def test_changed_copy__is_not_written_over(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['cvc-300'])
    assemble([tmp_path / 'raw'], tmp_path / 'out', copy=True)
    mine = tmp_path / 'out' / 'cvc-300' / 'images' / '1.png'
    mine.write_bytes(b'mine')
    report = assemble([tmp_path / 'raw'], tmp_path / 'out', copy=True)[0]['cvc-300']
    assert mine.read_bytes() == b'mine'
    assert len(report.rows) == 1
    assert verify(tmp_path / 'out')['cvc-300'].rows[0].reason == 'has changed since it was assembled'


def exchanged(files):
    """The first two images with the contents of each other."""
    first, second = [name for name in sorted(files) if '/images/' in name][:2]
    return {**files, first: files[second], second: files[first]}


def at_one_time(folder):
    for path in folder.rglob('*'):
        os.utime(path, (1_600_000_000, 1_600_000_000))


def same_length(trees):
    """A dataset whose images have one size in bytes each."""
    longest = max(map(len, trees['cvc-300'].values()))
    return {name: data.ljust(longest, b'\0') for name, data in trees['cvc-300'].items()}


def assemble_exchanged(packed, trees, tools, tmp_path):
    raw, out = tmp_path / 'raw', tmp_path / 'out'
    files = same_length(trees)
    for content in (files, exchanged(files), exchanged(files)):
        if packed == 'folder':
            tools('lay_out')(raw, content)
        else:
            tools({'zip': 'zipped', 'tar': 'tarred'}[packed])(raw / f'cvc-300.{packed}', content)
        at_one_time(tmp_path / 'raw')
        assert assemble([raw], out, copy=True)[0]['cvc-300'].rows == []
        placed = {path.read_bytes() for path in (out / 'cvc-300' / 'images').iterdir()}
        wanted = {name: data for name, data in content.items() if '/images/' in name}
        assert placed == set(wanted.values())
        first = sorted(wanted)[0]
        assert (out / 'cvc-300' / 'images' / os.path.basename(first)).read_bytes() == wanted[first]


@pytest.mark.parametrize('packed', ['folder', 'zip', 'tar'])
def test_downloads_exchanged_among_each_other__are_placed_anew(packed, trees, tools, tmp_path):
    assemble_exchanged(packed, trees, tools, tmp_path)


@pytest.mark.usefixtures('poor_file_system')
@pytest.mark.parametrize('packed', ['folder', 'zip', 'tar'])
def test_downloads_exchanged__where_the_file_system_tells_nothing(packed, trees, tools, tmp_path):
    assemble_exchanged(packed, trees, tools, tmp_path)


@pytest.mark.parametrize('copy', [True, False])
def test_result_copied_elsewhere__is_not_written_again(copy, trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['cvc-300'])
    assemble([tmp_path / 'raw'], tmp_path / 'out', copy=copy)
    moved = shutil.copytree(tmp_path / 'out', tmp_path / 'moved', symlinks=True)
    before = {path: path.stat().st_ino for path in (moved / 'cvc-300').rglob('*.png')}
    report = assemble([tmp_path / 'raw'], moved, copy=copy)[0]['cvc-300']
    assert (report.found, report.rows) == ({'pairs': 3}, [])
    assert {path: path.stat().st_ino for path in (moved / 'cvc-300').rglob('*.png')} == before


def test_more_comes_later__is_added_and_the_lists_grow(trees, tools, tmp_path):
    first = {name: data for name, data in trees['cvc-clinicdb'].items() if '/50.' not in name}
    first |= {name.replace('150', '250'): data + b'other' for name, data in first.items() if '/150.' in name}
    tools('lay_out')(tmp_path / 'raw', first)
    assert assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['cvc-clinicdb'].found == {'pairs': 3}
    tools('lay_out')(tmp_path / 'raw', trees['cvc-clinicdb'])
    assert assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['cvc-clinicdb'].found == {'pairs': 4}
    listed = [path.read_text().split() for path in (tmp_path / 'out' / 'cvc-clinicdb').glob('*.txt')]
    assert sorted(stem for stems in listed for stem in stems) == ['100', '150', '250', '50']


def test_downloads_gone__what_was_assembled_stays(trees, tools, tmp_path):
    tools('zipped')(tmp_path / 'raw' / 'cvc-300.zip', trees['cvc-300'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    before = tools('snapshot')(tmp_path / 'out' / 'cvc-300')
    (tmp_path / 'other').mkdir()
    report = assemble([tmp_path / 'other'], tmp_path / 'out')[0]['cvc-300']
    assert report.found == {'pairs': 3}
    assert 'as it was assembled before' in report.notes[0]
    assert tools('snapshot')(tmp_path / 'out' / 'cvc-300') == before


def test_another_form_later__is_not_mixed_in(tools, trees, tmp_path):
    tools('lay_out')(tmp_path / 'one', trees['etis'])
    assemble([tmp_path / 'one'], tmp_path / 'out')
    other = {f'TestDataset/ETIS/images/{number}.png': tools('picture')(number, kind='PNG') for number in range(9)}
    other |= {f'TestDataset/ETIS/masks/{number}.png': tools('mask')() for number in range(9)}
    tools('lay_out')(tmp_path / 'two', other)
    report = assemble([tmp_path / 'two'], tmp_path / 'out')[0]['etis']
    assert report.found == {'pairs': 3}
    assert 'another native form' in report.notes[0]


@pytest.mark.parametrize('stop', [1, 3, 4])
@pytest.mark.parametrize('dataset', ['polypgen', 'edd2020', 'gastrovision', 'kvasir-instrument'])
def test_killed__goes_on_and_ends_the_same(dataset, stop, trees, tools, tmp_path, monkeypatch):
    tools('zipped')(tmp_path / 'raw' / f'{dataset}.zip', trees[dataset])
    assemble([tmp_path / 'raw'], tmp_path / 'whole')
    add = Journal.add
    done = []

    def killed(self, placed):
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(placed)
        add(self, placed)

    monkeypatch.setattr(Journal, 'add', killed)
    stopped = False
    try:
        assemble([tmp_path / 'raw'], tmp_path / 'out')
    except KeyboardInterrupt:
        stopped = True
    monkeypatch.setattr(Journal, 'add', add)
    assert stopped == (dataset != 'gastrovision' or stop < 3)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.rows == []

    def content(folder):
        return {name: entry[-1] for name, entry in tools('snapshot')(folder / dataset).items()}

    assert content(tmp_path / 'out') == content(tmp_path / 'whole')
    assert verify(tmp_path / 'out')[dataset].rows == []
    assert not list((tmp_path / 'out').rglob('*.journal'))


def test_journal__a_torn_last_line_is_passed_over(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['cvc-300'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    manifest = tmp_path / 'out' / '.manifest' / 'cvc-300.jsonl'
    text = manifest.read_text()
    manifest.rename(manifest.with_suffix('.journal'))
    manifest.with_suffix('.journal').write_text(text[:-20])
    assert assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['cvc-300'].rows == []
    assert manifest.read_text() == text
    manifest.write_text(text[:-20])
    with pytest.raises(DatasetError, match='damaged in line'):
        assemble([tmp_path / 'raw'], tmp_path / 'out')


def test_locked__one_at_a_time(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['cvc-300'])
    out = tmp_path / 'out'
    assemble([tmp_path / 'raw'], out)
    code = 'import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); '
    code += 'print("held", flush=True); time.sleep(30)'
    with subprocess.Popen(
        [sys.executable, '-c', code, str(out / '.manifest' / 'lock')], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(LockedError, match='Another process'):
            assemble([tmp_path / 'raw'], out)
        other.terminate()


def test_raw__that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match='no folder and no archive'):
        assemble([tmp_path / 'nothing'], tmp_path / 'out')


def test_rar__is_said_to_need_unpacking(tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', {'CVC-ClinicDB.rar': b'Rar!'})
    reports, _ = assemble([tmp_path / 'raw'], tmp_path / 'out')
    assert 'unpack it' in reports['cvc-clinicdb'].rows[0].reason


def test_result_inside_the_downloads__is_not_taken_for_one(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'data', trees['cvc-300'] | trees['gastrovision'])
    for _ in range(2):
        reports, strays = assemble([tmp_path / 'data'], tmp_path / 'data' / 'datadel', copy=True)
        assert strays == []
        assert [reports[name].rows for name in ('cvc-300', 'gastrovision')] == [[], []]
        assert reports['gastrovision'].notes == []


def test_verify__finds_what_has_gone_wrong_since(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['kvasir-seg'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    assert verify(tmp_path / 'out')['kvasir-seg'].rows == []
    images = sorted((tmp_path / 'out' / 'kvasir-seg' / 'images').iterdir())
    os.unlink(images[0])
    os.unlink(tmp_path / 'raw' / 'Kvasir-SEG' / 'images' / images[1].name)
    time.sleep(0.01)
    (tmp_path / 'raw' / 'Kvasir-SEG' / 'images' / images[2].name).write_bytes(b'else')
    reasons = [row.reason for row in verify(tmp_path / 'out')['kvasir-seg'].rows]
    assert len(reasons) == 3
    assert all(any(word in reason for reason in reasons) for word in ('is gone', 'leads nowhere', 'has changed'))

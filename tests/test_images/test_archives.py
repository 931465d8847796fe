"""Archives are read as they are, and cannot lead anybody anywhere."""

import io
import stat
import tarfile
import zipfile

import pytest

from mmdel.datadel.assembly import assemble
from mmdel.errors import UnreadableImage
from mmdel.images import archives
from mmdel.images.archives import open_source
from mmdel.images.file_source import Source

FILES = {'a/1.txt': b'one', 'a/2.txt': b'', 'b.txt': b'x' * 3_000_000}


def zip_of(path, members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return path


def tar_of(path, members, mode='w'):
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def folder_of(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture(params=['folder', 'x.zip', 'x.tar', 'x.tar.gz', 'x.tgz'])
def source(request, tmp_path):
    path = tmp_path / request.param
    if request.param == 'folder':
        folder_of(path, FILES)
    elif request.param == 'x.zip':
        zip_of(path, FILES.items())
    else:
        tar_of(path, FILES.items(), 'w' if request.param == 'x.tar' else 'w:gz')
    with open_source(path) as source:
        yield source


def test_source__of_a_new_kind_must_list_and_open(tmp_path):
    with pytest.raises(TypeError, match='abstract'):
        Source(tmp_path)


def test_source__says_the_same_whatever_it_is(source):
    assert {member.path: member.size for member in source.members} == {name: len(data) for name, data in FILES.items()}
    assert {member.path: source.read(member) for member in source.members} == FILES
    assert {member.path: source.read(member) for member in reversed(source.members)} == FILES
    assert source.problems == ()


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def tar_kind(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, '/etc/passwd'
    return info


HARM = {
    '../evil.jpg': 'leads out',
    'a/../../evil.jpg': 'leads out',
    '..\\evil.jpg': 'leads out',
    '/evil.jpg': 'absolute',
    'C:\\evil.jpg': 'absolute',
}


@pytest.mark.parametrize('make', [zip_of, tar_of])
@pytest.mark.parametrize('name', HARM)
def test_path_out_of_the_archive__is_a_problem_and_no_member(make, name, tmp_path):
    path = make(tmp_path / ('x.zip' if make is zip_of else 'x.tar'), [(name, b'evil'), ('good.jpg', b'good')])
    with open_source(path) as source:
        assert [member.path for member in source.members] == ['good.jpg']
        assert [reason for _, reason in source.problems if HARM[name] in reason]


@pytest.mark.parametrize(
    ('make', 'info'),
    [
        (zip_of, zip_link('a.jpg')),
        (tar_of, tar_kind('a.jpg', tarfile.SYMTYPE)),
        (tar_of, tar_kind('a.jpg', tarfile.LNKTYPE)),
        (tar_of, tar_kind('a.jpg', tarfile.CHRTYPE)),
        (tar_of, tar_kind('a.jpg', tarfile.FIFOTYPE)),
    ],
)
def test_link_or_device__is_a_problem_and_no_member(make, info, tmp_path):
    path = make(
        tmp_path / ('x.zip' if make is zip_of else 'x.tar'), [(info, b'' if make is tar_of else b'/etc/passwd')]
    )
    with open_source(path) as source:
        assert source.members == ()
        assert [name for name, _ in source.problems] == ['a.jpg']
        assert 'is a link' in source.problems[0][1] or 'not a regular' in source.problems[0][1]


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_twice_and_case_twins__the_first_counts(make, tmp_path):
    path = make(
        tmp_path / ('x.zip' if make is zip_of else 'x.tar'), [('a.jpg', b'1'), ('a.jpg', b'22'), ('A.jpg', b'333')]
    )
    with open_source(path) as source:
        assert [source.read(member) for member in source.members] == [b'1']
        assert [reason for _, reason in source.problems] == [
            'stands in the archive twice',
            'differs from a.jpg in case only',
        ]


def test_encrypted__is_said_to_be(tmp_path):
    path = zip_of(tmp_path / 'x.zip', [('a.jpg', b'secret')])
    data = bytearray(path.read_bytes())
    data[data.index(b'PK\x01\x02') + 8] |= 1
    path.write_bytes(data)
    with open_source(path) as source:
        assert source.members == ()
        assert 'encrypted' in source.problems[0][1]


def test_bomb__by_its_announced_size(tmp_path, monkeypatch):
    path = zip_of(tmp_path / 'x.zip', [('a.bin', b'0' * 5_000_000)])
    with open_source(path) as source:
        assert len(source.members) == 1
    monkeypatch.setattr(archives, 'MAX_MEMBER_BYTES', 1_000_000)
    with open_source(path) as source:
        assert source.members == ()
        assert 'above the limit' in source.problems[0][1]
    monkeypatch.undo()
    monkeypatch.setattr(archives, 'MAX_RATIO', 100)
    for other in (path, tar_of(tmp_path / 'x.tar.gz', [('a.bin', b'0' * 5_000_000), ('b.bin', b'')], 'w:gz')):
        with open_source(other) as source:
            assert source.members == ()
            assert 'no file of a dataset does' in source.problems[0][1]


def test_forged_size__reading_stops_at_it(tmp_path):
    path = zip_of(tmp_path / 'x.zip', [('a.bin', b'0123456789')])
    data = bytearray(path.read_bytes())
    for mark, offset in ((b'PK\x01\x02', 24), (b'PK\x03\x04', 22)):
        place = data.index(mark) + offset
        data[place : place + 4] = (4).to_bytes(4, 'little')
    path.write_bytes(data)
    with (
        open_source(path) as source,
        pytest.raises(UnreadableImage, match='damaged or cut off|is longer than the 4 bytes that its header announces'),
    ):
        source.read(source.members[0])


def test_damaged_member__is_its_own_fault_alone(tmp_path):
    path = zip_of(tmp_path / 'x.zip', [('a.bin', bytes(range(256)) * 40), ('b.bin', b'good')])
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    with open_source(path) as source:
        one, other = source.members
        with pytest.raises(UnreadableImage, match='damaged'):
            source.read(one)
        assert source.read(other) == b'good'


@pytest.mark.parametrize('name', ['x.zip', 'x.tar', 'x.tar.gz'])
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.9])
def test_cut_off__is_a_problem_and_no_crash(name, share, tmp_path):
    members = [(f'{number}.bin', bytes(range(256)) * number) for number in range(1, 60)]
    path = (
        zip_of(tmp_path / name, members)
        if name == 'x.zip'
        else tar_of(tmp_path / name, members, 'w:gz' if 'gz' in name else 'w')
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with open_source(path) as source:
        whole = dict(members)
        for member in source.members:
            try:
                assert source.read(member) == whole[member.path]
            except UnreadableImage:
                assert member is source.members[-1]
        assert len(source.members) < len(members)
        assert any(place == '' and 'load it again' in reason for place, reason in source.problems)


def test_rubbish_of_systems__is_passed_over(tmp_path):
    files = {'__MACOSX/a/._1.jpg': b'x', '.DS_Store': b'x', 'a/Thumbs.db': b'x', 'a/1.jpg': b'x'}
    for path in (zip_of(tmp_path / 'x.zip', files.items()), folder_of(tmp_path / 'x', files)):
        with open_source(path) as source:
            assert [member.path for member in source.members] == ['a/1.jpg']
            assert source.problems == ()


def test_folder__links_and_loops(tmp_path):
    folder_of(tmp_path / 'elsewhere', {'2.jpg': b'22'})
    folder = folder_of(tmp_path / 'x', {'a/1.jpg': b'1'})
    (folder / 'loop').symlink_to(folder)
    (folder / 'linked').symlink_to(tmp_path / 'elsewhere')
    (folder / 'lost.jpg').symlink_to(tmp_path / 'nothing')
    with open_source(folder) as source:
        assert [member.path for member in source.members] == ['a/1.jpg', 'linked/2.jpg']
        assert [path for path, _ in source.problems] == ['lost.jpg']


@pytest.mark.parametrize('make', [zip_of, tar_of])
@pytest.mark.parametrize('name', HARM)
def test_assembling__a_hostile_archive_writes_nothing_outside(make, name, tmp_path):
    files = [(f'CVC-300/{kind}/{name}', b'evil') for kind in ('images', 'masks')]
    files += [(tar_kind('CVC-300/images/1.png', tarfile.SYMTYPE), b'')] if make is tar_of else []
    (tmp_path / 'raw').mkdir()
    make(tmp_path / 'raw' / ('CVC-300.zip' if make is zip_of else 'CVC-300.tar'), [*files, (name, b'evil')])
    assemble([tmp_path / 'raw'], tmp_path / 'deep' / 'out')
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob('*')}
    assert left == {'raw', 'deep'}
    assert not [path for path in tmp_path.rglob('*') if path.is_file() and path.read_bytes() == b'evil']

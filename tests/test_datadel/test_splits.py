import contextlib
import hashlib
import json
import random
import shutil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmdel.datadel.groupings import CLINICDB_FIRST_FRAMES
from mmdel.datadel.image_folder import by_stem
from mmdel.datadel.split_groups import group_images
from mmdel.datadel.splits import SHARES, cut, make_splits, write_splits
from mmdel.errors import DatasetError

grouped = st.dictionaries(st.text('abc/1', min_size=1, max_size=4), st.sampled_from('uvwxyz'), min_size=3, max_size=40)


def reference(groups):
    """Every pair of places to cut at, the best first place, then the best second one."""
    order = sorted(set(groups.values()), key=lambda group: hashlib.sha256(group.encode()).hexdigest())

    def images(first, last):
        return sorted(stem for stem in groups if groups[stem] in order[first:last])

    total = len(groups)
    first = min(range(1, len(order) - 1), key=lambda end: (abs(10 * len(images(0, end)) - 8 * total), end))
    second = min(range(first + 1, len(order)), key=lambda end: (abs(10 * len(images(0, end)) - 9 * total), end))
    return dict(train=images(0, first), val=images(first, second), test=images(second, None))


@given(groups=grouped, seed=st.integers(0, 9))
def test_cut__is_the_reference_in_any_order_and_keeps_groups_whole(groups, seed):
    items = list(groups.items())
    random.Random(seed).shuffle(items)
    if len(set(groups.values())) < 3:
        with pytest.raises(DatasetError, match='cannot be cut into 3'):
            cut(dict(items), tuple(SHARES))
        return
    lists = cut(dict(items), tuple(SHARES))
    assert {name: list(stems) for name, stems in lists.items()} == reference(groups)
    assert all(lists.values())
    assert sorted(stem for stems in lists.values() for stem in stems) == sorted(groups)
    sides = [{groups[stem] for stem in stems} for stems in lists.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_cut__many_files_come_near_the_shares_and_stay_where_they_were():
    groups = {f'{number:04d}': f'{number:04d}' for number in range(1000)}
    lists = cut(groups, tuple(SHARES))
    assert [len(stems) for stems in lists.values()] == [800, 100, 100]
    more = cut(groups | {f'x{number}': f'x{number}' for number in range(10)}, tuple(SHARES))
    assert len(set(lists['train']) - set(more['train'])) < 20


@given(
    groups=grouped,
    seed=st.integers(0, 99),
    names=st.sampled_from(['train', 'val', 'test', 'train test', 'train val', 'val test']),
)
def test_make__an_official_split_is_completed_and_never_changed(groups, seed, names):
    rng, names = random.Random(seed), names.split()
    stems = sorted(groups)
    rng.shuffle(stems)
    parts = [stems[number :: len(names) + 1] for number in range(len(names))]
    official = {name: part for name, part in zip(names, parts, strict=True) if part}
    try:
        lists, rules = make_splits(groups, official)
    except DatasetError:  # too few groups, or nothing left
        assume(False)
    assert set(rules) == set(lists) == set(SHARES)
    for name, part in official.items():
        if rules[name] == 'given':
            assert lists[name] == tuple(part)
    assert not set(lists['train']) & (set(lists['val']) | set(lists['test']))
    if 'train' in official and 'val' not in official:
        assert sorted(lists['train'] + lists['val']) == sorted(official['train'])
        assert not {groups[s] for s in lists['train']} & {groups[s] for s in lists['val']}
    if {'train', 'val'} == set(official):
        assert lists['test'] == lists['val']


def test_make__lists_that_overlap_are_refused():
    groups = dict.fromkeys('abcd', 'g')
    with pytest.raises(DatasetError, match=r'train.txt and test.txt share 1 image: b'):
        make_splits(groups, {'train': ['a', 'b'], 'test': ['b', 'c']})


# --- groups


@pytest.fixture
def folder(tmp_path):
    """``folder(name, stems)``: images and masks whose bytes are their stem."""

    def make(name, stems, contents=()):
        root = tmp_path / name
        for stem in stems:
            for kind in ('images', 'masks'):
                path = root / kind / f'{stem}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(dict(contents).get(stem, stem))
        return root

    return make


def test_groups__clinicdb_has_29_sequences_of_612_frames(folder):
    root = folder('cvc-clinicdb', [str(number) for number in range(1, 613)])
    groups = group_images(by_stem(root / 'images'), 'cvc-clinicdb')
    sizes = [list(groups.of.values()).count(f'sequence {number}') for number in range(1, 30)]
    assert sum(sizes) == 612
    assert sizes[:10] == [25, 25, 17, 11, 25, 23, 25, 26, 22, 6]
    assert sizes[-1] == 21
    assert groups.of['200'] == groups.of['205'] == 'sequence 10'
    assert len(CLINICDB_FIRST_FRAMES) == 29
    lists = write_splits(root).lists
    assert [len(stems) for stems in lists.values()] == pytest.approx([490, 61, 61], abs=15)


@pytest.mark.parametrize('names', [['0', '1', '2'], ['1', '2', '613'], ['1', '2', 'a']])
def test_groups__other_numbers_than_clinicdb_s_get_no_sequence(names, folder):
    groups = group_images(by_stem(folder('cvc-clinicdb', names) / 'images'), 'cvc-clinicdb')
    assert groups.of == {name: name for name in names}
    assert 'both sides' in ' '.join(groups.notes)


@pytest.mark.parametrize(
    ('stem', 'group'),
    [
        ('C1_100H0050', 'C1'),
        ('data_C3/images_C3/12', 'C3'),
        ('EndoCV2021_C5_50000208', 'C5'),
        ('seq1_C6_340', 'seq1_C6'),
        ('seq16/seq1_C6_340', 'seq16'),
        ('sequenceData/positive/seq9/images_seq9/7', 'seq9'),
        ('seq3_neg/12', 'seq3_neg'),
        ('abc1', 'abc1'),
    ],
)
def test_groups__polypgen_names_tell_sequence_or_centre(stem, group, folder):
    assert group_images(by_stem(folder('any', [stem]) / 'images'), 'polypgen').of == {stem: group}


def test_groups__ead_recordings(folder):
    stems = ['1772_A_M62_00012', '1772_A_M62_00022', '00003', '010152']
    groups = group_images(by_stem(folder('any', stems) / 'images'), 'ead2019')
    assert list(dict.fromkeys(groups.of[stem] for stem in stems)) == ['1772_A_M62', '00003', '010152']
    assert any('2 file names without' in note for note in groups.notes)


def test_groups__a_table_counts_before_names(folder, tmp_path):
    root = folder('cvc-clinicdb', ['1', '2', '3', '4'])
    table = root / 'groups.csv'
    table.write_text('stem,group,more\n1,x,\n2.png,y,\n3,x,\n4,z,\n9,w,\n')
    groups = group_images(by_stem(root / 'images'), 'cvc-clinicdb', table)
    assert groups.of == {'1': 'x', '2': 'y', '3': 'x', '4': 'z'}
    assert groups.notes == ('1 row of groups.csv name no image of the folder',)
    assert write_splits(root).groups.of == groups.of
    for content, words in (
        ('stem,group\n1,x\n', '3 images of 4: 2, 3, 4'),
        ('a,b\n1,x\n', 'columns stem,group'),
        ('stem,group\n1,x\n1,y\n', 'two groups'),
        ('stem,group\n1,\n', 'no group'),
    ):
        table.write_text(content)
        with pytest.raises(DatasetError, match=words):
            group_images(by_stem(root / 'images'), 'x', table)
    with pytest.raises(DatasetError, match='cannot be read'):
        group_images(by_stem(root / 'images'), 'x', tmp_path / 'none.csv')


@given(seed=st.integers(0, 50))
def test_groups__equal_bytes_never_stand_on_both_sides(seed, tmp_path_factory):
    rng = random.Random(seed)
    root = tmp_path_factory.mktemp('copies')
    (root / 'images').mkdir()
    for number in range(20):
        (root / 'images' / f'{number}.png').write_text(str(rng.randrange(8)))
    lists = write_splits(root, 'polypgen').lists
    sides = [{(root / 'images' / f'{stem}.png').read_text() for stem in stems} for stems in lists.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


# --- files


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_write__twice_changes_nothing_and_the_header_says_how(folder):
    root = folder('mine', [f'p{number}/{frame}' for number in range(10) for frame in range(3)])
    first = write_splits(root)
    assert first.written == ('train', 'val', 'test')
    before = contents(root)
    assert set(before) == {'train.txt', 'val.txt', 'test.txt', 'splits.json'}
    assert before['train.txt'].decode() == ''.join(f'{stem}\n' for stem in sorted(first.lists['train']))
    for overwrite in (False, True):
        again = write_splits(root, overwrite=overwrite)
        assert again.written == ()
        assert again.lists == first.lists
        assert contents(root) == before
    header = json.loads(before['splits.json'])
    assert header['lists']['train'] == {'images': 24, 'groups': 24, 'rule': 'cut 80/10/10 by hash'}
    assert header['dataset'] == 'mine'
    assert str(root.parent) not in before['splits.json'].decode()


def test_write__the_folder_s_place_and_order_do_not_matter(folder, tmp_path):
    stems = [str(number) for number in range(40)]
    one, other = folder('a', stems), folder('b', stems[::-1])
    assert write_splits(one).lists == write_splits(other).lists


def test_write__train_and_val_of_the_download_stay_and_val_is_the_test(folder):
    root = folder('kvasir-seg', 'abcdefgh')
    (root / 'train.txt').write_text('c.png\r\na\nb')
    (root / 'val.txt').write_text('d\ne\n')
    splits = write_splits(root)
    assert splits.written == ('test',)
    assert (root / 'train.txt').read_bytes() == b'c.png\r\na\nb'
    assert (root / 'test.txt').read_text() == 'd\ne\n'
    assert any('3 images in no list: f, g, h' in note for note in splits.notes)
    assert write_splits(root, overwrite=True).written == ()


def test_write__official_train_and_test_leave_a_val(folder):
    root = folder('kvasir-instrument', [str(number) for number in range(20)])
    (root / 'official').mkdir()
    (root / 'official' / 'train.txt').write_text('\n'.join(map(str, range(18))))
    (root / 'official' / 'test.txt').write_text('18\n19\n')
    lists = write_splits(root).lists
    assert [len(stems) for stems in lists.values()] == [16, 2, 2]
    assert lists['test'] == ('18', '19')
    assert sorted(lists['train'] + lists['val'], key=int) == [str(number) for number in range(18)]


def test_write__a_list_of_somebody_else_changes_when_asked_and_is_kept(folder):
    root = folder('kvasir-instrument', [str(number) for number in range(20)])
    brought = '\n'.join(map(str, range(18)))
    (root / 'train.txt').write_text(brought)
    (root / 'test.txt').write_text('18\n19\n')
    with pytest.raises(DatasetError, match=r'train.txt would have to change.*--overwrite'):
        write_splits(root)
    assert contents(root).keys() == {'train.txt', 'test.txt'}
    splits = write_splits(root, overwrite=True)
    assert splits.written == ('train', 'val')
    assert (root / 'official' / 'train.txt').read_text() == brought
    assert len((root / 'train.txt').read_text().split()) == 16
    before = contents(root)
    assert write_splits(root).lists == splits.lists
    assert write_splits(root, overwrite=True).written == ()
    assert contents(root) == before


def test_write__after_images_came_and_went(folder):
    root = folder('mine', [str(number) for number in range(30)])
    first = write_splits(root)
    folder('mine', ['new1', 'new2'])
    assert any('2 images in no list' in note for note in write_splits(root).notes)
    (root / 'val.txt').unlink()
    with pytest.raises(DatasetError, match='other images'):
        write_splits(root)
    lists = write_splits(root, overwrite=True).lists
    assert sum(map(len, lists.values())) == 32
    for stem in (lists['train'][0], first.lists['val'][0]):
        (root / 'images' / f'{stem}.png').unlink()
    with pytest.raises(DatasetError, match='not below the image folder'):
        write_splits(root)
    assert sum(map(len, write_splits(root, overwrite=True).lists.values())) == 30


@pytest.mark.parametrize('writes', range(4))
def test_write__killed_at_any_moment_the_next_run_ends_the_same(writes, folder, monkeypatch):
    root = folder('mine', [str(number) for number in range(30)])
    write_splits(root)
    folder('mine', [f'new{number}' for number in range(30)])
    expected = folder('whole', [*(str(number) for number in range(30)), *(f'new{number}' for number in range(30))])
    left = iter(range(writes))

    def dying(path, text):
        if next(left, None) is None:
            raise KeyboardInterrupt
        path.write_text(text)

    monkeypatch.setattr('mmdel.datadel.splits.write_text', dying)
    with contextlib.suppress(KeyboardInterrupt):
        write_splits(root, overwrite=True)
    monkeypatch.undo()
    assert write_splits(root, overwrite=True).lists == write_splits(expected).lists
    assert not (root / 'official').exists()


def test_write__images_without_masks(folder):
    root = folder('mine', [str(number) for number in range(10)])
    (root / 'masks' / '3.png').unlink()
    splits = write_splits(root)
    assert '3' not in set().union(*splits.lists.values())
    assert any('1 image without a mask in no list: 3' in note for note in splits.notes)
    shutil.rmtree(root / 'masks')
    assert sum(map(len, write_splits(root, overwrite=True).lists.values())) == 10
    (root / 'masks').mkdir()
    (root / 'masks' / 'other.png').write_text('')
    with pytest.raises(DatasetError, match='No image of .* has a mask'):
        write_splits(root, overwrite=True)


def test_error__says_what_to_do(folder, tmp_path):
    with pytest.raises(DatasetError, match='images/ and masks/'):
        write_splits(tmp_path)
    with pytest.raises(DatasetError, match='in 2 groups cannot be cut into 3 lists'):
        write_splits(folder('two', 'ab'))
    assert not (tmp_path / 'two' / 'splits.json').exists()
    root = folder('mine', 'abcdef')
    (root / 'train.txt').write_text('abcdef'.replace('', '\n'))
    with pytest.raises(DatasetError, match='hold every image'):
        write_splits(root)
    (root / 'train.txt').write_text('a\nb\nc\n')
    (root / 'official').mkdir()
    (root / 'official' / 'train.txt').write_text('a\nb\n')
    with pytest.raises(DatasetError, match='differ'):
        write_splits(root, overwrite=True)
    (root / 'splits.json').write_text('[]')
    with pytest.raises(DatasetError, match=r'splits.json is damaged'):
        write_splits(root)


def test_remark__groups_that_an_official_split_separates(folder):
    root = folder('cvc-clinicdb', [str(number) for number in range(1, 11)])
    (root / 'train.txt').write_text('1\n2\n3\n')
    (root / 'val.txt').write_text('4\n5\n')
    assert any('1 group of the given lists on both sides: sequence 1' in note for note in write_splits(root).notes)

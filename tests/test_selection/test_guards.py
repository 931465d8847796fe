"""Guards: whatever is asked holds in the result, or it is refused; on one column the result is the best of all possible ones."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.errors import ConfigError, GuardError, SubsetError
from mmdel.selection.guards import Guards
from mmdel.subset import Subset, size_at


def made(labels, videos, seed=0, unreadable=()):
    """A ranking of images with these labels and videos, None for none."""
    size = len(labels)
    rng = np.random.default_rng(seed)
    rank = rng.permutation(size)
    table = pa.table({
        'image': [f'{i:03d}.jpg' for i in range(size)], 'rank': rank, 'label': pa.array(labels, pa.string()),
        'video': pa.array(videos, pa.string()), 'redundancy': np.sort(rng.random(size).astype(np.float32))[rank],
    })  # fmt: skip
    return Subset.from_ranking(table, {}, tuple((name, 'is empty') for name in unreadable))


def rows(subset):
    return [row for row in subset.table.to_pylist() if row['rank'] is not None]


def kept_of(subset, column):
    return {
        value: sum(row['keep'] for row in rows(subset) if row[column] == value)
        for value in {row[column] for row in rows(subset)} - {None}
    }


def sizes_of(subset, column):
    values = [row[column] for row in rows(subset)]
    return {value: values.count(value) for value in set(values) - {None}}


groups = st.lists(st.sampled_from(['a', 'b', 'c', None]), min_size=2, max_size=9)


@settings(max_examples=100)
@given(groups, st.integers(0, 99), st.integers(1, 9), st.integers(0, 4), st.integers(0, 5), st.booleans(), st.data())
def test_one_column__is_the_best_of_all_subsets_or_refused_where_there_is_none(
    labels, seed, kept, low, high, whole, data
):
    """Best: the sum of ranks is the smallest that any subset of that size with these guards has."""
    plain = made(labels, ['v'] * len(labels), seed)
    if all(label is None for label in labels):
        return
    kept = min(kept, len(labels))
    must = data.draw(st.lists(st.sampled_from(plain.images), max_size=3, unique=True))
    rank = [row['rank'] for row in rows(plain)]
    cap = {'label': high} if whole else {'label': {'a': high}} if 'a' in labels else {}
    allowed = []
    for chosen in itertools.combinations(range(len(labels)), kept):
        counts = {value: sum(labels[i] == value for i in chosen) for value in set(labels) - {None}}
        floors = all(counts[value] >= min(low, labels.count(value)) for value in counts)
        caps = all(counts[value] <= high for value in counts if whole or value == 'a')
        if floors and caps and {plain.images.index(key) for key in must} <= set(chosen):
            allowed.append(sum(rank[i] for i in chosen))
    guards = Guards(min_keep={'label': low}, max_keep=cap, always_keep=must)
    cut = plain.at(ratio=kept / len(labels))
    assert len(cut.kept) == kept
    if not allowed:
        with pytest.raises(GuardError, match='guards|min_keep|max_keep'):
            guards.apply(cut, exact=True)
        return
    guarded = guards.apply(cut, exact=True)
    chosen = [plain.images.index(key) for key in guarded.kept]
    assert len(chosen) == kept == guarded.metadata['kept']
    assert sum(rank[i] for i in chosen) == min(allowed)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(['a', 'b', None]), st.sampled_from(['v', 'w', 'x', None])), min_size=4, max_size=40),
    st.integers(0, 99), st.integers(0, 4), st.floats(0, 0.5), st.floats(0.3, 1), st.floats(0.05, 1),
)  # fmt: skip
def test_several_columns__everything_asked_for_holds_or_it_is_refused(images, seed, low, share, cap, ratio):
    labels, videos = zip(*images, strict=True)
    plain = made(labels, videos, seed, unreadable=('005b.jpg',))
    amounts = dict(min_keep={'label': low, 'video': share}, max_keep={'video': cap})
    size = size_at(ratio, len(labels)) if ratio * len(labels) >= 0.5 else 1
    try:
        guarded = Guards(**amounts).apply(plain.at(ratio=size / len(labels)), exact=True)
    except GuardError:
        return
    assert len(guarded.kept) == size
    for label, count in kept_of(guarded, 'label').items():
        assert count >= min(low, sizes_of(guarded, 'label')[label])
    for video, count in kept_of(guarded, 'video').items():
        whole = sizes_of(guarded, 'video')[video]
        assert share * whole - 1e-6 <= count <= cap * whole + 1e-6
    # other ratios of the same file: nested, exact, and still guarded, or refused
    least, most = guarded.metadata['bounds']
    smaller = set()
    for count in range(1, len(labels) + 1):
        if least <= count <= most:
            now = set(guarded.at(ratio=count / len(labels)).kept)
            assert len(now) == count and smaller <= now
            smaller = now
        else:
            with pytest.raises(SubsetError, match='guards'):
                guarded.at(ratio=count / len(labels))


def test_eta__the_guards_add_to_the_cut_and_take_from_it():
    plain = made(['common'] * 16 + ['rare'] * 4, ['v'] * 10 + ['w'] * 10)
    cut = plain.at(eta=float(np.sort([row['redundancy'] for row in rows(plain)])[7]))
    natural = set(cut.kept)
    assert len(natural) == 8
    guarded = Guards(min_keep={'label': {'rare': 1.0}}, max_keep={'video': 9}).apply(cut, exact=False)
    rare = {row['image'] for row in rows(plain) if row['label'] == 'rare'}
    assert rare <= set(guarded.kept) <= natural | rare
    assert guarded.eta == cut.eta and guarded.metadata['kept'] == len(guarded.kept)
    assert kept_of(guarded, 'video')['w'] <= 9
    with pytest.raises(SubsetError, match='guards'):
        guarded.at(eta=0.5)


def test_always_keep__all_labelled_images_a_list_or_a_file(tmp_path):
    plain = made(['a', None, 'b', None] * 5, ['v'] * 20).at(ratio=0.5)
    labelled = {row['image'] for row in rows(plain) if row['label']}
    assert set(Guards(always_keep='labelled').apply(plain, exact=True).kept) == labelled
    for always in (['001.jpg', '003.jpg'], str(tmp_path / 'list.txt')):
        (tmp_path / 'list.txt').write_text('003.jpg\r\n001.jpg\n\n')
        guarded = Guards(always_keep=always).apply(plain, exact=True)
        assert {'001.jpg', '003.jpg'} <= set(guarded.kept) and len(guarded.kept) == 10


def test_always_keep__all_images_with_a_mask_or_an_error_where_none_has_one():
    plain = made([None] * 8, [None] * 8).at(ratio=0.25)
    masked = frozenset(plain.images[2:6])
    for ratio in (0.5, 0.75):
        assert masked <= set(Guards(always_keep='masked').apply(plain.at(ratio=ratio), True, masked).kept)
    assert Guards(always_keep='masked').config() == {'always_keep': 'masked'}
    with pytest.raises(GuardError, match='at least 0.5'):
        Guards(always_keep='masked').apply(plain, True, masked)
    with pytest.raises(GuardError, match='has a mask'):
        Guards(always_keep='masked').apply(plain, True)


def test_fractions__are_not_shifted_by_rounding():
    plain = made(['a'] * 100 + ['b'] * 100, ['v'] * 200).at(ratio=0.07)
    guarded = Guards(min_keep={'label': 0.07}, max_keep={'label': 0.07}).apply(plain, exact=True)
    assert kept_of(guarded, 'label') == {'a': 7, 'b': 7}


def test_no_guards__change_nothing():
    plain = made(['a', 'b'] * 5, ['v'] * 10).at(ratio=0.5)
    assert Guards().apply(plain, exact=True) is plain and Guards().config() is None


@pytest.mark.parametrize(
    ('guards', 'words'),
    [
        (dict(min_keep=dict(colour=1)), 'label, centre, source, patient, video'),
        (dict(min_keep=dict(label=-1)), 'fraction'),
        (dict(max_keep=dict(label=1.5)), 'fraction'),
        (dict(max_keep=dict(label=True)), 'fraction'),
        (dict(min_keep=5), 'dict of columns'),
        (dict(keep=5), "'keep'"),
        (dict(always_keep='nowhere.txt'), 'nowhere.txt'),
        (dict(exclude=[3]), 'list of keys'),
        (dict(always_keep=['a'], exclude=['a']), "'a'"),
        ([1], 'guards is a dict'),
    ],
)
def test_config__that_is_no_guard_is_an_error(guards, words):
    with pytest.raises((ConfigError, GuardError), match=words.replace('(', r'\(')):
        Guards.from_cfg(guards)


@pytest.mark.parametrize(
    ('guards', 'words'),
    [
        (dict(min_keep=dict(label=9)), 'at least'),
        (dict(max_keep=dict(label=1)), 'at most'),
        (dict(min_keep=dict(label=3), max_keep=dict(label=2)), 'Change one of them'),
        (dict(always_keep='labelled', max_keep=dict(label=2)), 'always_keep keeps'),
        (dict(always_keep=['nothing.jpg']), 'nothing.jpg'),
        (dict(min_keep=dict(label=dict(polyp=1))), "'polyp'"),
        (dict(min_keep=dict(centre=1)), 'No image has a centre'),
    ],
)
def test_impossible__says_what_and_what_to_do(guards, words):
    plain = made(['a', 'b'] * 10, ['v'] * 20).at(ratio=0.5)
    with pytest.raises(GuardError, match=words):
        Guards(**guards).apply(plain, exact=True)

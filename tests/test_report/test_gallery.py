"""Groups of the gallery: everything is counted, and what is shown follows the stated order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.report.gallery import MEMBERS, make_gallery
from mmdel.selection.findings import NearestKept
from mmdel.subset import Subset


def made(size, kept, seed, epsilon=None):
    rng = np.random.default_rng(seed)
    images = [f'{i:03d}.jpg' for i in range(size)]
    redundancy = rng.random(size).astype(np.float32)
    columns = {
        'image': images,
        'rank': rng.permutation(size),
        'redundancy': np.where(rng.random(size) < 0.2, np.nan, redundancy).astype(np.float32),
        'removed_by': [images[i] for i in rng.integers(0, size, size)],
        'distance': rng.random(size).astype(np.float32),
        'source': [f's{i}' for i in rng.integers(0, 3, size)],
        'label': [f'l{i}' if i else None for i in rng.integers(0, 4, size)],
    }
    subset = Subset.from_ranking(pa.table(columns), {'selector': {'epsilon': epsilon}}, kept=kept)
    stays = np.flatnonzero(subset.keep)
    row = np.where(subset.keep, -1, stays[rng.integers(0, len(stays), size)])
    cosine = np.where(subset.keep, np.nan, rng.random(size)).astype(np.float32)
    return subset, NearestKept(cosine, row, True)


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(0, 99), st.integers(1, 20), st.booleans(), st.data())
def test_gallery__counts_all_and_shows_the_closest(size, seed, limit, filtered, data):
    subset, nearest = made(size, data.draw(st.integers(1, size)), seed, epsilon=0.8 if filtered else None)
    gallery = make_gallery(subset, nearest, limit)
    rows = subset.table.to_pylist()
    groups = {}
    for i, row in enumerate(rows):
        if row['reason'] in ('duplicate', 'unselected'):
            groups.setdefault(rows[nearest.row[i]]['image'], []).append(i)
    assert gallery.total == len(groups) and len(gallery.groups) == min(limit, len(groups))
    assert gallery.images == sum(map(len, groups.values()))
    assert gallery.far_total == sum(row['reason'] == 'far' for row in rows)
    assert [group.first for group in gallery.groups] == sorted(group.first for group in gallery.groups)
    if groups:
        first = min(min(rows[i]['rank'] for i in group) for group in groups.values())
        if limit > 10:  # the prefix of sources and classes leaves room
            assert gallery.groups[0].first == first
    for group in gallery.groups:
        members = sorted(groups[group.kept], key=lambda i: rows[i]['rank'])
        assert group.size == len(members)
        assert [card.image for card in group.cards] == [rows[i]['image'] for i in members[:MEMBERS]]
        assert group.lowest == pytest.approx(min(nearest.cosine[members]))
        everybody = [rows[i] for i in members] + [row for row in rows if row['image'] == group.kept]
        assert set(group.labels) == {row['label'] for row in everybody} - {None}
        assert set(group.sources) == {row['source'] for row in everybody}
        for card, i in zip(group.cards, members, strict=False):
            assert card.cosine == nearest.cosine[i] and card.removed_by == rows[i]['removed_by']
            assert card.by_kept is any(row['keep'] for row in rows if row['image'] == card.removed_by)


def test_gallery__shows_every_source_and_class_where_there_is_room():
    subset, nearest = made(400, 150, 1)
    gallery = make_gallery(subset, nearest, limit=21)
    assert gallery.total > 50
    assert {source for group in gallery.groups for source in group.sources} == {'s0', 's1', 's2'}
    assert {label for group in gallery.groups for label in group.labels} == {'l1', 'l2', 'l3'}
    sizes = sorted((group.size for group in make_gallery(subset, nearest, 10_000).groups), reverse=True)
    assert sizes[0] in [group.size for group in gallery.groups]


def test_far__farthest_first():
    subset, nearest = made(60, 20, 3, epsilon=0.5)
    distances = [card.distance for card in make_gallery(subset, nearest).far]
    assert distances and distances == sorted(distances, reverse=True) and min(distances) > 0.5

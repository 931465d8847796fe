"""Images that come later obey the rule that MedDEL states for them: an O(n²) reference, and laws over random input."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.errors import SubsetError
from mmdel.selection.methods.baselines import RandomSelector
from mmdel.selection.methods.meddel import KEEPS, MedDEL
from mmdel.selection.methods.semdedup import SemDeDup
from mmdel.selection.selector import Decided


def pool(size, seed):
    """Raw vectors like video and a table with every quality; which of them came later is drawn."""
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((max(1, size // 8), 12))
    raw = (scenes[rng.integers(0, len(scenes), size)] + 0.35 * rng.standard_normal((size, 12))).astype(np.float32)
    if size > 4:
        raw[rng.integers(0, size, size // 8)] = raw[rng.integers(0, size, size // 8)]
    table = pa.table(
        {
            'image': [f'{i:04d}.jpg' for i in range(size)],
            'label': pa.array(['polyp' if i == 0 or rng.random() < 0.5 else None for i in range(size)], pa.string()),
            'width': pa.array(rng.choice([320, 640], size), pa.int32()),
            'height': pa.array(rng.choice([240, 480], size), pa.int32()),
            'sharpness': pa.array(rng.choice([1.0, 2.0], size), pa.float64()),
        }
    )
    late = rng.random(size) < 0.5
    late[0] = False
    return raw, table, late


def earlier(selector, raw, table, late, eta):
    """What a run on the images that were there first decided, with the rows of all."""
    rows = np.flatnonzero(~late)
    vectors = Vectors(ArraySource(raw[rows]), table['image'].take(pa.array(rows)).to_pylist())
    ranking = selector.rank(vectors, table.take(pa.array(rows)))
    stays = ~(ranking.redundancy > np.float32(eta)) & ~selector._far(ranking.distance)
    kept = np.argsort(ranking.rank)
    kept = kept[stays[kept]]
    return Decided(rows[kept], ranking.cluster[kept], ranking.distance[kept], ranking.centroids, eta)


def reference(selector, raw, table, old, late):
    """Image by image: who is far, whom an old one removes, who removes whom of the rest, and in which order they stand."""
    unit = raw.astype(np.float64)
    unit = (unit / np.sqrt((unit * unit).sum(1, keepdims=True))).astype(np.float32).astype(np.float64)
    cosine = lambda x, y: np.float32(min((x * y).sum(), 1))  # noqa: E731
    cluster = dict(zip(old.kept.tolist(), old.cluster.tolist(), strict=True))
    distance, far, new = {}, {}, np.flatnonzero(late).tolist()
    for i in new:
        each = [min((unit[i] * c.astype(np.float64)).sum(), 1) for c in old.centroids]
        cluster[i] = int(np.argmax(each))
        distance[i] = np.float32(1 - max(each))
        far[i] = selector.epsilon is not None and distance[i] > np.float32(selector.epsilon)

    def preference(i):
        row = table.slice(i, 1).to_pylist()[0]
        quality = {
            'near': (),
            'far': (-distance[i],),
            'sharpest': (-row['sharpness'],),
            'largest': (-row['width'] * row['height'],),
            'labelled': (row['label'] is None,),
        }[selector.keep]
        return (*quality, distance[i], i)

    order = sorted(new, key=preference)
    found, by_old, kept = {}, set(), []
    for i in order:
        for j in () if far[i] else old.kept.tolist():
            if selector.scope == 'global' or cluster[i] == cluster[j]:
                value = cosine(unit[i], unit[j])
                if i not in found or value > found[i][0]:
                    found[i] = (value, j)
        if i in found and found[i][0] > np.float32(old.eta):
            by_old.add(i)
    for place, i in enumerate(order):
        if far[i] or i in by_old:
            continue
        for j in order[:place]:
            same = selector.scope == 'global' or cluster[i] == cluster[j]
            if far[j] or j in by_old or not same or (selector.rule == 'greedy' and j not in kept):
                continue
            value = cosine(unit[i], unit[j])
            if i not in found or value > found[i][0]:
                found[i] = (value, j)
        if not (i in found and found[i][0] > np.float32(old.eta)):
            kept.append(i)
    ranked = sorted(new, key=lambda i: (far[i], found[i][0] if i in found else -np.inf, order.index(i)))
    return found, set(kept), ranked, cluster, distance


def selector_of(keep='near', rule='pairwise', scope='cluster', eta=0.8, epsilon=0.35):
    return MedDEL(epsilon=epsilon, eta=eta, keep=keep, rule=rule, scope=scope,
                  clusterer=dict(type='mmdel.FaissKMeans', num_clusters=3))  # fmt: skip


def extended(selector, raw, table, old, late):
    vectors = Vectors(ArraySource(raw), table['image'].to_pylist())
    return selector.extend(vectors, table, old, np.flatnonzero(late))


@pytest.mark.parametrize('scope', ['cluster', 'global'])
@pytest.mark.parametrize('rule', ['pairwise', 'greedy'])
@pytest.mark.parametrize('keep', KEEPS)
@pytest.mark.parametrize(('size', 'seed'), [(1, 0), (61, 3)])
def test_extend__equals_reference(size, seed, keep, rule, scope):
    raw, table, late = pool(size, seed)
    selector = selector_of(keep, rule, scope)
    old = earlier(selector, raw, table, late, 0.8)
    ranking = extended(selector, raw, table, old, late)
    found, kept, ranked, cluster, distance = reference(selector, raw, table, old, late)
    new = np.flatnonzero(late)
    nothing = (np.float32('nan'), -1)
    np.testing.assert_array_equal(ranking.redundancy, [found.get(i, nothing)[0] for i in new])
    np.testing.assert_array_equal(ranking.removed_by, [found.get(i, nothing)[1] for i in new])
    np.testing.assert_array_equal(ranking.cluster, [cluster[i] for i in new])
    np.testing.assert_array_equal(ranking.distance, np.float32([distance[i] for i in new]))
    assert new[np.argsort(ranking.rank)].tolist() == ranked
    assert set(new[ranking.rank < ranking.kept].tolist()) == kept


@settings(max_examples=8)
@given(st.integers(2, 60), st.integers(0, 999), st.sampled_from(['cluster', 'global']), st.floats(0, 1))
def test_greedy__what_goes_has_a_kept_image_above_eta_and_kept_ones_have_none(size, seed, scope, eta):
    raw, table, late = pool(size, seed)
    selector = selector_of(rule='greedy', scope=scope, eta=eta)
    old = earlier(selector, raw, table, late, eta)
    ranking = extended(selector, raw, table, old, late)
    new = np.flatnonzero(late)
    kept = {*old.kept.tolist(), *new[ranking.rank < ranking.kept].tolist()}
    far = ranking.distance > np.float32(selector.epsilon)
    for i, by, cosine, gone in zip(new, ranking.removed_by, ranking.redundancy, far, strict=True):
        if i in kept:
            assert not cosine > np.float32(eta)
        elif not gone:
            assert by in kept and cosine > np.float32(eta)


@settings(max_examples=8)
@given(st.integers(2, 60), st.integers(0, 999), st.sampled_from(KEEPS), st.sampled_from(['pairwise', 'greedy']))
def test_copies__of_an_old_kept_image_never_stay(size, seed, keep, rule):
    raw, table, late = pool(size, seed)
    selector = selector_of(keep, rule, 'global', eta=0.99, epsilon=None)
    first = earlier(selector, raw, table, late, 0.99)
    raw[late] = raw[first.kept[np.arange(late.sum()) % len(first.kept)]]
    ranking = extended(selector, raw, table, first, late)
    assert ranking.kept == 0 and np.isin(ranking.removed_by, first.kept).all()


def test_centroids__of_another_subset_are_refused():
    raw, table, late = pool(60, 5)
    selector = selector_of()
    old = earlier(selector, raw, table, late, 0.8)
    for centroids in (old.centroids[::-1].copy(), old.centroids[:1], old.centroids[:, :5].copy()):
        other = Decided(old.kept, old.cluster, old.distance, centroids, old.eta)
        with pytest.raises(SubsetError, match='belong to another'):
            extended(selector, raw, table, other, late)


def test_methods__that_cannot_say_why():
    assert 'RandomSelector' in RandomSelector().refuses_to_extend()
    assert 'max_iterations' in MedDEL(max_iterations=2).refuses_to_extend()
    assert MedDEL().refuses_to_extend() == SemDeDup().refuses_to_extend() == ''

"""The nearest kept image is the one that a loop over all kept images finds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding.vectors import ArraySource, Vectors
from mmdel.selection import findings as module
from mmdel.selection.findings import nearest_kept
from mmdel.subset import Subset


def made(size, kept, seed, clusters):
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((size, 5)).astype(np.float32)
    raw[rng.integers(0, size, size // 3)] = raw[0]
    images = [f'{i:03d}.jpg' for i in range(size)]
    columns = {
        'image': images,
        'rank': rng.permutation(size),
        'cluster': rng.integers(0, clusters, size).astype(np.int32),
    }
    unreadable = (('010b.jpg', 'is empty'), ('zzz.jpg', 'is empty'))
    return Subset.from_ranking(pa.table(columns), {}, unreadable, kept), Vectors(ArraySource(raw), images)


@settings(max_examples=50)
@given(st.integers(2, 30), st.integers(0, 99), st.booleans(), st.data())
def test_nearest_kept__agrees_with_a_loop(size, seed, everywhere, data):
    kept = data.draw(st.integers(1, size))
    subset, vectors = made(size, kept, seed, clusters=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'PAIRS', 1000 if everywhere else -1)
        found = nearest_kept(subset, vectors)
    assert found.everywhere is everywhere
    unit = vectors.read(slice(None)).astype(np.float64)
    table = subset.table.filter(subset.readable)
    keep, cluster = table['keep'].to_pylist(), table['cluster'].to_pylist()
    for i in range(size):
        scope = [j for j in range(size) if keep[j] and (everywhere or cluster[i] == cluster[j])]
        cosines = [np.float32(min(1.0, (unit[i] * unit[j]).sum())) for j in scope]
        if keep[i] or not scope:
            assert found.row[i] == -1 and np.isnan(found.cosine[i])
        else:
            assert (found.row[i], found.cosine[i]) == (scope[int(np.argmax(cosines))], max(cosines))

"""Of candidates, those within the bound of their row's best product are left, however their vectors are held."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.embedding import vectors as held
from mmdel.embedding.vectors import ArraySource, Vectors, canonical_cosine
from mmdel.selection import refinement
from mmdel.selection.groups import Group, Precision


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 50),
    share=st.floats(0, 1),
    at_a_time=st.sampled_from([1, 3, 4096]),
    resident=st.booleans(),
    fits=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_refined__keeps_the_best_of_each_row_and_little_else(rows, columns, share, at_a_time, resident, fits, seed):
    rng = np.random.default_rng(seed)
    raw = np.repeat(rng.standard_normal((columns, 16)), 2, axis=0) + 1e-6 * rng.standard_normal((2 * columns, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refinement, 'PAIRS', at_a_time)
        patch.setattr(held, 'RESIDENT_BYTES', resident << 20)
        patch.setattr('mmdel.selection.groups.GROUP_BYTES', fits << 20)
        vectors = Vectors(ArraySource(raw.astype(np.float32)), [str(i) for i in range(len(raw))])
        order = rng.permutation(len(raw))[:columns]
        group = Group(vectors, order, Precision('float32'))
        x = vectors.read(rng.integers(0, len(raw), rows))
        row, slot = np.nonzero(rng.random((rows, columns)) <= share)
        cosine = canonical_cosine(x[row], vectors.read(order[slot]))
        shuffled = rng.permutation(len(row))
        most = cosine + rng.uniform(0, 0.2, len(row))
        found = refinement.refined(x, row[shuffled], slot[shuffled], most[shuffled], group)
    best = np.full(rows, -np.inf)
    np.maximum.at(best, row, cosine)
    left = set(zip(*(part.tolist() for part in found), strict=True))
    assert len(left) == len(found[0])
    assert left >= {(r, s) for r, s, c in zip(row.tolist(), slot.tolist(), cosine, strict=True) if c == best[r]}
    # a product and the best one err by the margin at most, and so does the choice
    near = cosine >= best[row] - 2 * refinement.float32_margin(16)
    assert left <= set(zip(row[near].tolist(), slot[near].tolist(), strict=True))

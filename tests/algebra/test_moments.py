"""Sums by cell are numpy's of the rows of each cell, whole, in parts, coarser, weighted or not.

1e-10 relative to the spread is what is left of sixteen digits where a mean is a million sds away.
"""

import numpy as np
import pytest

from poolwise.algebra.moments import PairwiseSums, merge_sums, moments_of_rows, sums_of_rows

RNG = np.random.default_rng(6)
N, SPARSE = 90, 10**9
KEY = RNG.choice([0, 2, 3, 7], N)
U = np.column_stack([1e6 + RNG.normal(size=N), RNG.normal(size=N), RNG.integers(0, 2, N)])
WEIGHTS = RNG.uniform(0.2, 4, N)


def close(found, expected):
    for name, size in (("weight", 1.0), ("mean", 1.0), ("scatter", 50.0)):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-14, atol=1e-10 * size)


def dense(U, key, w):
    for cell in np.unique(key):
        rows, own = U[key == cell], w[key == cell]
        mean = np.average(rows - rows[0], axis=0, weights=own) + rows[0]
        yield own.sum(), mean, (own[:, None] * (rows - mean)).T @ (rows - mean)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("scale", [1, SPARSE])
def test_cells_hold_the_moments_of_their_rows(weights, scale):
    sums = sums_of_rows(U, KEY * scale, weights)
    assert sums.keys.tolist() == [0, 2 * scale, 3 * scale, 7 * scale]
    assert sums.rows.tolist() == [int((cell == KEY).sum()) for cell in (0, 2, 3, 7)]
    for moments, w in ((sums.plain, np.ones(N)), (sums.weighted, np.ones(N) if weights is None else weights)):
        for c, (weight, mean, scatter) in enumerate(dense(U, KEY, w)):
            assert moments.weight[c] == pytest.approx(weight, rel=1e-14)
            np.testing.assert_allclose(moments.mean[c], mean, rtol=1e-15, atol=1e-9)
            np.testing.assert_allclose(moments.scatter[c], scatter, atol=1e-8)
    assert sums.log_weights == pytest.approx(0.0 if weights is None else np.log(weights).sum())
    assert sums.low.tolist() == U.min(axis=0).tolist() and sums.high.tolist() == U.max(axis=0).tolist()
    assert sums.between.tolist() == [True, True, False]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_parts_add_up_to_the_whole(weights):
    whole, stream = sums_of_rows(U, KEY, weights), PairwiseSums()
    pieces = []
    for start in range(0, N, 13):
        part = slice(start, start + 13)
        pieces.append(sums_of_rows(U[part], KEY[part], None if weights is None else weights[part]))
        stream.add(pieces[-1])
    for merged in (stream.result, merge_sums(pieces)):
        close(merged.plain, whole.plain)
        close(merged.weighted, whole.weighted)
        assert merged.rows.tolist() == whole.rows.tolist() and merged.keys.tolist() == whole.keys.tolist()
        assert merged.log_weights == pytest.approx(whole.log_weights)
        assert merged.low.tolist() == whole.low.tolist() and merged.high.tolist() == whole.high.tolist()
        assert merged.between.tolist() == whole.between.tolist()
        assert (merged.weighted is merged.plain) == (weights is None)
    close(whole.weighted.total, sums_of_rows(U, np.zeros(N, np.int64), weights).weighted)


def test_a_value_between_the_ends_may_only_show_when_parts_meet():
    low, high = (
        sums_of_rows(np.array([[0.0], [1.0]]), np.zeros(2, np.int64), None),
        sums_of_rows(np.array([[2.0]]), np.zeros(1, np.int64), None),
    )
    assert not low.between[0] and not high.between[0]
    assert merge_sums([low, high]).between[0]


def test_a_stream_merges_equal_parts_and_forgets_none():
    stream = PairwiseSums()
    assert stream.result is None
    for i in range(7):
        stream.add(sums_of_rows(U[[i]], KEY[[i]], None))
    # 7 parts: one of four, one of two, one.
    assert [level for level, _ in stream._parts] == [2, 1, 0]
    assert stream.result.rows.sum() == 7


def test_coarser_cells_hold_the_rows_of_the_finer():
    fold = RNG.integers(0, 3, N)
    fine, coarse = sums_of_rows(U, KEY * 3 + fold, WEIGHTS), sums_of_rows(U, KEY, WEIGHTS)
    found = fine.coarser(3)
    close(found.plain, coarse.plain)
    close(found.weighted, coarse.weighted)
    assert found.keys.tolist() == coarse.keys.tolist() and found.log_weights == fine.log_weights
    assert fine.coarser(1) is fine


def test_equivalent_rows_have_the_scatters():
    moments = sums_of_rows(U, KEY, WEIGHTS).weighted
    rows, cell = moments.equivalent_rows()
    assert len(rows) <= 3 * len(moments.weight)
    for c in range(len(moments.weight)):
        own = rows[cell == c]
        np.testing.assert_allclose(own.T @ own, moments.scatter[c], atol=1e-8)


def test_subsets_and_bad_cells():
    sums = sums_of_rows(U, KEY, WEIGHTS)
    part = sums.subset(np.array([True, False, True, False]))
    assert part.keys.tolist() == [0, 3]
    np.testing.assert_array_equal(part.weighted.mean, sums.weighted.mean[[0, 2]])
    np.testing.assert_array_equal(part.plain.scatter, sums.plain.scatter[[0, 2]])
    for cells in (np.array([0, 1, 2]), np.array([-1, 0, 0]), np.array([0, 0])):
        with pytest.raises(ValueError, match="cells must lie"):
            moments_of_rows(np.zeros((3, 1)), cells, 2)

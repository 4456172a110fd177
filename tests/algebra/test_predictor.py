"""The linear predictor and its transpose are products with the dense matrix, wherever the predictors vary.

To 1e-12 relative to the sum of absolute terms, which is rounding of sums of some hundred terms.
"""

import numpy as np
import pytest

from poolwise.algebra import likelihoods as lk
from poolwise.algebra.predictor import Layout, linear_predictor, make_layout, pull_rows
from poolwise.algebra.rows import make_rows


def both_ways(rows, R):
    """The layout, eta with what it should be, cotangents with what they should be."""
    rng = np.random.default_rng(9)
    layout = make_layout(rows, R)
    N, n, p = rows.unknowns, rows.n, rows.p
    unknowns, slopes, bar = rng.normal(size=N), rng.normal(size=n), rng.normal(size=N)
    dense = rows.matrix.toarray()
    encoded, table, eta = layout.encode(), np.empty(layout.table), np.empty(n)
    linear_predictor(encoded, rows.offset[layout.order], unknowns[N - p :], unknowns, table, eta)
    expected = (rows.offset + dense @ unknowns)[layout.order]
    expected_bar = bar + dense.T @ slopes
    pull_rows(encoded, slopes[layout.order], table, bar[N - p :], bar)
    return layout, (eta, expected), (bar, expected_bar)


def check(rows, R) -> Layout:
    layout, eta, bar = both_ways(rows, R)
    size = np.abs(rows.matrix.toarray())
    np.testing.assert_allclose(*eta, rtol=0, atol=1e-12 * (1 + 3 * size.sum(axis=1).max()))
    np.testing.assert_allclose(*bar, rtol=0, atol=1e-12 * (1 + 3 * size.sum(axis=0).max()))
    return layout


def rows_of(X, Zs, groups, Js, offset=None):
    """Rows whose predictors are made orthogonal, as the sampler makes them, and the R of that."""
    n = len(X)
    R = np.linalg.qr(X, mode="r") / np.sqrt(n)
    offset = np.zeros(n) if offset is None else offset
    y = np.arange(n) % 3.0
    return make_rows(lk.NORMAL, lk.IDENTITY, y, None, None, offset, X @ np.linalg.inv(R), Zs, groups, Js), R


@pytest.fixture
def crossed():
    rng = np.random.default_rng(4)
    n, Js = 400, [31, 7]
    # Group 5 of the first factor has no row.
    groups = [rng.choice(np.delete(np.arange(31), 5), n), rng.integers(0, 7, n)]
    of_person, of_item = rng.normal(size=31)[groups[0]], rng.normal(size=7)[groups[1]]
    return rng, n, Js, groups, of_person, of_item


def test_predictors_of_groups_live_in_tables(crossed):
    rng, n, Js, groups, of_person, of_item = crossed
    X = np.column_stack([np.ones(n), of_person, of_item])
    Zs = [np.column_stack([np.ones(n), rng.normal(size=n)]), np.column_stack([np.ones(n), of_item])]
    layout = check(*rows_of(X, Zs, groups, Js, rng.normal(size=n)))
    assert layout.homes.tolist() == [1, 0, 1]
    assert layout.flat.tolist() == [1, 0, 1, 1]
    assert layout.runs == 1 and layout.X.shape == (0, n) and layout.Z.shape == (1, n)


def test_predictors_of_rows_stay_with_the_rows(crossed):
    rng, n, Js, groups, of_person, _ = crossed
    X = np.column_stack([np.ones(n), rng.normal(size=n), of_person])
    layout = check(*rows_of(X, [rng.normal(size=(n, 1)), rng.normal(size=(n, 2))], groups, Js))
    assert layout.homes.tolist() == [1, -1, 0]
    assert layout.flat.tolist() == [0, 0, 0]


def test_nearly_collinear_predictors_keep_their_orthogonal_columns(crossed):
    _, n, Js, groups, of_person, of_item = crossed
    X = np.column_stack([np.ones(n), of_person, of_person + 1e-7 * of_item])
    layout = check(*rows_of(X, [np.ones((n, 1)), np.ones((n, 1))], groups, Js))
    assert layout.homes.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(layout.mix, np.eye(3))


def test_a_group_a_row_needs_no_table_of_predictors(crossed):
    rng, n, *_ = crossed
    layout = check(*rows_of(rng.normal(size=(n, 2)), [np.ones((n, 1))], [rng.permutation(n)], [n]))
    assert layout.homes.tolist() == [-1, -1] and layout.flat.tolist() == [1]


@pytest.mark.parametrize("p", [0, 2])
def test_without_factors_or_predictors(p):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(50, p))
    factors = ([], [], []) if p else ([np.ones((50, 1))], [rng.integers(0, 4, 50)], [4])
    rows, R = rows_of(X, *factors) if p else (_without_predictors(*factors), np.zeros((0, 0)))
    layout = check(rows, R)
    assert layout.runs == (-1 if p else 0)


def _without_predictors(Zs, groups, Js):
    y = np.arange(50.0)
    return make_rows(lk.NORMAL, lk.IDENTITY, y, None, None, np.zeros(50), np.zeros((50, 0)), Zs, groups, Js)

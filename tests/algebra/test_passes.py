"""Passes over all rows do what a row at a time does; exponentials are numpy's.

Exponentials to 4 units in the last place; sums to 1e-12 relative to the sum of absolute terms, which is rounding.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.algebra import likelihoods as lk
from poolwise.algebra.passes import exponentials, row_densities

exponentials(np.zeros(1), np.zeros(1), np.zeros(1, np.int64))


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40))
@settings(deadline=None)
def test_exponentials_are_numpys(values):
    x = np.array(values)
    out = np.empty_like(x)
    exponentials(x, out, np.empty(len(x), np.int64))
    np.testing.assert_allclose(out, np.exp(np.clip(x, -700, 700)), rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize("trials", ["one", "many"])
@pytest.mark.parametrize(
    ("code", "link", "own"),
    [(lk.BINOMIAL, lk.LOGIT, []), (lk.POISSON, lk.LOG, []), (lk.NEGATIVE_BINOMIAL, lk.LOG, [1.7])],
)
def test_all_rows_are_the_sum_of_single_rows(code, link, own, trials):
    rng = np.random.default_rng(1)
    n = 1500
    number = np.ones(n) if trials == "one" else rng.integers(1, 9, n).astype(float)
    y = rng.integers(0, number + 1).astype(float)
    weight = np.ones(n) if trials == "one" else rng.uniform(0.5, 2, n)
    eta = np.concatenate([rng.normal(0, 3, n - 4), [-40.0, 40.0, -0.0, 25.0]])
    extended, bar, single_bar = np.array([*own, 0.0]), np.zeros(len(own) + 1), np.zeros(len(own) + 1)
    lk.prepare(code, extended)
    slopes, work, bits = np.empty(n), np.empty(n), np.empty(n, np.int64)
    value = row_densities(code, link, y, number, weight, eta, extended, bar, slopes, work, bits)
    singles = [
        lk.row_density(code, link, y[i], number[i], eta[i], extended, single_bar, weight[i], False) for i in range(n)
    ]
    values = weight * np.array([one[0] for one in singles])
    assert value == pytest.approx(values.sum(), abs=1e-12 * np.abs(values).sum())
    expected = weight * np.array([one[1] for one in singles])
    np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(bar, single_bar, rtol=1e-11)

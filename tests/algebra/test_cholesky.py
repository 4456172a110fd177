"""The sparse factor is numpy's dense one, its solves are dense solves, and its derivative the difference quotient."""

import numpy as np
import pytest
import scipy.sparse

from poolwise.algebra.cholesky import factor_pattern, factorise, reverse_factor, solve_lower, solve_upper


def random_matrix(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 25))
    B = rng.normal(size=(size, size)) * (rng.random((size, size)) < 0.15)
    return B @ B.T + np.eye(size)


@pytest.mark.parametrize("seed", range(20))
def test_factor_solves_and_derivative(seed):
    S, rng = random_matrix(seed), np.random.default_rng(seed + 100)
    size = len(S)
    pattern = factor_pattern(scipy.sparse.csc_array(S != 0))
    i, k = pattern.rows, np.repeat(np.arange(size), np.diff(pattern.starts))
    np.testing.assert_array_equal(pattern.place(i, k), np.arange(pattern.entries))
    L = S[i, k].copy()
    half_logdet = factorise(L, pattern.starts, pattern.targets, pattern.scattered)
    dense = np.zeros((size, size))
    dense[i, k] = L
    np.testing.assert_allclose(dense, np.linalg.cholesky(S), atol=1e-12)
    assert half_logdet == pytest.approx(0.5 * np.linalg.slogdet(S)[1])

    x = rng.normal(size=size)
    below, above = x.copy(), x.copy()
    solve_lower(L, pattern.starts, pattern.rows, below)
    solve_upper(L, pattern.starts, pattern.rows, above)
    np.testing.assert_allclose(below, np.linalg.solve(dense, x), atol=1e-10)
    np.testing.assert_allclose(above, np.linalg.solve(dense.T, x), atol=1e-10)

    weights = rng.normal(size=pattern.entries)
    bar = weights.copy()
    reverse_factor(L, bar, pattern.starts, pattern.targets, pattern.scattered)
    direction = rng.normal(size=(size, size))
    direction = (direction + direction.T) * (dense + dense.T != 0)
    step = 1e-6
    high, low = (np.linalg.cholesky(S + sign * step * direction)[i, k] @ weights for sign in (1, -1))
    assert bar @ direction[i, k] == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-6)


def test_a_matrix_that_is_not_positive_definite_is_nan():
    pattern = factor_pattern(scipy.sparse.csc_array(np.ones((2, 2))))
    assert np.isnan(factorise(np.array([1.0, 2.0, 1.0]), pattern.starts, pattern.targets, pattern.scattered))


def test_work_counts_multiplications():
    pattern = factor_pattern(scipy.sparse.csc_array(np.ones((3, 3))))
    # Column 1 updates three entries, column 2 one.
    assert pattern.work == 4 and pattern.entries == 6 and pattern.size == 3

"""Factors of covariance and correlation matrices against numpy, to rounding."""

import numpy as np
import pytest

from poolwise.algebra.theta import correlation_factor, lkj_shapes, lower_factor


@pytest.mark.parametrize("q", [1, 2, 4])
def test_the_factor_is_lower_with_a_diagonal_that_is_not_negative(q):
    A = np.random.default_rng(q).normal(size=(5, q, q))
    A[0, 0] = 0.0
    T = lower_factor(A)
    np.testing.assert_allclose(T @ T.swapaxes(1, 2), A @ A.swapaxes(1, 2), atol=1e-12)
    assert (np.triu(T, 1) == 0).all() and (np.einsum("jkk->jk", T) >= 0).all()


def test_shapes_of_lkj_priors():
    """Of dimension d, eta + (d - 2 - k) / 2 for column k: Lewandowski, Kurowicka & Joe (2009), section 2."""
    assert lkj_shapes([4, 1, 2], [1.5, 7.0, 3.0]).tolist() == [2.5, 2.5, 2.0, 2.5, 2.0, 1.5, 3.0]


def test_uniform_correlations_have_the_variance_of_lkj():
    """Under LKJ(eta) each correlation is Beta(a, a) on (-1, 1), a = eta - 1 + d / 2, so its variance is 1 / (2 a + 1).

    20,000 draws: the Monte Carlo error of a variance near 0.2 is below 0.002; five of them are allowed.
    """
    shapes = lkj_shapes([4], [1.0])
    partial = 2 * np.random.default_rng(6).beta(shapes, shapes, size=(20_000, 6)) - 1
    L = correlation_factor(partial, 4)
    correlation = L @ L.swapaxes(1, 2)
    rows, columns = np.tril_indices(4, -1)
    np.testing.assert_allclose(correlation[:, rows, columns].var(axis=0), 1 / 5, atol=0.01)
    np.testing.assert_allclose(np.einsum("jkk->jk", correlation), 1.0, rtol=1e-12)

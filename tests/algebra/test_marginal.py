"""The marginal likelihood of many draws is the dense density of each; 1e-9 leaves room for an n x n inverse."""

import numpy as np
import pytest

from poolwise.algebra import dense, marginal
from poolwise.algebra.crossproducts import cross_products
from poolwise.algebra.marginal import log_marginal


@pytest.mark.parametrize("q", [1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_draws_have_the_dense_density(q, weighted, monkeypatch):
    rng = np.random.default_rng(q)
    n, J, D = 40, 6, 5
    group = rng.integers(0, J, n)
    X, Z, y = rng.normal(size=(n, 2)), rng.normal(size=(n, q)), rng.normal(size=n)
    weights = rng.uniform(0.3, 3, n) if weighted else None
    b, T, s = rng.normal(size=(D, 2)), np.tril(rng.normal(size=(D, q, q))), rng.uniform(0.2, 2, D)
    stats = cross_products(X, Z, y, group, J, weights)
    expected = [dense.log_marginal(X, Z, y, group, b[d], T[d], s[d], weights) for d in range(D)]
    np.testing.assert_allclose(log_marginal(stats, b, T, s), expected, rtol=1e-9)
    # Two draws a block, the last block short.
    monkeypatch.setattr(marginal, "BLOCK_NUMBERS", 2 * J * q * q)
    np.testing.assert_allclose(log_marginal(stats, b, T, s), expected, rtol=1e-9)


def test_without_effects_it_is_a_regression():
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(12, 2)), rng.normal(size=12)
    stats = cross_products(X, np.zeros((12, 0)), y, np.zeros(12, np.int64), 1)
    b, s = rng.normal(size=(3, 2)), np.array([0.5, 1.0, 2.0])
    residual = y - b @ X.T
    expected = -0.5 * (12 * np.log(2 * np.pi * s) + (residual**2).sum(axis=1) / s)
    np.testing.assert_allclose(log_marginal(stats, b, np.zeros((3, 0, 0)), s), expected, rtol=1e-12)

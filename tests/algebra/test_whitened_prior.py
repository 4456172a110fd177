"""The derivative by a prior's precision is that of value and coefficients together, by differences (1e-6 of 1)."""

import numpy as np
import pytest

from poolwise.algebra.crossproducts import cross_products
from poolwise.algebra.whitened import _carve, backward, by_lane, forward, work_size
from poolwise.algebra.whitened_prior import pull_precision


@pytest.mark.parametrize("o", [0.0, 0.8])
def test_derivative_by_the_precision(o):
    rng = np.random.default_rng(4)
    n, J, p, q, s = 30, 5, 3, 2, 0.7
    group = rng.integers(0, J, n)
    stats = cross_products(rng.normal(size=(n, p)), rng.normal(size=(n, q)), rng.normal(size=n), group, J)
    cross, S, R = by_lane(stats)
    xi, r, b_bar = rng.normal(size=p), rng.normal(size=p), rng.normal(size=p)
    T, P, d = np.tril(rng.normal(size=(q, q))), np.diag(rng.uniform(0.5, 2, p)), rng.normal(size=p)
    work, b = np.empty(work_size(p, q, J)), np.empty(p)

    def value(D):
        here, precision = P + D * np.outer(r, r), d - D * o * r
        return forward(xi, T, s, stats.n, stats.log_weights, cross, S, R, here, precision, work, b) + b_bar @ b

    D = 1.3
    expected = (value(D + 1e-6) - value(D - 1e-6)) / 2e-6
    value(D)
    grad_xi = np.empty(p)
    backward(1.0, b_bar, xi, s, stats.n, S, R, work, b, grad_xi, np.empty((q, q)))
    _, _, _, small, vectors, _ = _carve(work, p, q, J)
    found = pull_precision(r, o, xi, small[0], vectors[0], grad_xi)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)

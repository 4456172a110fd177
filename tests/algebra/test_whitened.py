"""The kernel equals the definition, and its gradient is the derivative, at random designs and parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.algebra import dense
from poolwise.algebra.conditional import conditional_moments, fill_effects
from poolwise.algebra.crossproducts import cross_products
from poolwise.algebra.leave_one_out import leave_one_out
from poolwise.algebra.profiled import profile
from poolwise.algebra.theta import BlockStructure
from poolwise.algebra.whitened import backward, by_lane, forward, unwhiten, work_size

# The dense form inverts an n x n matrix with condition up to about 1e5: ten digits are left of sixteen.
DENSE_RTOL = 1e-9
# Central differences with step 1e-6 lose about half of the digits.
DIFFERENCE_RTOL = 2e-5


@st.composite
def problems(draw):
    """A random design: q 1 to 4, groups smaller than q, groups of one row, weights or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    q, p = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=6))
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(group)
    X, Z, y = rng.normal(size=(n, p)), rng.normal(size=(n, q)), rng.normal(size=n)
    Z[:, 0] = 1.0
    T = np.tril(rng.normal(size=(q, q)))
    weights = rng.uniform(0.2, 3.0, n) if draw(st.booleans()) else None
    return X, Z, y, group, len(sizes), rng.normal(size=p), T, float(rng.uniform(0.1, 4.0)), weights


def evaluate(stats, xi, T, s, value_bar=1.0, b_bar=None):
    """Value and b, and the gradients by xi, T and s of value_bar * value + b_bar'b; the prior's precision is 1."""
    J, q, p = stats.J, stats.q, stats.p
    P, d = np.eye(p), np.full(p, 0.3)
    work, b = np.empty(work_size(p, q, J)), np.empty(p)
    cross, S, R = by_lane(stats)
    value = forward(xi, T, s, stats.n, stats.log_weights, cross, S, R, P, d, work, b)
    grad_xi, grad_T = np.empty(p), np.empty((q, q))
    b_bar = np.zeros(p) if b_bar is None else b_bar
    grad_s = backward(value_bar, b_bar, xi, s, stats.n, S, R, work, b, grad_xi, grad_T)
    return value, b, grad_xi, grad_T, grad_s


@given(problems())
@settings(deadline=None, max_examples=60)
def test_kernel_is_the_dense_density(problem):
    """log p(y | b, T, s) at the b that xi stands for, times the volume of the map from xi to b."""
    X, Z, y, group, J, xi, T, s, weights = problem
    stats = cross_products(X, Z, y, group, J, weights)
    value, b, *_ = evaluate(stats, xi, T, s)
    V = dense.covariance(Z, group, T, s, weights)
    A_w = X.T @ np.linalg.solve(V, X) + np.eye(len(xi))
    expected = dense.log_marginal(X, Z, y, group, b, T, s, weights) - 0.5 * np.linalg.slogdet(A_w)[1]
    assert value == pytest.approx(expected, rel=DENSE_RTOL, abs=1e-8)
    again = unwhiten(stats, np.eye(len(xi)), np.full(len(xi), 0.3), xi[None], T[None], np.array([s]))
    np.testing.assert_array_equal(again[0], b)


@given(problems())
@settings(deadline=None, max_examples=60)
def test_gradient_is_the_derivative(problem):
    X, Z, y, group, J, xi, T, s, weights = problem
    stats = cross_products(X, Z, y, group, J, weights)
    value_bar, b_bar = 1.7, np.linspace(-1, 2, len(xi))
    _, _, grad_xi, grad_T, grad_s = evaluate(stats, xi, T, s, value_bar, b_bar)
    step = 1e-6

    def slope(change):
        up, down = (evaluate(stats, *change(h))[:2] for h in (step, -step))
        return (value_bar * (up[0] - down[0]) + b_bar @ (up[1] - down[1])) / (2 * step)

    def moved(array, index, h):
        out = array.copy()
        out[index] += h
        return out

    scale = 1 + max(np.abs(grad_xi).max(initial=0), np.abs(grad_T).max(initial=0), abs(grad_s))
    tolerance = DIFFERENCE_RTOL * scale
    for k in range(len(xi)):
        assert slope(lambda h, k=k: (moved(xi, k, h), T, s)) == pytest.approx(grad_xi[k], abs=tolerance)
    for position in zip(*np.tril_indices(len(T)), strict=True):
        assert slope(lambda h, at=position: (xi, moved(T, at, h), s)) == pytest.approx(grad_T[position], abs=tolerance)
    assert slope(lambda h: (xi, T, s + h)) == pytest.approx(grad_s, abs=tolerance)


@given(problems())
@settings(deadline=None, max_examples=40)
def test_conditional_moments_are_the_dense_ones(problem):
    X, Z, y, group, J, b, T, s, _ = problem
    stats = cross_products(X, Z, y, group, J)
    mean, cov, slope = conditional_moments(stats, b, T, s)
    dense_mean, dense_cov = dense.conditional_effects(X, Z, y, group, J, b, T, s)
    np.testing.assert_allclose(mean, dense_mean, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(cov, dense_cov, rtol=1e-7, atol=1e-8)
    moved, _, _ = conditional_moments(stats, b + 1.0, T, s)
    np.testing.assert_allclose(moved - mean, slope.sum(axis=2), rtol=1e-7, atol=1e-8)


@given(problems(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_profiled_criterion_and_gradient(problem, reml):
    X, Z, y, group, J, _, Lambda, _, _ = problem
    if len(y) <= X.shape[1] + 1:
        return
    stats = cross_products(X, Z, y, group, J)
    at = profile(stats, Lambda, reml=reml)
    dense_value = dense.criterion(X, Z, y, group, Lambda * np.sqrt(at.s), at.s, reml=reml)
    assert at.criterion == pytest.approx(dense_value, rel=1e-8, abs=1e-7)
    structure = BlockStructure((len(Lambda),))
    theta = structure.theta(Lambda)
    gradient = structure.theta(at.gradient)
    for k in range(len(theta)):
        h = np.zeros_like(theta)
        h[k] = 1e-6
        up = profile(stats, structure.factor(theta + h), reml=reml).criterion
        down = profile(stats, structure.factor(theta - h), reml=reml).criterion
        assert (up - down) / 2e-6 == pytest.approx(gradient[k], abs=1e-4 * (1 + np.abs(gradient).max()))


@given(problems())
@settings(deadline=None, max_examples=30)
def test_leaving_one_row_out_is_the_ratio_of_two_densities(problem):
    X, Z, y, group, J, b, T, s, weights = problem
    stats = cross_products(X, Z, y, group, J, weights)
    ours = leave_one_out(stats, b[None], T[None], np.array([s]), X, Z, y, group, weights)[0][0]
    whole = dense.log_marginal(X, Z, y, group, b, T, s, weights)
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        left = None if weights is None else weights[others]
        rest = dense.log_marginal(X[others], Z[others], y[others], group[others], b, T, s, left)
        assert ours[i] == pytest.approx(whole - rest, rel=1e-7, abs=1e-7)


def test_drawn_effects_have_the_conditional_moments():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(3), [1, 4, 9])
    X, Z, y = rng.normal(size=(14, 2)), rng.normal(size=(14, 2)), rng.normal(size=14)
    stats = cross_products(X, Z, y, group, 3)
    b, T, s = np.array([0.3, -1.0]), np.array([[1.0, 0.0], [0.5, 0.7]]), 0.8
    draws = 40_000
    u = np.empty((draws, 3, 2))
    fill_effects(stats, np.tile(b, (draws, 1)), np.tile(T, (draws, 1, 1)), np.full(draws, s), rng, u)
    mean, cov, _ = conditional_moments(stats, b, T, s)
    sd = np.sqrt(np.einsum("jkk->jk", cov))
    # 5 standard errors of a mean, and of a variance (relative sqrt(2 / draws)).
    assert np.all(np.abs(u.mean(axis=0) - mean) < 5 * sd / np.sqrt(draws))
    assert np.all(np.abs(u.var(axis=0) / sd**2 - 1) < 5 * np.sqrt(2 / draws))


def test_statistics_subtract():
    rng = np.random.default_rng(4)
    group = rng.integers(0, 4, 50)
    X, Z, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2)), rng.normal(size=50)
    everything = cross_products(X, Z, y, group, 4)
    held = np.arange(50) % 5 == 0
    out = cross_products(X[held], Z[held], y[held], group[held], 4)
    kept = cross_products(X[~held], Z[~held], y[~held], group[~held], 4)
    for name in kept.__dataclass_fields__:
        np.testing.assert_allclose(getattr(everything - out, name), getattr(kept, name), rtol=1e-12, atol=1e-12)


def test_an_index_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"group indices must lie in 0\.\.1"):
        cross_products(np.ones((2, 1)), np.ones((2, 1)), np.ones(2), np.array([0, 2]), 2)

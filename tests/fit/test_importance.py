"""The proposal is a density that its draws follow; weights and copies are those of the definition."""

import math

import numpy as np
import pytest
from scipy.integrate import dblquad

from poolwise.fit.importance import K_LIMIT, SplitT, copies, duplicated, smoothed_weights, split_t

PROPOSAL = SplitT(np.array([0.5, -1.0]), np.array([[0.7, 0.0], [0.9, 0.4]]), np.array([[2.0, 0.8], [0.7, 1.5]]))


def test_the_proposal_integrates_to_one():
    total, _ = dblquad(
        lambda y, x: math.exp(PROPOSAL.log_density(np.array([[x, y]]))[0]), -25, 25, -25, 25, epsabs=1e-4
    )
    # What t's of 8 degrees of freedom have beyond 17 of the widest scale is below 1e-5.
    assert total == pytest.approx(1.0, abs=1e-3)


def test_draws_follow_the_proposal():
    x = PROPOSAL.draw(40_000, np.random.default_rng(1))
    np.testing.assert_allclose(PROPOSAL.at(PROPOSAL.along(x)), x, atol=1e-10)
    along = PROPOSAL.along(x)
    # P(left) = 2 / 2.7 and 0.8 / 2.3; standard errors below 0.0025.
    np.testing.assert_allclose((along < 0).mean(axis=0), [2 / 2.7, 0.8 / 2.3], atol=0.01)
    # E of a bounded function by the draws and by quadrature over the density.
    expected, _ = dblquad(
        lambda y, x: math.cos(x + y) * math.exp(PROPOSAL.log_density(np.array([[x, y]]))[0]),
        -25,
        25,
        -25,
        25,
        epsabs=1e-4,
    )
    assert np.cos(x.sum(axis=1)).mean() == pytest.approx(expected, abs=4 * 0.7 / 200)


def test_the_proposal_finds_mode_and_scales():
    precision, mode = np.array([[4.0, 1.0], [1.0, 100.0]]), np.array([1.0, -2.0])

    def with_gradient(x):
        return -0.5 * (x - mode) @ precision @ (x - mode), -precision @ (x - mode)

    found = split_t(with_gradient, lambda x: with_gradient(x)[0], np.zeros(2))
    np.testing.assert_allclose(found.mode, mode, atol=1e-4)
    np.testing.assert_allclose(found.L @ found.L.T, np.linalg.inv(precision), rtol=1e-6, atol=1e-9)
    # Axes bend far out, where a normal density does not: only near the mode are its widths those of the normal.
    assert np.all(np.abs(found.scales - 1) < 0.1)


def test_without_a_mode_there_is_no_proposal():
    assert split_t(lambda x: (x.sum(), np.ones(2)), lambda x: x.sum(), np.zeros(2)) is None
    assert split_t(lambda x: (math.nan, np.full(2, np.nan)), lambda x: math.nan, np.zeros(2)) is None


def test_weights_of_equal_ratios_are_equal():
    weights, k = smoothed_weights(np.random.default_rng(1).normal(size=500) * 1e-3)
    np.testing.assert_allclose(weights, 1 / 500, rtol=0.01)
    assert k < K_LIMIT
    weights, k = smoothed_weights(np.full(100, -3.0))
    np.testing.assert_allclose(weights, 1 / 100)
    assert k == -math.inf


def test_heavy_tails_and_impossible_proposals():
    rng = np.random.default_rng(2)
    # Ratios of a Pareto law with shape k = 1: no mean, no trust.
    log_ratio = rng.exponential(size=4000)
    _, k = smoothed_weights(log_ratio)
    assert k > 0.7
    log_ratio = rng.normal(size=400) * 0.1
    log_ratio[7] = -np.inf
    weights, _ = smoothed_weights(log_ratio)
    assert weights[7] == 0 and weights.sum() == pytest.approx(1.0)
    assert smoothed_weights(np.full(10, np.nan))[1] == math.inf
    assert smoothed_weights(np.append(log_ratio, np.inf))[1] == math.inf


def test_copies_are_the_weights_rounded():
    rng = np.random.default_rng(3)
    weights = rng.exponential(size=300)
    weights /= weights.sum()
    kept = np.array([copies(weights, 200, rng) for _ in range(2000)])
    assert np.all(kept.sum(axis=1) == 200)
    assert np.all((kept >= np.floor(200 * weights)) & (kept <= np.ceil(200 * weights)))
    # Unbiased: sd of a mean of 2000 roundings is at most 0.012.
    np.testing.assert_allclose(kept.mean(axis=0), 200 * weights, atol=0.06)
    assert duplicated(np.full(400, 1 / 400), 200) == 0
    assert duplicated(np.array([1.0, 0.0]), 10) == pytest.approx(0.9)

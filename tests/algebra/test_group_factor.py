"""The factor T and the density of its correlations: their definitions, and derivatives by differences.

Central differences with step 1e-6 keep eight digits.
"""

import math

import numpy as np
import pytest

from poolwise.algebra.group_factor import FARTHEST, build_factor, is_near, pull_factor
from poolwise.algebra.theta import lkj_shapes

SIZES, ETA = (3, 1, 2), (2.0, 1.0, 0.7)
Q, COUNT = sum(SIZES), 4
RNG = np.random.default_rng(5)
REFERENCE, UNITS = RNG.uniform(0.5, 3, Q), RNG.uniform(0.2, 5, Q)
SHAPES = lkj_shapes(SIZES, ETA)


def built(zeta, c):
    sd, z, left, correlation, T = np.empty(Q), np.empty(COUNT), np.empty(COUNT), np.empty((Q, Q)), np.empty((Q, Q))
    sizes = np.array(SIZES, dtype=float)
    return (
        build_factor(zeta, c, REFERENCE, UNITS, sizes, SHAPES, sd, z, left, correlation, T),
        sd,
        z,
        left,
        correlation,
        T,
    )


def test_it_is_the_factor_of_a_covariance_with_these_sds():
    zeta, c = RNG.normal(size=Q), RNG.normal(size=COUNT)
    _, sd, _, _, correlation, T = built(zeta, c)
    np.testing.assert_allclose(sd, REFERENCE * np.exp(zeta), rtol=1e-14)
    np.testing.assert_allclose(np.sqrt(np.diag(T @ T.T)), sd * UNITS, rtol=1e-12)
    assert np.array_equal(T, np.tril(T))
    # Blocks are independent; the first correlation of a block is its first partial one.
    blocks = [slice(0, 3), slice(3, 4), slice(4, 6)]
    inside = np.zeros((Q, Q), dtype=bool)
    for block in blocks:
        inside[block, block] = True
    assert not correlation[~inside].any()
    R = correlation @ correlation.T
    assert R[1, 0] == pytest.approx(math.tanh(c[0]), rel=1e-12)
    assert R[5, 4] == pytest.approx(math.tanh(c[3]), rel=1e-12)


def test_the_density_is_that_of_lkj():
    """Up to a constant, with the Jacobian from partial correlations on the hyperbolic scale to correlations."""

    def lkj(c):
        correlation = built(np.zeros(Q), c)[4]
        R = correlation @ correlation.T
        value = (ETA[0] - 1) * np.linalg.slogdet(R[:3, :3])[1] + (ETA[2] - 1) * np.linalg.slogdet(R[4:, 4:])[1]
        places = [(1, 0), (2, 0), (2, 1), (5, 4)]
        jacobian = np.empty((COUNT, COUNT))
        for k in range(COUNT):
            step = 1e-6 * np.eye(COUNT)[k]
            up, down = (built(np.zeros(Q), c + sign * step)[4] for sign in (1, -1))
            jacobian[:, k] = [((up @ up.T)[at] - (down @ down.T)[at]) / 2e-6 for at in places]
        return value + np.linalg.slogdet(jacobian)[1]

    first, second = RNG.normal(size=COUNT), RNG.normal(size=COUNT)
    found = built(np.zeros(Q), first)[0] - built(np.zeros(Q), second)[0]
    assert found == pytest.approx(lkj(first) - lkj(second), abs=1e-6)


def test_the_gradient_is_the_derivative():
    zeta, c, weights = RNG.normal(size=Q), RNG.normal(size=COUNT), np.tril(RNG.normal(size=(Q, Q)))

    def value(zeta, c):
        found = built(zeta, c)
        return found[0] + (weights * found[-1]).sum()

    _, sd, z, left, correlation, T = built(zeta, c)
    by_zeta, by_c = np.empty(Q), np.empty(COUNT)
    pull_factor(weights, T, sd, UNITS, np.array(SIZES, dtype=float), SHAPES, z, left, correlation, by_zeta, by_c)
    for k in range(Q):
        step = 1e-6 * np.eye(Q)[k]
        assert by_zeta[k] == pytest.approx((value(zeta + step, c) - value(zeta - step, c)) / 2e-6, rel=1e-6, abs=1e-7)
    for k in range(COUNT):
        step = 1e-6 * np.eye(COUNT)[k]
        assert by_c[k] == pytest.approx((value(zeta, c + step) - value(zeta, c - step)) / 2e-6, rel=1e-6, abs=1e-7)


def test_partial_correlations_next_to_one_keep_their_density():
    c = np.array([40.0, 0.0, 0.0, 0.0])
    # log(1 - tanh(c)^2) is 2 (log 2 - |c|) there, where tanh itself is 1.
    assert built(np.zeros(Q), c)[0] == pytest.approx(SHAPES[0] * 2 * (math.log(2) - 40), rel=1e-12)


def test_far_coordinates_are_told():
    assert is_near(np.array([FARTHEST, -FARTHEST]))
    assert not is_near(np.array([0.0, -FARTHEST * (1 + 1e-12)]))
    assert not is_near(np.array([np.nan]))

"""An optimiser that stopped at a singular covariance is sent on where another covariance is better."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.algebra.crossed import crossed_products
from poolwise.algebra.theta import BlockStructure
from poolwise.fit.boundary import _added, _by_covariance, leave_boundary
from poolwise.fit.reml_crossed import optimise_crossed


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_the_gradient_by_the_covariance_is_recovered(seed, q):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(q, q))
    G, Lambda = G + G.T, np.tril(rng.normal(size=(q, q)), -1) + np.diag(rng.uniform(0.5, 2, q))
    np.testing.assert_allclose(_by_covariance(np.tril(2 * G @ Lambda), Lambda), G, rtol=1e-8, atol=1e-8)


def test_a_direction_is_added_to_a_singular_covariance():
    Lambda, v = np.array([[0.0, 0.0], [-0.3, 0.4]]), np.array([[1.0], [2.0]])
    moved = _added(Lambda, v)
    np.testing.assert_allclose(moved @ moved.T, Lambda @ Lambda.T + v @ v.T)
    assert moved[0, 1] == 0.0
    assert np.all(np.diag(moved) >= 0)


def test_the_wrong_sign_at_the_boundary_is_no_trap():
    """A stationary point by theta at which the criterion falls, but only with the other sign below the zero."""
    target = np.array([[1.0, 0.8], [0.8, 1.0]])
    structure = BlockStructure((2,))

    def criterion(theta):
        Lambda = structure.factor(theta)
        gap = Lambda @ Lambda.T - target
        return float((gap**2).sum()), structure.theta(np.tril(4 * gap @ Lambda))

    theta = np.array([0.0, -1.0, 0.0])
    value, gradient = criterion(theta)
    assert gradient[0] > 0  # a step away from the bound makes it worse
    moved = leave_boundary(theta, value, structure, criterion)
    assert moved is not None
    assert criterion(moved)[0] < value
    assert leave_boundary(structure.theta(np.linalg.cholesky(target)), 0.0, structure, criterion) is None


def problem(seed):
    """One factor with few groups, correlated effects, some of them without spread."""
    rng = np.random.default_rng(seed)
    q, J, n = int(rng.integers(2, 4)), int(rng.integers(3, 12)), int(rng.integers(30, 150))
    group = rng.integers(0, J, n)
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    effects = rng.normal(size=(J, q)) * rng.choice([0, 0.3, 1, 3], size=q)
    y = rng.normal(size=n) + np.einsum("nk,nk->n", Z, effects[group])
    return crossed_products(X, [Z], y / y.std(), [group], [J]), BlockStructure((q,)), rng


@pytest.mark.parametrize("seed", [20, 27, 88, 101, 106, 130, 145, 153])
def test_the_optimum_is_the_best_of_many_starts(seed):
    """Data on which descending from the identity stops on the boundary at a point that is no minimum."""
    stats, structure, rng = problem(seed)
    found = optimise_crossed(stats, structure, reml=True, start=np.eye(structure.q)).at.criterion
    for _ in range(6):
        T = np.tril(rng.normal(size=(structure.q, structure.q)))
        T[np.diag_indices(structure.q)] = np.abs(np.diag(T))
        assert found <= optimise_crossed(stats, structure, reml=True, start=T).at.criterion + 1e-6 * abs(found)

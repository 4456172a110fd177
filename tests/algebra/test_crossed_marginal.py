"""log p(y | T, s) of several factors, all effects integrated out, equals the dense normal density; so do its slopes."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from poolwise.algebra.crossed import crossed_products
from poolwise.algebra.crossed_marginal import NormalPrior, crossed_marginal, marginal_gradient
from poolwise.algebra.lapack import cholesky_in_place

# The dense density factorises a 60 x 60 matrix of condition below 1e4: ten digits are left, of numbers near 100.
RTOL = 1e-9
# Central differences with step 1e-5 of a function whose rounding is 1e-13.
DIFFERENCE_ATOL = 1e-5


class Problem:
    """Two crossed factors, one with correlated slopes, precision weights, a proper prior of the common effects."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        n, self.Js = 60, (9, 5)
        self.groups = [rng.integers(0, J, n) for J in self.Js]
        x = rng.normal(size=n)
        self.X, self.y = np.column_stack([np.ones(n), x]), rng.normal(size=n)
        self.Zs = [np.column_stack([np.ones(n), x]), np.ones((n, 1))]
        self.weights = rng.uniform(0.3, 3.0, n)
        self.stats = crossed_products(self.X, self.Zs, self.y, self.groups, self.Js, self.weights)
        self.mean, root = rng.normal(size=2), rng.normal(size=(2, 2))
        self.covariance = root @ root.T + 0.2 * np.eye(2)
        precision = np.linalg.inv(self.covariance)
        constant = multivariate_normal.logpdf(np.zeros(2), self.mean, self.covariance)
        self.prior = NormalPrior(precision, precision @ self.mean, constant)
        self.T, self.s = np.zeros((3, 3)), 0.7
        self.T[:2, :2], self.T[2, 2] = [[0.8, 0.0], [0.3, 0.5]], 1.1

    def dense(self):
        V = self.s * np.diag(1 / self.weights) + self.X @ self.covariance @ self.X.T
        at = 0
        for Z, group, J in zip(self.Zs, self.groups, self.Js, strict=True):
            q = Z.shape[1]
            full = (np.eye(J)[group][:, :, None] * Z[:, None, :]).reshape(len(Z), -1)
            block = self.T[at : at + q, at : at + q]
            V = V + full @ np.kron(np.eye(J), block @ block.T) @ full.T
            at += q
        return multivariate_normal.logpdf(self.y, self.X @ self.mean, V)

    def value(self, T, s):
        return crossed_marginal(self.stats, self.prior, T, s).value


@pytest.mark.parametrize("seed", range(3))
def test_the_density_is_the_dense_one(seed):
    problem = Problem(seed)
    assert problem.value(problem.T, problem.s) == pytest.approx(problem.dense(), rel=RTOL)


def test_common_effects_are_those_of_bayes_theorem():
    # log p(y) = log p(y, b) - log p(b | y) at any b: of the marginal under a prior narrowed about b.
    problem = Problem(1)
    there, b = crossed_marginal(problem.stats, problem.prior, problem.T, problem.s), np.array([0.3, -0.4])
    narrow = 1e-10 * np.eye(2)
    at_b = NormalPrior(
        np.linalg.inv(narrow), np.linalg.solve(narrow, b), multivariate_normal.logpdf(np.zeros(2), b, narrow)
    )
    likelihood = crossed_marginal(problem.stats, at_b, problem.T, problem.s).value
    posterior = multivariate_normal.logpdf(b, there.mean, np.linalg.inv(there.L @ there.L.T))
    expected = likelihood + multivariate_normal.logpdf(b, problem.mean, problem.covariance) - posterior
    # Subtracting numbers of 1e10 leaves six digits.
    assert there.value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_gradients_are_those_of_differences(seed):
    problem, step = Problem(seed), 1e-5
    there = crossed_marginal(problem.stats, problem.prior, problem.T, problem.s)
    by_T, by_s = marginal_gradient(problem.stats, problem.T, problem.s, there)
    for row, column in ((0, 0), (1, 0), (1, 1), (2, 2)):
        away = np.zeros((3, 3))
        away[row, column] = step
        difference = problem.value(problem.T + away, problem.s) - problem.value(problem.T - away, problem.s)
        assert by_T[row, column] == pytest.approx(difference / (2 * step), abs=DIFFERENCE_ATOL)
    difference = problem.value(problem.T, problem.s + step) - problem.value(problem.T, problem.s - step)
    assert by_s == pytest.approx(difference / (2 * step), abs=DIFFERENCE_ATOL)


def test_what_has_no_density_is_not_a_number():
    problem = Problem(0)
    assert np.isnan(problem.value(np.full((3, 3), np.nan), problem.s))
    # Two effects so large and so alike that 1 is lost beside them: their matrix has no Cholesky factor.
    alike = np.zeros((3, 3))
    alike[:2, :2], alike[2, 2] = [[1e19, 0.0], [1e37, 1e14]], 1.0
    assert np.isnan(problem.value(alike, problem.s))
    assert np.isnan(crossed_marginal(problem.stats, NormalPrior(-1e9 * np.eye(2), np.zeros(2)), problem.T, 1.0).value)


def test_cholesky_in_place():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(30, 30))
    S = root @ root.T + np.eye(30)
    expected = np.linalg.cholesky(S)
    assert cholesky_in_place(S)
    np.testing.assert_allclose(np.tril(S), expected, rtol=1e-10, atol=1e-12)
    assert not cholesky_in_place(-np.eye(3))
    with pytest.raises(ValueError, match="square matrix"):
        cholesky_in_place(np.asfortranarray(root))

"""The Laplace approximation: rows against differences, the sparse algebra against dense matrices, exact integrals.

Tolerances: central differences with a step of 1e-5 lose about 1e-10 times the value's size over 1e-5, so gradients
agree to 1e-6 of their size; factorisations agree to rounding, 1e-9.
"""

import numpy as np
import pytest
from scipy.integrate import quad

from poolwise.algebra.exponential import ExponentialRows
from poolwise.algebra.laplace import LaplaceProblem, laplace
from poolwise.algebra.quadrature import quadrature_deviance
from poolwise.algebra.sparse_rows import factorise, make_pattern

FAMILIES = [
    ("binomial", "logit"),
    ("binomial", "probit"),
    ("binomial", "cloglog"),
    ("binomial", "identity"),
    ("poisson", "log"),
    ("poisson", "identity"),
    ("negativebinomial", "log"),
    ("negativebinomial", "identity"),
    ("gamma", "log"),
    ("gamma", "inverse"),
    ("gamma", "identity"),
    ("wald", "inverse_squared"),
    ("wald", "log"),
    ("gaussian", "log"),
]
GRADIENT = 1e-6


def make_rows(family: str, link: str, n: int, rng: np.random.Generator) -> ExponentialRows:
    trials = np.full(n, 5.0) if family == "binomial" else np.ones(n)
    if family == "binomial":
        y = rng.integers(0, 6, n)
    elif family in ("poisson", "negativebinomial"):
        y = rng.poisson(2, n)
    else:
        y = rng.gamma(3, 0.4, n)
    free = family not in ("binomial", "poisson")
    return ExponentialRows(family, link, y.astype(float), trials, rng.uniform(0.5, 2, n), free)


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_rows_are_the_derivatives_of_their_density(family, link):
    rng, h, own = np.random.default_rng(0), 1e-5, 0.3
    inside = link in ("identity", "inverse", "inverse_squared")
    eta = rng.uniform(0.3, 0.8, 30) if inside else rng.normal(size=30)
    rows = make_rows(family, link, 30, rng)
    at, up, down = rows.at(eta, own), rows.at(eta + h, own), rows.at(eta - h, own)

    def close(value, above, below):
        np.testing.assert_allclose(value, (above - below) / (2 * h), rtol=GRADIENT, atol=GRADIENT)

    close(at.score, up.logf, down.logf)
    close(-at.observed, up.score, down.score)
    close(at.slope, up.weight, down.weight)
    if rows.canonical:
        assert at.observed is at.expected
    if rows.free:
        by_own, up, down = rows.by_own(eta, own, at), rows.at(eta, own + h), rows.at(eta, own - h)
        close(by_own.logf, up.logf, down.logf)
        close(by_own.score, up.score, down.score)
        close(by_own.weight, up.weight, down.weight)


@pytest.mark.parametrize("family", ["binomial", "poisson", "negativebinomial", "gamma"])
def test_expected_information_is_the_mean_of_the_observed_one(family):
    rng, n, own = np.random.default_rng(1), 400_000, 0.5
    link, eta = ("probit", 0.4) if family == "binomial" else ("log", 0.4)
    mu, alpha = np.exp(eta), np.exp(own)
    y = {
        "binomial": lambda: rng.binomial(1, 0.6554217, n),
        "poisson": lambda: rng.poisson(mu, n),
        "negativebinomial": lambda: rng.poisson(rng.gamma(alpha, mu / alpha, n)),
        "gamma": lambda: rng.gamma(alpha, mu / alpha, n),
    }[family]().astype(float)
    at = ExponentialRows(family, link, y, np.ones(n), np.ones(n), True).at(np.full(n, eta), own)
    # Five Monte Carlo standard errors.
    assert abs(at.observed.mean() - at.expected[0]) < 5 * at.observed.std() / np.sqrt(n) + 1e-12
    assert abs(np.mean(at.score**2) - at.expected[0]) < 5 * (at.score**2).std() / np.sqrt(n)


def problem(family: str, link: str) -> tuple[LaplaceProblem, np.ndarray, np.ndarray]:
    rng, n, Js, widths = np.random.default_rng(3), 150, [20, 7, 5], [2, 1, 2]
    codes = [rng.integers(0, J - 1, n) for J in Js]  # the last group of each factor has no rows
    Z = rng.normal(size=(n, 5))
    Z[:, [0, 2]] = 1.0
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    rows = make_rows(family, link, n, rng)
    Lambda = np.zeros((5, 5))
    Lambda[:2, :2], Lambda[2, 2], Lambda[3:, 3:] = [[0.5, 0], [0.2, 0.3]], 0.4, [[0.3, 0], [0.1, 0.2]]
    dense = np.zeros((n, 20 * 2 + 7 + 5 * 2))
    for i in range(n):
        at, column = 0, 0
        for code, J, q in zip(codes, Js, widths, strict=True):
            where = slice(column, column + q)
            dense[i, at + code[i] * q : at + (code[i] + 1) * q] = Z[i, where] @ Lambda[where, where]
            at, column = at + J * q, column + q
    offset = 0.1 * rng.normal(size=n)
    return LaplaceProblem(rows, X, Z, offset, make_pattern(codes, Js, widths)), Lambda, dense


LINKS = [
    ("binomial", "logit"),
    ("binomial", "probit"),
    ("poisson", "log"),
    ("negativebinomial", "log"),
    ("gamma", "log"),
]


@pytest.mark.parametrize(("family", "link"), LINKS)
def test_modes_and_deviance_are_the_dense_ones(family, link):
    data, Lambda, A = problem(family, link)
    b, own = np.array([0.1, 0.2]), 0.4
    point = laplace(data, Lambda, b, own)
    u = np.concatenate([part.ravel() for part in data.pattern.by_factor(point.u)])
    np.testing.assert_allclose(point.eta, data.offset + data.X @ b + A @ u, rtol=1e-9, atol=1e-9)
    # At the modes the score of the effects is zero.
    np.testing.assert_allclose(A.T @ point.at.score, u, rtol=0, atol=1e-7)
    M = np.eye(A.shape[1]) + A.T @ (point.at.weight[:, None] * A)
    assert point.deviance == pytest.approx(-2 * point.at.logf.sum() + u @ u + np.linalg.slogdet(M)[1], rel=1e-10)
    inverse = np.linalg.inv(M)
    at = 0
    for block in point.inverse.blocks():
        J, q, _ = block.shape
        for j in range(J):
            where = slice(at + j * q, at + (j + 1) * q)
            np.testing.assert_allclose(block[j], inverse[where, where], rtol=0, atol=1e-9)
        at += J * q
    leverages = np.einsum("nk,nk->n", point.A, point.inverse.times_rows(point.A))
    np.testing.assert_allclose(leverages, np.einsum("na,ab,nb->n", A, inverse, A), rtol=0, atol=1e-9)
    W = np.diag(point.at.weight)
    expected = data.X.T @ (W - W @ A @ inverse @ A.T @ W) @ data.X
    np.testing.assert_allclose(point.information(), expected, rtol=1e-8)


@pytest.mark.parametrize(("family", "link"), LINKS)
def test_gradient_is_that_of_the_deviance(family, link):
    data, Lambda, _ = problem(family, link)
    b, own, h = np.array([0.1, 0.2]), 0.4, 1e-5
    point = laplace(data, Lambda, b, own)
    by_Lambda, by_b, by_own = point.gradient()

    def deviance(Lambda, b, own):
        return laplace(data, Lambda, b, own, point.u).deviance

    for i, j in zip(*np.nonzero(Lambda), strict=True):
        step = np.zeros_like(Lambda)
        step[i, j] = h
        difference = (deviance(Lambda + step, b, own) - deviance(Lambda - step, b, own)) / (2 * h)
        assert by_Lambda[i, j] == pytest.approx(difference, rel=GRADIENT, abs=GRADIENT)
    for k in range(2):
        step = h * np.eye(2)[k]
        difference = (deviance(Lambda, b + step, own) - deviance(Lambda, b - step, own)) / (2 * h)
        assert by_b[k] == pytest.approx(difference, rel=GRADIENT, abs=GRADIENT)
    if data.rows.free:
        difference = (deviance(Lambda, b, own + h) - deviance(Lambda, b, own - h)) / (2 * h)
        assert by_own == pytest.approx(difference, rel=GRADIENT, abs=GRADIENT)


def test_the_modes_move_with_b_as_the_slopes_say():
    data, Lambda, _ = problem("binomial", "probit")
    b, h = np.array([0.1, 0.2]), 1e-5
    slopes = laplace(data, Lambda, b).slopes()
    for k in range(2):
        step = h * np.eye(2)[k]
        moved = (laplace(data, Lambda, b + step).u - laplace(data, Lambda, b - step).u) / (2 * h)
        np.testing.assert_allclose(slopes[:, k], moved, rtol=0, atol=1e-6)


def test_solve_with_negative_weights_and_refusal():
    data, Lambda, A = problem("gamma", "identity")
    rng = np.random.default_rng(0)
    rows = np.ascontiguousarray((data.Z @ Lambda)[:, data.pattern.order])
    weights = rng.uniform(-0.05, 1.0, len(rows))
    M = np.eye(A.shape[1]) + A.T @ (weights[:, None] * A)
    factored = factorise(data.pattern, rows, weights)
    assert factored.logdet == pytest.approx(np.linalg.slogdet(M)[1], rel=1e-9)
    vector = rng.normal(size=(data.pattern.size, 3))
    dense = np.concatenate([part.reshape(-1, 3) for part in data.pattern.by_factor(vector)])
    given = vector.copy()
    solved = np.concatenate([part.reshape(-1, 3) for part in data.pattern.by_factor(factored.solve(vector))])
    np.testing.assert_allclose(solved, np.linalg.solve(M, dense), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(vector, given)
    assert np.isnan(factorise(data.pattern, rows, np.full(len(rows), -10.0)).logdet)


@pytest.mark.parametrize(("family", "link"), LINKS)
def test_quadrature_converges_to_the_integral(family, link):
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(4), 3)
    rows = make_rows(family, link, 12, rng)
    data = LaplaceProblem(rows, np.ones((12, 1)), np.ones((12, 1)), np.zeros(12), make_pattern([codes], [4], [1]))
    Lambda, b, own = np.array([[0.9]]), np.array([0.2]), 0.4
    point = laplace(data, Lambda, b, own)
    assert quadrature_deviance(point, 1) == pytest.approx(point.deviance, rel=1e-12)
    total = 0.0
    for j in range(4):
        group = rows.subset(codes == j)

        def integrand(u, group=group):
            logf = group.log_density(np.full(3, b[0] + Lambda[0, 0] * u), own).sum()
            return np.exp(logf - 0.5 * u**2) / np.sqrt(2 * np.pi)

        total += np.log(quad(integrand, -12, 12, epsabs=0, epsrel=1e-11, limit=200)[0])
    assert quadrature_deviance(point, 40) == pytest.approx(-2 * total, rel=1e-8)
    # One node is already near, which is why the Laplace approximation serves; 40 are nearer.
    assert abs(point.deviance + 2 * total) < 0.5


def test_a_start_without_a_density_is_left_for_zeros():
    rng = np.random.default_rng(9)
    codes = np.repeat(np.arange(4), 3)
    rows = make_rows("poisson", "log", 12, rng)
    data = LaplaceProblem(rows, np.ones((12, 1)), np.ones((12, 1)), np.zeros(12), make_pattern([codes], [4], [1]))
    expected = laplace(data, np.array([[0.9]]), np.array([0.2]))
    for start in (np.full(4, np.inf), np.full(4, np.nan), np.full(4, 1e200)):
        with np.errstate(all="ignore"):
            found = laplace(data, np.array([[0.9]]), np.array([0.2]), start=start)
        assert found.deviance == pytest.approx(expected.deviance, rel=1e-12)

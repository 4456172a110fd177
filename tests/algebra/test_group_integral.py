"""The density of a group without its effects is the closed form, or a fine grid's integral.

Normal responses: quadrature is exact, 1e-10 is rounding. Others: the rules converge to 1e-6 and better of the log.
"""

import numpy as np
import pytest
from scipy import stats

from poolwise.algebra import likelihoods as lk
from poolwise.algebra.group_integral import group_log_densities


@pytest.mark.parametrize("q", [1, 2, 3])
def test_normal_groups_have_their_closed_form(q):
    rng = np.random.default_rng(q)
    n, J, D = 14, 4, 3
    codes = np.array([2, 0, 0, 1, 0, 1, 2, 2, 0, 1, 1, 1, 0, 2])
    y, Z, base = rng.normal(size=n), rng.normal(size=(n, q)), rng.normal(size=(D, n))
    T, sigma = np.tril(rng.normal(size=(D, q, q))), rng.uniform(0.5, 1.5, D)
    own = np.column_stack([sigma, np.zeros(D)])
    fixed = lk.constants(lk.NORMAL, y, np.ones(n))
    found = group_log_densities(lk.NORMAL, lk.IDENTITY, y, np.ones(n), np.ones(n), fixed, base, own, Z, T, codes, J)
    for d in range(D):
        for j in range(3):
            rows = codes == j
            V = Z[rows] @ T[d] @ T[d].T @ Z[rows].T + sigma[d] ** 2 * np.eye(rows.sum())
            expected = stats.multivariate_normal(base[d, rows], V).logpdf(y[rows])
            assert found[d, j] == pytest.approx(expected, rel=1e-10)
    # The last group has no rows.
    assert not found[:, 3].any()


@pytest.mark.parametrize("family", ["binomial", "negativebinomial"])
def test_other_groups_are_integrals_over_a_fine_grid(family):
    rng = np.random.default_rng(8)
    n, D, sd = 6, 2, np.array([0.4, 1.7])
    base, z, w = rng.normal(size=(D, n)), rng.normal(size=n), np.array([1.0, 2, 1, 1, 3, 1])
    trials = np.array([1.0, 5, 1, 9, 2, 3]) if family == "binomial" else np.ones(n)
    y = np.array([1.0, 3, 0, 9, 1, 0]) if family == "binomial" else np.array([0.0, 4, 1, 12, 2, 0])
    code, link = lk.density_code(family, "logit" if family == "binomial" else "log")
    own = np.array([[1.3, 0.0], [0.6, 0.0]]) if family == "negativebinomial" else np.zeros((D, 1))
    fixed = lk.constants(code, y, trials)
    found = group_log_densities(
        code, link, y, trials, w, fixed, base, own, z[:, None], sd[:, None, None], np.zeros(n, np.int64), 1
    )
    grid = np.linspace(-9, 9, 4001)
    for d in range(D):
        eta = base[d] + np.outer(grid, z * sd[d])
        if family == "binomial":
            density = stats.binom(trials, 1 / (1 + np.exp(-eta))).logpmf(y)
        else:
            alpha, mean = own[d, 0], np.exp(eta)
            density = stats.nbinom(alpha, alpha / (alpha + mean)).logpmf(y)
        total = (w * density).sum(axis=1) + stats.norm.logpdf(grid)
        expected = np.log(np.trapezoid(np.exp(total - total.max()), grid)) + total.max()
        assert found[d, 0] == pytest.approx(expected, abs=1e-6)


def test_a_mode_far_from_zero_is_reached():
    """One hundred successes of one hundred under a wide prior: full steps overshoot, halved ones arrive."""
    y = trials = np.array([100.0])
    found = group_log_densities(
        lk.BINOMIAL, lk.LOGIT, y, trials, np.ones(1), np.zeros(1), np.full((1, 1), -30.0), np.zeros((1, 1)),
        np.ones((1, 1)), np.full((1, 1, 1), 20.0), np.zeros(1, np.int64), 1,
    )  # fmt: skip
    grid = np.linspace(-9, 12, 200_001)
    total = -100 * np.logaddexp(0, 30 - 20 * grid) + stats.norm.logpdf(grid)
    expected = np.log(np.trapezoid(np.exp(total), grid))
    # The integrand is half of a bell, of whose area 15 nodes miss 3 %; a mode that is not reached misses far more.
    assert found[0, 0] == pytest.approx(expected, abs=0.05)

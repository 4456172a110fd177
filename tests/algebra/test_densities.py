"""Densities of exponential families against scipy's, constants included, and the best parameter of their own.

Tolerances: densities agree to rounding, 1e-12 of their size; a maximum is flat, so the parameter agrees to 1e-6.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from poolwise.algebra.exponential import ExponentialRows

OWN = 1.7
SCIPY = {
    "binomial": lambda y, mu: stats.binom.logpmf(y, 5, mu),
    "poisson": lambda y, mu: stats.poisson.logpmf(y, mu),
    "negativebinomial": lambda y, mu: stats.nbinom.logpmf(y, OWN, OWN / (OWN + mu)),
    "gamma": lambda y, mu: stats.gamma.logpdf(y, OWN, scale=mu / OWN),
    "wald": lambda y, mu: stats.invgauss.logpdf(y, mu / OWN, scale=OWN),
    "gaussian": lambda y, mu: stats.norm.logpdf(y, mu, OWN),
}


def rows(family: str, n: int = 40) -> tuple[ExponentialRows, np.ndarray]:
    """Responses of a mean that varies, and their linear predictor."""
    rng = np.random.default_rng(8)
    eta = rng.normal(0.3, 0.5, n)
    y = {"binomial": rng.integers(0, 6, n), "gaussian": rng.normal(2, 1, n), "gamma": rng.gamma(3, 0.6, n)}.get(
        family, rng.negative_binomial(2, 0.4, n) if family in ("poisson", "negativebinomial") else rng.wald(1.5, 2, n)
    )
    trials = np.full(n, 5.0) if family == "binomial" else np.ones(n)
    link = "logit" if family == "binomial" else "log"
    free = family not in ("binomial", "poisson")
    return ExponentialRows(family, link, y.astype(float), trials, rng.uniform(0.5, 2, n), free), eta


@pytest.mark.parametrize("family", SCIPY)
def test_the_density_is_scipys(family):
    given, eta = rows(family)
    mu = 1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta)
    expected = given.weights * SCIPY[family](given.y, mu)
    np.testing.assert_allclose(given.log_density(eta, np.log(OWN)), expected, rtol=1e-12)


@pytest.mark.parametrize("family", ["negativebinomial", "gamma", "wald", "gaussian"])
def test_the_best_parameter_maximises_the_density(family):
    given, eta = rows(family)
    found = given.best_own(eta, 0.0)
    best = minimize_scalar(
        lambda own: -given.log_density(eta, own).sum(), bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}
    )
    assert found == pytest.approx(best.x, abs=1e-6)


@pytest.mark.parametrize(("link", "limit"), [("log", 300.0), ("logit", 500.0), ("cloglog", 6.0)])
def test_densities_are_finite_or_minus_infinity_far_out(link, limit):
    family = "poisson" if link == "log" else "binomial"
    given, _ = rows(family)
    for eta in (-1e6, -limit, limit, 1e6):
        with np.errstate(over="raise", invalid="raise"):
            value = ExponentialRows(family, link, given.y, given.trials, given.weights, False).log_density(
                np.full(40, eta), 0.0
            )
        assert not np.isnan(value).any()

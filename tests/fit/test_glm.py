"""Generalised linear models by reweighted least squares: R's glm, closed forms, separation and groups without rows.

R 4.2.2: glm, MASS 7.3-58.2 glm.nb and gamma.shape, on cbpp (np the period as a number) and sleepstudy (R is
Reaction / 300). Their default tolerance is 1e-8 of the deviance, which leaves 1e-5 in a coefficient.
"""

import numpy as np
import pytest

import poolwise as pw
from poolwise.algebra.exponential import ExponentialRows
from poolwise.algebra.links import LINK
from poolwise.fit.glm import fit_separately

R_PRINTS = 2e-5


@pytest.fixture(scope="module")
def cbpp():
    frame = pw.load_dataset("cbpp")
    return frame.assign(np=frame["period"].astype(str).astype(float), size=frame["size"].astype(float))


@pytest.mark.parametrize(
    ("link", "coef", "se", "loglik"),
    [
        ("logit", (-0.7157611046, -0.6546898218), (0.23220453, 0.11856393), -101.10227579),
        ("probit", (-0.5182905819, -0.3279288065), (0.125415443, 0.058486401), -101.502256434),
        ("cloglog", (-0.8559546687, -0.6215424756), (0.21211797, 0.11219775), -100.964085301),
    ],
)
def test_binomial_is_glm(cbpp, link, coef, se, loglik):
    fit = pw.Model("p(incidence, size) ~ np", cbpp, "binomial", link=link).fit_frequentist()
    np.testing.assert_allclose(fit.fixef, coef, rtol=R_PRINTS)
    # R's standard errors stand where its last iteration began.
    np.testing.assert_allclose(fit.se, se, rtol=1e-3)
    assert fit.loglik == pytest.approx(loglik, abs=1e-8)
    assert fit.method == "maximum likelihood" and fit.converged and not fit.is_singular


def test_poisson_with_offset_is_glm(cbpp):
    fit = pw.Model("incidence ~ np + offset(log(size))", cbpp, "poisson").fit_frequentist()
    np.testing.assert_allclose(fit.fixef, (-1.0101582076, -0.5801395378), rtol=R_PRINTS)
    np.testing.assert_allclose(fit.se, (0.21126582, 0.11149465), rtol=1e-4)
    assert fit.loglik == pytest.approx(-96.2218150041, abs=1e-8)


def test_negative_binomial_is_glm_nb(cbpp):
    fit = pw.Model("incidence ~ np + offset(log(size))", cbpp, "negativebinomial").fit_frequentist()
    np.testing.assert_allclose(fit.fixef, (-1.0979327479, -0.5287872356), rtol=R_PRINTS)
    np.testing.assert_allclose(fit.se, (0.33230588, 0.14866499), rtol=1e-3)
    assert fit.family_parameters["alpha"] == pytest.approx(1.904797463, rel=1e-4)
    assert fit.loglik == pytest.approx(-88.3794253063, abs=1e-7)


def test_gamma_is_glm_with_the_likeliest_shape():
    data = pw.load_dataset("sleepstudy")
    fit = pw.Model("R ~ Days", data.assign(R=data["Reaction"] / 300), "gamma", link="log").fit_frequentist()
    np.testing.assert_allclose(fit.fixef, (-0.16764986371, 0.03502063774), rtol=R_PRINTS)
    assert fit.family_parameters["alpha"] == pytest.approx(41.30296849, rel=1e-6)
    np.testing.assert_allclose(fit.se, (0.0215560196, 0.0040378124), rtol=1e-4)
    assert fit.loglik == pytest.approx(82.7469173317, abs=1e-7)


@pytest.mark.parametrize(
    ("family", "link"), [("binomial", "logit"), ("poisson", "log"), ("gamma", "inverse"), ("gamma", "identity")]
)
def test_a_constant_in_every_group_is_the_groups_mean(family, link):
    rng = np.random.default_rng(0)
    codes, y = np.repeat(np.arange(3), 8), rng.integers(1, 5, 24).astype(float)
    trials = np.full(24, 6.0) if family == "binomial" else np.ones(24)
    rows = ExponentialRows(family, link, y, trials, np.ones(24), family == "gamma")
    # The fourth group has no rows.
    fit = fit_separately(rows, np.ones((24, 1)), np.zeros(24), codes, 4)
    mean = y.reshape(3, 8).mean(axis=1) / (6 if family == "binomial" else 1)
    # Under the identity link the gamma log density is not concave everywhere: the last steps are not quadratic.
    np.testing.assert_allclose(fit.coefficients[:3, 0], LINK[link](mean), rtol=1e-7)
    assert fit.aliased.tolist() == [[False], [False], [False], [True]]
    assert not fit.separations and fit.converged.all()


def test_groups_are_fitted_as_if_alone():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 5, 200)
    X = np.column_stack([np.ones(200), rng.normal(size=200)])
    rows = ExponentialRows("poisson", "log", rng.poisson(3, 200).astype(float), np.ones(200), np.ones(200), False)
    together = fit_separately(rows, X, np.zeros(200), codes, 5)
    for j in range(5):
        own = codes == j
        alone = fit_separately(rows.subset(own), X[own], np.zeros(own.sum()))
        np.testing.assert_allclose(together.coefficients[j], alone.coefficients[0], rtol=1e-7)
        np.testing.assert_allclose(together.inverse[j], alone.inverse[0], rtol=1e-6)
        # The score of a canonical model is zero.
        mu = np.exp(X[own] @ together.coefficients[j])
        np.testing.assert_allclose(X[own].T @ (rows.y[own] - mu), 0, atol=1e-6)


def test_a_group_that_is_separated_is_found_and_the_others_are_not_touched():
    y = np.array([0.0, 1, 0, 1, 1, 1, 1, 1])
    X = np.column_stack([np.ones(8), [0.0, 0, 1, 1] * 2])
    rows = ExponentialRows("binomial", "logit", y, np.ones(8), np.ones(8), False)
    fit = fit_separately(rows, X, np.zeros(8), np.repeat([0, 1], 4), 2)
    assert list(fit.separations) == [1] and fit.converged.all()
    np.testing.assert_allclose(fit.coefficients[0], 0, atol=1e-8)
    assert fit.separations[1].limits(np.eye(2))[0] == np.inf

"""Leaving groups out by importance is the dense density, and agrees with fits that never saw the group.

The two estimates of a group have Monte Carlo errors of their own: within two of their joint errors, but for the one
group in twenty that chance takes beyond. A quadrature of 15 nodes is within 1e-4 of a fine grid where a group has a few
rows.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
from scipy.special import expit

import poolwise as pw
from poolwise.check.leave_group_out import _importance, _refitted, leave_group_out, log_density_of_groups
from poolwise.compile.likelihood import log_density
from poolwise.fit.importance import K_LIMIT

QUADRATURE_ERROR = 1e-4
BOUNCE = "bounce_time ~ std_age + (std_age | county)"
SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return pw.Model(SLEEP, pw.load_dataset("sleepstudy")).fit(seed=1, progress=False)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_density_is_the_dense_one(weighted):
    data = pw.load_dataset("sleepstudy").iloc[:77].assign(w=np.linspace(0.5, 3, 77), shift=np.arange(77.0))
    formula = "Reaction ~ Days + offset(shift) + (Days | Subject)"
    model = pw.Model(formula, data, weights="w" if weighted else None)
    fit = model.fit(draws=400, chains=1, seed=1, progress=False)
    density = log_density_of_groups(fit, fit.design)
    factor, w = fit.design.factors[0], data["w"].to_numpy() if weighted else np.ones(77)
    for d in (0, 57, 399):
        T, sigma = fit.factor_draws(factor)[d], fit.sigma_draws[d]
        for j in (0, factor.J - 1):
            rows = factor.codes == j
            Z = factor.Z[rows]
            V = Z @ T @ T.T @ Z.T + np.diag(sigma**2 / w[rows])
            mean = fit.design.X[rows] @ fit.coefficients[d] + data["shift"].to_numpy()[rows]
            expected = st.multivariate_normal(mean, V).logpdf(data["Reaction"].to_numpy()[rows])
            assert density[d, j] == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
def test_importance_agrees_with_refits():
    """41 groups: under honest errors five or more beyond two of them come 4 times in 100, one beyond four never."""
    z = []
    for formula, data, family in (
        (BOUNCE, "bounce_rates", "gaussian"),
        (SLEEP, "sleepstudy", "gaussian"),
        ("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial"),
    ):
        fit = pw.Model(formula, pw.load_dataset(data), family).fit(seed=1, progress=False)
        found = leave_group_out(fit, refit=False)
        for j, row in enumerate(found.table.itertuples()):
            if row.pareto_k < K_LIMIT:
                elpd, mcse = _refitted(fit, fit.design.factors[0].codes == j, j)
                z.append((row.elpd - elpd) / np.hypot(mcse, row.mcse))
    z = np.abs(z)
    assert len(z) >= 35
    assert (z > 2).sum() <= 4
    assert z.max() < 4
    assert 0.7 < np.sqrt((z**2).mean()) < 1.3, "the stated error is neither too small nor too large"


def test_the_error_counts_what_a_chain_repeats():
    """Each draw of an independent chain twice: half the draws are worth nothing, and the error stays."""
    density = np.random.default_rng(4).normal(size=(4, 500))
    once, error, k = _importance(density.ravel(), 4)
    again, of_repeated, _ = _importance(np.repeat(density, 2, axis=1).ravel(), 4)
    assert again == pytest.approx(once, abs=error)
    assert of_repeated == pytest.approx(error, rel=0.2)
    assert k < 0.5


def test_a_group_out_of_reach_is_refitted():
    rng = np.random.default_rng(2)
    data = pw.load_dataset("dyestuff").assign(x=rng.normal(size=30))
    data.loc[data["Batch"] == "F", "Yield"] += 2000.0
    fit = pw.Model("Yield ~ 1 + (1 | Batch)", data, priors="gelman_half_t").fit(seed=1, progress=False)
    table = fit.logo().table.set_index("group")
    assert table.loc["F", "method"] == "refit"
    assert table.loc["F", "pareto_k"] > 0.7
    kept = fit.logo(refit=False).table.set_index("group")
    assert (kept["method"] == "importance").all()
    assert table.loc["F", "elpd"] < kept.loc["F", "elpd"]


def test_transformations_stay_with_the_rows_they_learned_from(sleep):
    scaled = pw.Model("Reaction ~ scale(Days) + (1 | Subject)", pw.load_dataset("sleepstudy"))
    plain = pw.Model("Reaction ~ Days + (1 | Subject)", pw.load_dataset("sleepstudy"))
    one, two = (leave_group_out(model.fit(seed=3, progress=False)) for model in (scaled, plain))
    assert one.elpd == pytest.approx(two.elpd, abs=1.0)
    assert "18 groups of Subject" in repr(one)


QUADRATURE = {
    "bernoulli": ("y ~ x + (1 | g)", lambda rng, eta: rng.binomial(1, expit(eta))),
    "poisson": ("y ~ x + (x | g)", lambda rng, eta: rng.poisson(np.exp(0.3 * eta))),
    "negativebinomial": (
        "y ~ x + (1 | g)",
        lambda rng, eta: rng.negative_binomial(2, 2 / (2 + np.exp(0.3 * eta))),
    ),
    "gamma": ("y ~ x + (x || g)", lambda rng, eta: rng.gamma(2, np.exp(0.3 * eta) / 2)),
    "weibull": ("y ~ x + (1 | g)", lambda rng, eta: np.exp(0.3 * eta) * rng.weibull(1.5, len(eta))),
    "t": ("y ~ x + (1 | g)", lambda rng, eta: eta + rng.standard_t(4, len(eta))),
    "cumulative": ("y ~ x + (1 | g)", lambda rng, eta: np.digitize(eta + rng.logistic(size=len(eta)), [-1, 1])),
}


@pytest.mark.parametrize("family", QUADRATURE)
def test_the_integral_is_a_fine_grids(family):
    """Adaptive rules of 15 and 9 x 9 nodes against 401 and 201 x 201 points of a trapezium."""
    formula, draw = QUADRATURE[family]
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(5), 6), rng.normal(size=30)
    y = draw(rng, 0.5 + x + rng.normal(size=5)[g])
    data = pd.DataFrame({"y": pd.Categorical(y, ordered=True) if family == "cumulative" else y, "x": x, "g": g})
    model = pw.Model(formula, data, family, link="log" if family == "gamma" else None)
    with warnings.catch_warnings():
        # A few draws are enough: the integral is compared draw by draw.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        fit = model.fit(draws=50, tune=200, chains=1, seed=1, progress=False)
    found = log_density_of_groups(fit, fit.design)
    factor, q = fit.design.factors[0], len(fit.design.factors[0].effects)
    axis = np.linspace(-8, 8, 401 if q == 1 else 201)
    points = np.array(np.meshgrid(*[axis] * q, indexing="ij")).reshape(q, -1)
    log_prior = st.norm.logpdf(points).sum(axis=0) + q * np.log(axis[1] - axis[0])
    for d in (0, 31):
        T, own = fit.factor_draws(factor)[d], {name: value[d : d + 1] for name, value in fit.family_draws.items()}
        base = fit.coefficients[d] @ fit.design.X.T
        eta = base + (factor.Z @ T @ points).T
        density = log_density(fit.design, eta, own)
        for j in range(5):
            total = density[:, factor.codes == j].sum(axis=1) + log_prior
            expected = np.log(np.exp(total - total.max()).sum()) + total.max()
            assert found[d, j] == pytest.approx(expected, abs=QUADRATURE_ERROR)


def test_other_models_are_refused():
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    with pytest.raises(pw.PoolwiseError, match="2 grouping factors, and one is needed"):
        crossed.fit(draws=200, chains=2, seed=1, progress=False).logo()
    data = pd.DataFrame({"y": np.arange(40) % 3 + 0.5, "g": np.arange(40) % 4})
    with pytest.warns(pw.ConvergenceWarning):
        laplace = pw.Model("y ~ 1 + (1 | g)", data, "laplace").fit(draws=20, tune=50, chains=1, seed=1, progress=False)
    with pytest.raises(pw.PoolwiseError, match="family laplace is not of the quadrature's"):
        laplace.logo()

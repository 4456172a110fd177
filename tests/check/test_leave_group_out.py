"""Leaving groups out by importance is the dense density, and agrees with fits that never saw the group.

The two estimates of a group have Monte Carlo errors of their own: four of their joint errors.
"""

import numpy as np
import pytest
import scipy.stats as st

import poolwise as pw
from poolwise.check.leave_group_out import _refitted, leave_group_out, log_density_of_groups

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
@pytest.mark.parametrize(("formula", "data"), [(BOUNCE, "bounce_rates"), (SLEEP, "sleepstudy")])
def test_importance_agrees_with_refits(formula, data):
    fit = pw.Model(formula, pw.load_dataset(data)).fit(seed=1, progress=False)
    found = leave_group_out(fit)
    factor = fit.design.factors[0]
    for j, row in enumerate(found.table.itertuples()):
        elpd, mcse = _refitted(fit, factor.codes == j, j)
        assert row.elpd == pytest.approx(elpd, abs=4 * np.hypot(mcse, row.mcse)), row
    assert found.elpd == pytest.approx(found.table["elpd"].sum())


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


def test_other_models_are_refused():
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    with pytest.raises(pw.PoolwiseError, match="one grouping factor"):
        crossed.fit(draws=200, chains=2, seed=1, progress=False).logo()

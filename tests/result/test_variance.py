"""Pooling, R2, intraclass correlation, contraction and credible intervals.

In a balanced one-way layout the pooling factor tends to (sigma^2 / n) / (sigma^2 / n + tau^2), R2 and the intraclass
correlation to ratios of variances; with 300 groups their sampling error is below 0.02, tolerances 0.06.
Highest-density intervals agree with ArviZ's to a spacing of the draws.
"""

import arviz as az
import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.prior_decides import prior_decides
from poolwise.errors import ArgumentError, FitError
from poolwise.result.credible import highest_density
from poolwise.result.variance import contraction, variance


@pytest.fixture(scope="module")
def layout():
    rng = np.random.default_rng(6)
    J, n = 300, 4
    g, z = np.repeat(np.arange(J), n), rng.normal(size=300)
    y = 2 + (1.5 * z + 0.8 * rng.normal(size=J))[g] + rng.normal(size=J * n)
    data = pd.DataFrame({"y": y, "z": z[g], "g": g.astype(str)})
    return pw.Model("y ~ z + (1 | g)", data).fit(seed=1, progress=False)


def test_levels_tend_to_ratios_of_variances(layout):
    found = layout.variance()
    rows, group = found.levels.to_dict("records")
    pooling = 0.25 / (0.25 + 0.64)
    assert group["level"] == "Intercept | g" and group["pooling"] == pytest.approx(pooling, abs=0.06)
    assert group["r2"] == pytest.approx(2.25 / (2.25 + 0.64), abs=0.06)
    assert group["lower"] < group["r2"] < group["upper"]
    assert rows["r2"] == pytest.approx(1 - 1 / (2.25 + 0.64 + 1), abs=0.06)
    assert found.icc["estimate"].iloc[0] == pytest.approx(0.64 / 1.64, abs=0.06)
    assert len(found.groups) == 300 and found.groups["pooling"].to_numpy() == pytest.approx(pooling, abs=0.06)
    assert (found.groups["lower"] < found.groups["upper"]).all()
    assert found.contraction["contraction"].iloc[0] > 0.95 and prior_decides(layout) == []


def test_rows_are_the_definition(layout):
    design = layout.design
    eps = design.y - layout.linear_predictor()
    pooling = 1 - eps.mean(axis=0).var(ddof=1) / eps.var(axis=1, ddof=1).mean()
    row = variance(layout).levels.iloc[0]
    assert row["pooling"] == pytest.approx(pooling, rel=1e-8)
    assert row["r2"] == pytest.approx(1 - eps.var(axis=1, ddof=1).mean() / design.y.var(ddof=1), rel=1e-8)


def test_two_groups_leave_the_decision_to_the_prior():
    data = pw.load_dataset("dyestuff")
    fit = pw.Model("Yield ~ 1 + (1 | Batch)", data[data["Batch"].isin(["A", "B"])], priors="few_groups").fit(
        seed=1, progress=False, target_accept=0.99
    )
    (finding,) = prior_decides(fit)
    assert finding.code == "prior_decides" and finding.value < finding.threshold == 0.5
    assert "1|Batch_sigma" in finding.title
    # The prior is HalfNormal(s): the distance of its 16 and 84 % quantiles is 0.605 s.
    scale = next(row.prior.params["sigma"] for row in fit.resolved_priors if row.parameter == "1|Batch_sigma")
    assert finding.table["prior"].iloc[0] == pytest.approx(0.605 * scale, rel=0.06)
    assert prior_decides(fit, least=-10) == []
    assert prior_decides(pw.Model("Yield ~ 1 + (1 | Batch)", data).fit(seed=1, progress=False)) == []


def test_other_families_and_improper_priors():
    fit = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial").fit(
        seed=1, progress=False, target_accept=0.99
    )
    found = fit.variance()
    assert found.levels["level"].tolist() == ["Intercept | herd"]
    sd2 = fit.factor_draws(fit.design.factors[0])[:, 0, 0] ** 2
    assert found.icc["estimate"].iloc[0] == pytest.approx((sd2 / (sd2 + np.pi**2 / 3)).mean())
    flat = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"), priors="flat").fit(seed=1, progress=False)
    assert contraction(flat)["contraction"].isna().all() and prior_decides(flat) == []


def test_no_groups(bounce):
    fit = pw.Model("bounce_time ~ std_age", bounce).fit(seed=1, progress=False)
    with pytest.raises(FitError, match="one level only"):
        fit.variance()
    assert prior_decides(fit) == []


def test_highest_density_agrees_with_arviz():
    draws = np.random.default_rng(1).gamma(2.0, size=(4000, 2))
    lower, upper = highest_density(draws, 0.9)
    for k in range(2):
        expected = az.hdi(draws[:, k], prob=0.9)
        assert [lower[k], upper[k]] == pytest.approx(np.asarray(expected).ravel(), abs=0.01)


def test_credible_intervals(layout):
    table = layout.credible_intervals("eti", 0.9, rope=(1.4, 1.6)).set_index("parameter")
    z = layout.coefficients[:, 1]
    assert list(table.index) == ["Intercept", "z", "1|g_sigma", "sigma"]
    assert table.loc["z", ["lower", "upper"]].tolist() == pytest.approx(np.quantile(z, [0.05, 0.95]))
    assert table.loc["z", "p_direction"] == 1 and table.loc["z", "p_rope"] == ((z >= 1.4) & (z <= 1.6)).mean()
    groups = layout.credible_intervals("hdi", of="groups")
    assert list(groups.columns) == ["factor", "group", "term", "estimate", "lower", "upper", "p_direction"]
    assert groups["estimate"].to_numpy() == pytest.approx(layout.coef()["estimate"].to_numpy())
    equal_tailed = layout.credible_intervals("eti", of="groups")
    assert ((groups["upper"] - groups["lower"]) <= (equal_tailed["upper"] - equal_tailed["lower"]) + 0.01).all()
    for options, said in (({"kind": "x"}, "kind"), ({"rope": (1, 0)}, "rope"), ({"of": "x"}, "of must")):
        with pytest.raises(ArgumentError, match=said):
            layout.credible_intervals(**options)

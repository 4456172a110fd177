"""explain_singularity on the two singular examples.

lme4 1.1-31 on bounce: profile limit of sd_slope 1.490 (tests/reference), share of singular refits 0.7275 of 400 (its
simulate and refit; the tolerance 0.08 is 3 Monte Carlo errors of the difference at 300); RLRsim on Dyestuff2 p 0.43;
blme's penalised sd 1.489. elpd of rows left out is held against the dense projection, to rounding.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from conftest import reference
from poolwise.check.single_out import elpd_given_variances
from poolwise.check.singularity import explain_singularity, principal_components
from poolwise.errors import ArgumentError, FitError

BOUNCE = "bounce_time ~ std_age + (std_age | county)"


@pytest.fixture(scope="module")
def why(bounce):
    return explain_singularity(pw.Model(BOUNCE, bounce), n_boot=300, draws=500)


def test_bounce_agrees_with_lme4(why):
    slope = why.sds.set_index("parameter").loc["std_age|county_sigma"]
    limits = reference("bounce__slope.lme4")["ML"]["ci_profile"]["sd_std_age|county"]
    assert slope["lower"] == limits[0] == 0 and slope["upper"] == pytest.approx(limits[1], abs=2e-3)
    assert why.bootstrap == pytest.approx(0.7275, abs=0.08) and 0.02 < why.bootstrap_error < 0.03
    assert slope["rlrt"] == 0 and 0.3 < slope["p"] < 0.6
    curve = why.figure[why.figure["parameter"] == "std_age|county_sigma"]
    assert curve["value"].max() > 1.4


def test_components_are_lme4s(why):
    theta = reference("bounce__slope.lme4")["REML"]["theta"]
    lower = np.array([[theta["county.(Intercept)"], 0], [theta["county.std_age.(Intercept)"], theta["county.std_age"]]])
    expected = np.linalg.svd(lower, compute_uv=False)
    assert why.components["sd"].to_numpy() == pytest.approx(expected, abs=1e-4)
    assert why.components["proportion"].iloc[0] == pytest.approx(1.0, abs=1e-6)
    two = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin")).fit_frequentist()
    assert principal_components(two)["sd"].to_numpy() == pytest.approx(two.theta)


def test_remedies_stand_side_by_side(why, bounce):
    table = why.remedies
    assert list(table.index) == [
        "as it is",
        "drop the term",
        "uncorrelated",
        "boundary-avoiding",
        "Bayes, weakly_informative",
        "Bayes, pc",
    ]
    assert table.loc["drop the term", "formula"] == "bounce_time ~ 1 + std_age + (1 | county)"
    assert table.loc["uncorrelated", "formula"] == "bounce_time ~ 1 + std_age + (1 + std_age || county)"
    assert table["singular"].tolist() == [True, False, True, False, False, False]
    assert table.loc["as it is", "rmse"] == pytest.approx(7.8783, abs=1e-4)
    assert table.loc["as it is", "width conditional std_age"] < 0.1 < 1.8 < table.loc["as it is", "width total std_age"]
    assert (table["width bayes std_age"].dropna() > 2.2).all()
    kinds = why.coef.groupby("remedy")["interval"].unique().map(set)
    assert kinds["Bayes, pc"] == {"bayes"} and kinds["uncorrelated"] == {"total", "conditional"}
    (finding,) = why.findings
    assert finding.code == "singular_fit" and "from 0 to 1.49" in finding.meaning and finding.table is table
    assert "Share of singular refits" in repr(why) and "Remedies" in repr(why)


def test_rows_left_out_at_known_variances(bounce):
    fit = pw.Model(BOUNCE, bounce.iloc[::4]).fit_frequentist()
    design, (T,) = fit.design, fit._group_factors
    A = design.factors[0].Z @ T
    same = design.factors[0].codes[:, None] == design.factors[0].codes
    inverse = np.linalg.inv(np.eye(design.n) * fit.sigma**2 + (A @ A.T) * same)
    X = design.X
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    variance = 1 / np.diag(P)
    residual = variance * (P @ design.y)
    expected = -0.5 * (np.log(2 * np.pi * variance) + residual**2 / variance).sum()
    assert elpd_given_variances(fit) == pytest.approx(expected, rel=1e-10)


def test_dyestuff2():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    why = explain_singularity(model.fit_frequentist(), presets=["few_groups"], n_boot=50, draws=300)
    assert why.sds.loc[0, "upper"] == pytest.approx(2.084, abs=1e-3)
    assert why.sds.loc[0, "p"] == pytest.approx(0.433, abs=0.015)
    assert why.remedies.loc["boundary-avoiding", "sd(Intercept | Batch)"] == pytest.approx(1.489, abs=1e-3)
    assert why.remedies.loc["drop the term", "formula"] == "Yield ~ 1"


def test_what_the_table_does_not_have_is_said(why):
    assert why.notes[-1] == (
        "elpd of REML fits takes the estimated variances as known, that of Bayesian fits averages over what they may "
        "be: compare it among the ones or among the others. Widths: a frequentist fit has no Bayesian interval, a "
        "Bayesian fit neither a conditional nor a total one. A term that was dropped has no sd; its coefficient is the "
        "same in every group."
    )
    assert repr(why).endswith(why.notes[-1]) and why.notes[-1] in why._repr_html_()


def test_a_regular_fit_has_no_finding():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    why = explain_singularity(model, presets=[], n_boot=20, n_sim=1000)
    assert why.findings == [] and list(why.remedies.index) == ["as it is", "boundary-avoiding"]


def test_other_families_say_what_is_left_out():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 20), "y": rng.integers(0, 2, 120)})
    why = explain_singularity(pw.Model("y ~ 1 + (1 | g)", data, "bernoulli"), presets=["weakly_informative"], draws=300)
    assert why.findings and np.isnan(why.bootstrap) and "Gaussian models" in why.notes[0]
    assert "No elpd of frequentist fits by the Laplace approximation: " in why.notes[1]
    assert why.remedies.loc["drop the term", "formula"] == "y ~ 1"


def test_bad_arguments(bounce):
    with pytest.raises(ArgumentError, match="list of presets"):
        explain_singularity(pw.Model(BOUNCE, bounce), presets="pc")
    with pytest.raises(FitError, match="no group-specific effects"):
        explain_singularity(pw.Model("bounce_time ~ std_age", bounce))

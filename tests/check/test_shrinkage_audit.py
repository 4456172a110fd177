"""audit_shrinkage on simulated hospitals.

The likelihood ratio is held against two fits by hand, to 1e-6, their optimisers' tolerance. Rates over seeds are
measured in docs/checks_pooling.md over 400; here 12 with the slope (power at least 0.95: fewer than 9 have probability
0.2 %) and 25 without (more than 5 at 5 % have probability 0.1 %).
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtr

import poolwise as pw
from poolwise.check.mixed import mixed_predictive
from poolwise.check.shrinkage_audit import audit_shrinkage, bins
from poolwise.errors import ArgumentError, DataError, FitError

HC = "p(died, patients) ~ risk + (1 | hospital)"


def hospitals(seed: int, slope: float = -0.2, J: int = 100) -> pw.Model:
    return pw.Model(HC, pw.hospital_mortality(J, slope, seed=seed), "binomial")


def test_the_quintile_table_has_the_pattern():
    audit = audit_shrinkage(hospitals(2, J=600), bayes=False)
    table = audit.calibration
    first, last = table.iloc[0], table.iloc[-1]
    assert len(table) == 5 and table["groups"].sum() == 600
    assert first["observed"] - first["predicted"] > 0.03 > abs(first["observed"] - first["predicted_with"])
    assert last["observed"] < last["predicted"] < last["observed"] + 0.02
    assert first["flagged_high"] == 0
    truth = pw.hospital_mortality(600, seed=2)
    by = truth.groupby("hospital", observed=True)
    size = by["patients"].sum()
    small = truth["hospital"].map(size) <= size.quantile(0.2)
    rate = (truth["probability"] * truth["patients"])[small].sum() / truth["patients"][small].sum()
    assert abs(first["predicted_with"] - rate) < abs(first["predicted"] - rate) / 3
    (finding,) = audit.findings
    assert finding.code == "undue_shrinkage" and "fifth with the lowest" in finding.title
    assert audit.formula == "p(died, patients) ~ 1 + risk + log_n + (1 | hospital)" and audit.formula in finding.advice
    contrast = audit.mixed.iloc[-1]
    assert contrast["bin"] == "first - last" and contrast["p"] < 0.01 and contrast["observed"] > contrast["upper"]
    assert set(audit.figure["kind"]) == {"observed", "predicted", "predicted_with"}


def test_the_likelihood_ratio_is_that_of_two_fits():
    data = pw.hospital_mortality(60, seed=4)
    audit = audit_shrinkage(pw.Model(HC, data.drop(columns="log_n"), "binomial"), bayes=False)
    one = pw.Model(HC, data, "binomial").fit_frequentist()
    two = pw.Model(HC.replace("risk", "risk + log_n"), data, "binomial").fit_frequentist()
    row = audit.coefficient.iloc[0]
    assert row["estimate"] == pytest.approx(two.fixef["log_n"], rel=1e-4)
    assert row["p"] == pytest.approx(2 * stdtr(58, -np.sqrt(one.criterion - two.criterion)), rel=1e-4)


def test_it_is_found_where_it_is_and_not_where_it_is_not():
    found = [bool(audit_shrinkage(hospitals(seed), bayes=False).findings) for seed in range(12)]
    assert sum(found) >= 9
    found = [bool(audit_shrinkage(hospitals(seed, 0.0), bayes=False).findings) for seed in range(25)]
    assert sum(found) <= 5


def test_the_posterior_agrees_and_the_repaired_model_is_clean():
    audit = audit_shrinkage(hospitals(1), draws=300)
    likelihood, posterior = audit.coefficient.to_dict("records")
    assert posterior["estimate"] == pytest.approx(likelihood["estimate"], abs=0.02) and posterior["p"] < 0.05
    assert audit.comparison["elpd_difference"].iloc[1] > 0 and audit.comparison["elpd_se"].iloc[1] > 0
    # The covariate predicts whole groups better too.
    assert audit.comparison["elpd_groups_difference"].iloc[1] > audit.comparison["elpd_groups_se"].iloc[1]
    assert audit.mixed["p"].iloc[-1] < 0.1
    data = pw.hospital_mortality(100, seed=1)
    repaired = pw.Model(HC.replace("risk", "risk + log_n"), data, "binomial")
    again = audit_shrinkage(repaired.fit_frequentist(), bayes=False)
    assert again.findings == [] and again.coefficient.empty and "combination" in again.notes[0]
    assert again.mixed["p"].iloc[-1] > 0.1


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_any_covariate_and_other_families(family):
    rng = np.random.default_rng(5)
    J, n = 40, 6
    g = np.repeat(np.arange(J), n)
    nurses, x = rng.normal(size=J), rng.normal(size=J * n)
    eta = 1 + 0.3 * x + (0.8 * nurses + 0.3 * rng.normal(size=J))[g]
    y = eta + rng.normal(size=len(eta)) if family == "gaussian" else rng.poisson(np.exp(eta))
    data = pd.DataFrame({"y": y, "x": x, "g": [f"g{j:02d}" for j in g]})
    by_group = pd.Series(nurses, index=[f"g{j:02d}" for j in range(J)], name="nurses")
    model = pw.Model("y ~ x + (x | g)", data, family)
    audit = audit_shrinkage(model, by_group, bayes=False)
    assert audit.covariate == "nurses" and audit.findings and "nurses" in audit.formula
    assert audit.coefficient["estimate"].iloc[0] == pytest.approx(0.8, abs=0.25)
    wrong = audit_shrinkage(model, by_group.sample(frac=1, random_state=3).set_axis(by_group.index), bayes=False)
    assert wrong.findings == []
    # All groups have one size: there is nothing to hold their levels against.
    assert "the same for all groups" in audit_shrinkage(model, bayes=False).notes[0]


def test_a_covariate_of_the_table_and_several_factors():
    data = pw.load_dataset("radon")
    model = pw.Model("log_radon ~ floor + (1 | county)", data)
    uranium = data.groupby("county", observed=True)["log_uranium"].first()
    audit = audit_shrinkage(model, uranium, bayes=False)
    # Gelman & Hill (2007), section 12.6: the coefficient of uranium is 0.72 in their table of 919 houses.
    assert audit.findings and audit.coefficient["estimate"].iloc[0] == pytest.approx(0.72, abs=0.03)
    assert audit_shrinkage(pw.Model(audit.formula, data), "log_uranium", bayes=False).findings == []
    pen = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    audit = audit_shrinkage(pen, {s: k for k, s in enumerate("ABCDEF")}, factor="sample", bayes=False)
    assert audit.covariate == "covariate" and len(audit.mixed) == 4


def test_replications_have_the_spread_of_the_population():
    # One row a group: a bin's mean of m rows has variance (tau^2 + sigma^2 / n) / m around the common mean.
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(60), 5)
    data = pd.DataFrame({"y": 3 * rng.normal(size=60)[g] + rng.normal(size=300), "g": g.astype(str)})
    fit = pw.Model("y ~ 1 + (1 | g)", data).fit_frequentist()
    table = mixed_predictive(fit, fit.design.factors[0], np.arange(60) % 3, replications=4000)
    expected = 2 * 1.96 * np.sqrt((fit.theta[0] ** 2 * fit.sigma**2 + fit.sigma**2 / 5) / 20)
    assert (table["upper"] - table["lower"]).iloc[0] == pytest.approx(expected, rel=0.05)


def test_bins_keep_equal_values_together():
    assert bins(np.array([1.0, 1, 1, 2, 3]), 5).tolist() == [0, 0, 0, 1, 2]
    assert np.bincount(bins(np.arange(10.0), 5)).tolist() == [2, 2, 2, 2, 2]


def test_what_is_no_covariate_is_refused(bounce):
    model = hospitals(1, J=20)
    for given, said in (("risk", "differs within"), ("nurses", "no column"), ({"h01": 1.0}, "one number for each")):
        with pytest.raises(DataError, match=said):
            audit_shrinkage(model, given, bayes=False)
    with pytest.raises(FitError, match="nothing is shrunk"):
        audit_shrinkage(pw.Model("bounce_time ~ std_age", bounce))
    with pytest.raises(ArgumentError, match="alpha"):
        audit_shrinkage(model, alpha=0)

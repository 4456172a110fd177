"""Slopes between and within groups.

The table is held against the fit of the formula it advises, to 1e-7, the rounding of two optimisations (1e-4 for the
Laplace one); complete-pooling and within slopes against 4.68 and 1.30, the article's figures, to their
rounding. The null rate has 60 data sets, at 5 %: more than 9 have probability 0.2 %; docs/checks_pooling.md has 200.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.between_within import between_within, slopes_between_within
from poolwise.errors import ArgumentError

BOUNCE = "bounce_time ~ std_age + (std_age | county)"


def confounded(seed: int, contextual: float, J: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), 8)
    x = rng.normal(size=J)[g] + rng.normal(size=len(g))
    mean = np.bincount(g, x)[g] / 8
    y = 0.5 * x + contextual * mean + rng.normal(size=J)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"g": g.astype(str), "x": x, "y": y})


def test_bounce_fires(bounce):
    (finding,) = between_within(pw.Model(BOUNCE, bounce))
    row = finding.table.iloc[0]
    assert finding.code == "between_within"
    assert row["complete_pooling"] == pytest.approx(4.68, abs=5e-3) and row["within"] == pytest.approx(1.30, abs=0.06)
    assert row["p_rows"] < 1e-4 and row["p"] > 0.05 and finding.severity == "note"
    assert abs(row["complete_pooling"] - row["within"]) > 1.96 * row["se_within"]
    assert "data['std_age_mean'] = data.groupby('county')['std_age'].transform('mean')" in finding.advice


def test_without_complete_pooling_chance_is_no_finding(bounce):
    assert between_within(pw.Model(BOUNCE, bounce), complete_pooling=False) == []


def test_a_note_only_where_complete_pooling_misleads():
    """Slopes that differ leave much open of the slope within; complete pooling's then lies inside its interval."""
    noted = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        g = np.repeat(np.arange(20), 12)
        x = rng.normal(size=20)[g] + rng.normal(size=240)
        y = rng.normal(size=20)[g] + x * (1 + rng.normal(size=20)[g]) + rng.normal(size=240)
        data = pd.DataFrame({"y": y, "x": x, "g": g.astype(str)})
        for finding in between_within(pw.Model("y ~ x + (x | g)", data)):
            row = finding.table.iloc[0]
            if finding.severity == "note":
                noted += 1
                assert row["p_rows"] < 0.05 < row["p"]
                assert abs(row["complete_pooling"] - row["within"]) > 1.95 * row["se_within"]
    assert noted <= 3


def test_the_advised_formula_gives_the_table(bounce):
    (finding,) = between_within(pw.Model(BOUNCE, bounce))
    means = bounce.groupby("county", observed=True)["std_age"].transform("mean")
    again = pw.Model(finding.table.attrs["formula"], bounce.assign(std_age_mean=means)).fit_frequentist()
    row = finding.table.iloc[0]
    assert again.fixef["std_age"] == pytest.approx(row["within"], rel=1e-7)
    assert again.fixef["std_age_mean"] == pytest.approx(row["contextual"], rel=1e-7)
    assert again.se["std_age_mean"] == pytest.approx(row["se"], rel=1e-7)
    assert again.se["std_age"] == pytest.approx(row["se_within"], rel=1e-7)


def test_a_contextual_effect_is_a_warning_and_opposite_signs_are_serious():
    (finding,) = between_within(pw.Model("y ~ x + (1 | g)", confounded(1, 2.0)))
    assert finding.severity == "warning" and finding.value < finding.threshold == 0.05
    (finding,) = between_within(pw.Model("y ~ x + (1 | g)", confounded(1, -2.0)).fit_frequentist())
    assert finding.severity == "serious" and "opposite" in finding.meaning


def test_balanced_predictors_have_one_slope():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    assert slopes_between_within(model).empty and between_within(model) == []
    assert between_within(pw.Model("y ~ x", confounded(1, 2.0))) == []


def test_one_coefficient_fires_at_its_nominal_rate():
    fired = 0
    for seed in range(60):
        found = between_within(pw.Model("y ~ x + (1 | g)", confounded(seed, 0.0)))
        fired += any(finding.severity != "note" for finding in found)
    assert fired <= 9


def test_with_varying_slopes_a_doubtful_p_is_held_against_replicates():
    """The t test alone takes 20 groups' covariance as known; its p may only grow."""
    from scipy import stats

    grown = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        g = np.repeat(np.arange(20), 12)
        x = rng.normal(size=20)[g] + rng.normal(size=240)
        y = rng.normal(size=20)[g] + x * (1 + rng.normal(size=20)[g]) + rng.normal(size=240)
        model = pw.Model("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g.astype(str)}))
        row = slopes_between_within(model).iloc[0]
        alone = 2 * stats.t.sf(abs(row["contextual"] / row["se"]), row["df"])
        assert row["p"] >= alone - 1e-12
        # Multiples of 1/1001 where replicates were drawn, the t test's own p elsewhere.
        drawn = row["p"] * 1001
        assert row["p"] == pytest.approx(alone) or drawn == pytest.approx(round(drawn))
        if 1e-4 < alone < 0.1:
            grown += row["p"] > alone
    assert grown >= 3


def test_binomial_rows_count_by_their_trials():
    data = pw.hospital_mortality(40, seed=3)
    table = slopes_between_within(pw.Model("p(died, patients) ~ risk + (1 | hospital)", data, "binomial"))
    weighted = data["risk"] * data["patients"]
    by = data["hospital"]
    data["m"] = weighted.groupby(by, observed=True).transform("sum") / data.groupby(by, observed=True)[
        "patients"
    ].transform("sum")
    fit = pw.Model("p(died, patients) ~ risk + m + (1 | hospital)", data, "binomial").fit_frequentist()
    assert table["contextual"].iloc[0] == pytest.approx(fit.fixef["m"], rel=1e-4)


def test_alpha_is_a_probability():
    with pytest.raises(ArgumentError, match="alpha"):
        between_within(pw.Model("y ~ x + (1 | g)", confounded(1, 0.0)), alpha=2)

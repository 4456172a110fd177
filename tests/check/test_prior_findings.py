"""The lint finds each pitfall in a model made for it, and is silent on the bundled data under the default preset."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.public import prior_findings

BUNDLED = {
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "radon": "log_radon ~ floor + log_uranium + (floor | county)",
    "dyestuff": "Yield ~ 1 + (1 | Batch)",
    "dyestuff2": "Yield ~ 1 + (1 | Batch)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
}


def codes(model: pw.Model) -> list[str]:
    return [finding.code for finding in prior_findings(model.specification, model.fit_frequentist())]


@pytest.mark.parametrize("name", BUNDLED)
def test_the_default_is_silent_on_the_bundled_data(name):
    assert codes(pw.Model(BUNDLED[name], pw.load_dataset(name))) == []


def test_the_second_article_is_in_conflict_with_its_data():
    model = pw.Model(BUNDLED["bounce_rates"], pw.load_dataset("bounce_rates"), priors="article_2020_lmm")
    conflict = next(
        f for f in prior_findings(model.specification, model.fit_frequentist()) if f.code == "prior_conflict"
    )
    # (4 - 1.30) / hypot(1, 0.478)
    assert conflict.value == pytest.approx(2.43, abs=0.05)
    assert "std_age" in conflict.title


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g = np.repeat(list("abcde"), 10)
    return pd.DataFrame(
        {"g": g, "x": rng.normal(size=50), "y": rng.normal(size=50) + np.repeat(rng.normal(size=5), 10)}
    )


@pytest.mark.parametrize(
    ("priors", "code"),
    [
        ({"x": pw.Prior("Normal", mu=0, sigma=1000)}, "prior_scale"),
        ({"1|g_sigma": pw.Prior("HalfNormal", sigma=0.001)}, "prior_scale"),
        ({"sigma": pw.Prior("HalfNormal", sigma=5000)}, "prior_scale"),
        ({"1|g_sigma": pw.Prior("HalfCauchy", beta=1)}, "heavy_tail_few_groups"),
        ({"x|g_sigma": pw.Prior("HalfStudentT", nu=1, sigma=1)}, "heavy_tail_few_groups"),
        ({"1|g_sigma": pw.Prior("Gamma", alpha=2, beta=0.1)}, "gamma_for_mode"),
        ({"corr|g": pw.Prior("LKJ", eta=1)}, "lkj_one"),
        ({"x": pw.Prior("Normal", mu=8, sigma=1)}, "prior_conflict"),
    ],
)
def test_each_pitfall_is_found(priors, code):
    model = pw.Model("y ~ x + (x | g)", table(), priors=priors)
    assert codes(model) == [code]


def test_units_that_changed_are_found():
    data = table()
    changed = data.assign(y=data["y"] * 1000)
    kept = pw.load_preset("weakly_informative").override({"sigma": pw.Prior("HalfNormal", sigma=2)})
    assert codes(pw.Model("y ~ x + (x | g)", data, priors=kept)) == []
    assert "prior_scale" in codes(pw.Model("y ~ x + (x | g)", changed, priors=kept))


def test_priors_at_zero_on_a_distant_predictor_are_found():
    data = table().assign(x=lambda d: d["x"] + 2000)
    model = pw.Model("y ~ x + (x | g)", data, priors="bambi_0_21")
    found = codes(model)
    assert "uncentred_slope" in found and "prior_scale" in found


def test_a_prior_of_an_intercept_that_is_not_there_is_refused():
    with pytest.raises(pw.PoolwiseError, match="no parameter 'Intercept' in this model"):
        pw.Model("y ~ 0 + x + (1 | g)", table(), priors={"Intercept": pw.Prior("Normal", mu=0, sigma=1)})


def test_a_study_lists_them():
    study = pw.compare_pooling(
        "y ~ x + (x | g)", table(), priors={"x": pw.Prior("Normal", mu=8, sigma=1)}, seed=1, progress=False
    )
    assert "prior_conflict" in study.findings.codes

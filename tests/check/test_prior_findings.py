"""The lint finds each pitfall in a model made for it, and is silent on the bundled data under the default preset."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.prior_scale import response_scale_on_log
from poolwise.check.public import prior_findings
from poolwise.priors.draw import draw_prior

BUNDLED = {
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "radon": "log_radon ~ floor + log_uranium + (floor | county)",
    "dyestuff": "Yield ~ 1 + (1 | Batch)",
    "dyestuff2": "Yield ~ 1 + (1 | Batch)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
    "insteval": "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
}


def codes(model: pw.Model) -> list[str]:
    return [finding.code for finding in prior_findings(model.specification, model.fit_frequentist())]


@pytest.mark.parametrize("name", BUNDLED)
def test_the_default_is_silent_on_the_bundled_data(name):
    assert codes(pw.Model(BUNDLED[name], pw.load_dataset(name))) == []


def test_the_default_is_silent_on_the_bundled_binomial_data():
    model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
    assert model.check_priors().codes == []


@pytest.mark.parametrize(("groups", "found"), [("aabb", True), ("abc", True), ("abcd", False)])
def test_a_flat_sd_needs_four_groups(groups, found):
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"y": rng.normal(size=24), "g": (list(groups) * 24)[:24]})
    data["y"] += 2.0 * pd.factorize(data["g"])[0]
    assert ("flat_few_groups" in codes(pw.Model("y ~ 1 + (1 | g)", data, priors="flat"))) is found


def test_a_model_lints_its_own_priors():
    """The door is the same lint: nothing under the default, the conflict under the article's priors."""
    model = pw.Model(BUNDLED["bounce_rates"], pw.load_dataset("bounce_rates"))
    assert model.check_priors().codes == []
    assert model.with_priors("article_2020_lmm").check_priors().codes == codes(model.with_priors("article_2020_lmm"))
    assert "prior_conflict" in model.with_priors("article_2020_lmm").check_priors().codes


def test_the_second_article_is_in_conflict_with_its_data():
    model = pw.Model(BUNDLED["bounce_rates"], pw.load_dataset("bounce_rates"), priors="article_2020_lmm")
    conflict = next(
        f for f in prior_findings(model.specification, model.fit_frequentist()) if f.code == "prior_conflict"
    )
    # (4 - 1.303) / hypot(1, 0.478 t / 1.96), t = 2.365 with 7 degrees of freedom; 10,000 draws say 1 +- 0.02.
    assert conflict.value == pytest.approx(2.697 / np.hypot(1, 0.478 * 2.365 / 1.96), abs=0.05)
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
        ({"Intercept": pw.Prior("Normal", mu=-9, sigma=1)}, "prior_conflict"),
        ({"x": pw.Prior("Cauchy", alpha=40, beta=1)}, "prior_conflict"),
        ({"Intercept": pw.Prior("Normal", mu=0, sigma=1000)}, "prior_scale"),
        ({"x": pw.Prior("Normal", mu=0, sigma=0.0001)}, "prior_scale"),
        ({"1|g_sigma": pw.Prior("HalfNormal", sigma=30)}, "prior_scale"),
        ({"1|g_sigma": pw.Prior("Gamma", alpha=20, beta=0.1)}, "prior_scale"),
        ({"1|g_sigma": pw.Prior("HalfNormal", sigma=0.05)}, "prior_scale"),
        ({"sigma": pw.Prior("HalfNormal", sigma=0.2)}, "prior_scale"),
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


def test_the_narrow_intercept_of_the_second_article_is_noted():
    model = pw.Model(BUNDLED["bounce_rates"], pw.load_dataset("bounce_rates"), priors="article_2020_lmm")
    found = {finding.code: finding for finding in prior_findings(model)}
    assert set(found) == {"prior_conflict", "prior_dominates", "lkj_one"}
    # Normal(200, 1) agrees with 200.8, but is 4.97 t / 1.96 times narrower than what eight counties tell.
    assert found["prior_dominates"].value == pytest.approx(4.971 * 2.365 / 1.96, rel=0.05)
    assert "'Intercept'" in found["prior_dominates"].title


def test_few_groups_need_a_greater_distance():
    """The same prior is in conflict with an effect measured in sixty groups, not with one measured in three."""
    rng = np.random.default_rng(3)

    def distance(J: int) -> float:
        g = np.repeat(np.arange(J), 200)
        x = rng.normal(size=len(g))
        slopes = stretched(rng.normal(size=J))
        data = pd.DataFrame({"g": g.astype(str), "x": x, "y": slopes[g] * x + rng.normal(size=len(g))})
        model = pw.Model("y ~ x + (x | g)", data, priors={"x": pw.Prior("Normal", mu=2.5, sigma=0.5)})
        conflict = [finding.value for finding in prior_findings(model) if finding.code == "prior_conflict"]
        return conflict[0] if conflict else 0.0

    def stretched(values):
        return (values - values.mean()) / values.std(ddof=1)

    assert distance(3) == 0.0
    assert distance(60) > 3


def test_milliseconds_are_not_seconds():
    data = pw.load_dataset("sleepstudy")
    preset = {
        "Days": pw.Prior("Normal", mu=0.01, sigma=0.01),
        "1|Subject_sigma": pw.Prior("HalfNormal", sigma=0.05),
        "sigma": pw.Prior("HalfNormal", sigma=0.05),
    }
    in_seconds = data.assign(Reaction=data["Reaction"] / 1000)
    assert codes(pw.Model(BUNDLED["sleepstudy"], in_seconds, priors=preset)) == []
    found = prior_findings(pw.Model(BUNDLED["sleepstudy"], data, priors=preset))
    assert found.codes == ["prior_scale"] * 3
    assert all("narrower" in finding.meaning for finding in found)


def test_a_narrow_prior_at_the_estimate_is_somebodys_knowledge():
    data = table()
    estimate = pw.Model("y ~ x + (x | g)", data).fit_frequentist().fixef["x"]
    model = pw.Model("y ~ x + (x | g)", data, priors={"x": pw.Prior("Normal", mu=estimate, sigma=0.001)})
    assert codes(model) == ["prior_dominates"]


def test_a_rare_indicator_is_not_another_unit():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 100).astype(str), "y": rng.normal(size=2000)})
    data["rare"] = (np.arange(2000) % 1000 == 0).astype(float)
    assert codes(pw.Model("y ~ rare + (1 | g)", data, priors="rstanarm")) == []


def test_three_effects_share_lkj_one():
    rng = np.random.default_rng(7)
    data = table().assign(z=rng.normal(size=50))
    # A single correlation among three effects is Beta(1.5, 1.5): 3.7 % beyond -0.9 and 0.9.
    prior = {"corr|g": pw.Prior("LKJ", eta=1)}
    assert "lkj_one" not in codes(pw.Model("y ~ x + z + (x + z | g)", data, priors=prior))
    (found,) = prior_findings(pw.Model("y ~ x + (x | g)", data, priors=prior))
    assert found.value == pytest.approx(0.1)


def test_a_preset_for_an_intercept_that_is_not_there_is_found():
    preset = pw.load_preset("weakly_informative").override({"Intercept": pw.Prior("Normal", mu=0, sigma=1)})
    found = prior_findings(pw.Model("y ~ 0 + x + (1 | g)", table(), priors=preset))
    assert found.codes == ["intercept_prior_without_intercept"]
    assert prior_findings(pw.Model("y ~ x + (1 | g)", table(), priors=preset)).codes == []
    assert prior_findings(pw.Model("y ~ 0 + x + (1 | g)", table())).codes == []


def test_gamma_at_the_rate_of_the_data_is_no_pitfall():
    model = pw.Model("y ~ x + (x | g)", table(), priors="boundary_avoiding")
    assert codes(model) == []


def test_half_cauchy_with_many_groups_is_no_pitfall():
    model = pw.Model(
        BUNDLED["sleepstudy"],
        pw.load_dataset("sleepstudy"),
        priors={"1|Subject_sigma": pw.Prior("HalfCauchy", beta=25)},
    )
    assert codes(model) == []


def test_a_specification_alone_is_judged_by_its_units():
    model = pw.Model(
        "y ~ x + (x | g)",
        table(),
        priors={"x": pw.Prior("Normal", mu=8, sigma=1), "sigma": pw.Prior("HalfNormal", sigma=5000)},
    )
    assert prior_findings(model.specification).codes == ["prior_scale"]
    assert sorted(prior_findings(model).codes) == ["prior_conflict", "prior_scale"]


def test_data_without_a_reml_fit_are_linted_too():
    data = pd.DataFrame({"g": list("aabb"), "x": [0.0, 1, 3, 4], "z": [1.0, 0, 1, 1], "y": [1.0, 2, 0, 1]})
    model = pw.Model("y ~ x + z + (1 | g)", data, priors={"sigma": pw.Prior("HalfNormal", sigma=5000)})
    assert prior_findings(model).codes == ["prior_scale"]


@pytest.mark.parametrize("preset", sorted(pw.presets()["name"]))
def test_every_preset_can_be_linted(preset):
    model = pw.Model(BUNDLED["sleepstudy"], pw.load_dataset("sleepstudy"), priors=preset)
    found = prior_findings(model)
    assert set(found.codes) <= {"lkj_one"} or preset.startswith("article")


def test_findings_say_value_threshold_meaning_advice_and_source():
    model = pw.Model(BUNDLED["bounce_rates"], pw.load_dataset("bounce_rates"), priors="article_2020_foundations")
    for finding in prior_findings(model):
        assert np.isfinite([finding.value, finding.threshold]).all()
        assert all(text.endswith(".") for text in (finding.meaning, finding.advice, finding.reference))


# What brms gives the group sd of log sigma on sleepstudy, and Bambi the intercept of log sigma; log sd(y) = 4.03 there.
LOG = [
    (pw.Prior("HalfStudentT", nu=3, sigma=59.3), None, True),
    (pw.Prior("HalfStudentT", nu=3, sigma=2.5), None, False),
    (pw.Prior("HalfNormal", sigma=0.5), None, False),
    (pw.Prior("Normal", mu=0, sigma=1), 4.03, True),
    (pw.Prior("Normal", mu=4.03, sigma=1), 4.03, False),
    (pw.Prior("StudentT", nu=3, mu=0, sigma=2.5), 4.03, False),
    (pw.Prior("Normal", mu=200, sigma=100), 4.03, True),
]


@pytest.mark.parametrize(("prior", "typical", "found"), LOG, ids=str)
def test_response_units_on_a_log_scale(prior, typical, found):
    values = draw_prior(prior, 10_000, np.random.default_rng(1))
    result = response_scale_on_log("sigma_Intercept", prior, values, typical=typical)
    assert [finding.code for finding in result] == ["response_scale_on_log"] * found
    assert response_scale_on_log("sigma_Intercept", prior, values, scale="response", typical=typical) == []

"""Every check has a data set where it fires and one where it does not."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.finding import Finding, Findings
from poolwise.check.public import interval_widths, intervals_by_kind, singular_fit, unreliable_elpd, vanishing_intervals

SLEEP = "Reaction ~ Days + (Days | Subject)"


def fit(formula: str, data: str):
    return pw.Model(formula, pw.load_dataset(data)).fit_frequentist()


@pytest.mark.parametrize(
    ("formula", "data", "said"),
    [
        ("Yield ~ 1 + (1 | Batch)", "dyestuff2", "sd(Intercept) = 0"),
        ("bounce_time ~ std_age + (std_age | county)", "bounce_rates", "correlation(Intercept, std_age) = +1.00"),
    ],
)
def test_a_singular_fit_is_found(formula, data, said):
    (finding,) = singular_fit(fit(formula, data))
    assert finding.code == "singular_fit" and said in finding.title
    assert finding.value < finding.threshold == 1e-4


@pytest.mark.parametrize(
    ("formula", "data"),
    [(SLEEP, "sleepstudy"), ("Yield ~ 1 + (1 | Batch)", "dyestuff"), ("bounce_time ~ std_age", "bounce_rates")],
)
def test_a_regular_fit_is_not_singular(formula, data):
    assert singular_fit(fit(formula, data)) == []


def test_intervals_vanish_only_where_they_do(bounce_study):
    found = vanishing_intervals(bounce_study.reml, bounce_study.bayes)
    assert [finding.code for finding in found] == ["vanishing_intervals"]
    widths = interval_widths(bounce_study.reml, bounce_study.bayes)
    slopes = widths[widths["term"] == "std_age"]
    assert (slopes["conditional"] < slopes["total"]).all() and (slopes["total"] < slopes["bayes"]).all()
    assert widths["n"].is_monotonic_increasing and slopes["ratio"].max() < 0.1
    # The widths are those of the intervals of each fit, group by group.
    for kind, fit in (("total", bounce_study.reml), ("bayes", bounce_study.bayes)):
        own = fit.coef(kind).query("term == 'std_age'").set_index("group")
        assert (slopes.set_index("group")[kind] - (own["upper"] - own["lower"])).abs().max() < 1e-12
    kinds = intervals_by_kind(bounce_study.reml, bounce_study.bayes).set_index("kind")
    assert (kinds.loc["bayes", "ratio"] == 1).all() and len(kinds) == 3 * 2 * 8
    assert vanishing_intervals(bounce_study.reml, bounce_study.bayes, width_ratio=0.01) == []
    model = pw.Model(SLEEP, pw.load_dataset("sleepstudy"))
    assert vanishing_intervals(model.fit_frequentist(), model.fit(seed=1, progress=False)) == []


def test_an_outlier_makes_elpd_unreliable(bounce_study):
    assert unreliable_elpd(bounce_study.bayes.loo(pointwise=True)) == []
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(list("abcde"), 6), "y": rng.normal(size=30)})
    data.loc[4, "y"] = 60.0
    outlying = pw.Model("y ~ 1 + (1 | g)", data).fit(seed=1, progress=False)
    with pytest.warns(UserWarning, match="Pareto"):
        loo = outlying.loo(pointwise=True)
    (finding,) = unreliable_elpd(loo)
    assert 4 in finding.table["row"].to_list()


def test_findings_are_ranked_and_escaped():
    def finding(severity):
        return Finding("code", severity, "<script>alert(1)</script>", 1.0, 0.5, "m", "a", "r")

    findings = Findings([finding("note"), finding("serious"), finding("warning")])
    assert [one.severity for one in findings] == ["serious", "warning", "note"]
    assert "<script>" not in findings._repr_html_() and "&lt;script&gt;" in findings._repr_html_()
    assert repr(Findings()) == "No findings."


def test_a_finding_says_what_it_means_and_what_to_do():
    finding = Finding("code", "warning", "a title", 1.0, 0.5, "a meaning", "an advice", "a reference")
    assert str(finding).splitlines() == [
        "WARNING  code: a title",
        "  means  a meaning",
        "  do     an advice",
        "  see    a reference",
        "  next   docs/howto/findings.md#code",
    ]
    assert Findings([finding]).codes == ["code"]
    assert repr(Findings([finding])) == str(finding)
    assert Findings()._repr_html_() == "<p>No findings.</p>"


def test_the_label_of_a_group_is_escaped_in_html():
    rng = np.random.default_rng(4)
    # One group of one row, whose regression of its own is not identified: the finding names it.
    g = [*np.repeat(list("abcd"), 6), "<script>"]
    data = pd.DataFrame({"g": g, "x": rng.normal(size=25), "y": rng.normal(size=25)})
    study = pw.compare_pooling("y ~ x + (1 | g)", data, seed=1, progress=False)
    assert "too_few_rows" in study.findings.codes
    assert "<script>" in repr(study.findings)
    assert "<script>" not in study.findings._repr_html_() + study._repr_html_()

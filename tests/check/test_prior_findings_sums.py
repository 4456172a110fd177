"""Findings about priors need no rows: from sums and from counts they are those of the rows.

Tolerance 1e-9 relative: the sums differ by rounding, the estimates by where two optimisers stop, which the sd of the
Laplace fit feels most (1e-6).
"""

import numpy as np
import pytest

import poolwise as pw
from poolwise.check.prior_evidence import evidence
from poolwise.check.prior_scale import natural_scales
from poolwise.check.public import prior_findings

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
RTOL = 1e-9
SUMS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "radon": "log_radon ~ floor + log_uranium + (floor | county)",
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
}


def both(name: str, formula: str, family: str = "gaussian", **options) -> list[pw.Model]:
    rows = pw.load_dataset(name)
    return [pw.Model(formula, data, family, **options) for data in (rows, pw.collapse(rows, formula, family=family))]


def same(found, expected, rtol):
    assert list(found) == list(expected)
    for name, seen in expected.items():
        for field in ("estimate", "se", "widened", "least"):
            assert getattr(found[name], field) == pytest.approx(
                getattr(seen, field), rel=rtol, abs=rtol, nan_ok=True
            ), name


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("name", SUMS)
def test_evidence_of_sums_is_that_of_the_rows(name, centred):
    first, second = both(name, SUMS[name])
    assert natural_scales(second.design) == pytest.approx(natural_scales(first.design), rel=RTOL)
    # Estimates at two stops of one optimum agree to the root of the criterion's rounding.
    theirs, ours = (evidence(model.design, model.fit_frequentist(), centred=centred) for model in (first, second))
    same(ours, theirs, 1e-6)


@pytest.mark.parametrize("form", ["rows", "counts"])
def test_evidence_of_counts_is_that_of_the_rows(form):
    formula = "p(incidence, size) ~ period + (1 | herd)"
    first, second = both("cbpp", formula, "binomial")
    own, model = natural_scales(first.design), {"rows": first, "counts": second}[form]
    # No parameter of these families has the unit of a residual sd.
    assert natural_scales(model.design) | {"sigma": 1.0} == pytest.approx(own | {"sigma": 1.0}, rel=RTOL)
    same(
        evidence(model.design, model.fit_frequentist(), centred=True),
        evidence(first.design, first.fit_frequentist(), centred=True),
        1e-6,
    )


@pytest.mark.parametrize(
    ("name", "priors", "code"),
    [
        ("bounce_rates", "article_2020_lmm", "prior_conflict"),
        ("sleepstudy", {"Days": pw.Prior("Normal", mu=0, sigma=0.01)}, "prior_scale"),
        ("sleepstudy", {"sigma": pw.Prior("Exponential", lam=100.0)}, "prior_scale"),
        ("radon", {"floor": pw.Prior("Normal", mu=-0.6, sigma=0.01)}, "prior_dominates"),
    ],
)
def test_findings_of_sums_are_those_of_the_rows(name, priors, code):
    first, second = (model.with_priors(priors) for model in both(name, SUMS[name]))
    theirs, ours = prior_findings(first), prior_findings(second)
    assert ours.codes == theirs.codes and code in ours.codes
    np.testing.assert_allclose([one.value for one in ours], [one.value for one in theirs], rtol=1e-6)
    assert [one.title for one in ours] == [one.title for one in theirs]
    assert code in second.check_priors().codes


@pytest.mark.parametrize(
    ("name", "formula", "family"),
    [
        ("bounce_rates", SUMS["bounce_rates"], "gaussian"),
        ("cbpp", "p(incidence, size) ~ period + (1 | herd)", "binomial"),
    ],
)
def test_the_checks_of_a_fit_have_them(name, formula, family):
    priors = {"Intercept": pw.Prior("Normal", mu=90.0, sigma=0.5)}
    model = both(name, formula, family)[1].with_priors(priors)
    found = model.fit(draws=100, tune=200, chains=2, seed=1, progress=False).check()
    assert {"prior_scale", "prior_conflict"} & set(found.codes)
    assert not any(one.title.startswith("priors was not checked") for one in found)

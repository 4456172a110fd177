"""Rows added up by combination of predictors and groups: likelihood, density and fit are those of the rows.

Tolerance 1e-10 relative: sums of whole numbers are exact, and the rest differs by the rounding of sums of a few
thousand terms, 1e-13. Replications are other draws of one distribution: they pass a Kolmogorov-Smirnov test at 1e-4.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

import poolwise as pw
from poolwise.check.predictive import predictive_statistics
from poolwise.check.predictive_sums import group_counts
from poolwise.compile.whitened import log_posterior
from poolwise.errors import ArgumentError, DataError, PriorError, RowsNeededError
from poolwise.result.bayes import BayesFit

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
RTOL = 1e-10


def table(n: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g, h, x, e = rng.integers(0, 12, n), rng.integers(0, 4, n), rng.integers(0, 4, n), rng.choice([1.0, 2.5], n)
    f = pd.Categorical(rng.choice(["low", "mid", "top"], n), categories=["top", "low", "none", "mid"])
    eta = -0.5 + 0.4 * x + 0.7 * rng.normal(size=12)[g] + 0.3 * (f == "mid") + 0.2 * rng.normal(size=4)[h]
    p, t = 1 / (1 + np.exp(-eta)), rng.integers(1, 6, n)
    rows = pd.DataFrame({"x": x * 1.0, "f": f, "e": e, "h": h, "t": t, "g": [f"g{k}" for k in g]})
    rows["b"], rows["s"] = rng.random(n) < p, rng.binomial(t, p)
    return rows.assign(c=rng.poisson(e * np.exp(0.5 * eta)), share=rows["s"] / t)


DESIGNS = {
    "bernoulli": ("bernoulli", "b ~ scale(x) + f + (x | g)", {}),
    "probit": ("bernoulli", "b ~ x * f + (1 | g) + (1 | h)", {"link": "probit"}),
    "trials": ("binomial", "p(s, t) ~ poly(x, 2) + (1 | g:h)", {}),
    "shares": ("binomial", "share ~ x + (x || g)", {"weights": "t"}),
    "counts": ("poisson", "c ~ center(x) + f + offset(log(e)) + (x | g)", {}),
    "regression": ("poisson", "c ~ bs(x, df=3) + C(h)", {}),
}


def both(name: str, **options):
    family, formula, given = DESIGNS[name]
    rows, weights = table(), {key: value for key, value in given.items() if key == "weights"}
    data = pw.collapse(rows, formula, family=family, **weights, **options)
    return pw.Model(formula, rows, family, **given), pw.Model(formula, data, family, **given)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_frequentist_fit_is_that_of_the_rows(name):
    first, second = both(name, batch=450)
    a, b = first.fit_frequentist(), second.fit_frequentist()
    np.testing.assert_allclose(b.fixef, a.fixef, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(b.theta, a.theta, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(b.se, a.se, rtol=1e-8)
    np.testing.assert_allclose([b.loglik, b.aic, b.bic, b.rmse()], [a.loglik, a.aic, a.bic, a.rmse()], rtol=RTOL)
    pd.testing.assert_frame_equal(b.coef(), a.coef(), rtol=1e-7, atol=1e-9)
    new = table(20)
    pd.testing.assert_frame_equal(b.predict(new), a.predict(new), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_density_is_that_of_the_rows_constant_included(name):
    first, second = both(name)
    pd.testing.assert_frame_equal(second.priors, first.priors)
    for own, other in zip(first.specification.resolved, second.specification.resolved, strict=True):
        for key, value in own.prior.params.items():
            assert other.prior.params[key] == pytest.approx(value, rel=1e-9), own.parameter
    theirs, ours = first.whitened, second.whitened
    assert theirs.model.size == ours.model.size
    rng = np.random.default_rng(1)
    for _ in range(5):
        x = rng.normal(size=ours.model.size)
        grads = np.zeros_like(x), np.zeros_like(x)
        expected = log_posterior(x, theirs.packed, grads[0])
        assert log_posterior(x, ours.packed, grads[1]) == pytest.approx(expected, rel=RTOL)
        np.testing.assert_allclose(grads[1], grads[0], rtol=1e-7, atol=1e-7 * np.abs(grads[0]).max())


def test_batches_partitions_and_their_categories_have_no_say():
    family, formula, _ = DESIGNS["counts"]
    rows = table()
    here = pw.collapse(rows, formula, family=family)
    parts = [rows[:100], rows[100:]]
    frame = pytest.importorskip("dask.dataframe").from_pandas(rows, npartitions=4)
    for source in (parts, frame):
        there = pw.collapse(source, formula, family=family, batch=77)
        pd.testing.assert_frame_equal(there.counts.keys, here.counts.keys)
        for name in ("y", "trials", "rows", "constant", "squared"):
            np.testing.assert_allclose(getattr(there.counts, name), getattr(here.counts, name), rtol=1e-12)
    assert here.n == len(rows) and len(here.counts.rows) < 4 * 3 * 2 * 12 + 1


def test_frequency_weights_count_as_rows():
    rows = table()
    formula = "weighted(b, t) ~ x + (1 | g)"
    first = pw.Model(formula, rows, "bernoulli").fit_frequentist()
    data = pw.collapse(rows, formula, family="bernoulli")
    second = pw.Model(formula, data, "bernoulli").fit_frequentist()
    np.testing.assert_allclose(second.fixef, first.fixef, rtol=RTOL)
    assert second.loglik == pytest.approx(first.loglik, rel=RTOL)
    assert second.rmse() == pytest.approx(first.rmse(), rel=RTOL)


def test_separation_is_found_in_counts():
    rows = table().assign(b=lambda t: t["b"] | (t["f"] == "mid"))
    formula = "b ~ f + (1 | g)"
    first = pw.Model(formula, rows, "bernoulli").fit_frequentist()
    second = pw.Model(formula, pw.collapse(rows, formula, family="bernoulli"), "bernoulli").fit_frequentist()
    assert first.separated == second.separated == ("f[mid]",)


@pytest.fixture(scope="module", params=["bernoulli", "trials", "counts"])
def fits(request):
    first, second = both(request.param)
    fit = second.fit(draws=300, tune=400, chains=2, seed=1, progress=False)
    return first, fit, BayesFit(first.design, fit.data, fit.resolved_priors, fit.settings, fit.form)


def test_the_posterior_is_that_of_the_rows(fits):
    first, fit, with_rows = fits
    other = first.fit(draws=300, tune=400, chains=2, seed=1, progress=False)
    own, theirs = fit.coef(), other.coef()
    sd = (theirs["upper"] - theirs["lower"]) / 3.92
    # 600 draws: the Monte Carlo error of the difference is 0.06 posterior sds, if the chains part at all.
    assert ((own["estimate"] - theirs["estimate"]).abs() < 0.3 * sd).all()
    assert (own["n"] == theirs["n"]).all()
    # One posterior, two designs.
    assert fit.rmse() == pytest.approx(with_rows.rmse(), rel=RTOL)
    new = table(15)
    pd.testing.assert_frame_equal(fit.predict(new), with_rows.predict(new))
    pd.testing.assert_frame_equal(fit.predict(new, kind="response"), with_rows.predict(new, kind="response"))
    assert fit.form.startswith("whitened")


def test_presets_that_ask_for_a_median_are_those_of_the_rows_or_say_so():
    first, second = (model.with_priors("brms") for model in both("bernoulli"))
    pd.testing.assert_frame_equal(second.priors, first.priors)
    with pytest.raises(PriorError, match="collapsed data do not have"):
        both("counts")[1].with_priors("brms")


def test_a_report_of_counts_leaves_out_what_needs_rows(fits, tmp_path):
    text = fits[1].report(tmp_path / "fit.html").read_text(encoding="utf-8")
    assert "3,000" in text and "only sums" in text


def test_replicated_sums_of_groups_are_those_of_replicated_rows(fits):
    _, fit, with_rows = fits
    by = fit.design.factors[0]
    codes, y = with_rows.design.factors[0].codes, with_rows.design.y
    large = np.flatnonzero(by.sizes >= 5)
    for mixed, groups in ((False, None), (True, "population_draw")):
        drawn = with_rows.predict_draws(kind="response", groups=groups, seed=4)
        seen, sums = group_counts(fit, by, large, 3, mixed=mixed)
        for k, j in enumerate(large[:12]):
            assert seen[0, k] == y[codes == j].sum()
            assert ks_2samp(sums[:, k], drawn[:, codes == j].sum(axis=1)).pvalue > 1e-4
    found = predictive_statistics(fit, by=by.name)
    assert set(found.index.get_level_values("statistic")) == {"sum"} and (found["n"] == by.sizes[large]).all()


def test_what_needs_rows_says_so(fits):
    _, fit, _ = fits
    for ask in (lambda: fit.fitted, fit.loo, fit.predict):
        with pytest.raises(RowsNeededError, match="only sums"):
            ask()
    counts = both("bernoulli")[1]
    for ask in (lambda: counts.fit_frequentist().fitted, lambda: counts.pymc):
        with pytest.raises(RowsNeededError, match="only sums"):
            ask()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": "gamma"}, "family must be one of 'gaussian', 'bernoulli', 'binomial', 'poisson'"),
        ({"family": "poisson", "folds": 1}, "folds must be None, or a whole number from 2"),
        ({"family": "poisson", "most_cells": 0}, "most_cells must be a whole number"),
    ],
)
def test_arguments_that_do_not_fit(options, said):
    with pytest.raises(ArgumentError, match=said):
        pw.collapse(table(), "c ~ x + (1 | g)", **options)


def test_too_many_cells_and_bad_responses_are_refused_in_words():
    rows = table()
    rows["z"] = np.arange(len(rows)) / 7
    with pytest.raises(DataError, match=r"1001 different combinations of z, g, more than most_cells=1000.*round"):
        pw.collapse(rows, "c ~ z + (1 | g)", family="poisson", most_cells=1000, batch=7 * 11 * 13)
    parts = [rows[:100], rows[100:].assign(b=lambda t: t["b"] + 2 * (t.index == 150))]
    with pytest.raises(DataError, match=r"partition 1: family 'bernoulli' needs 0 and 1.*row 50"):
        pw.collapse(parts, "b ~ x", family="bernoulli")
    with pytest.raises(DataError, match="0 in every row"):
        pw.collapse(rows.assign(c=0), "c ~ x + (1 | g)", family="poisson")
    with pytest.raises(DataError, match="all trials in every row"):
        pw.collapse(rows.assign(b=1), "b ~ x + (1 | g)", family="bernoulli")
    with pytest.raises(DataError, match="independent draws"):
        pw.collapse(rows, "b ~ x + (1 | mm(g, h))", family="bernoulli")
    counted = pw.collapse(rows, "b ~ x + (1 | g)", family="bernoulli")
    with pytest.raises(DataError, match="counted for family 'bernoulli'"):
        pw.Model("b ~ x + (1 | g)", counted, "poisson")
    with pytest.raises(DataError, match="were collapsed for"):
        pw.Model("b ~ x", counted, "bernoulli")
    with pytest.raises(DataError, match="links logit, probit, cloglog, log"):
        pw.Model("b ~ x + (1 | g)", counted, "bernoulli", link="identity")

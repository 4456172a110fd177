"""Predictive checks of sums against those of the rows, under one posterior.

The statistic of the data has rounding errors only, 1e-9. Replications are other draws of one distribution: two samples
of 600 pass a Kolmogorov-Smirnov test at 1e-4. Squares are those of the rows themselves, to 1e-9 (y is 1e3 from zero).
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

import poolwise as pw
from poolwise.check.predictive import posterior_predictive, predictive_statistics, statistics
from poolwise.check.predictive_sums import group_moments, moments_by_group
from poolwise.errors import RowsNeededError
from poolwise.result.bayes import BayesFit
from poolwise.spec.residual_sums import residual, terms_of

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
FORMULAS = ["y ~ x + (x | g)", "weighted(y, w) ~ 1 + offset(0.5 * x) + (1 | g)", "y ~ x + (x | g) + (1 | h)"]


def table(uneven: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 360
    g, h, x = rng.integers(0, 12, n), rng.integers(0, 5, n), rng.normal(2, 1, n)
    noise = np.where(g % 2 == 0, 0.2, 2.0) if uneven else np.ones(n)
    y = rng.normal(size=12)[g] + rng.normal(size=5)[h] + 0.7 * x + noise * rng.normal(size=n) + 1000.0
    return pd.DataFrame({"y": y, "x": x, "w": rng.integers(1, 4, n), "g": g, "h": h})


def both(formula: str, rows: pd.DataFrame, **options) -> tuple[BayesFit, BayesFit]:
    """The fit of sums, and the same posterior with the rows."""
    sums = pw.Model(formula, pw.collapse(rows, formula, **options), **options)
    fit = sums.fit(draws=300, tune=300, chains=2, seed=1, progress=False)
    design = pw.Model(formula, rows, **options).design
    return fit, BayesFit(design, fit.data, fit.resolved_priors, fit.settings, fit.form)


@pytest.mark.parametrize("formula", FORMULAS)
def test_replicated_sums_are_those_of_replicated_rows(formula):
    fit, with_rows = both(formula, table())
    name = "spread_of_group_sds"
    ours, theirs = predictive_statistics(fit).loc[name], predictive_statistics(with_rows).loc[name]
    np.testing.assert_allclose(ours["observed"], theirs["observed"], rtol=1e-9)
    large = np.arange(12)
    sds = group_moments(fit, fit.design.factors[0], large, 3, residuals=True)[1][1]
    drawn = with_rows.predict_draws(kind="response", seed=4)
    assert ks_2samp(np.log(sds).std(axis=1), statistics(with_rows, drawn)[name]).pvalue > 1e-4
    residual, codes = drawn - with_rows.fitted, with_rows.design.factors[0].codes
    for j in large:
        assert ks_2samp(sds[:, j], residual[:, codes == j].std(axis=1)).pvalue > 1e-4


def test_the_squares_of_what_is_linear_are_those_of_the_rows():
    rows = table()
    data = pw.collapse(rows, FORMULAS[2])
    rng = np.random.default_rng(0)
    design = pw.Model(FORMULAS[2], rows).design
    b, u, v = rng.normal(size=2), rng.normal(size=(12, 2)), rng.normal(size=(5, 1))
    first, second = design.factors
    line = rows["y"] - design.X @ b - (first.Z * u[first.codes]).sum(axis=1) - v[second.codes, 0]
    squares = moments_by_group(data.design.factors[0], residual(data, terms_of(data.design, b, [u, v])))[1]
    dense = [((own := line[first.codes == j]) - own.mean()) @ (own - own.mean()) for j in range(12)]
    np.testing.assert_allclose(squares, dense, rtol=1e-9)


@pytest.mark.parametrize(("formula", "by"), [(FORMULAS[0], "g"), (FORMULAS[2], "h")])
def test_replicated_means_and_sds_of_groups_are_those_of_replicated_rows(formula, by):
    fit, with_rows = both(formula, table())
    for replications in ("posterior", "mixed"):
        ours = predictive_statistics(fit, replications=replications, by=by)
        theirs = predictive_statistics(with_rows, replications=replications, by=by).loc[["mean", "sd"]]
        theirs = theirs.reindex(ours.index)
        np.testing.assert_allclose(ours[["n", "observed"]], theirs[["n", "observed"]], rtol=1e-9)
    factor = next(own for own in fit.design.factors if own.name == by)
    codes = next(own for own in with_rows.design.factors if own.name == by).codes
    large = np.flatnonzero(factor.sizes >= 5)
    for mixed, groups in ((False, None), (True, "population_draw")):
        drawn = with_rows.predict_draws(kind="response", groups=groups, seed=4)
        means, sds = group_moments(fit, factor, large, 3, mixed=mixed)[1]
        for k, j in enumerate(large):
            rows = drawn[:, codes == j]
            assert ks_2samp(means[:, k], rows.mean(axis=1)).pvalue > 1e-4
            assert ks_2samp(sds[:, k], rows.std(axis=1)).pvalue > 1e-4


def test_groups_that_differ_in_noise_are_found_and_others_are_not():
    fit, _ = both(FORMULAS[0], table(uneven=True))
    (finding,) = posterior_predictive(fit)
    assert finding.code == "posterior_predictive" and "spread of group sds" in finding.title
    assert "posterior_predictive" in {one.code for one in fit.check()}
    assert not posterior_predictive(both(FORMULAS[0], table())[0])


def test_what_needs_rows_says_so():
    fit, _ = both(FORMULAS[0], table(), weights="w")
    with pytest.raises(RowsNeededError, match="precision weight"):
        predictive_statistics(fit)
    with pytest.raises(RowsNeededError, match="only sums"):
        predictive_statistics(fit, replications="prior")

"""The pooling study of sums against that of the rows with the same folds.

Tolerance 1e-10 relative: sums and rows differ by rounding, and both optimisers start at the same place and stop at a
gradient of 1e-7, quadratic around the optimum.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.compare.crossval import (
    complete_refit,
    cross_validate,
    group_codes,
    group_folds,
    no_pooling_refit,
    reml_refit,
    rows_of_known_groups,
)
from poolwise.data.folds import fold_of_rows
from poolwise.errors import ArgumentError, RowsNeededError
from poolwise.model import Model
from poolwise.result.no_pooling import NoPoolingFit

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
RTOL = 1e-10
FOLDS, SEED = 4, 11


def table(shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n, J = 700, 12
    g, h = rng.integers(0, J, n), rng.integers(0, 3, n)
    x, z, f = rng.normal(3, 1, n), rng.gamma(4, 1, n), rng.choice(["low", "mid", "top"], n)
    u = rng.multivariate_normal([0, 0], [[0.5, 0.1], [0.1, 0.3]], J)
    y = shift + u[g, 0] + (0.7 + u[g, 1]) * x + np.sin(z) + (f == "mid") + rng.normal(size=n)
    # A group of one row and one of two.
    g = np.concatenate([g, [J, J + 1, J + 1]])
    rows = pd.DataFrame(
        {"y": y, "x": x, "z": z, "f": f, "h": h, "w": rng.uniform(0.5, 2, n), "k": rng.integers(1, 4, n)}
    )
    return pd.concat([rows, rows[:3]], ignore_index=True).assign(g=g)


DESIGNS = {
    "weights": ("y ~ x + (x | g)", {"weights": "w"}),
    "frequencies": ("weighted(y, k) ~ f + (1 | g)", {}),
    "offset": ("y ~ z + offset(0.5 * x) + (1 | g)", {}),
    "factor": ("y ~ f * x + (x || g)", {}),
    "splines": ("y ~ bs(z, df=5) + scale(x) + (scale(x) | g)", {}),
    "cells": ("y ~ x + (x | g:h)", {}),
}


def refits(model: Model) -> dict:
    design, factor = model.design, model.design.factors[0]
    return {
        "complete": complete_refit(design),
        "none": no_pooling_refit(design, factor),
        "reml": reml_refit(design, model.fit_frequentist().optimum),
    }


@pytest.mark.parametrize("name", DESIGNS)
def test_held_out_errors_are_those_of_the_rows(name):
    formula, options = DESIGNS[name]
    rows = table()
    data = pw.collapse(rows, formula, folds=FOLDS, seed=SEED, batch=130, **options)
    with_rows, sums = pw.Model(formula, rows, **options), pw.Model(formula, data, **options)
    fold = fold_of_rows(np.arange(len(rows)), FOLDS, SEED)
    cuts = []
    for model, own in ((with_rows, fold), (sums, data.fold_of_part)):
        factor = model.design.factors[0]
        codes = group_codes(model.design, factor)
        groups = group_folds(codes, factor.J, 5, seed=1)
        cuts.append([(own, rows_of_known_groups(codes, own)), (groups, np.ones(len(codes), dtype=bool))])
    for (which, first), second in zip(refits(with_rows).items(), refits(sums).values(), strict=True):
        for theirs, ours in zip(*cuts, strict=True):
            expected = cross_validate(with_rows.design, first, *theirs)
            found = cross_validate(sums.design, second, *ours)
            assert found.rmse == pytest.approx(expected.rmse, rel=RTOL, nan_ok=True), which
            assert found.rows == expected.rows or np.isnan(expected.rmse), which


@pytest.mark.parametrize("name", [*DESIGNS, "two"])
def test_errors_in_sample_are_those_of_the_rows(name):
    formula, options = {**DESIGNS, "two": ("y ~ x + f + (x | g) + (1 | h)", {})}[name]
    rows = table()
    first, second = (
        pw.Model(formula, data, **options) for data in (rows, pw.collapse(rows, formula, batch=100, **options))
    )
    assert second.fit_frequentist().rmse() == pytest.approx(first.fit_frequentist().rmse(), rel=RTOL)
    if name != "two":
        theirs, ours = (NoPoolingFit(model.design, model.design.factors[0]) for model in (first, second))
        assert ours.rmse() == pytest.approx(theirs.rmse(), rel=RTOL)
        assert ours.df == theirs.df and ours.sigma == pytest.approx(theirs.sigma, rel=RTOL)
        pd.testing.assert_frame_equal(ours.unidentified, theirs.unidentified)
        pd.testing.assert_frame_equal(ours.coef(), theirs.coef(), rtol=1e-7, atol=1e-9)


def test_a_distant_mean_costs_few_digits():
    # y is 2e6 sds from zero: an intercept in float64 keeps 1e-16 of that, 4e-10 of an sd.
    rows, formula = table(shift=2e6), "y ~ x + (x | g)"
    first, second = (pw.Model(formula, data).fit_frequentist() for data in (rows, pw.collapse(rows, formula)))
    assert second.rmse() == pytest.approx(first.rmse(), rel=4e-10)


@pytest.fixture(scope="module")
def studies():
    rows, formula = table(), "y ~ x + (x | g)"
    options = dict(seed=1, draws=300, tune=500, chains=2, new_group_folds=3, progress=False)
    data = pw.collapse(rows, formula, folds=FOLDS, seed=SEED)
    return pw.compare_pooling(formula, rows, folds=FOLDS, **options), pw.compare_pooling(formula, data, **options)


def test_the_study_is_that_of_the_rows(studies):
    first, second = studies
    exact = ["complete", "none", "partial_reml"]
    shared = ["rmse", "rmse_new_groups", "width_Intercept", "width_x"]
    np.testing.assert_allclose(
        second.table.loc[exact, shared].to_numpy(float), first.table.loc[exact, shared].to_numpy(float), rtol=1e-8
    )
    # 600 draws: the Monte Carlo error of a posterior mean is 0.04 posterior sds, which moves an rmse by parts in 1e4.
    bayes = ["rmse", "rmse_kfold", "rmse_new_groups", "width_x"]
    np.testing.assert_allclose(
        second.table.loc["partial_bayes", bayes].to_numpy(float),
        first.table.loc["partial_bayes", bayes].to_numpy(float),
        rtol=0.03,
    )
    assert list(second.coef().columns) == list(first.coef().columns) and len(second.coef()) == len(first.coef())
    a, b = (study.shrinkage().set_index(["group", "term"]) for study in studies)
    for column in ("no_pooling", "complete_pooling", "partial_reml"):
        np.testing.assert_allclose(b[column], a[column], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(b["pooling_factor"], a["pooling_factor"], atol=0.05)
    # Two need rows, and one depends on the draws.
    others = {"between_within", "unreliable_elpd", "not_converged"}
    assert set(second.findings.codes) - others == set(first.findings.codes) - others


def test_what_needs_rows_is_left_out_in_words(studies, tmp_path):
    _, study = studies
    bayes, others = study.table.loc["partial_bayes"], study.table.drop("partial_bayes")
    assert np.isfinite(bayes["elpd_kfold"]) and others["elpd_kfold"].isna().all() and "elpd k-fold" in repr(study)
    assert np.isnan(study.elpd) and "elpd" in study.left_out and "between_within" in study.left_out
    said = "left out, because it needs the rows: between_within, elpd"
    assert said in repr(study) and f"the {FOLDS} folds of the sums" in repr(study)
    assert said in study.report(tmp_path / "study.html").read_text(encoding="utf-8")
    for draw in (study.plot_estimates, study.plot_arrows, study.plot_forest, study.plot_sizes, study.plot_scores):
        assert draw().axes
    assert study.plot_group_sds().axes
    with pytest.raises(RowsNeededError, match="only sums"):
        study.plot_lines()


def test_without_folds_it_says_how_to_get_them(monkeypatch):
    # However many rows there were.
    monkeypatch.setattr("poolwise.compare.study.fits_memory", lambda fit: False)
    rows, formula = table(), "y ~ 1 + (1 | g)"
    data = pw.collapse(rows, formula)
    options = dict(seed=1, draws=100, tune=200, chains=1, new_group_folds=2, progress=False)
    study = pw.compare_pooling(formula, data, **options)
    assert study.table["rmse_kfold"].isna().all() and study.table.loc["complete", "rmse_new_groups"] > 0
    assert "pw.collapse(..., folds=10) keeps them" in repr(study) and "elpd" in study.left_out
    with pytest.raises(ArgumentError, match=r"collapsed without folds; .* collapse the rows with folds=5"):
        pw.compare_pooling(formula, data, folds=5, **options)


def test_a_singular_study_of_sums_has_the_simpler_fit(bounce):
    formula = "bounce_time ~ std_age + (std_age | county)"
    options = dict(seed=1, draws=100, tune=200, chains=1, new_group_folds=2, progress=False)
    study = pw.compare_pooling(formula, pw.collapse(bounce, formula), **options)
    assert study.table.loc["partial_reml", "singular"]
    # To five printed digits, as in test_pooling.
    assert study.table.loc["partial_reml_intercept", "rmse"] == pytest.approx(7.8804, rel=1e-4)

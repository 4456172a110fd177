"""A pooling study of counts is that of the rows they were added up from.

Tolerance 1e-7 relative: two iterative fits of one likelihood stop within that of each other; densities under the same
draws to 1e-10, where only the order of sums differs.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import poolwise as pw
from poolwise.compare import crossval
from poolwise.compare.held_density import density_of_counts
from poolwise.compare.refit import likelihood_refit, separate_refit
from poolwise.data.folds import fold_of_rows

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
FOLDS, SEED = 4, 3


def table(n: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    g, x, e = rng.integers(0, 9, n), rng.integers(0, 4, n), rng.choice([1.0, 2.5], n)
    eta = -0.5 + 0.4 * x + 0.7 * rng.normal(size=9)[g] + 0.2 * rng.normal(size=9)[g] * x
    p, t = 1 / (1 + np.exp(-eta)), rng.integers(1, 6, n)
    rows = pd.DataFrame({"x": x * 1.0, "e": e, "t": t, "g": [f"g{k}" for k in g]})
    rows["b"], rows["s"] = rng.random(n) < p, rng.binomial(t, p)
    return rows.assign(c=rng.poisson(e * np.exp(0.5 * eta)), share=rows["s"] / t)


DESIGNS = {
    "bernoulli": ("bernoulli", "b ~ x + (x | g)", {}),
    "trials": ("binomial", "p(s, t) ~ x + (1 | g)", {}),
    "shares": ("binomial", "share ~ x + (1 | g)", {"weights": "t"}),
    "counts": ("poisson", "c ~ x + offset(log(e)) + (1 | g)", {}),
}


def both(name: str, **options):
    family, formula, given = DESIGNS[name]
    data = pw.collapse(table(), formula, family=family, **given, **options)
    return pw.Model(formula, table(), family, **given).design, pw.Model(formula, data, family, **given).design


@pytest.mark.parametrize("name", DESIGNS)
def test_held_out_errors_are_those_of_the_rows(name):
    rows, counts = both(name, folds=FOLDS, seed=SEED, batch=170)
    by_row = fold_of_rows(np.arange(rows.n), FOLDS, SEED)
    groups = crossval.group_codes(rows, rows.factors[0]), crossval.group_codes(counts, counts.factors[0])
    refits = [lambda own: likelihood_refit(own.without_groups), likelihood_refit]
    refits.append(lambda own: separate_refit(own, own.factors[0]))
    for folds in ((by_row, counts.source.fold_of_part), groups):
        for make in refits if folds is not groups else refits[:2]:
            found = [
                crossval.cross_validate(own, make(own), by, np.ones(len(by), dtype=bool))
                for own, by in zip((rows, counts), folds, strict=True)
            ]
            assert found[0].rows == found[1].rows == rows.n and np.isfinite(found[0].rmse)
            for error in ("rmse", "brier", "log_loss"):
                np.testing.assert_allclose(*(getattr(one, error) for one in found), rtol=1e-7)


@pytest.mark.parametrize("name", DESIGNS)
def test_densities_of_parts_are_those_of_their_rows(name):
    rows, counts = both(name, folds=FOLDS, seed=SEED)
    data, rng = counts.source, np.random.default_rng(1)
    by_cell = rng.uniform(0.1, 0.9, size=(6, counts.cells.n))
    keys = list(data.counts.keys.columns)
    cells = data.counts.keys.assign(cell=range(counts.cells.n))
    cell = table()[keys].merge(cells, how="left", on=keys)["cell"].to_numpy()
    mean = by_cell[:, cell]
    t = np.ones(rows.n) if rows.outcome.trials is None else rows.outcome.trials
    y = rows.outcome.y
    each = stats.poisson.logpmf(y, mean) if rows.family.holds == "count" else stats.binom.logpmf(y, t, mean)
    fold = fold_of_rows(np.arange(rows.n), FOLDS, SEED)
    for k in range(FOLDS):
        held = data.fold_of_part == k
        found = density_of_counts(counts, by_cell[:, data.cell_of_part[held]], held)
        for at, own in enumerate(data.cell_of_part[held]):
            together = each[:, (cell == own) & (fold == k)].sum(axis=1)
            assert found[at] == pytest.approx(logsumexp(together) - np.log(6), rel=1e-10)


def test_a_study_of_counts_beside_that_of_rows(tmp_path):
    family, formula, _ = DESIGNS["bernoulli"]
    data = pw.collapse(table(), formula, family=family, folds=FOLDS, seed=SEED)
    options = {"draws": 500, "tune": 500, "seed": 1, "new_group_folds": 3, "progress": False}
    study = pw.compare_pooling(formula, data, family, **options)
    whole = pw.compare_pooling(formula, table(), family, **options, folds=FOLDS)
    in_sample = ["rmse", "brier", "log_loss"]
    frequentist = ["complete", "none", "partial_laplace"]
    a, b = study.table, whole.table
    np.testing.assert_allclose(a.loc[frequentist, in_sample], b.loc[frequentist, in_sample], rtol=1e-7)
    # Other draws: errors of posterior means differ by far less than what they tell apart; other folds by more.
    np.testing.assert_allclose(a.loc["partial_bayes", in_sample], b.loc["partial_bayes", in_sample], rtol=2e-3)
    held = [f"{one}_{cut}" for one in in_sample for cut in ("kfold", "new_groups")]
    known = a[held].notna()
    assert known.drop(index="none").all(axis=None) and (known == b[held].notna()).all(axis=None)
    np.testing.assert_allclose(a[held][known], b[held][known], rtol=0.03)
    # The density of a cell's rows together; PSIS-LOO takes them one by one, and leaves fewer out at once.
    assert np.isfinite(a.loc["partial_bayes", "elpd_kfold"]) and study.left_out == ["between_within", "elpd"]
    assert set(whole.findings.codes) - {"between_within"} == set(study.findings.codes)
    assert "the 4 folds of the sums" in repr(study) and "left out, because it needs the rows" in repr(study)
    frame = [one.shrinkage().set_index(["group", "term"])[["no_pooling", "complete_pooling"]] for one in (study, whole)]
    pd.testing.assert_frame_equal(*frame, rtol=1e-6)
    for draw in (study.plot_estimates, study.plot_forest, study.plot_sizes, study.plot_scores, study.plot_arrows):
        draw()
    with pytest.raises(pw.PoolwiseError, match="only sums"):
        study.plot_lines()
    page = study.report(tmp_path / "counts.html").read_text(encoding="utf-8")
    assert "it needs the rows of the data" in page and "From sums come" not in page


def test_counts_without_folds_have_errors_of_new_groups_alone():
    family, formula, _ = DESIGNS["counts"]
    data = pw.collapse(table(), formula, family=family)
    study = pw.compare_pooling(formula, data, family, draws=300, tune=300, seed=1, refit_bayes=False, progress=False)
    assert study.table["rmse_kfold"].isna().all() and np.isfinite(study.table.loc["complete", "rmse_new_groups"])
    assert "no folds of rows in the sums" in repr(study) and "refit_bayes=False" in repr(study)
    with pytest.raises(pw.PoolwiseError, match="the sums were collapsed without folds"):
        pw.compare_pooling(formula, data, family, folds=5)

"""k-fold cross-validation and refitted leave-one-out agree with their definitions.

Tolerances: elpd of one row has a Monte Carlo error of about 0.02 under 4,000 draws; sums over 60 rows agree within 1.5.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw


def rows(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(6), 10), rng.normal(size=60)
    return pd.DataFrame({"y": 1 + x + rng.normal(size=6)[g] + rng.normal(size=60), "x": x, "g": g})


@pytest.fixture(scope="module")
def fit():
    return pw.Model("y ~ x + (1 | g)", rows()).fit(seed=1, progress=False)


def test_a_fold_for_each_row_is_leave_one_out(fit):
    exact = fit.kfold(60)
    loo = fit.loo(pointwise=True)
    assert exact.elpd == pytest.approx(loo.elpd, abs=0.3)
    np.testing.assert_allclose(exact.table["elpd"], np.asarray(loo.elpd_i), atol=0.15)
    assert exact.se == pytest.approx(float(loo.se), rel=0.05)


def test_a_fold_for_each_group_draws_it_from_the_population(fit):
    found = fit.kfold(6, by="g").table
    others = rows()[rows()["g"] != 2]
    alone = pw.Model("y ~ x + (1 | g)", others).fit(seed=5, progress=False)
    new = rows()[rows()["g"] == 2]
    mean = alone.predict_draws(new, seed=3, groups="integrated")
    density = stats.norm.pdf(new["y"].to_numpy(), mean, alone.sigma_draws[:, None]).mean(axis=0)
    np.testing.assert_allclose(found["elpd"][new.index], np.log(density), atol=0.25)


def test_folds_are_even_and_seeded(fit):
    one, again, other = fit.kfold(3, seed=4), fit.kfold(3, seed=4), fit.kfold(3, seed=5)
    assert one.table["fold"].value_counts().tolist() == [20, 20, 20]
    pd.testing.assert_frame_equal(one.table, again.table)
    assert one.difference(again) == (0.0, 0.0)
    with pytest.raises(pw.PoolwiseError, match="other rows or folds"):
        one.difference(other)
    assert "3 folds of rows" in repr(one)
    with pytest.raises(pw.PoolwiseError, match="k must be a whole number from 2 to 60"):
        fit.kfold(61)
    with pytest.raises(pw.PoolwiseError, match="to 6, the number of g"):
        fit.kfold(7, by="g")
    with pytest.raises(pw.PoolwiseError, match="nope"):
        fit.kfold(3, by="nope")


def test_a_better_model_predicts_more(fit):
    without = pw.Model("y ~ 1 + (1 | g)", rows()).fit(seed=1, progress=False)
    gap, error = fit.kfold(5, seed=2).difference(without.kfold(5, seed=2))
    assert gap > 2 * error > 0


def test_rows_out_of_reach_are_refitted():
    data = rows(2)
    data.loc[7, ["x", "y"]] = [8.0, 3.0]
    fit = pw.Model("y ~ x + (1 | g)", data).fit(seed=1, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rough = fit.loo(pointwise=True)
    assert float(rough.pareto_k[7]) > 0.7
    mended = fit.loo(reloo=True)
    others = pw.Model("y ~ x + (1 | g)", data.drop(index=7)).fit(seed=3, progress=False)
    row = data.loc[[7]]
    density = stats.norm.pdf(row["y"].item(), others.predict_draws(row)[:, 0], others.sigma_draws).mean()
    assert float(mended.elpd_i[7]) == pytest.approx(np.log(density), abs=0.2)
    assert float(mended.elpd_i[7]) < float(rough.elpd_i[7])
    assert mended.elpd == pytest.approx(float(np.asarray(mended.elpd_i).sum()))
    assert not mended.warning


def test_other_families():
    rng = np.random.default_rng(3)
    data = rows().assign(event=rng.integers(0, 2, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        fit = pw.Model("event ~ x + (1 | g)", data, "bernoulli").fit(
            draws=300, tune=300, chains=2, seed=1, progress=False
        )
        found = fit.kfold(3)
    # Nothing is to be predicted: close to one coin a row, and not better.
    assert -60 < found.elpd < 60 * np.log(0.5) + 1

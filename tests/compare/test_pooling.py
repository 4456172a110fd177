"""The study of the main example: the article's numbers, the failure found, and no false alarm elsewhere."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from conftest import reference
from poolwise.check.few_rows import too_few_rows
from poolwise.compare.crossval import bayes_refit, complete_refit, cross_validate, reml_refit, row_folds
from poolwise.fit.bayes import Sampling
from poolwise.result.no_pooling import NoPoolingFit

# The references are printed to five significant digits.
PRINTED = 1e-4


def test_rmse_in_sample(bounce_study):
    rmse = bounce_study.table["rmse"]
    assert rmse["complete"] == pytest.approx(reference("bounce__pooling.lm")["complete_pooling"]["rmse"], rel=1e-9)
    assert rmse["none"] == pytest.approx(reference("bounce__pooling.lm")["no_pooling"]["rmse"], rel=1e-9)
    assert rmse["partial_reml"] == pytest.approx(7.8783, rel=PRINTED)
    assert rmse["partial_reml_intercept"] == pytest.approx(7.8804, rel=PRINTED)
    # The posterior mean under a weakly informative prior fits about as well as REML.
    assert rmse["partial_bayes"] == pytest.approx(rmse["partial_reml"], rel=5e-3)


def test_no_pooling_is_lmlist(bounce_study):
    lm = reference("bounce__pooling.lm")["no_pooling"]
    coef = bounce_study.none.coef().set_index(["group", "term"])
    assert bounce_study.none.sigma == pytest.approx(lm["pooled_sigma"], rel=1e-9)
    assert bounce_study.none.df == lm["pooled_df"]
    for county, expected in lm["per_county_separate_sigma"].items():
        for r_name, name in (("(Intercept)", "Intercept"), ("std_age", "std_age")):
            row = coef.loc[(county, name)]
            assert row["estimate"] == pytest.approx(expected["coef"][r_name], rel=1e-8)
            interval = lm["per_county_pooled_sigma"][county]["ci95"][r_name]
            np.testing.assert_allclose([row["lower"], row["upper"]], interval, rtol=1e-8)


def test_complete_pooling_is_lm(bounce_study):
    lm = reference("bounce__pooling.lm")["complete_pooling"]
    fit = bounce_study.complete
    np.testing.assert_allclose(fit.fixef, list(lm["coef"].values()), rtol=1e-9)
    np.testing.assert_allclose(fit.se, list(lm["se"].values()), rtol=1e-9)
    np.testing.assert_allclose(fit.confint()[["lower", "upper"]][:2], list(lm["ci95"].values()), rtol=1e-9)


def test_standard_errors_of_the_slopes_by_kind(bounce_study):
    conditional = bounce_study.reml.coef_se("conditional")["std_age"]
    total = bounce_study.reml.coef_se("total")["std_age"]
    assert conditional.min() == pytest.approx(0.012, abs=5e-4)
    assert conditional.max() == pytest.approx(0.052, abs=5e-4)
    assert total.min() == pytest.approx(0.461, abs=5e-4)
    assert total.max() == pytest.approx(0.480, abs=5e-4)


def test_findings(bounce_study):
    assert bounce_study.findings.codes == ["singular_fit", "vanishing_intervals", "between_within"]
    text = repr(bounce_study.findings)
    assert "correlation(Intercept, std_age) = +1.00" in text
    assert "slopes of std_age" in text
    for finding in bounce_study.findings:
        assert finding.advice and finding.meaning and finding.reference
        assert not finding.table.empty


def test_a_well_behaved_data_set_has_no_findings():
    study = pw.compare_pooling(
        "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=4, progress=False
    )
    assert not {"singular_fit", "vanishing_intervals", "too_few_rows", "not_converged"} & set(study.findings.codes)
    assert "partial_reml_intercept" not in study.fits
    assert not study.table["singular"].any()


def test_held_out_errors(bounce_study):
    table = bounce_study.table
    # Complete pooling cannot know the counties: its held-out error stays near its error in sample.
    assert table.loc["complete", "rmse_kfold"] == pytest.approx(14.1, abs=0.2)
    # The residual sd is 7.94; a held-out row of a known county cannot be predicted better than that.
    partial = table.loc[["partial_reml", "partial_reml_intercept", "partial_bayes"], "rmse_kfold"]
    assert partial.between(7.8, 8.2).all()
    assert np.isnan(table.loc["none", "rmse_new_groups"])
    assert table.loc["partial_bayes", "elpd"] < 0
    assert np.isnan(table.loc["partial_reml", "elpd"])


def test_subtracting_rows_equals_refitting(bounce):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    design = model.design
    held = row_folds(design.factors[0].codes, 5, seed=0) == 2
    kept = bounce[~held]
    fit = pw.Model(design.formula.text, kept).fit_frequentist()
    predicted = reml_refit(design, model.fit_frequentist().optimum)(held)
    np.testing.assert_allclose(predicted, fit.predict(bounce[held])["estimate"], rtol=1e-6)
    plain = pw.Model("bounce_time ~ std_age", kept).fit_frequentist()
    np.testing.assert_allclose(complete_refit(design)(held), plain.predict(bounce[held])["estimate"], rtol=1e-9)


@pytest.mark.parametrize("held_out", ["rows", "group"])
def test_a_bayesian_refit_is_the_fit_of_the_other_rows(bounce, held_out):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce, priors="article_2020_foundations")
    design = model.design
    codes = design.factors[0].codes
    held = row_folds(codes, 5, seed=0) == 2 if held_out == "rows" else codes == 5
    sampler = model.sampler
    ours = bayes_refit(design, sampler, Sampling(2000, 1000, 4, seed=1, progress=False))(held)
    # The priors of this preset are plain numbers, so a fit of the other rows has the same ones.
    rest = bounce[~held].assign(county=bounce.loc[~held, "county"].cat.remove_unused_categories())
    fit = pw.Model(design.formula.text, rest, priors="article_2020_foundations").fit(draws=2000, seed=2, progress=False)
    theirs = (
        fit.predict(bounce[held])["estimate"]
        if held_out == "rows"
        else fit.coefficients.mean(axis=0) @ design.X[held].T
    )
    # Posterior sds of these means are at most 6; at 5,000 effective draws in each, 5 standard errors are 0.6.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.6)


def test_folds_spread_every_group():
    codes = np.repeat([0, 1, 2], [5, 20, 75])
    folds = row_folds(codes, 5, seed=1)
    np.testing.assert_array_equal(np.bincount(folds), [20] * 5)
    for group, size in enumerate([5, 20, 75]):
        np.testing.assert_array_equal(np.bincount(folds[codes == group]), [size // 5] * 5)


def test_scores_are_root_mean_squares(bounce):
    design = pw.Model("bounce_time ~ std_age + (1 | county)", bounce).design
    folds = np.arange(design.n) % 3
    score = cross_validate(design, lambda held: np.full(held.sum(), 200.0), folds, np.ones(design.n, dtype=bool))
    assert score.rmse == pytest.approx(np.sqrt(np.mean((design.y - 200) ** 2)))


def test_coef_has_every_fit_and_interval(bounce_study):
    coef = bounce_study.coef()
    kinds = set(zip(coef["fit"], coef["interval"], strict=True))
    assert kinds == {
        ("complete", "separate"),
        ("none", "separate"),
        ("partial_reml", "total"),
        ("partial_reml", "conditional"),
        ("partial_reml_intercept", "total"),
        ("partial_reml_intercept", "conditional"),
        ("partial_bayes", "bayes"),
    }
    assert (coef["lower"] <= coef["estimate"]).all() and (coef["estimate"] <= coef["upper"]).all()


def test_shrinkage(bounce_study):
    table = bounce_study.shrinkage()
    assert len(table) == 16
    assert table["pooling_factor"].between(0, 1).all()
    slopes = table[table["term"] == "std_age"].set_index("group")
    # Kent has 7 rows, Cheshire 150: the smaller group is pooled more.
    assert slopes.loc["kent", "pooling_factor"] > slopes.loc["cheshire", "pooling_factor"]
    intercepts = table[table["term"] == "Intercept"].set_index("group")
    assert (intercepts["pooling_factor"] < slopes["pooling_factor"]).all()


def test_pooling_factor_of_a_single_intercept_is_the_textbook_one(bounce):
    study = pw.compare_pooling("bounce_time ~ 1 + (1 | county)", bounce, seed=5, progress=False)
    fit, sizes = study.bayes, study.factor.sizes
    tau = fit.data["posterior"]["1|county_sigma"].to_numpy().ravel()[:, None]
    sigma = fit.sigma_draws[:, None]
    expected = (sigma**2 / sizes / (sigma**2 / sizes + tau**2)).mean(axis=0)
    # The study averages over 400 of the 4,000 draws.
    np.testing.assert_allclose(study.shrinkage()["pooling_factor"], expected, rtol=0.08)


def test_groups_without_a_regression_are_reported_not_dropped():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=23), "g": ["one"] * 1 + ["two"] * 2 + ["big"] * 10 + ["more"] * 10})
    data["y"] = data["x"] + rng.normal(size=23)
    study = pw.compare_pooling("y ~ x + (1 | g)", data, seed=1, progress=False)
    assert "too_few_rows" in study.findings.codes
    none = study.none.coef().set_index(["group", "term"])["estimate"]
    # The level where x is zero needs the slope; the level at the row's own x does not.
    assert np.isnan(none[("one", "x")]) and np.isnan(none[("one", "Intercept")])
    assert study.none.fitted[0] == pytest.approx(data["y"][0])
    assert set(study.none.unidentified["group"]) == {"one"}
    assert study.shrinkage()["group"].nunique() == 4


def test_two_rows_do_not_make_a_predictor_constant():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=20), "z": rng.normal(size=20), "y": rng.normal(size=20)})
    design = pw.Model("y ~ x + z + (1 | g)", data.assign(g=np.repeat(list("abcdefghij"), 2))).design
    (found,) = too_few_rows(NoPoolingFit(design, design.factors[0]))
    assert found.title == "no group has a regression of its own: their rows do not identify x, z"


@pytest.mark.parametrize("at", [50.0, 0.0], ids=["far", "zero"])
def test_a_predictor_that_is_constant_within_groups_is_no_false_alarm(at):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), 30)
    z, u, x = rng.normal(at, 10, 12), rng.normal(0, 5, 12), rng.normal(size=360)
    data = pd.DataFrame({"x": x, "z": z[g], "g": g.astype(str), "y": 2 * z[g] + u[g] + 3 * x + rng.normal(0, 10, 360)})
    study = pw.compare_pooling("y ~ x + z + (1 | g)", data, seed=1, progress=False)
    found = {one.code: one.title for one in study.findings}
    # The variance of the intercepts is well estimated; only their level at a distant zero is not.
    assert not study.partial.is_singular and "vanishing_intervals" not in found
    assert found["too_few_rows"] == "no group has a regression of its own: their rows do not identify z"
    own = study.none.coef().pivot_table(index="group", columns="term", values="estimate", dropna=False)
    assert own[["Intercept", "z"]].isna().all(axis=None) and own["x"].notna().all()
    assert study.shrinkage()["no_pooling"].isna().all()
    means = pd.Series(study.none.fitted).groupby(data["g"]).mean()
    np.testing.assert_allclose(means, data.groupby("g")["y"].mean())


def test_reprs_and_files(bounce_study, tmp_path):
    text = repr(bounce_study)
    for word in (
        "complete pooling",
        "no pooling",
        "REML",
        "Bayesian",
        "613 rows in 8 groups of county",
        "singular_fit",
    ):
        assert word in text
    html = bounce_study._repr_html_()
    assert html.count("<table") == 1 and "singular_fit" in html
    files = {path.name for path in bounce_study.save(tmp_path / "out")}
    assert files == {"table.csv", "coef.csv", "shrinkage.csv", "findings.txt", "posterior.nc"}
    assert pw.load_fit(tmp_path / "out" / "posterior.nc").rmse() == pytest.approx(bounce_study.bayes.rmse())


def test_a_coefficient_that_training_rows_do_not_identify_gives_no_number():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(list("abcd"), 15), "x": rng.normal(size=60)})
    data["y"] = data["x"] + rng.normal(size=60)
    data["kind"] = np.where(data["g"] == "a", "rare", "common")
    study = pw.compare_pooling("y ~ x + kind + (1 | g)", data, seed=1, progress=False)
    new = study.table["rmse_new_groups"]
    # Group a has every row of the rare kind: without it only a prior knows that coefficient.
    assert new[["complete", "none", "partial_reml"]].isna().all()
    assert np.isfinite(new["partial_bayes"])
    assert study.table["rmse_kfold"].notna().all()


@pytest.mark.parametrize("option", ["folds", "new_group_folds"])
def test_one_fold_is_refused(bounce, option):
    with pytest.raises(pw.PoolwiseError, match=f"{option} must be a whole number of at least 2; got 1"):
        pw.compare_pooling("bounce_time ~ std_age + (1 | county)", bounce, progress=False, **{option: 1})


def test_the_group_that_is_named_must_be_there(bounce):
    with pytest.raises(pw.PoolwiseError, match="no grouping factor 'cuonty' in this model; did you mean 'county'"):
        pw.compare_pooling("bounce_time ~ std_age + (1 | county)", bounce, group="cuonty", progress=False)


def test_one_grouping_factor_is_needed(bounce):
    with pytest.raises(pw.PoolwiseError, match=r"needs one grouping factor.*has none"):
        pw.compare_pooling("bounce_time ~ std_age", bounce, progress=False)

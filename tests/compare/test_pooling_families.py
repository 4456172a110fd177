"""The pooling study of families other than the Gaussian: fits, held-out errors, findings.

Short chains: Monte Carlo errors of posterior means stay below a tenth of a posterior sd.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import digamma

import poolwise as pw
from poolwise.compare.crossval import row_folds
from poolwise.compare.refit import likelihood_refit, separate_refit
from poolwise.result import scores
from poolwise.result.no_pooling_glm import NoPoolingGLM
from poolwise.spec.design import row_subset

SHORT = dict(draws=400, tune=400, chains=2, seed=3, folds=3, new_group_folds=3, progress=False)


@pytest.fixture(scope="module")
def study():
    with warnings.catch_warnings():
        # Chains this short may not converge, which is what the finding is for.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.compare_pooling("p(incidence, size) ~ 1 + (1 | herd)", pw.load_dataset("cbpp"), "binomial", **SHORT)


@pytest.fixture(scope="module")
def binary():
    """Six groups, two of them without an event; the slope of the fourth is separated."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 12), "x": np.tile([-1.0, -0.3, 0.3, 1.0], 18)})
    data["y"] = rng.integers(0, 2, 72)
    data.loc[data["g"].isin(["b", "e"]), "y"] = 0
    data.loc[data["g"] == "d", "y"] = (data["x"] > 0).astype(int)
    return data


def test_table_has_every_fit_on_the_scale_of_the_response(study):
    table = study.table
    assert list(table.index) == ["complete", "none", "partial_laplace", "partial_bayes"]
    y = study.model.design.outcome.scaled
    n = study.model.design.outcome.trials
    # Complete pooling with a constant predicts the share of all trials.
    share = (y * n).sum() / n.sum()
    assert table.loc["complete", "rmse"] == pytest.approx(np.sqrt(np.mean((y - share) ** 2)), rel=1e-9)
    assert table.loc["complete", "brier"] == pytest.approx(share * (1 - share), rel=1e-9)
    expected = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert table.loc["complete", "log_loss"] == pytest.approx(expected, rel=1e-9)
    # Without pooling the fit in sample is best, whatever it is worth.
    assert table["brier"].idxmin() == "none"
    held = [f"{kind}_{fold}" for kind in ("rmse", "brier", "log_loss") for fold in ("kfold", "new_groups")]
    assert table.drop(index="none")[held].notna().all(axis=None)
    assert table.loc["none", "rmse_new_groups"] is np.nan or np.isnan(table.loc["none", "rmse_new_groups"])
    # Bayes and Laplace agree on what they predict.
    for column in ("rmse", "rmse_kfold", "brier_kfold", "log_loss_new_groups"):
        assert table.loc["partial_bayes", column] == pytest.approx(table.loc["partial_laplace", column], rel=0.05)
    assert table.loc["partial_bayes", "elpd"] < 0
    assert np.isnan(table.loc["partial_laplace", "elpd"])


def test_shrinkage_is_between_on_the_scale_of_the_link(study):
    table = study.shrinkage()
    assert len(table) == 15 and table["pooling_factor"].between(0, 1).all()
    centre = study.laplace.fixef["Intercept"]
    finite = table[np.isfinite(table["no_pooling"])]
    pulled = (finite["partial_laplace"] - centre) / (finite["no_pooling"] - centre)
    assert pulled.between(0, 1).all()
    # A herd with more information, n p (1 - p), keeps more of its own.
    p, (herd,) = study.laplace.fitted, study.model.design.factors
    information = np.bincount(herd.codes, study.model.design.outcome.trials * p * (1 - p))
    assert np.corrcoef(information, table["pooling_factor"])[0, 1] < -0.8


def test_pooling_factors_are_the_share_of_the_conditional_variance(study):
    fit = study.laplace
    at_optimum = fit.ranef_sd["Intercept"] ** 2 / fit.varcorr["vcov"][0]
    # The posterior's sd of 1|herd is larger than the estimate, and spread out.
    np.testing.assert_allclose(study.shrinkage()["pooling_factor"], at_optimum, atol=0.2)


def test_study_can_be_read_drawn_and_saved(study, tmp_path):
    text = repr(study)
    for word in ("maximum likelihood", "Laplace", "Bayesian", "Brier k-fold", "scale of the response"):
        assert word in text
    assert "Laplace, total interval" in str([t.get_text() for t in study.plot_estimates().legends[0].get_texts()])
    assert study.laplace is study.partial
    assert {"table.csv", "posterior.nc"} <= {path.name for path in study.save(tmp_path)}


def test_refits_are_fits_of_the_other_rows(binary):
    data = binary[binary["g"].isin(list("acf"))].reset_index(drop=True)
    model = pw.Model("y ~ x + (1 | g)", data, "bernoulli")
    design = model.design
    held = row_folds(design.factors[0].codes, 3, seed=0) == 1
    rest = pw.Model("y ~ x + (1 | g)", data[~held].reset_index(drop=True), "bernoulli").fit_frequentist()
    expected = rest.predict(data[held].reset_index(drop=True))["estimate"]
    np.testing.assert_allclose(likelihood_refit(design)(held), expected, rtol=1e-5)
    alone = separate_refit(design, design.factors[0])(held)
    for group in "acf":
        one = (data["g"] == group).to_numpy()
        own = pw.Model("y ~ x", data[one & ~held].reset_index(drop=True), "bernoulli").fit_frequentist()
        where = (design.factors[0].codes[held] == design.factors[0].levels.index(group)).nonzero()[0]
        expected = own.predict(data[one & held].reset_index(drop=True))["estimate"]
        np.testing.assert_allclose(alone[where], expected, rtol=1e-5)


def test_a_group_left_out_is_predicted_by_the_mean_over_groups(binary):
    data = binary[binary["g"].isin(list("acdf"))].reset_index(drop=True)
    model = pw.Model("y ~ 1 + (1 | g)", data, "bernoulli")
    held = (data["g"] == "c").to_numpy()
    rest = pw.Model("y ~ 1 + (1 | g)", data[~held].reset_index(drop=True), "bernoulli").fit_frequentist()
    eta, sd = rest.fixef["Intercept"], rest.theta[0]
    z = np.random.default_rng(0).normal(size=400_000)
    # The Monte Carlo error of the mean of 400,000 probabilities is below 1e-3.
    expected = np.mean(1 / (1 + np.exp(-(eta + sd * z))))
    np.testing.assert_allclose(likelihood_refit(model.design)(held), expected, atol=2e-3)


def test_rows_that_do_not_identify_a_coefficient_give_no_number(binary):
    data = binary.assign(kind=np.where(binary["g"] == "a", "rare", "common"))
    design = pw.Model("y ~ kind + (1 | g)", data, "bernoulli").design
    held = (data["g"] == "a").to_numpy()
    assert np.isnan(likelihood_refit(design)(held)).all()
    kept = row_subset(design, ~held)
    assert kept.n == 60 and kept.factors[0].sizes.tolist() == [0, 12, 12, 12, 12, 12]


def test_no_pooling_names_the_separated_groups(binary):
    design = pw.Model("y ~ x + (1 | g)", binary, "bernoulli").design
    fit = NoPoolingGLM(design, design.factors[0])
    separated = fit.separated.groupby("group")["term"].agg(list)
    assert separated["b"] == separated["e"] and "Intercept" in separated["b"]
    assert "x" in separated["d"] and not {"a", "c", "f"} & set(separated.index)
    coef = fit.coef().set_index(["group", "term"])
    assert coef.loc[("b", "Intercept"), "estimate"] == -np.inf
    assert coef.loc[("d", "x"), "estimate"] == np.inf
    assert coef.loc[[("b", "Intercept"), ("d", "x")], ["lower", "upper"]].isna().all(axis=None)
    assert np.isfinite(coef.loc["a", ["estimate", "lower", "upper"]].to_numpy(float)).all()
    # Predictions have their limits, and an event where none can happen costs infinitely.
    np.testing.assert_allclose(fit.fitted[binary["g"] == "b"], 0, atol=1e-9)
    assert np.isfinite(fit.log_loss())
    assert scores.log_loss(design, np.where(binary["g"] == "a", 0.0, fit.fitted)) == np.inf
    assert "separation in 3 groups" in repr(fit) and "b, d, e" in repr(fit)
    assert fit.predict(binary.assign(g="new").head(2))["estimate"].isna().all()
    assert fit.predict()["estimate"].notna().all()


def test_separation_is_a_finding_not_a_number(binary):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        study = pw.compare_pooling("y ~ x + (1 | g)", binary, "bernoulli", refit_bayes=False, **SHORT)
    finding = next(found for found in study.findings if found.code == "separation")
    assert "no pooling: 3 of 6 groups" in finding.title and set(finding.table["group"]) == {"b", "d", "e"}
    assert np.isinf(study.shrinkage()["no_pooling"]).any()
    assert np.isfinite(study.table["width_Intercept"]).all()
    assert "refit_bayes=False" in repr(study)
    assert np.isnan(study.table.loc["partial_bayes", "rmse_kfold"])


def test_groups_that_cannot_be_fitted_are_reported():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=23), "g": ["one"] + ["two"] * 2 + ["big"] * 10 + ["more"] * 10})
    data["y"] = rng.poisson(3, 23)
    design = pw.Model("y ~ x + (1 | g)", data, "poisson").design
    fit = NoPoolingGLM(design, design.factors[0])
    assert set(fit.unidentified["group"]) == {"one"}
    coef = fit.coef().set_index(["group", "term"])["estimate"]
    assert np.isnan(coef[("one", "x")]) and np.isnan(coef[("one", "Intercept")])
    assert fit.fitted[0] == pytest.approx(data["y"][0])
    assert len(coef) == 8


@pytest.mark.parametrize(("family", "name"), [("poisson", None), ("gamma", "alpha")])
def test_counts_and_gamma_responses(family, name):
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(6), 8)
    mu = np.exp(1 + rng.normal(0, 0.5, 6)[g])
    data = pd.DataFrame({"g": g.astype(str), "y": rng.poisson(mu) if family == "poisson" else rng.gamma(4, mu / 4)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        study = pw.compare_pooling("y ~ 1 + (1 | g)", data, family, link="log", **SHORT)
    assert "brier" not in study.table and study.table["rmse_kfold"].notna().all()
    assert study.table.loc["none", "rmse"] < study.table.loc["complete", "rmse"]
    # Complete pooling with a constant predicts the mean.
    assert study.table.loc["complete", "rmse"] == pytest.approx(np.std(data["y"]), rel=1e-8)
    if name:
        # The likeliest shape: log alpha - digamma(alpha) is the mean of log(mean) - log(y).
        means = data.groupby("g")["y"].transform("mean")
        alpha = study.none.family_parameters[name]
        assert np.log(alpha) - digamma(alpha) == pytest.approx(np.mean(np.log(means / data["y"])), rel=1e-6)


def test_a_singular_laplace_fit_is_found():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcde"), 20), "y": rng.permutation(np.tile([0, 1], 50))})
    # Every group has the same share of events: there is no variation between them at all.
    data["y"] = np.tile([0, 1], 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        study = pw.compare_pooling("y ~ 1 + (1 | g)", data, "bernoulli", refit_bayes=False, **SHORT)
    assert study.laplace.is_singular and study.table.loc["partial_laplace", "singular"]
    assert {"singular_fit", "vanishing_intervals"} <= set(study.findings.codes)


def test_a_family_without_a_likelihood_fit_is_refused():
    data = pd.DataFrame({"y": np.linspace(0.1, 0.9, 20), "g": list("abcd") * 5})
    with pytest.raises(pw.PoolwiseError, match="family beta has no frequentist fit"):
        pw.compare_pooling("y ~ 1 + (1 | g)", data, "beta", progress=False)


@pytest.mark.parametrize(
    ("formula", "family", "expected"),
    [
        ("n ~ x + (1 | g)", "cumulative", "family cumulative has no frequentist fit"),
        ("n ~ hsgp(x, m=5, c=1.5) + (1 | g)", "gaussian", "is a smooth function"),
        ("n ~ x + (1 | g) + (1 | h)", "poisson", "needs one grouping factor.* has g, h"),
    ],
)
def test_what_a_study_does_not_serve_is_refused_before_any_progress(formula, family, expected, capsys):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": list("abcd") * 10, "h": np.repeat(list("abcd"), 10), "x": rng.normal(size=40)})
    data["n"] = rng.integers(0, 3, 40)
    with pytest.raises(pw.PoolwiseError, match=rf"{expected}.*Model\.fit\(\).*poolwise fit"):
        pw.compare_pooling(formula, data, family)
    assert capsys.readouterr().err == ""

"""Forest, sizes, scores, group sds, pooling factors, calibration, prior to posterior, remedies: frames and figures.

Tolerances: what a frame takes from a fit is exact; densities of a histogram sum to one within rounding.
"""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from scipy.special import ndtr

import poolwise as pw
from poolwise.plot.coverage import coverage_frame, left_out_probabilities
from poolwise.plot.panels import side_by_side, smallest_and_largest


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(4)
    J = 70
    labels = np.array([f"{k} $x$ <b> 東京 {'long ' * 9}" for k in range(J)])
    g = np.repeat(np.arange(J), rng.integers(2, 40, J))
    data = pd.DataFrame({"g": labels[g], "x": rng.normal(size=len(g))})
    data["y"] = rng.normal(size=J)[g] + data["x"] * (1 + 0.5 * rng.normal(size=J)[g]) + rng.normal(size=len(g))
    return pw.compare_pooling("y ~ x + (x | g)", data, seed=1, draws=500, folds=2, new_group_folds=2, progress=False)


@pytest.fixture(scope="module")
def cbpp_study():
    data = pw.load_dataset("cbpp")
    options = dict(seed=1, draws=500, folds=2, new_group_folds=2, progress=False)
    return pw.compare_pooling("p(incidence, size) ~ 1 + (1 | herd)", data, "binomial", **options)


def test_the_forest_is_coef_of_all_four_fits(bounce_study):
    frame = pw.plots.forest_frame(bounce_study)
    assert frame.groupby(["fit", "interval"]).size().to_dict() == {
        ("complete", "separate"): 8,
        ("none", "separate"): 8,
        ("partial_bayes", "bayes"): 8,
        ("partial_reml", "conditional"): 8,
        ("partial_reml", "total"): 8,
    }
    slope = bounce_study.complete.fixef["std_age"]
    assert (frame.loc[frame["fit"] == "complete", "estimate"] == slope).all()
    kent = frame[(frame["group"] == "kent") & (frame["fit"] == "partial_bayes")].iloc[0]
    coef = bounce_study.bayes.coef().set_index(["group", "term"]).loc[("kent", "std_age")]
    assert (kent["estimate"], kent["lower"], kent["upper"]) == (coef["estimate"], coef["lower"], coef["upper"])
    assert kent["position"] == 0 and kent["n"] == 7
    assert pw.plots.forest_frame(bounce_study, "Intercept")["estimate"].min() > 150
    with pytest.raises(pw.PoolwiseError, match="no effect 'age' varies"):
        bounce_study.plot_forest(term="age")


def test_a_forest_of_many_groups_has_the_smallest_and_the_largest(many):
    frame = pw.plots.forest_frame(many)
    assert frame["group"].nunique() == 30
    shown = frame.drop_duplicates("group")["n"]
    assert (shown.min(), shown.max()) == (many.factor.sizes.min(), many.factor.sizes.max())
    assert "30 of 70 groups" in many.plot_forest().get_suptitle()


def test_sizes_have_all_groups_and_their_widths(bounce_study, many):
    frame = pw.plots.sizes_frame(bounce_study)
    assert len(frame) == 4 * 8 * 2 and set(frame["interval"]) == {"separate", "conditional", "total", "bayes"}
    np.testing.assert_allclose(frame["width"], frame["upper"] - frame["lower"], rtol=1e-12)
    widths = frame[frame["term"] == "std_age"].groupby("interval")["width"].median()
    # The article's failure: conditional intervals vanish, the others do not.
    assert widths["conditional"] < 0.1 * widths["total"] < 0.1 * widths["bayes"]
    assert len(pw.plots.sizes_frame(many)) == 4 * 70 * 2


def test_groups_of_one_size_stand_apart():
    n = pd.Series([10, 10, 10, 20])
    x = side_by_side(n)
    assert len(set(x)) == 4 and x[3] == 20 and x[1] == 10 and np.all(np.abs(x / n - 1) < 0.07)
    sizes = pd.Series(range(100), index=[f"g{k}" for k in range(100)])
    assert smallest_and_largest(sizes).tolist() == [*range(15), *range(85, 100)]


def test_pooling_factors_fall_with_size(many, bounce_study):
    frame = pw.plots.pooling_frame(many.bayes)
    assert len(frame) == 70 * 2 and frame["pooling"].between(0, 1).all()
    assert (frame["lower"] <= frame["pooling"]).all() and (frame["pooling"] <= frame["upper"]).all()
    slopes = frame[frame["term"] == "Intercept"]
    assert np.corrcoef(np.log(slopes["n"]), slopes["pooling"])[0, 1] < -0.8
    own = bounce_study.bayes.variance().groups
    assert pw.plots.pooling_frame(bounce_study.bayes)["pooling"].tolist() == own["pooling"].tolist()
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    with pytest.raises(pw.PoolwiseError, match="this one has 2"):
        crossed.fit(draws=100, chains=2, seed=1, progress=False).plot_pooling()


def test_scores_are_those_of_the_table(bounce_study, cbpp_study):
    frame = pw.plots.scores_frame(bounce_study).set_index(["fit", "measure", "where"])["value"]
    table = bounce_study.table
    assert frame["complete", "RMSE", "in sample"] == table.loc["complete", "rmse"]
    assert frame["partial_reml", "RMSE", "held-out groups"] == table.loc["partial_reml", "rmse_new_groups"]
    assert ("none", "RMSE", "held-out groups") not in frame.index
    assert frame.xs("elpd", level="measure").tolist() == [bounce_study.elpd]
    binary = pw.plots.scores_frame(cbpp_study)
    assert set(binary["measure"]) == {"RMSE", "Brier score", "log loss", "elpd"}


def test_group_sds_have_likelihood_posterior_and_prior(bounce_study, cbpp_study):
    frame = pw.plots.group_sd_frame(bounce_study)
    assert set(frame["parameter"]) == {"1|county_sigma", "std_age|county_sigma"}
    for (_, curve), own in frame.groupby(["parameter", "curve"]):
        assert own["height"].min() >= 0 and own["x"].is_monotonic_increasing
        assert curve == "prior" or own["height"].max() == pytest.approx(1)
    # The profile of the slopes' sd does not come down before zero, where the fit is singular.
    slope = frame[(frame["parameter"] == "std_age|county_sigma") & (frame["curve"] == "likelihood")]
    assert slope["x"].iloc[0] == 0 and slope["height"].iloc[0] > 0.85
    profile = bounce_study.reml.profile("1|county_sigma", level=0.999, points=41)
    own = frame[(frame["parameter"] == "1|county_sigma") & (frame["curve"] == "likelihood")]
    np.testing.assert_allclose(own["height"], np.exp(-profile["deviance"] / 2), rtol=1e-6)
    with pytest.raises(pw.PoolwiseError, match="of Gaussian models"):
        cbpp_study.plot_group_sds()


def test_prior_to_posterior_has_densities_that_sum_to_one(bounce_study):
    frame = pw.plots.prior_to_posterior_frame(bounce_study.bayes)
    assert set(frame["parameter"]) == {"1|county_sigma", "std_age|county_sigma", "sigma"}
    for (_, which), own in frame.groupby(["parameter", "which"]):
        inside = (own["density"] * (own["upper"] - own["lower"])).sum()
        # Of the posterior its outermost thousandths are not drawn.
        assert inside + own["beyond"].iloc[0] == pytest.approx(1, abs=1e-9 if which == "prior" else 0.003)
    # A draw of an Exponential prior of mean sd(y) is above x with probability exp(-x / sd(y)).
    sigma = frame[(frame["parameter"] == "sigma") & (frame["which"] == "prior")]
    sd_y = bounce_study.model.design.y.std(ddof=1)
    expected = np.exp(-sigma["upper"].iloc[-1] / sd_y)
    assert sigma["beyond"].iloc[0] == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000))


def test_an_improper_prior_has_no_density_and_says_so():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"), priors="flat")
    fit = model.fit(seed=1, progress=False)
    frame = pw.plots.prior_to_posterior_frame(fit)
    assert set(frame["which"]) == {"posterior"}
    texts = [text.get_text() for text in fit.plot_prior_to_posterior().axes[0].texts]
    assert texts == ["prior improper"]


def test_calibrated_rows_are_covered_as_often_as_intervals_say(many):
    frame = coverage_frame(many.bayes)
    rows = frame.drop_duplicates("sizes")
    assert rows["rows"].sum() == many.model.design.n and rows["groups"].sum() == 70
    # Data from the model itself: every share within four standard errors of its level.
    error = np.sqrt(frame["level"] * (1 - frame["level"]) / frame["rows"])
    assert (np.abs(frame["covered"] - frame["level"]) < 4 * error + 0.01).all()
    assert (frame["lower"] <= frame["covered"]).all() and (frame["covered"] <= frame["upper"]).all()


def test_left_out_probabilities_are_those_of_the_normal_model(bounce_study):
    fit, design = bounce_study.bayes, bounce_study.model.design
    rows, pit = left_out_probabilities(fit, seed=3)
    assert len(rows) == design.n
    z = (design.y - fit.fitted) / fit.sigma
    # The normal probability in sample; what is left is the Monte Carlo error of 8,000 draws and each row's leverage.
    np.testing.assert_allclose(pit, ndtr(z), atol=0.06)
    kent = np.flatnonzero(np.asarray(design.factors[0].labels)[design.factors[0].codes] == "kent")
    # A row that is left out is farther out.
    assert np.mean(np.abs(pit[kent] - 0.5)) > np.mean(np.abs(ndtr(z[kent]) - 0.5))


def test_remedies_have_sds_and_coefficients():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    why = pw.explain_singularity(model, n_boot=20, n_sim=200, draws=200)
    frame = pw.plots.remedies_frame(why)
    sds = frame[frame["panel"] == "sd"].set_index("remedy")["estimate"]
    assert sds["as it is"] == 0 and sds["boundary-avoiding"] == pytest.approx(1.489, abs=1e-3)
    coef = frame[frame["panel"] == "coefficient"]
    assert coef.groupby(["remedy", "interval"]).size()["as it is", "conditional"] == 6
    figure = why.plot()
    assert [axis.get_xlabel() for axis in figure.axes] == ["sd between groups: intercept", "intercept"]
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    "name", ["forest", "sizes", "scores", "group_sds", "pooling", "coverage", "prior_to_posterior"]
)
def test_every_picture_draws(name, bounce_study, many, cbpp_study):
    for study in (bounce_study, many, cbpp_study):
        if name == "group_sds" and study is cbpp_study:
            continue
        source = study if hasattr(study, f"plot_{name}") else study.bayes
        getattr(source, f"plot_{name}")().savefig(io.BytesIO(), format="png")


def test_replications_stand_beside_the_data(bounce_study, cbpp_study):
    others = pyplot.get_fignums()
    tree = pw.plots.predictive_tree(bounce_study.bayes)
    drawn = tree["posterior_predictive"]["bounce_time"]
    assert drawn.sizes["draw"] == 2000 and drawn.sizes[drawn.dims[-1]] == 613
    np.testing.assert_array_equal(tree["observed_data"]["bounce_time"], bounce_study.model.design.y)
    counts = pw.plots.predictive_tree(cbpp_study.bayes)
    name = cbpp_study.model.design.response
    assert counts["observed_data"][name].dtype.kind == "i" and counts["posterior_predictive"][name].dtype.kind == "i"
    for study in (bounce_study, cbpp_study):
        figure = study.bayes.plot_posterior_predictive()
        assert "50 replications" in figure.axes[0].get_title()
        figure.savefig(io.BytesIO(), format="png")
    assert pyplot.get_fignums() == others
    levels = pd.DataFrame({"o": pd.Categorical(list("abc") * 20, ordered=True), "g": list("wxyz") * 15})
    ordinal = pw.Model("o ~ 1 + (1 | g)", levels, "cumulative").fit(seed=1, target_accept=0.95, progress=False)
    tree = pw.plots.predictive_tree(ordinal)
    assert set(np.unique(tree["posterior_predictive"]["o"])) == set(np.unique(tree["observed_data"]["o"])) == {1, 2, 3}
    ordinal.plot_posterior_predictive().savefig(io.BytesIO(), format="png")

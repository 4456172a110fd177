"""Pictures of findings draw the frames that the checks made, and a posterior predictive picture suits its response."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

import poolwise as pw
from poolwise.check.finding import Finding
from poolwise.plot.finding import plot_finding


def drawn_points(figure):
    """Every point of every line of a figure."""
    return np.concatenate([np.ravel(line.get_ydata()) for axis in figure.axes for line in axis.get_lines()])


@pytest.fixture(scope="module")
def sleep():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    return model.fit(seed=1, progress=False)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 10), "y": rng.poisson(1.5, 80)})
    return pw.Model("y ~ 1 + (1 | g)", data, "poisson").fit(seed=1, progress=False)


def test_widths_of_vanishing_intervals(bounce_study):
    (finding,) = pw.checks.vanishing_intervals(bounce_study.partial, bounce_study.bayes)
    figure = finding.plot()
    assert set(finding.figure["conditional"]) | set(finding.figure["bayes"]) <= set(drawn_points(figure))
    # The dotted line is the threshold, which every conditional interval is below.
    bound = figure.axes[0].get_lines()[-1].get_ydata()
    assert bound == pytest.approx(0.25 * finding.figure["bayes"].to_numpy()) and bound.min() > 2 * (
        finding.figure["conditional"].max()
    )


def test_fifths_of_undue_shrinkage():
    data = pw.hospital_mortality(100, seed=1)
    fit = pw.Model("p(died, patients) ~ risk + (1 | hospital)", data, "binomial").fit_frequentist()
    finding = next(one for one in fit.check() if one.code == "undue_shrinkage")
    assert set(finding.figure["kind"]) == {"observed", "predicted", "predicted_with"}
    observed = finding.plot().axes[0].get_lines()[0].get_ydata()
    assert observed == pytest.approx(finding.table["observed"].to_numpy())


def test_statistics_and_probabilities(sleep):
    found = {finding.code: finding for finding in sleep.check()}
    statistics = found["posterior_predictive"]
    figure = statistics.plot()
    assert len(figure.axes) == len(statistics.figure) == 5
    assert set(statistics.figure["observed"]) <= set(drawn_points(figure))
    pit = found["loo_pit"]
    step = pit.plot().axes[0].get_lines()[0].get_ydata()
    assert np.abs(step).max() == pytest.approx(np.abs(pit.figure["expected"] - pit.figure["pit"]).max(), abs=1 / 180)
    for finding in found.values():
        finding.plot().savefig(io.BytesIO(), format="png")


def test_pareto_k_of_every_row():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(list("abcde"), 6), "y": rng.normal(size=30)})
    data.loc[4, "y"] = 60.0
    fit = pw.Model("y ~ 1 + (1 | g)", data).fit(seed=1, progress=False)
    with pytest.warns(UserWarning, match="Pareto"):
        (finding,) = pw.checks.unreliable_elpd(fit.loo(pointwise=True))
    assert len(finding.figure) == 30 and len(finding.table) < 30
    fine, far, limit = finding.plot().axes[0].get_lines()
    assert list(far.get_xdata()) == list(finding.table["row"]) and len(fine.get_xdata()) + len(far.get_xdata()) == 30
    assert limit.get_ydata()[0] == finding.threshold


def test_a_finding_without_a_picture_says_which_have_one():
    finding = Finding("tree_depth", "note", "t", 0.0, 0.0, "m", "a", "r")
    with pytest.raises(pw.PoolwiseError, match=r"'tree_depth' has no picture.*vanishing_intervals"):
        plot_finding(finding)


def test_intervals_are_those_of_replications(sleep):
    tree, others = pw.plots.predictive_tree(sleep), pyplot.get_fignums()
    figure = sleep.plot_posterior_predictive(kind="intervals")
    assert "in the order of their predictions" in figure.axes[0].get_xlabel()
    order = np.argsort(sleep.predict_draws().mean(axis=0), kind="stable")
    ends = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_ydata()) == 2]
    first = tree["posterior_predictive"]["Reaction"].to_numpy().reshape(-1, 180)[:, order[0]]
    # The first row's two bars: 95 and 50 %, equal-tailed.
    for low, high in ((0.025, 0.975), (0.25, 0.75)):
        assert any(np.allclose(np.sort(pair), np.quantile(first, [low, high]), rtol=1e-6) for pair in ends)
    points = drawn_points(sleep.plot_posterior_predictive(kind="loo_intervals"))
    assert len(points) >= 100 and pyplot.get_fignums() == others


def test_rootograms_are_of_counts(counts, sleep):
    figure = counts.plot_posterior_predictive(kind="rootogram")
    seen = np.bincount(counts.design.y.astype(int))
    assert set(seen[seen > 0]) <= set(np.round(offsets(figure), 9))
    with pytest.raises(pw.PoolwiseError, match="for a response of counts; Reaction is not"):
        sleep.plot_posterior_predictive(kind="rootogram")


def offsets(figure):
    """Heights of scattered marks and lines."""
    scattered = [np.asarray(marks.get_offsets())[:, 1] for axis in figure.axes for marks in axis.collections]
    return np.concatenate([drawn_points(figure), *[one for one in scattered if len(one)]])


def test_calibration_is_of_two_values_and_levels():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 20), "x": rng.normal(size=120)})
    data["y"] = rng.binomial(1, 1 / (1 + np.exp(-data["x"])))
    options = dict(seed=1, progress=False)
    binary = pw.Model("y ~ x + (1 | g)", data, "bernoulli").fit(**options)
    line = binary.plot_posterior_predictive(kind="calibration").axes[0].get_lines()
    # Pooled shares never fall as predictions rise.
    assert any(len(one.get_ydata()) > 10 and (np.diff(one.get_ydata()) >= 0).all() for one in line)
    with pytest.raises(pw.PoolwiseError, match="more than two values; y is not"):
        binary.plot_posterior_predictive(kind="intervals")
    data["o"] = pd.Categorical(np.array(["low", "mid", "top"])[np.digitize(data["x"], [-0.5, 0.5])], ordered=True)
    ordinal = pw.Model("o ~ 1 + (1 | g)", data, "cumulative").fit(**options)
    figure = ordinal.plot_posterior_predictive(kind="calibration")
    assert [axis.get_title() for axis in figure.axes] == ["at most low", "at most mid"]


def test_probabilities_of_left_out_rows(counts):
    assert counts.plot_posterior_predictive(kind="pit").axes[0].get_title().startswith("y: probabilities")
    with pytest.raises(pw.PoolwiseError, match=r"kind must be one of 'distribution', .*; got 'density'"):
        counts.plot_posterior_predictive(kind="density")

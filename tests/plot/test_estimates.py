"""The picture draws what its frame says, also with many groups and odd labels."""

import io

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.plot.estimates import estimates_frame, plot_estimates


def test_the_frame_has_every_fit_group_and_interval(bounce_study):
    frame = estimates_frame(bounce_study)
    assert len(frame) == 4 * 8 * 2
    assert frame["lower"].le(frame["upper"]).all()
    # The smallest group stands at the bottom.
    assert frame.loc[frame["position"] == 0, "group"].unique().tolist() == ["kent"]
    coef = bounce_study.bayes.coef().set_index(["group", "term"])["estimate"]
    drawn = frame[frame["fit"] == "partial_bayes"].set_index(["group", "term"])["estimate"]
    pd.testing.assert_series_equal(drawn.sort_index(), coef.sort_index())


def test_a_panel_a_term(bounce_study):
    figure = plot_estimates(bounce_study)
    assert [axis.get_xlabel() for axis in figure.axes] == ["intercept", "slope of std_age"]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "kent (n = 7)"


def test_many_groups_with_odd_labels():
    rng = np.random.default_rng(0)
    labels = [f"{k} $x_{k}$ <b> ü {'long ' * 10}" for k in range(40)]
    data = pd.DataFrame({"g": np.repeat(labels, 4), "x": rng.normal(size=160)})
    data["y"] = data["x"] + np.repeat(rng.normal(size=40), 4) + rng.normal(size=160)
    study = pw.compare_pooling("y ~ x + (1 | g)", data, seed=1, progress=False)
    assert estimates_frame(study)["group"].nunique() == 30
    figure = plot_estimates(study)
    assert "30 of 40 groups" in figure.get_suptitle()
    figure.savefig(io.BytesIO(), format="svg")


def test_the_columns_and_the_rows_behind_a_group(bounce_study, bounce):
    frame = estimates_frame(bounce_study)
    expected = ["fit", "interval", "group", "term", "estimate", "lower", "upper", "n", "position"]
    assert set(expected) <= set(frame.columns)
    sizes = bounce["county"].value_counts()
    assert frame.drop_duplicates("group").set_index("group")["n"].to_dict() == sizes.to_dict()
    assert sorted(frame["position"].unique()) == list(range(8))


def test_a_wider_level_has_wider_intervals_at_the_same_estimates(bounce_study):
    narrow, wide = estimates_frame(bounce_study, 0.5), estimates_frame(bounce_study, 0.95)
    keys = ["fit", "interval", "group", "term"]
    pd.testing.assert_frame_equal(narrow[[*keys, "estimate"]], wide[[*keys, "estimate"]])
    known = narrow["lower"].notna()
    assert known.any()
    assert (wide["upper"] - wide["lower"] > narrow["upper"] - narrow["lower"])[known].all()


def test_one_panel_holds_its_legend():
    data = pw.load_dataset("dyestuff")
    figure = pw.compare_pooling("Yield ~ 1 + (1 | Batch)", data, seed=1, progress=False).plot_estimates()
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width


def test_a_fit_alone(bounce_study):
    for fit, kinds in ((bounce_study.bayes, ["bayes"]), (bounce_study.reml, ["total", "conditional"])):
        frame = estimates_frame(fit, 0.8)
        assert sorted(frame["interval"].unique()) == sorted(kinds) and len(frame) == 16 * len(kinds)
        own = fit.coef(kinds[0], 0.8).set_index(["group", "term"])["lower"].sort_index()
        drawn = frame[frame["interval"] == kinds[0]].set_index(["group", "term"])["lower"].sort_index()
        pd.testing.assert_series_equal(drawn, own)
        figure = fit.plot_estimates(level=0.8)
        assert [axis.get_xlabel() for axis in figure.axes] == ["intercept", "slope of std_age"]
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[-1] == "common effect" and not any("REML" in label for label in labels)


def test_a_fit_of_several_factors_and_of_none():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": list("abcdef") * 20, "b": np.repeat(list("uvwxy"), 24), "y": rng.normal(size=120)})
    data["y"] += np.repeat(rng.normal(size=5), 24) + np.tile(rng.normal(size=6), 20)
    fit = pw.Model("y ~ 1 + (1 | a) + (1 | b)", data).fit_frequentist()
    assert estimates_frame(fit)["group"].nunique() == 6 and estimates_frame(fit, factor="b")["group"].nunique() == 5
    assert fit.plot_estimates(factor="b").axes[0].get_ylabel() == "b"
    with pytest.raises(pw.PoolwiseError, match="no grouping factor 'c' in this model"):
        fit.plot_estimates(factor="c")
    with pytest.raises(pw.PoolwiseError, match="this fit has no groups, so no coefficients by group to draw"):
        pw.Model("y ~ a", data).fit_frequentist().plot_estimates()


def test_an_interval_beyond_the_axis_has_a_head(bounce_study):
    axis = plot_estimates(bounce_study).axes[1]
    low, high = axis.get_xlim()
    heads = [(line.get_marker(), x) for line in axis.lines if line.get_marker() in "<>" for x in line.get_xdata()]
    frame = estimates_frame(bounce_study).query("term == 'std_age'")
    assert heads.count(("<", low)) == (frame["lower"] < low).sum() > 0
    assert heads.count((">", high)) == (frame["upper"] > high).sum() and len(heads) > 0

"""The picture of what the priors imply draws what its frame says."""

import io

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.plot.prior import EFFECTS_SHOWN, plot_prior, prior_frame


@pytest.fixture(scope="module")
def implications():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    return model.prior_implies(seed=1)


def test_the_frame_has_every_panel(implications):
    frame = prior_frame(implications)
    about = frame.groupby("panel")["about"].unique().map(list).to_dict()
    assert about == {
        "sd": ["1|Subject_sigma", "Days|Subject_sigma", "sigma"],
        "data": ["1|Subject_sigma", "sigma"],
        "pooling": ["1|Subject", "Days|Subject"],
        "correlation": ["Subject"],
    }
    data = frame[frame["panel"] == "data"]
    assert data["x"].to_numpy() == pytest.approx(pw.load_dataset("sleepstudy")["Reaction"].std())


def test_densities_and_what_lies_beyond_make_one(implications):
    frame = prior_frame(implications)
    for _, own in frame[frame["panel"].isin(["sd", "correlation"])].groupby(["panel", "about"]):
        inside = (own["estimate"] * (own["upper"] - own["lower"])).sum()
        assert inside + own["beyond"].iloc[0] == pytest.approx(1)


def test_pooling_is_that_of_the_table_and_falls_with_size(implications):
    frame = prior_frame(implications)
    drawn = frame[(frame["panel"] == "pooling") & (frame["about"] == "Days|Subject")]
    assert drawn["x"].min() == 2 and drawn["x"].max() == 10
    assert (np.diff(drawn["estimate"]) < 0).all()
    expected = implications.table.set_index(["quantity", "about"]).loc[("pooling factor of Days|Subject", "n = 10")]
    assert drawn[["estimate", "lower", "upper"]].iloc[-1].tolist() == expected.tolist()


def test_a_panel_a_prior_labelled_in_words(implications):
    figure = plot_prior(implications)
    labels = [axis.get_xlabel().replace("\n", " ") for axis in figure.axes]
    assert labels == [
        "sd of intercepts by Subject (Reaction)",
        "sd of slopes by Subject (Reaction per unit of Days)",
        "residual sd (Reaction)",
        "rows in a group (log scale) 1|Subject",
        "rows in a group (log scale) Days|Subject",
        "intraclass correlation (groups' share of the variance)",
    ]
    assert "sd of the data, 56.3" in figure.axes[0].texts[0].get_text()
    assert "5% beyond" in figure.axes[1].texts[0].get_text()


def test_many_effects_odd_names_and_single_rows():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"$g$": ["once", *(np.arange(79) // 5).astype(str)], "f": np.tile(list("abcdefgh"), 10)})
    data["y"] = rng.normal(size=80)
    implications = pw.Model("y ~ 1 + (f | `$g$`)", data).prior_implies(draws=200, seed=1)
    figure = plot_prior(implications)
    assert len(figure.axes) == 2 * (EFFECTS_SHOWN + 1)
    assert "first 4 of 8 varying effects" in figure.get_suptitle().replace("\n", " ")
    figure.savefig(io.BytesIO(), format="svg")


def test_crossed_factors_and_none_at_all():
    crossed = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    figure = plot_prior(crossed.prior_implies(draws=500, seed=1))
    legend = figure.axes[-1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["plate", "sample"]
    alone = plot_prior(pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).prior_implies(draws=500, seed=1))
    assert len(alone.axes) == 1
    for drawn in (figure, alone):
        drawn.savefig(io.BytesIO(), format="svg")


def test_flat_slopes_have_a_picture_too():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors="brms")
    assert len(pw.plots.plot_prior(model.prior_implies(draws=500, seed=1)).axes) == 6

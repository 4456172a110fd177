"""Data drawn from the prior beside the data: the frame is what the tree says, and the picture draws it."""

import io

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.plot.prior_predictive import plot_prior_predictive, prior_predictive_frame


@pytest.fixture(scope="module")
def model():
    return pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))


@pytest.fixture(scope="module")
def drawn(model):
    return model.prior_predictive(400, seed=1)


def test_the_frame_is_what_the_tree_says(model, drawn):
    data, frame = pw.load_dataset("penicillin"), prior_predictive_frame(model, drawn, level=0.8)
    simulated = drawn["prior_predictive"]["diameter"].to_numpy()[0]
    response = frame[frame["panel"] == "response"]
    for row in response.iloc[[5, 50, 90]].itertuples():
        shares = (simulated <= row.x).mean(axis=1)
        assert (row.estimate, row.lower, row.upper) == pytest.approx(tuple(np.quantile(shares, [0.5, 0.1, 0.9])))
        assert row.observed == pytest.approx((data["diameter"] <= row.x).mean())
    assert response["x"].min() <= data["diameter"].min() and response["x"].max() >= data["diameter"].max()
    for factor in ("plate", "sample"):
        own = frame[(frame["panel"] == "group_means") & (frame["about"] == factor)]
        sds = pd.DataFrame(simulated.T).groupby(data[factor].to_numpy()).mean().std()
        first = own.iloc[3]
        inside = ((sds >= first["lower"]) & (sds < first["upper"])).mean()
        assert first["estimate"] == pytest.approx(inside / (first["upper"] - first["lower"]))
        assert own["observed"].to_numpy() == pytest.approx(data.groupby(factor)["diameter"].mean().std())
        inside = (own["estimate"] * (own["upper"] - own["lower"])).sum()
        assert inside + own["beyond"].iloc[0] == pytest.approx(1)


def test_shares_of_successes_and_numbers_of_levels():
    cbpp = pw.load_dataset("cbpp")
    model = pw.Model("p(incidence, size) ~ period + (1 | herd)", cbpp, "binomial")
    frame = prior_predictive_frame(model, model.prior_predictive(50, seed=1))
    assert frame.loc[frame["panel"] == "response", "x"].between(0, 1).all()
    means = (cbpp["incidence"] / cbpp["size"]).groupby(cbpp["herd"]).mean()
    assert frame.loc[frame["panel"] == "group_means", "observed"].iloc[0] == pytest.approx(means.std())
    rng = np.random.default_rng(0)
    levels = pd.Categorical(rng.choice(["no", "so", "yes"], 30), categories=["no", "so", "yes"], ordered=True)
    ordered = pw.Model("o ~ 1 + (1 | g)", pd.DataFrame({"o": levels, "g": list("abc") * 10}), "cumulative")
    frame = prior_predictive_frame(ordered, ordered.prior_predictive(50, seed=1))
    assert frame.loc[frame["panel"] == "response", "x"].tolist() == [1, 2, 3]
    assert frame.loc[frame["panel"] == "response", "observed"].iloc[0] == pytest.approx((levels == "no").mean())


def test_the_picture_has_a_panel_for_the_response_and_one_a_factor(model, drawn):
    figure = plot_prior_predictive(model, drawn)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ["diameter", "sd between the means of plate", "sd between the means of sample"]
    data = next(line for line in figure.axes[0].lines if line.get_label() == "data")
    frame = prior_predictive_frame(model, drawn)
    np.testing.assert_array_equal(data.get_ydata(), frame.loc[frame["panel"] == "response", "observed"])
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    assert buffer.tell() > 1000
    assert pw.plots.plot_prior_predictive is plot_prior_predictive


def test_the_tree_goes_straight_into_arviz(drawn):
    import arviz as az

    drawing = az.plot_ppc_dist(drawn, group="prior_predictive", kind="ecdf", num_samples=5, backend="none")
    assert "diameter" in drawing.viz["predictive_dist"]

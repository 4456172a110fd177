"""The pictures of lines and arrows draw what their frames say, also with many groups and odd labels."""

import io

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.plot.arrows import arrows_frame
from poolwise.plot.lines import GROUPS_SHOWN, POINTS, lines_frame


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    J = 40
    labels = np.array([f"{k} $x$ <b> Łódź {'long ' * 9}" for k in range(J)])
    g = np.repeat(np.arange(J), rng.integers(3, 9, J))
    data = pd.DataFrame({"g": labels[g], "x": rng.normal(size=len(g)), "kind": np.array(["a", "b"])[g % 2]})
    data["y"] = rng.normal(size=J)[g] + data["x"] * (1 + 0.5 * rng.normal(size=J)[g]) + rng.normal(size=len(g))
    return data


@pytest.fixture(scope="module")
def many(table):
    return pw.compare_pooling("y ~ x + kind + (x | g)", table, seed=1, progress=False)


def test_lines_are_the_fits_predictions_over_each_groups_rows(bounce_study, bounce):
    frame = lines_frame(bounce_study)
    assert len(frame) == 3 * 8 * POINTS
    kent = frame[(frame["group"] == "kent") & (frame["fit"] == "partial_bayes")]
    rows = bounce.loc[bounce["county"] == "kent", "std_age"]
    assert (kent["x"].min(), kent["x"].max()) == (rows.min(), rows.max())
    coef = bounce_study.bayes.coef().query("group == 'kent'").set_index("term")["estimate"]
    np.testing.assert_allclose(kent["estimate"], coef["Intercept"] + coef["std_age"] * kent["x"], rtol=1e-9)
    assert kent["lower"].lt(kent["estimate"]).all()
    assert frame["group"].iloc[0] == "kent"


def test_neither_trials_nor_weights_are_a_predictor():
    data = pw.load_dataset("cbpp").assign(x=np.linspace(-1, 1, 56))
    study = pw.compare_pooling("p(incidence, size) ~ x + (1 | herd)", data, "binomial", seed=1, progress=False)
    assert lines_frame(study)["x"].between(-1, 1).all()
    weighted = pw.compare_pooling(
        "Reaction ~ Days + (1 | Subject)",
        pw.load_dataset("sleepstudy").assign(A=2.0),
        weights="A",
        seed=1,
        progress=False,
    )
    assert lines_frame(weighted)["x"].max() == 9
    plain = pw.compare_pooling("p(incidence, size) ~ period + (1 | herd)", data, "binomial", seed=1, progress=False)
    with pytest.raises(pw.PoolwiseError, match="there are none"):
        plain.plot_lines()


def test_arrows_go_from_no_pooling_to_the_posterior_mean(bounce_study):
    frame = arrows_frame(bounce_study).set_index("group")
    own = bounce_study.none.coef().set_index(["group", "term"])["estimate"]
    bayes = bounce_study.bayes.coef().set_index(["group", "term"])["estimate"]
    for county in ("kent", "cheshire"):
        row = frame.loc[county]
        assert row[["x", "y"]].tolist() == pytest.approx([own[county, "Intercept"], own[county, "std_age"]])
        assert row[["x_partial", "y_partial"]].tolist() == pytest.approx(
            [bayes[county, "Intercept"], bayes[county, "std_age"]]
        )
    # essex has 22 rows and the slope farthest out; devon stands at the population's already.
    assert frame["moved"].idxmax() == "essex"
    assert frame["moved"].idxmin() == "devon"


def test_many_groups_with_odd_labels(many):
    frame = lines_frame(many)
    assert frame["group"].nunique() == GROUPS_SHOWN
    for figure in (many.plot_lines(), many.plot_arrows()):
        figure.savefig(io.BytesIO(), format="svg")
    assert f"{GROUPS_SHOWN} of 40 groups" in many.plot_lines().get_suptitle()
    # In groups of kind b the intercept, which stands at kind a, is not identified without pooling.
    arrows = many.plot_arrows().axes[0]
    assert len(arrows.texts) == 20 + 8
    assert "not drawn: 20 groups without both coefficients of their own" in arrows.get_title()


def test_of_many_groups_the_farthest_have_arrows():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(60), 5)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=300), "y": rng.normal(size=300) + rng.normal(size=60)[g]})
    study = pw.compare_pooling("y ~ x + (x | g)", data, seed=1, progress=False)
    assert "arrows of the 40 of 60 groups moved most" in study.plot_arrows().axes[0].get_title()


def test_what_cannot_be_drawn_is_said(many, table):
    with pytest.raises(pw.PoolwiseError, match="no numeric predictor 'kind' to draw lines along; there are x"):
        many.plot_lines(predictor="kind")
    sizes = table.groupby("g")["x"].transform("size")
    by_level = pw.compare_pooling("y ~ x + z + (x | g)", table.assign(z=sizes), seed=1, progress=False)
    with pytest.raises(pw.PoolwiseError, match="no group's rows identify both Intercept and x without pooling"):
        by_level.plot_arrows()
    assert "not identified" in by_level.plot_forest(term="Intercept").axes[1].texts[0].get_text()
    simple = pw.compare_pooling("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"), seed=1, progress=False)
    with pytest.raises(pw.PoolwiseError, match="arrows need two varying effects"):
        simple.plot_arrows()

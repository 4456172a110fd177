"""The event of a response of two labels: the fit is that of the column made 0 and 1 by hand, to the last digit."""

import bambi as bmb
import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.spec.formula import parse_formula


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    g, x = np.arange(80) % 8, rng.normal(size=80)
    event = rng.random(80) < 1 / (1 + np.exp(-x))
    data = pd.DataFrame({"out come": np.where(event, "yes", "no"), "x": x, "g": [f"g{j}" for j in g]})
    return data.assign(y=data["out come"], number=event * 1, many=np.where(x > 1, "maybe", data["out come"]))


@pytest.mark.parametrize("said", ["y['yes']", 'y["yes"]', "y[yes]", "`out come`['yes']", "y [ 'yes' ]"])
def test_the_fit_is_that_of_zeros_and_ones(said):
    data = rows()
    model = pw.Model(f"{said} ~ x + (1 | g)", data, "bernoulli")
    by_hand = pw.Model("number ~ x + (1 | g)", data, "bernoulli")
    np.testing.assert_array_equal(model.design.y, by_hand.design.y)
    pd.testing.assert_series_equal(model.fit_frequentist().fixef, by_hand.fit_frequentist().fixef)
    events = int(data["number"].sum())
    assert f"is 1 where it is 'yes' ({events} of 80 rows), 0 where 'no'" in repr(model)
    assert data["y"].isin(["yes", "no"]).all(), "the table of the caller is not changed"


def test_the_other_label_turns_the_signs():
    yes, no = (pw.Model(f"y[{one!r}] ~ x", rows(), "bernoulli").fit_frequentist().fixef for one in ("yes", "no"))
    np.testing.assert_allclose(yes, -no, atol=1e-6)


def test_a_categorical_and_missing_labels():
    data = rows()
    data["y"] = pd.Categorical(data["y"].where(data.index != 3))
    with pytest.raises(pw.PoolwiseError, match=r"column 'y' has 1 missing value \(row 3\)"):
        pw.Model("y['yes'] ~ x", data, "bernoulli")
    model = pw.Model("y['yes'] ~ x", data, "bernoulli", missing="drop")
    np.testing.assert_array_equal(model.design.y, rows().drop(index=3)["number"])


def test_a_saved_fit_knows_its_event(tmp_path):
    fit = pw.Model("y['yes'] ~ x + (1 | g)", rows(), "bernoulli").fit(seed=1, progress=False)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    assert again.design.formula.text == "y['yes'] ~ x + (1 | g)"
    pd.testing.assert_frame_equal(again.predict(rows().drop(columns="y")), fit.predict(rows()))


def test_from_bambi_takes_it_as_it_is():
    data = rows()[["x", "y"]].astype({"y": "category"})
    model = bmb.Model("y['yes'] ~ x", data, family="bernoulli")
    np.testing.assert_array_equal(pw.Model.from_bambi(model).design.y, rows()["number"])


def test_the_grammar_keeps_it():
    formula = parse_formula("`out come`['yes'] ~ x")
    assert formula.event == "yes" and formula.response_columns == ("out come",)
    assert formula.canonical == '`out come`["yes"] ~ 1 + x' and parse_formula(formula.canonical) == formula


@pytest.mark.parametrize(
    ("formula", "family", "message"),
    [
        (
            "y['yse'] ~ x",
            "bernoulli",
            r"y\['yse'\] is no label of the column 'y'; did you mean 'yes'\?",
        ),
        ("many['yes'] ~ x", "bernoulli", r"has 3 labels \('maybe', 'no', 'yes'\), an event and its opposite are two"),
        ("number['1'] ~ x", "bernoulli", "the response 'number' holds numbers, 1 being the event; write number ~ ..."),
        ("y['yes'] ~ x", "gaussian", "for family='bernoulli'; family 'gaussian' takes the column itself: y ~ ..."),
        ("y['yes'] ~ x", "categorical", "family 'categorical' takes the column itself"),
        ("z['yes'] ~ x", "bernoulli", "the table has no column 'z'"),
        ("y ~ x", "bernoulli", r"name the event in the formula, y\['yes'\] ~ ..., with family='bernoulli'"),
        (["x ~ 1", "sigma['a'] ~ 1"], "gaussian", "a label stands in the formula of the response only"),
    ],
)
def test_what_is_no_event_is_refused_in_words(formula, family, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(formula, rows(), family)


def test_sums_need_numbers():
    with pytest.raises(pw.PoolwiseError, match="make 'y' 0 and 1 in the source, the event 'yes' being 1"):
        pw.collapse(rows(), "y['yes'] ~ x + (1 | g)", family="bernoulli")

"""Predictions: known groups with their effects, new groups from the population, wrong tables refused."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw

FORMULA = "bounce_time ~ std_age + (std_age | county)"


@pytest.fixture(scope="module")
def fits(bounce):
    model = pw.Model(FORMULA, bounce)
    return model.fit(seed=1, progress=False), model.fit_frequentist()


def test_rows_of_the_fit(fits, bounce):
    for fit in fits:
        table = fit.predict()
        np.testing.assert_allclose(table["estimate"], fit.fitted, rtol=1e-9)
        np.testing.assert_allclose(table["estimate"], fit.predict(bounce)["estimate"], rtol=1e-9)
        assert (table["groups"] == "observed").all()
        assert (table["lower"] < table["estimate"]).all() and (table["estimate"] < table["upper"]).all()


def test_a_new_group_is_drawn_from_the_population(fits):
    bayes, reml = fits
    new = pd.DataFrame({"std_age": [0.0, 0.0, 1.0], "county": ["atlantis", "kent", "atlantis"]})
    table = bayes.predict(new, seed=3)
    assert table["groups"].tolist() == ["new", "observed", "new"]
    draws = bayes.predict_draws(new, seed=3)
    posterior = bayes.data["posterior"]
    # Var = Var(common part) + E[tau^2] at std_age = 0; 4,000 draws give a sd to 1.1 %, heavy tails a little less.
    expected = posterior["Intercept"].var() + (posterior["1|county_sigma"] ** 2).mean()
    assert draws[:, 0].std() == pytest.approx(float(np.sqrt(expected)), rel=0.06)
    # Rows of one new group share its effects: their difference is a slope, not the noise of two groups.
    slope = draws[:, 2] - draws[:, 0]
    assert slope.std() < 0.5 * draws[:, 0].std()
    assert reml.predict(new)["estimate"][0] == pytest.approx(reml.fixef["Intercept"])
    width = reml.predict(new)["upper"] - reml.predict(new)["lower"]
    assert width[0] > 3 * width[1]


def test_a_groups_draw_does_not_depend_on_other_rows(fits):
    bayes, _ = fits
    new = pd.DataFrame({"std_age": [0.5, 0.1], "county": ["x", "atlantis"]})
    both, one = bayes.predict_draws(new, seed=3), bayes.predict_draws(new.iloc[1:], seed=3)
    np.testing.assert_allclose(both[:, 1], one[:, 0])


def test_the_response_is_wider_than_its_mean(fits, bounce):
    bayes, _ = fits
    mean, response = bayes.predict(bounce.head(3)), bayes.predict(bounce.head(3), kind="response")
    assert ((response["upper"] - response["lower"]) > 2 * (mean["upper"] - mean["lower"])).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"std_age": [0.0]}, r"the new table has no column 'county', which the grouping factor 'county' needs"),
        ({"std_age": [0.0, 1.0], "county": ["kent", None]}, r"'county' misses its value in row 1 of the new table"),
        ({"county": ["kent"]}, "std_age"),
        ({"std_age": ["old"], "county": ["kent"]}, "std_age"),
        ({"std_age": [np.nan], "county": ["kent"]}, "std_age"),
    ],
)
def test_wrong_tables_are_refused(fits, table, message):
    for fit in fits:
        with pytest.raises(pw.PoolwiseError, match=message):
            fit.predict(pd.DataFrame(table))


def test_wrong_arguments_name_what_is_allowed(fits):
    bayes, reml = fits
    with pytest.raises(pw.PoolwiseError, match="kind must be 'mean' or 'response'; got 'median'"):
        bayes.predict(kind="median")
    with pytest.raises(pw.PoolwiseError, match="this fit has the intervals 'total', 'conditional'; got 'bayes'"):
        reml.coef("bayes")
    with pytest.raises(pw.PoolwiseError, match=r"level must lie strictly between 0 and 1, for instance 0.95; got 95"):
        bayes.coef(level=95)

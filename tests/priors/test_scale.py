"""Scaling rules: R's numbers, and the same prior in any unit of measurement."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolwise.data.examples import load_dataset
from poolwise.errors import PriorError
from poolwise.model import Model
from poolwise.priors.scale import (
    RULES,
    ColumnFacts,
    DataFacts,
    EffectFacts,
    column_facts,
    mad_y_floored,
    median_y_rounded,
    sd_y_over_sd_x,
    sd_y_over_sd_x_within,
    within_group_sd,
)

RTOL = 1e-9  # products and quotients of sums of at most 40 numbers


def facts(y, x, codes) -> DataFacts:
    y, x, codes = np.asarray(y, float), np.asarray(x, float), np.asarray(codes)
    median = float(np.median(y))
    return DataFacts(
        n=len(y),
        mean_y=float(y.mean()),
        sd_y=float(y.std(ddof=1)),
        median_y=median,
        mad_y=float(1.4826 * np.median(np.abs(y - median))),
        columns={"x": column_facts(x)},
        effects={"x|g_sigma": EffectFacts(within_group_sd(x, codes), float(x.std(ddof=1)), False)},
        groups={"g": len(set(codes.tolist()))},
        covariates={"x": float(np.std([x[0], x[1], x[-1]], ddof=1))},
        intercept=True,
    )


@pytest.mark.parametrize(
    ("data", "response", "location", "scale"),
    [
        # prior_summary of brms 2.18.0, see tests/reference/README.md
        ("bounce_rates", "bounce_time", 202.6, 14.3),
        ("sleepstudy", "Reaction", 288.7, 59.3),
        ("radon", "log_radon", 1.3, 2.5),
        ("dyestuff2", "Yield", 5.4, 4.2),
        ("penicillin", "diameter", 23, 2.5),
        ("pastes", "strength", 59.3, 3.6),
    ],
)
def test_location_and_scale_of_brms(data, response, location, scale):
    y = load_dataset(data)[response].to_numpy(float)
    found = facts(y, y, np.zeros(len(y), int))
    assert (median_y_rounded(found, ""), mad_y_floored(found, "")) == (location, scale)


# Power of the response's and of the predictor's unit that each rule scales with; brms's two do not follow units.
UNITS = {
    "mean_y": (1, 0),
    "sd_y": (1, 0),
    "one_over_sd_y": (-1, 0),
    "sd_y_over_sd_x": (1, -1),
    "sd_y_over_sd_x_within": (1, -1),
    "sd_x_within_over_sd_y": (-1, 1),
    "sd_y_over_sd_x_sample": (1, -1),
    "sd_y_over_sd_x_population": (1, -1),
    "sd_y_population": (1, 0),
    "bambi_intercept_sd": (1, 0),
    "one_over_sd_z": (0, -1),
}


# Rules for scales without a unit of the response: power of the predictor's unit, where it is no level of a factor.
UNITLESS = {"bambi_probability_slope_sd": -1, "bambi_probability_group_sd": 0}


def test_every_rule_is_documented_and_tested():
    assert set(RULES) == {*UNITS, *UNITLESS, "median_y_rounded", "mad_y_floored"}
    assert all(rule.__doc__ for rule in RULES.values())


@pytest.mark.parametrize("rule", UNITLESS)
def test_rules_of_probabilities_follow_the_predictors_units(rule):
    rng = np.random.default_rng(1)
    x, y, codes = rng.normal(3, 1, 40), rng.normal(2, 1, 40), rng.integers(0, 4, 40)
    before = RULES[rule](facts(y, x, codes), "x")
    assert RULES[rule](facts(y * 7, x * 5, codes), "x") == pytest.approx(before * 5.0 ** UNITLESS[rule], rel=RTOL)


@given(
    st.sampled_from(list(UNITS)),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_rules_follow_the_units(rule, y_unit, x_unit, seed, binary):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, 40)
    x = (np.arange(40) % 7 == 0) * 1.0 if binary else rng.normal(3, 1, 40)
    y = rng.normal(2, 1, 40)
    column = "x|g_sigma" if "within" in rule else "x"
    before = RULES[rule](facts(y, x, codes), column)
    after = RULES[rule](facts(y * y_unit, x * x_unit, codes), column)
    y_power, x_power = UNITS[rule]
    np.testing.assert_allclose(after, before * y_unit**y_power * x_unit**x_power, rtol=RTOL)


def test_column_facts():
    found = column_facts(np.array([1.0, 2.0, 4.0]))
    assert (found.low, found.high, found.binary) == (1.0, 4.0, False)
    np.testing.assert_allclose([found.mean, found.sd], [7 / 3, np.std([1, 2, 4], ddof=1)], rtol=RTOL)
    assert column_facts(np.array([0.0, 1.0, 0.0])).binary


def test_a_rare_indicator_has_a_floor():
    x = np.r_[1.0, np.zeros(999)]
    found = facts(np.arange(1000), x, np.zeros(1000, int))
    # sd of the column is 0.03; a quarter of its range is 0.25.
    np.testing.assert_allclose(sd_y_over_sd_x(found, "x"), found.sd_y / 0.25, rtol=RTOL)


def test_a_constant_column_needs_its_own_prior():
    found = facts([1, 2, 3], [5, 5, 5], [0, 0, 1])
    with pytest.raises(
        PriorError, match="scale of 'x' cannot follow the data: the column is constant; give it a prior"
    ):
        sd_y_over_sd_x(found, "x")
    with pytest.raises(PriorError, match=r"scale of 'x\|g_sigma' cannot follow"):
        sd_y_over_sd_x_within(found, "x|g_sigma")


def test_within_group_sd_is_the_pooled_sd():
    x, codes = np.array([1.0, 3.0, 10.0, 14.0, 18.0]), np.array([0, 0, 1, 1, 1])
    # Squared deviations 2 + 32 over n - J = 3.
    np.testing.assert_allclose(within_group_sd(x, codes), np.sqrt(34 / 3), rtol=RTOL)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
def test_a_group_level_predictor_falls_back_to_its_total_sd(offset):
    codes = np.repeat(np.arange(4), 5)
    x = np.array([0.1, 0.2, 0.7, 0.9])[codes] + offset
    np.testing.assert_allclose(within_group_sd(x, codes), x.std(ddof=1), rtol=RTOL)


def test_groups_of_one_row_fall_back_too():
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(within_group_sd(x, np.arange(3)), x.std(ddof=1), rtol=RTOL)


def test_facts_are_plain_values():
    found = facts([1, 2, 4], [0, 1, 0], [0, 0, 1])
    assert replace(found, n=3) == found
    assert isinstance(found.columns["x"], ColumnFacts)


def model_priors(data: pd.DataFrame) -> dict:
    specification = Model("y ~ x + (x | g)", data).specification
    return {row.parameter: dict(row.prior.params) for row in specification.resolved}


@pytest.fixture
def table():
    rng = np.random.default_rng(5)
    g = np.repeat(list("abcdef"), [3, 9, 1, 12, 4, 20])
    return pd.DataFrame({"g": g, "x": rng.normal(3, 1, len(g)), "y": rng.normal(2, 1, len(g))})


@pytest.mark.parametrize(("y_unit", "x_unit"), [(60.0, 1.0), (1.0, 1e-6), (1e12, 1e3), (1e-12, 12.0)])
def test_priors_of_a_model_follow_the_units(table, y_unit, x_unit):
    before = model_priors(table)
    after = model_priors(table.assign(y=table["y"] * y_unit, x=table["x"] * x_unit))
    power = {"Intercept": y_unit, "x": y_unit / x_unit, "sigma": 1 / y_unit}
    power |= {"1|g_sigma": y_unit, "x|g_sigma": y_unit / x_unit, "corr|g": 1.0}
    assert set(after) == set(power)
    for parameter, params in before.items():
        for name, value in params.items():
            np.testing.assert_allclose(after[parameter][name], value * power[parameter], rtol=RTOL)


def test_a_distant_predictor_has_the_same_priors(table):
    # The intercept's prior stands at centred predictors, so that it does not move either.
    before, after = model_priors(table), model_priors(table.assign(x=table["x"] + 2000))
    assert set(after) == set(before)
    for parameter, params in before.items():
        for name, value in params.items():
            np.testing.assert_allclose(after[parameter][name], value, rtol=RTOL)


def test_within_group_sd_is_that_of_pandas(table):
    codes, labels = pd.factorize(table["g"])
    squares = table.groupby("g")["x"].agg(lambda x: ((x - x.mean()) ** 2).sum()).sum()
    expected = np.sqrt(squares / (len(table) - len(labels)))
    np.testing.assert_allclose(within_group_sd(table["x"].to_numpy(), codes), expected, rtol=RTOL)

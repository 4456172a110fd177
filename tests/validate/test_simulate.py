"""Parameters come from the priors, and responses from the parameters: else a calibration would test something else.

Distributions are held against scipy's by a Kolmogorov-Smirnov test of 20,000 draws, means within 5 standard errors: a
right one fails once in ten thousand seeds, and the seeds are fixed. Log likelihoods agree to rounding.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw
from poolwise.errors import ArgumentError, PriorError
from poolwise.validate import calibration
from poolwise.validate.simulate import drawn_parameters, drawn_responses, log_likelihoods

DRAWS = 20_000
P_VALUE = 1e-4


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(2)
    y = rng.normal(size=48)
    return pd.DataFrame(
        {
            "g": np.repeat(np.arange(8), 6).astype(str),
            "x": 1 + rng.normal(size=48),
            "y": (y - y.mean()) / y.std(ddof=1),
            "c": 1 + np.arange(48) % 3,
            "n": 1 + np.arange(48) % 5,
            "k": 1,
            "o": pd.Categorical(np.arange(48) % 3, ordered=True),
        }
    )


def fits_distribution(values, distribution) -> bool:
    return stats.kstest(values, distribution.cdf).pvalue > P_VALUE


def test_intercepts_and_group_sds_are_drawn_where_their_priors_stand(rows):
    # Priors stand at the mean of x, which is about 1; the draws are reported at 0.
    model = pw.Model("y ~ x + (x | g)", rows)
    drawn, priors = drawn_parameters(model, DRAWS, np.random.default_rng(1)), model.specification.priors
    move = np.array([1.0, rows["x"].mean()])
    intercept = priors["Intercept"].params
    assert fits_distribution(drawn.coefficients @ move, stats.norm(intercept["mu"], intercept["sigma"]))
    sd = np.sqrt(((drawn.group_factors[0].swapaxes(1, 2) @ move) ** 2).sum(axis=1))
    assert fits_distribution(sd, stats.halfnorm(0, priors["1|g_sigma"].params["sigma"]))
    assert fits_distribution(drawn.effects[0][:, 3] @ move / sd, stats.norm())
    assert fits_distribution(drawn.own["sigma"], stats.expon(0, 1 / priors["sigma"].params["lam"]))


def test_thresholds_are_drawn_in_order(rows):
    model = pw.Model("o ~ x", rows, family="cumulative")
    drawn = drawn_parameters(model, DRAWS, np.random.default_rng(1)).own["threshold"]
    assert (np.diff(drawn, axis=1) > 0).all()
    # Either of two ordered draws, taken at random, is one of the prior's.
    either = drawn[np.arange(DRAWS), np.random.default_rng(2).integers(0, 2, DRAWS)]
    prior = model.specification.priors["threshold"].params
    assert fits_distribution((either - prior["mu"]) / prior["sigma"], stats.t(prior["nu"]))


@pytest.mark.parametrize(
    ("formula", "family"), [("y ~ x + (1 | g)", "gaussian"), ("p(k, n) ~ x + (1 | g)", "binomial")]
)
def test_responses_have_the_mean_that_their_parameters_give(rows, formula, family):
    model = pw.Model(formula, rows, family=family)
    one = drawn_parameters(model, 1, np.random.default_rng(3))
    u = one.effects[0][0, model.design.factors[0].codes, 0]
    eta = one.coefficients[0, 0] + one.coefficients[0, 1] * rows["x"].to_numpy() + u
    assert np.allclose(one.linear_predictor(model.design)[0], eta)
    many = replace(
        one,
        coefficients=np.repeat(one.coefficients, DRAWS, axis=0),
        effects=(np.repeat(one.effects[0], DRAWS, axis=0),),
        own={name: np.repeat(value, DRAWS) for name, value in one.own.items()},
    )
    y = drawn_responses(model.design, many, 4)
    if family == "gaussian":
        mean, sd = eta, np.full(48, one.own["sigma"][0])
    else:
        n, p = rows["n"].to_numpy(), 1 / (1 + np.exp(-eta))
        mean, sd = n * p, np.sqrt(n * p * (1 - p))
    assert (np.abs(y.mean(axis=0) - mean) < 5 * sd / np.sqrt(DRAWS) + 1e-12).all()


def test_log_likelihoods_are_sums_over_the_rows(rows):
    model = pw.Model("y ~ x + (1 | g)", rows)
    drawn = drawn_parameters(model, 3, np.random.default_rng(1))
    y = drawn_responses(model.design, drawn, 1)
    found = log_likelihoods(model.design, [drawn.chosen(r) for r in range(3)], y)
    closed = stats.norm(drawn.linear_predictor(model.design), drawn.own["sigma"][:, None]).logpdf(y).sum(axis=1)
    assert np.allclose(found[:, 0], closed, rtol=1e-10)


def test_effects_of_twice_their_sd_are_noticed(rows, monkeypatch):
    # The density of the response is wrong, not a prior: the group effects have twice the sd that is ranked.
    def doubled(model, count, rng):
        truth = drawn_parameters(model, count, rng)
        return replace(truth, effects=tuple(2 * u for u in truth.effects))

    monkeypatch.setattr(calibration, "drawn_parameters", doubled)
    found = pw.validate.simulation_based_calibration(
        "y ~ x + (1 | g)", rows, n_sim=100, draws=300, tune=300, seed=8, progress=False
    )
    table = found.table().set_index("quantity")
    assert table["p_value"].idxmin() == "1|g_sigma"
    assert table.loc["1|g_sigma", "p_adjusted"] < P_VALUE
    assert table.loc["1|g_sigma", "mean"] < 0.4  # posteriors are too high
    assert not found.calibrated


def test_what_cannot_be_simulated_is_named(rows):
    with pytest.raises(PriorError, match="narrower"):
        wide = {"Intercept": pw.Prior("Normal", mu=0, sigma=1000)}
        pw.validate.simulation_based_calibration("c ~ x + (1 | g)", rows, "poisson", wide, seed=1, progress=False)
    with pytest.raises(ArgumentError, match="frequency"):
        pw.validate.simulation_based_calibration("weighted(y, n) ~ x + (1 | g)", rows, progress=False)


def test_another_response_has_to_fit_the_rows(rows):
    model = pw.Model("y ~ x + (1 | g)", rows)
    other = model.with_response(rows["y"] + 3)
    assert other.design.y.tolist() == (rows["y"] + 3).tolist()
    assert other.priors.equals(model.priors)
    for wrong in ([1.0, 2.0], np.full(48, np.nan)):
        with pytest.raises(ArgumentError, match="48 finite numbers"):
            model.with_response(wrong)

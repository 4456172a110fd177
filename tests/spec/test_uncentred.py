"""Names that would be lost and slopes far from zero are said before they do harm."""

import warnings

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.public import uncentred_slope
from poolwise.compile.collapsed import log_posterior


def table(shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g, x = np.repeat(list("abcdefgh"), 12), rng.normal(size=96)
    effects = rng.normal(size=(8, 2))
    y = 1 + 2 * x + np.repeat(effects[:, 0], 12) + np.repeat(effects[:, 1], 12) * x + 0.5 * rng.normal(size=96)
    return pd.DataFrame({"g": g, "x": x + shift, "y": y})


@pytest.mark.parametrize("shift", [20.0, 2000.0, -1e6])
def test_a_distant_predictor_of_uncorrelated_effects_is_found(shift):
    model = pw.Model("y ~ x + (x || g)", table(shift))
    with pytest.warns(pw.UncentredSlopeWarning, match=r"write center\(x\) in the formula"):
        model.fit_frequentist()
    (finding,) = uncentred_slope(model.design)
    assert finding.value > finding.threshold


def test_a_distant_predictor_under_priors_at_zero_is_found():
    model = pw.Model("y ~ x + (x | g)", table(2000.0), priors="brms")
    with pytest.warns(pw.UncentredSlopeWarning, match=r"write center\(x\)"), warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        model.fit(draws=10, tune=10, chains=1, progress=False, seed=1)
    assert uncentred_slope(model.design, centred=False)


@pytest.mark.parametrize("shift", [20.0, 2000.0, -1e6])
def test_correlated_effects_do_not_mind_where_the_predictor_is_zero(shift):
    """The group intercepts change with the shift as u0 - shift u1; everything else stays."""
    formula = "y ~ x + (x | g)"
    here, there = (pw.Model(formula, table(by)) for by in (0.0, shift))
    assert uncentred_slope(there.design) == []
    one, two = here.fit_frequentist(), there.fit_frequentist()
    # The shifted predictor has lost digits: 1e-16 shift, relative to its sd of about 1.
    tolerance = 1e-9 + 1e-15 * abs(shift) * 100
    assert two.criterion == pytest.approx(one.criterion, abs=1e-8 * abs(one.criterion) + tolerance)
    slopes = one.ranef["x"].to_numpy()
    np.testing.assert_allclose(two.ranef["x"], slopes, atol=1e-5)
    np.testing.assert_allclose(two.ranef["Intercept"], one.ranef["Intercept"] - shift * slopes, rtol=1e-4, atol=1e-4)
    assert two.varcorr["sdcor"][1] == pytest.approx(one.varcorr["sdcor"][1], rel=1e-4)
    assert not two.is_singular
    x = np.random.default_rng(1).normal(0, 0.5, here.sampler.model.size)
    values = [log_posterior(x, m.sampler.pack(m.sampler.model), np.zeros_like(x)) for m in (here, there)]
    assert values[1] == pytest.approx(values[0], abs=1e-4)


@pytest.mark.parametrize("formula", ["y ~ center(x) + (center(x) | g)", "y ~ x + (1 | g)", "y ~ x + (0 + x | g)"])
def test_centring_or_no_varying_intercept_is_silent(formula):
    model = pw.Model(formula, table(2000.0))
    assert uncentred_slope(model.design) == []


def test_bundled_data_are_silent():
    for formula, name in (
        ("bounce_time ~ std_age + (std_age | county)", "bounce_rates"),
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
        ("log_radon ~ floor + log_uranium + (floor | county)", "radon"),
    ):
        assert uncentred_slope(pw.Model(formula, pw.load_dataset(name)).design) == []


def test_a_column_called_intercept_in_a_block_is_refused():
    data = table().rename(columns={"x": "Intercept"})
    with pytest.raises(pw.PoolwiseError, match="has a column called 'Intercept', the name of the constant; rename"):
        pw.Model("y ~ Intercept + (Intercept | g)", data)
    assert "Intercept_predictor" in pw.Model("y ~ Intercept + (1 | g)", data).fit_frequentist().fixef


@pytest.mark.parametrize("name", ["chain", "draw"])
def test_a_response_called_as_a_dimension_is_refused(name):
    with pytest.raises(pw.PoolwiseError, match=f"the response is called {name!r}, a dimension of the draws"):
        pw.Model(f"{name} ~ x + (1 | g)", table().rename(columns={"y": name}))

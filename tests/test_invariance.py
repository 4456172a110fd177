"""Results do not depend on the order of rows, on the labels of groups, or on units."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poolwise as pw
from poolwise.compile.collapsed import log_posterior

# The optimiser stops at a gradient, not at a point: parameters agree to about the root of the criterion's precision.
RTOL = 2e-5
FORMULA = "y ~ x + (x | g)"


def table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 90
    g = np.concatenate([list("abcdefgh"), rng.choice(list("abcdefgh"), n - 8)])
    effects = pd.DataFrame(rng.normal(size=(8, 2)) * [2, 1], index=list("abcdefgh"))
    x = rng.normal(1, 2, n)
    y = 1 + x + effects.loc[g, 0].to_numpy() + effects.loc[g, 1].to_numpy() * x + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def density(model: pw.Model) -> float:
    """Log posterior at the sampler's origin, which moves with the data."""
    sampler = model.sampler
    return log_posterior(np.zeros(sampler.model.size), sampler.pack(sampler.model), np.zeros(sampler.model.size))


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_row_order_and_labels(seed):
    data = table(seed)
    one = pw.Model(FORMULA, data)
    shuffled = data.sample(frac=1, random_state=seed).assign(
        g=lambda d: d["g"].map(lambda label: f"z{ord(label) * 7 % 31}")
    )
    two = pw.Model(FORMULA, shuffled)
    a, b = one.fit_frequentist(), two.fit_frequentist()
    assert a.criterion == pytest.approx(b.criterion, rel=1e-9)
    np.testing.assert_allclose(a.fixef, b.fixef, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(np.sort(a.ranef["x"]), np.sort(b.ranef["x"]), rtol=RTOL, atol=RTOL)
    assert density(one) == pytest.approx(density(two), rel=1e-7)


@given(st.integers(0, 10_000), st.sampled_from([1e-12, 1e-3, 60.0, 1e12]), st.sampled_from([1e-6, 0.5, 1e6]))
@settings(deadline=None, max_examples=15)
def test_units(seed, y_unit, x_unit):
    data = table(seed)
    a = pw.Model(FORMULA, data).fit_frequentist()
    model = pw.Model(FORMULA, data.assign(y=data["y"] * y_unit, x=data["x"] * x_unit))
    b = model.fit_frequentist()
    assert b.sigma == pytest.approx(a.sigma * y_unit, rel=RTOL)
    np.testing.assert_allclose(b.fixef * [1, x_unit] / y_unit, a.fixef, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(b.ranef_sd * [1, x_unit] / y_unit, a.ranef_sd, rtol=RTOL, atol=RTOL)
    # A change of units of y divides its density by the unit, row by row; the scaled priors follow, and the sampler's
    # coordinates are free of units.
    expected = density(pw.Model(FORMULA, data)) - len(data) * np.log(y_unit)
    assert density(model) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_a_distant_mean_of_the_predictor_changes_only_the_intercept():
    data = table(1)
    a = pw.Model("y ~ x + (1 | g)", data).fit_frequentist()
    b = pw.Model("y ~ x + (1 | g)", data.assign(x=data["x"] + 1e6)).fit_frequentist()
    assert b.fixef["x"] == pytest.approx(a.fixef["x"], rel=1e-6)
    assert b.criterion == pytest.approx(a.criterion, rel=1e-9)


def test_frequency_weights_are_repeated_rows_and_precision_weights_are_not():
    data = table(2).assign(k=np.arange(90) % 3 + 1)
    repeated = data.loc[np.repeat(data.index, data["k"])]
    a = pw.Model("weighted(y, k) ~ x + (x | g)", data).fit_frequentist()
    b = pw.Model(FORMULA, repeated).fit_frequentist()
    assert a.criterion == pytest.approx(b.criterion, rel=1e-9)
    np.testing.assert_allclose(a.vcov, b.vcov, rtol=RTOL)
    precision = pw.Model(FORMULA, data, weights="k").fit_frequentist()
    assert precision.criterion != pytest.approx(a.criterion, rel=1e-3)

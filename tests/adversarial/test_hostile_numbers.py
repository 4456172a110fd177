"""Ill-conditioned designs and variances over many orders of magnitude, against closed forms and against the same data
in coordinates where nothing is ill-conditioned.

Tolerances: a condition number c of the centred design costs a coefficient about c * 1e-16 of its size; fitted values,
which hardly suffer from it, are compared to 1e-6 of the spread of y, ends of intervals to 1e-4.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from hostile import table

import poolwise as pw
from poolwise.errors import PoolwiseError


def reml(formula: str, data: pd.DataFrame):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.UncentredSlopeWarning)
        return pw.Model(formula, data).fit_frequentist()


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_raw_polynomials(degree):
    data = table(x=20.0 + np.arange(48) % 10)
    raw = " + ".join(["x", *(f"I(x**{k})" for k in range(2, degree + 1))])
    try:
        found = reml(f"y ~ {raw} + (1|g)", data)
    except PoolwiseError as error:
        # At degree 5 the columns are dependent to nine digits: the error names them.
        assert degree == 5 and "x" in str(error)
        return
    orthogonal = reml(f"y ~ poly(x, {degree}) + (1|g)", data)
    spread = np.ptp(data["y"])
    np.testing.assert_allclose(found.fitted, orthogonal.fitted, rtol=0, atol=1e-6 * spread)
    interval, right = found.predict(data), orthogonal.predict(data)
    np.testing.assert_allclose(interval["upper"], right["upper"], rtol=0, atol=1e-4 * spread)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_nearly_collinear_predictors(distance):
    """z = x + distance * noise: the coefficient of z is that of the noise over the distance."""
    base = table()
    noise = base["z"].to_numpy()
    found = reml("y ~ x + z + (1|g)", base.assign(z=base["x"] + distance * noise)).fixef
    right = reml("y ~ x + z + (1|g)", base).fixef
    assert found["z"] * distance == pytest.approx(right["z"], rel=1e-15 / distance * 100 + 1e-5)
    assert found["x"] + found["z"] == pytest.approx(right["x"], rel=1e-5, abs=1e-15 / distance**2 * 10)


@pytest.mark.parametrize("shift", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("formula", ["y ~ x + (1|g)", "y ~ x + (x|g)"])
def test_means_far_from_zero(shift, formula):
    found, right = reml(formula, table(x=table()["x"] + shift)), reml(formula, table())
    for column in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(found.predict()[column], right.predict()[column], atol=2e-5)
    assert found.fixef["x"] == pytest.approx(right.fixef["x"], rel=1e-4)


@pytest.mark.parametrize("ratio", [1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e5, 1e7])
def test_variances_over_twelve_orders(ratio):
    """Balanced groups have closed forms: sigma^2 = MSW and sd^2 = (MSB - MSW) / m, or the pooled variance at sd = 0."""
    rng = np.random.default_rng(3)
    u, e, m = rng.normal(size=30), rng.normal(size=(30, 5)), 5
    y = ratio * u[:, None] + e
    data = pd.DataFrame({"y": y.ravel(), "g": np.repeat(np.arange(30), m)})
    if ratio**2 > 1e12:
        # The residuals are below what is left of the digits of the sums of squares.
        with pytest.raises(PoolwiseError, match="the residual variance tends to zero"):
            reml("y ~ 1 + (1|g)", data)
        return
    found = reml("y ~ 1 + (1|g)", data)
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (30 * (m - 1))
    between = m * y.mean(axis=1).var(ddof=1)
    sds = found.varcorr["sdcor"].to_numpy()
    if between > within:
        np.testing.assert_allclose(sds, np.sqrt([(between - within) / m, within]), rtol=1e-4)
    else:
        np.testing.assert_allclose(sds, [0.0, y.std(ddof=1)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("groups", [2, 10, 1000, 100_000])
def test_few_and_many_groups(groups):
    rng = np.random.default_rng(4)
    m = 4
    y = rng.normal(size=groups)[:, None] + rng.normal(size=(groups, m))
    found = reml("y ~ 1 + (1|g)", pd.DataFrame({"y": y.ravel(), "g": np.repeat(np.arange(groups), m)}))
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (groups * (m - 1))
    between = m * y.mean(axis=1).var(ddof=1)
    assert found.sigma == pytest.approx(np.sqrt(within) if between > within else y.std(ddof=1), rel=1e-4)

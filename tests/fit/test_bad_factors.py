"""Tables that strain several grouping factors: a clear error each, or the right result.

What is fitted is checked against the n x n REML criterion and its stationarity: 1e-8 relative; the gradient by central
differences of step 1e-4, below 1e-4 in elements that are not at their bound.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw

CRITERION_RTOL = 1e-8
GRADIENT_ATOL = 1e-4


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 60
    table = pd.DataFrame({"a": rng.integers(0, 6, n), "b": rng.integers(0, 5, n), "x": rng.normal(size=n)})
    table["y"] = rng.normal(size=n) + 0.5 * table["a"] + 0.3 * table["b"] + table["x"]
    table[["a", "b"]] = table[["a", "b"]].astype(str)
    return table


def criterion(design, theta):
    """REML criterion of intercepts by factor, theta the sds relative to sigma, by definition."""
    X, y, n, p = design.X, design.y, design.n, design.X.shape[1]
    V = np.eye(n)
    for value, factor in zip(theta, design.factors, strict=True):
        V += value**2 * (factor.codes[:, None] == factor.codes)
    inverse = np.linalg.inv(V)
    A = X.T @ inverse @ X
    r = y - X @ np.linalg.solve(A, X.T @ inverse @ y)
    s = r @ inverse @ r / (n - p)
    return np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1] + (n - p) * (1 + np.log(2 * np.pi * s))


def assert_is_the_optimum(fit):
    assert fit.converged
    assert fit.criterion == pytest.approx(criterion(fit.design, fit.theta), rel=CRITERION_RTOL)
    for k, value in enumerate(fit.theta):
        step = 1e-4 * np.eye(len(fit.theta))[k]
        slope = (criterion(fit.design, fit.theta + step) - criterion(fit.design, fit.theta - step)) / 2e-4
        if value > 1e-3:
            assert abs(slope) < GRADIENT_ATOL
        else:
            assert criterion(fit.design, fit.theta + 100 * step) >= fit.criterion


def test_a_level_of_one_factor_only_in_one_row(frame):
    frame.loc[0, ["a", "b"]] = ["lonely", "alone"]
    fit = pw.Model("y ~ x + (1 | a) + (1 | b)", frame).fit_frequentist()
    assert_is_the_optimum(fit)
    modes = fit.ranef["a"].loc["lonely", "Intercept"], fit.ranef["b"].loc["alone", "Intercept"]
    # One residual is shared in proportion to the variances.
    ratio = (fit.theta[0] / fit.theta[1]) ** 2
    assert modes[0] / modes[1] == pytest.approx(ratio)


def test_cells_without_rows(frame):
    few = frame[(frame["a"] != "0") | (frame["b"] == "1")]
    fit = pw.Model("y ~ x + (1 | a) + (1 | b) + (1 | a:b)", few).fit_frequentist()
    assert fit.design.factors[2].J == few.groupby(["a", "b"]).ngroups < 30
    assert_is_the_optimum(fit)


def test_unused_categories_are_no_groups(frame):
    wide = frame.assign(a=pd.Categorical(frame["a"], categories=[str(i) for i in range(200)]))
    model = pw.Model("y ~ x + (1 | a) + (1 | b)", wide)
    assert "194 unused levels" in model.specification.table.notes[0]
    plain = pw.Model("y ~ x + (1 | a) + (1 | b)", frame).fit_frequentist()
    assert model.fit_frequentist().criterion == pytest.approx(plain.criterion, rel=1e-12)


def refused(formula, table):
    with pytest.raises(pw.PoolwiseError) as caught:
        pw.Model(formula, table).fit_frequentist()
    return str(caught.value)


def test_a_group_a_row(frame):
    message = refused("y ~ x + (1 | a) + (1 | row)", frame.assign(row=[f"r{i}" for i in range(len(frame))]))
    assert message == (
        "every group of 'row' has one row (60 groups); group and residual variation cannot be told apart; use a "
        "coarser factor or leave the block out"
    )


def test_one_group(frame):
    message = refused("y ~ x + (1 | a) + (1 | site)", frame.assign(site="here"))
    assert message == "the grouping factor 'site' has one group only (here); partial pooling needs several"


def test_common_effects_that_depend_on_one_another(frame):
    message = refused("y ~ x + z + (1 | a) + (1 | b)", frame.assign(z=2 * frame["x"] + 1))
    assert message == (
        "the common effects are not identified: 'z' is a linear combination of 'Intercept', 'x' (rank 2 of 3 columns, "
        "60 rows); leave out the terms named, or combine them"
    )


@pytest.mark.parametrize("formula", ["y ~ a + (1 | a) + (1 | b)", "y ~ a + (1 | a)"])
def test_a_factor_that_is_a_common_effect_too(frame, formula):
    assert refused(formula, frame) == (
        "'1|a_sigma' is not identified: the common effects have a coefficient for every group of 'a' already, which "
        "leaves nothing for 'Intercept' to vary. Take the term that tells the groups apart out of the common part, or "
        "the effect out of the block of 'a'"
    )


def test_two_factors_with_the_same_groups(frame):
    renamed = frame.assign(c="group " + frame["a"])
    assert refused("y ~ x + (1 | a) + (1 | c)", renamed) == (
        "the grouping factors 'a' and 'c' make the same groups, so only the sum of their variances is identified "
        "(Intercept); leave one of the two blocks out"
    )
    # An intercept by one and a slope by the other is a model.
    assert pw.Model("y ~ x + (1 | a) + (0 + x | c)", renamed).fit_frequentist().converged


def test_more_effects_than_rows_can_tell(frame):
    message = refused("y ~ x + (x | a) + (x | b)", frame.head(6))
    assert message.startswith("the residual variance tends to zero: 2 common and ")
    assert "reproduce the 6 rows exactly, and the likelihood has no maximum" in message


def test_a_slope_on_a_column_that_does_not_vary(frame):
    message = refused("y ~ x + (k | a) + (1 | b)", frame.assign(k=1.0))
    assert "'k'" in message and "leave it out" in message

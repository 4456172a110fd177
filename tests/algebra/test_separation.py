"""Separation: where the maximum of a likelihood is at infinity, and which coefficients stay finite."""

import numpy as np
import pytest

from poolwise.algebra.exponential import ExponentialRows
from poolwise.algebra.separation import find_separation


def binary(y, trials=None):
    y = np.asarray(y, dtype=float)
    return ExponentialRows(
        "binomial", "logit", y, np.ones(len(y)) if trials is None else trials, np.ones(len(y)), False
    )


def limits(rows, *columns):
    X = np.column_stack([np.ones(len(rows.y)), *columns])
    found = find_separation(rows, X)
    return None if found is None else found.limits(np.eye(X.shape[1])).tolist()


def test_overlap_has_finite_estimates():
    assert limits(binary([0, 1, 0, 1]), [0.0, 1.0, 2.0, 3.0]) is None
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = rng.normal(size=(60, 3))
        # Both outcomes everywhere: with 60 coin tosses and 4 coefficients separation is rarer than one in 10^9.
        assert limits(binary(rng.integers(0, 2, 60)), x) is None


def test_complete_separation():
    found = limits(binary([0, 0, 1, 1]), [-2.0, -1.0, 1.0, 2.0])
    assert found is not None and found[1] == np.inf


def test_quasi_separation_leaves_the_other_coefficients_finite():
    # All rows of the second level are events; the first level and the slope overlap.
    level, x = np.array([0.0, 0, 0, 0, 1, 1]), np.array([1.0, 2, 3, 4, 1, 2])
    assert limits(binary([0, 1, 0, 1, 1, 1]), level, x) == [0.0, np.inf, 0.0]
    # Seen from the other level the intercept is infinite too.
    assert limits(binary([0, 1, 0, 1, 1, 1]), 1 - level, x) == [np.inf, -np.inf, 0.0]


def test_several_levels_at_once():
    levels = np.repeat(np.arange(4), 3)
    dummies = (levels[:, None] == np.arange(1, 4)).astype(float)
    y = np.array([0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0])
    assert limits(binary(y), dummies) == [0.0, -np.inf, np.inf, -np.inf]


def test_trials_between_none_and_all_hold_the_predictor():
    trials = np.array([3.0, 3.0, 3.0])
    assert limits(binary([1, 1, 0], trials), [0.0, 1.0, 2.0]) is None
    assert limits(binary([1, 1, 0], trials), [0.0, 0.0, 1.0]) == [0.0, -np.inf]


@pytest.mark.parametrize("family", ["poisson", "negativebinomial"])
def test_counts_separate_at_zero_only(family):
    ones = np.ones(4)
    rows = ExponentialRows(family, "log", np.array([2.0, 3.0, 0.0, 0.0]), ones, ones, family != "poisson")
    assert limits(rows, [0.0, 0.0, 1.0, 1.0]) == [0.0, -np.inf]
    rows = ExponentialRows(family, "log", np.array([2.0, 3.0, 0.0, 1.0]), ones, ones, family != "poisson")
    assert limits(rows, [0.0, 0.0, 1.0, 1.0]) is None


def test_what_not_even_the_sign_is_determined_of():
    # Rows of level 1 are all events at both values of x, which occurs nowhere else.
    level, x = np.array([0.0, 0, 1, 1]), np.array([0.0, 0, -1, 1])
    found = limits(binary([0, 1, 1, 1]), level, x)
    assert found[:2] == [0.0, np.inf] and found[2] != 0.0


def test_units_do_not_matter():
    x = np.array([0.0, 0, 0, 1, 1, 1])
    for scale in (1e-6, 1.0, 1e6):
        assert limits(binary([0, 1, 0, 1, 1, 1]), scale * x) == [0.0, np.inf]

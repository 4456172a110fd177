"""Simulation-based calibration of small models, and that it notices what is wrong.

The seeds are fixed; a right model passes at the level 0.95 over its quantities (about one seed in twenty would not),
a wrong one has to fail with an adjusted p value below 0.001, so that it is not luck. The full runs, 200 simulations a
family, are in benchmarks/calibration.py.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.errors import ArgumentError, PriorError
from poolwise.plot.calibration import calibration_frame, plot_calibration

SHORT = dict(n_sim=30, draws=500, tune=300, seed=3, progress=False)
TIGHT = {"Intercept": pw.Prior("Normal", mu=0, sigma=1), "1|g_sigma": pw.Prior("HalfNormal", sigma=1)}
TWICE = TIGHT | {"1|g_sigma": pw.Prior("HalfNormal", sigma=2)}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(8), 5)
    return pd.DataFrame(
        {
            "g": g.astype(str),
            "h": np.tile(np.arange(5), 8).astype(str),
            "x": rng.normal(2, 1, 40),
            "y": rng.normal(size=40),
            "b": np.arange(40) % 2,
            "c": np.arange(40) % 3,
            "n": 5,
            "o": pd.Categorical(np.arange(40) % 3, ordered=True),
        }
    )


@pytest.mark.parametrize(
    ("formula", "family", "form"),
    [
        ("y ~ x + (1 | g)", "gaussian", "collapsed"),
        ("y ~ x + (1 | g) + (1 | h)", "gaussian", "whitened"),
        ("b ~ x + (1 | g)", "bernoulli", "auto"),
        pytest.param("p(c, n) ~ x + (1 | g)", "binomial", "auto", marks=pytest.mark.slow),
        pytest.param("c ~ 1 + (1 | g)", "poisson", "auto", marks=pytest.mark.slow),
        pytest.param("c ~ 1 + (1 | g)", "negativebinomial", "auto", marks=pytest.mark.slow),
        pytest.param("y ~ x + (1 | g)", "t", "auto", marks=pytest.mark.slow),
        ("o ~ x + (1 | g)", "cumulative", "auto"),
    ],
)
def test_the_forms_are_calibrated(table, formula, family, form):
    done = pw.validate.simulation_based_calibration(formula, table, family, form=form, **SHORT)
    assert done.failed == 0
    assert done.ranks.shape == (30, done.ranks.shape[1])
    assert done.ranks.to_numpy().min() >= 0
    assert done.ranks.to_numpy().max() <= done.kept == 50
    assert done.calibrated, done


@pytest.mark.parametrize("family", ["gaussian", pytest.param("bernoulli", marks=pytest.mark.slow)])
def test_group_sds_from_twice_as_wide_a_prior_are_noticed(table, family):
    formula = "y ~ 1 + (1 | g)" if family == "gaussian" else "b ~ 1 + (1 | g)"
    model = pw.Model(formula, table, family, TIGHT)
    settings = SHORT | dict(n_sim=120)
    wrong = pw.validate.simulation_based_calibration(model, drawn_from=model.with_priors(TWICE), **settings)
    rows = wrong.table().set_index("quantity")
    assert not wrong.calibrated
    assert "NOT CALIBRATED" in repr(wrong)
    assert rows.loc["1|g_sigma", "p_adjusted"] < 0.001
    assert rows.loc["1|g_sigma", "mean"] > 0.55
    frame = calibration_frame(wrong).drop_duplicates("quantity").set_index("quantity")
    assert not frame.loc["1|g_sigma", "inside"]


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_workers(table):
    settings = SHORT | dict(n_sim=4, draws=100, tune=100)
    one, two = (
        pw.validate.simulation_based_calibration("y ~ 1 + (1 | g)", table, workers=workers, **settings)
        for workers in (1, 2)
    )
    pd.testing.assert_frame_equal(one.ranks, two.ranks)


def test_the_plot_draws_a_panel_a_quantity(table):
    done = pw.validate.simulation_based_calibration("y ~ 1 + (1 | g)", table, **SHORT | dict(n_sim=10))
    frame = calibration_frame(done)
    assert list(frame.columns) == ["quantity", "x", "difference", "lower", "upper", "inside"]
    assert (frame["lower"] <= 0).all()
    assert (frame["upper"] >= -1e-12).all()
    assert [axis.get_title() for axis in plot_calibration(done).axes if axis.get_visible()] == list(done.ranks)


def test_improper_priors_and_bad_numbers_are_refused(table):
    flat = {"Intercept": pw.Prior("Flat")}
    with pytest.raises(PriorError, match="Intercept"):
        pw.validate.simulation_based_calibration("y ~ 1 + (1 | g)", table, priors=flat, **SHORT)
    with pytest.raises(ArgumentError, match="n_sim"):
        pw.validate.simulation_based_calibration("y ~ 1 + (1 | g)", table, n_sim=1)
    with pytest.raises(ArgumentError, match="thinned"):
        pw.validate.simulation_based_calibration("y ~ 1 + (1 | g)", table, draws=30)

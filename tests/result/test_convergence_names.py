"""What convergence says of a parameter has the name that a summary has."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import poolwise as pw
from poolwise.result.convergence import convergence


def test_the_measures_have_the_names_of_the_summary():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    with pytest.warns(pw.ConvergenceWarning):
        fit = model.fit(draws=20, tune=100, seed=1, progress=False)
    assert list(fit.convergence.table.index) == list(fit.summary().index)
    assert [name for name in fit.summary().index if "corr" in name] == ["corr|Subject[Intercept, Days]"]


def test_a_warning_names_the_number_that_is_worst():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, 500, 2, 2))
    draws[0, :, 0, 1] += 5
    dims = ("chain", "draw", "g__effect", "g__effect_bis")
    effects = ["Intercept", "x[b]"]
    posterior = xr.Dataset({"corr|g": (dims, draws)}, coords={"g__effect": effects, "g__effect_bis": effects})
    found = convergence(posterior, None, set())
    assert "(corr|g[Intercept, x[b]]), above 1.01" in found.problems[0]
    # Without labels numbers stand in their place.
    bare = xr.Dataset({"b": (("chain", "draw", "k"), draws[:, :, 0, ::-1])})
    assert "(b[0]), above" in convergence(bare, None, set()).problems[0]


def test_summaries_print_every_column():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    fit = model.fit(seed=1, progress=False)
    with pd.option_context("display.width", 80, "display.max_columns", 4):
        for table in (fit.summary(), fit.sensitivity(), model.fit_frequentist().summary()):
            head = repr(table).splitlines()[0].split()
            assert head == list(table.columns)


def test_one_chain_has_no_r_hat():
    fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(chains=1, seed=1, progress=False)
    said = repr(fit)
    assert "; 1 chain of 1000 draws" in said and "nan" not in said.split("\n\n")[0]
    assert "no R-hat of one chain" in said and "one chain cannot show whether it converged" in said

"""What does not fit into memory is refused before it is made, with its size and the way out."""

import re

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.data import memory
from poolwise.errors import DataError, FitError


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    n = 600
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 60, n), "h": rng.integers(0, 50, n)})
    frame["f"] = [f"level {k}" for k in rng.integers(0, 40, n)]
    frame["y"] = frame["x"] + rng.normal(size=60)[frame["g"]] + rng.normal(size=n)
    return frame


def leave(monkeypatch, size: float) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: size)


def test_what_the_system_says_is_plausible():
    assert 1e7 < memory.free_memory() < 1e14


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch):
    def missing(*args):
        raise OSError

    monkeypatch.setattr("builtins.open", missing)
    monkeypatch.setattr(memory.os, "sysconf", missing)
    assert memory.free_memory() == float("inf")


def test_columns_of_many_levels(table, monkeypatch):
    leave(monkeypatch, 300_000)
    said = "600 rows of 40 columns, of which 39 are of 'f', take at least 0.000384 GB of memory; 0.0003 GB are free"
    with pytest.raises(DataError, match=re.escape(said) + r".*groups, \(1 \| g\)"):
        pw.Model("y ~ x + f + (1 | g)", table)
    pw.Model("y ~ x + (1 | f)", table)


def test_columns_of_a_block_and_of_an_interaction(table, monkeypatch):
    leave(monkeypatch, 300_000)
    with pytest.raises(DataError, match="of which 39 are of 'f'"):
        pw.Model("y ~ x + (0 + f | g)", table)
    with pytest.raises(DataError, match="59 are of 'g'"):
        pw.Model("y ~ C(g) + (1 | h)", table)
    with pytest.raises(DataError, match="39 are of 'f:x'"):
        pw.Model("y ~ f:x + (1 | h)", table)


def test_crossed_factors(table, monkeypatch):
    model = pw.Model("y ~ x + (1 | g) + (1 | h)", table)
    expected = model.fit_frequentist().criterion
    leave(monkeypatch, 10_000)
    said = "numbers that tie 50 effects of crossed factors together take at least"
    with pytest.raises(FitError, match=said):
        pw.Model("y ~ x + (1 | g) + (1 | h)", table).fit_frequentist()
    leave(monkeypatch, 8 * 2 * 50**2)
    assert pw.Model("y ~ x + (1 | g) + (1 | h)", table).fit_frequentist().criterion == expected


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_draws_of_a_run_and_of_predictions(table, monkeypatch):
    model = pw.Model("y ~ x + (1 | g)", table)
    fit = model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    whole = fit.predict(table)
    leave(monkeypatch, 500_000)
    with pytest.raises(FitError, match=r"100 draws of 600 rows take at least .* Ask for a part of the rows"):
        fit.predict_draws(table)
    assert fit.predict_draws(table.head(20)).shape == (100, 20)
    leave(monkeypatch, 100_000)
    with pytest.raises(FitError, match=r"2 chains of 100 \+ 50 draws of 63 numbers .* Ask for fewer draws"):
        model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    assert len(whole) == 600

"""R-hat and effective sample sizes equal ArviZ's."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from poolwise.algebra.diagnostics import ess_bulk, ess_mean, ess_tail, rhat


def chains(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, 1001 if kind == "odd" else 1000))
    if kind in ("white", "odd"):
        return noise
    if kind == "ties":
        return np.round(noise)
    if kind == "shifted":
        return noise + np.arange(4)[:, None]
    out = np.zeros_like(noise)
    phi = {"slow": 0.95, "negative": -0.6}[kind]
    for t in range(1, noise.shape[1]):
        out[:, t] = phi * out[:, t - 1] + noise[:, t]
    return out


@pytest.mark.parametrize("kind", ["white", "odd", "ties", "shifted", "slow", "negative"])
def test_equal_to_arviz(kind):
    draws = chains(kind)
    axes = {"chain_axis": 0, "draw_axis": 1}
    assert rhat(draws) == pytest.approx(float(array_stats.rhat(draws, **axes)), rel=1e-10)
    assert ess_bulk(draws) == pytest.approx(float(array_stats.ess(draws, **axes)), rel=1e-8)
    assert ess_mean(draws) == pytest.approx(float(array_stats.ess(draws, method="mean", **axes)), rel=1e-8)
    expected = float(array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes))
    assert ess_tail(draws) == pytest.approx(expected, rel=1e-8)


def test_a_constant_has_no_rhat():
    assert np.isnan(rhat(np.ones((4, 100))))
    assert ess_bulk(np.ones((4, 100))) == 400


@pytest.mark.parametrize("length", range(4, 12))
def test_short_chains_are_as_arviz_has_them(length):
    draws = np.random.default_rng(length).normal(size=(4, length))
    axes = {"chain_axis": 0, "draw_axis": 1}
    assert ess_bulk(draws) == pytest.approx(float(array_stats.ess(draws, **axes)), rel=1e-8)
    assert ess_mean(draws) == pytest.approx(float(array_stats.ess(draws, method="mean", **axes)), rel=1e-8)
    assert ess_tail(draws) == pytest.approx(
        float(array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)), rel=1e-8
    )


@pytest.mark.parametrize("length", [1, 2, 3])
def test_chains_too_short_to_tell(length):
    draws = np.arange(2.0 * length).reshape(2, length)
    assert ess_mean(draws) == 2 * length
    assert np.isnan([ess_bulk(draws), ess_tail(draws), rhat(draws)]).all()

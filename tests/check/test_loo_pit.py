"""Leave-one-out PIT values are those of refits, and their test fires where the spread is wrong only.

Tolerances: a refit without the row and the reweighted posterior have Monte Carlo errors of about 0.01 each; a test at
0.01 fires in more than 4 of 60 right models once in 4,000 runs.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw
from poolwise.check.loo_pit import loo_pit, loo_pit_values


def groups(seed: int, noise, J: int = 10, n: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(J), n), rng.normal(size=J * n)
    return pd.DataFrame({"y": 1 + x + rng.normal(size=J)[g] + noise(rng, J * n), "x": x, "g": g})


def fit(data: pd.DataFrame, formula: str = "y ~ x + (1 | g)", family: str = "gaussian", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model(formula, data, family).fit(seed=1, progress=False, **options)


def test_they_are_those_of_refits():
    data = groups(1, lambda rng, size: rng.normal(size=size), J=6, n=6)
    pit = loo_pit_values(fit(data))
    for row in (0, 13, 35):
        others = fit(data.drop(index=row))
        drawn = others.predict_draws(data.iloc[[row]])[:, 0]
        expected = stats.norm.cdf((data["y"][row] - drawn) / others.sigma_draws).mean()
        assert pit[row] == pytest.approx(expected, abs=0.03)


def test_replications_give_the_same_values_as_the_closed_form():
    data = groups(2, lambda rng, size: rng.normal(size=size))
    found = fit(data)
    weighted = fit(data.assign(w=1), "weighted(y, w) ~ x + (1 | g)")
    np.testing.assert_allclose(loo_pit_values(found), loo_pit_values(weighted), atol=0.06)


def test_it_fires_where_the_spread_is_wrong():
    outliers = fit(groups(1, lambda rng, size: rng.standard_t(1.5, size)))
    (finding,) = loo_pit(outliers)
    assert finding.code == "loo_pit" and "predictions are too" in finding.title
    assert list(finding.table.columns) == ["row", "pit", "expected"] and finding.table["pit"].is_monotonic_increasing
    skewed = fit(groups(4, lambda rng, size: rng.exponential(2, size), n=40))
    assert [one.code for one in loo_pit(skewed)] == ["loo_pit"]


@pytest.mark.slow
def test_and_seldom_where_it_is_right():
    fired = sum(
        bool(loo_pit(fit(groups(100 + seed, lambda rng, size: rng.normal(size=size)), draws=300))) for seed in range(60)
    )
    assert fired <= 4


def test_counts_break_ties_at_random():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(8), 10)
    data = pd.DataFrame({"y": rng.poisson(np.exp(0.5 + 0.4 * rng.normal(size=8)[g])), "g": g})
    found = fit(data, "y ~ 1 + (1 | g)", "poisson", draws=300)
    pit = loo_pit_values(found)
    assert pit.min() >= 0 and pit.max() <= 1 and len(np.unique(pit)) == 80
    assert loo_pit(found) == []
    # A count that no replication reaches is beyond them, not impossible.
    high = data.assign(y=data["y"].where(data.index != 7, 12))
    beyond = loo_pit_values(fit(high, "y ~ 1 + (1 | g)", "poisson", draws=300))
    assert 0.95 < beyond[7] < 1 and beyond.min() > 0
    overdispersed = data.assign(y=rng.negative_binomial(0.4, 0.1, 80))
    assert loo_pit(fit(overdispersed, "y ~ 1 + (1 | g)", "poisson", draws=300))

"""Sums in place of rows: in memory = streamed = federated.

Tolerance 1e-10 relative: the sums differ from those of the rows by rounding only, a few parts in 1e15 each, which the
condition of the designs (at most 1e4) and the optimiser's stopping rule (gradient below 1e-7, quadratic around the
optimum) leave below that. theta is compared absolutely: an element may be zero.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw

RTOL = 1e-10


def table(seed: int = 0, n: int = 1200, J: int = 24, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, J, n), rng.integers(0, 7, n)
    x, z = rng.normal(3, 1, n), rng.gamma(4, 1, n)
    f = rng.choice(["low", "mid", "top"], n)
    u = rng.multivariate_normal([0, 0], [[0.5, 0.1], [0.1, 0.3]], J)
    y = u[g, 0] + (0.7 + u[g, 1]) * x + np.sin(z) + (f == "mid") + 0.6 * rng.normal(size=7)[h] + rng.normal(size=n)
    return pd.DataFrame(
        {"y": y + shift, "x": x, "z": z, "f": f, "g": [f"g{k:02d}" for k in g], "h": h, "w": rng.uniform(0.5, 2, n)}
    )


DESIGNS = {
    "weights": ("y ~ x + (x | g)", {"weights": "w"}),
    "offsets": ("y ~ z + offset(0.5 * x) + offset(log(z)) + (1 | g)", {}),
    "factors": ("weighted(y, w) ~ f * x + C(h) + (f || g)", {}),
    "splines": ("y ~ scale(x) + bs(z, df=5) + poly(w, 3) + center(log(w)) + (scale(x) | g)", {}),
    "two": ("y ~ x + f + (x | g) + (1 | h)", {}),
}


def same(first, second) -> None:
    np.testing.assert_allclose(second.fixef, first.fixef, rtol=RTOL, atol=RTOL * np.abs(first.fixef).max())
    np.testing.assert_allclose(second.se, first.se, rtol=1e-9)
    np.testing.assert_allclose(second.theta, first.theta, atol=1e-9 * max(1, np.abs(first.theta).max()))
    np.testing.assert_allclose([second.sigma, second.criterion], [first.sigma, first.criterion], rtol=RTOL)


@pytest.mark.parametrize("name", DESIGNS)
def test_in_memory_streamed_and_federated_are_equal(name, tmp_path):
    formula, options = DESIGNS[name]
    rows = table()
    model = pw.Model(formula, rows, **options)
    rows.iloc[:500].to_parquet(tmp_path / "a.parquet")
    rows.iloc[500:].to_parquet(tmp_path / "b.parquet")
    streamed = pw.collapse(str(tmp_path / "*.parquet"), formula, batch=170, **options)
    sites = [
        pw.collapse(rows.iloc[at], formula, like=streamed, **options)
        for at in (slice(0, 300), slice(300, 350), slice(350, None))
    ]
    files = [pw.load_collapsed(site.save(tmp_path / f"{k}.sums")) for k, site in enumerate(sites)]
    for data in (streamed, pw.combine(files)):
        collapsed = pw.Model(formula, data, **options)
        pd.testing.assert_frame_equal(collapsed.priors, model.priors)
        for own, other in zip(model.specification.resolved, collapsed.specification.resolved, strict=True):
            for key, value in own.prior.params.items():
                assert other.prior.params[key] == pytest.approx(value, rel=1e-9), own.parameter
        for reml in (True, False):
            same(model.fit_frequentist(reml), collapsed.fit_frequentist(reml))
        a, b = model.fit_frequentist(), collapsed.fit_frequentist()
        pd.testing.assert_frame_equal(a.coef(), b.coef(), rtol=1e-8, atol=1e-9)
        new = rows.sample(20, random_state=1)
        pd.testing.assert_frame_equal(a.predict(new), b.predict(new), rtol=1e-8, atol=1e-9)


def test_a_mean_a_million_times_the_sd_costs_no_digits(tmp_path):
    rows = table(shift=2e6).sort_values("y")
    rows.to_csv(tmp_path / "sorted.csv", index=False)
    formula = "y ~ x + (x | g)"
    data = pw.collapse(tmp_path / "sorted.csv", formula, batch=100)
    first = pw.Model(formula, pd.read_csv(tmp_path / "sorted.csv")).fit_frequentist()
    second = pw.Model(formula, data).fit_frequentist()
    same(first, second)
    # The slope and the spread too, not only the huge intercept: what rounding of y itself leaves is 2e-10 of its sd.
    assert second.fixef["x"] == pytest.approx(first.fixef["x"], rel=RTOL)

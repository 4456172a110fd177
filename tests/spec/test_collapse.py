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
    np.testing.assert_allclose(second.theta, first.theta, atol=1e-9 * max(1, np.abs(first.theta).max(initial=0)))
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


def test_the_posterior_is_the_same():
    # 1,000 draws: the Monte Carlo error of a difference of means is 0.06 posterior sds, if the chains part at all.
    rows, formula = table(), "y ~ x + (x | g)"
    options = {"draws": 500, "tune": 500, "chains": 2, "seed": 3, "progress": False}
    first = pw.Model(formula, rows).fit(**options)
    second = pw.Model(formula, pw.collapse(rows, formula, batch=100)).fit(**options)
    for own, other in ((first.coef(), second.coef()), (first.predict(rows[:9]), second.predict(rows[:9]))):
        sd = (own["upper"] - own["lower"]) / 3.92
        assert ((own["estimate"] - other["estimate"]).abs() < 0.3 * sd).all()
    assert second.summary().loc["sigma", "mean"] == pytest.approx(first.summary().loc["sigma", "mean"], rel=0.01)
    assert set(second.data.children) == {"posterior", "sample_stats"}


def test_plain_regression_and_nested_factors():
    rows = table()
    for formula in ("y ~ x * f", "y ~ x + (1 | g/h)", "y ~ 0 + x + f + (0 + x | h)"):
        first = pw.Model(formula, rows).fit_frequentist()
        same(first, pw.Model(formula, pw.collapse(rows, formula, batch=100)).fit_frequentist())


def test_levels_keep_their_order_and_their_names():
    rows = table()
    rows["f"] = pd.Categorical(rows["f"], categories=["top", "low", "none", "mid"])
    rows["h"] = rows["h"].astype(float)
    formula = "y ~ f + (1 | h)"
    first = pw.Model(formula, rows).fit_frequentist()
    second = pw.Model(formula, pw.collapse(rows, formula, batch=100)).fit_frequentist()
    assert list(second.fixef.index) == list(first.fixef.index) == ["Intercept", "f[low]", "f[mid]"]
    pd.testing.assert_frame_equal(first.coef(), second.coef(), rtol=1e-9)


def partitions(source: str, rows: pd.DataFrame):
    if source == "duckdb":
        connection = pytest.importorskip("duckdb").connect()
        connection.register("rows", rows)
        return connection.sql("select * from rows where w > 0")
    if source == "dask":
        return pytest.importorskip("dask.dataframe").from_pandas(rows, npartitions=5)
    if source in ("polars", "lazy"):
        frame = pytest.importorskip("polars").from_pandas(rows)
        return frame.lazy() if source == "lazy" else frame
    arrow = pytest.importorskip("pyarrow.dataset")
    import pyarrow as pa

    made = pa.Table.from_pandas(rows)
    return {"arrow": made, "dataset": arrow.dataset(made), "list": [rows[:500], rows[500:]]}[source]


@pytest.mark.parametrize("source", ["arrow", "dataset", "list", "duckdb", "polars", "lazy", "dask"])
def test_every_source_gives_the_same(source):
    rows, formula = table(), "y ~ scale(x) + f + (x | g)"
    data = pw.collapse(partitions(source, rows), formula, batch=300)
    here = pw.collapse(rows, formula)
    np.testing.assert_allclose(data.total.mean, here.total.mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(data.sums.plain.scatter, here.sums.plain.scatter, rtol=1e-10, atol=1e-10)
    assert data.recipe.shape == here.recipe.shape

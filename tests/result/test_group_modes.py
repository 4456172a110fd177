"""Predictions say what the groups of their rows stand for, and mean it.

Frequentist variances are checked against their formulas, 1e-8 relative; draws against moments, 4.5 standard errors.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

import poolwise as pw
from poolwise.errors import DataError
from poolwise.result.group_modes import GROUP_MODES, label_rng
from poolwise.result.no_pooling import NoPoolingFit

SLOPES = "bounce_time ~ std_age + (std_age | county)"
HALF = ndtri(0.975)


@pytest.fixture(scope="module")
def reml(bounce):
    return pw.Model("bounce_time ~ std_age + (1 | county)", bounce).fit_frequentist()


@pytest.fixture(scope="module")
def bayes(bounce):
    return pw.Model(SLOPES, bounce).fit(seed=1, draws=500, progress=False)


@pytest.fixture(scope="module")
def crossed():
    """Slopes by one factor, intercepts by another, precision weights."""
    rng = np.random.default_rng(11)
    n = 240
    frame = pd.DataFrame({"a": rng.integers(0, 8, n), "b": rng.integers(0, 6, n), "x": rng.normal(0.5, 2, n)})
    effects = rng.normal(size=(8, 2)) @ [[1.0, 0.4], [0.0, 0.6]]
    frame["w"] = rng.uniform(0.5, 2, n)
    noise = rng.normal(size=n) / np.sqrt(frame["w"])
    frame["y"] = 10 + effects[frame["a"], 0] + (2 + effects[frame["a"], 1]) * frame["x"]
    frame["y"] += rng.normal(size=6)[frame["b"]] + noise
    frame[["a", "b"]] = frame[["a", "b"]].astype(str)
    return pw.Model("y ~ x + (x | a) + (1 | b)", frame, weights="w").fit_frequentist()


def half_width(table):
    return ((table["upper"] - table["lower"]) / 2 / HALF).to_numpy()


def test_each_mode_of_one_factor(reml):
    rows = pd.DataFrame({"std_age": [1.0, 1.0], "county": ["kent", "atlantis"]})
    x = np.array([1.0, 1.0])
    typical, variance = x @ reml.fixef, x @ reml.vcov.to_numpy() @ x
    tau = reml.varcorr["sdcor"][0]
    found = {mode: reml.predict(rows, groups=mode) for mode in GROUP_MODES[1:]}
    np.testing.assert_allclose(found["population_mean"]["estimate"], typical)
    np.testing.assert_allclose(found["integrated"]["estimate"], typical)
    np.testing.assert_allclose(half_width(found["population_mean"]), np.sqrt(variance), rtol=1e-8)
    np.testing.assert_allclose(half_width(found["integrated"]), np.sqrt(variance + tau**2), rtol=1e-8)
    np.testing.assert_allclose(half_width(found["population_draw"]), np.sqrt(variance), rtol=1e-8)
    assert found["population_draw"]["estimate"].nunique() == 2
    default, observed = reml.predict(rows), reml.predict(rows.head(1), groups="observed")
    pd.testing.assert_series_equal(default.iloc[0], observed.iloc[0])
    assert observed["estimate"][0] == pytest.approx(typical + reml.ranef.loc["kent", "Intercept"])
    pd.testing.assert_series_equal(default.iloc[1], found["integrated"].iloc[1])
    assert default["groups[county]"].tolist() == ["observed", "new: integrated"]
    assert found["population_mean"]["groups[county]"].tolist() == ["seen: population_mean", "new: population_mean"]
    assert found["population_mean"]["groups"].tolist() == ["observed", "new"]


def test_the_response_has_the_residual_noise(reml, crossed):
    rows = pd.DataFrame({"std_age": [1.0], "county": ["kent"]})
    for mode in GROUP_MODES:
        mean, response = (half_width(reml.predict(rows, groups=mode, kind=kind)) for kind in ("mean", "response"))
        np.testing.assert_allclose(response, np.sqrt(mean**2 + reml.sigma**2), rtol=1e-8)
    own = crossed.design.frame
    mean, response = (half_width(crossed.predict(own, kind=kind)) for kind in ("mean", "response"))
    np.testing.assert_allclose(response**2 - mean**2, crossed.sigma**2 / own["w"], rtol=1e-7)
    rows = pd.DataFrame({"x": [0.0], "a": ["0"], "b": ["0"]})
    mean, response = (half_width(crossed.predict(rows, kind=kind)) for kind in ("mean", "response"))
    np.testing.assert_allclose(response**2 - mean**2, crossed.sigma**2, rtol=1e-7)


def test_a_mode_for_each_factor(crossed):
    rows = pd.DataFrame({"x": [1.5, 1.5], "a": ["3", "3"], "b": ["1", "new"]})
    x, z = np.array([1.0, 1.5]), np.array([1.0, 1.5])
    table = crossed.varcorr.set_index(["factor", "var1"])["vcov"]
    modes = {"a": "population_mean", "b": "integrated"}
    found = crossed.predict(rows, groups=modes)
    np.testing.assert_allclose(found["estimate"], x @ crossed.fixef)
    spread = x @ crossed.vcov.to_numpy() @ x + table["b", "Intercept"]
    np.testing.assert_allclose(half_width(found), np.sqrt(spread), rtol=1e-8)
    assert found["groups[a]"].tolist() == ["seen: population_mean"] * 2
    assert found["groups[b]"].tolist() == ["seen: integrated", "new: integrated"]
    # The known level of one factor keeps its effects beside a new level of the other.
    beside = crossed.predict(rows, groups={"a": "observed", "b": "population_mean"})
    expected = x @ crossed.fixef + z @ crossed.ranef["a"].loc["3"]
    np.testing.assert_allclose(beside["estimate"], expected)
    default = crossed.predict(rows)
    assert default["groups"].tolist() == ["observed", "new"]
    assert default["groups[a]"].tolist() == ["observed", "observed"]
    assert default["groups[b]"].tolist() == ["observed", "new: integrated"]
    assert default["estimate"][1] == pytest.approx(expected)


def test_population_draws_have_the_groups_covariance(crossed):
    labels = [f"group {i}" for i in range(1500)]
    rows = pd.DataFrame({"x": np.tile([0.0, 1.0], 1500), "a": np.repeat(labels, 2), "b": "0"})
    modes = {"a": "population_draw", "b": "population_mean"}
    found = crossed.predict(rows, groups=modes, seed=5)
    drawn = (found["estimate"] - (crossed.fixef["Intercept"] + crossed.fixef["x"] * rows["x"])).to_numpy()
    effects = np.column_stack([drawn[::2], drawn[1::2] - drawn[::2]])
    table = crossed.varcorr[crossed.varcorr["factor"] == "a"]["vcov"].to_numpy()
    expected = np.array([[table[0], table[2]], [table[2], table[1]]])
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 1500)
    assert np.all(np.abs(np.cov(effects.T) - expected) < 4.5 * error)
    # A label's draw depends on the seed, and on no other row.
    pd.testing.assert_frame_equal(
        crossed.predict(rows.tail(2), groups=modes, seed=5), found.tail(2).reset_index(drop=True)
    )
    assert crossed.predict(rows.tail(2), groups=modes, seed=6)["estimate"].iloc[0] != found["estimate"].iloc[-2]


def test_factors_with_the_same_labels_have_their_own_draws(crossed):
    a, b = crossed.design.factors
    assert label_rng(1, a, ("1",)).standard_normal() != label_rng(1, b, ("1",)).standard_normal()


def test_each_mode_of_a_posterior(bayes):
    rows = pd.DataFrame({"std_age": [1.0, 1.0, 0.0], "county": ["kent", "atlantis", "atlantis"]})
    X = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    typical = bayes.coefficients @ X.T
    np.testing.assert_allclose(bayes.predict_draws(rows, groups="population_mean"), typical)
    integrated = bayes.predict(rows, groups="integrated", seed=2)
    np.testing.assert_allclose(integrated["estimate"], typical.mean(axis=0))
    (factor,) = bayes.design.factors
    T = bayes.factor_draws(factor)
    for mode in ("integrated", "population_draw"):
        draws = bayes.predict_draws(rows, groups=mode, seed=2)
        part = draws - typical
        for row in range(3):
            expected = ((X[row] @ T) ** 2).sum(axis=1).mean()
            # 2,000 draws of a heavy-tailed mixture: three times the 3.2 % of a normal's variance, 4.5 times.
            assert (part[:, row] ** 2).mean() == pytest.approx(expected, rel=0.45)
        alike = np.corrcoef(part[:, 1], part[:, 2])[0, 1]
        assert alike > 0.9 if mode == "population_draw" else abs(alike) < 0.1
    np.testing.assert_allclose(
        bayes.predict_draws(rows.head(1), groups="observed"), bayes.predict_draws(rows.head(1)), rtol=1e-12
    )
    pd.testing.assert_series_equal(
        bayes.predict(rows, seed=2).iloc[1, :3], bayes.predict(rows, groups="population_draw", seed=2).iloc[1, :3]
    )
    assert bayes.predict(rows)["groups[county]"].tolist() == [
        "observed",
        "new: population_draw",
        "new: population_draw",
    ]
    assert integrated["groups[county]"].tolist() == ["seen: integrated", "new: integrated", "new: integrated"]


def test_without_pooling_there_is_no_population(bounce):
    design = pw.Model("bounce_time ~ std_age + (1 | county)", bounce).design
    fit = NoPoolingFit(design, design.factors[0])
    rows = pd.DataFrame({"std_age": [0.0, 0.0], "county": ["kent", "atlantis"]})
    table = fit.predict(rows)
    assert table["groups[county]"].tolist() == ["observed", "new"]
    assert np.isnan(table["estimate"][1])
    with pytest.raises(pw.PoolwiseError, match="without pooling there is no population of groups"):
        fit.predict(rows, groups="integrated")
    with pytest.raises(pw.PoolwiseError, match="'county' has 1 that was not: 'atlantis'"):
        fit.predict(rows, groups="observed")


def test_without_groups_every_mode_is_the_regression(bounce):
    fit = pw.Model("bounce_time ~ std_age", bounce).fit_frequentist()
    for mode in GROUP_MODES:
        pd.testing.assert_frame_equal(fit.predict(groups=mode), fit.predict())


def test_unknown_groups_are_named(reml, bayes, crossed):
    rows = pd.DataFrame({"std_age": 0.0, "county": ["kent", "atlantis", "atlantis", "utopia"]})
    for fit in (reml, bayes):
        with pytest.raises(pw.PoolwiseError) as caught:
            fit.predict(rows, groups="observed")
        assert str(caught.value) == (
            "groups='observed' needs groups that were in the data, and 'county' has 2 that were not: 'atlantis', "
            "'utopia'. Predict them with groups={'county': 'integrated'}, 'population_draw' or 'population_mean', or "
            "leave these rows out"
        )
    with pytest.raises(pw.PoolwiseError, match=r"groups must be one of 'observed', 'population_draw'.*; got 'mean'"):
        reml.predict(rows, groups="mean")
    with pytest.raises(pw.PoolwiseError, match=r"groups= names no grouping factor 'c'; .*'a', 'b'"):
        crossed.predict(groups={"c": "observed"})
    with pytest.raises(pw.PoolwiseError, match="kind must be 'mean' or 'response'; got 'median'"):
        reml.predict(rows, kind="median")


# The quadrature is at the fit's own draws, so a short run will do.
@pytest.mark.filterwarnings("ignore::poolwise.errors.ConvergenceWarning")
def test_integrated_is_the_mean_over_the_groups_under_any_link():
    """By Gauss-Hermite quadrature at every draw; 40,000 drawn effects of sd 0.2 in the mean: 0.001, 4.5 times."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(20), 15)
    mean = 1 / (1 + np.exp(-(1 + rng.normal(0, 1.5, 20)[groups])))
    frame = pd.DataFrame({"g": [f"g{j}" for j in groups], "y": rng.binomial(1, mean)})
    fit = pw.Model("y ~ 1 + (1 | g)", frame, family="bernoulli").fit(seed=1, draws=500, chains=2, progress=False)
    rows = pd.DataFrame({"g": ["new"] * 40})
    b, tau = fit.coefficients[:, :1], fit.factor_draws(fit.design.factors[0])[:, 0]
    x, w = np.polynomial.hermite_e.hermegauss(40)
    exact = (w / w.sum() / (1 + np.exp(-(b + tau * x)))).sum(axis=1).mean()
    assert fit.predict(rows, groups="integrated")["estimate"].mean() == pytest.approx(exact, abs=0.0045)
    typical = (1 / (1 + np.exp(-b))).mean()
    np.testing.assert_allclose(fit.predict(rows, groups="population_mean")["estimate"], typical)
    assert abs(typical - exact) > 0.02


@pytest.mark.parametrize("mode", ["population_mean", "integrated"])
def test_rows_without_groups_are_those_of_any_group(bayes, reml, crossed, mode):
    with_groups = pd.DataFrame({"std_age": [-1.0, 1.0], "county": ["kent", "atlantis"]})
    for fit in (bayes, reml):
        found, expected = (fit.predict(rows, groups=mode) for rows in (with_groups[["std_age"]], with_groups))
        numbers = ["estimate", "lower", "upper"]
        pd.testing.assert_frame_equal(found[numbers], expected[numbers])
        assert set(found["groups[county]"]) == {f"new: {mode}"}
    rows = pd.DataFrame({"x": [0.0, 2.0]})
    assert crossed.predict(rows, groups=mode)["estimate"].tolist() == pytest.approx(
        (crossed.fixef["Intercept"] + crossed.fixef["x"] * rows["x"]).tolist()
    )


def test_rows_without_groups_need_a_mode_that_asks_for_none(bayes, reml):
    for fit in (bayes, reml):
        with pytest.raises(DataError, match="groups='population_mean' and groups='integrated' do without it"):
            fit.predict(pd.DataFrame({"std_age": [0.0]}), groups="population_draw")

"""Intervals, degrees of freedom and tests of the frequentist fits against lme4, lmerTest and RLRsim.

Tolerances: lme4 interpolates its profiles by splines and stops its optimisers early, which shows in the fourth digit:
1e-3 of the interval's width. lmerTest takes Hessians by Richardson extrapolation: 1e-4 relative. RLRsim's p values are
from 100,000 draws, ours from 20,000: 4.5 standard errors of the difference.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import ks_2samp

import poolwise as pw
from conftest import reference
from poolwise.fit.profile import Curve
from poolwise.fit.replicates import Refitter
from poolwise.fit.rlrt import null_distribution, spectrum

PROFILE_TOLERANCE = 1e-3
DF_RTOL = 1e-4

LME4 = reference("inference.lme4")
SLOPES = "bounce_time ~ std_age + (std_age | county)"


@pytest.fixture(scope="module")
def fits():
    return {
        name: pw.Model(model["formula"], pw.load_dataset(model["data"])).fit_frequentist()
        for name, model in LME4["models"].items()
    }


@pytest.mark.parametrize("name", LME4["models"])
def test_profile_intervals_are_lme4s(fits, name):
    table = fits[name].confint("profile").set_index("parameter")
    for parameter, interval in LME4["models"][name]["profile"].items():
        ours = table.loc[parameter, ["lower", "upper"]].to_numpy(dtype=float)
        np.testing.assert_allclose(ours, interval, rtol=0, atol=PROFILE_TOLERANCE * (interval[1] - interval[0]))
    assert table["estimate"]["sigma"] == fits[name].sigma
    assert list(table.index[: len(fits[name].fixef)]) == list(fits[name].fixef.index)


def test_a_profile_of_an_ml_fit_is_the_same():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    reml, ml = (model.fit_frequentist(reml=reml).confint("profile") for reml in (True, False))
    np.testing.assert_allclose(ml[["lower", "upper"]], reml[["lower", "upper"]], rtol=1e-6)
    assert (ml["lower"] < ml["estimate"]).all() and (ml["estimate"] < ml["upper"]).all()


def test_the_profile_of_a_singular_fit_is_the_smallest_deviance(fits):
    """The deviance with sd(std_age) held, minimised by R's optim over the n x n likelihood (R 4.2.2).

    lme4 1.1-31 prints 1.215 as the upper limit, where the deviance has risen by 2.59 and not by 3.84: its profile of
    the correlation, which is 1 here, is not monotonic, and it interpolates through the gap.
    """
    fit = fits["bounce_slope"]
    curve = Curve(fit._likelihood, fit._chosen("std_age|county_sigma")[0])
    for value, excess in {1.0: 1.706739, 1.215: 2.594952, 1.4: 3.423761, 1.490275: 3.841459}.items():
        assert curve.excess(value) == pytest.approx(excess, abs=2e-6)
    table = fit.confint("profile", parameters=["std_age|county_sigma", "corr|county[Intercept, std_age]"])
    assert table["lower"].tolist() == [0.0, -1.0]
    assert table["upper"].tolist() == [pytest.approx(1.490275, abs=1e-5), 1.0]


def test_the_curve_of_a_profile(fits):
    fit = fits["dyestuff"]
    frame = fit.profile("1|Batch_sigma", level=0.95, points=11)
    assert list(frame.columns) == ["parameter", "value", "deviance", "zeta"]
    assert frame["value"].is_monotonic_increasing and frame["zeta"].is_monotonic_increasing
    ends = fit.confint("profile", parameters="1|Batch_sigma").iloc[0]
    assert frame["value"].iloc[[0, -1]].tolist() == pytest.approx([ends["lower"], ends["upper"]])
    assert frame["zeta"].iloc[[0, -1]].tolist() == pytest.approx([ndtri(0.025), ndtri(0.975)], abs=1e-5)
    np.testing.assert_allclose(frame["deviance"], frame["zeta"] ** 2)
    assert (frame["deviance"] == 0).sum() == 1


def test_profiles_without_groups_are_the_regressions():
    """D(b) = n log(1 + t^2 / (n - p)) in closed form."""
    frame = pw.load_dataset("sleepstudy")
    fit = pw.Model("Reaction ~ Days", frame).fit_frequentist()
    n, degrees = len(frame), len(frame) - 2
    t = np.sqrt(degrees * np.expm1(ndtri(0.975) ** 2 / n))
    expected = fit.fixef["Days"] + np.array([-1, 1]) * t * fit.se["Days"]
    ours = fit.confint("profile", parameters="Days")[["lower", "upper"]].to_numpy()[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_a_correlation_without_an_sd_can_be_anything():
    """The groups' own lines taken out of noise: both sds are 0, and every correlation has the same likelihood."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 6), "x": rng.normal(size=36), "y": rng.normal(size=36)})
    for _, rows in frame.groupby("g"):
        frame.loc[rows.index, "y"] -= np.polyval(np.polyfit(rows["x"], rows["y"], 1), rows["x"])
    fit = pw.Model("y ~ x + (x | g)", frame).fit_frequentist()
    table = fit.confint("profile").set_index("parameter")
    assert np.isnan(table.loc["corr|g[Intercept, x]", "estimate"])
    assert table.loc["corr|g[Intercept, x]", ["lower", "upper"]].tolist() == [-1.0, 1.0]
    assert table.loc["1|g_sigma", "lower"] == 0 < table.loc["1|g_sigma", "upper"]
    draws = fit.bootstrap(40, seed=1, progress=False).draws
    assert draws["corr|g[Intercept, x]"].isna().any()


@pytest.mark.parametrize("name", LME4["models"])
def test_degrees_of_freedom_are_lmertests(fits, name):
    table = fits[name].summary()
    for term, row in LME4["models"][name]["satterthwaite"].items():
        assert table.loc[term, "df"] == pytest.approx(row["df"], rel=DF_RTOL)
        assert table.loc[term, "t"] == pytest.approx(row["t"], rel=DF_RTOL)
        assert table.loc[term, "p"] == pytest.approx(row["p"], rel=100 * DF_RTOL)
    assert (table["note"] != "").all() == fits[name].is_singular
    by_t = fits[name].confint(df="satterthwaite").set_index("parameter")
    np.testing.assert_allclose(by_t.loc[table.index, "upper"], table["upper"])


def test_degrees_of_freedom_without_groups():
    frame = pw.load_dataset("sleepstudy")
    fit = pw.Model("Reaction ~ Days", frame).fit_frequentist()
    assert (fit.df == len(frame) - 2).all()


def test_wald_knows_nothing_of_variances(fits):
    table = fits["sleepstudy_slope"].confint().set_index("parameter")
    assert table.loc["Days", "upper"] == pytest.approx(10.46729 + ndtri(0.975) * 1.545789, rel=1e-6)
    assert table.loc[["1|Subject_sigma", "sigma"], ["lower", "upper"]].isna().all(axis=None)


def test_bootstrap_intervals_are_percentiles_of_refits(fits):
    fit = fits["bounce_slope"]
    boot = fit.bootstrap(400, seed=2, progress=False)
    table = fit.confint("bootstrap", 0.8, n_boot=400, seed=2, progress=False, parameters=["sigma", "std_age"])
    assert table["parameter"].tolist() == ["sigma", "std_age"]
    np.testing.assert_allclose(table["lower"], boot.draws[["sigma", "std_age"]].quantile(0.1))
    # lme4's refits of 400 simulated responses, optimised tightly: 0.73 singular, with a standard error of 0.022.
    assert boot.singular == pytest.approx(0.73, abs=4 * 0.022 * np.sqrt(2))
    assert table.attrs["singular"] == boot.singular
    assert boot.draws["std_age"].std() == pytest.approx(fit.se["std_age"], rel=0.15)
    assert boot.draws["Intercept"].mean() == pytest.approx(fit.fixef["Intercept"], abs=4 * fit.se["Intercept"] / 20)
    assert "singular refits 7" in repr(boot)


def test_bootstrap_of_several_factors_and_of_none(fits):
    fit = fits["penicillin"]
    boot = fit.bootstrap(40, seed=2, progress=False, workers=2)
    assert boot.converged == 1.0
    # The sd of 40 draws has a relative standard error of 11 %.
    assert boot.draws["Intercept"].std() == pytest.approx(fit.se["Intercept"], rel=0.45)
    assert boot.draws["sigma"].mean() == pytest.approx(fit.sigma, rel=0.05)
    plain = pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).fit_frequentist()
    draws = plain.bootstrap(500, seed=2, progress=False).draws
    # 3.2 % is the relative standard error of the sd of 500 draws.
    assert draws["Days"].std() == pytest.approx(plain.se["Days"], rel=4 * 0.032)
    assert draws["sigma"].mean() == pytest.approx(plain.sigma, rel=0.02)


@pytest.mark.parametrize("case", LME4["rlrt"], ids=lambda case: case["data"])
def test_rlrt_is_rlrsims(case):
    fit = pw.Model(case["formula"], pw.load_dataset(case["data"])).fit_frequentist(reml=case["data"] != "dyestuff")
    test = fit.rlrt(case["parameter"], n_sim=20_000, seed=4)
    assert test.statistic == pytest.approx(case["statistic"], rel=1e-4, abs=1e-6)
    error = np.sqrt(max(case["p"] * (1 - case["p"]), 1e-5) * (1 / 20_000 + 1 / 100_000))
    assert test.p_value == pytest.approx(case["p"], abs=4.5 * error)
    assert test.mc_error == pytest.approx(np.sqrt(test.p_value * (1 - test.p_value) / 20_000))
    assert test.approximate == (case["data"] not in ("dyestuff", "dyestuff2"))
    assert ("p < 5e-05" in repr(test)) == (test.p_value == 0)


def test_the_null_distribution_is_that_of_refits():
    """Responses simulated without group effects and fitted by REML, in unbalanced groups with precision weights."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"g": np.repeat(list("abcde"), [2, 3, 6, 8, 9]), "x": rng.normal(size=28)})
    frame["w"], frame["y"] = rng.uniform(0.3, 3, 28), rng.normal(size=28)
    model = pw.Model("y ~ x + (1 | g)", frame, weights="w")
    stats, structure, design = model.sufficient.stats, model.sufficient.structure, model.design
    X, Z, _ = model.sufficient.basis.rows(design.X, design.factors[0].Z, design.y)
    refit = Refitter(stats, structure, np.eye(1), reml=True)
    found = []
    for _ in range(2000):
        y = rng.normal(size=28) / np.sqrt(frame["w"].to_numpy())
        wy = frame["w"].to_numpy() * y
        Xty, yty, Zty = X.T @ wy, float(y @ wy), np.bincount(design.factors[0].codes, Z[:, 0] * wy)[:, None]
        Lambda, _, s, _ = refit(Xty, yty, Zty)
        # log|M| + log|A| + (n - p) log s, at the optimum and at zero.
        M = 1 + Lambda[0, 0] ** 2 * stats.ZtZ[:, 0, 0]
        cut = Lambda[0, 0] ** 2 * stats.ZtX[:, 0].T @ (stats.ZtX[:, 0] / M[:, None])
        at = np.log(M).sum() + np.linalg.slogdet(stats.XtX - cut)[1] + 26 * np.log(s)
        rss = yty - Xty @ np.linalg.solve(stats.XtX, Xty)
        found.append(max(np.linalg.slogdet(stats.XtX)[1] + 26 * np.log(rss / 26) - at, 0.0))
    drawn = null_distribution(spectrum(stats, 0), stats.n - stats.p, 20_000, rng)
    found = np.array(found)
    assert (drawn < 1e-6).mean() == pytest.approx((found < 1e-6).mean(), abs=4.5 * 0.5 / np.sqrt(2000))
    assert ks_2samp(drawn[drawn > 1e-3], found[found > 1e-3]).pvalue > 1e-3


def test_what_cannot_be_asked_is_said(fits):
    slopes = fits["sleepstudy_slope"]
    with pytest.raises(pw.PoolwiseError, match="method must be one of 'wald', 'profile', 'bootstrap'; got 'hpd'"):
        slopes.confint("hpd")
    with pytest.raises(pw.PoolwiseError, match="no parameter 'Day' in this fit; did you mean 'Days'"):
        slopes.profile("Day")
    with pytest.raises(pw.PoolwiseError, match="df must be 'normal' or 'satterthwaite'; got 'kr'"):
        slopes.confint(df="kr")
    with pytest.raises(pw.PoolwiseError, match="n_boot must be a whole number of at least 2; got 1"):
        slopes.bootstrap(1)
    with pytest.raises(pw.PoolwiseError, match="seed must be a whole number of at least 0; got 'x'"):
        slopes.bootstrap(10, seed="x")
    with pytest.raises(pw.PoolwiseError, match="points must be a whole number of at least 2; got 1"):
        slopes.profile("Days", points=1)
    with pytest.raises(pw.PoolwiseError, match=r"2 group standard deviations; say which to test: '1\|Subject_sigma'"):
        slopes.rlrt()
    with pytest.raises(pw.PoolwiseError, match=r"fit with uncorrelated effects, \(x \|\| g\)"):
        slopes.rlrt("Days|Subject_sigma")
    with pytest.raises(pw.PoolwiseError, match="'sigma' is not a group standard deviation"):
        slopes.rlrt("sigma")
    plain = pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).fit_frequentist()
    with pytest.raises(pw.PoolwiseError, match="no group standard deviation to test"):
        plain.rlrt()
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    penalised = model.fit_frequentist(penalty="boundary_avoiding")
    with pytest.raises(pw.PoolwiseError, match="a profile is of the likelihood without it"):
        penalised.confint("profile")
    assert penalised.bootstrap(50, seed=1, progress=False).singular == 0

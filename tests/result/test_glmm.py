"""Generalised linear mixed models: lme4's numbers, and what the fits say when something is wrong.

lme4 1.1-31, R 4.2.2. cbpp__rint and grouseticks__three are files of tests/reference; the other constants are

    glmer(formula, data, family, control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10,
          optCtrl = list(rhoend = 1e-9, maxfun = 1e5)))

with glmer.nb for the negative binomial; np is cbpp's period as a number, ``crossed_answers`` is made below.
Log-likelihoods agree to 1e-5 (lme4 stops 2e-5 above the minimum on grouseticks, see ``laplace_check`` there), estimates
to 1e-4 of a standard error or so, 3e-4 in relative terms; standard errors, which lme4 has from differences of the
criterion, to 1e-3.
"""

import warnings

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from conftest import REFERENCE, reference

LOGLIK, ESTIMATE, ERROR = 1e-5, 3e-4, 1e-3
AS_LME4 = "p(incidence, size) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def cbpp():
    frame = pw.load_dataset("cbpp")
    return frame.assign(np=frame["period"].astype(str).astype(float))


@pytest.fixture(scope="module")
def grouseticks():
    factors = ["INDEX", "BROOD", "YEAR", "LOCATION"]
    frame = pd.read_csv(REFERENCE / "grouseticks.csv", dtype=dict.fromkeys(factors, str))
    return frame.assign(INDEX=pd.Categorical(frame["INDEX"], sorted(set(frame["INDEX"]), key=int)))


@pytest.fixture(scope="module")
def ticks(grouseticks):
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)"
    return pw.Model(formula, grouseticks, "poisson").fit_frequentist()


@pytest.fixture(scope="module")
def rint(cbpp):
    return pw.Model(AS_LME4, cbpp, "binomial").fit_frequentist()


def crossed_answers() -> pd.DataFrame:
    rng = np.random.default_rng(2026)
    person, item = np.repeat(np.arange(40), 12), np.tile(np.arange(12), 40)
    x = rng.normal(size=480).round(3)
    eta = 0.3 + 0.5 * x + rng.normal(0, 1, 40)[person] + rng.normal(0, 0.3, 40)[person] * x
    eta = eta + rng.normal(0, 0.8, 12)[item]
    y = (rng.random(480) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "person": person.astype(str), "item": item.astype(str)})


def agrees(fit, loglik, fixef, theta, se=None):
    assert fit.converged
    assert fit.loglik == pytest.approx(loglik, abs=LOGLIK)
    np.testing.assert_allclose(fit.fixef, fixef, rtol=ESTIMATE)
    np.testing.assert_allclose(fit.theta, theta, rtol=ESTIMATE, atol=1e-6)
    if se is not None:
        np.testing.assert_allclose(fit.se, se, rtol=ERROR)


def test_cbpp_is_glmer(rint):
    lme4 = reference("cbpp__rint.lme4")["Laplace"]
    agrees(rint, lme4["logLik"], [*lme4["fixef"].values()], [*lme4["theta"].values()], [*lme4["se"].values()])
    np.testing.assert_allclose(rint.vcov, lme4["vcov"]["values"], rtol=ERROR)
    assert rint.aic == pytest.approx(lme4["AIC"], abs=2 * LOGLIK)
    assert rint.bic == pytest.approx(lme4["BIC"], abs=2 * LOGLIK)
    assert rint.rmse() == pytest.approx(lme4["rmse_conditional"], rel=1e-5)
    ranef = lme4["ranef"]["herd"]["(Intercept)"]
    np.testing.assert_allclose(rint.ranef["Intercept"], ranef["mode"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rint.ranef_sd["Intercept"], ranef["condsd"], rtol=1e-4)
    np.testing.assert_allclose(rint.fitted[:10], lme4["fitted_first10"], rtol=1e-5)
    table = rint.confint().set_index("parameter")
    np.testing.assert_allclose(
        table.loc[list(rint.fixef.index), ["lower", "upper"]], [*lme4["ci_wald_beta"].values()], rtol=1e-3
    )
    assert (
        table.loc["1|herd_sigma", "estimate"] == pytest.approx(rint.theta[0])
        and table.loc["1|herd_sigma"].isna().sum() == 2
    )
    z = np.array([*lme4["fixef"].values()]) / [*lme4["se"].values()]
    np.testing.assert_allclose(rint.summary()["z"], z, rtol=ERROR)
    assert rint.varcorr["sdcor"].tolist() == pytest.approx([lme4["VarCorr"]["herd"]["sd"][0]], rel=ESTIMATE)
    assert rint.is_singular == lme4["isSingular"]
    assert rint.n_parameters == lme4["npar"]


def test_three_forms_of_a_binomial_response_are_one(cbpp, rint):
    shares = cbpp.assign(share=cbpp["incidence"] / cbpp["size"], healthy=cbpp["size"] - cbpp["incidence"])
    by_share = pw.Model("share ~ period + (1 | herd)", shares, "binomial", weights="size").fit_frequentist()
    by_pair = pw.Model("cbind(incidence, healthy) ~ period + (1 | herd)", shares, "binomial").fit_frequentist()
    for other in (by_share, by_pair):
        assert other.criterion == pytest.approx(rint.criterion, rel=1e-12)


@pytest.mark.parametrize(
    ("link", "loglik", "fixef", "theta", "se"),
    [
        (
            "probit",
            -92.6212233728,
            (-0.8354775, -0.5280338, -0.6168867, -0.7995632),
            0.3379918,
            (0.1262366, 0.1606043, 0.1694769, 0.2046985),
        ),
        (
            "cloglog",
            -91.8020392507,
            (-1.5259795, -0.9163214, -1.0351629, -1.4836341),
            0.5866897,
            (0.2109157, 0.2848877, 0.3063131, 0.4090446),
        ),
    ],
)
def test_other_links(cbpp, link, loglik, fixef, theta, se):
    agrees(pw.Model(AS_LME4, cbpp, "binomial", link=link).fit_frequentist(), loglik, fixef, [theta], se)


def test_correlated_and_uncorrelated_slopes(cbpp):
    slope = pw.Model("p(incidence, size) ~ np + (np | herd)", cbpp, "binomial").fit_frequentist()
    theta = (1.0671005, -0.2944921, 0.1732594)
    agrees(slope, -92.0876181397, (-0.9108255, -0.6024264), theta, (0.3941937, 0.1762299))
    apart = pw.Model("p(incidence, size) ~ np + (np || herd)", cbpp, "binomial").fit_frequentist()
    agrees(apart, -93.2846629622, (-0.9323577, -0.5594010), (0.6637211, 0.0), (0.3041896, 0.1233773))
    assert apart.is_singular and not slope.is_singular
    assert "singular" in repr(apart)


def test_a_correlated_slope_does_not_mind_where_zero_is(cbpp):
    near = pw.Model("p(incidence, size) ~ np + (np | herd)", cbpp, "binomial").fit_frequentist()
    far = cbpp.assign(np=cbpp["np"] + 2000)
    there = pw.Model("p(incidence, size) ~ np + (np | herd)", far, "binomial").fit_frequentist()
    assert there.criterion == pytest.approx(near.criterion, abs=1e-7)
    assert there.fixef["np"] == pytest.approx(near.fixef["np"], rel=1e-5)
    np.testing.assert_allclose(there.fitted, near.fitted, rtol=1e-5)


def test_offset_and_negative_binomial(cbpp):
    formula = "incidence ~ period + offset(log(size)) + (1 | herd)"
    poisson = pw.Model(formula, cbpp, "poisson").fit_frequentist()
    fixef = (-1.6483649, -0.8440644, -0.9662891, -1.3910465)
    agrees(poisson, -90.2416477212, fixef, [0.491579], (0.1938572, 0.2845328, 0.3055176, 0.4091886))
    negative = pw.Model(formula, cbpp, "negativebinomial").fit_frequentist()
    agrees(negative, -87.405911844, (-1.5476330, -0.9957745, -1.0311449, -1.5674629), [0.2115878])
    assert negative.family_parameters["alpha"] == pytest.approx(2.282012, rel=1e-4)
    # glmer.nb takes alpha as known in its standard errors; ours count its uncertainty.
    ratio = negative.se / [0.2403116, 0.3834608, 0.3958431, 0.4965911]
    assert ratio.between(1.0, 1.05).all()


def test_three_factors_with_an_effect_a_row(ticks):
    laplace = reference("grouseticks__three.lme4")["Laplace"]
    assert ticks.converged
    assert ticks.criterion == pytest.approx(laplace["laplace_check"]["minus2logLik_independent"], abs=1e-6)
    assert ticks.loglik == pytest.approx(laplace["glmmTMB_check"]["logLik"], abs=1e-6)
    np.testing.assert_allclose(ticks.fixef, [*laplace["fixef"].values()], rtol=ESTIMATE)
    np.testing.assert_allclose(ticks.se, [*laplace["se"].values()], rtol=ERROR)
    sds = ticks.varcorr.set_index("factor")["sdcor"]
    for factor, expected in laplace["VarCorr"].items():
        assert sds[factor] == pytest.approx(expected["sd"][0], rel=ESTIMATE)
        ranef = laplace["ranef"][factor]["(Intercept)"]
        labels = [str(level) for level in ranef["level"]]
        np.testing.assert_allclose(ticks.ranef[factor]["Intercept"][labels], ranef["mode"], rtol=0, atol=2e-4)
        np.testing.assert_allclose(ticks.ranef_sd[factor]["Intercept"][labels], ranef["condsd"], rtol=2e-4)
    assert ticks.rmse() == pytest.approx(laplace["rmse_conditional"], rel=1e-4)
    assert set(ticks.coef()["factor"]) == {"BROOD", "INDEX", "LOCATION"} == set(ticks.coef_se())


def test_negative_binomial_with_two_factors(grouseticks):
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION)"
    fit = pw.Model(formula, grouseticks, "negativebinomial").fit_frequentist()
    # glmer.nb stops 2e-4 above the minimum here, with a convergence warning.
    assert -888.84070018 <= fit.loglik < -888.8404
    np.testing.assert_allclose(fit.fixef, (0.48847594, 1.16270926, -0.97961248, -0.02358204), rtol=ESTIMATE)
    np.testing.assert_allclose(fit.theta, (0.7079466, 0.5780151), rtol=ESTIMATE)
    assert fit.family_parameters["alpha"] == pytest.approx(3.303398487, rel=ESTIMATE)


def test_crossed_factors_with_a_slope():
    data = crossed_answers()
    fit = pw.Model("y ~ x + (x | person) + (1 | item)", data, "bernoulli").fit_frequentist()
    theta = (1.29445063, -0.09404484, 0.23129462, 0.76494621)
    agrees(fit, -270.473111415, (0.7851229, 0.6754510), theta, (0.3301775, 0.1456836))
    simple = pw.Model("y ~ x + (1 | person) + (1 | item)", data, "bernoulli").fit_frequentist()
    agrees(simple, -270.664162328, (0.7936549, 0.6809787), (1.2804607, 0.7584975), (0.3242482, 0.1308728))
    new = pd.DataFrame({"x": [0.0, 1.0], "person": "new", "item": ["0", "3"]})
    # predict(..., allow.new.levels = TRUE): lme4's new group has the effect 0.
    expected = 1 / (1 + np.exp([-1.41046708, -1.23919690]))
    typical = simple.predict(new, groups="population_mean")["estimate"]
    mixed = simple.predict(new, groups={"person": "population_mean", "item": "observed"})["estimate"]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)
    assert not np.allclose(typical, mixed)
    # That of the model with slopes.
    slopes = fit.predict(new, groups={"person": "population_mean"})["estimate"]
    np.testing.assert_allclose(slopes, (0.801108690, 0.770982094), rtol=1e-5)
    assert simple.predict(new)["groups"].tolist() == ["new", "new"]
    # An average over the population is nearer to one half than the group in its middle.
    assert (simple.predict(new)["estimate"].between(0.5, mixed)).all()


def test_quadrature_is_glmers(cbpp, rint):
    nine = pw.Model(AS_LME4, cbpp, "binomial").fit_frequentist(n_quadrature=9)
    lme4 = reference("cbpp__rint.lme4")["Laplace"]["nAGQ9"]
    np.testing.assert_allclose(nine.fixef, [*lme4["fixef"].values()], rtol=ESTIMATE)
    np.testing.assert_allclose(nine.theta, lme4["sd"]["herd"]["sd"], rtol=ESTIMATE)
    np.testing.assert_allclose(nine.se, (0.2335114, 0.3067680, 0.3267683, 0.4275944), rtol=ERROR)
    # glmer leaves the saturated log-likelihood out when nAGQ > 1; here it is the sum of log dbinom(y, n, y / n).
    assert nine.loglik == pytest.approx(-50.0050180274 - 41.9783537689, abs=LOGLIK)
    assert "9 nodes" in nine.method and nine.loglik > rint.loglik


def test_gamma_by_quadrature_and_laplace():
    data = pw.load_dataset("sleepstudy")
    model = pw.Model("R ~ Days + (1 | Subject)", data.assign(R=data["Reaction"] / 300), "gamma", link="log")
    laplace, exact = model.fit_frequentist(), model.fit_frequentist(n_quadrature=21)
    # Ten rows a group: the Laplace approximation is nearly exact, glmer's criterion for this family is another one.
    assert laplace.loglik == pytest.approx(exact.loglik, abs=5e-3)
    np.testing.assert_allclose(laplace.fixef, exact.fixef, rtol=1e-3)
    np.testing.assert_allclose(laplace.theta, exact.theta, rtol=1e-3)
    assert laplace.family_parameters["alpha"] == pytest.approx(exact.family_parameters["alpha"], rel=1e-3)


@pytest.mark.parametrize(("family", "link"), [("wald", "log"), ("exponential", "log"), ("gaussian", "log")])
def test_other_families_by_quadrature(family, link):
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), 10)
    mu = np.exp(0.5 + rng.normal(0, 0.5, 12)[g])
    y = {"wald": rng.wald(mu, 6), "exponential": rng.exponential(mu), "gaussian": rng.normal(mu, 0.5)}[family]
    data = pd.DataFrame({"y": y, "g": g.astype(str)})
    model = pw.Model("y ~ 1 + (1 | g)", data, family, link=link)
    laplace, exact = model.fit_frequentist(), model.fit_frequentist(n_quadrature=25)
    assert laplace.converged and exact.converged
    # The effects' sd is 0.5, its own standard error about 0.12.
    assert laplace.theta[0] == pytest.approx(exact.theta[0], abs=0.02)
    assert exact.theta[0] == pytest.approx(0.5, abs=0.3)


def test_a_gaussian_response_under_the_identity_is_ml():
    from poolwise.algebra.exponential import ExponentialRows
    from poolwise.algebra.laplace import LaplaceProblem
    from poolwise.algebra.sparse_rows import make_pattern
    from poolwise.fit.laplace import optimise_laplace

    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    design = model.design
    ml = model.fit_frequentist(reml=False)
    (factor,) = design.factors
    ones = np.ones(design.n)
    rows = ExponentialRows("gaussian", "identity", design.y, ones, ones, True)
    Q = np.column_stack([ones, design.X[:, 1] - 4.5])
    pattern = make_pattern([factor.codes], [factor.J], [2])
    fit = optimise_laplace(LaplaceProblem(rows, Q, factor.Z, 0 * ones, pattern), factor.structure)
    # The approximation is exact where the log density is quadratic.
    assert fit.criterion == pytest.approx(ml.criterion, abs=1e-6)
    np.testing.assert_allclose(np.exp(fit.point.log_own), ml.sigma, rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance))[1], ml.se["Days"], rtol=1e-3)


def test_scores_are_their_definitions(rint, cbpp):
    y, n, p = cbpp["incidence"].to_numpy(), cbpp["size"].to_numpy(), rint.fitted
    assert rint.brier() == pytest.approx((y * (1 - p) ** 2 + (n - y) * p**2).sum() / n.sum())
    assert rint.log_loss() == pytest.approx(-(y * np.log(p) + (n - y) * np.log(1 - p)).sum() / n.sum())
    np.testing.assert_allclose(rint.residuals, y / n - p)
    with pytest.raises(pw.PoolwiseError, match="the Brier score is for binary responses and counts of trials"):
        pw.Model("incidence ~ 1 + (1 | herd)", cbpp, "poisson").fit_frequentist().brier()


def test_intervals_and_predictions(rint, cbpp):
    total, conditional = rint.coef(), rint.coef("conditional")
    width = (total["upper"] - total["lower"]) - (conditional["upper"] - conditional["lower"])
    assert (width > 0).all()
    by_group = total[total["term"] == "Intercept"].set_index("group")["estimate"]
    np.testing.assert_allclose(by_group, rint.fixef["Intercept"] + rint.ranef["Intercept"])
    own = rint.predict()
    np.testing.assert_allclose(own["estimate"], rint.fitted, rtol=1e-9)
    again = rint.predict(cbpp)
    np.testing.assert_allclose(again[["lower", "upper"]], own[["lower", "upper"]], rtol=1e-9)
    assert ((own["lower"] < own["estimate"]) & (own["estimate"] < own["upper"])).all()
    new = rint.predict(cbpp.assign(herd="another"), groups="population_mean")
    np.testing.assert_allclose(
        new["estimate"][:10], reference("cbpp__rint.lme4")["Laplace"]["fitted_pop_first10"], rtol=1e-5
    )
    integrated = rint.predict(cbpp.assign(herd="another"))
    assert (integrated["upper"] - integrated["lower"] > new["upper"] - new["lower"]).all()
    assert integrated["groups[herd]"].eq("new: integrated").all()
    with pytest.raises(pw.PoolwiseError, match="needs groups that were in the data"):
        rint.predict(cbpp.assign(herd="another"), groups="observed")
    drawn = rint.predict(cbpp.assign(herd="another"), groups="population_draw", seed=3)["estimate"]
    shift = np.log(drawn / (1 - drawn)) - np.log(new["estimate"] / (1 - new["estimate"]))
    # One draw for one label, whatever the row.
    np.testing.assert_allclose(shift, shift[0], rtol=1e-8)
    response = rint.predict(kind="response", level=0.9)
    np.testing.assert_allclose(response["estimate"], own["estimate"] * cbpp["size"])
    assert (cbpp["incidence"].between(response["lower"], response["upper"])).mean() > 0.85


def test_the_variance_of_a_prediction_over_crossed_factors():
    data = crossed_answers()
    fit = pw.Model("y ~ x + (1 | person) + (1 | item)", data, "bernoulli").fit_frequentist()
    design, T = fit.design, fit.theta
    person, item = (np.eye(factor.J)[factor.codes] * sd for factor, sd in zip(design.factors, T, strict=True))
    A, w = np.hstack([person, item]), fit.fitted * (1 - fit.fitted)
    M = np.linalg.inv(np.eye(A.shape[1]) + A.T @ (w[:, None] * A))
    # Total variance of the linear predictor: that of the modes given b, and of b with the modes that follow it.
    h = design.X - A @ M @ (A.T @ (w[:, None] * design.X))
    variance = np.einsum("na,ab,nb->n", A, M, A) + np.einsum("np,pr,nr->n", h, fit.vcov.to_numpy(), h)
    eta = np.log(fit.fitted / (1 - fit.fitted))
    expected = 1 / (1 + np.exp(-(eta - 1.959964 * np.sqrt(variance))))
    np.testing.assert_allclose(fit.predict()["lower"], expected, rtol=1e-5)


def test_rows_of_a_frequency_count_as_many(cbpp):
    counts = pd.DataFrame({"y": [0, 1, 0, 1, 1, 0], "g": list("aabbcc"), "w": [5.0, 2, 4, 3, 6, 1]})
    long = counts.loc[counts.index.repeat(counts["w"].astype(int))].drop(columns="w")
    weighted = pw.Model("weighted(y, w) ~ 1 + (1 | g)", counts, "bernoulli").fit_frequentist()
    plain = pw.Model("y ~ 1 + (1 | g)", long.reset_index(drop=True), "bernoulli").fit_frequentist()
    assert weighted.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert weighted.brier() == pytest.approx(plain.brier(), rel=1e-5)


def test_reprs(rint, ticks):
    text = repr(rint)
    for word in ("Laplace", "REML is not defined", "family binomial, link logit", "-92.0263", "herd"):
        assert word in text
    assert rint._repr_html_().count("<table") == 2
    assert "BROOD" in repr(ticks)
    assert not rint.problems


def test_reml_is_not_an_error_and_not_used(cbpp, rint):
    model = pw.Model(AS_LME4, cbpp, "binomial")
    assert model.fit_frequentist(reml=True).criterion == model.fit_frequentist(reml=False).criterion == rint.criterion


# What can go wrong.


def test_separation_by_a_common_effect_is_said():
    # No event ever happens at x = 1.
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": np.tile([0, 0, 1], 20), "z": rng.normal(size=60), "g": np.repeat(list("abcde"), 12)})
    data["y"] = np.where(data["x"] == 1, 0, rng.integers(0, 2, 60))
    for formula in ("y ~ x + z", "y ~ x + z + (1 | g)"):
        with pytest.warns(pw.ConvergenceWarning, match="separation: 'x' has no finite estimate"):
            fit = pw.Model(formula, data, "bernoulli").fit_frequentist()
        assert fit.separated == ("x",)
        assert fit.fixef["x"] == -np.inf and np.isnan(fit.se["x"])
        assert np.isfinite(fit.fixef[["Intercept", "z"]]).all() and np.isfinite(fit.se[["Intercept", "z"]]).all()
        table = fit.confint().set_index("parameter")
        assert table.loc["x", "estimate"] == -np.inf and table.loc["x", ["lower", "upper"]].isna().all()
        assert np.isnan(fit.summary().loc["x", "p"])
        assert (fit.fitted[data["x"] == 1] < 1e-6).all()
        # The others are those of the rows that are left, as if the term were not there.
        rest = pw.Model(formula.replace("x + ", ""), data[data["x"] == 0], "bernoulli").fit_frequentist()
        assert fit.fixef["z"] == pytest.approx(rest.fixef["z"], rel=1e-4)
        assert fit.se["z"] == pytest.approx(rest.se["z"], rel=1e-2)


def test_a_response_that_is_predicted_perfectly_is_refused():
    data = pd.DataFrame({"x": np.tile([0.0, 1.0], 12), "g": np.repeat(list("abcd"), 6)})
    data["y"] = data["x"].astype(int)
    with pytest.raises(pw.PoolwiseError, match=r"separation: .* predict every response perfectly"):
        pw.Model("y ~ x + (1 | g)", data, "bernoulli").fit_frequentist()


def test_counts_that_are_all_zero_are_refused():
    data = pd.DataFrame({"y": np.zeros(12, dtype=int), "g": np.repeat(list("abc"), 4)})
    with pytest.raises(pw.PoolwiseError):
        pw.Model("y ~ 1 + (1 | g)", data, "poisson").fit_frequentist()


def test_a_cell_without_counts_is_separation_in_a_poisson_model():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"x": np.tile(list("ab"), 20), "g": np.repeat(list("cdef"), 10)})
    data["y"] = np.where(data["x"] == "b", 0, rng.poisson(3, 40))
    with pytest.warns(pw.ConvergenceWarning, match=r"separation: 'x\[b\]' has no finite estimate"):
        fit = pw.Model("y ~ x + (1 | g)", data, "poisson").fit_frequentist()
    assert fit.fixef["x[b]"] == -np.inf
    assert (fit.fitted[data["x"] == "b"] < 1e-6).all()


def test_an_effect_for_every_row_of_a_binary_response_is_refused():
    data = pd.DataFrame({"y": [0, 1] * 10, "row": np.arange(20).astype(str)})
    with pytest.raises(pw.PoolwiseError, match="every row is a group of its own of 'row'"):
        pw.Model("y ~ 1 + (1 | row)", data, "bernoulli").fit_frequentist()


def test_counts_without_overdispersion_have_an_infinite_alpha():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": np.tile([2, 3, 3, 4], 9), "z": rng.normal(size=36), "g": np.repeat(list("abcdef"), 6)})
    with pytest.warns(pw.ConvergenceWarning, match="no overdispersion: alpha is infinite"):
        fit = pw.Model("y ~ z + (1 | g)", data, "negativebinomial").fit_frequentist()
    assert fit.family_parameters["alpha"] == np.inf and fit.converged
    poisson = pw.Model("y ~ z + (1 | g)", data, "poisson").fit_frequentist()
    # At the bound alpha is e^12, which leaves mu^2 / alpha, 5e-5, of variance.
    assert fit.loglik == pytest.approx(poisson.loglik, abs=1e-3)
    assert fit.fixef["z"] == pytest.approx(poisson.fixef["z"], abs=1e-3)


def test_an_optimum_that_was_not_reached_is_said(rint):
    from dataclasses import replace

    from poolwise.result.glmm import GLMMFit

    stopped = replace(rint.optimum, converged=False, message="it stopped")
    fit = GLMMFit(rint.design, rint.predictor, stopped)
    with pytest.warns(pw.ConvergenceWarning, match="not converged: it stopped"):
        fit.warn_about_problems()
    assert "Not converged: it stopped" in repr(fit)


def test_what_is_not_served_is_refused(cbpp):
    data = cbpp.assign(y=np.linspace(0.1, 0.9, len(cbpp)))
    with pytest.raises(pw.PoolwiseError, match="family beta has no frequentist fit"):
        pw.Model("y ~ 1 + (1 | herd)", data, "beta").fit_frequentist()
    model = pw.Model(AS_LME4, cbpp, "binomial")
    with pytest.raises(pw.PoolwiseError, match="penalty= serves Gaussian models"):
        model.fit_frequentist(penalty="boundary_avoiding")
    with pytest.raises(pw.PoolwiseError, match="n_quadrature must be a whole number from 1 to 100; got 0"):
        model.fit_frequentist(n_quadrature=0)
    with pytest.raises(pw.PoolwiseError, match="one grouping factor with one effect"):
        pw.Model("p(incidence, size) ~ np + (np | herd)", cbpp, "binomial").fit_frequentist(n_quadrature=5)
    with pytest.raises(pw.PoolwiseError, match="n_quadrature= is for families other than the Gaussian"):
        pw.Model("y ~ 1 + (1 | herd)", data).fit_frequentist(n_quadrature=5)


def test_a_few_rows_are_refused():
    data = pd.DataFrame({"y": [0, 1, 1], "x": [1.0, 2, 4], "z": [0.0, 1, 0], "g": list("aab")})
    with pytest.raises(pw.PoolwiseError, match="3 rows cannot estimate 3 common effects"):
        pw.Model("y ~ x + z + (1 | g)", data, "bernoulli").fit_frequentist()


@pytest.mark.slow
def test_many_rows_in_crossed_factors_stay_fast():
    import time

    rng = np.random.default_rng(0)
    person, item = np.repeat(np.arange(316), 24), np.tile(np.arange(24), 316)
    eta = rng.normal(0, 1.3, 316)[person] + rng.normal(0, 0.7, 24)[item]
    data = pd.DataFrame({"y": rng.binomial(1, 1 / (1 + np.exp(-eta))), "p": person.astype(str), "i": item.astype(str)})
    model = pw.Model("y ~ 1 + (1 | p) + (1 | i)", data, "bernoulli")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = time.process_time()
        fit = model.fit_frequentist()
        elapsed = time.process_time() - start
    assert fit.converged
    np.testing.assert_allclose(fit.theta, (1.3, 0.7), atol=0.35)
    # 0.3 s at home.
    assert elapsed < 10


@pytest.mark.parametrize(("family", "left"), [("poisson", "y"), ("binomial", "p(k, n)"), ("gamma", "z")])
def test_identity_links_keep_the_mean_in_its_range(family, left):
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(10), 12), rng.random(120)
    effect = rng.normal(0, 1, 10)[g]
    data = pd.DataFrame({"x": x, "g": g.astype(str), "n": 20, "y": rng.poisson(5 + 2 * x + effect)})
    data["k"] = rng.binomial(20, 0.4 + 0.2 * x + 0.07 * effect.clip(-3, 3))
    data["z"] = rng.gamma(5, (5 + 2 * x + effect) / 5)
    model = pw.Model(f"{left} ~ x + (1 | g)", data, family, link="identity")
    laplace, exact = model.fit_frequentist(), model.fit_frequentist(n_quadrature=21)
    assert laplace.converged and (laplace.fitted > 0).all()
    # Twelve rows a group leave the approximation within a tenth of a standard error.
    np.testing.assert_allclose(laplace.fixef, exact.fixef, atol=0.1 * exact.se.max())
    assert laplace.loglik == pytest.approx(exact.loglik, abs=0.05)


def test_models_without_common_effects_and_with_several_effects_a_level(cbpp):
    alone = pw.Model("p(incidence, size) ~ 0 + (1 | herd)", cbpp, "binomial").fit_frequentist()
    assert alone.fixef.empty and alone.confint()["parameter"].tolist() == ["1|herd_sigma"]
    assert alone.n_parameters == 1
    np.testing.assert_allclose(alone.coef()["estimate"], alone.ranef["Intercept"])
    assert "Empty" not in alone.predict().to_string()
    cells = pw.Model("p(incidence, size) ~ 0 + period + (1 | herd)", cbpp, "binomial").fit_frequentist()
    # The same model, its levels written out.
    assert cells.criterion == pytest.approx(2 * 92.0262818648, abs=LOGLIK)
    by_period = pw.Model("p(incidence, size) ~ 1 + (period | herd)", cbpp, "binomial").fit_frequentist()
    assert len(by_period.theta) == 10 and by_period.is_singular and by_period.converged


def test_a_censored_response_is_refused(cbpp):
    data = cbpp.assign(y=cbpp["incidence"] + 0.5, status="none")
    with pytest.raises(pw.PoolwiseError, match="is censored or truncated, which frequentist fits do not serve"):
        pw.Model("censored(y, status) ~ 1 + (1 | herd)", data, "gamma").fit_frequentist()


def test_the_lint_of_priors_knows_the_scale_of_the_link(cbpp):
    model = pw.Model(AS_LME4, cbpp, "binomial")
    assert pw.checks.prior_findings(model).codes == []
    narrow = model.with_priors({"period": pw.Prior("Normal", mu=5, sigma=0.1)})
    assert "prior_conflict" in pw.checks.prior_findings(narrow).codes

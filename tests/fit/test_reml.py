"""REML and ML agree with lme4, which was run to tight tolerances on the same data."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from conftest import reference
from poolwise.algebra.profiled import profile
from poolwise.algebra.theta import lower_factor
from poolwise.fit.reml import BOUNDARY_AVOIDING

# lme4's printed optimum is a minimum: the criterion is flat there, and agrees far better than the parameters.
CRITERION_RTOL = 1e-6
PARAMETER_RTOL = 1e-4
# At a singular fit the criterion hardly depends on the direction of the boundary.
SINGULAR_RTOL = 1e-3

MODELS = {
    "bounce__slope": ("bounce_rates", "bounce_time ~ std_age + (1 + std_age | county)"),
    "bounce__rint": ("bounce_rates", "bounce_time ~ std_age + (1 | county)"),
    "sleepstudy__slope": ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    "sleepstudy__rint": ("sleepstudy", "Reaction ~ Days + (1 | Subject)"),
    "sleepstudy__slope_uncorr": ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
    "Dyestuff__rint": ("dyestuff", "Yield ~ 1 + (1 | Batch)"),
    "Dyestuff2__rint": ("dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    "radon__slope": ("radon", "log_radon ~ floor + log_uranium + (1 + floor | county)"),
}


def r_name(name: str) -> str:
    return name.replace("(Intercept)", "Intercept")


@pytest.fixture(scope="module", params=[(name, reml) for name in MODELS for reml in (True, False)], ids=str)
def pair(request):
    name, reml = request.param
    data, formula = MODELS[name]
    fit = pw.Model(formula, pw.load_dataset(data)).fit_frequentist(reml=reml)
    return fit, reference(f"{name}.lme4")["REML" if reml else "ML"]


def rtol(fit) -> float:
    return SINGULAR_RTOL if fit.is_singular else PARAMETER_RTOL


def test_criterion_and_information(pair):
    fit, lme4 = pair
    assert fit.converged
    assert fit.criterion == pytest.approx(lme4["REMLcrit" if fit.reml else "deviance"], rel=CRITERION_RTOL)
    assert fit.loglik == pytest.approx(lme4["logLik"], rel=CRITERION_RTOL)
    assert fit.aic == pytest.approx(lme4["AIC"], rel=CRITERION_RTOL)
    assert fit.bic == pytest.approx(lme4["BIC"], rel=CRITERION_RTOL)
    assert fit.is_singular == lme4["isSingular"]


def test_common_effects(pair):
    fit, lme4 = pair
    for name, value in lme4["fixef"].items():
        assert fit.fixef[r_name(name)] == pytest.approx(value, rel=rtol(fit))
        assert fit.se[r_name(name)] == pytest.approx(lme4["se"][name], rel=rtol(fit))
    # Covariances are compared on the scale of the largest variance.
    values = np.array(lme4["vcov"]["values"])
    np.testing.assert_allclose(fit.vcov, values, rtol=rtol(fit), atol=1e-4 * values.max())
    lower_upper = fit.confint().set_index("parameter")[["lower", "upper"]]
    for name, interval in lme4["ci_wald_beta"].items():
        np.testing.assert_allclose(lower_upper.loc[r_name(name)], interval, rtol=10 * rtol(fit))


def test_variance_components(pair):
    fit, lme4 = pair
    assert fit.sigma == pytest.approx(lme4["sigma"], rel=rtol(fit))
    # A standard deviation of zero has no relative error; sigma is the natural scale.
    theta = np.array(list(lme4["theta"].values()))
    np.testing.assert_allclose(fit.theta, theta, rtol=10 * rtol(fit), atol=rtol(fit))
    for block in lme4["VarCorr"].values():
        terms = [r_name(term) for term in block["terms"]]
        table = fit.varcorr[fit.varcorr["factor"] != "Residual"]
        sds = table[table["var2"].isna()].set_index("var1")["sdcor"]
        np.testing.assert_allclose(sds[terms], block["sd"], rtol=rtol(fit), atol=rtol(fit) * fit.sigma)
        correlations = table[table["var2"].notna()]
        for _, row in correlations.iterrows():
            expected = block["corr"][terms.index(row["var1"])][terms.index(row["var2"])]
            assert row["sdcor"] == pytest.approx(expected, abs=10 * rtol(fit))


def test_group_specific_effects(pair):
    fit, lme4 = pair
    for block in lme4["ranef"].values():
        for term, column in block.items():
            name, levels = r_name(term), column["level"]
            # Modes are compared on the scale of the largest: some are near zero by chance.
            scale = np.abs(column["mode"]).max()
            mode = fit.ranef.loc[levels, name]
            np.testing.assert_allclose(mode, column["mode"], rtol=0, atol=10 * rtol(fit) * max(scale, 1e-3))
            sd = fit.ranef_sd.loc[levels, name]
            np.testing.assert_allclose(sd, column["condsd"], rtol=10 * rtol(fit), atol=rtol(fit) * 1e-1)


def test_fitted_values(pair):
    fit, lme4 = pair
    np.testing.assert_allclose(fit.fitted[:10], lme4["fitted_first10"], rtol=rtol(fit))
    assert fit.rmse() == pytest.approx(lme4["rmse_conditional"], rel=rtol(fit))
    np.testing.assert_allclose(fit.residuals, fit.design.y - fit.fitted)


def test_the_boundary_avoiding_penalty_is_that_of_blme():
    blme = reference("Dyestuff2__rint.blme")["fits"]["default"]
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    fit = model.fit_frequentist(penalty="boundary_avoiding")
    assert model.fit_frequentist().is_singular
    assert not fit.is_singular
    assert fit.converged
    assert fit.theta[0] == pytest.approx(blme["theta"]["Batch.(Intercept)"], rel=PARAMETER_RTOL)
    assert fit.sigma == pytest.approx(blme["sigma"], rel=PARAMETER_RTOL)
    assert fit.se["Intercept"] == pytest.approx(blme["se"]["(Intercept)"], rel=PARAMETER_RTOL)
    np.testing.assert_allclose(fit.ranef["Intercept"], blme["ranef"]["Batch"]["(Intercept)"], rtol=PARAMETER_RTOL)
    assert "penalty" in repr(fit)


def test_the_penalised_optimum_of_the_bounce_data_is_below_that_of_blme():
    """blme's optimiser stopped with a gradient of 5 there; ours must find a smaller penalised criterion."""
    blme = reference("bounce__slope.blme")["fits"]["default"]
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
    fit = model.fit_frequentist(penalty="boundary_avoiding")
    structure, scale = model.sufficient.structure, model.sufficient.basis.z_scale

    def penalised(at_zero) -> float:
        to_algebra = np.linalg.solve(model.sufficient.basis.to_effects / model.sufficient.basis.y_scale, at_zero)
        Lambda = lower_factor(to_algebra)
        criterion = profile(model.sufficient.stats, Lambda, reml=True).criterion
        return criterion - 2 * BOUNDARY_AVOIDING * np.log(np.diag(Lambda) / scale).sum()

    ours = penalised(structure.factor(fit.theta))
    theirs = penalised(structure.factor(np.array(list(blme["theta"].values()))))
    assert ours < theirs
    # A saddle or a wrong gradient would leave a better point nearby.
    for step in np.eye(3) * 0.01:
        assert penalised(structure.factor(fit.theta + step)) > ours
        assert penalised(structure.factor(fit.theta - step)) > ours
    assert not fit.is_singular


def test_an_unknown_penalty_is_refused():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    with pytest.raises(pw.PoolwiseError, match="penalty must be None or 'boundary_avoiding'; got 'ridge'"):
        model.fit_frequentist(penalty="ridge")


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_the_error_of_any_combination_of_common_effects(shift):
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(8), 12), rng.normal(shift, 1, 96)
    data = pd.DataFrame({"y": x + rng.normal(size=8)[g] + rng.normal(size=96), "x": x, "g": g})
    data["event"] = (data["y"] > data["y"].median()).astype(int)
    for fit in (
        pw.Model("y ~ x + (x | g)", data).fit_frequentist(),
        pw.Model("y ~ 0 + x + (1 | g)", data).fit_frequentist(),
        pw.Model("event ~ x + (1 | g)", data, "bernoulli").fit_frequentist(),
    ):
        p = len(fit.fixef)
        for row in (*np.eye(p), rng.normal(size=p), np.ones(p)):
            expected = np.sqrt(row @ fit.vcov.to_numpy() @ row)
            # The same quadratic form, in other coordinates; at a mean of 50 the plain form itself loses some digits.
            assert fit.se_of(row) == pytest.approx(expected, rel=1e-6)

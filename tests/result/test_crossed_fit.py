"""fit_frequentist of several grouping factors: lme4's numbers, and intervals from Henderson's equations, densely."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

import poolwise as pw
from conftest import reference
from poolwise.check.singular import singular_fit

CRITERION_RTOL = 1e-6
PARAMETER_RTOL = 1e-4

MODELS = {
    "Penicillin__crossed": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "Pastes__nested": ("pastes", "strength ~ 1 + (1 | batch/cask)"),
    "InstEval__crossed": ("insteval", "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"),
}


@pytest.fixture(scope="module", params=[(name, reml) for name in MODELS for reml in (True, False)], ids=str)
def pair(request):
    name, reml = request.param
    data, formula = MODELS[name]
    fit = pw.Model(formula, pw.load_dataset(data)).fit_frequentist(reml=reml)
    return fit, reference(f"{name}.lme4")["REML" if reml else "ML"]


def test_lme4s_summary(pair):
    fit, lme4 = pair
    assert fit.converged
    assert fit.method == ("REML" if fit.reml else "ML")
    assert fit.criterion == pytest.approx(lme4["REMLcrit" if fit.reml else "deviance"], rel=CRITERION_RTOL)
    assert fit.loglik == pytest.approx(lme4["logLik"], rel=CRITERION_RTOL)
    assert fit.aic == pytest.approx(lme4["AIC"], rel=CRITERION_RTOL)
    assert fit.bic == pytest.approx(lme4["BIC"], rel=CRITERION_RTOL)
    assert fit.is_singular == lme4["isSingular"]
    assert fit.sigma == pytest.approx(lme4["sigma"], rel=PARAMETER_RTOL)
    np.testing.assert_allclose(fit.vcov, lme4["vcov"]["values"], rtol=PARAMETER_RTOL)
    np.testing.assert_allclose(fit.fixef, list(lme4["fixef"].values()), rtol=PARAMETER_RTOL)
    np.testing.assert_allclose(fit.fitted[:10], lme4["fitted_first10"], rtol=PARAMETER_RTOL)
    assert fit.rmse() == pytest.approx(lme4["rmse_conditional"], rel=PARAMETER_RTOL)
    np.testing.assert_allclose(fit.residuals, fit.design.y - fit.fitted)


def test_lme4s_group_sds_and_modes(pair):
    fit, lme4 = pair
    for name, block in lme4["VarCorr"].items():
        ours = "batch:cask" if name == "cask:batch" else name
        row = fit.varcorr[fit.varcorr["factor"] == ours].iloc[0]
        assert row["sdcor"] == pytest.approx(block["sd"][0], rel=PARAMETER_RTOL)
        assert row["vcov"] == pytest.approx(block["sd"][0] ** 2, rel=2 * PARAMETER_RTOL)
        column = lme4["ranef"][name]["(Intercept)"]
        levels = [":".join(level.split(":")[::-1]) if ours != name else level for level in column["level"]]
        scale = np.abs(column["mode"]).max()
        modes, sds = fit.ranef[ours].loc[levels, "Intercept"], fit.ranef_sd[ours].loc[levels, "Intercept"]
        np.testing.assert_allclose(modes, column["mode"], rtol=0, atol=PARAMETER_RTOL * scale)
        np.testing.assert_allclose(sds, column["condsd"], rtol=PARAMETER_RTOL)


@pytest.fixture(scope="module")
def slopes():
    """Two crossed factors, one with correlated slopes, one with uncorrelated ones, and precision weights."""
    rng = np.random.default_rng(11)
    n = 300
    frame = pd.DataFrame({"a": rng.integers(0, 8, n), "b": rng.integers(0, 6, n), "x": rng.normal(0.5, 2, n)})
    a, b = rng.normal(size=(8, 2)) @ [[1.0, 0.4], [0.0, 0.6]], rng.normal(size=(6, 2)) * [0.7, 0.5]
    own = a[frame["a"]] + b[frame["b"]]
    frame["w"] = rng.uniform(0.5, 2, n)
    frame["y"] = 10 + own[:, 0] + (2 + own[:, 1]) * frame["x"] + rng.normal(size=n) / np.sqrt(frame["w"])
    frame[["a", "b"]] = frame[["a", "b"]].astype(str)
    return pw.Model("y ~ x + (x | a) + (x || b)", frame, weights="w").fit_frequentist()


def henderson(fit):
    """Inverse of the mixed model equations in the units of the data, and the dense X and Z."""
    design, table = fit.design, fit.varcorr
    Z, covariance = [], []
    for factor in design.factors:
        q = len(factor.effects)
        Z.append(np.zeros((design.n, factor.J * q)))
        for i, j in enumerate(factor.codes):
            Z[-1][i, j * q : (j + 1) * q] = factor.Z[i]
        rows = table[table["factor"] == factor.name]
        block = np.diag(rows[rows["var2"].isna()]["vcov"].to_numpy(dtype=float))
        for _, row in rows[rows["var2"].notna()].iterrows():
            r, c = factor.effects.index(row["var1"]), factor.effects.index(row["var2"])
            block[r, c] = block[c, r] = row["vcov"]
        covariance.append(np.kron(np.eye(factor.J), block))
    columns = np.column_stack([design.X, *Z])
    p = design.X.shape[1]
    weights = (np.ones(design.n) if design.weights is None else design.weights) / fit.sigma**2
    precision = columns.T @ (weights[:, None] * columns)
    at = p
    for block in covariance:
        where = slice(at, at + len(block))
        precision[where, where] += np.linalg.inv(block)
        at += len(block)
    y = columns.T @ (weights * (design.y - design.offset))
    return np.linalg.inv(precision), np.linalg.solve(precision, y), columns


def test_effects_and_intervals_are_hendersons(slopes):
    inverse, solution, columns = henderson(slopes)
    np.testing.assert_allclose(slopes.fixef, solution[:2], rtol=1e-7)
    modes = np.concatenate([slopes.ranef[name].to_numpy().ravel() for name in ("a", "b")])
    np.testing.assert_allclose(modes, solution[2:], rtol=1e-6, atol=1e-7)
    table = slopes.predict(level=0.9)
    np.testing.assert_allclose(table["estimate"], columns @ solution, rtol=1e-8)
    np.testing.assert_allclose(table["estimate"], slopes.fitted, rtol=1e-12)
    se = np.sqrt(np.einsum("nk,kl,nl->n", columns, inverse, columns))
    np.testing.assert_allclose(table["upper"] - table["estimate"], ndtri(0.95) * se, rtol=1e-7)
    coefficients = slopes.coef().set_index(["factor", "group", "term"])
    at = 2
    for factor in slopes.design.factors:
        for j, label in enumerate(factor.labels):
            for k, term in enumerate(("Intercept", "x")):
                h = np.zeros(len(solution))
                h[[k, at + 2 * j + k]] = 1.0
                row = coefficients.loc[(factor.name, label, term)]
                assert row["estimate"] == pytest.approx(h @ solution, rel=1e-7)
                assert row["upper"] - row["estimate"] == pytest.approx(
                    ndtri(0.975) * np.sqrt(h @ inverse @ h), rel=1e-6
                )
                assert slopes.coef_se()[factor.name].loc[label, term] == pytest.approx(np.sqrt(h @ inverse @ h))
        at += 2 * factor.J


def test_new_groups_add_the_spread_of_their_factor(slopes):
    new = pd.DataFrame({"x": [0.0, 0.0, 0.0], "a": ["0", "new", "new"], "b": ["0", "0", "new"]})
    table = slopes.predict(new)
    assert table["groups"].tolist() == ["observed", "new", "new"]
    assert table["estimate"][2] == pytest.approx(slopes.fixef["Intercept"])
    half = (table["upper"] - table["estimate"]) / ndtri(0.975)
    sds = slopes.varcorr.set_index(["factor", "var1"])["sdcor"]
    intercept = slopes.se["Intercept"]
    spread = np.sqrt(intercept**2 + sds["a", "Intercept"].iloc[0] ** 2 + sds["b", "Intercept"] ** 2)
    assert half[2] == pytest.approx(float(spread), rel=1e-8)
    assert half[0] < half[1] < half[2]


def test_a_singular_fit_is_a_finding():
    frame = pw.load_dataset("penicillin").copy()
    rng = np.random.default_rng(2)
    frame["batch"] = rng.integers(0, 5, len(frame)).astype(str)
    fit = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample) + (1 | batch)", frame).fit_frequentist()
    assert fit.is_singular
    (finding,) = singular_fit(fit)
    assert "sd(Intercept | batch) = 0" in finding.title


def test_the_fit_is_printed(slopes):
    assert "Fit by REML of y ~ x + (x | a) + (x || b)" in repr(slopes)
    assert slopes.varcorr["factor"].tolist() == ["a"] * 3 + ["b"] * 2 + ["Residual"]
    assert "<table" in slopes._repr_html_()

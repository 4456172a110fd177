"""Whitened, centred and non-centred forms are one posterior: means and sds within 4 Monte Carlo standard errors."""

import warnings

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import poolwise as pw
from poolwise.result.pointwise import log_likelihood

MCSE_LIMIT = 4.0


def counts() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    g, x = np.repeat(np.arange(8), 12), rng.normal(1, 1, 96)
    u = rng.normal(0, [0.6, 0.3], (8, 2))
    mean = np.exp(0.5 + 0.3 * x + u[g, 0] + u[g, 1] * x)
    return pd.DataFrame({"y": rng.poisson(mean), "x": x, "g": g.astype(str)})


# A single divergence of the centred form is no sign of a bias that the comparison could not see.
@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
@pytest.mark.slow
def test_forms_agree():
    model = pw.Model("y ~ x + (x | g)", counts(), family="poisson")
    fits = {
        form: model.fit(draws=2000, seed=4, form=form, progress=False, target_accept=0.95)
        for form in ("whitened", "generative", "centred")
    }
    assert "g centred" in fits["centred"].form and "g non-centred" in fits["generative"].form
    reference = fits.pop("whitened")
    for form, fit in fits.items():
        for name in ("Intercept", "x", "1|g_sigma", "x|g_sigma", "1|g"):
            for one, two in zip(columns(reference, name), columns(fit, name), strict=True):
                mcse = np.hypot(*(draws.std() / np.sqrt(effective(draws)) for draws in (one, two)))
                assert abs(one.mean() - two.mean()) < MCSE_LIMIT * mcse, (form, name)
                # The relative error of a sd is about 1 / sqrt(2 ESS), more in heavy tails.
                error = np.hypot(*(1 / np.sqrt(effective(draws)) for draws in (one, two)))
                assert abs(np.log(one.std() / two.std())) < MCSE_LIMIT * 2 * error, (form, name)


def columns(fit, name: str) -> np.ndarray:
    values = fit.data["posterior"][name].transpose("chain", "draw", ...).to_numpy()
    return values.reshape(*values.shape[:2], -1).transpose(2, 0, 1)


def effective(draws: np.ndarray) -> float:
    return float(array_stats.ess(draws, chain_axis=0, draw_axis=1))


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_what_the_kernel_does_not_know_is_said():
    model = pw.Model("y ~ x + (1 | g)", counts(), family="zero_inflated_poisson")
    fit = model.fit(draws=50, tune=50, chains=2, seed=1, progress=False)
    assert "generative form" in fit.form and "family zero_inflated_poisson is not of its kernel" in fit.form
    assert {"psi", "1|g_sigma"} <= set(fit.posterior)
    assert fit.predict(kind="response")["estimate"].between(0, 100).all()
    with pytest.raises(pw.PoolwiseError, match="'whitened' cannot sample this model: family zero_inflated_poisson"):
        model.fit(form="whitened", progress=False)
    with pytest.raises(pw.PoolwiseError, match="form='collapsed' is for Gaussian responses"):
        model.fit(form="collapsed", progress=False)


def test_a_censored_gaussian_is_not_collapsed():
    data = counts().assign(y=lambda d: d["y"].clip(upper=4).astype(float), status="none")
    data.loc[data["y"] == 4, "status"] = "right"
    model = pw.Model("censored(y, status) ~ x + (1 | g)", data)
    assert not model.design.collapses
    logp = model.pymc.compile_logp(mode="FAST_COMPILE")
    assert np.isfinite(logp(model.pymc.initial_point()))


def test_precisions_of_a_censored_response_stand_in_the_scale():
    """Not in front of the log density as well; to 1e-6, which the tail of PyMC's normal keeps."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 10), "x": rng.normal(size=60), "w": rng.uniform(0.3, 3, 60)})
    latent = data["x"] + rng.normal(size=60) / np.sqrt(data["w"])
    data["status"] = np.where(latent > 1, "right", "none")
    data["t"] = np.minimum(latent, 1)
    model = pw.Model("censored(t, status) ~ x + (1 | g)", data, weights="w")
    with warnings.catch_warnings():
        # What is checked holds draw by draw.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        fit = model.fit(draws=50, tune=200, chains=1, seed=1, progress=False)
    sd = fit.sigma_draws[:, None] / np.sqrt(data["w"].to_numpy())
    eta, cut = fit.linear_predictor(), (data["status"] == "right").to_numpy()
    expected = np.where(cut, stats.norm.logsf(1, eta, sd), stats.norm.logpdf(data["t"].to_numpy(), eta, sd))
    np.testing.assert_allclose(log_likelihood(fit), expected, atol=1e-6)

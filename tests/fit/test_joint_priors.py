"""Joint priors: the posterior agrees with rstanarm's, and the collapsed with the generative form."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from arviz_stats.base import array_stats
from scipy.stats import ks_2samp

import poolwise as pw
from conftest import reference
from poolwise.spec.prior_draws import parameter_draws

MCSE_LIMIT = 4.0


def effective(draws) -> float:
    return float(array_stats.ess(draws, chain_axis=0, draw_axis=1))


def test_the_posterior_under_decov_is_that_of_rstanarm():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors="rstanarm")
    fit = model.fit(draws=5000, seed=11, progress=False)
    theirs, posterior = reference("sleepstudy__slope.rstanarm"), fit.data["posterior"]
    one, two = (posterior[f"{name}|Subject_sigma"].to_numpy() for name in ("1", "Days"))
    ours = {
        "(Intercept)": posterior["Intercept"].to_numpy(),
        "Days": posterior["Days"].to_numpy(),
        "sigma": posterior["sigma"].to_numpy(),
        "Sigma[Subject:(Intercept),(Intercept)]": one**2,
        "Sigma[Subject:Days,(Intercept)]": one * two * posterior["corr|Subject"].to_numpy()[:, :, 0, 1],
        "Sigma[Subject:Days,Days]": two**2,
    }
    assert set(ours) <= set(theirs["params"])
    for name, draws in ours.items():
        expected = theirs["params"][name]
        ess = effective(draws)
        mcse = np.hypot(expected["mcse_mean"], draws.std() / np.sqrt(ess))
        assert abs(draws.mean() - expected["mean"]) < MCSE_LIMIT * mcse, name
        for label, probability in (("q5", 0.05), ("q95", 0.95)):
            mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="quantile", prob=probability))
            both = np.hypot(mcse, mcse * np.sqrt(ess / expected["ess_tail"]))
            assert abs(np.quantile(draws, probability) - expected[label]) < MCSE_LIMIT * both, (name, label)


# rstanarm 2.21.3, stan_lmer under its default priors, adapt_delta 0.98, seed 1, 4 x 2,000 draws, no divergences: mean,
# mcse, 5 % and 95 % quantiles, effective draws.
MORE = {
    "bounce_rates": {
        "(Intercept)": (200.7532354, 0.124977, 192.43598, 208.81841, 1632.26),
        "std_age": (1.303229704, 0.010873, 0.18838815, 2.3870749, 4171.32),
        "sigma": (7.963812306, 0.00235196, 7.5940356, 8.3457696, 9503.84),
        "Sigma[1,1]": (201.525755, 2.54194, 81.073388, 426.99984, 2264.06),
        "Sigma[2,1]": (1.965937631, 0.15342, -13.24378, 18.147431, 4833.76),
        "Sigma[2,2]": (1.686203315, 0.0597262, 0.048601353, 5.9059784, 2733.22),
    },
    "radon": {
        "(Intercept)": (1.492452967, 0.000399421, 1.4349817, 1.552774, 8094.4),
        "floor": (-0.6210089306, 0.000792306, -0.74943806, -0.49352919, 9606.39),
        "log_uranium": (0.732160784, 0.00107848, 0.58481334, 0.87664371, 6850.86),
        "sigma": (0.7227673722, 0.000209487, 0.6938619, 0.75362203, 7397.7),
        "Sigma[1,1]": (0.02019666519, 0.000240958, 0.004265201, 0.045536385, 3000.31),
        "Sigma[2,1]": (0.004813063576, 0.000297193, -0.023702279, 0.029477909, 3001.43),
        "Sigma[2,2]": (0.07803944924, 0.00148996, 0.0046022709, 0.199835, 1900.4),
    },
}
FORMULAS = {
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "radon": "log_radon ~ floor + log_uranium + (floor | county)",
}


@pytest.mark.parametrize("data", MORE)
def test_posteriors_under_the_defaults_of_rstanarm(data):
    fit = pw.Model(FORMULAS[data], pw.load_dataset(data), priors="rstanarm").fit(draws=4000, seed=4, progress=False)
    T = fit.factor_draws(fit.design.factors[0])
    Sigma = (T @ T.transpose(0, 2, 1)).reshape(4, -1, 2, 2)
    ours = {
        name: draws.reshape(4, -1) for name, draws in zip(fit.design.coefficient_names, fit.coefficients.T, strict=True)
    }
    ours["(Intercept)"] = ours.pop("Intercept")
    ours |= {"sigma": fit.sigma_draws.reshape(4, -1), "Sigma[1,1]": Sigma[:, :, 0, 0], "Sigma[2,1]": Sigma[:, :, 1, 0]}
    ours["Sigma[2,2]"] = Sigma[:, :, 1, 1]
    assert set(ours) == set(MORE[data])
    for name, (mean, mcse, q5, q95, n_eff) in MORE[data].items():
        draws = ours[name]
        ess = effective(draws)
        assert abs(draws.mean() - mean) < MCSE_LIMIT * np.hypot(mcse, draws.std() / np.sqrt(ess)), name
        for expected, probability in ((q5, 0.05), (q95, 0.95)):
            own = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="quantile", prob=probability))
            both = np.hypot(own, own * np.sqrt(ess / n_eff))
            assert abs(np.quantile(draws, probability) - expected) < MCSE_LIMIT * both, (name, probability)


# rstanarm 2.21.3, stan_glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), family = binomial), seed 1,
# 4 x 2,000 draws: mean, mcse, sd.
CBPP = {
    "Intercept": (-1.396983096, 0.003743579292, 0.2518678930),
    "period[2]": (-0.997600458, 0.002815641501, 0.3077774744),
    "period[3]": (-1.142376575, 0.003001318877, 0.3240455086),
    "period[4]": (-1.618836793, 0.004041665872, 0.4364252632),
    "variance": (0.5561656311, 0.006374931367, 0.3459473883),
}


def test_the_posterior_of_a_binomial_model_is_that_of_rstanarm():
    model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial", "rstanarm")
    adjusted = [model.specification.priors[f"period[{level}]"].params["sigma"] for level in "234"]
    np.testing.assert_allclose(adjusted, [5.72172135271, 5.72172135271, 5.86826156019], rtol=1e-9)
    posterior = model.fit(draws=3000, seed=2, progress=False).data["posterior"]
    ours = {f"period[{level}]": posterior["period"].sel(period_dim=level).to_numpy() for level in "234"}
    ours |= {"Intercept": posterior["Intercept"].to_numpy(), "variance": posterior["1|herd_sigma"].to_numpy() ** 2}
    for name, (mean, mcse, sd) in CBPP.items():
        draws = ours[name]
        own = draws.std() / np.sqrt(effective(draws))
        assert abs(draws.mean() - mean) < MCSE_LIMIT * np.hypot(mcse, own), name
        # The variance of the herds is skewed; its sd is known to about 5 %.
        assert draws.std() == pytest.approx(sd, rel=0.1), name


def small_table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    g, x, z = np.repeat(list("abcdefgh"), 6), rng.normal(1, 2, 48), rng.normal(0, 0.3, 48)
    u = rng.normal(0, [1.0, 0.4], (8, 2))
    y = 2 + 0.5 * x + np.repeat(u[:, 0], 6) + np.repeat(u[:, 1], 6) * x + rng.normal(size=48)
    return pd.DataFrame({"g": g, "x": x, "z": z, "y": y})


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["rstanarm", "icc_beta"])
def test_collapsed_and_generative_forms_agree(preset):
    """One has the density of what is sampled, the other draws the pieces: a wrong Jacobian would part them."""
    model = pw.Model("y ~ x + z + (x | g)", small_table(), priors=preset)
    fits = [
        model.fit(draws=2000, seed=3, form=form, progress=False, target_accept=0.98) for form in ("auto", "generative")
    ]
    for name in ("Intercept", "x", "z", "sigma", "1|g_sigma", "x|g_sigma"):
        one, two = (fit.data["posterior"][name].to_numpy() for fit in fits)
        # Logs of the sds, whose tails are long.
        one, two = (np.log(one), np.log(two)) if "sigma" in name else (one, two)
        mcse = np.hypot(one.std() / np.sqrt(effective(one)), two.std() / np.sqrt(effective(two)))
        assert abs(one.mean() - two.mean()) < MCSE_LIMIT * mcse, name


@pytest.mark.parametrize("preset", ["rstanarm", "icc_beta", "r2d2m2", "horseshoe"])
def test_the_pieces_of_the_generative_form_have_the_joint_prior(preset):
    """Its prior draws against those made in numpy: a test of two samples, one level over all parameters."""
    model = pw.Model("y ~ x + z + (x | g)", small_table(), priors=preset)
    ours = parameter_draws(model.design, model.specification.priors, 4000, np.random.default_rng(1))
    names = ["x", "z", "x|g_sigma", "sigma"]
    theirs = dict(zip(names, pm.draw([model.pymc[name] for name in names], 4000, random_seed=2), strict=True))
    for name in names:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 0.001 / len(names), name


def test_a_joint_prior_beside_one_that_pymc_evaluates_is_sampled_in_the_generative_form():
    preset = pw.load_preset("rstanarm").override({"x": pw.Prior("Gumbel", mu=0, beta=2)})
    model = pw.Model("y ~ x + (1 | g)", small_table(), priors=preset)
    with pytest.raises(pw.PoolwiseError, match="knows no joint prior beside Gumbel; choose another distribution"):
        model.fit(form="collapsed", progress=False)


def test_overrides_leave_a_joint_prior():
    data = small_table()
    model = pw.Model("y ~ x + z + (x | g)", data, priors=pw.load_preset("horseshoe").override({"z": pw.Prior("Flat")}))
    (one,) = model.sampler.model.joint
    assert [position for position, _ in one.coefficients] == [1]
    with pytest.raises(pw.PoolwiseError, match="an override took 'sigma' from it"):
        pw.Model("y ~ x + (1 | g)", data, priors=pw.load_preset("icc_beta").override({"sigma": pw.Prior("HalfFlat")}))
    alone = pw.Model("y ~ x", data, priors="icc_beta")
    assert alone.specification.priors["sigma"].distribution == "HalfStudentT"

"""The direct kernel, the PyMC model around the Op and the generative model are one density."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import poolwise as pw
from poolwise.algebra.conditional import conditional_moments
from poolwise.algebra.profiled import profile
from poolwise.compile.collapsed import log_posterior
from poolwise.compile.general import PARTS, general_model
from poolwise.fit.bayes import CollapsedSampler, Sampling, scalar_priors

# PyMC keeps some normalising constants of its densities in single precision: 2e-8 for a Student t.
ATOL = 1e-6


def random_model(seed: int, formula: str, priors=None, weights=None) -> pw.Model:
    rng = np.random.default_rng(seed)
    n = 40
    group = rng.permutation(np.repeat(list("abcdef"), [1, 2, 4, 8, 10, 15]))
    x = rng.normal(2, 3, n)
    data = pd.DataFrame({"y": 3 + x + rng.normal(size=n), "x": x, "z": rng.normal(size=n), "g": group})
    data["w"] = rng.uniform(0.5, 2, n)
    return pw.Model(formula, data, priors=priors, weights=weights)


FORMULAS = ["y ~ x + (x | g)", "y ~ x + z + (x + z | g)", "y ~ 0 + x + (x || g)", "y ~ 1 + (1 | g) + (0 + x + z | g)"]


@pytest.mark.parametrize("priors", ["weakly_informative", "brms", "flat", "article_2020_foundations"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_direct_equals_general(formula, priors):
    model = random_model(1, formula, priors)
    sampler = model.sampler
    pymc_model = general_model(sampler.model, *scalar_priors(model.design, model.specification.priors))
    free = [variable.name for variable in pymc_model.free_RVs]
    logp = pymc_model.compile_fn(pymc_model.logp(), inputs=pymc_model.value_vars, on_unused_input="ignore")
    rng = np.random.default_rng(0)
    packed = sampler.pack(sampler.model)
    for _ in range(5):
        x = rng.normal(0, 0.7, sampler.model.size)
        parts = dict(zip(PARTS, sampler.model.split(x), strict=True))
        gradient = np.zeros_like(x)
        direct = log_posterior(x, packed, gradient)
        assert direct == pytest.approx(float(logp({name: parts[name] for name in free})), abs=ATOL)
        for k in range(len(x)):
            h = np.zeros_like(x)
            h[k] = 1e-6
            scratch = np.zeros_like(x)
            slope = (log_posterior(x + h, packed, scratch) - log_posterior(x - h, packed, scratch)) / 2e-6
            assert slope == pytest.approx(gradient[k], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ 0 + x + (1 | g)", "y ~ x + (x || g)"])
@pytest.mark.parametrize(("weights", "priors"), [(None, None), ("w", None), (None, "article_2020_lmm")])
def test_collapsed_equals_generative(formula, weights, priors):
    """log p(parameters, y) = log p(parameters, z, y) - log p(z | parameters, y), at any effects z.

    The conditional density of the effects is exact and normal, so the two agree up to the change of variables.
    """
    model = random_model(2, formula, weights=weights, priors=priors)
    sampler = model.sampler
    generative = model.pymc
    logp = generative.compile_fn(generative.logp(jacobian=False), inputs=generative.value_vars)
    factor = model.design.factors[0]
    rng = np.random.default_rng(3)
    differences = []
    for _ in range(4):
        x = rng.normal(0, 0.4, sampler.model.size)
        draws = sampler.model.constrain(x[None])
        z = rng.normal(size=(factor.J, len(factor.effects)))
        point = _generative_point(model, sampler.model.basis, generative, draws, z)
        joint = float(logp(point))
        effects = z @ draws.T[0].T
        mean, cov, _ = conditional_moments(sampler.model.stats, draws.b[0], draws.T[0], draws.s[0])
        conditional = 0.0
        for j in range(factor.J):
            _, logdet = np.linalg.slogdet(2 * np.pi * cov[j])
            d = effects[j] - mean[j]
            conditional -= 0.5 * (logdet + d @ np.linalg.solve(cov[j], d))
        _, logdet_T = np.linalg.slogdet(draws.T[0])
        marginal = joint - conditional - factor.J * logdet_T
        gradient = np.zeros_like(x)
        collapsed = log_posterior(x, sampler.pack(sampler.model), gradient)
        differences.append(collapsed - marginal - _log_jacobian(sampler, x) - _log_whitening(sampler, draws))
    np.testing.assert_allclose(differences, differences[0], rtol=0, atol=1e-7)


def _generative_point(model, basis, generative, draws, z) -> dict:
    factor = model.design.factors[0]
    coefficients = draws.coefficients[0]
    values = dict(zip(model.design.common.names, coefficients, strict=True))
    if model.design.intercept >= 0:
        centre = model.design.X.mean(axis=0)
        values["Intercept_centred"] = coefficients @ centre
    values["sigma"] = draws.sigma[0]
    # T in the coordinates of the algebra: its rows' lengths are the sds that carry the priors, centred or not.
    T = draws.T[0] * basis.sd_scale[:, None]
    sd = np.sqrt((T**2).sum(axis=1))
    free = {variable.name for variable in generative.free_RVs}
    for name, value in zip(factor.sd_names, sd, strict=True):
        values[f"{name}_centred" if f"{name}_centred" in free else name] = value
    values["g__z"] = z
    L = T / sd[:, None]
    values["corr|g_partial"] = np.array([(L[1, 0] + 1) / 2]) if len(L) > 1 else None
    point = {}
    for variable in generative.free_RVs:
        transform, value = generative.rvs_to_transforms[variable], np.asarray(values[variable.name])
        if transform is not None:
            value = transform.forward(value, *variable.owner.inputs).eval()
        point[generative.rvs_to_values[variable].name] = value
    return point


def _log_jacobian(sampler, x) -> float:
    """Log derivative of the parameters that carry priors by the unconstrained vector, up to constants."""
    _, zeta, c, tau = sampler.model.split(x)
    # d sd = sd d zeta, d sigma = sigma d tau, and v = (tanh c + 1) / 2 has dv = (1 - tanh(c)^2) / 2 dc.
    return float(zeta.sum() + tau + np.log1p(-(np.tanh(c) ** 2)).sum())


def _log_whitening(sampler, draws) -> float:
    """Log derivative of the common effects by their whitened coordinates, -1/2 log|X'V^-1 X + P|."""
    at = profile(sampler.model.stats, draws.T[0] / np.sqrt(draws.s[0]), reml=True)
    return -0.5 * np.linalg.slogdet(at.A / draws.s[0] + sampler.model.reference.precision)[1]


@pytest.mark.slow
def test_the_general_door_samples_the_same_posterior():
    model = random_model(4, "y ~ x + (x | g)")
    settings = Sampling(draws=2000, seed=3, progress=False)
    fits = {}
    for door in ("direct", "general"):
        sampler = CollapsedSampler(model.design, model.sampler.sufficient, model.specification.priors, door)
        fits[door], _ = sampler.sample(settings)
    for name in ("coefficients", "group_factor", "sigma"):
        one, two = (getattr(fits[door], name) for door in ("direct", "general"))
        # Four standard errors of the difference at a quarter of the 8,000 draws effective in each.
        tolerance = 4 * one.std(axis=0) * np.sqrt(2 / 2000)
        assert np.all(np.abs(one.mean(axis=0) - two.mean(axis=0)) <= tolerance)


def test_generative_model_is_a_pymc_model(bounce):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    assert isinstance(model.pymc, pm.Model)
    assert {"Intercept", "std_age", "sigma", "1|county", "1|county_sigma", "corr|county"} <= set(model.pymc.named_vars)

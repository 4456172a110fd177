"""Draws from priors of plain numbers, without PyMC."""

import math

import numpy as np

from poolwise.errors import PriorError
from poolwise.priors.distributions import IMPROPER
from poolwise.priors.joint import DECOV, HORSESHOE, ICC_BETA, Array, JointSet
from poolwise.priors.prior import Prior


def draw_prior(prior: Prior, size: int, rng: np.random.Generator) -> Array:
    """Independent draws of a scalar prior.

    Parameters
    ----------
    prior : Prior
        Numbers only; proper, of one parameter.
    size : int
        Number of draws.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (size,)

    Raises
    ------
    PriorError
        If the prior is improper.

    Examples
    --------
    >>> bool(abs(draw_prior(Prior("Normal", mu=3, sigma=1), 10_000, np.random.default_rng(1)).mean() - 3) < 0.05)
    True
    """
    p = prior.params
    match prior.distribution:
        case "Normal":
            return rng.normal(p["mu"], p["sigma"], size)
        case "StudentT":
            return p["mu"] + p["sigma"] * rng.standard_t(p["nu"], size)
        case "Cauchy":
            return p["alpha"] + p["beta"] * rng.standard_cauchy(size)
        case "Laplace":
            return rng.laplace(p["mu"], p["b"], size)
        case "Logistic":
            return rng.logistic(p["mu"], p["s"], size)
        case "SkewNormal":
            from scipy.stats import skewnorm  # slow to import, and needed here alone

            return skewnorm.rvs(p["alpha"], p["mu"], p["sigma"], size, random_state=rng)
        case "Gumbel":
            return rng.gumbel(p["mu"], p["beta"], size)
        case "HalfNormal":
            return np.abs(rng.normal(0, p["sigma"], size))
        case "HalfStudentT":
            return np.abs(p["sigma"] * rng.standard_t(p["nu"], size))
        case "HalfCauchy":
            return np.abs(p["beta"] * rng.standard_cauchy(size))
        case "Exponential":
            return rng.exponential(1 / p["lam"], size)
        case "PC":
            return rng.exponential(-p["u"] / math.log(p["alpha"]), size)
        case "Gamma":
            return rng.gamma(p["alpha"], 1 / p["beta"], size)
        case "InverseGamma":
            return 1 / rng.gamma(p["alpha"], 1 / p["beta"], size)
        case "SqrtInverseGamma":
            return np.sqrt(1 / rng.gamma(p["alpha"], 1 / p["beta"], size))
        case "LogNormal":
            return rng.lognormal(p["mu"], p["sigma"], size)
        case "Weibull":
            return p["beta"] * rng.weibull(p["alpha"], size)
        case "ChiSquared":
            return rng.chisquare(p["nu"], size)
        case "Beta":
            return rng.beta(p["alpha"], p["beta"], size)
        case "Uniform":
            return rng.uniform(p["lower"], p["upper"], size)
    kind = "improper (flat)" if prior.distribution in IMPROPER else "not one of a single parameter"
    raise PriorError(f"nothing can be drawn from {prior}: it is {kind}; choose a proper preset or override it")


def draw_joint(one: JointSet, sigma: Array | None, rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """Draws of a set under a joint prior, made from its pieces.

    Parameters
    ----------
    one : JointSet
        The set.
    sigma : ndarray (size,) or None
        Draws of the residual sd; None where the set makes it.
    rng : numpy.random.Generator
    size : int
        Number of draws.

    Returns
    -------
    coefficients, sds, sigma : ndarray (size, m), (size, k), (size,)
        In the order of the set.
    """
    a, m, k = one.arguments, len(one.coefficients), len(one.sds)
    scales = np.array([scale for _, scale in (*one.coefficients, *one.sds)])
    nothing = np.zeros((size, 0))
    if one.kind == ICC_BETA:
        total = np.abs(a[3] * rng.standard_t(a[2], size))
        icc = rng.beta(a[0], a[1], size)
        parts = rng.dirichlet(np.ones(k), size)
        return nothing, total[:, None] * np.sqrt(icc[:, None] * parts), total * np.sqrt(1 - icc)
    if sigma is None:
        raise ValueError("this joint prior stands in units of sigma")
    if one.kind == DECOV:
        tau = sigma * rng.gamma(a[1], a[2], size)
        return nothing, tau[:, None] * np.sqrt(k * rng.dirichlet(np.full(k, a[0]), size)), sigma
    if one.kind == HORSESHOE:
        local = np.abs(rng.standard_t(a[0], (size, m)))
        tau = sigma * np.abs(a[1] * rng.standard_cauchy(size))
        slab = 1 / rng.gamma(a[3] / 2, 2 / (a[3] * a[2] ** 2), size)
        variance = (tau[:, None] * local) ** 2
        spread = np.sqrt(variance * slab[:, None] / (variance + slab[:, None])) / scales
        return spread * rng.standard_normal((size, m)), nothing, sigma
    r2 = rng.beta(a[0], a[1], size)
    shares = rng.dirichlet(np.full(m + k, a[2]), size)
    spread = np.sqrt(shares * (r2 / (1 - r2))[:, None]) * sigma[:, None] / scales
    return spread[:, :m] * rng.standard_normal((size, m)), spread[:, m:], sigma

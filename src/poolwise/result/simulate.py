"""Responses drawn from an exponential dispersion family."""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.spec.families import Family


def simulate(family: Family, eta: Array, own: float, trials: Array | None, rng: np.random.Generator) -> Array:
    """Draw a response for every linear predictor.

    Parameters
    ----------
    family : Family
        With its link.
    eta : ndarray (..., n)
        Linear predictors.
    own : float
        The family's own parameter; 1 where it has none.
    trials : ndarray (n,) or None
        Trials of a binomial response.
    rng : Generator

    Returns
    -------
    ndarray (..., n)
        Successes of a binomial response; NaN where the mean is outside its range.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mu = INVERSE[family.link](eta)
    good = np.isfinite(mu) & ((mu > 0) | (family.name == "gaussian"))
    if family.name in ("bernoulli", "binomial"):
        good &= mu <= 1
    mean = np.where(good, mu, 0.5)
    match family.name:
        case "bernoulli" | "binomial":
            drawn = rng.binomial(np.ones(1, int) if trials is None else trials.astype(np.int64), mean).astype(float)
        case "poisson":
            drawn = rng.poisson(np.minimum(mean, 1e15)).astype(float)
        case "negativebinomial":
            drawn = rng.poisson(np.minimum(rng.gamma(own, mean / own), 1e15)).astype(float)
        case "gamma" | "exponential":
            drawn = rng.gamma(own, mean / own)
        case "wald":
            drawn = rng.wald(mean, own)
        case _:
            drawn = rng.normal(mean, own)
    return np.where(good, drawn, np.nan)

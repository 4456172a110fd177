"""The mean of the response given the linear predictor, for every family, in plain numpy."""

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.spec.families import Family


def mean_of(family: Family, eta: Array, own: Mapping[str, Array]) -> Array:
    """Expected response: a share of the trials, the mean level (from 1) of an ordinal one, probabilities of categories.

    Parameters
    ----------
    family : Family
        With its link.
    eta : ndarray (..., n)
        Linear predictor, offset included.
    own : mapping of str to ndarray
        The family's further parameters, broadcastable against ``eta``; ``threshold`` (..., 1, K - 1); of a
        categorical response the linear predictors of the categories, but for a reference, in order.

    Returns
    -------
    ndarray (..., n), or (..., n, K) of a categorical response
    """
    if family.categorical:
        # Shares of a Dirichlet are those of its parameters, whose logs are linear.
        parts = [eta, *own.values()] if family.has_reference else list(own.values())
        return softmax(np.stack(np.broadcast_arrays(*parts), axis=-1), axis=-1)
    if family.holds == "levels":
        probabilities = level_probabilities(family, eta, own["threshold"])
        return probabilities @ np.arange(1.0, probabilities.shape[-1] + 1)
    mu = INVERSE[family.link](eta)
    match family.name:
        case "lognormal":
            return np.exp(mu + own["sigma"] ** 2 / 2)
        case "exgaussian":
            return mu + own["nu"]
        case "asymmetriclaplace":
            return mu + (1 / own["kappa"] - own["kappa"]) / own["b"]
        case "hurdle_poisson":
            return own["psi"] * mu / -np.expm1(-mu)
        case "hurdle_negativebinomial":
            return own["psi"] * mu / -np.expm1(own["alpha"] * (np.log(own["alpha"]) - np.log(own["alpha"] + mu)))
        case "hurdle_lognormal":
            return own["psi"] * np.exp(mu + own["sigma"] ** 2 / 2)
        case "zero_inflated_poisson" | "zero_inflated_negativebinomial" | "zero_inflated_binomial" | "hurdle_gamma":
            return own["psi"] * mu
    return mu


def level_probabilities(family: Family, eta: Array, threshold: Array) -> Array:
    """Probability of each level (..., n, K) of an ordinal response."""
    below = INVERSE[family.link](threshold - eta[..., None])
    if family.name == "cumulative":
        edges = np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], axis=-1)
        return np.diff(edges, axis=-1)
    passed = np.cumprod(1 - below, axis=-1)
    return np.concatenate([below[..., :1], below[..., 1:] * passed[..., :-1], passed[..., -1:]], axis=-1)

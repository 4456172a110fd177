"""A resolved prior as a PyMC distribution."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from poolwise.priors.prior import Prior


def pymc_distribution(prior: Prior) -> Any:
    """Unnamed PyMC distribution of a prior whose parameters are numbers.

    Parameters
    ----------
    prior : Prior
        Of the allow-list; its names and arguments are PyMC's but for the two that PyMC lacks.

    Returns
    -------
    TensorVariable
    """
    # PyTensor would take a Python float such as 2.0 for a float32, whose logarithm has seven digits.
    params = {name: np.asarray(value, dtype=np.float64) for name, value in prior.params.items()}
    if prior.distribution == "PC":
        return pm.Exponential.dist(-np.log(params["alpha"]) / params["u"])
    if prior.distribution == "SqrtInverseGamma":
        return pm.CustomDist.dist(params["alpha"], params["beta"], logp=_sqrt_inverse_gamma)
    if prior.distribution == "JeffreysScale":
        return pm.CustomDist.dist(logp=lambda value: -pt.log(value))
    return getattr(pm, prior.distribution).dist(**params)


def _sqrt_inverse_gamma(value, alpha, beta):
    return pm.logp(pm.InverseGamma.dist(alpha, beta), value**2) + pt.log(2 * value)

"""A resolved prior as a PyMC distribution."""

from typing import Any

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
    if prior.distribution == "SqrtInverseGamma":
        return pm.CustomDist.dist(prior.params["alpha"], prior.params["beta"], logp=_sqrt_inverse_gamma)
    if prior.distribution == "JeffreysScale":
        return pm.CustomDist.dist(logp=lambda value: -pt.log(value))
    return getattr(pm, prior.distribution).dist(**prior.params)


def _sqrt_inverse_gamma(value, alpha, beta):
    return pm.logp(pm.InverseGamma.dist(alpha, beta), value**2) + pt.log(2 * value)

"""Draws of all parameters of a model from its priors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poolwise import names
from poolwise.algebra.basis import centring
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import correlation_factor, lkj_shapes
from poolwise.priors.distributions import JOINT
from poolwise.priors.draw import draw_joint, draw_prior
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design, GroupingFactor
from poolwise.spec.joint import joint_sets


@dataclass(frozen=True)
class PriorDraws:
    """Parameters drawn from their priors.

    Parameters
    ----------
    coefficients : ndarray (D, p)
        Common effects, the intercept at centred predictors.
    group_factors : tuple of ndarray (D, q, q)
        A factor of the covariance of each grouping factor's effects, intercepts at zero, in the units of the data.
    sigma : ndarray (D,)
        Residual standard deviation.
    """

    coefficients: Array
    group_factors: tuple[Array, ...]
    sigma: Array


def prior_draws(
    design: Design, priors: Mapping[str, Prior], draws: int, rng: np.random.Generator, *, centred: bool
) -> PriorDraws:
    """Draw all parameters.

    Parameters
    ----------
    design : Design
        Names and columns.
    priors : mapping of str to Prior
        Resolved, by parameter.
    draws : int
        How many.
    rng : numpy.random.Generator
    centred : bool
        Whether the priors of group intercepts stand at the means of their block's predictors.

    Returns
    -------
    PriorDraws

    Raises
    ------
    PriorError
        If a prior is improper.
    """
    made = {name: draw_prior(prior, draws, rng) for name, prior in priors.items() if _alone(prior)}
    sd_names = [name for factor in design.factors for name in factor.sd_names]
    for one in joint_sets(design, priors):
        coefficients, sds, sigma = draw_joint(one, made.get(names.SIGMA), rng, draws)
        made |= {design.coefficient_names[at]: coefficients[:, i] for i, (at, _) in enumerate(one.coefficients)}
        made |= {sd_names[at]: sds[:, i] for i, (at, _) in enumerate(one.sds)}
        made[names.SIGMA] = sigma
    own = [made[name] for name in design.coefficient_names]
    stacked = np.stack(own, axis=1) if own else np.zeros((draws, 0))
    factors = []
    for factor in design.factors:
        sd = np.stack([made[name] for name in factor.sd_names], axis=1)
        T = sd[:, :, None] * _correlations(factor, priors, draws, rng)
        factors.append((centring(factor.Z, factor.structure) if centred else np.eye(len(factor.effects))) @ T)
    return PriorDraws(stacked, tuple(factors), made[names.SIGMA])


def _alone(prior: Prior) -> bool:
    return prior.support != JOINT and prior.distribution != "LKJ"


def _correlations(factor: GroupingFactor, priors: Mapping[str, Prior], draws: int, rng: np.random.Generator) -> Array:
    structure = factor.structure
    L = np.zeros((draws, structure.q, structure.q))
    for start, size in zip(structure.starts, structure.sizes, strict=True):
        eta = priors[names.correlation(factor.name)].params["eta"] if size > 1 else 1.0
        shapes = lkj_shapes([size], [eta])
        partial = 2 * rng.beta(shapes, shapes, (draws, len(shapes))) - 1
        L[:, start : start + size, start : start + size] = correlation_factor(partial, size)
    return L

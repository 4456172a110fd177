"""Draws of all parameters of a model from its priors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import correlation_factor, lkj_shapes
from poolwise.errors import PriorError
from poolwise.priors.distributions import IMPROPER, JOINT
from poolwise.priors.draw import draw_joint, draw_prior
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping
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
    own : mapping of str to ndarray (D,) or (D, K - 1)
        The family's further parameters: sigma, alpha; threshold, in order.
    parameters : mapping of str to ndarray (D,)
        Each single parameter as its prior has it: a group intercepts' sd stands where the preset puts its prior.
    """

    coefficients: Array
    group_factors: tuple[Array, ...]
    own: Mapping[str, Array]
    parameters: Mapping[str, Array]

    @property
    def sigma(self) -> Array:
        """Residual standard deviation (D,)."""
        return self.own[names.SIGMA]


def prior_draws(
    design: Design,
    priors: Mapping[str, Prior],
    draws: int,
    rng: np.random.Generator,
    *,
    centred: bool,
    without: Collection[str] = (),
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
    without : collection of str, optional
        Parameters that are not drawn and stand as NaN, such as those whose priors are improper.

    Returns
    -------
    PriorDraws

    Raises
    ------
    PriorError
        If a prior is improper; names the parameters.
    """
    refuse_grouping(design, "what priors imply")
    made = parameter_draws(design, priors, draws, rng, without=without)
    own = [made[name] for name in design.coefficient_names]
    stacked = np.stack(own, axis=1) if own else np.zeros((draws, 0))
    factors = []
    for factor in design.factors:
        sd = np.stack([made[name] for name in factor.sd_names], axis=1)
        T = sd[:, :, None] * _correlations(factor, priors, draws, rng)
        factors.append((factor.centring if centred else np.eye(len(factor.effects))) @ T)
    levels = design.outcome.levels if design.family.holds == "levels" else None
    thresholds = 0 if levels is None else len(levels) - 1
    family = {}
    for part in design.family.auxiliaries:
        family[part.name] = made[part.name]
        if part.vector:
            # Independent draws in order have the density of the prior restricted to increasing vectors.
            vector = draw_prior(priors[part.name], draws * thresholds, rng).reshape(draws, thresholds)
            family[part.name] = np.sort(vector, axis=1) if part.ordered else vector
    return PriorDraws(stacked, tuple(factors), family, made)


def parameter_draws(
    design: Design, priors: Mapping[str, Prior], draws: int, rng: np.random.Generator, *, without: Collection[str] = ()
) -> dict[str, Array]:
    """Draws (D,) of every parameter but the correlations, by name; parameters as in :func:`prior_draws`."""
    improper = [name for name in improper_of(priors) if name not in without]
    if improper:
        raise PriorError(
            f"the priors of {', '.join(map(repr, improper))} are improper (flat), so nothing can be drawn from them; "
            "choose a proper preset such as 'weakly_informative', or override those priors"
        )
    made = {
        name: np.full(draws, np.nan) if name in without else draw_prior(prior, draws, rng)
        for name, prior in priors.items()
        if _alone(prior)
    }
    sd_names = [name for factor in design.factors for name in factor.sd_names]
    for one in joint_sets(design, priors):
        # Without a residual sd a joint prior stands in units of 1.
        unit = made.get(names.SIGMA) if design.family.has_sigma else np.ones(draws)
        coefficients, sds, sigma = draw_joint(one, unit, rng, draws)
        made |= {design.coefficient_names[at]: coefficients[:, i] for i, (at, _) in enumerate(one.coefficients)}
        made |= {sd_names[at]: sds[:, i] for i, (at, _) in enumerate(one.sds)}
        if design.family.has_sigma:
            made[names.SIGMA] = sigma
    return made


def improper_of(priors: Mapping[str, Prior]) -> list[str]:
    """The parameters whose priors are improper."""
    return [name for name, prior in priors.items() if prior.distribution in IMPROPER]


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

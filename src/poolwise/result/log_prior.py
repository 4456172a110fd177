"""Log density of posterior draws under priors: what reweighting to other priors and power-scaling are made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numba
import numpy as np

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import lower_factor, sds_and_correlations
from poolwise.errors import PriorError
from poolwise.priors.density import prior_code, prior_logpdf
from poolwise.priors.distributions import JOINT, in_closed_set
from poolwise.priors.joint import encode, joint_logpdf
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.joint import joint_sets

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

COMMON, GROUP_SDS, CORRELATIONS, RESIDUAL_SD, TOGETHER = (
    "common_effects",
    "group_sds",
    "correlations",
    "residual_sd",
    "joint",
)


def log_prior(fit: "BayesFit", resolved: Sequence[ResolvedPrior]) -> tuple[dict[str, Array], Array]:
    """Log prior density of every draw of a fit, by group of priors, up to a constant.

    Parameters
    ----------
    fit : BayesFit
        For the draws.
    resolved : sequence of ResolvedPrior
        The fit's own priors or others of the same model.

    Returns
    -------
    parts : dict of str to ndarray (chains * draws,)
        common_effects, group_sds, correlations, residual_sd, the family's other parameters by name, joint: those there
        are, each over the parameters as their priors name them.
    volume : ndarray (chains * draws,)
        Log derivative of those parameters by the group covariances, prod_k sd_k^-q a block (up to a constant): parts
        and volume together are a density over covariances, the same wherever the priors of group intercepts stand.

    Raises
    ------
    PriorError
        If the density has no closed form: latents of a joint prior, or a distribution that PyMC evaluates.
    """
    priors = {row.parameter: row.prior for row in resolved}
    open_ones = sorted({prior.distribution for prior in priors.values() if not in_closed_set(prior.distribution)})
    sets = joint_sets(fit.design, priors)
    if open_ones or any(one.centres for one in sets):
        listed = open_ones or sorted({prior.distribution for prior in priors.values() if prior.support == JOINT})
        raise PriorError(f"the density of {', '.join(listed)} has no closed form here")
    coefficients, sds, correlations, volume = _as_the_priors_name_them(fit, resolved)
    own = fit.family_draws
    sigma = own[names.SIGMA][:, 0] if fit.design.family.has_sigma else np.ones(len(coefficients))
    parts = {COMMON: _sum(coefficients, [priors[name] for name in fit.design.coefficient_names])}
    sd_names = [name for factor in fit.design.factors for name in factor.sd_names]
    if sd_names:
        parts[GROUP_SDS] = _sum(sds, [priors[name] for name in sd_names])
    for name, logdet in correlations:
        parts[CORRELATIONS] = parts.get(CORRELATIONS, 0.0) + (priors[name].params["eta"] - 1) * logdet
    for name, values in own.items():
        values = values.reshape(len(values), -1)
        role = RESIDUAL_SD if name == names.SIGMA else name
        parts[role] = _sum(values, [priors[name]] * values.shape[1])
    if sets:
        parts[TOGETHER] = _joint(encode(sets), coefficients, sds, sigma)
    return parts, volume


def _as_the_priors_name_them(
    fit: "BayesFit", resolved: Sequence[ResolvedPrior]
) -> tuple[Array, Array, list[tuple[str, Array]], Array]:
    """Coefficients at centred predictors, group sds, log determinants of the correlations, and the volume."""
    design = fit.design
    refuse_grouping(design, "reweighting by the priors")
    coefficients = fit.coefficients.copy()
    if design.intercept >= 0:
        coefficients[:, design.intercept] = coefficients @ design.X.mean(axis=0)
    at = {row.parameter: row.at for row in resolved}
    sds, correlations, volume = [], [], np.zeros(len(coefficients))
    for factor in design.factors:
        T = fit.factor_draws(factor)
        if any(at[name] == "mean" for name in factor.sd_names):
            T = lower_factor(np.linalg.solve(factor.centring, T))
        sd, correlation = sds_and_correlations(T)
        sds.append(sd)
        for block, size in enumerate(factor.structure.sizes):
            own = [k for k, of in enumerate(factor.structure.block_of) if of == block]
            volume -= size * np.log(sd[:, own]).sum(axis=1)
            if size > 1:
                _, logdet = np.linalg.slogdet(correlation[:, own][:, :, own])
                correlations.append((names.correlation(factor.name), logdet))
    together = np.concatenate(sds, axis=1) if sds else np.zeros((len(coefficients), 0))
    return coefficients, together, correlations, volume


def _sum(values: Array, priors: Sequence[Prior]) -> Array:
    total = np.zeros(len(values))
    for k, prior in enumerate(priors):
        total += _logpdf(*prior_code(prior.distribution, prior.params), np.ascontiguousarray(values[:, k]))
    return total


@numba.njit(cache=True, nogil=True)
def _logpdf(kind, p1, p2, p3, constant, values):
    found = np.empty(len(values))
    for i in range(len(values)):
        found[i] = prior_logpdf(kind, p1, p2, p3, constant, values[i])[0]
    return found


@numba.njit(cache=True, nogil=True)
def _joint(joint, coefficients, sds, sigma):
    found, nothing = np.empty(len(sigma)), np.zeros(0)
    for i in range(len(sigma)):
        one, two = np.zeros(coefficients.shape[1]), np.zeros(sds.shape[1])
        found[i] = joint_logpdf(joint, coefficients[i], sds[i], sigma[i], nothing, one, two, nothing)[0]
    return found

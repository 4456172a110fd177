"""Which parameters of a design share a joint prior, as sets for the kernel."""

import math
from collections.abc import Mapping

import numpy as np

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.priors.density import prior_code
from poolwise.priors.distributions import JOINT
from poolwise.priors.draw import draw_prior
from poolwise.priors.joint import DECOV, HORSESHOE, ICC_BETA, R2D2M2, SMOOTH, JointSet
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.smooth import MATERN


def joint_sets(design: Design, priors: Mapping[str, Prior]) -> tuple[JointSet, ...]:
    """The sets of parameters that share a joint prior.

    Parameters
    ----------
    design : Design
        For the predictors' sds, which put coefficients and slopes on one scale.
    priors : mapping of str to Prior
        Resolved, by parameter.

    Returns
    -------
    tuple of JointSet
        Positions among the coefficients, and among the group sds of all factors one after the other.
    """
    joint = next((prior for prior in priors.values() if prior.support == JOINT), None)
    if joint is None:
        return ()
    p = joint.params
    coefficients = tuple(
        (k, _sd(design.X[:, k])) for k, name in enumerate(design.coefficient_names) if priors[name] == joint
    )
    blocks, start = [], 0
    for factor in design.factors:
        scales = [1.0 if effect == names.INTERCEPT else _sd(factor.Z[:, k]) for k, effect in enumerate(factor.effects)]
        members = [
            (start + k, scale)
            for k, (name, scale) in enumerate(zip(factor.sd_names, scales, strict=True))
            if priors[name] == joint
        ]
        by_block = factor.structure.block_of
        blocks += [
            tuple(pair for pair in members if by_block[pair[0] - start] == block) for block in sorted(set(by_block))
        ]
        start += len(factor.effects)
    sds = tuple(pair for block in blocks for pair in block)
    match joint.distribution:
        case "Decov":
            arguments = (p["concentration"], p["shape"], p["scale"])
            return tuple(JointSet(DECOV, arguments, sds=block) for block in blocks if block)
        case "ICCBeta":
            return (JointSet(ICC_BETA, (p["alpha"], p["beta"], p["nu"], p["sigma"]), sds=sds),)
        case "R2D2M2":
            mean, precision = p["mean_R2"], p["prec_R2"]
            arguments = (mean * precision, (1 - mean) * precision, p["concentration"])
            return (JointSet(R2D2M2, arguments, coefficients, sds),)
    # Piironen & Vehtari (2017), equation 3.12: the global scale that expects so many effects, in units of sigma.
    expected = p["expected_effects"]
    global_scale = expected / max(len(coefficients) - expected, 1.0) / math.sqrt(design.n)
    return (JointSet(HORSESHOE, (p["df"], global_scale, p["slab_scale"], p["slab_df"]), coefficients),)


def smooth_sets(design: Design, priors: Mapping[str, Prior]) -> tuple[JointSet, ...]:
    """The weights of smooth functions as sets, whose columns follow those of the coefficients, term by term.

    Parameters
    ----------
    design : Design
        With kernels of one length scale.
    priors : mapping of str to Prior
        Resolved, by parameter.

    Returns
    -------
    tuple of JointSet
        One a kernel.
    """
    found, first = [], len(design.coefficient_names)
    for smooth in design.smooths:
        squares = ((smooth.frequencies * smooth.unit) ** 2).sum(axis=1)
        levels, kernels = max(len(smooth.levels), 1), len(smooth.sd_names)
        for k, (sd, length) in enumerate(zip(smooth.sd_names, smooth.length_names, strict=True)):
            own = range(levels) if kernels == 1 else [k]
            # Weights are numbered function by function of the basis, level by level innermost.
            members = tuple(
                (first + j * levels + level, float(square)) for j, square in enumerate(squares) for level in own
            )
            both = priors[sd], priors[length]
            codes = [number for prior in both for number in prior_code(prior.distribution, prior.params)]
            arguments = (float(MATERN.get(smooth.kernel, 0)), float(len(smooth.parts)), *map(log_middle, both))
            found.append(JointSet(SMOOTH, arguments, members, further=tuple(codes)))
        first += smooth.basis.shape[1]
    return tuple(found)


def log_middle(prior: Prior) -> float:
    """About the log of the median of a positive prior: where a latent starts, to which nothing else is tied."""
    return float(np.log(np.median(draw_prior(prior, 999, np.random.default_rng(0)))))


def _sd(column: Array) -> float:
    sd = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
    return sd if sd > 0 else 1.0

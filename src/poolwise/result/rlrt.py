"""The exact restricted likelihood-ratio test of a frequentist fit, as a result."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from poolwise.algebra.crossed import CrossedProducts
from poolwise.errors import ArgumentError, FitError
from poolwise.fit.rlrt import criterion_without, null_distribution, spectrum
from poolwise.result import tables
from poolwise.spec.targets import GROUP_SD, Target

if TYPE_CHECKING:
    from poolwise.result.inference import Inference

# The exact test needs the eigenvalues of a dense matrix of this order at most.
MOST_GROUPS = 5000


@dataclass(frozen=True)
class RLRT:
    """Exact restricted likelihood-ratio test of one group standard deviation being zero.

    Parameters
    ----------
    parameter : str
        The group standard deviation.
    statistic : float
        Twice the difference of the restricted log-likelihoods.
    p_value : float
        Share of the simulated null distribution beyond the statistic.
    mc_error : float
        Monte Carlo standard error of the p value.
    n_sim, seed : int
        Of the simulation.
    approximate : bool
        Whether other variance components are in the model, so that the null distribution is that of the model without
        them.
    """

    parameter: str
    statistic: float
    p_value: float
    mc_error: float
    n_sim: int
    seed: int
    approximate: bool

    def __repr__(self) -> str:
        found = f"p = {self.p_value:.4f} (MC error {self.mc_error:.4f})"
        p = found if self.p_value else f"p < {1 / self.n_sim:.1g}"
        kind = "Restricted likelihood-ratio test, other variance components aside" if self.approximate else "Exact RLRT"
        return f"{kind}: {self.parameter} = 0\nRLRT = {self.statistic:.4f}, {p}, {self.n_sim} simulations"


def rlrt(fit: "Inference", parameter: str | None, *, n_sim: int, seed: int | None) -> RLRT:
    """Test a group sd, see :meth:`.Inference.rlrt`."""
    if not isinstance(n_sim, int | np.integer) or n_sim < 100:
        raise ArgumentError(f"n_sim must be a whole number of at least 100; got {n_sim!r}")
    target, seed = _tested(fit, parameter), tables.choose_seed(seed)
    stats, structure = fit.sufficient.stats, fit.sufficient.structure
    (effect,) = target.where
    within, by_factor = effect, stats.factors if isinstance(stats, CrossedProducts) else (stats,)
    for own in by_factor:
        if within < own.q:
            break
        within -= own.q
    if own.J > MOST_GROUPS:
        raise FitError(
            f"the exact test needs the eigenvalues of a matrix of order {own.J}, the number of groups; at most "
            f"{MOST_GROUPS} are served. With so many groups 0 and chi-square(1), mixed in equal parts, come close"
        )
    optimum = fit.optimum if fit.reml and fit.penalty is None else fit._optimise(reml=True)
    without = criterion_without(stats, structure, optimum.Lambda, effect)
    statistic = max(without - float(optimum.at.criterion), 0.0)
    if statistic < 1e-7:
        # Zero up to the rounding of two criteria: an estimate on the boundary.
        statistic = 0.0
    drawn = null_distribution(spectrum(own, within), stats.n - stats.p, int(n_sim), np.random.default_rng(seed))
    p = float((drawn > statistic).mean())
    error = float(np.sqrt(p * (1 - p) / n_sim))
    return RLRT(target.name, statistic, p, error, int(n_sim), seed, structure.q > 1)


def _tested(fit: "Inference", parameter: str | None) -> Target:
    sds = [target for target in fit._targets if target.kind == GROUP_SD]
    listed = ", ".join(repr(target.name) for target in sds)
    if not sds:
        raise ArgumentError("this fit has no group standard deviation to test: its formula has no (... | group)")
    if parameter is None and len(sds) > 1:
        raise ArgumentError(f"this fit has {len(sds)} group standard deviations; say which to test: {listed}")
    target = sds[0] if parameter is None else fit._chosen(parameter)[0]
    if target.kind != GROUP_SD:
        raise ArgumentError(f"{target.name!r} is not a group standard deviation; there are {listed}")
    structure = fit.sufficient.structure
    if structure.sizes[structure.block_of[target.where[0]]] > 1:
        raise ArgumentError(
            f"{target.name!r} is correlated with other effects of its group, and the exact test knows one variance "
            "at a time; fit with uncorrelated effects, (x || g) in place of (x | g), or compare two ML fits by "
            "bootstrap"
        )
    return target

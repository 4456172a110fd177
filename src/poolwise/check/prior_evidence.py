"""What the data say of each parameter without its prior: the REML estimate where the prior stands."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.special import ndtri, stdtrit
from scipy.stats import chi2

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.spec.counted_design import CountedFactor
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.rowless import RowlessFactor

# What is this likely is not called a conflict.
LEVEL = 0.95


@dataclass(frozen=True)
class Evidence:
    """A REML estimate beside which a prior can be held.

    Parameters
    ----------
    estimate : float
        Where the prior stands: an intercept at the predictors' means.
    se : float
        Standard error of a common effect; NaN for an sd.
    widened : float
        What few groups multiply it by.
    least : float
        The smallest value that the data allow; for an sd only, else minus infinity.
    """

    estimate: float
    se: float
    widened: float = 1.0
    least: float = -np.inf

    @property
    def error(self) -> float:
        """The standard error, widened for few groups."""
        return self.se * self.widened

    def __str__(self) -> str:
        few = f" x {self.widened:.2g} for few groups" if self.widened > 1.05 else ""
        return f"REML {self.estimate:.3g}, se {self.se:.2g}{few}"


def evidence(design: Design, reml: FrequentistFit | GLMMFit, *, centred: bool) -> dict[str, Evidence]:
    """Estimates of common effects, group sds and sigma.

    Parameters
    ----------
    design : Design
    reml : FrequentistFit or GLMMFit
        Of this design; of the latter the common effects only.
    centred : bool
        Whether the priors of group intercepts stand at the means of their block's predictors.

    Returns
    -------
    dict of str to Evidence
        By parameter.

    Notes
    -----
    The error of a common effect whose predictor varies or is constant by group comes from the J groups: its standard
    error is multiplied by t / 1.96, t the 97.5 % quantile of Student's distribution with J - 1 degrees of freedom. The
    smallest group sd that the data allow: the means of J groups have the variance sd^2 + noise, the noise being
    sigma^2 / n for an intercept and sigma^2 / (n v) for a slope (n the harmonic mean of the group sizes), which is
    estimated with chi-square error; its lower 97.5 % limit less the noise is the limit of sd^2. Exact for a balanced
    one-way layout of normal data, a guide elsewhere.
    """
    found = _common(design, reml)
    if isinstance(reml, GLMMFit):
        return {name: seen for name, seen in found.items() if np.isfinite(seen.estimate) and np.isfinite(seen.se)}
    T = reml.sufficient.structure.factor(reml.theta) * reml.sigma
    ends = list(accumulate(factor.structure.q for factor in design.factors))
    for factor, end in zip(design.factors, ends, strict=True):
        own = slice(end - factor.structure.q, end)
        found |= _group_sds(factor, T[own, own], reml.sigma, centred=centred)
    degrees = max(design.n - len(reml.fixef) - sum(factor.J for factor in design.factors), 1)
    least = reml.sigma * float(np.sqrt(degrees / chi2.ppf((1 + LEVEL) / 2, degrees)))
    return {**found, names.SIGMA: Evidence(reml.sigma, np.nan, least=least)}


def _common(design: Design, reml: FrequentistFit | GLMMFit) -> dict[str, Evidence]:
    estimate = reml.fixef.to_numpy()
    if not np.isfinite(estimate).all():
        return {}
    found = {}
    for k, name in enumerate(design.coefficient_names):
        row = np.zeros(len(estimate))
        row[k] = 1.0
        if k == design.intercept:
            # The intercept's prior stands at the predictors' means.
            row = _means(design)
        groups = [factor.J for factor in design.factors if name in factor.effects or _by_group(design, k, factor)]
        widened = float(stdtrit(max(min(groups) - 1, 1), (1 + LEVEL) / 2) / ndtri((1 + LEVEL) / 2)) if groups else 1.0
        found[name] = Evidence(float(row @ estimate), reml.se_of(row), widened)
    return found


def _means(design: Design) -> Array:
    """Mean over the rows of each column of X."""
    if design.collapsed is not None:
        # The last place is that of the column of ones, which is numbered -1.
        return np.append(design.collapsed.total.mean[0], 1.0)[list(design.collapsed.evaluator.x)]
    return np.average(design.cells.X, axis=0, weights=None if design.counted is None else design.counted.rows)


def _by_group(design: Design, k: int, factor: GroupingFactor) -> bool:
    """Whether column k of X is constant within the groups."""
    if isinstance(factor, RowlessFactor):
        at = factor.data.evaluator.x[k]
        groups, total = factor.data.sums.plain.pooled(factor.cell_codes, factor.J), factor.data.total
        largest = np.sqrt(total.mean[0, at] ** 2 + total.scatter[0, at, at] / total.weight[0])
        return at < 0 or bool((groups.scatter[:, at, at] <= groups.weight * (1e-8 * largest) ** 2).all())
    column, codes = design.cells.X[:, k], factor.cells.codes if isinstance(factor, CountedFactor) else factor.codes
    means = np.bincount(codes, weights=column) / np.bincount(codes)
    return bool(np.allclose(column, means[codes], rtol=1e-8, atol=1e-8 * float(np.abs(column).max())))


def _group_sds(factor: GroupingFactor, T: Array, sigma: float, *, centred: bool) -> dict[str, Evidence]:
    if centred:
        T = np.linalg.solve(factor.centring, T)
    sds = np.sqrt((T**2).sum(axis=1))
    harmonic = 1 / float(np.mean(1 / np.maximum(factor.sizes, 1)))
    slopes = [k for k, effect in enumerate(factor.effects) if effect != names.INTERCEPT]
    within = {k: factor.sd_within(k) for k in slopes}
    # An intercept at zero is as uncertain as the predictors' means are far from it.
    far = sum((factor.spread(k)[0] / sd) ** 2 for k, sd in within.items()) if not centred else 0.0
    found = {}
    for k, (parameter, sd) in enumerate(zip(factor.sd_names, sds, strict=True)):
        noise = sigma**2 / harmonic * (1 / within[k] ** 2 if k in within else 1 + far)
        least = 0.0
        if factor.J > 1:
            limit = (sd**2 + noise) * (factor.J - 1) / float(chi2.ppf((1 + LEVEL) / 2, factor.J - 1)) - noise
            least = float(np.sqrt(max(limit, 0.0)))
        found[parameter] = Evidence(float(sd), np.nan, least=least)
    return found

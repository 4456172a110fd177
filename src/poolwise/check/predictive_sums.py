"""Replicated sums: means and sds of groups, drawn from their sampling distributions where the rows are gone."""

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.errors import RowsNeededError
from poolwise.result.bayes import BayesFit
from poolwise.spec.counted_design import CountedFactor
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.residual_sums import Linear, linear, terms_of
from poolwise.spec.rowless import RowlessDesign, RowlessFactor

# Quantiles need no more, and each draw walks through all cells.
MOST_DRAWS = 2000
Moments = tuple[Array, Array]


def group_moments(
    fit: BayesFit,
    factor: GroupingFactor,
    large: NDArray[np.int64],
    seed: int,
    *,
    residuals: bool = False,
    mixed: bool = False,
) -> tuple[Moments, Moments]:
    """Means and standard deviations of the rows within groups, of the data and of replicated data.

    Parameters
    ----------
    fit : BayesFit
        Of collapsed data.
    factor : GroupingFactor
        Of its design.
    large : ndarray of int (G,)
        Which groups of it.
    seed : int
    residuals : bool, default False
        Whether of the rows minus the posterior mean of their means; else of the response, without its offset.
    mixed : bool, default False
        Whether the effects of every group are drawn anew from the population.

    Returns
    -------
    (means, sds) of the data, ndarray (1, G) each; (means, sds) of replicated data, ndarray (D, G) each
        Replicated under each of at most 2,000 draws.

    Raises
    ------
    RowsNeededError
        With precision weights, whose rows differ in their noise.

    Notes
    -----
    A replicated row is eta_d + sigma_d e, e standard normal. The mean of n rows is normal about that of eta_d, with the
    variance sigma_d^2 / n; independent of it, their sum of squares is sigma_d^2 times a noncentral chi-square with
    n - 1 degrees of freedom and noncentrality sum (eta_d - mean)^2 / sigma_d^2. Means and scatters of cells give both.

    References
    ----------
    Johnson, Kotz & Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 29.
    """
    design = fit.design
    assert isinstance(design, RowlessDesign) and isinstance(factor, RowlessFactor)
    if design.weights_column and not design.frequency:
        raise RowsNeededError("replicated sums do not know which row has which precision weight; this needs the rows")
    data, rng = design.collapsed, np.random.default_rng(seed)
    common, effects = fit.coefficients, drawn_effects(fit, rng, mixed=mixed)
    centre = [residuals * part.mean(axis=0) for part in (common, *effects)]
    kept = kept_draws(fit)
    n, sigma = factor.sizes[large], fit.sigma_draws

    def moments(parts: list[Array], response: float) -> Moments:
        mean, squares = moments_by_group(factor, linear(data, terms_of(design, parts[0], parts[1:]), response))
        return mean[large], squares[large]

    means, squares = np.empty((len(kept), len(large))), np.empty((len(kept), len(large)))
    for k, d in enumerate(kept):
        eta = [part[d] - middle for part, middle in zip((common, *effects), centre, strict=True)]
        mean, shift = moments(eta, 0.0)
        means[k] = rng.normal(mean, sigma[d] / np.sqrt(n))
        squares[k] = sigma[d] ** 2 * rng.noncentral_chisquare(n - 1, shift / sigma[d] ** 2)
    mean, observed = moments([-part for part in centre], 1.0)
    return (mean[None], np.sqrt(observed / n)[None]), (means, np.sqrt(squares / n))


def moments_by_group(factor: RowlessFactor, value: Linear) -> Moments:
    """Mean, and sum of squares about it, in each group, of what is linear in the columns."""
    cells, codes, J = factor.data.sums.plain, factor.cell_codes, factor.J
    mean, within = value.moments(cells)
    total = np.bincount(codes, cells.weight * mean, J) / np.bincount(codes, cells.weight, J)
    return total, np.bincount(codes, within + cells.weight * (mean - total[codes]) ** 2, J)


def drawn_effects(fit: BayesFit, rng: np.random.Generator, *, mixed: bool) -> list[Array]:
    """Draws (D, J, q) of the effects of each factor, or new ones from the population."""
    effects = [fit.effects(factor) for factor in fit.design.factors]
    if not mixed:
        return effects
    factors = [fit.factor_draws(factor) for factor in fit.design.factors]
    return [np.einsum("dkm,djm->djk", T, rng.normal(size=u.shape)) for T, u in zip(factors, effects, strict=True)]


def kept_draws(fit: BayesFit) -> NDArray[np.int64]:
    """At most 2,000 of the draws, evenly spaced."""
    D = len(fit.coefficients)
    return np.unique(np.linspace(0, D - 1, min(D, MOST_DRAWS)).astype(np.int64))


def group_counts(
    fit: BayesFit, factor: GroupingFactor, large: NDArray[np.int64], seed: int, *, mixed: bool = False
) -> tuple[Array, Array]:
    """Sums of the responses of groups, of counted data and of replicated data.

    Parameters
    ----------
    fit : BayesFit
        Of counted data.
    factor : GroupingFactor
        Of its design.
    large : ndarray of int (G,)
        Which groups of it.
    seed : int
    mixed : bool, default False
        Whether the effects of every group are drawn anew from the population.

    Returns
    -------
    ndarray (1, G), ndarray (D, G)
        Of the data, and of data replicated under each of at most 2,000 draws.

    Notes
    -----
    The rows of a cell have one probability or mean, so their sum is binomial with the trials of all of them, or Poisson
    with their number times the mean.
    """
    design, counts = fit.design, fit.design.counted
    assert counts is not None and isinstance(factor, CountedFactor)
    rng, cells = np.random.default_rng(seed), design.cells
    common, effects = fit.coefficients, drawn_effects(fit, rng, mixed=mixed)
    kept, codes, poisson = kept_draws(fit), factor.cells.codes, design.family.holds == "count"
    replicated = np.empty((len(kept), len(large)))
    for k, d in enumerate(kept):
        eta = cells.offset + cells.X @ common[d]
        for own, u in zip(cells.factors, effects, strict=True):
            eta = eta + own.contribution(u[d])
        mean = INVERSE[design.family.link](eta)
        y = rng.poisson(counts.rows * mean) if poisson else rng.binomial(counts.trials.astype(np.int64), mean)
        replicated[k] = np.bincount(codes, y, factor.J)[large]
    return np.bincount(codes, counts.y, factor.J)[large][None], replicated

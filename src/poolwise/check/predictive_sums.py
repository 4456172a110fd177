"""Replicated sums: the spread within groups, drawn from its sampling distribution where the rows are gone."""

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.errors import RowsNeededError
from poolwise.result.bayes import BayesFit
from poolwise.spec.residual_sums import Linear, linear, residual, terms_of
from poolwise.spec.rowless import RowlessDesign

# Quantiles need no more, and each draw walks through all cells.
MOST_DRAWS = 2000


def group_sds(fit: BayesFit, large: NDArray[np.int64], seed: int) -> tuple[Array, Array]:
    """Standard deviations of the residual rows within groups, of the data and of replicated data.

    Parameters
    ----------
    fit : BayesFit
        Of collapsed data.
    large : ndarray of int (G,)
        Which groups of the first factor.
    seed : int

    Returns
    -------
    ndarray (1, G), ndarray (D, G)
        Of the data, and of data replicated under each of at most 2,000 draws.

    Raises
    ------
    RowsNeededError
        With precision weights, whose rows differ in their noise.

    Notes
    -----
    A replicated row is eta_d + sigma_d e, e standard normal, its residual from the posterior mean of eta is that minus
    eta. The sum of squares of n rows about their mean is sigma_d^2 times a noncentral chi-square with n - 1 degrees of
    freedom and noncentrality sum (eta_d - eta - mean)^2 / sigma_d^2, which the cells' means and scatters give.

    References
    ----------
    Johnson, Kotz & Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 29.
    """
    design = fit.design
    assert isinstance(design, RowlessDesign)
    if design.weights_column and not design.frequency:
        raise RowsNeededError("replicated sums do not know which row has which precision weight; this needs the rows")
    data, rng = design.collapsed, np.random.default_rng(seed)
    effects = [fit.effects(factor) for factor in design.factors]
    common = fit.coefficients
    kept = np.unique(np.linspace(0, len(common) - 1, min(len(common), MOST_DRAWS)).astype(int))
    centre = [common.mean(axis=0), *(own.mean(axis=0) for own in effects)]
    rows, sigma = data.design.factors[0].sizes[large], fit.sigma_draws
    observed = squares_by_group(design, residual(data, terms_of(design, centre[0], centre[1:])))[large]
    replicated = np.empty((len(kept), len(large)))
    for k, d in enumerate(kept):
        apart = [common[d] - centre[0], *(own[d] - mid for own, mid in zip(effects, centre[1:], strict=True))]
        shifts = squares_by_group(design, linear(data, terms_of(design, apart[0], apart[1:])))[large]
        replicated[k] = sigma[d] ** 2 * rng.noncentral_chisquare(rows - 1, shifts / sigma[d] ** 2)
    return np.sqrt(observed / rows)[None], np.sqrt(replicated / rows)


def squares_by_group(design: RowlessDesign, value: Linear) -> Array:
    """Sum of squares about the group's mean, by group of the first factor, of what is linear in the columns."""
    factor, cells = design.factors[0], design.collapsed.sums.plain
    codes: NDArray[np.int64] = factor.cell_codes  # type: ignore[attr-defined]
    mean, within = value.moments(cells)
    total = np.bincount(codes, cells.weight * mean, factor.J) / np.bincount(codes, cells.weight, factor.J)
    return np.bincount(codes, within + cells.weight * (mean - total[codes]) ** 2, factor.J)

"""Replicated sums: the spread within groups, drawn from its sampling distribution where the rows are gone."""

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.errors import RowsNeededError
from poolwise.result.bayes import BayesFit
from poolwise.spec.collapsed import CollapsedData
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
    observed = _squares(data, *_slopes(data, [-part for part in centre], response=1.0))[large]
    replicated = np.empty((len(kept), len(large)))
    for k, d in enumerate(kept):
        apart = [common[d] - centre[0], *(own[d] - mid for own, mid in zip(effects, centre[1:], strict=True))]
        shifts = np.maximum(_squares(data, *_slopes(data, apart, response=0.0))[large], 0.0)
        replicated[k] = sigma[d] ** 2 * rng.noncentral_chisquare(rows - 1, shifts / sigma[d] ** 2)
    return np.sqrt(np.maximum(observed, 0.0) / rows)[None], np.sqrt(replicated / rows)


def _slopes(data: CollapsedData, parts: list[Array], response: float) -> tuple[Array, Array]:
    """What each cell multiplies its columns by (C, d), and what it adds (C,)."""
    d = data.sums.plain.mean.shape[1]
    # The last place is that of the column of ones, which the evaluator numbers -1.
    slopes = np.zeros((len(data.sums.keys), d + 1))
    slopes[:, d - 1] = response
    for at, value in zip(data.evaluator.x, parts[0], strict=True):
        slopes[:, at] += value
    for codes, own, values in zip(data.cell_codes, data.evaluator.z, parts[1:], strict=True):
        for k, at in enumerate(own):
            slopes[:, at] += values[codes, k]
    return slopes[:, :d], slopes[:, d]


def _squares(data: CollapsedData, slopes: Array, constant: Array) -> Array:
    """Sum of squares about the group's mean, by group of the first factor, of what is linear in the columns."""
    sums, codes, J = data.sums.plain, data.cell_codes[0], data.design.factors[0].J
    mean = np.einsum("ck,ck->c", slopes, sums.mean) + constant
    within = np.einsum("ck,ckm,cm->c", slopes, sums.scatter, slopes)
    apart = mean - (np.bincount(codes, sums.weight * mean, J) / np.bincount(codes, sums.weight, J))[codes]
    return np.bincount(codes, within + sums.weight * apart**2, J)

"""Log predictive density of held-out sums: of the rows of a group in a fold together, exact without the rows.

For one draw of the parameters the log densities of a part's n rows add up to

    -n/2 log(2 pi) - n log sigma - sum_i w_i r_i^2 / (2 sigma^2) + sum_i log(w_i) / 2,

and the sum of squares of the residuals r, which are linear in the columns, follows from the part's mean and scatter
(:mod:`poolwise.spec.residual_sums`); of counts the log density of a part follows from its sums. The mean over the draws
is taken of the density of the part as a whole, as single rows are gone: log mean_s prod_i p(y_i | s). It is not the sum
over rows of log mean_s p(y_i | s), which PSIS-LOO estimates; a part of one row has both alike.

References
----------
Gelman, Hwang & Vehtari (2014), Statistics and Computing 24, 997-1016, section 2.4, on the joint density of new data.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlog1py, xlogy

from poolwise.algebra.basis import Basis
from poolwise.algebra.conditional import fill_effects
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.compile.collapsed import Draws
from poolwise.spec.counted_design import CountedDesign
from poolwise.spec.design import Design
from poolwise.spec.residual_sums import residual, terms_of

# Draws whose effects are in memory at once.
AT_ONCE = 50


def posterior_blocks(
    draws: Draws, stats: CrossProducts, basis: Basis, seed: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Common effects (S, p), group-specific ones (S, J, q) drawn exactly, and sigma (S,), block of draws by block.

    Parameters
    ----------
    draws : Draws
        Of the posterior under ``stats``.
    stats : CrossProducts
        Of the training rows; a group without any is drawn from the population.
    basis : Basis
        Their coordinates.
    seed : int
        Of the effects.
    """
    rng = np.random.default_rng(seed)
    offset, matrix = basis.to_coefficients
    for first in range(0, len(draws.s), AT_ONCE):
        own = slice(first, first + AT_ONCE)
        effects = np.empty((len(draws.s[own]), stats.J if stats.q else 0, stats.q))
        if effects.size:
            fill_effects(stats, draws.b[own], draws.T[own], draws.s[own], rng, effects)
            effects = effects @ basis.to_effects.T
        yield offset + draws.b[own] @ matrix.T, effects, draws.sigma[own]


def part_densities(design: Design, common: Array, effects: Array, sigma: Array, held: NDArray[np.bool_]) -> Array:
    """Log density of the rows of each held-out part under each draw, without the logs of precision weights.

    Parameters
    ----------
    design : RowlessDesign
    common, effects, sigma : ndarray (S, p), (S, J, q), (S,)
        Draws, in the units of the data.
    held : ndarray of bool (parts,)

    Returns
    -------
    ndarray (S, held parts)
        Natural logs.
    """
    data = design.collapsed
    assert data is not None
    moments, cell = data.parts.weighted.subset(held), data.cell_of_part[held]
    n = moments.weight if design.frequency else data.parts.rows[held]
    found = np.empty((len(sigma), len(cell)))
    for s, scale in enumerate(sigma):
        squares = residual(data, terms_of(design, common[s], [effects[s]])).squares(moments, cell)
        found[s] = -n * (0.5 * np.log(2 * np.pi) + np.log(scale)) - squares / (2 * scale**2)
    return found


def held_densities(design: Design, blocks: Iterator[tuple[Array, Array, Array]], held: NDArray[np.bool_]) -> Array:
    """Log predictive density of each held-out part (held parts,): the mean over the draws of its joint density."""
    found = np.concatenate([part_densities(design, *block, held) for block in blocks])
    return logsumexp(found, axis=0) - np.log(len(found))


def density_of_counts(design: CountedDesign, means: Array, held: NDArray[np.bool_]) -> Array:
    """The same of held-out parts of counts, from draws (S, held parts) of their means."""
    own = design.source.parts.subset(held)
    with np.errstate(divide="ignore"):
        if design.family.holds == "count":
            found = xlogy(own.y, means) - own.rows * means
        else:
            found = xlogy(own.y, means) + xlog1py(own.trials - own.y, -means)
    return logsumexp(found, axis=0) - np.log(len(means)) + own.constant


def elpd_of_parts(design: Design, densities: Array) -> float:
    """Their sum, with the logs of all precision weights, which are known together only."""
    data = design.collapsed
    return float(densities.sum()) + (0.5 * data.counted()[1] if data is not None else 0.0)

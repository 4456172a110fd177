"""A whitening of which only the blocks follow the group sds: far cheaper than a factor made anew at every point.

The reference has the precision H0 = A + P0 of effects and coefficients. Block j is one group's effects, or all
coefficients, and D0_j the inverse of its block of H0^-1: its precision with all others integrated out. What the data
say of it is B_j = D0_j - P0, so at other group sds its precision is near D_j = B_j + P, which is exact if no other
prior moved. With D = C C' the unknowns are

    D^-1 D0 mode + C^-T F^-T z,    F = C0^-1 L0,

the Laplace approximation itself at the reference; elsewhere blocks keep the correlations that they had there.
"""

import numpy as np
import scipy.sparse

from poolwise.algebra.cholesky import Array, Pattern, factor_pattern
from poolwise.algebra.joint_mode import JointMode, inverse_blocks, own_blocks
from poolwise.algebra.rows import FactorPlace, Rows

# Below this share of the largest precision what the data say of a block is rounding; the map stays one to one.
SMALLEST = 1e-10


def follow_blocks(mode: JointMode, rows: Rows) -> tuple[Pattern, Array, Array, scipy.sparse.csc_array]:
    """The parts of such a whitening.

    Parameters
    ----------
    mode : JointMode
        The reference.
    rows : Rows
        Where effects and coefficients stand.

    Returns
    -------
    pattern : Pattern
        Of D and its factor.
    curvature, linear : ndarray (entries,), (N,)
        B in the places of the pattern, and D0 mode.
    between : csc_array (N, N)
        F, lower triangular, the rows of each column ascending.
    """
    # The coefficients are one block, whose prior is in the curvature already.
    places = [*rows.factors, FactorPlace(rows.unknowns - rows.p, min(rows.p, 1), rows.p)]
    priors = [*map(np.linalg.inv, mode.covariances), np.zeros((rows.p, rows.p))]
    told, precision = [], []
    for inverse, prior in zip(inverse_blocks(mode.factor, mode.pattern, places), priors, strict=True):
        values, vectors = np.linalg.eigh(np.linalg.inv(inverse) - prior)
        ends = np.linalg.eigvalsh(prior)[-1:].max(initial=0.0) + values[:, -1:]
        values = np.maximum(values, SMALLEST * ends)
        told.append((vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1))
        precision.append(told[-1] + prior)
    order = sorted(range(len(places)), key=lambda f: places[f].first)
    B, D0 = (_diagonal([blocks[f] for f in order]) for blocks in (told, precision))
    below = D0.indices >= np.repeat(np.arange(rows.unknowns), np.diff(D0.indptr))
    inverse_root = _diagonal([np.linalg.inv(np.linalg.cholesky(precision[f])) for f in order])
    L0 = scipy.sparse.csc_array((mode.factor, mode.pattern.rows, mode.pattern.starts), shape=D0.shape)
    between = scipy.sparse.tril(inverse_root @ L0).tocsc()
    between.sort_indices()
    return factor_pattern(D0), B.data[below], D0 @ mode.unknowns, between


def coupling(mode: JointMode, rows: Rows) -> float:
    """How much the blocks of effects lean on each other at the reference.

    Parameters
    ----------
    mode, rows
        As :func:`follow_blocks` takes them.

    Returns
    -------
    float
        Half of it is the mean, over effects, of the log ratio of the sd with all others integrated out to the sd with
        all others known; 0 where blocks are independent, or where there are none.
    """
    total = 0.0
    inverses = inverse_blocks(mode.factor, mode.pattern, rows.factors)
    for place, covariance, inverse in zip(rows.factors, mode.covariances, inverses, strict=True):
        given_others = own_blocks(mode.curvature, mode.pattern, place) + np.linalg.inv(covariance)
        total += float(np.linalg.slogdet(given_others @ inverse)[1].sum())
    return total / max(rows.unknowns - rows.p, 1)


def _diagonal(blocks: list[Array]) -> scipy.sparse.csc_array:
    """Blocks (J, q, q) of several factors along the diagonal, their zeros stored."""
    sizes = np.concatenate([np.full(len(block), block.shape[1]) for block in blocks])
    first, widths = np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)
    starts = np.concatenate([[0], np.cumsum(widths)])
    indices = np.repeat(first, widths) + np.arange(starts[-1]) - np.repeat(starts[:-1], widths)
    data = np.concatenate([block.transpose(0, 2, 1).ravel() for block in blocks])
    return scipy.sparse.csc_array((data, indices, starts), shape=(len(widths), len(widths)))

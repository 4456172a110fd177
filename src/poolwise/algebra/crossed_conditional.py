"""Effects of several grouping factors given everything else: exact conditional moments and draws.

With G = I + Lambda'Z'Z Lambda and Lambda = T / sqrt(s):

    u | b, T, s, y  ~  N(Lambda G^-1 Lambda'Z'(y - X b), s Lambda G^-1 Lambda')

By block elimination (see ``elimination.py``) the effects of the remaining factors have the covariance s H with
H = Lambda_r S^-1 Lambda_r', and those of group j of the eliminated factor, given them, s E_j'E_j.

References
----------
Henderson (1975), Biometrics 31, 423-447; Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from poolwise.algebra.crossed import CrossedProducts, Integers
from poolwise.algebra.crossed_profiled import by_factor
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.elimination import Elimination, eliminate, inverse_and_traces, mix_rows
from poolwise.algebra.schur import Storage, place


@dataclass(frozen=True)
class CrossedMoments:
    """Conditional moments of the effects of every factor.

    Parameters
    ----------
    mean : list of ndarray (J_f, q_f)
        Conditional means, at the REML optimum the conditional modes.
    covariance : list of ndarray (J_f, q_f, q_f)
        Conditional covariances of each group's effects.
    slope : list of ndarray (J_f, q_f, p)
        Derivatives of the means by b.
    """

    mean: list[Array]
    covariance: list[Array]
    slope: list[Array]


def crossed_moments(stats: CrossedProducts, b: Array, T: Array, s: float) -> CrossedMoments:
    """Conditional mean, covariance and slope on b of all effects.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    b : ndarray (p,)
        Common effects.
    T : ndarray (q, q)
        Factor of the group covariances, block diagonal over the factors.
    s : float
        Residual variance.

    Returns
    -------
    CrossedMoments
    """
    at = eliminate(stats, T / np.sqrt(s))
    others = [at.Lambdas[f] for f in stats.others]
    V = at.solve(at.W)  # (Q, p + 1)
    own = at.Lambdas[stats.eliminated] @ at.back(V)
    effects = by_factor(stats, own, mix_rows(V, stats, others))  # Lambda G^-1 Lambda'Z'(X, y)
    inverse, traces, _ = inverse_and_traces(stats, at)
    D = at.E.swapaxes(1, 2) @ at.E
    blocks = {
        f: Lambda @ _diagonal_blocks(at.storage, inverse, where, len(Lambda)) @ Lambda.T
        for f, where, Lambda in zip(stats.others, stats.columns.slices, others, strict=True)
    }
    blocks[stats.eliminated] = D + D @ traces @ D
    return CrossedMoments(
        [effect @ np.concatenate([-b, [1.0]]) for effect in effects],
        [s * blocks[f] for f in range(len(blocks))],
        [-effect[:, :, : stats.p] for effect in effects],
    )


def _diagonal_blocks(storage: Storage, inverse: Array, where: slice, q: int) -> Array:
    """Blocks (J, q, q) on the diagonal of a symmetric matrix stored in its lower triangle."""
    first = np.arange(where.start, where.stop, q)[:, None, None]
    row, column = np.arange(q)[:, None], np.arange(q)
    return inverse[storage.at(first + np.maximum(row, column), first + np.minimum(row, column))]


def crossed_variances(
    stats: CrossedProducts, T: Array, s: float, Zs: Sequence[Array], groups: Sequence[Integers]
) -> Array:
    """Conditional variance of the group-specific part of rows, the common effects and variances known.

    With x = Lambda'z of a row, partitioned as G is, and t = x_r - (E_j C_j)'L_j^-1 x_e, which is as sparse as C_j:
    x'G^-1 x = |L_j^-1 x_e|^2 + t'S^-1 t, with t'S^-1 t = |L^-1 t|^2 where S is sparse: new rows may join columns that
    no row of the data joined.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics of the data.
    T, s : ndarray (q, q), float
        Factor of the group covariances, block diagonal over the factors, and residual variance.
    Zs, groups : sequences of ndarray (n, q_f), of ndarray of int (n,)
        The rows, by factor; group -1 was not in the data, so its effects have the covariance T T'.

    Returns
    -------
    ndarray (n,)
    """
    at = eliminate(stats, T / np.sqrt(s))
    storage = at.storage
    S = storage.invert(at.L) if storage.pattern is None else at.L
    x = [Z @ Lambda for Z, Lambda in zip(Zs, at.Lambdas, strict=True)]  # (n, q_f) by factor
    total = np.zeros(len(x[0]))
    for group, own in zip(groups, x, strict=True):
        total += np.where(group < 0, (own**2).sum(axis=1), 0.0)
    others, columns, e = stats.others, stats.columns, stats.eliminated
    first = np.full((len(total), len(others)), -1)  # first column of each row's group, by factor
    for column, f in enumerate(others):
        start = columns.slices[column].start
        first[:, column] = np.where(groups[f] < 0, -1, start + groups[f] * stats.factors[f].q)
    widths = np.array([stats.factors[f].q for f in others], dtype=np.int64)
    x_own = np.einsum("nkl,nl->nk", at.L_inverse[groups[e]], x[e])
    x_others = np.column_stack([np.zeros((len(total), 0)), *(x[f] for f in others)])
    half = at.half
    known = (half.indptr, half.indices, half.data[:, :, 0])
    _add_variances(groups[e], x_own, *known, first, widths, x_others, S, storage.starts, storage.rows, total)
    return s * total


@numba.njit(cache=True, nogil=True)
def _add_variances(group, own, indptr, indices, half, first, widths, others, S, starts, rows, total):
    """Add |own|^2 + t'S^-1 t to total, over the groups that were in the data; for S its inverse, or sparse factor."""
    sparse, q = len(rows) > 0, own.shape[1]
    Q = len(starts) - 1 if sparse else len(starts)
    t, marked, touched = np.zeros(Q), np.zeros(Q, np.bool_), np.empty(Q, np.int64)
    for i in range(len(group)):
        size, z, j = 0, 0, group[i]
        if j >= 0:
            for k in range(q):
                total[i] += own[i, k] ** 2
            for entry in range(indptr[j], indptr[j + 1]):
                c = indices[entry]
                marked[c] = True
                touched[size] = c
                size += 1
                for k in range(q):
                    t[c] -= half[entry, k] * own[i, k]
        for r in range(len(widths)):
            for k in range(widths[r]):
                c = first[i, r] + k
                if first[i, r] >= 0:
                    if not marked[c]:
                        marked[c] = True
                        touched[size] = c
                        size += 1
                    t[c] += others[i, z]
                z += 1
        if sparse and size:
            # t becomes L^-1 t, whose entries begin at the first of t.
            for c in range(touched[:size].min(), Q):
                if t[c] != 0.0:
                    value = t[c] / S[starts[c]]
                    t[c] = 0.0
                    total[i] += value**2
                    for entry in range(starts[c] + 1, starts[c + 1]):
                        t[rows[entry]] -= value * S[entry]
        else:
            for x in range(size):
                a = touched[x]
                for y in range(x):
                    b = touched[y]
                    total[i] += 2 * t[a] * t[b] * S[place(starts, rows, max(a, b), min(a, b))]
                total[i] += t[a] ** 2 * S[place(starts, rows, a, a)]
        for x in range(size):
            t[touched[x]] = 0.0
            marked[touched[x]] = False


def crossed_effects(stats: CrossedProducts, b: Array, T: Array, s: Array, rng: np.random.Generator) -> list[Array]:
    """One exact draw of all effects for each draw of b, T and s.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    b, T, s : ndarray (D, p), (D, q, q), (D,)
        Draws of the common effects, of the factor of the group covariances, and of the residual variance.
    rng : Generator
        Source of randomness.

    Returns
    -------
    list of ndarray (D, J_f, q_f)
        One array a factor. Each draw costs one factorisation of the Schur complement.
    """
    draws = len(s)
    found = [np.empty((draws, factor.J, factor.q)) for factor in stats.factors]
    for d in range(draws):
        at = eliminate(stats, T[d] / np.sqrt(s[d]))
        for out, effect in zip(found, draw_effects(stats, at, b[d], np.sqrt(s[d]), rng), strict=True):
            out[d] = effect
    return found


def draw_effects(
    stats: CrossedProducts, at: Elimination, b: Array, sigma: float, rng: np.random.Generator
) -> list[Array]:
    """One exact draw of all effects, (J_f, q_f) a factor, from a factorisation at T / sigma.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    at : Elimination
        The factorisation.
    b, sigma : ndarray (p,), float
        Common effects and residual sd.
    rng : Generator
        Source of randomness.

    Returns
    -------
    list of ndarray (J_f, q_f)
    """
    contrast = np.concatenate([-b, [1.0]])
    # G = L L': L^-T (L^-1 Lambda'Z'(y - X b) + sigma z) has the mean G^-1 Lambda'Z'(y - X b) and covariance s G^-1.
    V = at.solve((at.W @ contrast + sigma * rng.standard_normal(len(at.W)))[:, None])  # (Q, 1)
    half = at.half_sides @ contrast
    own = at.back_from((half + sigma * rng.standard_normal(half.shape))[:, :, None], V)
    others = mix_rows(V, stats, [at.Lambdas[f] for f in stats.others])
    return [effect[:, :, 0] for effect in by_factor(stats, at.Lambdas[stats.eliminated] @ own, others)]

"""Block elimination: one factor's groups eliminated, then the Schur complement of the other factors factorised.

With Lambda = T / sigma block diagonal over the factors, e the eliminated factor and r the others, for group j of e

    M_j = I + Lambda_e'S_j Lambda_e = L_j L_j',   E_j = L_j^-1 Lambda_e',   C_j = Z_ej'Z_r Lambda_r  (sparse rows)
    S = I + Lambda_r'Z_r'Z_r Lambda_r - sum C_j'E_j'E_j C_j = L L'                                    (Q, Q)

so that |I + Lambda'Z'Z Lambda| = |S| prod |M_j|. ``schur.py`` stores S, dense or sparse.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3, for the system; the documentation of
MixedModels.jl, which eliminates by blocks in the same way.
"""

from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.schur import Storage, place


@dataclass(frozen=True)
class Elimination:
    """A factorisation of I + Lambda'Z'Z Lambda, and what it makes of Z'(X, y).

    Parameters
    ----------
    Lambdas : list of ndarray (q_f, q_f)
        Relative factor of each grouping factor.
    padded : ndarray (F - 1, largest q_f, largest q_f)
        Those of the remaining factors in one array.
    L_inverse, E : ndarray (J_e, q_e, q_e)
        See the module.
    C : ndarray (entries, q_e)
        The columns of all C_j, as ``stats.between`` stores Z_e'Z_r.
    half : scipy.sparse.bsr_array (J_e q_e, Q)
        All E_j C_j.
    half_sides : ndarray (J_e, q_e, p + 1)
        E_j Z_ej'(X, y).
    L : ndarray (entries of the storage,)
        Factor of S.
    W : ndarray (Q, p + 1)
        L^-1 (Lambda_r'Z_r' - sum C_j'E_j'E_j Z_ej')(X, y).
    gram : ndarray (p + 1, p + 1)
        (X, y)'V^-1 (X, y), with V relative to sigma^2.
    logdet : float
        log|V|, NaN where S is not positive definite in floating point.
    storage : Storage
        Where the entries of L stand.
    """

    Lambdas: list[Array]
    padded: Array
    L_inverse: Array
    E: Array
    C: Array
    half: scipy.sparse.bsr_array
    half_sides: Array
    L: Array
    W: Array
    gram: Array
    logdet: float
    storage: Storage

    def solve(self, rhs: Array) -> Array:
        """L^-T rhs."""
        return self.storage.solve_upper(self.L, rhs)

    def back(self, V: Array) -> Array:
        """Spherical effects of the eliminated factor (J_e, q_e, k) where those of the others are V (Q, k).

        L_j^-T (E_j Z_ej'(X, y) - E_j C_j V), with as many columns of (X, y) as V has.
        """
        return self.back_from(self.half_sides, V)

    def back_from(self, half_sides: Array, V: Array) -> Array:
        """L_j^-T (half_sides - E_j C_j V) for half_sides (J_e, q_e, k)."""
        left = half_sides - (self.half @ V).reshape(half_sides.shape)
        return self.L_inverse.swapaxes(1, 2) @ left


def eliminate(stats: CrossedProducts, Lambda: Array) -> Elimination:
    """Factorise at Lambda.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    Lambda : ndarray (q, q)
        Relative factor, block diagonal over the factors in their order.

    Returns
    -------
    Elimination
    """
    Lambdas, columns = stats.blocks(Lambda), stats.columns
    own = Lambdas[stats.eliminated]
    others = [Lambdas[f] for f in stats.others]
    most = max((len(block) for block in others), default=0)
    padded = np.zeros((len(others), most, most))
    for f, block in enumerate(others):
        padded[f, : len(block), : len(block)] = block

    M = own.T @ stats.own.ZtZ @ own + np.eye(len(own))  # (J_e, q_e, q_e)
    try:
        L = np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        # Not positive definite in floating point, which the determinant says too.
        L = np.full_like(M, np.nan)
    L_inverse = np.linalg.inv(L)
    E = L_inverse @ own.T
    between, rest = stats.between, stats.rest
    by_column = (columns.within, columns.width, columns.owner, padded)
    C = _mix(between.indices, between.data[:, :, 0], *by_column)
    RC = _mix(rest.indices, rest.data[:, None], *by_column)[:, 0]
    half = np.empty_like(C)
    storage = stats.storage
    L_S = np.zeros(storage.entries)
    _schur(L_S, storage.starts, storage.rows, between.indptr, between.indices, C, E, half)
    _add_rest(L_S, storage.starts, storage.rows, rest.indptr, rest.indices, RC, *by_column)
    half_matrix = scipy.sparse.bsr_array((half[:, :, None], between.indices, between.indptr), shape=between.shape)

    sides, sides_others = stats.sides
    half_sides = E @ sides
    flat = half_sides.reshape(-1, half_sides.shape[2])
    right = mix_rows(sides_others, stats, others, transposed=True) - half_matrix.T @ flat
    logdet = 2 * float(np.log(np.einsum("jkk->jk", L)).sum()) + storage.factorise(L_S)
    W = storage.solve_lower(L_S, right) if np.isfinite(logdet) else right
    gram = stats.gram - flat.T @ flat - W.T @ W
    return Elimination(Lambdas, padded, L_inverse, E, C, half_matrix, half_sides, L_S, W, gram, logdet, storage)


def mix_rows(rows: Array, stats: CrossedProducts, factors: list[Array], *, transposed: bool = False) -> Array:
    """Lambda_r times rows (Q, k), or its transpose times them."""
    out = np.empty_like(rows)
    for where, factor in zip(stats.columns.slices, factors, strict=True):
        block = rows[where].reshape(-1, len(factor), rows.shape[1])
        out[where] = ((factor.T if transposed else factor) @ block).reshape(-1, rows.shape[1])
    return out


def inverse_and_traces(stats: CrossedProducts, at: Elimination) -> tuple[Array, Array, Array]:
    """S^-1 and the two sums over the pattern of Z'Z that gradient and conditional covariances need.

    ``at.L`` may be overwritten.

    Returns
    -------
    inverse : ndarray (entries of the storage,)
        S^-1 where S has entries.
    own : ndarray (J_e, q_e, q_e)
        C_j S^-1 C_j'.
    others : ndarray (Q, largest q_f)
        The diagonal blocks of Z_r'V^-1 Z_r Lambda_r, one below the other.
    """
    between, rest, columns = stats.between, stats.rest, stats.columns
    by_column = (columns.within, columns.width, columns.owner, at.padded)
    inverse = at.storage.invert(at.L)
    where = (at.storage.starts, at.storage.rows)
    RC = _mix(rest.indices, rest.data[:, None], *by_column)[:, 0]
    others = np.zeros((columns.Q, at.padded.shape[1]))
    _rest_traces(rest.indptr, rest.indices, RC, inverse, *where, columns.within, columns.width, others)
    D = at.E.swapaxes(1, 2) @ at.E
    B = between.data[:, :, 0]
    own = _own_traces(
        between.indptr, between.indices, B, at.C, D, inverse, *where, columns.within, columns.width, others
    )
    return inverse, own, others


@numba.njit(cache=True, nogil=True)
def _mix(indices, values, within, width, owner, factors):
    """Sparse rows times Lambda_r; the columns of a group stand side by side, so its pattern stays."""
    q = values.shape[1]
    out = np.zeros_like(values)
    for entry in range(len(indices)):
        c = indices[entry]
        m, factor = within[c], factors[owner[c]]
        for k in range(width[c] - m):
            for a in range(q):
                out[entry, a] += values[entry + k, a] * factor[m + k, m]
    return out


@numba.njit(cache=True, nogil=True)
def _add_rest(S, starts, rows, indptr, indices, RC, within, width, owner, factors):
    """Add I + Lambda_r'Z_r'Z_r Lambda_r to the lower triangle of S."""
    for a in range(len(within)):
        S[place(starts, rows, a, a)] += 1.0
        for m in range(within[a] + 1):
            # Row a of Z_r'Z_r Lambda_r goes to every row of its group at or above a.
            weight, to = factors[owner[a], within[a], m], a - within[a] + m
            for entry in range(indptr[a], indptr[a + 1]):
                if indices[entry] > to:
                    break
                S[place(starts, rows, to, indices[entry])] += weight * RC[entry]


@numba.njit(cache=True, nogil=True)
def _schur(S, starts, rows, indptr, indices, C, E, half):
    """Subtract sum C_j'E_j'E_j C_j from the lower triangle of S; fills half with E_j C_j."""
    q = C.shape[1]
    for j in range(len(indptr) - 1):
        for entry in range(indptr[j], indptr[j + 1]):
            for k in range(q):
                total = 0.0
                for m in range(q):
                    total += E[j, k, m] * C[entry, m]
                half[entry, k] = total
        for x in range(indptr[j], indptr[j + 1]):
            a = indices[x]
            for z in range(indptr[j], x + 1):
                total = 0.0
                for k in range(q):
                    total += half[x, k] * half[z, k]
                S[place(starts, rows, a, indices[z])] -= total


@numba.njit(cache=True, nogil=True)
def _rest_traces(indptr, indices, RC, inverse, starts, rows, within, width, out):
    """Add the diagonal blocks of Z_r'Z_r Lambda_r S^-1."""
    for a in range(len(within)):
        first = a - within[a]
        for entry in range(indptr[a], indptr[a + 1]):
            b = indices[entry]
            for k in range(width[a]):
                c = first + k
                out[a, k] += RC[entry] * inverse[place(starts, rows, max(b, c), min(b, c))]


@numba.njit(cache=True, nogil=True)
def _own_traces(indptr, indices, B, C, D, inverse, starts, rows, within, width, out):
    """C_j S^-1 C_j' (J_e, q_e, q_e); subtracts the diagonal blocks of sum B_j'D_j C_j S^-1 from out."""
    J, q = len(indptr) - 1, C.shape[1]
    own = np.zeros((J, q, q))
    most = 0
    for j in range(J):
        most = max(most, indptr[j + 1] - indptr[j])
    R, DB = np.empty((most, q)), np.empty(q)
    for j in range(J):
        start, size = indptr[j], indptr[j + 1] - indptr[j]
        # R = (C_j S^-1)' at the columns of group j's own pattern.
        R[:size] = 0.0
        for x in range(size):
            c = indices[start + x]
            for z in range(x):
                value = inverse[place(starts, rows, c, indices[start + z])]
                for k in range(q):
                    R[x, k] += value * C[start + z, k]
                    R[z, k] += value * C[start + x, k]
            for k in range(q):
                R[x, k] += inverse[place(starts, rows, c, c)] * C[start + x, k]
        for x in range(size):
            a = indices[start + x]
            for k in range(q):
                DB[k] = 0.0
                for m in range(q):
                    own[j, k, m] += R[x, k] * C[start + x, m]
                    DB[k] += D[j, k, m] * B[start + x, m]
            for k in range(width[a]):
                for m in range(q):
                    out[a, k] -= DB[m] * R[x - within[a] + k, m]
    return own

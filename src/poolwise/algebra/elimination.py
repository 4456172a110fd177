"""Block elimination: one factor's groups eliminated, the Schur complement of the other factors factorised densely.

With Lambda = T / sigma block diagonal over the factors, e the eliminated factor and r the others, for group j of e

    M_j = I + Lambda_e'S_j Lambda_e = L_j L_j',   E_j = L_j^-1 Lambda_e',   C_j = Z_ej'Z_r Lambda_r  (sparse rows)
    S = I + Lambda_r'Z_r'Z_r Lambda_r - sum C_j'E_j'E_j C_j = U'U                                     (Q, Q)

so that |I + Lambda'Z'Z Lambda| = |S| prod |M_j|. The dense S costs Q^2 numbers and one LAPACK Cholesky factorisation.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3, for the system; the documentation of
MixedModels.jl, which eliminates by blocks in the same way.
"""

from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse
from scipy.linalg import lapack

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.lapack import cholesky_in_place


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
    U : ndarray (Q, Q)
        Upper triangular, Fortran order; what stands below the diagonal means nothing.
    W : ndarray (Q, p + 1)
        U^-T (Lambda_r'Z_r' - sum C_j'E_j'E_j Z_ej')(X, y).
    gram : ndarray (p + 1, p + 1)
        (X, y)'V^-1 (X, y), with V relative to sigma^2.
    logdet : float
        log|V|, NaN where S is not positive definite in floating point.
    """

    Lambdas: list[Array]
    padded: Array
    L_inverse: Array
    E: Array
    C: Array
    half: scipy.sparse.bsr_array
    half_sides: Array
    U: Array
    W: Array
    gram: Array
    logdet: float

    def solve(self, rhs: Array) -> Array:
        """U^-1 rhs."""
        return lapack.dtrtrs(self.U, rhs, lower=0)[0] if len(rhs) else rhs

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
    for place, block in enumerate(others):
        padded[place, : len(block), : len(block)] = block

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
    S = _schur(between.indptr, between.indices, C, E, half, rest.indptr, rest.indices, RC, *by_column)
    half_matrix = scipy.sparse.bsr_array((half[:, :, None], between.indices, between.indptr), shape=between.shape)

    sides, sides_others = stats.sides
    half_sides = E @ sides
    flat = half_sides.reshape(-1, half_sides.shape[2])
    right = mix_rows(sides_others, stats, others, transposed=True) - half_matrix.T @ flat
    U, W, logdet = S.T, right, 2 * float(np.log(np.einsum("jkk->jk", L)).sum())
    if columns.Q:
        # The lower triangle of S in C order is the upper one of S' in Fortran order.
        if not cholesky_in_place(S):
            logdet = np.nan
        else:
            W = lapack.dtrtrs(U, right, lower=0, trans=1)[0]
            logdet += 2 * float(np.log(np.diag(U)).sum())
    gram = stats.gram - flat.T @ flat - W.T @ W
    return Elimination(Lambdas, padded, L_inverse, E, C, half_matrix, half_sides, U, W, gram, logdet)


def mix_rows(rows: Array, stats: CrossedProducts, factors: list[Array], *, transposed: bool = False) -> Array:
    """Lambda_r times rows (Q, k), or its transpose times them."""
    out = np.empty_like(rows)
    for where, factor in zip(stats.columns.slices, factors, strict=True):
        block = rows[where].reshape(-1, len(factor), rows.shape[1])
        out[where] = ((factor.T if transposed else factor) @ block).reshape(-1, rows.shape[1])
    return out


def inverse_and_traces(stats: CrossedProducts, at: Elimination) -> tuple[Array, Array, Array]:
    """S^-1 and the two sums over the pattern of Z'Z that gradient and conditional covariances need.

    ``at.U`` is overwritten.

    Returns
    -------
    inverse : ndarray (Q, Q)
        S^-1, lower triangle, C order.
    own : ndarray (J_e, q_e, q_e)
        C_j S^-1 C_j'.
    others : ndarray (Q, largest q_f)
        The diagonal blocks of Z_r'V^-1 Z_r Lambda_r, one below the other.
    """
    between, rest, columns = stats.between, stats.rest, stats.columns
    by_column = (columns.within, columns.width, columns.owner, at.padded)
    inverse = lapack.dpotri(at.U, lower=0, overwrite_c=1)[0].T if columns.Q else at.U.T
    RC = _mix(rest.indices, rest.data[:, None], *by_column)[:, 0]
    others = np.zeros((columns.Q, at.padded.shape[1]))
    _rest_traces(rest.indptr, rest.indices, RC, inverse, columns.within, columns.width, others)
    D = at.E.swapaxes(1, 2) @ at.E
    B = between.data[:, :, 0]
    own = _own_traces(between.indptr, between.indices, B, at.C, D, inverse, columns.within, columns.width, others)
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
def _schur(indptr, indices, C, E, half, rest_indptr, rest_indices, RC, within, width, owner, factors):
    """S in its lower triangle; fills half with E_j C_j."""
    Q, q = len(within), C.shape[1]
    S = np.zeros((Q, Q))
    for a in range(Q):
        S[a, a] += 1.0
        for m in range(within[a] + 1):
            # Row a of Z_r'Z_r Lambda_r goes to every row of its group at or above a.
            weight, to = factors[owner[a], within[a], m], a - within[a] + m
            for entry in range(rest_indptr[a], rest_indptr[a + 1]):
                if rest_indices[entry] > to:
                    break
                S[to, rest_indices[entry]] += weight * RC[entry]
    for j in range(len(indptr) - 1):
        for entry in range(indptr[j], indptr[j + 1]):
            for k in range(q):
                total = 0.0
                for m in range(q):
                    total += E[j, k, m] * C[entry, m]
                half[entry, k] = total
        for x in range(indptr[j], indptr[j + 1]):
            row = S[indices[x]]
            for z in range(indptr[j], x + 1):
                total = 0.0
                for k in range(q):
                    total += half[x, k] * half[z, k]
                row[indices[z]] -= total
    return S


@numba.njit(cache=True, nogil=True)
def _rest_traces(indptr, indices, RC, inverse, within, width, out):
    """Add the diagonal blocks of Z_r'Z_r Lambda_r S^-1."""
    for a in range(len(within)):
        first = a - within[a]
        for entry in range(indptr[a], indptr[a + 1]):
            b = indices[entry]
            for k in range(width[a]):
                c = first + k
                out[a, k] += RC[entry] * (inverse[b, c] if b >= c else inverse[c, b])


@numba.njit(cache=True, nogil=True)
def _own_traces(indptr, indices, B, C, D, inverse, within, width, out):
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
            row = inverse[indices[start + x]]
            for z in range(x):
                value = row[indices[start + z]]
                for k in range(q):
                    R[x, k] += value * C[start + z, k]
                    R[z, k] += value * C[start + x, k]
            for k in range(q):
                R[x, k] += row[indices[start + x]] * C[start + x, k]
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

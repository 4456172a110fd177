"""M = I + A'W A for rows A with one group of each factor: one factor eliminated, the rest dense.

A row of A holds Lambda'z of its group of every factor, side by side. With e the factor that has most effects, r the
others, M_e block diagonal over the groups of e, L its Cholesky factors, B = A_r'W A_e and H = L^-1 B':

    S = I + A_r'W A_r - H'H = U U',    log|M| = log|M_e| + log|S|

Memory: the pairs of a group of e and a group of r that share a row, and S, the square of the others' effects.

Long because factor, solve and derivatives are compiled functions of one layout of blocks, which stays in one module.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3; the blocks as MixedModels.jl has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from poolwise.algebra.crossproducts import Array

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the effects of each row stand.

    Parameters
    ----------
    order : ndarray of int (k,)
        Columns of the rows of A, the eliminated factor's first.
    eliminated : int
        Which factor that is.
    widths : tuple of int
        Effects a group, of each factor in the formula's order.
    Js : tuple of int
        Groups of each factor.
    codes : ndarray of int (n,)
        Group of the eliminated factor.
    at : ndarray of int (n, k - q_e)
        Place of each further column of a row among the Q effects of the other factors.
    place : ndarray of int (n, k - q_e)
        Its entry in the list of columns that the row's group of the eliminated factor meets.
    indptr, indices : ndarray of int
        That list, group by group.
    """

    order: Integers
    eliminated: int
    widths: tuple[int, ...]
    Js: tuple[int, ...]
    codes: Integers
    at: Integers
    place: Integers
    indptr: Integers
    indices: Integers

    @property
    def q(self) -> int:
        """Effects a group of the eliminated factor."""
        return self.widths[self.eliminated]

    @property
    def J(self) -> int:
        """Groups of the eliminated factor."""
        return self.Js[self.eliminated]

    @property
    def Q(self) -> int:
        """Effects of the other factors."""
        return sum(J * q for f, (J, q) in enumerate(zip(self.Js, self.widths, strict=True)) if f != self.eliminated)

    @property
    def size(self) -> int:
        """All effects; a vector of them has those of the eliminated factor first."""
        return self.J * self.q + self.Q

    def by_factor(self, vector: Array) -> list[Array]:
        """The effects (size, ...) of each factor, (J_f, q_f, ...), in the formula's order."""
        found, start = [], self.J * self.q
        for f, (J, q) in enumerate(zip(self.Js, self.widths, strict=True)):
            if f == self.eliminated:
                found.append(vector[: J * q].reshape(J, q, *vector.shape[1:]))
            else:
                found.append(vector[start : start + J * q].reshape(J, q, *vector.shape[1:]))
                start += J * q
        return found

    def gather(self, A: Array, vector: Array) -> Array:
        """A times a vector of effects, (n,)."""
        own = vector[: self.J * self.q].reshape(self.J, self.q)[self.codes]
        rest = vector[self.J * self.q :][self.at]
        return np.einsum("nk,nk->n", A[:, : self.q], own) + np.einsum("nk,nk->n", A[:, self.q :], rest)

    def scatter(self, A: Array, values: Array) -> Array:
        """A' times values (n,) or (n, c)."""
        columns = values if values.ndim == 2 else values[:, None]
        out = _scatter(A, np.ascontiguousarray(columns), self.codes, self.at, self.q, self.J * self.q, self.size)
        return out.reshape(self.size, *values.shape[1:])


def make_pattern(codes: Sequence[Integers], Js: Sequence[int], widths: Sequence[int]) -> Pattern:
    """Find the pattern of some rows.

    Parameters
    ----------
    codes : sequence of ndarray of int (n,)
        Group of each row, for each factor.
    Js, widths : sequence of int
        Groups, and effects a group, of each factor.

    Returns
    -------
    Pattern
    """
    n = len(codes[0])
    eliminated = int(np.argmax([J * q for J, q in zip(Js, widths, strict=True)]))
    starts = np.concatenate([[0], np.cumsum(widths)])
    own = np.arange(starts[eliminated], starts[eliminated + 1])
    order, at, base = [own], [np.zeros((n, 0), np.int64)], 0
    for f, (J, q) in enumerate(zip(Js, widths, strict=True)):
        if f != eliminated:
            order.append(np.arange(starts[f], starts[f + 1]))
            at.append(base + codes[f][:, None] * q + np.arange(q))
            base += J * q
    columns = np.concatenate(at, axis=1)
    # Pairs (group, column) that occur, sorted by group and then by column.
    pairs = np.asarray(codes[eliminated])[:, None] * max(base, 1) + columns
    unique, inverse = np.unique(pairs, return_inverse=True)
    met = unique // max(base, 1)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(met, minlength=Js[eliminated]))]).astype(np.int64)
    return Pattern(
        np.concatenate(order),
        eliminated,
        tuple(widths),
        tuple(Js),
        np.ascontiguousarray(codes[eliminated]),
        np.ascontiguousarray(columns),
        np.ascontiguousarray(inverse.reshape(pairs.shape).astype(np.int64)),
        indptr,
        (unique % max(base, 1)).astype(np.int64),
    )


@dataclass(frozen=True, eq=False)
class Factored:
    """M factorised.

    Parameters
    ----------
    pattern : Pattern
        Of the rows.
    L_inverse : ndarray (J, q, q)
        Inverse Cholesky factors of the eliminated factor's blocks.
    H : ndarray (entries, q)
        Rows of H', by entry.
    U : ndarray (Q, Q)
        Lower Cholesky factor of S, Fortran order; what stands above the diagonal means nothing.
    logdet : float
        log|M|; NaN where M is not positive definite.
    """

    pattern: Pattern
    L_inverse: Array
    H: Array
    U: Array
    logdet: float

    def solve(self, vector: Array) -> Array:
        """M^-1 times a vector of effects (size,) or several (size, c)."""
        columns, pattern = vector if vector.ndim == 2 else vector[:, None], self.pattern
        own = pattern.J * pattern.q
        half = self.L_inverse @ columns[:own].reshape(pattern.J, pattern.q, columns.shape[1])
        rest = np.array(columns[own:], order="C")
        if pattern.Q:
            _subtract_others(half, rest, self.H, pattern.indptr, pattern.indices)
            rest = lapack.dpotrs(self.U, rest, lower=1)[0]
            half = np.ascontiguousarray(half)
            _subtract_own(half, np.ascontiguousarray(rest), self.H, pattern.indptr, pattern.indices)
        found = self.L_inverse.swapaxes(1, 2) @ half
        return np.concatenate([found.reshape(own, columns.shape[1]), rest]).reshape(vector.shape)

    def inverse(self) -> "Inverse":
        """The elements of M^-1 at the pairs of effects that share a row."""
        pattern = self.pattern
        S = lapack.dpotri(self.U, lower=1)[0] if pattern.Q else self.U
        S = np.tril(S) + np.tril(S, -1).T
        own, cross = _inverse_blocks(self.L_inverse, self.H, np.ascontiguousarray(S), pattern.indptr, pattern.indices)
        return Inverse(pattern, own, cross, S)


@dataclass(frozen=True, eq=False)
class Inverse:
    """Elements of M^-1.

    Parameters
    ----------
    pattern : Pattern
        Of the rows.
    own : ndarray (J, q, q)
        Diagonal blocks of the eliminated factor.
    cross : ndarray (entries, q)
        Between an effect of another factor and those of a group that it meets.
    rest : ndarray (Q, Q)
        S^-1.
    """

    pattern: Pattern
    own: Array
    cross: Array
    rest: Array

    def times_rows(self, A: Array) -> Array:
        """For every row, M^-1 a at the effects of the row itself, (n, k): a'M^-1 a is its product with the row."""
        pattern = self.pattern
        return _times_rows(A, pattern.codes, pattern.at, pattern.place, self.own, self.cross, self.rest)

    def blocks(self) -> list[Array]:
        """Diagonal blocks (J_f, q_f, q_f) of every factor, in the formula's order."""
        pattern, found, start = self.pattern, [], 0
        for f, (J, q) in enumerate(zip(pattern.Js, pattern.widths, strict=True)):
            if f == pattern.eliminated:
                found.append(self.own)
                continue
            places = start + np.arange(J * q).reshape(J, q)
            found.append(self.rest[places[:, :, None], places[:, None, :]])
            start += J * q
        return found


def factorise(pattern: Pattern, A: Array, weights: Array) -> Factored:
    """Factorise I + A'W A.

    Parameters
    ----------
    pattern : Pattern
        Of the rows.
    A : ndarray (n, k)
        Rows, columns in the pattern's order.
    weights : ndarray (n,)
        Diagonal of W; may be negative as long as M is positive definite.

    Returns
    -------
    Factored
    """
    own, B, S = _products(
        A, weights, pattern.codes, pattern.at, pattern.place, pattern.q, pattern.J, pattern.Q, len(pattern.indices)
    )
    L_inverse, logdet = _factor_blocks(own)
    if not np.isfinite(logdet):
        return Factored(pattern, L_inverse, B, S, np.nan)
    U = S.T
    if pattern.Q:
        _schur(L_inverse, B, S, pattern.indptr, pattern.indices)
        # The upper triangle in C order is the lower one in Fortran order: LAPACK works in place.
        U, failed = lapack.dpotrf(S.T, lower=1, clean=0, overwrite_a=1)
        logdet = logdet + 2 * float(np.log(np.diag(U)).sum()) if not failed else np.nan
    return Factored(pattern, L_inverse, B, U, logdet)


@numba.njit(cache=True, nogil=True)
def _scatter(A, values, codes, at, q, start, size):
    n, c = values.shape
    out = np.zeros((size, c))
    for i in range(n):
        for k in range(q):
            for m in range(c):
                out[codes[i] * q + k, m] += A[i, k] * values[i, m]
        for k in range(at.shape[1]):
            for m in range(c):
                out[start + at[i, k], m] += A[i, q + k] * values[i, m]
    return out


@numba.njit(cache=True, nogil=True)
def _products(A, w, codes, at, place, q, J, Q, entries):
    """I + A_e'W A_e by group, A_r'W A_e by entry, and I + A_r'W A_r in its upper triangle."""
    own, B, S = np.zeros((J, q, q)), np.zeros((entries, q)), np.zeros((Q, Q))
    for j in range(J):
        for a in range(q):
            own[j, a, a] = 1.0
    for a in range(Q):
        S[a, a] = 1.0
    for i in range(len(codes)):
        j = codes[i]
        for a in range(q):
            wa = w[i] * A[i, a]
            for b in range(a + 1):
                own[j, a, b] += wa * A[i, b]
            for k in range(at.shape[1]):
                B[place[i, k], a] += wa * A[i, q + k]
        for k in range(at.shape[1]):
            wk = w[i] * A[i, q + k]
            for m in range(at.shape[1]):
                if at[i, m] >= at[i, k]:
                    S[at[i, k], at[i, m]] += wk * A[i, q + m]
    return own, B, S


@numba.njit(cache=True, nogil=True)
def _factor_blocks(own):
    """Inverses of the Cholesky factors, and the log determinant of all blocks."""
    J, q = own.shape[0], own.shape[1]
    inverse = np.zeros((J, q, q))
    L = np.zeros((q, q))
    logdet = 0.0
    for j in range(J):
        for a in range(q):
            for b in range(a + 1):
                total = own[j, a, b]
                for k in range(b):
                    total -= L[a, k] * L[b, k]
                if a == b:
                    if not total > 0.0:
                        return inverse, np.nan
                    L[a, a] = np.sqrt(total)
                    logdet += np.log(total)
                else:
                    L[a, b] = total / L[b, b]
        for c in range(q):
            for a in range(c, q):
                total = 1.0 if a == c else 0.0
                for k in range(c, a):
                    total -= L[a, k] * inverse[j, k, c]
                inverse[j, a, c] = total / L[a, a]
    return inverse, logdet


@numba.njit(cache=True, nogil=True)
def _schur(L_inverse, B, S, indptr, indices):
    """B becomes H' in place; the products H'H are subtracted from the upper triangle of S."""
    q = B.shape[1]
    row = np.empty(q)
    for j in range(len(indptr) - 1):
        for x in range(indptr[j], indptr[j + 1]):
            for a in range(q):
                total = 0.0
                for k in range(a + 1):
                    total += L_inverse[j, a, k] * B[x, k]
                row[a] = total
            for a in range(q):
                B[x, a] = row[a]
            for z in range(indptr[j], x + 1):
                total = 0.0
                for a in range(q):
                    total += B[x, a] * B[z, a]
                S[indices[z], indices[x]] -= total


@numba.njit(cache=True, nogil=True)
def _subtract_others(half, rest, H, indptr, indices):
    for j in range(len(indptr) - 1):
        for x in range(indptr[j], indptr[j + 1]):
            for c in range(rest.shape[1]):
                total = 0.0
                for a in range(H.shape[1]):
                    total += H[x, a] * half[j, a, c]
                rest[indices[x], c] -= total


@numba.njit(cache=True, nogil=True)
def _subtract_own(half, rest, H, indptr, indices):
    for j in range(len(indptr) - 1):
        for x in range(indptr[j], indptr[j + 1]):
            for a in range(H.shape[1]):
                for c in range(rest.shape[1]):
                    half[j, a, c] -= H[x, a] * rest[indices[x], c]


@numba.njit(cache=True, nogil=True)
def _inverse_blocks(L_inverse, H, S, indptr, indices):
    """L^-T (I + H S^-1 H') L^-1 by group, and -S^-1 H'L^-1 at the entries."""
    J, q = L_inverse.shape[0], L_inverse.shape[1]
    own, cross = np.zeros((J, q, q)), np.zeros((len(indices), q))
    middle, half = np.empty((q, q)), np.empty((q, q))
    for j in range(J):
        for a in range(q):
            for b in range(q):
                middle[a, b] = 1.0 if a == b else 0.0
        for x in range(indptr[j], indptr[j + 1]):
            row = S[indices[x]]
            for z in range(indptr[j], indptr[j + 1]):
                value = row[indices[z]]
                for a in range(q):
                    cross[x, a] += value * H[z, a]
            for a in range(q):
                for b in range(q):
                    middle[a, b] += H[x, a] * cross[x, b]
        for a in range(q):
            for b in range(q):
                total = 0.0
                for k in range(b, q):
                    total += middle[a, k] * L_inverse[j, k, b]
                half[a, b] = total
        for a in range(q):
            for b in range(q):
                total = 0.0
                for k in range(a, q):
                    total += L_inverse[j, k, a] * half[k, b]
                own[j, a, b] = total
        for x in range(indptr[j], indptr[j + 1]):
            for b in range(q):
                total = 0.0
                for k in range(b, q):
                    total += cross[x, k] * L_inverse[j, k, b]
                half[0, b] = total
            for b in range(q):
                cross[x, b] = -half[0, b]
    return own, cross


@numba.njit(cache=True, nogil=True)
def _times_rows(A, codes, at, place, own, cross, rest):
    n, q, r = len(codes), own.shape[1], at.shape[1]
    out = np.zeros((n, q + r))
    for i in range(n):
        j = codes[i]
        for a in range(q):
            total = 0.0
            for b in range(q):
                total += own[j, a, b] * A[i, b]
            for k in range(r):
                total += cross[place[i, k], a] * A[i, q + k]
            out[i, a] = total
        for k in range(r):
            total = 0.0
            for b in range(q):
                total += cross[place[i, k], b] * A[i, b]
            for m in range(r):
                total += rest[at[i, k], at[i, m]] * A[i, q + m]
            out[i, q + k] = total
    return out

"""The Schur complement of the factors that are not eliminated: a dense matrix, or a sparse one where that costs less.

Crossed factors fill it, and LAPACK is then fastest. Nested factors hardly do (pupils in classes in schools: each
class meets its school alone), and the sparse factor costs what its entries cost. The columns stand factor by factor,
the one with most effects first: in nested factors an order without fill.

Both are kept in one array of numbers, of which kernels ask ``place(starts, rows, a, b)`` for the entry (a, b), a >= b.

References
----------
Davis (2006), Direct Methods for Sparse Linear Systems, chapter 4; Takahashi, Fagan & Chin (1973), that the entries of
the inverse on the factor's pattern follow from the factor alone, here as the derivative of the log determinant.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.linalg import lapack

from poolwise.algebra.cholesky import (
    Pattern,
    factor_pattern,
    factorise,
    reverse_factor,
    solve_lower,
    solve_upper,
)
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.lapack import cholesky_in_place

Integers = NDArray[np.int64]

# Up to this many columns a dense factorisation costs milliseconds.
DENSE_COLUMNS = 300
# A multiplication of the sparse factorisation takes about this many times that of LAPACK's.
SPARSE_PRICE = 10.0
# Entries of a sparse factor, at most: 1.2 GB with the places of its updates.
MOST_ENTRIES = 5e7


@dataclass(frozen=True, eq=False)
class Storage:
    """Where the entries of the lower triangle stand.

    Parameters
    ----------
    Q : int
        Columns.
    starts, rows : ndarray of int
        As :class:`poolwise.algebra.cholesky.Pattern` has them; dense, without rows, the starts of the rows in C order.
    pattern : Pattern, optional
        Of the sparse factor.
    """

    Q: int
    starts: Integers
    rows: Integers
    pattern: Pattern | None = None

    @property
    def entries(self) -> int:
        """Stored numbers."""
        return self.Q**2 if self.pattern is None else self.pattern.entries

    @property
    def work(self) -> float:
        """Multiplications of one factorisation, as LAPACK's count."""
        return self.Q**3 / 6 if self.pattern is None else SPARSE_PRICE * self.pattern.work

    def at(self, a: Integers, b: Integers) -> Integers:
        """Places of the entries (a, b), a >= b."""
        return self.starts[a] + b if self.pattern is None else self.pattern.place(a, b)

    def factorise(self, S: Array) -> float:
        """Turn the entries of S into those of its factor, in place; returns log|S|, or NaN without a factor."""
        if self.pattern is not None:
            return 2 * factorise(S, self.starts, self.pattern.targets, self.pattern.scattered)
        square = S.reshape(self.Q, self.Q)
        if not self.Q or not cholesky_in_place(square):
            return math.nan if self.Q else 0.0
        return 2 * float(np.log(np.diag(square)).sum())

    def solve_lower(self, L: Array, right: Array) -> Array:
        """L^-1 right, for right (Q, k)."""
        return self._solve(L, right, trans=1, sparse=solve_lower)

    def solve_upper(self, L: Array, right: Array) -> Array:
        """L^-T right, for right (Q, k)."""
        return self._solve(L, right, trans=0, sparse=solve_upper)

    def _solve(self, L: Array, right: Array, *, trans: int, sparse) -> Array:
        if not self.Q:
            return right
        if self.pattern is None:
            # The lower triangle in C order is the upper one of its transpose in Fortran order.
            return lapack.dtrtrs(L.reshape(self.Q, self.Q).T, right, lower=0, trans=trans)[0]
        found = np.array(right, order="F")
        for column in range(found.shape[1]):
            sparse(L, self.starts, self.rows, found[:, column])
        return found

    def invert(self, L: Array) -> Array:
        """Entries of S^-1, where S has entries; a dense L is overwritten."""
        if not self.Q:
            return L
        if self.pattern is None:
            return lapack.dpotri(L.reshape(self.Q, self.Q).T, lower=0, overwrite_c=1)[0].T.reshape(-1)
        inverse, diagonal = np.zeros(self.entries), self.starts[:-1]
        inverse[diagonal] = 1 / L[diagonal]
        # d log|S| = tr(S^-1 dS): half of it by an entry below the diagonal is that of S^-1, by one on it half of it.
        reverse_factor(L, inverse, self.starts, self.pattern.targets, self.pattern.scattered)
        inverse[diagonal] *= 2
        return inverse


def dense_storage(Q: int) -> Storage:
    """All entries."""
    return Storage(Q, np.arange(Q, dtype=np.int64) * Q, np.zeros(0, dtype=np.int64))


def sparse_storage(
    between: scipy.sparse.bsr_array, rest: scipy.sparse.csr_array, within: Integers, most: float
) -> Storage | None:
    """Where the factor of S has entries; None where that factor has more than so many."""
    meets = scipy.sparse.csr_array(
        (np.ones(len(between.indices), dtype=np.int8), between.indices, between.indptr),
        shape=(len(between.indptr) - 1, between.shape[1]),
    )
    # Groups that meet the same columns count once; those of one group of the eliminated factor are one another's.
    pairs = _distinct(meets).astype(np.int32)
    touched = scipy.sparse.csr_array((np.ones(rest.nnz, dtype=np.int32), rest.indices, rest.indptr), shape=rest.shape)
    # The effects of a group without rows meet one another too.
    first = np.arange(len(within)) - within
    group = scipy.sparse.csr_array((np.ones(len(within), dtype=np.int32), (first, np.arange(len(within)))))
    touched += group.T @ group
    # A part at a time: what fills is found out before it takes the memory.
    parts, nnz = [], 0
    for start in range(0, rest.shape[0], 1000):
        parts.append(pairs[:, start : start + 1000].T @ pairs + touched[start : start + 1000])
        nnz += parts[-1].nnz
        if nnz > 2 * most:
            return None
    pattern = factor_pattern(scipy.sparse.vstack(parts), most)
    return None if pattern is None else Storage(pattern.size, pattern.starts, pattern.rows, pattern)


def _distinct(meets: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Each row once."""
    kinds: dict[bytes, int] = {}
    for row, (start, stop) in enumerate(zip(meets.indptr[:-1], meets.indptr[1:], strict=True)):
        kinds.setdefault(meets.indices[start:stop].tobytes(), row)
    return meets[np.fromiter(kinds.values(), dtype=np.int64)]


def storage_of(between: scipy.sparse.bsr_array, rest: scipy.sparse.csr_array, within: Integers) -> Storage:
    """The cheaper storage of S.

    Parameters
    ----------
    between, rest
        As :class:`poolwise.algebra.crossed.CrossedProducts` has them.
    within : ndarray of int (Q,)
        Place of each column in its group.

    Returns
    -------
    Storage
    """
    dense = dense_storage(between.shape[1])
    if dense.Q <= DENSE_COLUMNS:
        return dense
    sparse = sparse_storage(between, rest, within, min(dense.Q**2 / 8, MOST_ENTRIES))
    return dense if sparse is None or sparse.work > dense.work else sparse


@numba.njit(cache=True, nogil=True, inline="always")
def place(starts, rows, a, b):
    """Place of the entry (a, b), a >= b, which must be there."""
    if len(rows) == 0:
        return starts[a] + b
    low, high = starts[b], starts[b + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if rows[middle] > a:
            high = middle
        else:
            low = middle
    return low

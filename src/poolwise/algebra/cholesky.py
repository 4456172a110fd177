"""Sparse Cholesky factors of a fixed pattern, and the derivative of everything that is solved with them.

A symmetric matrix is kept as its lower triangle by columns, the diagonal first, fill included, so that factor and
matrix share one array of positions. The order of the unknowns is given: groups of the largest grouping factor first,
the common effects last, which keeps the fill to the groups that meet.

References
----------
Davis (2006), Direct Methods for Sparse Linear Systems, chapter 4, for pattern and factor; Smith (1995), Journal of
Computational and Graphical Statistics 4(2), 134-147, for the derivative.
"""

import math
from dataclasses import dataclass
from typing import overload

import numba
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
# Compiled code tests every signed index for being negative; unsigned ones, and short loops in place of calls, more than
# halve the time of factors whose columns are short.
ONE, LONG = np.uint64(1), np.uint64(16)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the factor of a symmetric matrix has entries, and where the update of each column goes.

    Parameters
    ----------
    starts : ndarray of int (N + 1,)
        First entry of each column, its diagonal.
    rows : ndarray of int (entries,)
        Row of each entry, ascending in a column.
    targets : ndarray of int (entries,)
        For entry (j, k) below the diagonal: where entry (j, j) stands if the rows of column k from j on are rows of
        column j in one run; else -1 - (a place in ``scattered``), from which on their places are listed.
    scattered : ndarray of int
        See ``targets``.
    """

    starts: Integers
    rows: Integers
    targets: Integers
    scattered: Integers

    @property
    def size(self) -> int:
        """Order of the matrix."""
        return len(self.starts) - 1

    @property
    def entries(self) -> int:
        """Stored numbers."""
        return len(self.rows)

    @property
    def work(self) -> float:
        """Multiplications of one factorisation."""
        below = np.diff(self.starts) - 1
        return float((below * (below + 1) / 2).sum())

    def place(self, i: Integers, k: Integers) -> Integers:
        """Places of the entries (i, k), i >= k, which must be there."""
        keys = np.repeat(np.arange(self.size), np.diff(self.starts)) * self.size + self.rows
        return np.searchsorted(keys, k * self.size + i)


@overload
def factor_pattern(matrix: scipy.sparse.sparray) -> Pattern: ...
@overload
def factor_pattern(matrix: scipy.sparse.sparray, most: float) -> Pattern | None: ...
def factor_pattern(matrix: scipy.sparse.sparray, most: float = math.inf) -> Pattern | None:
    """Pattern of the factor of a symmetric matrix with these non-zeros.

    Parameters
    ----------
    matrix : sparse array (N, N)
        Symmetric pattern; values do not count.
    most : float, optional
        Entries of the factor, at most.

    Returns
    -------
    Pattern or None
        None where the factor has more entries.
    """
    lower = scipy.sparse.tril(matrix, -1).tocsc()
    size = matrix.shape[0]
    columns: list[Integers] = []
    children: list[list[int]] = [[] for _ in range(size)]
    entries = size
    for k in range(size):
        parts = [lower.indices[lower.indptr[k] : lower.indptr[k + 1]]]
        parts += [columns[child][1:] for child in children[k]]
        own = (
            np.unique(np.concatenate(parts)).astype(np.int64) if len(parts) > 1 else np.sort(parts[0]).astype(np.int64)
        )
        columns.append(own)
        entries += len(own)
        if entries > most:
            return None
        if len(own):
            children[own[0]].append(k)
    counts = np.array([len(own) + 1 for own in columns], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.concatenate([np.concatenate([[k], own]) for k, own in enumerate(columns)]).astype(np.int64)
    targets, scattered = _targets(starts, rows)
    return Pattern(starts, rows, targets, scattered)


@numba.njit(cache=True)
def _targets(starts, rows):
    size = len(starts) - 1
    targets = np.zeros(len(rows), np.int64)
    listed = 0
    for run in range(2):
        if run == 1:
            scattered = np.empty(listed, np.int64)
            listed = 0
        for k in range(size):
            for entry in range(starts[k] + 1, starts[k + 1]):
                j = rows[entry]
                place, contiguous = starts[j], True
                for other in range(entry, starts[k + 1]):
                    while rows[place] != rows[other]:
                        place += 1
                    if place != starts[j] + other - entry:
                        contiguous = False
                    if run == 1 and not targets[entry] >= 0:
                        scattered[listed + other - entry] = place
                if run == 0:
                    targets[entry] = starts[j] if contiguous else -1
                if not contiguous:
                    if run == 1:
                        targets[entry] = -1 - listed
                    listed += starts[k + 1] - entry
    return targets, scattered


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _pull(above, column, bar, value):
    """Take value times above from bar; returns the inner product of above and column."""
    total = 0.0
    for m in range(len(above)):
        total += above[m] * column[m]
        bar[m] -= value * above[m]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _subtract(target, source, value):
    """Take value times source from target; a function of two arrays, so that several entries go at a time."""
    for m in range(len(source)):
        target[m] -= value * source[m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def factorise(L, starts, targets, scattered):
    """Turn the entries of a matrix into those of its factor, in place; returns half its log determinant, or NaN."""
    begin, place, listed = starts.view(np.uint64), targets.view(np.uint64), scattered.view(np.uint64)
    logdet = 0.0
    for k in range(np.uint64(len(starts) - 1)):
        first, stop = begin[k], begin[k + ONE]
        if not L[first] > 0.0:
            return math.nan
        diagonal = math.sqrt(L[first])
        L[first] = diagonal
        logdet += math.log(diagonal)
        inverse = 1.0 / diagonal
        for entry in range(first + ONE, stop):
            L[entry] *= inverse
        for entry in range(first + ONE, stop):
            value, length = L[entry], stop - entry
            if targets[entry] < 0:
                scatter = np.uint64(-1 - targets[entry])
                for m in range(length):
                    L[listed[scatter + m]] -= value * L[entry + m]
            elif length < LONG:
                target = place[entry]
                for m in range(length):
                    L[target + m] -= value * L[entry + m]
            else:
                target = place[entry]
                _subtract(L[target : target + length], L[entry:stop], value)
    return logdet


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def solve_lower(L, starts, rows, x):
    """X becomes L^-1 x."""
    begin, where = starts.view(np.uint64), rows.view(np.uint64)
    for k in range(np.uint64(len(starts) - 1)):
        first, stop = begin[k], begin[k + ONE]
        x[k] /= L[first]
        value, below = x[k], first + ONE
        if _in_a_run(where, below, stop):
            base = where[below]
            for m in range(stop - below):
                x[base + m] -= value * L[below + m]
        else:
            for entry in range(below, stop):
                x[where[entry]] -= value * L[entry]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def solve_upper(L, starts, rows, x):
    """X becomes L^-T x."""
    begin, where = starts.view(np.uint64), rows.view(np.uint64)
    for back in range(np.uint64(len(starts) - 1)):
        k = np.uint64(len(starts) - 2) - back
        first, stop = begin[k], begin[k + ONE]
        total, below = x[k], first + ONE
        if _in_a_run(where, below, stop):
            base = where[below]
            for m in range(stop - below):
                total -= L[below + m] * x[base + m]
        else:
            for entry in range(below, stop):
                total -= L[entry] * x[where[entry]]
        x[k] = total / L[first]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _in_a_run(where, below, stop):
    """Whether ascending rows are many and follow one another, so that vector instructions serve them."""
    return stop - below >= LONG and where[stop - ONE] - where[below] == stop - below - ONE


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reverse_factor(L, bar, starts, targets, scattered):
    """Cotangents of the factor's entries become those of the matrix's, in place.

    An entry below the diagonal stands for the two it mirrors.
    """
    begin, place, listed = starts.view(np.uint64), targets.view(np.uint64), scattered.view(np.uint64)
    for back in range(np.uint64(len(starts) - 1)):
        k = np.uint64(len(starts) - 2) - back
        first, stop = begin[k], begin[k + ONE]
        for done in range(stop - first - ONE):
            entry = stop - ONE - done
            value, length, own = L[entry], stop - entry, 0.0
            if targets[entry] < 0:
                scatter = np.uint64(-1 - targets[entry])
                for m in range(length):
                    above = bar[listed[scatter + m]]
                    bar[entry + m] -= above * value
                    own += above * L[entry + m]
            elif length < LONG:
                target = place[entry]
                for m in range(length):
                    above = bar[target + m]
                    bar[entry + m] -= above * value
                    own += above * L[entry + m]
            else:
                target = place[entry]
                own = _pull(bar[target : target + length], L[entry:stop], bar[entry:stop], value)
            bar[entry] -= own
        inverse, total = 1.0 / L[first], bar[first]
        for entry in range(first + ONE, stop):
            bar[entry] *= inverse
            total -= bar[entry] * L[entry]
        bar[first] = 0.5 * total * inverse

"""Counts, means and scatters of the rows of each cell, which add up to those of any set of rows.

A cell is a combination of groups, or one group where there is one grouping factor. Its scatter is taken about its own
mean, so neither a distant mean nor the order of the rows costs digits, and parts merge by the pairwise update

    W = sum W_k,    m = sum W_k m_k / W,    S = sum [ S_k + W_k (m_k - m)(m_k - m)' ]

References
----------
Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, Am. Stat. 37(3), 242-247.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Moments:
    """Weighted moments of d columns in each of C cells.

    Parameters
    ----------
    weight : ndarray (C,)
        Sum of the weights of the rows; their number without weights.
    mean : ndarray (C, d)
        Weighted means.
    scatter : ndarray (C, d, d)
        Weighted sums of squares and products about the cell's mean.
    """

    weight: Array
    mean: Array
    scatter: Array

    @property
    def total(self) -> "Moments":
        """The same of all rows together, one cell."""
        return self.pooled(np.zeros(len(self.weight), dtype=np.int64), 1)

    def subset(self, cells: NDArray) -> "Moments":
        """The same of some cells."""
        return Moments(self.weight[cells], self.mean[cells], self.scatter[cells])

    def equivalent_rows(self) -> tuple[Array, Integers]:
        """Rows with the same scatters: differences from the cell's mean, at most d of each cell.

        Returns
        -------
        ndarray (R, d), ndarray of int (R,)
            The differences, and the cell of each.
        """
        C, d = self.mean.shape
        scale = np.sqrt(np.einsum("ckk->k", self.scatter) / max(C, 1))
        scale = np.where(scale > 0, scale, 1.0)
        values, vectors = np.linalg.eigh(self.scatter / np.outer(scale, scale))
        rows = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]).transpose(0, 2, 1).reshape(C * d, d) * scale
        kept = values.ravel() > 0
        return rows[kept], np.repeat(np.arange(C), d)[kept]

    def pooled(self, index: Integers, cells: int) -> "Moments":
        """Merge cells.

        Parameters
        ----------
        index : ndarray of int (C,)
            New cell of each cell.
        cells : int
            Number of new cells; each must get a row.

        Returns
        -------
        Moments
        """
        d = self.mean.shape[1]
        weight = np.bincount(index, self.weight, cells)
        # Means are summed as differences from one of the cell's own, which keeps the digits of a distant mean.
        near = np.zeros((cells, d))
        near[index] = self.mean
        shift = self.mean - near[index]
        mean = near.copy()
        for k in range(d):
            mean[:, k] += np.bincount(index, self.weight * shift[:, k], cells) / weight
        apart = self.mean - mean[index]
        scatter = np.empty((cells, d, d))
        for k in range(d):
            for m in range(k + 1):
                parts = self.scatter[:, k, m] + self.weight * apart[:, k] * apart[:, m]
                scatter[:, k, m] = scatter[:, m, k] = np.bincount(index, parts, cells)
        return Moments(weight, mean, scatter)


def moments_of_rows(U: Array, cell: Integers, cells: int, weights: Array | None = None) -> Moments:
    """Moments of rows, by the corrected two-pass algorithm.

    Parameters
    ----------
    U : ndarray (n, d)
        The columns.
    cell : ndarray of int (n,)
        Cell of each row, 0 to ``cells`` - 1; every cell has a row.
    cells : int
        Number of cells.
    weights : ndarray (n,), optional
        Positive; ones by default.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If an index is out of range: the kernel checks no bounds.
    """
    n = len(cell)
    if len(U) != n or (n and (cell.min() < 0 or cell.max() >= cells)):
        raise ValueError(f"cells must lie in 0..{cells - 1}, one for each of the {len(U)} rows")
    w = np.ones(n) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    return Moments(*_two_passes(np.ascontiguousarray(U), np.ascontiguousarray(cell), cells, w))


@numba.njit(cache=True, nogil=True)
def _two_passes(U, cell, cells, w):
    n, d = U.shape
    weight, mean = np.zeros(cells), np.zeros((cells, d))
    first = np.full(cells, -1)
    for i in range(n):
        c = cell[i]
        weight[c] += w[i]
        if first[c] < 0:
            first[c] = i
        for k in range(d):
            mean[c, k] += w[i] * (U[i, k] - U[first[c], k])
    for c in range(cells):
        for k in range(d):
            mean[c, k] = U[first[c], k] + mean[c, k] / weight[c]
    scatter, left = np.zeros((cells, d, d)), np.zeros((cells, d))
    apart = np.empty(d)
    for i in range(n):
        c = cell[i]
        for k in range(d):
            apart[k] = U[i, k] - mean[c, k]
            left[c, k] += w[i] * apart[k]
            for m in range(k + 1):
                scatter[c, k, m] += w[i] * apart[k] * apart[m]
    # What rounding left of the deviations' sum corrects both.
    for c in range(cells):
        for k in range(d):
            mean[c, k] += left[c, k] / weight[c]
            for m in range(k + 1):
                scatter[c, k, m] -= left[c, k] * left[c, m] / weight[c]
                scatter[c, m, k] = scatter[c, k, m]
    return weight, mean, scatter


@dataclass(frozen=True)
class CellSums:
    """Everything that a Gaussian likelihood, and what surrounds it, needs of the rows.

    Parameters
    ----------
    keys : ndarray of int (C,)
        One number a cell, ascending.
    rows : ndarray of int (C,)
        Rows in each cell.
    plain : Moments
        Unweighted.
    weighted : Moments
        With the weights of the rows; the same object without weights.
    log_weights : float
        Sum of the logs of the weights.
    low, high : ndarray (d,)
        Range of each column.
    between : ndarray of bool (d,)
        Whether a value strictly inside the range was seen.
    """

    keys: Integers
    rows: Integers
    plain: Moments
    weighted: Moments
    log_weights: float
    low: Array
    high: Array
    between: NDArray[np.bool_]

    def subset(self, cells: NDArray) -> "CellSums":
        """The sums of some cells; ranges, and the logs of the weights, stay those of all."""
        plain = self.plain.subset(cells)
        weighted = plain if self.weighted is self.plain else self.weighted.subset(cells)
        return replace(self, keys=self.keys[cells], rows=self.rows[cells], plain=plain, weighted=weighted)

    def coarser(self, divisor: int) -> "CellSums":
        """The sums of coarser cells: those together whose keys agree once divided."""
        if divisor == 1:
            return self
        finest = self.keys % divisor
        parts = [self.subset(finest == k) for k in range(divisor)]
        parts = [replace(part, keys=part.keys // divisor) for part in parts if len(part.keys)]
        return replace(merge_sums(parts), log_weights=self.log_weights)


def sums_of_rows(U: Array, key: Integers, weights: Array | None) -> CellSums:
    """Sums of rows (n, d), ``key`` (n,) naming the cell of each."""
    keys, cell = _cells(key)
    plain = moments_of_rows(U, cell, len(keys))
    weighted = plain if weights is None else moments_of_rows(U, cell, len(keys), weights)
    log_weights = 0.0 if weights is None else float(np.log(weights).sum())
    low, high = U.min(axis=0), U.max(axis=0)
    between = ((low < U) & (high > U)).any(axis=0)
    rows = np.bincount(cell, minlength=len(keys)).astype(np.int64)
    return CellSums(keys, rows, plain, weighted, log_weights, low, high, between)


def merge_sums(parts: Iterable[CellSums]) -> CellSums:
    """Sums of disjoint sets of rows as those of their union."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    keys, index = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)

    def merged(moments: list[Moments]) -> Moments:
        fields = (np.concatenate([getattr(one, name) for one in moments]) for name in ("weight", "mean", "scatter"))
        return Moments(*fields).pooled(index, len(keys))

    plain = merged([part.plain for part in parts])
    unweighted = all(part.weighted is part.plain for part in parts)
    ends = np.stack([end for part in parts for end in (part.low, part.high)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    between = ((low < ends) & (ends < high)).any(axis=0) | np.any([part.between for part in parts], axis=0)
    return CellSums(
        keys,
        np.bincount(index, np.concatenate([part.rows for part in parts]), len(keys)).round().astype(np.int64),
        plain,
        plain if unweighted else merged([part.weighted for part in parts]),
        float(sum(part.log_weights for part in parts)),
        low,
        high,
        between,
    )


class PairwiseSums:
    """Sums of a stream: parts of equal size merge first, so that rounding errors grow with the log of their number."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, CellSums]] = []

    def add(self, sums: CellSums) -> None:
        """Take one more part."""
        level = 0
        while self._parts and self._parts[-1][0] == level:
            sums, level = merge_sums([self._parts.pop()[1], sums]), level + 1
        self._parts.append((level, sums))

    @property
    def result(self) -> CellSums | None:
        """Sums of all parts; None where there are none."""
        return merge_sums([sums for _, sums in reversed(self._parts)]) if self._parts else None


def _cells(key: Integers) -> tuple[Integers, Integers]:
    """Distinct keys, ascending, and the place of each row's; without sorting where the keys are dense."""
    span = int(key.max()) + 1
    if span > max(4 * len(key), 1 << 16):
        keys, cell = np.unique(key, return_inverse=True)
        return keys, cell
    keys = np.flatnonzero(np.bincount(key, minlength=span))
    place = np.zeros(span, dtype=np.int64)
    place[keys] = np.arange(len(keys))
    return keys, place[key]

"""Sufficient statistics of several grouping factors: one pass over the rows for each factor, never an n x J matrix.

One factor, the one with most effects, is to be eliminated: its part of Z'Z is block diagonal, so its groups are
independent of one another given the other factors. The effects of the other factors stand side by side as Q columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numba
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array, CrossProducts, cross_products
from poolwise.algebra.schur import Storage, storage_of

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Where the effects of the remaining factors stand: factor by factor, group by group.

    Parameters
    ----------
    slices : tuple of slice
        The columns of each factor.
    owner, within, width : ndarray of int (Q,)
        Of each column: its factor, its place in its group, and the number of effects a group.
    """

    slices: tuple[slice, ...]
    owner: Integers
    within: Integers
    width: Integers

    @property
    def Q(self) -> int:
        """Number of columns."""
        return len(self.owner)


@dataclass(frozen=True)
class CrossedProducts:
    """Cross-products of several factors, X and y.

    Parameters
    ----------
    factors : tuple of CrossProducts
        Each factor's own sums: Z'Z by group, Z'X, Z'y, and the sums over all rows.
    eliminated : int
        Which factor is eliminated.
    between : scipy.sparse.bsr_array (J_e q_e, Q)
        Z_e'Z_r, in blocks of (q_e, 1): where a group of the eliminated factor meets a group of another one, all
        effects of the latter are stored, zeros included.
    rest : scipy.sparse.csr_array (Q, Q)
        Z_r'Z_r of the remaining factors, stored in the same way.

    Notes
    -----
    Memory is in proportion to the pairs of groups that share a row.
    """

    factors: tuple[CrossProducts, ...]
    eliminated: int
    between: scipy.sparse.bsr_array
    rest: scipy.sparse.csr_array

    @property
    def n(self) -> float:
        """Rows that the likelihood counts."""
        return self.factors[0].n

    @property
    def log_weights(self) -> float:
        """Sum of the logs of precision weights."""
        return self.factors[0].log_weights

    @property
    def p(self) -> int:
        """Columns of X."""
        return self.factors[0].p

    @property
    def q(self) -> int:
        """Effects a group, all factors together: the dimension of T."""
        return sum(factor.q for factor in self.factors)

    @property
    def own(self) -> CrossProducts:
        """The eliminated factor's sums."""
        return self.factors[self.eliminated]

    @cached_property
    def others(self) -> tuple[int, ...]:
        """The remaining factors, in the order of their columns."""
        return _others([(factor.J, factor.q) for factor in self.factors], self.eliminated)

    @cached_property
    def columns(self) -> Columns:
        """Where the remaining factors' effects stand."""
        return _columns([(self.factors[f].J, self.factors[f].q) for f in self.others])

    @cached_property
    def storage(self) -> Storage:
        """Where the entries of the Schur complement of the remaining factors stand."""
        return storage_of(self.between, self.rest, self.columns.within)

    @cached_property
    def sides(self) -> tuple[Array, Array]:
        """Z'(X, y) of the eliminated factor, (J_e, q_e, p + 1), and of the others, (Q, p + 1)."""
        by_factor = [np.concatenate([f.ZtX, f.Zty[:, :, None]], axis=2) for f in self.factors]
        others = [by_factor[f].reshape(-1, self.p + 1) for f in self.others]
        return by_factor[self.eliminated], np.concatenate([np.zeros((0, self.p + 1)), *others])

    @cached_property
    def gram(self) -> Array:
        """(X, y)'(X, y), of shape (p + 1, p + 1)."""
        own = self.own
        return np.block([[own.XtX, own.Xty[:, None]], [own.Xty[None], np.array([[own.yty]])]])

    def blocks(self, T: Array) -> list[Array]:
        """The diagonal blocks of T (q, q), one (q_f, q_f) a factor."""
        ends = np.cumsum([factor.q for factor in self.factors])
        return [T[end - f.q : end, end - f.q : end] for f, end in zip(self.factors, ends, strict=True)]


def crossed_products(
    X: Array,
    Zs: Sequence[Array],
    y: Array,
    groups: Sequence[Integers],
    Js: Sequence[int],
    weights: Array | None = None,
    *,
    frequency: bool = False,
) -> CrossedProducts:
    """Collapse rows into cross-products by group and by pair of groups.

    Parameters
    ----------
    X : ndarray (n, p)
        Common part.
    Zs : sequence of ndarray (n, q_f)
        Group-specific part of each factor, the columns of one group's block.
    y : ndarray (n,)
        Response, offset removed.
    groups : sequence of ndarray of int (n,)
        Group of each row, for each factor.
    Js : sequence of int
        Number of groups of each factor.
    weights : ndarray (n,), optional
        Precision weights, or frequency weights with ``frequency=True``.
    frequency : bool, default False
        Whether a row of weight w counts as w equal rows.

    Returns
    -------
    CrossedProducts

    Raises
    ------
    ValueError
        If an index is out of range: the kernels check no bounds.
    """
    factors = tuple(
        cross_products(X, Z, y, group, J, weights, frequency=frequency)
        for Z, group, J in zip(Zs, groups, Js, strict=True)
    )
    eliminated = int(np.argmax([factor.J * factor.q for factor in factors]))
    others = _others([(factor.J, factor.q) for factor in factors], eliminated)
    columns = _columns([(factors[f].J, factors[f].q) for f in others])
    w = np.ones(len(y)) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    Z_others = np.column_stack([np.zeros((len(y), 0)), *(Zs[f] for f in others)])  # (n, sum of q_f)
    at = np.zeros((len(y), len(others)), dtype=np.int64)  # first column of each row's group, by factor
    for place, f in enumerate(others):
        at[:, place] = columns.slices[place].start + groups[f] * factors[f].q

    def meetings(f: int) -> scipy.sparse.bsr_array:
        J, q = factors[f].J, factors[f].q
        order = np.argsort(groups[f], kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(groups[f], minlength=J))])
        Z = np.ascontiguousarray(Zs[f], dtype=np.float64)
        found = _meetings(order, starts, Z * w[:, None], Z_others, at, columns.width)
        indptr, indices, values = found
        return scipy.sparse.bsr_array((values[:, :, None], indices, indptr), shape=(J * q, columns.Q))

    rest = [meetings(f).tocsr() for f in others]
    empty = scipy.sparse.csr_array((0, columns.Q))
    return CrossedProducts(factors, eliminated, meetings(eliminated), scipy.sparse.vstack([empty, *rest], format="csr"))


def _others(sizes: Sequence[tuple[int, int]], eliminated: int) -> tuple[int, ...]:
    """The factors that are not eliminated, the one with most effects first."""
    effects = [J * q for J, q in sizes]
    return tuple(sorted((f for f in range(len(sizes)) if f != eliminated), key=lambda f: -effects[f]))


def _columns(sizes: Sequence[tuple[int, int]]) -> Columns:
    ends = np.cumsum([0] + [J * q for J, q in sizes])
    slices = tuple(slice(int(start), int(end)) for start, end in pairwise(ends))
    none = np.zeros(0, dtype=np.int64)
    owner = np.concatenate([none, *(np.full(J * q, f) for f, (J, q) in enumerate(sizes))])
    within = np.concatenate([none, *(np.tile(np.arange(q), J) for J, q in sizes)])
    width = np.concatenate([none, *(np.full(J * q, q) for J, q in sizes)])
    return Columns(slices, owner, within, width)


@numba.njit(cache=True, nogil=True)
def _meetings(order, starts, wZ, Z_others, at, width):
    """Z_f'W Z_r by group of f: (indptr by group, columns, values (entries, q_f)), the columns of a group sorted."""
    J, q, R, Q = len(starts) - 1, wZ.shape[1], at.shape[1], len(width)
    indptr = np.zeros(J + 1, np.int64)
    last, most = np.full(Q, -1), 0
    for j in range(J):
        met = 0
        for i in order[starts[j] : starts[j + 1]]:
            for r in range(R):
                if last[at[i, r]] != j:
                    last[at[i, r]] = j
                    met += 1
                    indptr[j + 1] += width[at[i, r]]
        most = max(most, met)
    indptr = np.cumsum(indptr)
    columns, values = np.empty(indptr[J], np.int64), np.zeros((indptr[J], q))
    last[:] = -1
    place, found = np.empty(Q, np.int64), np.empty(most, np.int64)
    for j in range(J):
        met = 0
        for i in order[starts[j] : starts[j + 1]]:
            for r in range(R):
                if last[at[i, r]] != j:
                    last[at[i, r]] = j
                    found[met] = at[i, r]
                    met += 1
        entry = indptr[j]
        for first in np.sort(found[:met]):
            place[first] = entry
            for k in range(width[first]):
                columns[entry] = first + k
                entry += 1
        for i in order[starts[j] : starts[j + 1]]:
            z = 0
            for r in range(R):
                entry = place[at[i, r]]
                for k in range(width[at[i, r]]):
                    for a in range(q):
                        values[entry + k, a] += wZ[i, a] * Z_others[i, z]
                    z += 1
    return indptr, columns, values

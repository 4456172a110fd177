"""Rows of a model of any family in the coordinates of the algebra, and where effects stand among the unknowns.

Rows with the same predictors and groups are added up first where the family allows it, which loses nothing.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.likelihoods import (
    GAMMA,
    NEGATIVE_BINOMIAL,
    SUMMABLE,
    WEIBULL,
    constants,
)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FactorPlace:
    """Where the effects of a grouping factor stand among the unknowns: first of them, groups, effects a group."""

    first: int
    J: int
    q: int


@dataclass(frozen=True, eq=False)
class Rows:
    """Observations in the coordinates of the algebra; unknowns are effects, factor by factor, then coefficients.

    Parameters
    ----------
    code, link : int
        From :func:`poolwise.algebra.likelihoods.density_code`.
    y, trials, weight, offset : ndarray (n,)
        Response, what :func:`~poolwise.algebra.likelihoods.row_density` needs beside it, how often the row counts,
        known part of the linear predictor.
    distinct, counts : ndarray
        Distinct responses and their weights, as :func:`~poolwise.algebra.likelihoods.own_density` needs them.
    X, Z : ndarray (n, p), (n, q)
        Common part, and the group-specific parts of all factors one after the other.
    columns : ndarray of int (n, factors)
        First unknown of the row's group.
    factors : tuple of FactorPlace
        In the order of Z.
    constant : float
        What no parameter moves in the log likelihood of all rows.
    """

    code: int
    link: int
    y: Array
    trials: Array
    weight: Array
    distinct: Array
    counts: Array
    offset: Array
    X: Array
    Z: Array
    columns: Integers
    factors: tuple[FactorPlace, ...]
    constant: float

    @property
    def n(self) -> int:
        """Rows that are left."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Coefficients."""
        return self.X.shape[1]

    @property
    def unknowns(self) -> int:
        """Effects and coefficients."""
        return sum(factor.J * factor.q for factor in self.factors) + self.p

    @property
    def matrix(self) -> scipy.sparse.csr_array:
        """[Z X] as (n, unknowns), zeros of the rows' own groups stored."""
        ends = list(accumulate(factor.q for factor in self.factors))
        parts = [self.columns[:, f, None] + np.arange(factor.q) for f, factor in enumerate(self.factors)]
        parts.append(np.broadcast_to(self.unknowns - self.p + np.arange(self.p), (self.n, self.p)))
        indices = np.concatenate(parts, axis=1)
        values = np.concatenate([self.Z, self.X], axis=1)
        assert not ends or ends[-1] == self.Z.shape[1]
        indptr = np.arange(self.n + 1) * indices.shape[1]
        return scipy.sparse.csr_array((values.ravel(), indices.ravel(), indptr), shape=(self.n, self.unknowns))


def make_rows(
    code: int,
    link: int,
    y: Array,
    trials: Array | None,
    weight: Array | None,
    offset: Array,
    X: Array,
    Zs: list[Array],
    groups: list[Integers],
    Js: list[int],
    constant: float | None = None,
) -> Rows:
    """Rows of a design, equal ones added up.

    Parameters
    ----------
    code, link : int
        From :func:`poolwise.algebra.likelihoods.density_code`.
    y, trials, weight, offset : ndarray (n,)
        As :class:`Rows` has them; None counts as ones.
    X, Zs, groups, Js
        Common part; for each factor its columns (n, q), the group of each row, and how many groups there are.
    constant : float, optional
        What no parameter moves in the log likelihood, where the rows stand for others that were added up.

    Returns
    -------
    Rows
    """
    n = len(y)
    ones = np.ones(n)
    trials = ones if trials is None else trials
    weight = ones if weight is None else weight
    constant = float((weight * constants(code, y, trials)).sum()) if constant is None else constant
    if code in (GAMMA, WEIBULL):
        trials = np.log(y)
    distinct, which = np.unique(y if code == NEGATIVE_BINOMIAL else np.zeros(n), return_inverse=True)
    counts = np.bincount(which, weights=weight)
    widths = [J * Z.shape[1] for J, Z in zip(Js, Zs, strict=True)]
    # The factor with most effects goes first: its groups are independent given the rest.
    order = sorted(range(len(Zs)), key=lambda f: -widths[f])
    firsts = dict(zip(order, np.cumsum([0, *(widths[f] for f in order)])[:-1].tolist(), strict=True))
    factors = tuple(FactorPlace(firsts[f], Js[f], Z.shape[1]) for f, Z in enumerate(Zs))
    columns = np.column_stack(
        [np.zeros((n, 0), dtype=np.int64)]
        + [factor.first + group * factor.q for factor, group in zip(factors, groups, strict=True)]
    )
    Z = np.column_stack([np.zeros((n, 0)), *Zs])
    rows = Rows(code, link, y, trials, weight, distinct, counts, offset, X, Z, columns, factors, constant)
    return _added_up(rows) if code in SUMMABLE else rows


def _added_up(rows: Rows) -> Rows:
    keys = np.column_stack([rows.X, rows.Z, rows.offset, rows.columns.astype(float)])
    keys = np.ascontiguousarray(keys + 0.0)
    _, first, inverse = np.unique(
        keys.view(np.dtype((np.void, keys.dtype.itemsize * keys.shape[1]))).ravel(),
        return_index=True,
        return_inverse=True,
    )
    if len(first) == rows.n:
        return rows
    # Of a Poisson row, `trials` counts how many rows it stands for.
    y = np.bincount(inverse, weights=rows.weight * rows.y)
    trials = np.bincount(inverse, weights=rows.weight * rows.trials)
    return replace(
        rows,
        y=y,
        trials=trials,
        weight=np.ones(len(first)),
        offset=rows.offset[first],
        X=rows.X[first],
        Z=rows.Z[first],
        columns=rows.columns[first],
    )

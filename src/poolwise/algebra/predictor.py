"""The linear predictor of all rows and its transpose, each predictor taken where it varies.

A predictor of persons does not vary within a person: its share of the linear predictor is made once a person, in a
table that the person's rows read, and on the way back the rows' slopes are added up by person before they meet it. In a
crossed model whose predictors belong to persons or items nothing is left of the passes over rows and coefficients.
Rows stand in the order of the factor with fewest groups, whose rows are then runs.
"""

from dataclasses import dataclass

import numba
import numpy as np
import scipy.linalg

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.rows import Integers, Rows

HEADER = 8
# Centred predictors times R^-1 may differ by this, relative to the largest, from the orthogonal columns that they make.
ROUNDING = 1e-12
_FAST = {"reassoc", "contract", "nsz"}


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the predictors of some rows stand.

    Parameters
    ----------
    order : ndarray of int (n,)
        The rows in the order of all that follows.
    mix : ndarray (p, p)
        Coefficients of the columns here by those of the rows' own: these are orthogonal, and mix what varies apart.
    homes : ndarray of int (p,)
        Factor within whose groups a column does not vary, -1 for none.
    flat : ndarray of int (q,)
        Whether a group-specific column does not vary within the groups of its factor.
    levels : list of ndarray (J,)
        Values at the groups, of the columns that have a home and then of those that are flat.
    X, Z : ndarray (., n)
        The other columns.
    codes : ndarray of int (factors, n)
        Group of each row.
    runs : int
        Factor whose groups are runs of rows, -1 without factors.
    bounds : ndarray of int (J + 1,)
        First row of each of these groups, and n.
    factors : ndarray of int (factors, 3)
        First unknown, groups, effects a group.
    """

    order: Integers
    mix: Array
    homes: Integers
    flat: Integers
    levels: list[Array]
    X: Array
    Z: Array
    codes: Integers
    runs: int
    bounds: Integers
    factors: Integers

    @property
    def table(self) -> int:
        """Groups of all factors."""
        return int(self.factors[:, 1].sum())

    def encode(self) -> Array:
        """All of it but the order as one flat array of 8-byte cells, integers by their bits."""
        header = np.zeros(HEADER)
        sizes = len(self.order), len(self.homes), len(self.flat), len(self.factors), self.runs, len(self.bounds)
        header[: len(sizes)] = sizes
        integers = [self.factors, self.homes, self.flat, self.bounds, self.codes]
        floats = [self.mix, *self.levels, self.X, self.Z]
        cells = [np.ascontiguousarray(part, dtype=np.int64).ravel().view(np.float64) for part in integers]
        return np.concatenate([header, *cells, *(np.ravel(part) for part in floats)])


def make_layout(rows: Rows, R: Array) -> Layout:
    """Find where the predictors vary.

    Parameters
    ----------
    rows : Rows
        The observations.
    R : ndarray (p, p)
        Upper triangular; ``rows.X R`` are the predictors as they were before they were made orthogonal.

    Returns
    -------
    Layout
    """
    n, p, q = rows.n, rows.p, rows.Z.shape[1]
    factors = np.array([(one.first, one.J, one.q) for one in rows.factors], dtype=np.int64).reshape(-1, 3)
    codes = ((rows.columns - factors[:, 0]) // np.maximum(factors[:, 2], 1)).T
    runs = int(np.argmin(factors[:, 1])) if len(factors) else -1
    order = np.lexsort(codes[np.argsort(-factors[:, 1], kind="stable")]) if len(factors) else np.arange(n)
    bounds = np.zeros(0, np.int64)
    if len(factors):
        bounds = np.concatenate([[0], np.cumsum(np.bincount(codes[runs], minlength=factors[runs, 1]))])
    predictors = rows.X @ R
    levels, homes = [], np.full(p, -1)
    # A table with as many entries as there are rows would spare nothing.
    small = [int(f) for f in np.argsort(factors[:, 1], kind="stable") if 2 * factors[f, 1] <= n]
    for k in range(p):
        for f in small:
            found = _at_groups(predictors[:, k], codes[f], factors[f, 1])
            if found is not None:
                homes[k] = f
                levels.append(found)
                break
    flat, at = np.zeros(q, np.int64), 0
    for f, one in enumerate(rows.factors):
        for k in range(at, at + one.q):
            found = _at_groups(rows.Z[:, k], codes[f], one.J)
            if found is not None:
                flat[k] = 1
                levels.append(found)
        at += one.q
    mix = scipy.linalg.solve_triangular(R, np.eye(p)) if p else np.zeros((0, 0))
    used = predictors.copy()
    for k, values in zip(np.flatnonzero(homes >= 0).tolist(), levels, strict=False):
        used[:, k] = values[codes[homes[k]]]
    off = np.abs(used @ mix - rows.X).max(initial=0.0)
    if not np.any(homes >= 0) or off > ROUNDING * np.abs(rows.X).max(initial=1.0):
        levels = levels[int((homes >= 0).sum()) :]
        homes, mix, predictors = np.full(p, -1), np.eye(p), rows.X
    return Layout(
        order,
        mix,
        homes,
        flat,
        levels,
        np.ascontiguousarray(predictors[order][:, homes < 0].T),
        np.ascontiguousarray(rows.Z[order][:, flat == 0].T),
        np.ascontiguousarray(codes[:, order]),
        runs,
        bounds,
        factors,
    )


def _at_groups(column: Array, codes: Integers, J: int) -> Array | None:
    """Values (J,) of a column that varies within no group by more than rounding; None for another."""
    values = np.zeros(J)
    values[codes] = column
    return values if np.abs(column - values[codes]).max() <= 1e-14 * np.abs(column).max() else None


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _parts(layout):
    """Rows, coefficients, and all parts of a layout but the floats at the end, which begin at the last number."""
    n, p, q = int(layout[0]), int(layout[1]), int(layout[2])
    n_factors, runs, n_bounds = int(layout[3]), int(layout[4]), int(layout[5])
    at = HEADER
    factors = layout[at : at + 3 * n_factors].view(np.int64).reshape(n_factors, 3)
    at += 3 * n_factors
    homes = layout[at : at + p].view(np.int64)
    at += p
    flat = layout[at : at + q].view(np.int64)
    at += q
    bounds = layout[at : at + n_bounds].view(np.uint64)
    at += n_bounds
    codes = layout[at : at + n * n_factors].view(np.uint64).reshape(n_factors, n)
    at += n * n_factors
    mix = layout[at : at + p * p].reshape(p, p)
    return n, p, n_factors, runs, factors, homes, flat, bounds, codes, mix, at + p * p


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _table_start(factors, f):
    start = 0
    for other in range(f):
        start += factors[other, 1]
    return start


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def linear_predictor(layout, offset, b, unknowns, table, eta):
    """Fill eta.

    Parameters
    ----------
    layout : ndarray
        From :meth:`Layout.encode`.
    offset, eta : ndarray (n,)
        Known part, in the order of the layout, and what is filled.
    b, unknowns : ndarray (p,), (N,)
        Coefficients of the rows' own columns; all unknowns.
    table : ndarray
        Work: a number for every group of every factor.
    """
    n, p, n_factors, runs, factors, homes, flat, bounds, codes, mix, at = _parts(layout)
    table[:] = 0.0
    coefficient = np.zeros(p)
    for k in range(p):
        for m in range(p):
            coefficient[k] += mix[k, m] * b[m]
        if homes[k] >= 0:
            J = factors[homes[k], 1]
            _add(table[_table_start(factors, homes[k]) :][:J], layout[at : at + J], coefficient[k])
            at += J
    column, start = 0, 0
    for f in range(n_factors):
        first, J, width = factors[f, 0], factors[f, 1], factors[f, 2]
        for k in range(width):
            if flat[column]:
                for j in range(J):
                    table[start + j] += layout[at + j] * unknowns[first + j * width + k]
                at += J
            column += 1
        start += J
    # An assignment of slices would take longer than the rest.
    for i in range(n):
        eta[i] = offset[i]
    for k in range(p):
        if homes[k] < 0:
            _add(eta, layout[at : at + n], coefficient[k])
            at += n
    column, start = 0, 0
    for f in range(n_factors):
        first, J, width, code = factors[f, 0], factors[f, 1], factors[f, 2], codes[f]
        own = table[start : start + J]
        if f == runs:
            for j in range(J):
                level = own[j]
                for i in range(bounds[j], bounds[j + 1]):
                    eta[i] += level
        else:
            for i in range(n):
                eta[i] += own[code[i]]
        for k in range(width):
            if not flat[column]:
                Z = layout[at : at + n]
                if f == runs:
                    for j in range(J):
                        u = unknowns[first + j * width + k]
                        for i in range(bounds[j], bounds[j + 1]):
                            eta[i] += Z[i] * u
                else:
                    for i in range(n):
                        eta[i] += Z[i] * unknowns[first + np.int64(code[i]) * width + k]
                at += n
            column += 1
        start += J


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def pull_rows(layout, slopes, table, b_bar, bar):
    """Add to the cotangents of the coefficients (p,) and of all unknowns (N,) what the slopes (n,) by eta bring.

    ``layout`` and ``table`` are those of :func:`linear_predictor`.
    """
    n, p, n_factors, runs, factors, homes, flat, bounds, codes, mix, at = _parts(layout)
    start = 0
    for f in range(n_factors):
        J, code = factors[f, 1], codes[f]
        own = table[start : start + J]
        if f == runs:
            for j in range(J):
                total = 0.0
                for i in range(bounds[j], bounds[j + 1]):
                    total += slopes[i]
                own[j] = total
        else:
            own[:] = 0.0
            for i in range(n):
                own[code[i]] += slopes[i]
        start += J
    coefficient_bar = np.zeros(p)
    for k in range(p):
        if homes[k] >= 0:
            J = factors[homes[k], 1]
            coefficient_bar[k] = _inner(table[_table_start(factors, homes[k]) :][:J], layout[at : at + J])
            at += J
    column, start = 0, 0
    for f in range(n_factors):
        first, J, width = factors[f, 0], factors[f, 1], factors[f, 2]
        for k in range(width):
            if flat[column]:
                for j in range(J):
                    bar[first + j * width + k] += layout[at + j] * table[start + j]
                at += J
            column += 1
        start += J
    for k in range(p):
        if homes[k] < 0:
            coefficient_bar[k] = _inner(slopes, layout[at : at + n])
            at += n
    column = 0
    for f in range(n_factors):
        first, J, width, code = factors[f, 0], factors[f, 1], factors[f, 2], codes[f]
        for k in range(width):
            if not flat[column]:
                Z = layout[at : at + n]
                if f == runs:
                    for j in range(J):
                        total = 0.0
                        for i in range(bounds[j], bounds[j + 1]):
                            total += Z[i] * slopes[i]
                        bar[first + j * width + k] += total
                else:
                    for i in range(n):
                        bar[first + np.int64(code[i]) * width + k] += Z[i] * slopes[i]
                at += n
            column += 1
    for m in range(p):
        for k in range(p):
            b_bar[m] += mix[k, m] * coefficient_bar[k]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _add(target, source, value):
    """Add value times source to target; a function of two arrays, which the compiler takes to be apart."""
    for i in range(len(source)):
        target[i] += source[i] * value


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _inner(left, right):
    total = 0.0
    for i in range(len(right)):
        total += left[i] * right[i]
    return total

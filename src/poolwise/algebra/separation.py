"""Separation: a direction of the coefficients along which the likelihood never falls: there is no finite estimate.

A row whose response is at the lower end of its range (no successes, a count of 0) does not lose by a smaller linear
predictor, one at the upper end (all trials) not by a larger one; every other row holds it fixed. A direction d with
x'd of the right sign, and not 0 everywhere, is found by linear programming.

References
----------
Albert & Anderson (1984), Biometrika 71, 1-10. Konis (2007), Linear programming algorithms for detecting separated data
in binary logistic regression models, DPhil thesis, Oxford. Correia, Guimaraes & Zylkin (2019), arXiv 1903.01633, for
counts.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.optimize import linprog

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.exponential import ExponentialRows

TOLERANCE = 1e-7
SEPARABLE = {
    "binomial": ("logit", "probit", "cloglog"),
    "poisson": ("log",),
    "negativebinomial": ("log",),
}


def separates(rows: ExponentialRows) -> bool:
    """Whether a likelihood of this family and link can lack a maximum."""
    return rows.link in SEPARABLE.get(rows.family, ())


@dataclass(frozen=True)
class Separation:
    """Where coefficients go to infinity.

    Parameters
    ----------
    direction : ndarray (p,)
        Along which the likelihood rises for ever, in every row that can.
    span : ndarray (p, r)
        Basis of the changes that leave all other rows as they are: what the data do not determine in the limit.
    """

    direction: Array
    span: Array

    def limits(self, matrix: Array) -> Array:
        """Limits of matrix times the coefficients: +-inf, NaN where not determined, 0 for what is finite."""
        toward, loose = matrix @ self.direction, np.abs(matrix @ self.span).max(axis=1)
        size = np.abs(matrix).max(axis=1)
        found = np.where(loose > TOLERANCE * size, np.nan, 0.0)
        found[toward > TOLERANCE * size], found[toward < -TOLERANCE * size] = np.inf, -np.inf
        return found


def find_separation(rows: ExponentialRows, X: Array) -> Separation | None:
    """Whether coefficients go to infinity, and where; None if all of them are finite.

    Parameters
    ----------
    rows : ExponentialRows
        Responses.
    X : ndarray (n, p)
        Columns of the coefficients, linearly independent.

    Examples
    --------
    >>> ones = np.ones(6)
    >>> rows = ExponentialRows("binomial", "logit", np.array([0.0, 1, 0, 1, 1, 1]), ones, ones, False)
    >>> found = find_separation(rows, np.column_stack([ones, [0.0, 0, 0, 1, 1, 1]]))
    >>> found.limits(np.eye(2)).tolist()
    [0.0, inf]
    """
    if not separates(rows) or not X.shape[1]:
        return None
    low = rows.y == 0
    high = (rows.y == rows.trials) if rows.family == "binomial" else np.zeros(len(low), dtype=bool)
    scale = np.sqrt((X**2).mean(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    columns = X / scale
    free = _null_space(columns[~(low | high)])
    if not free.shape[1]:
        return None
    gains = np.unique(np.concatenate([-columns[low], columns[high]]) @ free, axis=0)
    # Maximise the sum of t with 0 <= t <= 1 and t <= gain, so that every row that can gain does.
    m, k = gains.shape
    A = scipy.sparse.hstack([scipy.sparse.csr_array(-gains), scipy.sparse.eye_array(m)])
    bounds = [(None, None)] * k + [(0.0, 1.0)] * m
    found = linprog(np.repeat([0.0, -1.0], [k, m]), A_ub=A, b_ub=np.zeros(m), bounds=bounds, method="highs")
    if found.x is None or found.x[k:].max(initial=0.0) < 0.5:
        return None
    direction = free @ found.x[:k]
    gained = np.where(low, -1.0, 1.0) * (columns @ direction)
    span = _null_space(columns[~((low | high) & (gained > 0.5))])
    largest = np.abs(direction).max()
    return Separation(direction / largest / scale, span / scale[:, None])


def suspicious(rows: ExponentialRows, logf: Array) -> NDArray[np.bool_]:
    """Rows at an end of their range whose probability is 1: separation drives the fitted values there."""
    at_end = (rows.y == 0) | ((rows.y == rows.trials) & (rows.family == "binomial"))
    return at_end & (logf > -1e-5)


def _null_space(rows: Array) -> Array:
    p = rows.shape[1]
    if not len(rows):
        return np.eye(p)
    R = np.linalg.qr(rows, mode="r")
    _, values, vectors = np.linalg.svd(R)
    rank = int((values > 1e-9 * max(float(values[0]), 1e-300)).sum())
    return vectors[rank:].T

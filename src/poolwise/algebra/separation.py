"""Separation: a direction of the coefficients along which the likelihood never falls, so that no finite estimate exists.

A row whose response is at the lower end of its range (no successes, a count of 0) does not lose by a smaller linear
predictor, one at the upper end (all trials) not by a larger one; every other row holds it fixed. A direction d with
x'd of the right sign, and not 0 everywhere, is found by linear programming.

References
----------
Albert & Anderson (1984), Biometrika 71, 1-10. Konis (2007), Linear programming algorithms for detecting separated data
in binary logistic regression models, DPhil thesis, Oxford. Correia, Guimaraes & Zylkin (2019), arXiv 1903.01633, for
counts.
"""

import numpy as np
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


def separating_direction(rows: ExponentialRows, X: Array) -> Array | None:
    """Direction (p,) in which the coefficients go to infinity; None if all of them are finite.

    Parameters
    ----------
    rows : ExponentialRows
        Responses.
    X : ndarray (n, p)
        Columns of the coefficients, linearly independent.

    Examples
    --------
    >>> ones = np.ones(4)
    >>> rows = ExponentialRows("binomial", "logit", np.array([0.0, 0, 1, 1]), ones, ones, False)
    >>> separating_direction(rows, np.column_stack([ones, [-2.0, -1, 1, 2]])).tolist()
    [0.0, 1.0]
    """
    if not separates(rows) or not X.shape[1]:
        return None
    low = rows.y == 0
    high = (rows.y == rows.trials) if rows.family == "binomial" else np.zeros(len(low), dtype=bool)
    scale = np.sqrt((X**2).mean(axis=0))
    columns = X / np.where(scale > 0, scale, 1.0)
    free = _null_space(columns[~(low | high)])
    if not free.shape[1]:
        return None
    signed = np.unique(np.concatenate([-columns[low], columns[high]]) @ free, axis=0)
    p, k = free.shape
    # Maximise the sum of the gains, every gain at least 0, every coefficient between -1 and 1.
    A = np.concatenate([-signed, free, -free])
    bound = np.concatenate([np.zeros(len(signed)), np.ones(2 * p)])
    found = linprog(-signed.sum(axis=0), A_ub=A, b_ub=bound, bounds=[(None, None)] * k, method="highs")
    if found.x is None or (signed @ found.x).max(initial=0.0) < TOLERANCE:
        return None
    direction = free @ found.x
    direction[np.abs(direction) < TOLERANCE] = 0.0
    return direction / np.where(scale > 0, scale, 1.0)


def suspicious(rows: ExponentialRows, logf: Array) -> NDArray[np.bool_]:
    """Rows fitted so well that their probability is 1: separation drives fitted values there."""
    return (np.exp(logf) > 1 - 1e-5) & (rows.y == 0) | (np.exp(logf) > 1 - 1e-5) & (rows.y == rows.trials)


def _null_space(rows: Array) -> Array:
    p = rows.shape[1]
    if not len(rows):
        return np.eye(p)
    R = np.linalg.qr(rows, mode="r")
    _, values, vectors = np.linalg.svd(R)
    rank = int((values > 1e-9 * max(float(values[0]), 1e-300)).sum())
    return vectors[rank:].T

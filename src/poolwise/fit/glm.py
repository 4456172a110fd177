"""Generalised linear models by iteratively reweighted least squares, one for every group at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.exponential import ExponentialRows
from poolwise.algebra.links import LINK
from poolwise.algebra.separate import SeparateRegressions, separate_regressions
from poolwise.algebra.separation import Separation, find_separation, separates, suspicious

# Twice the fall of a group's deviance that one more Newton step promises.
DECREMENT = 1e-14
STEPS = 100


@dataclass(frozen=True, eq=False)
class SeparateModels:
    """A generalised linear model of each of J groups; the family's own parameter is common to all.

    Parameters
    ----------
    coefficients : ndarray (J, p)
        0 where a coefficient is not identified; large where it is infinite, so that predictions have their limits.
    aliased : ndarray of bool (J, p)
        Coefficients that the group's rows do not identify.
    columns : SeparateRegressions
        Of nothing on the same columns, for what else the rows do not determine.
    inverse : ndarray (J, p, p)
        Inverse of the expected information over the identified ones, 0 elsewhere.
    separations : dict of int to Separation
        Of the groups in which coefficients go to infinity.
    converged : ndarray of bool (J,)
        Whether Newton's method stopped at a maximum.
    log_own : float
        Log of the family's own parameter.
    loglik : ndarray (J,)
        Log-likelihood of each group's rows.
    """

    coefficients: Array
    aliased: NDArray[np.bool_]
    columns: SeparateRegressions
    inverse: Array
    separations: dict[int, Separation]
    converged: NDArray[np.bool_]
    log_own: float
    loglik: Array


def fit_separately(
    rows: ExponentialRows, X: Array, offset: Array, codes: NDArray[np.int64] | None = None, J: int = 1
) -> SeparateModels:
    """Maximise the likelihood of every group's own coefficients.

    Parameters
    ----------
    rows : ExponentialRows
        Responses.
    X : ndarray (n, p)
        Columns, centred and scaled over all rows.
    offset : ndarray (n,)
        Known part of the linear predictor.
    codes : ndarray of int (n,), optional
        Group of each row; one group by default.
    J : int, default 1
        Number of groups; a group without rows has no identified coefficient.

    Returns
    -------
    SeparateModels

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, section 2.5.
    """
    codes = np.zeros(len(offset), dtype=np.int64) if codes is None else codes
    columns_of = separate_regressions(*_sums(X, np.ones(len(X)), np.zeros(len(X)), codes, J))
    aliased = columns_of.aliased
    log_own = 0.0
    b = _first(rows, X, offset, codes, aliased, log_own)
    converged = np.ones(J, dtype=bool)
    for _ in range(50):
        b, converged = _newton(rows, X, offset, codes, aliased, log_own, b)
        new = rows.best_own(offset + np.einsum("np,np->n", X, b[codes]), log_own)
        moved, log_own = abs(new - log_own), new
        # The mean does not depend on a dispersion; only alpha of a negative binomial moves it.
        if rows.family != "negativebinomial" or moved < 1e-8:
            break
    eta = offset + np.einsum("np,np->n", X, b[codes])
    at = rows.at(eta, log_own)
    information = _masked(_sums(X, at.expected, np.zeros(len(X)), codes, J)[0], aliased)
    inverse = np.linalg.pinv(information, rcond=1e-14, hermitian=True)
    inverse = inverse * (~aliased[:, :, None] & ~aliased[:, None, :])
    separations = {}
    if separates(rows):
        unit = rows.weights > 0
        for j in np.unique(codes[suspicious(rows, at.logf / np.where(unit, rows.weights, 1.0))]):
            own, columns = codes == j, ~aliased[j]
            found = find_separation(rows.subset(own), X[own][:, columns])
            if found is not None:
                direction, span = np.zeros(X.shape[1]), np.zeros((X.shape[1], found.span.shape[1]))
                direction[columns], span[columns] = found.direction, found.span
                separations[int(j)] = Separation(direction, span)
    converged[list(separations)] = True
    return SeparateModels(
        b, aliased, columns_of, inverse, separations, converged, log_own, np.bincount(codes, at.logf, minlength=J)
    )


def _newton(rows, X, offset, codes, aliased, log_own: float, b: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Coefficients (J, p) and whether each group converged."""
    J = len(aliased)

    def total(values: Array) -> Array:
        return np.bincount(codes, values, minlength=J)

    def predictor(b: Array) -> Array:
        return offset + np.einsum("np,np->n", X, b[codes])

    eta = predictor(b)
    at = rows.at(eta, log_own)
    value = total(at.logf)
    active = np.isfinite(value)
    converged = np.zeros(J, dtype=bool)
    for _ in range(STEPS):
        curvature = np.where(at.observed > 0, at.observed, at.expected)
        XtWX, side, _ = _sums(X, curvature, np.zeros(len(X)), codes, J)
        side = _sums(X, np.ones(len(X)), at.score, codes, J)[1]
        step = _solve(_masked(XtWX, aliased), np.where(aliased, 0.0, side))
        decrement = np.einsum("jp,jp->j", step, np.where(aliased, 0.0, side))
        active &= np.isfinite(decrement)
        size = np.where(active & ~converged, 1.0, 0.0)
        step = np.where(active[:, None], step, 0.0)
        for _ in range(40):
            trial = b + size[:, None] * step
            moved_eta = predictor(trial)
            moved = total(rows.log_density(moved_eta, log_own))
            worse = ~(moved >= value - 1e-12 * (1 + np.abs(value))) & (size > 0)
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        else:
            trial = np.where(worse[:, None], b, trial)
            moved_eta = predictor(trial)
            active &= ~worse
        converged |= active & (decrement < DECREMENT)
        b, eta = trial, moved_eta
        at = rows.at(eta, log_own)
        value = total(at.logf)
        if not (active & ~converged).any():
            break
    return b, converged


def _first(rows, X, offset, codes, aliased, log_own: float) -> Array:
    """Weighted least squares on the link scale of the responses; a constant mean where that leaves the range."""
    J, p = aliased.shape
    eta = LINK[rows.link](rows.start())
    at = rows.at(eta, log_own)
    XtWX, XtWz, _ = _sums(X, at.expected, eta - offset, codes, J)
    b = _solve(_masked(XtWX, aliased), np.where(aliased, 0.0, XtWz))
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(
            np.bincount(codes, rows.log_density(offset + np.einsum("np,np->n", X, b[codes]), log_own), minlength=J)
        )
    if bad.any():
        counts = np.maximum(np.bincount(codes, minlength=J), 1)
        level = LINK[rows.link](np.bincount(codes, rows.start(), minlength=J) / counts + (counts == 0))
        constant = np.array([np.ptp(X[:, k]) < 1e-12 and abs(X[0, k]) > 0 for k in range(p)])
        if constant.any():
            k = int(np.flatnonzero(constant)[0])
            plain = np.zeros((J, p))
            plain[:, k] = (level - np.bincount(codes, offset, minlength=J) / counts) / X[0, k]
            b = np.where(bad[:, None], plain, b)
    return np.where(np.isfinite(b), b, 0.0)


def _sums(X: Array, weights: Array, z: Array, codes: NDArray[np.int64], J: int) -> tuple[Array, Array, Array]:
    """X'WX (J, p, p), X'Wz (J, p) and z'Wz (J,) of every group."""
    p = X.shape[1]
    XtX, Xtz = np.empty((J, p, p)), np.empty((J, p))
    for a in range(p):
        column = weights * X[:, a]
        Xtz[:, a] = np.bincount(codes, column * z, minlength=J)
        for c in range(a + 1):
            XtX[:, a, c] = XtX[:, c, a] = np.bincount(codes, column * X[:, c], minlength=J)
    return XtX, Xtz, np.bincount(codes, weights * z**2, minlength=J)


def _masked(XtX: Array, aliased: NDArray[np.bool_]) -> Array:
    """The identity in the rows and columns of coefficients that are not identified."""
    free = ~aliased
    return XtX * (free[:, :, None] & free[:, None, :]) + np.eye(XtX.shape[1]) * aliased[:, :, None]


def _solve(A: Array, side: Array) -> Array:
    """Least-norm solutions of every group's equations: in a separated group A is nearly singular."""
    scale = np.sqrt(np.maximum(np.einsum("jkk->jk", A), 1e-300))
    with np.errstate(over="ignore", invalid="ignore"):
        correlation = A / (scale[:, :, None] * scale[:, None, :])
    usable = np.isfinite(correlation).all(axis=(1, 2))
    correlation[~usable] = np.eye(A.shape[1])
    inverse = np.linalg.pinv(correlation, rcond=1e-13, hermitian=True)
    found = np.einsum("jab,jb->ja", inverse, side / scale) / scale
    return np.where(usable[:, None], found, np.nan)

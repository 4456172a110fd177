"""Coordinates in which the algebra is well conditioned, and the way back to the units of the data.

The response is shifted and scaled, the columns of X are centred and made orthogonal (X_centred = Q R with Q'Q = n I),
the columns of Z are scaled. All of it is linear, so nothing but rounding changes.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from poolwise.algebra.crossproducts import Array


@dataclass(frozen=True)
class Basis:
    """The linear maps between the units of the data and the coordinates of the algebra.

    Parameters
    ----------
    y_shift, y_scale : float
        The algebra works on (y - y_shift) / y_scale; the shift is 0 without an intercept.
    centre : ndarray (p,)
        Means subtracted from the columns of X; 0 for the intercept, and everywhere without an intercept.
    R : ndarray (p, p)
        Upper triangular, X_centred = Q R.
    z_scale : ndarray (q,)
        The algebra works on Z / z_scale.
    intercept : int
        Position of the intercept in X, or -1.
    """

    y_shift: float
    y_scale: float
    centre: Array
    R: Array
    z_scale: Array
    intercept: int

    @property
    def to_centred(self) -> tuple[Array, Array]:
        """Offset (p,) and matrix (p, p) of the map from the algebra's b to coefficients at centred predictors."""
        p = len(self.centre)
        offset = np.zeros(p)
        if self.intercept >= 0:
            offset[self.intercept] = self.y_shift
        return offset, self.y_scale * scipy.linalg.solve_triangular(self.R, np.eye(p))

    @property
    def to_coefficients(self) -> tuple[Array, Array]:
        """Offset and matrix of the map from the algebra's b to coefficients on the scale of the data."""
        offset, matrix = self.to_centred
        if self.intercept >= 0:
            matrix = matrix.copy()
            matrix[self.intercept] -= self.centre @ matrix
        return offset, matrix

    @property
    def to_effects(self) -> Array:
        """Factors (q,) that bring group-specific effects, or the rows of T, to the scale of the data."""
        return self.y_scale / self.z_scale

    def rows(self, X: Array, Z: Array, y: Array) -> tuple[Array, Array, Array]:
        """X, Z and y in the coordinates of the algebra."""
        Q = scipy.linalg.solve_triangular(self.R, (X - self.centre).T, trans="T").T
        return Q, Z / self.z_scale, (y - self.y_shift) / self.y_scale


def make_basis(X: Array, Z: Array, y: Array, intercept: int) -> Basis:
    """Choose the basis for these data.

    Parameters
    ----------
    X, Z : ndarray (n, p), ndarray (n, q)
        Common and group-specific part; X of full column rank (see :func:`dependent_columns`).
    y : ndarray (n,)
        Response.
    intercept : int
        Position of the column of ones in X, or -1.

    Returns
    -------
    Basis
    """
    n, p = X.shape
    centre = np.zeros(p)
    if intercept >= 0:
        centre = X.mean(axis=0)
        centre[intercept] = 0.0
    y_shift = float(y.mean()) if intercept >= 0 else 0.0
    y_scale = float(np.sqrt(np.mean((y - y_shift) ** 2))) or 1.0
    scale = _column_scale(X - centre)
    R = np.linalg.qr((X - centre) / scale, mode="r") / np.sqrt(n) * scale
    R *= np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]
    return Basis(y_shift, y_scale, centre, R, _column_scale(Z), intercept)


def dependent_columns(X: Array, intercept: int, tolerance: float = 1e-9) -> list[int]:
    """Columns of X that are linear combinations of the columns before them.

    Judged on centred columns of unit length, so that neither units nor a distant mean hide or feign dependence.
    """
    n, p = X.shape
    if not p:
        return []
    centred = X - X.mean(axis=0) if intercept >= 0 else X
    norms = np.sqrt((centred**2).sum(axis=0))
    original = np.sqrt((X**2).sum(axis=0))
    dependent, basis = [], np.zeros((n, 0))
    for k in range(p):
        if k == intercept:
            continue
        # What is left of a constant column after centring is rounding noise.
        if not norms[k] > 1e-13 * max(original[k], np.finfo(float).tiny) * np.sqrt(n):
            dependent.append(k)
            continue
        column = centred[:, k] / norms[k]
        for _ in range(2):
            column = column - basis @ (basis.T @ column)
        left = np.sqrt((column**2).sum())
        if left < tolerance:
            dependent.append(k)
        else:
            basis = np.column_stack([basis, column / left])
    return dependent


def _column_scale(columns: Array) -> Array:
    scale = np.sqrt((columns**2).mean(axis=0))
    return np.where(scale > 0, scale, 1.0)

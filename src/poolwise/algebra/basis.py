"""Coordinates in which the algebra is well conditioned, and the way back to the units of the data.

The response is shifted and scaled, the columns of X are centred and made orthogonal (X_centred = Q R with Q'Q = n I),
the columns of Z are centred where a correlated block has an intercept, and scaled. All of it is linear, so nothing but
rounding changes.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import BlockStructure


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
    z_centre : ndarray (q, q)
        The algebra works on Z z_centre / z_scale: the identity, but for -mean in the row of a block's intercept.
    z_scale : ndarray (q,)
        Root mean squares of the columns of Z z_centre.
    intercept : int
        Position of the intercept in X, or -1.
    """

    y_shift: float
    y_scale: float
    centre: Array
    R: Array
    z_centre: Array
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
    def sd_scale(self) -> Array:
        """Factors (q,) that bring group sds at centred predictors, or the rows of T there, to the scale of the data."""
        return self.y_scale / self.z_scale

    @property
    def to_effects(self) -> Array:
        """Matrix (q, q) that brings group-specific effects, or T, to the scale of the data, intercepts at zero."""
        return self.z_centre * self.sd_scale

    def rows(self, X: Array, Z: Array, y: Array) -> tuple[Array, Array, Array]:
        """X, Z and y in the coordinates of the algebra."""
        Q = scipy.linalg.solve_triangular(self.R, (X - self.centre).T, trans="T").T
        return Q, Z @ self.z_centre / self.z_scale, (y - self.y_shift) / self.y_scale


def make_basis(X: Array, Z: Array, y: Array, intercept: int, z_centre: Array | None = None) -> Basis:
    """Choose the basis for these data.

    Parameters
    ----------
    X, Z : ndarray (n, p), ndarray (n, q)
        Common and group-specific part; X of full column rank (see :func:`dependent_columns`).
    y : ndarray (n,)
        Response.
    intercept : int
        Position of the column of ones in X, or -1.
    z_centre : ndarray (q, q), optional
        As :func:`centring` makes it; the identity by default.

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
    z_centre = np.eye(Z.shape[1]) if z_centre is None else z_centre
    return Basis(y_shift, y_scale, centre, R, z_centre, _column_scale(Z @ z_centre), intercept)


def centring(Z: Array, structure: BlockStructure) -> Array:
    """Matrix (q, q) that subtracts the means of the columns of Z in each block that has a column of ones.

    With u = C v and C this matrix, Z u = (Z C) v: v are the effects of a group at the mean of its block's predictors.
    Uncorrelated effects stay as they are: independent at zero, they would not be independent elsewhere.
    """
    C = np.eye(structure.q)
    for start, size in zip(structure.starts, structure.sizes, strict=True):
        block = np.arange(start, start + size)
        ones = block[np.all(Z[:, block] == 1.0, axis=0)]
        if len(ones) and size > 1:
            C[ones[0], block] -= Z[:, block].mean(axis=0)
            C[ones[0], ones[0]] = 1.0
    return C


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

"""Coordinates in which the algebra is well conditioned, and the way back to the units of the data.

The response is shifted and scaled, the columns of X are centred and made orthogonal (X_centred = Q R with Q'Q = n I),
the columns of Z are centred where a correlated block has an intercept, and scaled. All of it is linear, so nothing but
rounding changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

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

    def by_b(self, X: Array) -> Array:
        """Derivative (n, p) of X times the coefficients by the algebra's b: X @ matrix without its cancellation."""
        # A row that is no mean, such as a single coefficient's, has 0 where rows have the 1 of the intercept.
        centred = X - X[:, [self.intercept]] * self.centre if self.intercept >= 0 else X
        return self.y_scale * scipy.linalg.solve_triangular(self.R, centred.T, trans="T").T

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


def make_basis(
    X: Array, Z: Array, y: Array, intercept: int, z_centre: Array | None = None, rows: Array | None = None
) -> Basis:
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
    rows : ndarray (n,), optional
        How many equal rows each of these stands for; y is then taken to be 0.

    Returns
    -------
    Basis
    """
    n, p = X.shape
    centre = np.zeros(p)
    if intercept >= 0:
        centre = X.mean(axis=0) if rows is None else np.average(X, axis=0, weights=rows)
        centre[intercept] = 0.0
    if rows is not None:
        root = np.sqrt(rows / rows.mean())[:, None]
        X, Z = root * (X - centre) + centre, root * Z
    y_shift = float(y.mean()) if intercept >= 0 else 0.0
    y_scale = float(np.sqrt(np.mean((y - y_shift) ** 2))) or 1.0
    scale = _column_scale(X - centre)
    R = np.linalg.qr((X - centre) / scale, mode="r") / np.sqrt(n) * scale
    R *= np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]
    z_centre = np.eye(Z.shape[1]) if z_centre is None else z_centre
    return Basis(y_shift, y_scale, centre, R, z_centre, _column_scale(Z @ z_centre), intercept)


def basis_of_moments(
    n: float,
    mean: Array,
    scatter: Array,
    x: Sequence[int],
    z: Sequence[int],
    intercept: int,
    structure: BlockStructure | None,
) -> Basis:
    """The basis of :func:`make_basis` from the moments of all rows.

    Parameters
    ----------
    n : float
        Number of rows.
    mean, scatter : ndarray (d,), ndarray (d, d)
        Means of the columns, the response last, and their sums of squares and products about the means.
    x, z : sequence of int
        Place of each column of X and Z among them; -1 for a column of ones.
    intercept : int
        Position of the column of ones in X, or -1.
    structure : BlockStructure, optional
        Blocks of Z that are centred where they have a column of ones.

    Returns
    -------
    Basis
        Its R is a Cholesky factor, so the columns of X may be less nearly collinear than where rows are at hand.
    """
    y = len(mean) - 1
    # A column of ones stands last: place -1.
    mean = np.append(mean, 1.0)
    second = np.pad(scatter, (0, 1)) / n
    X, Z = np.asarray(x, dtype=np.int64), np.asarray(z, dtype=np.int64)
    centre = np.zeros(len(X))
    if intercept >= 0:
        centre = mean[X]
        centre[intercept] = 0.0
    apart = mean[X] - centre
    gram = second[np.ix_(X, X)] + np.outer(apart, apart)
    scale = np.sqrt(np.diag(gram))
    scale = np.where(scale > 0, scale, 1.0)
    R = np.linalg.cholesky(gram / np.outer(scale, scale)).T * scale
    y_shift = float(mean[y]) if intercept >= 0 else 0.0
    y_scale = float(np.sqrt(second[y, y] + (mean[y] - y_shift) ** 2)) or 1.0
    C = np.eye(len(Z)) if structure is None else centring_at(mean[Z], Z < 0, structure)
    z_scale = np.sqrt(np.diag(second)[Z] + (mean[Z] @ C) ** 2)
    return Basis(y_shift, y_scale, centre, R, C, np.where(z_scale > 0, z_scale, 1.0), intercept)


def dependent_of_moments(scatter: Array, mean: Array, n: float, x: Sequence[int], intercept: int) -> list[int]:
    """As :func:`dependent_columns`, from moments: columns that agree with a combination of others to six digits."""
    X = np.asarray(x, dtype=np.int64)
    mean, second = np.append(mean, 1.0), np.pad(scatter, (0, 1)) / n
    gram = second[np.ix_(X, X)]
    if intercept < 0:
        gram = gram + np.outer(mean[X], mean[X])
    size = np.sqrt(np.diag(gram))
    gram = gram / np.outer(np.where(size > 0, size, 1.0), np.where(size > 0, size, 1.0))
    dependent: list[int] = []
    accepted: list[int] = []
    for k in range(len(X)):
        if k == intercept:
            continue
        left = 0.0
        if size[k] > 1e-13 * abs(mean[X[k]]):
            own = gram[k, accepted]
            left = 1.0 - float(own @ np.linalg.solve(gram[np.ix_(accepted, accepted)], own)) if accepted else 1.0
        (accepted if left > 1e-12 else dependent).append(k)
    return dependent


def centring(Z: Array, structure: BlockStructure, rows: Array | None = None) -> Array:
    """Matrix (q, q) that subtracts the means of the columns of Z in each block that has a column of ones.

    With u = C v and C this matrix, Z u = (Z C) v: v are the effects of a group at the mean of its block's predictors.
    Uncorrelated effects stay as they are: independent at zero, they would not be independent elsewhere. A row may stand
    for several equal ones, ``rows`` (n,).
    """
    # NumPy adds up pairwise along what lies together in memory, which is the column here.
    means = np.asfortranarray(Z).mean(axis=0) if rows is None else np.average(Z, axis=0, weights=rows)
    return centring_at(means, np.all(Z == 1.0, axis=0), structure)


def centring_at(means: Array, ones: NDArray[np.bool_], structure: BlockStructure) -> Array:
    """The same of the means (q,) of the columns, and of which are columns of ones."""
    C = np.eye(structure.q)
    for start, size in zip(structure.starts, structure.sizes, strict=True):
        block = np.arange(start, start + size)
        constant = block[ones[block]]
        if len(constant) and size > 1:
            C[constant[0], block] -= means[block]
            C[constant[0], constant[0]] = 1.0
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

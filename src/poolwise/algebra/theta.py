"""The factor T of the group covariance: blocks, standard deviations, correlations, and the vector theta of lme4.

T is lower triangular and block diagonal, one block for each set of effects that are correlated with one another;
the covariance of a group's effects is T T'. An uncorrelated block is as many blocks of size one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BlockStructure:
    """Which effects of a group are correlated with which.

    Parameters
    ----------
    sizes : tuple of int
        Number of effects in each block, in the order of the columns of Z.

    Examples
    --------
    >>> BlockStructure((2, 1)).q
    3
    >>> BlockStructure((2, 1)).positions
    ((0, 0), (1, 0), (1, 1), (2, 2))
    """

    sizes: tuple[int, ...]

    @property
    def q(self) -> int:
        """Effects a group."""
        return sum(self.sizes)

    @property
    def starts(self) -> tuple[int, ...]:
        """First effect of each block."""
        return tuple(int(start) for start in np.cumsum((0, *self.sizes[:-1]))) if self.sizes else ()

    @property
    def block_of(self) -> tuple[int, ...]:
        """Block of each effect."""
        return tuple(block for block, size in enumerate(self.sizes) for _ in range(size))

    @property
    def n_correlations(self) -> int:
        """Free correlations in all blocks."""
        return sum(size * (size - 1) // 2 for size in self.sizes)

    @property
    def positions(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the free elements of T: block by block, column by column, as lme4 orders theta."""
        return tuple(
            (start + row, start + column)
            for start, size in zip(self.starts, self.sizes, strict=True)
            for column in range(size)
            for row in range(column, size)
        )

    @property
    def on_diagonal(self) -> NDArray[np.bool_]:
        """Which elements of theta stand on the diagonal of T, so are bounded below by 0."""
        return np.array([row == column for row, column in self.positions], dtype=bool)

    def factor(self, theta: Array) -> Array:
        """T (q, q) from the vector theta."""
        T = np.zeros((self.q, self.q))
        for (row, column), value in zip(self.positions, theta, strict=True):
            T[row, column] = value
        return T

    def theta(self, T: Array) -> Array:
        """The vector theta from T, or the gradient by theta from that by T."""
        return np.array([T[row, column] for row, column in self.positions])


def lower_factor(A: Array) -> Array:
    """Lower-triangular T (..., q, q) with a non-negative diagonal and T T' = A A'; A may be singular.

    Examples
    --------
    >>> lower_factor(np.array([[0.0, 2.0], [1.0, 0.0]])).round(12).tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    R = np.linalg.qr(A.swapaxes(-1, -2), mode="r")
    signs = np.where(np.einsum("...kk->...k", R) < 0, -1.0, 1.0)
    # Adding zero turns -0.0 into 0.0.
    return np.tril((R * signs[..., None]).swapaxes(-1, -2)) + 0.0


def sds_and_correlations(T: Array) -> tuple[Array, Array]:
    """Standard deviations (..., q) and correlations (..., q, q) of T T'; the correlation with a zero sd is NaN.

    Examples
    --------
    >>> sds, correlation = sds_and_correlations(np.array([[2.0, 0.0], [3.0, 4.0]]))
    >>> sds.tolist(), correlation[0, 1].item()
    ([2.0, 5.0], 0.6)
    """
    sds = np.sqrt((T**2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = T / sds[..., None]
    correlation = rows @ rows.swapaxes(-1, -2)
    diagonal = np.arange(T.shape[-1])
    correlation[..., diagonal, diagonal] = 1.0
    return sds, correlation


def correlation_factor(partial: Array, size: int) -> Array:
    """Cholesky factors of correlation matrices from canonical partial correlations.

    Parameters
    ----------
    partial : ndarray (..., size * (size - 1) / 2)
        Canonical partial correlations in (-1, 1), row by row below the diagonal.
    size : int
        Dimension of the correlation matrix.

    Returns
    -------
    ndarray (..., size, size)
        Lower triangular, rows of unit length.

    References
    ----------
    Lewandowski, Kurowicka & Joe (2009), section 2.
    """
    L = np.zeros((*partial.shape[:-1], size, size))
    at = 0
    for row in range(size):
        left = np.ones(partial.shape[:-1])
        for column in range(row):
            z = partial[..., at]
            at += 1
            L[..., row, column] = z * np.sqrt(left)
            left = left * (1 - z**2)
        L[..., row, row] = np.sqrt(left)
    return L


def lkj_shapes(sizes: Sequence[int], eta: Sequence[float]) -> Array:
    """Beta shapes of the canonical partial correlations under LKJ(eta) priors, in the order of their vector.

    A correlation matrix of dimension d is LKJ(eta) when its partial correlations are independent, those of column k
    (from 0) being Beta(a, a) stretched to (-1, 1) with a = eta + (d - 2 - k) / 2.

    References
    ----------
    Lewandowski, Kurowicka & Joe (2009), section 2.
    """
    shapes = [
        block_eta + (size - 2 - column) / 2
        for size, block_eta in zip(sizes, eta, strict=True)
        for row in range(size)
        for column in range(row)
    ]
    return np.array(shapes, dtype=float)

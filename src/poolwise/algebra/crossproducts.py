"""Sufficient statistics of a Gaussian mixed model: one pass over the rows, after which nothing costs n again."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CrossProducts:
    """Cross-products of X, Z and y by group.

    Parameters
    ----------
    n : float
        Rows that the likelihood counts: the number of rows, or the sum of frequency weights.
    log_weights : float
        Sum of the logs of precision weights (0 without them); a constant of the likelihood.
    XtX, Xty, yty : ndarray (p, p), ndarray (p,), float
        Sums over all rows.
    ZtZ, ZtX, Zty : ndarray (J, q, q), (J, q, p), (J, q)
        Sums by group.
    counts : ndarray (J,)
        Rows in each group.

    Notes
    -----
    The statistics of two disjoint sets of rows add, so those of a training set are the statistics of all rows minus
    those of the rows held out: ``everything - held_out``.
    """

    n: float
    log_weights: float
    XtX: Array
    Xty: Array
    yty: float
    ZtZ: Array
    ZtX: Array
    Zty: Array
    counts: Array

    @property
    def J(self) -> int:
        """Number of groups."""
        return self.ZtZ.shape[0]

    @property
    def q(self) -> int:
        """Effects a group."""
        return self.ZtZ.shape[1]

    @property
    def p(self) -> int:
        """Columns of X."""
        return self.XtX.shape[0]

    def __sub__(self, other: "CrossProducts") -> "CrossProducts":
        """Statistics of the rows of ``self`` that are not in ``other``."""
        return CrossProducts(
            **{name: getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__},
        )


def cross_products(
    X: Array, Z: Array, y: Array, group: NDArray[np.int64], J: int, weights: Array | None = None, *, frequency=False
) -> CrossProducts:
    """Collapse rows into cross-products by group.

    Parameters
    ----------
    X : ndarray (n, p)
        Common part.
    Z : ndarray (n, q)
        Group-specific part, the columns of one group's block (never the dense n x Jq matrix).
    y : ndarray (n,)
        Response, offset removed.
    group : ndarray of int (n,)
        Group of each row, 0 to J - 1.
    J : int
        Number of groups.
    weights : ndarray (n,), optional
        Precision weights (variance sigma^2 / w), or frequency weights with ``frequency=True``.
    frequency : bool, default False
        Whether a row of weight w counts as w equal rows.

    Returns
    -------
    CrossProducts

    Raises
    ------
    ValueError
        If an index is out of range: the kernels check no bounds.
    """
    n = y.shape[0]
    if group.shape[0] != n or X.shape[0] != n or Z.shape[0] != n:
        raise ValueError("X, Z, y and group must have the same number of rows")
    if n and (group.min() < 0 or group.max() >= max(J, 1)):
        raise ValueError(f"group indices must lie in 0..{J - 1}")
    w = np.ones(n) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    sums = _accumulate(
        np.ascontiguousarray(X, dtype=np.float64),
        np.ascontiguousarray(Z, dtype=np.float64),
        np.ascontiguousarray(y, dtype=np.float64),
        np.ascontiguousarray(group, dtype=np.int64),
        J,
        w,
    )
    XtX, Xty, yty, ZtZ, ZtX, Zty, counts = sums
    count = float(w.sum()) if frequency else float(n)
    log_weights = 0.0 if weights is None or frequency else float(np.log(w).sum())
    return CrossProducts(count, log_weights, XtX, Xty, float(yty), ZtZ, ZtX, Zty, counts)


@numba.njit(cache=True, nogil=True)
def _accumulate(X, Z, y, group, J, w):
    n, p = X.shape
    q = Z.shape[1]
    XtX, Xty, yty = np.zeros((p, p)), np.zeros(p), 0.0
    ZtZ, ZtX, Zty = np.zeros((J, q, q)), np.zeros((J, q, p)), np.zeros((J, q))
    counts = np.zeros(J)
    # Partial sums over blocks of rows keep the rounding error of a long sum near that of a pairwise one.
    block = 1024
    for start in range(0, n, block):
        part_XtX, part_Xty, part_yty = np.zeros((p, p)), np.zeros(p), 0.0
        for i in range(start, min(start + block, n)):
            for a in range(p):
                wx = w[i] * X[i, a]
                part_Xty[a] += wx * y[i]
                for b in range(a + 1):
                    part_XtX[a, b] += wx * X[i, b]
            part_yty += w[i] * y[i] * y[i]
            if J == 0:
                continue
            j = group[i]
            counts[j] += 1.0
            for k in range(q):
                wz = w[i] * Z[i, k]
                Zty[j, k] += wz * y[i]
                for b in range(p):
                    ZtX[j, k, b] += wz * X[i, b]
                for m in range(k + 1):
                    ZtZ[j, k, m] += wz * Z[i, m]
        XtX += part_XtX
        Xty += part_Xty
        yty += part_yty
    for a in range(p):
        for b in range(a):
            XtX[b, a] = XtX[a, b]
    for j in range(J):
        for k in range(q):
            for m in range(k):
                ZtZ[j, m, k] = ZtZ[j, k, m]
    return XtX, Xty, yty, ZtZ, ZtX, Zty, counts

"""The definitions, n x n and slow: the oracle of every fast form, and the text to read beside it."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def covariance(Z: Array, group: NDArray[np.int64], T: Array, s: float, weights: Array | None = None) -> Array:
    """Covariance of y, V = Z_all (I kron T T') Z_all' + s W^-1, of shape (n, n)."""
    same_group = group[:, None] == group[None, :]
    V = (Z @ T @ T.T @ Z.T) * same_group
    V[np.diag_indices_from(V)] += s if weights is None else s / weights
    return V


def log_marginal(
    X: Array, Z: Array, y: Array, group: NDArray[np.int64], b: Array, T: Array, s: float, weights: Array | None = None
) -> float:
    """Log density of y ~ N(X b, V) by definition."""
    V = covariance(Z, group, T, s, weights)
    residual = y - X @ b
    _, logdet = np.linalg.slogdet(V)
    return float(-0.5 * (len(y) * np.log(2 * np.pi) + logdet + residual @ np.linalg.solve(V, residual)))


def criterion(X: Array, Z: Array, y: Array, group: NDArray[np.int64], T: Array, s: float, *, reml: bool) -> float:
    """Minus twice the ML or REML log-likelihood at T and s, with b at its generalised least squares value.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), equations 34 and 40.
    """
    V = covariance(Z, group, T, s)
    VinvX = np.linalg.solve(V, X)
    A = X.T @ VinvX
    b = np.linalg.solve(A, VinvX.T @ y)
    minus_twice = -2 * log_marginal(X, Z, y, group, b, T, s)
    if not reml:
        return minus_twice
    _, logdet = np.linalg.slogdet(A)
    return float(minus_twice + logdet - X.shape[1] * np.log(2 * np.pi))


def conditional_effects(
    X: Array, Z: Array, y: Array, group: NDArray[np.int64], J: int, b: Array, T: Array, s: float
) -> tuple[Array, Array]:
    """Mean (J, q) and covariance (J, q, q) of the group-specific effects given b, T, s and y."""
    q = Z.shape[1]
    V = covariance(Z, group, T, s)
    mean, cov = np.zeros((J, q)), np.zeros((J, q, q))
    for j in range(J):
        C = np.where((group == j)[:, None], Z, 0.0) @ T @ T.T  # (n, q), covariance of y with the effects of group j
        mean[j] = C.T @ np.linalg.solve(V, y - X @ b)
        cov[j] = T @ T.T - C.T @ np.linalg.solve(V, C)
    return mean, cov

"""Density of each row given all other rows and the parameters, the group-specific effects integrated out.

With e the residual at the conditional mean u of the effects and h = w z'D z its leverage, D = T M^-1 T', leaving row i
out moves its mean so that

    y_i | y_-i, b, T, s  ~  N(y_i - e_i / (1 - h_i), (s / w_i) / (1 - h_i))

References
----------
Vehtari, Mononen, Tolvanen, Sivula & Winther (2016), J. Machine Learning Research 17(103), section 3.
"""

import math

import numba
import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.groups import group_terms


@numba.njit(cache=True, nogil=True)
def log_leave_one_out(b, T, s, ZtZ, ZtX, Zty, X, Z, y, group, w, out, standardised):
    """Write the log densities and standardised rows (D, n) for D draws of b (D, p), T (D, q, q) and s (D,)."""
    draws, n = out.shape
    J, q, p = ZtX.shape
    r, a = np.empty(q), np.empty(q)
    ST, M, L, inverse = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    u, D = np.empty((J, q)), np.empty((J, q, q))
    for d in range(draws):
        for j in range(J):
            group_terms(j, b[d], T[d], s[d], ZtZ, ZtX, Zty, r, ST, M, L, inverse, a, u[j])
            D[j] = T[d] @ inverse @ T[d].T
        for i in range(n):
            e, h = y[i], 0.0
            for k in range(p):
                e -= X[i, k] * b[d, k]
            if J > 0:
                j = group[i]
                for k in range(q):
                    e -= Z[i, k] * u[j, k]
                    for m in range(q):
                        h += Z[i, k] * D[j, k, m] * Z[i, m]
            left = 1.0 - w[i] * h
            variance = s[d] / w[i] / left
            standardised[d, i] = e / left / math.sqrt(variance)
            out[d, i] = -0.5 * (math.log(2 * math.pi * variance) + standardised[d, i] ** 2)


def leave_one_out(
    stats, b: Array, T: Array, s: Array, X: Array, Z: Array, y: Array, group, weights=None
) -> tuple[Array, Array]:
    """Log density of each row given the others, (D, n), in the coordinates of the algebra, and the row standardised.

    Parameters
    ----------
    stats : CrossProducts
        Of all rows.
    b, T, s : ndarray (D, p), (D, q, q), (D,)
        Draws of the parameters.
    X, Z, y, group : ndarray (n, p), (n, q), (n,), (n,)
        The rows.
    weights : ndarray (n,), optional
        Precision weights.

    Returns
    -------
    log_density, standardised : ndarray (D, n)
        The second is (y_i - mean) / sd of the distribution that the others give row i.
    """
    out, standardised = np.empty((len(s), len(y))), np.empty((len(s), len(y)))
    w = np.ones(len(y)) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    arrays = [np.ascontiguousarray(array) for array in (b, T, s)]
    rows = [np.ascontiguousarray(array) for array in (X, Z, y)]
    log_leave_one_out(*arrays, stats.ZtZ, stats.ZtX, stats.Zty, *rows, group, w, out, standardised)
    return out, standardised

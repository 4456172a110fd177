"""Group-specific effects given everything else: exact conditional moments and draws.

u_j | b, T, s, y  ~  N(T a_j, s T M_j^-1 T')
"""

import numba
import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.groups import group_terms


def conditional_moments(stats: CrossProducts, b: Array, T: Array, s: float) -> tuple[Array, Array, Array]:
    """Conditional mean (J, q), covariance (J, q, q) and slope on b (J, q, p) of the group-specific effects.

    The third is the derivative of the mean by b, so that the joint covariance of common and group-specific effects
    follows: with b ~ N(b_hat, C), Var(e_k'b + u_jk) = h'C h + cov_j[k, k], where h is e_k plus row k of the slope.

    References
    ----------
    Henderson (1975), Biometrics 31, 423-447.
    """
    J, q, _ = stats.ZtX.shape
    M = s * np.eye(q) + T.T @ stats.ZtZ @ T  # (J, q, q)
    MinvT = np.linalg.solve(M, np.broadcast_to(T.T, (J, q, q)))  # (J, q, q)
    D = T @ MinvT  # (J, q, q), maps Z'residual to the conditional mean
    mean = np.einsum("jkl,jl->jk", D, stats.Zty - stats.ZtX @ b)
    return mean, s * D, -D @ stats.ZtX


@numba.njit(cache=True, nogil=True)
def effects_from_normals(b, T, s, ZtZ, ZtX, Zty, z):
    """Turn standard normals z (D, J, q), in place, into draws of the effects, for D draws of b, T and s."""
    draws, J, q = z.shape
    r, a, u, v = np.empty(q), np.empty(q), np.empty(q), np.empty(q)
    ST, M, L, inverse = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    for d in range(draws):
        root = np.sqrt(s[d])
        for j in range(J):
            group_terms(j, b[d], T[d], s[d], ZtZ, ZtX, Zty, r, ST, M, L, inverse, a, u)
            # v solves L'v = z, so that sqrt(s) T v has covariance s T M^-1 T'.
            for i in range(q - 1, -1, -1):
                total = z[d, j, i]
                for k in range(i + 1, q):
                    total -= L[k, i] * v[k]
                v[i] = total / L[i, i]
            for i in range(q):
                total = 0.0
                for k in range(i + 1):
                    total += T[d, i, k] * v[k]
                z[d, j, i] = u[i] + root * total


def fill_effects(stats: CrossProducts, b: Array, T: Array, s: Array, rng: np.random.Generator, out: Array) -> None:
    """Fill ``out`` (D, J, q) with one exact draw of all effects for each draw of b (D, p), T (D, q, q) and s (D,)."""
    rng.standard_normal(out=out)
    effects_from_normals(np.ascontiguousarray(b), np.ascontiguousarray(T), s, stats.ZtZ, stats.ZtX, stats.Zty, out)

"""The log marginal likelihood in coordinates where the common effects are standard normal, whatever T and s are.

Given T and s, the likelihood of b is normal with precision A = X'V^-1 X and linear term c = X'V^-1 y. With P and d
the precision and linear term of the coefficients' priors, A_w = A + P = L L' and b = A_w^-1 (c + d) + L^-T xi, the
density of xi hardly depends on T and s (not at all under normal or flat priors): no funnel is left between the common
effects and the group standard deviations, which with few groups is wide.

    value = log p(y | b, T, s) - 1/2 log|A_w|          b and its Jacobian as above

``forward`` gives the value and b; ``backward`` turns cotangents of both into gradients by xi, T and s. With
Z'(X, y) = R_j, Q_j = T M_j^-1 T' and G = ((X, y)'(X, y) - sum R_j'Q_j R_j) / s, all of A, c and y'V^-1 y stand in G, so
one symmetric matrix of weights on G carries the whole gradient.

References
----------
Bates, Maechler, Bolker & Walker (2015), section 3, for A and c; Murray (2016), arXiv:1602.07527, for the derivative of
a Cholesky factor.
"""

import math

import numba
import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.groups import cholesky_inverse
from poolwise.algebra.lanes import group_inverses, pull_back, subtract_quadratics, weighted_products


@numba.njit(cache=True, nogil=True, error_model="numpy")
def work_size(p, q, J):
    """Length of the work array of ``forward`` and ``backward``."""
    return q * J * (5 * q + p + 1) + 2 * (p + 1) ** 2 + 4 * p * p + 3 * p + 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _carve(work, p, q, J):
    """Parts of the work array: five (q, q, J), a (p + 1, q, J), two (p + 1, p + 1), four (p, p), three (p,), one."""
    size = q * q * J
    cubes = work[: 5 * size].reshape(5, q, q, J)
    at = 5 * size
    a = work[at : at + (p + 1) * q * J].reshape(p + 1, q, J)
    at += (p + 1) * q * J
    large = work[at : at + 2 * (p + 1) ** 2].reshape(2, p + 1, p + 1)
    at += 2 * (p + 1) ** 2
    small = work[at : at + 4 * p * p].reshape(4, p, p)
    at += 4 * p * p
    vectors = work[at : at + 3 * p].reshape(3, p)
    return cubes, a, large, small, vectors, work[at + 3 * p :]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def factor_and_center(work, p, q, J):
    """L and A_w^-1 (c + d) as ``forward`` left them in the work array."""
    _, _, _, small, vectors, _ = _carve(work, p, q, J)
    return small[0], vectors[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward(xi, T, s, n, log_weights, cross, S, R, P, d, work, b):
    """Value and b at (xi, T, s); fills the work array that ``backward`` reads.

    Parameters
    ----------
    xi : ndarray (p,)
        Whitened common effects.
    T, s : ndarray (q, q), float
        Factor of the group covariance and residual variance, in the coordinates of the algebra.
    n, log_weights : float
        As in :class:`~poolwise.algebra.crossproducts.CrossProducts`.
    cross, S, R : ndarray (p + 1, p + 1), (q, q, J), (p + 1, q, J)
        Its sums, see :func:`by_lane`.
    P, d : ndarray (p, p), (p,)
        Precision and linear term of the priors of b; they choose the coordinates only.
    work : ndarray (work_size,)
        Work.
    b : ndarray (p,)
        Filled with the common effects.

    Returns
    -------
    float
        Natural log; NaN where a matrix is not positive definite in floating point.
    """
    p, q, J = R.shape[0] - 1, R.shape[1], R.shape[2]
    cubes, a, large, small, vectors, scalars = _carve(work, p, q, J)
    H, Q, B, V = cubes[0], cubes[1], cubes[2], cubes[3]
    G, L, A_inverse, precision, center = large[0], small[0], small[1], small[2], vectors[0]
    logdet, scalars[0] = group_inverses(T, s, S, H, Q, B, V)
    G[:, :] = cross
    subtract_quadratics(R, Q, a, G)
    for c in range(p + 1):
        for e in range(c + 1):
            G[c, e] /= s
            G[e, c] = G[c, e]
    for i in range(p):
        for k in range(p):
            precision[i, k] = G[i, k] + P[i, k]
    logdet_A = cholesky_inverse(precision, L, A_inverse)
    if not math.isfinite(logdet_A):
        return math.nan
    for i in range(p):
        total = 0.0
        for k in range(p):
            total += A_inverse[i, k] * (G[k, p] + d[k])
        center[i] = total
    for i in range(p - 1, -1, -1):
        total = xi[i]
        for k in range(i + 1, p):
            total -= L[k, i] * b[k]
        b[i] = total / L[i, i]
    quadratic = G[p, p]
    for i in range(p):
        b[i] += center[i]
    for i in range(p):
        total = 0.0
        for k in range(p):
            total += G[i, k] * b[k]
        quadratic += b[i] * (total - 2.0 * G[i, p])
    constant = n * math.log(2 * math.pi) - log_weights
    return -0.5 * (constant + (n - J * q) * math.log(s) + logdet + quadratic + logdet_A)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def backward(value_bar, b_bar, xi, s, n, S, R, work, b, grad_xi, grad_T):
    """Gradients by xi and T, written, and by s, returned, from the cotangents of the value and of b.

    The arguments are those of ``forward`` after its call; ``value_bar`` is a float, ``b_bar`` an ndarray (p,).
    """
    p, q, J = R.shape[0] - 1, R.shape[1], R.shape[2]
    cubes, a, large, small, vectors, scalars = _carve(work, p, q, J)
    H, Q, C, D, F = cubes[0], cubes[1], cubes[2], cubes[3], cubes[4]
    G, weights, L, A_inverse, psi, half = large[0], large[1], small[0], small[1], small[2], small[3]
    center, total_b, h = vectors[0], vectors[1], vectors[2]
    for i in range(p):
        total = G[i, p]
        for k in range(p):
            total -= G[i, k] * b[k]
        total_b[i] = value_bar * total + b_bar[i]
    for i in range(p):
        total = 0.0
        for k in range(p):
            total += A_inverse[i, k] * total_b[k]
        h[i] = total
        total = total_b[i]
        for k in range(i):
            total -= L[i, k] * grad_xi[k]
        grad_xi[i] = total / L[i, i]

    # Weights on G: how the value and b move with A, c and y'V^-1 y.
    for i in range(p):
        for k in range(i + 1):
            psi[i, k] = psi[k, i] = 0.5 * xi[i] * grad_xi[k]
    # L^-T psi L^-1 by two triangular solves.
    for c in range(p):
        for i in range(p - 1, -1, -1):
            total = psi[i, c]
            for k in range(i + 1, p):
                total -= L[k, i] * half[k, c]
            half[i, c] = total / L[i, i]
    for c in range(p):
        for i in range(p - 1, -1, -1):
            total = half[c, i]
            for k in range(i + 1, p):
                total -= L[k, i] * psi[k, c]
            psi[i, c] = total / L[i, i]
    for i in range(p):
        for k in range(p):
            own = -0.5 * value_bar * (b[i] * b[k] + A_inverse[i, k])
            weights[i, k] = own - 0.5 * (h[i] * center[k] + center[i] * h[k]) - psi[i, k]
        weights[i, p] = weights[p, i] = 0.5 * (value_bar * b[i] + h[i])
    weights[p, p] = -0.5 * value_bar

    inner = 0.0
    for i in range(p + 1):
        for k in range(p + 1):
            inner += weights[i, k] * G[i, k]
    weighted_products(weights, R, a, C)
    spread = pull_back(-2.0 / s, value_bar, S, H, Q, C, D, F, grad_T)
    return -0.5 * value_bar * ((n - J * q) / s + scalars[0]) + (spread - inner) / s


@numba.njit(cache=True, nogil=True, error_model="numpy")
def common_effects(xi, T, s, cross, S, R, P, d, b):
    """Fill b (D, p) for D draws of xi (D, p), T (D, q, q) and s (D,); P and d stand once for all, or once a draw."""
    p, q, J = R.shape[0] - 1, R.shape[1], R.shape[2]
    work = np.empty(work_size(p, q, J))
    for draw in range(xi.shape[0]):
        prior = min(draw, len(P) - 1)
        forward(xi[draw], T[draw], s[draw], 0.0, 0.0, cross, S, R, P[prior], d[prior], work, b[draw])


def by_lane(stats: CrossProducts) -> tuple[Array, Array, Array]:
    """(X, y)'(X, y), and with the group as the last axis Z'Z and Z'(X, y): (p + 1, p + 1), (q, q, J), (p + 1, q, J)."""
    cross = np.block([[stats.XtX, stats.Xty[:, None]], [stats.Xty[None], np.array([[stats.yty]])]])
    right = np.concatenate([stats.ZtX, stats.Zty[:, :, None]], axis=2)
    return cross, np.ascontiguousarray(stats.ZtZ.transpose(1, 2, 0)), np.ascontiguousarray(right.transpose(2, 1, 0))


def unwhiten(stats: CrossProducts, P: Array, d: Array, xi: Array, T: Array, s: Array) -> Array:
    """Common effects (D, p) of draws of xi (D, p), T (D, q, q) and s (D,).

    P and d are (p, p) and (p,), or (D, p, p) and (D, p) where they are of each draw.
    """
    b = np.empty(xi.shape)
    arrays = [np.ascontiguousarray(array) for array in (xi, T, s)]
    P, d = (P[None], d[None]) if P.ndim == 2 else (P, d)
    common_effects(*arrays, *by_lane(stats), np.ascontiguousarray(P), np.ascontiguousarray(d), b)
    return b

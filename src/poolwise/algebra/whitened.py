"""The log marginal likelihood in coordinates where the common effects are standard normal, whatever T and s are.

Given T and s, the likelihood of b is normal with precision A = X'V^-1 X and linear term c = X'V^-1 y. With P and d
the precision and linear term of the coefficients' priors, A_w = A + P = L L' and b = A_w^-1 (c + d) + L^-T xi, the
density of xi hardly depends on T and s (not at all under normal or flat priors): no funnel is left between the common
effects and the group standard deviations, which with few groups is wide.

    value = log p(y | b, T, s) - 1/2 log|A_w|          b and its Jacobian as above

``forward`` gives the value and b; ``backward`` turns cotangents of both into gradients by xi, T and s. With
Z'(X, y) = R_j, W_j = T'R_j, a_j = M_j^-1 W_j and G = ((X, y)'(X, y) - sum W'a) / s, all of A, c and y'V^-1 y stand in
G, so one symmetric matrix of weights on G carries the whole gradient.

References
----------
Bates, Maechler, Bolker & Walker (2015), section 3, for A and c; Murray (2016), arXiv:1602.07527, for the derivative of
a Cholesky factor.
"""

import math

import numba
import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.groups import cholesky_inverse, lower_product


@numba.njit(cache=True, nogil=True)
def forward(xi, T, s, n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty, P, d, a, inverse, G, L, A_inverse, center, b):
    """Value and b at (xi, T, s); fills the work arrays that ``backward`` reads.

    Parameters
    ----------
    xi : ndarray (p,)
        Whitened common effects.
    T, s : ndarray (q, q), float
        Factor of the group covariance and residual variance, in the coordinates of the algebra.
    n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty
        The fields of :class:`~poolwise.algebra.crossproducts.CrossProducts`.
    P, d : ndarray (p, p), (p,)
        Precision and linear term of the priors of b; they choose the coordinates only.
    a, inverse : ndarray (J, q, p + 1), (J, q, q)
        Work: M^-1 T'R and M^-1.
    G, L, A_inverse : ndarray (p + 1, p + 1), (p, p), (p, p)
        Work: see the module.
    center, b : ndarray (p,)
        Filled with A_w^-1 (c + d) and the common effects.

    Returns
    -------
    float
        Natural log; NaN where a matrix is not positive definite in floating point.
    """
    J, q, p = ZtX.shape[0], ZtX.shape[1], XtX.shape[0]
    for i in range(p):
        for k in range(p):
            G[i, k] = XtX[i, k]
        G[i, p] = G[p, i] = Xty[i]
    G[p, p] = yty
    W, M, ST, factor = np.empty((q, p + 1)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    logdet = 0.0
    for j in range(J):
        lower_product(ZtZ[j], T, ST)
        for i in range(q):
            for c in range(p + 1):
                total = 0.0
                for k in range(i, q):
                    total += T[k, i] * (ZtX[j, k, c] if c < p else Zty[j, k])
                W[i, c] = total
            for c in range(i + 1):
                total = s if i == c else 0.0
                for k in range(i, q):
                    total += T[k, i] * ST[k, c]
                M[i, c] = total
        logdet += cholesky_inverse(M, factor, inverse[j])
        for c in range(p + 1):
            for i in range(q):
                total = 0.0
                for k in range(q):
                    total += inverse[j, i, k] * W[k, c]
                a[j, i, c] = total
        for c in range(p + 1):
            for e in range(c + 1):
                total = 0.0
                for i in range(q):
                    total += W[i, c] * a[j, i, e]
                G[c, e] -= total
    for c in range(p + 1):
        for e in range(c + 1):
            G[c, e] /= s
            G[e, c] = G[c, e]
    precision = np.empty((p, p))
    for i in range(p):
        for k in range(p):
            precision[i, k] = G[i, k] + P[i, k]
    logdet_A = cholesky_inverse(precision, L, A_inverse)
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


@numba.njit(cache=True, nogil=True)
def backward(value_bar, b_bar, xi, T, s, n, ZtZ, ZtX, Zty, a, inverse, G, L, A_inverse, center, b, grad_xi, grad_T):
    """Gradients by xi and T, written, and by s, returned, from the cotangents of the value and of b.

    The arguments are those of ``forward`` after its call; ``value_bar`` is a float, ``b_bar`` an ndarray (p,).
    """
    J, q, p = ZtX.shape[0], ZtX.shape[1], b.shape[0]
    total_b, h = np.empty(p), np.empty(p)
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
    weights = np.empty((p + 1, p + 1))
    psi, half = np.empty((p, p)), np.empty((p, p))
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
    grad_T[:, :] = 0.0
    trace, spread = 0.0, 0.0
    E, weighted = np.empty(p + 1), np.empty((q, p + 1))
    u, ST = np.empty((q, p + 1)), np.empty((q, q))
    for j in range(J):
        lower_product(ZtZ[j], T, ST)
        for i in range(q):
            trace += inverse[j, i, i]
            for c in range(p + 1):
                total = 0.0
                for k in range(p + 1):
                    total += weights[c, k] * a[j, i, k]
                weighted[i, c] = total
                spread += total * a[j, i, c]
                total = 0.0
                for k in range(i + 1):
                    total += T[i, k] * a[j, k, c]
                u[i, c] = total
        for i in range(q):
            for c in range(p + 1):
                total = ZtX[j, i, c] if c < p else Zty[j, i]
                for k in range(q):
                    total -= ZtZ[j, i, k] * u[k, c]
                E[c] = total
            for m in range(i + 1):
                total = 0.0
                for c in range(p + 1):
                    total += E[c] * weighted[m, c]
                total *= -2.0 / s
                for k in range(q):
                    total -= value_bar * ST[i, k] * inverse[j, k, m]
                grad_T[i, m] += total
    return -0.5 * value_bar * ((n - J * q) / s + trace) + (spread - inner) / s


@numba.njit(cache=True, nogil=True)
def common_effects(xi, T, s, n, XtX, Xty, yty, ZtZ, ZtX, Zty, P, d, b):
    """Fill b (D, p) for D draws of xi (D, p), T (D, q, q) and s (D,); P and d stand once for all, or once a draw."""
    J, q, p = ZtX.shape[0], ZtX.shape[1], XtX.shape[0]
    a, inverse, G = np.empty((J, q, p + 1)), np.empty((J, q, q)), np.empty((p + 1, p + 1))
    L, A_inverse, center = np.empty((p, p)), np.empty((p, p)), np.empty(p)
    for draw in range(xi.shape[0]):
        prior = min(draw, len(P) - 1)
        forward(
            xi[draw], T[draw], s[draw], n, 0.0, XtX, Xty, yty, ZtZ, ZtX, Zty, P[prior], d[prior], a, inverse, G, L,
            A_inverse, center, b[draw],
        )  # fmt: skip


def unwhiten(stats: CrossProducts, P: Array, d: Array, xi: Array, T: Array, s: Array) -> Array:
    """Common effects (D, p) of draws of xi (D, p), T (D, q, q) and s (D,).

    P and d are (p, p) and (p,), or (D, p, p) and (D, p) where they are of each draw.
    """
    b = np.empty(xi.shape)
    arrays = [np.ascontiguousarray(array) for array in (xi, T, s)]
    sums = (stats.XtX, stats.Xty, stats.yty, stats.ZtZ, stats.ZtX, stats.Zty)
    P, d = (P[None], d[None]) if P.ndim == 2 else (P, d)
    common_effects(*arrays, stats.n, *sums, np.ascontiguousarray(P), np.ascontiguousarray(d), b)
    return b

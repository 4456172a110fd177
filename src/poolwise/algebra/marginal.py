"""Log marginal likelihood of a Gaussian model with one grouping factor, group-specific effects integrated out.

For group j with S = Z'Z, r = Z'y - Z'X b, T the factor of the group covariance and s = sigma^2:

    w = T'r,  M = s I + T'S T,  a = M^-1 w,  u = T a (the conditional mean of the effects)

    log p(y | b, T, s) = -1/2 [ n log 2pi + (n - J q) log s + sum log|M| + (|y - X b|^2 - sum w'a) / s ]

The functions here are numba kernels in that notation; ``dense.py`` has the same by definition.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3; the gradient follows by differentiation.
"""

import math

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def cholesky_inverse(M, L, inverse):
    """Lower factor L of M and M^-1, both small and in place; returns log|M|, or NaN if M is not positive definite."""
    q = M.shape[0]
    logdet = 0.0
    if q == 1:
        if not M[0, 0] > 0.0:
            return math.nan
        L[0, 0] = math.sqrt(M[0, 0])
        inverse[0, 0] = 1.0 / M[0, 0]
        return math.log(M[0, 0])
    if q == 2:
        # The commonest case by hand: an intercept and a slope.
        ratio = M[1, 0] / M[0, 0]
        rest = M[1, 1] - ratio * M[1, 0]
        if not (M[0, 0] > 0.0 and rest > 0.0):
            return math.nan
        L[0, 0] = math.sqrt(M[0, 0])
        L[1, 0] = ratio * L[0, 0]
        L[1, 1] = math.sqrt(rest)
        inverse[1, 1] = 1.0 / rest
        inverse[1, 0] = inverse[0, 1] = -ratio / rest
        inverse[0, 0] = 1.0 / M[0, 0] + ratio * ratio / rest
        return math.log(M[0, 0] * rest)
    for i in range(q):
        for j in range(i + 1):
            total = M[i, j]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            if i == j:
                if not total > 0.0:
                    return math.nan
                L[i, i] = math.sqrt(total)
                logdet += math.log(total)
            else:
                L[i, j] = total / L[j, j]
    # L^-1 is kept, transposed, in the upper triangle of `inverse` until it is multiplied out: entry (i, j) of the
    # product needs only columns k >= i, which are still whole when the lower triangle is written row by row.
    for c in range(q):
        for i in range(c, q):
            total = 1.0 if i == c else 0.0
            for k in range(c, i):
                total -= L[i, k] * inverse[c, k]
            inverse[c, i] = total / L[i, i]
    for i in range(q):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, q):
                total += inverse[i, k] * inverse[j, k]
            inverse[i, j] = total
    for i in range(q):
        for j in range(i):
            inverse[j, i] = inverse[i, j]
    return logdet


@numba.njit(cache=True, nogil=True)
def lower_product(S, T, out):
    """Fill out with S T, T lower triangular."""
    q = T.shape[0]
    for i in range(q):
        for c in range(q):
            total = 0.0
            for k in range(c, q):
                total += S[i, k] * T[k, c]
            out[i, c] = total


@numba.njit(cache=True, nogil=True)
def group_terms(j, b, T, s, ZtZ, ZtX, Zty, r, ST, M, L, inverse, a, u):
    """Fill r, S T, M^-1, a and u of group j; returns (log|M|, w'a)."""
    q, p = ZtX.shape[1], ZtX.shape[2]
    for i in range(q):
        total = Zty[j, i]
        for c in range(p):
            total -= ZtX[j, i, c] * b[c]
        r[i] = total
    lower_product(ZtZ[j], T, ST)
    for i in range(q):
        for c in range(i + 1):
            total = s if i == c else 0.0
            for k in range(i, q):
                total += T[k, i] * ST[k, c]
            M[i, c] = total
    logdet = cholesky_inverse(M, L, inverse)
    quadratic = 0.0
    for i in range(q):
        w = 0.0
        for k in range(i, q):
            w += T[k, i] * r[k]
        u[i] = w
    for i in range(q):
        total = 0.0
        for k in range(q):
            total += inverse[i, k] * u[k]
        a[i] = total
        quadratic += total * u[i]
    for i in range(q):
        total = 0.0
        for k in range(i + 1):
            total += T[i, k] * a[k]
        u[i] = total
    return logdet, quadratic


@numba.njit(cache=True, nogil=True)
def log_marginal(b, T, s, n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty, grad_b, grad_T):
    """Log marginal likelihood; writes the gradients by b and T and returns the value and the gradient by s.

    Parameters
    ----------
    b : ndarray (p,)
        Common effects.
    T : ndarray (q, q)
        Lower-triangular factor of the group covariance, on the scale of the response.
    s : float
        Residual variance, positive.
    n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty
        The fields of :class:`~poolwise.algebra.crossproducts.CrossProducts`.
    grad_b, grad_T : ndarray (p,), ndarray (q, q)
        Overwritten; the upper triangle of ``grad_T`` is 0.

    Returns
    -------
    value : float
        Natural log; NaN if a block is not positive definite in floating point.
    grad_s : float
        Derivative by s.
    """
    J, q, p = ZtX.shape[0], ZtX.shape[1], XtX.shape[0]
    rss = yty
    for i in range(p):
        total = Xty[i]
        for c in range(p):
            total -= XtX[i, c] * b[c]
        grad_b[i] = total
        rss -= b[i] * (Xty[i] + total)
    r, a, u = np.empty(q), np.empty(q), np.empty(q)
    ST, M, L, inverse = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    grad_T[:, :] = 0.0
    logdet, quadratic, trace, norm = 0.0, 0.0, 0.0, 0.0
    for j in range(J):
        group_logdet, group_quadratic = group_terms(j, b, T, s, ZtZ, ZtX, Zty, r, ST, M, L, inverse, a, u)
        logdet += group_logdet
        quadratic += group_quadratic
        for i in range(q):
            trace += inverse[i, i]
            norm += a[i] * a[i]
            residual = r[i]
            for k in range(q):
                residual -= ZtZ[j, i, k] * u[k]
            residual /= s
            for c in range(i + 1):
                total = residual * a[c]
                for k in range(q):
                    total -= ST[i, k] * inverse[k, c]
                grad_T[i, c] += total
            for c in range(p):
                grad_b[c] -= ZtX[j, i, c] * u[i]
    for i in range(p):
        grad_b[i] /= s
    remaining = rss - quadratic
    value = -0.5 * (n * math.log(2 * math.pi) - log_weights + (n - J * q) * math.log(s) + logdet + remaining / s)
    grad_s = -0.5 * ((n - J * q) / s + trace - remaining / (s * s) + norm / s)
    return value, grad_s

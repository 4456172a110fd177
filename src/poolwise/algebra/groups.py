"""What each group contributes: small matrices, by hand, as numba kernels.

For group j with S = Z'Z, r = Z'y - Z'X b, T the factor of the group covariance and s = sigma^2:

    w = T'r,  M = s I + T'S T,  a = M^-1 w,  u = T a (the conditional mean of the effects)

    log p(y | b, T, s) = -1/2 [ n log 2pi + (n - J q) log s + sum log|M| + (|y - X b|^2 - sum w'a) / s ]

``whitened.py`` evaluates this density, ``conditional.py`` the effects; ``dense.py`` has both by definition.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3.
"""

import math

import numba


@numba.njit(cache=True, nogil=True, error_model="numpy")
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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def lower_product(S, T, out):
    """Fill out with S T, T lower triangular."""
    q = T.shape[0]
    for i in range(q):
        for c in range(q):
            total = 0.0
            for k in range(c, q):
                total += S[i, k] * T[k, c]
            out[i, c] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
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

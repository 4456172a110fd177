"""The same small matrix of every group side by side: the group is the last axis, so that one instruction serves several.

For group j with S = Z'Z, T the factor of the group covariance and s = sigma^2:

    M = s I + T'S T,  H = T M^-1,  Q = H T'          (Q y-hat: the conditional mean of the effects is Q Z'(y - X b))

Everything the marginal likelihood needs of the groups is log|M|, tr M^-1 and the sums of R'Q R, where R = Z'(X, y). From dM = ds I + dT'S T + T'S dT follow, for a symmetric C,

    d <C, Q> = 2 <(C - S Q C) H, dT> - <C, H H'> ds,      d log|M| = 2 <S H, dT> + tr M^-1 ds
"""

import math

import numba
import numpy as np

from poolwise.algebra.groups import cholesky_inverse, lower_product

SAFE = 1e60  # four numbers between 1/SAFE and SAFE can be multiplied without leaving the range of doubles
FAST = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning


@numba.njit(cache=True, nogil=True)
def sum_of_logs(values):
    """Sum of natural logs of positive numbers (n,), one logarithm for four; NaN if one of them is NaN."""
    total = 0.0
    n = len(values)
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = values[i], values[i + 1], values[i + 2], values[i + 3]
        if min(min(a, b), min(c, d)) > 1.0 / SAFE and max(max(a, b), max(c, d)) < SAFE:
            total += math.log((a * b) * (c * d))
        else:
            total += math.log(a) + math.log(b) + math.log(c) + math.log(d)
    for i in range(whole, n):
        total += math.log(values[i])
    return total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _one(t, s, S, H, Q, det):
    trace = 0.0
    for j in range(len(det)):
        M = s + t * t * S[j]
        det[j] = M
        inverse = 1.0 / M
        H[j] = t * inverse
        Q[j] = t * t * inverse
        trace += inverse
    return trace


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _two(t00, t10, t11, s, S00, S10, S11, H00, H01, H10, H11, Q00, Q01, Q10, Q11, det):
    trace = 0.0
    for j in range(len(det)):
        a, b, c = S00[j], S10[j], S11[j]
        p0, p1 = a * t00 + b * t10, b * t00 + c * t10
        M00 = s + t00 * p0 + t10 * p1
        M10 = t11 * p1
        M11 = s + t11 * t11 * c
        r = 1.0 / M00
        ratio = M10 * r
        rest = M11 - ratio * M10
        det[j] = M00 * rest if (M00 > 0.0) & (rest > 0.0) else math.nan
        i11 = 1.0 / rest
        i10 = -ratio * i11
        i00 = r + ratio * ratio * i11
        h00, h01 = t00 * i00, t00 * i10
        h10, h11 = t10 * i00 + t11 * i10, t10 * i10 + t11 * i11
        H00[j], H01[j], H10[j], H11[j] = h00, h01, h10, h11
        q10 = h10 * t00
        Q00[j], Q01[j], Q10[j], Q11[j] = h00 * t00, q10, q10, h10 * t10 + h11 * t11
        trace += i00 + i11
    return trace


@numba.njit(cache=True, nogil=True)
def _any(T, s, S, H, Q):
    q, J = S.shape[1], S.shape[2]
    own, ST, M, L, inverse = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    logdet, trace = 0.0, 0.0
    for j in range(J):
        for i in range(q):
            for k in range(q):
                own[i, k] = S[i, k, j]
        lower_product(own, T, ST)
        for i in range(q):
            for c in range(i + 1):
                total = s if i == c else 0.0
                for k in range(i, q):
                    total += T[k, i] * ST[k, c]
                M[i, c] = total
        logdet += cholesky_inverse(M, L, inverse)
        for i in range(q):
            trace += inverse[i, i]
            for c in range(q):
                total = 0.0
                for k in range(i + 1):
                    total += T[i, k] * inverse[k, c]
                H[i, c, j] = total
        for i in range(q):
            for c in range(i + 1):
                total = 0.0
                for k in range(c + 1):
                    total += H[i, k, j] * T[c, k]
                Q[i, c, j] = Q[c, i, j] = total
    return logdet, trace


@numba.njit(cache=True, nogil=True)
def group_inverses(T, s, S, H, Q, det):
    """Fill H and Q, (q, q, J), of every group; returns (sum of log|M|, sum of tr M^-1).

    ``S`` is an ndarray (q, q, J), ``det`` one (J,) for work. The log is NaN where an M is not positive definite in
    floating point.
    """
    q = S.shape[0]
    if q == 1:
        trace = _one(T[0, 0], s, S[0, 0], H[0, 0], Q[0, 0], det)
        return sum_of_logs(det), trace
    if q == 2:
        trace = _two(
            T[0, 0], T[1, 0], T[1, 1], s, S[0, 0], S[1, 0], S[1, 1], H[0, 0], H[0, 1], H[1, 0], H[1, 1],
            Q[0, 0], Q[0, 1], Q[1, 0], Q[1, 1], det,
        )  # fmt: skip
        return sum_of_logs(det), trace
    return _any(T, s, S, H, Q)


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def subtract_quadratics(R, Q, a, G):
    """Subtract sum_j R_j'Q_j R_j from the lower triangle of G (c, c).

    ``R`` is an ndarray (c, q, J) of the matrices Z'(X, y), ``a`` work of its shape.
    """
    columns, q, J = R.shape
    for c in range(columns):
        for i in range(q):
            for j in range(J):
                a[c, i, j] = Q[i, 0, j] * R[c, 0, j]
            for k in range(1, q):
                for j in range(J):
                    a[c, i, j] += Q[i, k, j] * R[c, k, j]
    for c in range(columns):
        for e in range(c + 1):
            total = 0.0
            for i in range(q):
                for j in range(J):
                    total += R[c, i, j] * a[e, i, j]
            G[c, e] -= total


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def weighted_products(weights, R, a, C):
    """Fill C, (q, q, J), with R_j' weights R_j over the columns of ``R`` (c, q, J); ``a`` is work of its shape."""
    columns, q, J = R.shape
    a[:] = 0.0
    for c in range(columns):
        for e in range(columns):
            weight = weights[c, e]
            for i in range(q):
                for j in range(J):
                    a[c, i, j] += weight * R[e, i, j]
    C[:] = 0.0
    for c in range(columns):
        for i in range(q):
            for k in range(i + 1):
                for j in range(J):
                    C[i, k, j] += a[c, i, j] * R[c, k, j]
    for i in range(q):
        for k in range(i):
            for j in range(J):
                C[k, i, j] = C[i, k, j]


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _pull_back_two(scale, value_bar, S00, S10, S11, H00, H01, H10, H11, Q00, Q10, Q11, C00, C10, C11, grad_T):
    spread, g00, g10, g11 = 0.0, 0.0, 0.0, 0.0
    for j in range(len(S00)):
        a, b, c = S00[j], S10[j], S11[j]
        h00, h01, h10, h11 = H00[j], H01[j], H10[j], H11[j]
        q00, q10, q11 = Q00[j], Q10[j], Q11[j]
        c00, c10, c11 = C00[j], C10[j], C11[j]
        spread += c00 * (h00 * h00 + h01 * h01) + c11 * (h10 * h10 + h11 * h11)
        spread += 2.0 * c10 * (h00 * h10 + h01 * h11)
        # F = scale (C - S Q C) - value_bar S, and the gradient is F H.
        d00, d01 = q00 * c00 + q10 * c10, q00 * c10 + q10 * c11
        d10, d11 = q10 * c00 + q11 * c10, q10 * c10 + q11 * c11
        f00 = scale * (c00 - a * d00 - b * d10) - value_bar * a
        f01 = scale * (c10 - a * d01 - b * d11) - value_bar * b
        f10 = scale * (c10 - b * d00 - c * d10) - value_bar * b
        f11 = scale * (c11 - b * d01 - c * d11) - value_bar * c
        g00 += f00 * h00 + f01 * h10
        g10 += f10 * h00 + f11 * h10
        g11 += f10 * h01 + f11 * h11
    grad_T[0, 0], grad_T[1, 0], grad_T[1, 1] = g00, g10, g11
    return spread


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def pull_back(scale, value_bar, S, H, Q, C, grad_T):
    """Gradient by T of sum_j (scale/2 <C_j, Q_j> - value_bar/2 log|M_j|), written; returns sum_j <C_j, H_j H_j'>.

    With F = scale (C - S Q C) - value_bar S, the gradient is the lower triangle of the sum of F H.
    """
    q, J = S.shape[1], S.shape[2]
    if q == 2:
        return _pull_back_two(
            scale, value_bar, S[0, 0], S[1, 0], S[1, 1], H[0, 0], H[0, 1], H[1, 0], H[1, 1],
            Q[0, 0], Q[1, 0], Q[1, 1], C[0, 0], C[1, 0], C[1, 1], grad_T,
        )  # fmt: skip
    spread = 0.0
    D, F = np.empty((q, q)), np.empty(q)
    grad_T[:, :] = 0.0
    for j in range(J):
        for i in range(q):
            for k in range(q):
                total, product = 0.0, 0.0
                for m in range(q):
                    total += Q[i, m, j] * C[m, k, j]
                    product += H[i, m, j] * H[k, m, j]
                D[i, k] = total
                spread += C[i, k, j] * product
        for i in range(q):
            for k in range(q):
                total = C[i, k, j]
                for m in range(q):
                    total -= S[i, m, j] * D[m, k]
                F[k] = scale * total - value_bar * S[i, k, j]
            for k in range(i + 1):
                total = 0.0
                for m in range(q):
                    total += F[m] * H[m, k, j]
                grad_T[i, k] += total
    return spread

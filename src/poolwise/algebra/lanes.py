"""Every group's small matrices side by side: the group is the last axis, so that one instruction serves several.

For group j with S = Z'Z, R = Z'(X, y), T the factor of the group covariance and s = sigma^2:

    M = s I + T'S T = L L',  V = L^-1,  B = T V',  H = B V = T M^-1,  Q = B B' = T M^-1 T'

Everything the marginal likelihood needs of the groups is log|M|, tr M^-1 and the sums of R'Q R. From
dM = ds I + dT'S T + T'S dT follow, for a symmetric C,

    d <C, Q> = 2 <(C - S Q C) H, dT> - <C, H H'> ds,      d log|M| = 2 <S H, dT> + tr M^-1 ds
"""

import math

import numba

SAFE = 1e60  # four numbers between 1/SAFE and SAFE can be multiplied without leaving the range of doubles
FAST = {"reassoc", "contract", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning


@numba.njit(cache=True, nogil=True, error_model="numpy")
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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _two(t00, t10, t11, s, S, H, Q, det):
    S00, S10, S11 = S[0, 0], S[1, 0], S[1, 1]
    H00, H01, H10, H11 = H[0, 0], H[0, 1], H[1, 0], H[1, 1]
    Q00, Q01, Q10, Q11 = Q[0, 0], Q[0, 1], Q[1, 0], Q[1, 1]
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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def group_inverses(T, s, S, H, Q, B, V):
    """Fill H and Q of every group; returns (sum of log|M|, sum of tr M^-1).

    Parameters
    ----------
    T, s : ndarray (q, q), float
        Lower factor of the group covariance, residual variance.
    S, H, Q, B, V : ndarray (q, q, J)
        Z'Z; what is filled; two for work.

    Returns
    -------
    tuple of float
        The logarithm is NaN where an M is not positive definite in floating point.
    """
    q, J = S.shape[1], S.shape[2]
    if q == 2:
        trace = _two(T[0, 0], T[1, 0], T[1, 1], s, S, H, Q, B[0, 0])
        return sum_of_logs(B[0, 0]), trace
    # S T in H, then M and its Cholesky factor in B, lower triangles.
    for i in range(q):
        for c in range(q):
            for j in range(J):
                H[i, c, j] = S[i, c, j] * T[c, c]
            for k in range(c + 1, q):
                for j in range(J):
                    H[i, c, j] += S[i, k, j] * T[k, c]
    logdet = 0.0
    for i in range(q):
        for c in range(i + 1):
            own = s if i == c else 0.0
            for j in range(J):
                B[i, c, j] = own + T[i, i] * H[i, c, j]
            for k in range(i + 1, q):
                for j in range(J):
                    B[i, c, j] += T[k, i] * H[k, c, j]
    for i in range(q):
        for c in range(i + 1):
            for k in range(c):
                for j in range(J):
                    B[i, c, j] -= B[i, k, j] * B[c, k, j]
            if c < i:
                for j in range(J):
                    B[i, c, j] *= V[c, c, j]
        for j in range(J):
            # The diagonal of V is that of L, inverted; the root of a negative number is NaN.
            B[i, i, j] = math.sqrt(B[i, i, j])
            V[i, i, j] = 1.0 / B[i, i, j]
        logdet += sum_of_logs(B[i, i])
    trace = 0.0
    for c in range(q):
        for i in range(c + 1, q):
            for j in range(J):
                V[i, c, j] = -B[i, c, j] * V[c, c, j]
            for k in range(c + 1, i):
                for j in range(J):
                    V[i, c, j] -= B[i, k, j] * V[k, c, j]
            for j in range(J):
                V[i, c, j] *= V[i, i, j]
        for i in range(c, q):
            for j in range(J):
                trace += V[i, c, j] * V[i, c, j]
    for i in range(q):
        for c in range(q):
            for j in range(J):
                B[i, c, j] = T[i, 0] * V[c, 0, j]
            for k in range(1, min(i, c) + 1):
                for j in range(J):
                    B[i, c, j] += T[i, k] * V[c, k, j]
    for i in range(q):
        for c in range(q):
            for j in range(J):
                H[i, c, j] = B[i, c, j] * V[c, c, j]
            for k in range(c + 1, q):
                for j in range(J):
                    H[i, c, j] += B[i, k, j] * V[k, c, j]
        for c in range(i + 1):
            for j in range(J):
                Q[i, c, j] = B[i, 0, j] * B[c, 0, j]
            for k in range(1, q):
                for j in range(J):
                    Q[i, c, j] += B[i, k, j] * B[c, k, j]
            if c < i:
                for j in range(J):
                    Q[c, i, j] = Q[i, c, j]
    return 2.0 * logdet, trace


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def weighted_products(weights, R, a, C):
    """Fill C, (q, q, J), with R_j weights R_j' over the columns of ``R`` (c, q, J); ``a`` is work of its shape."""
    columns, q, J = R.shape
    for c in range(columns):
        for i in range(q):
            for j in range(J):
                a[c, i, j] = weights[c, 0] * R[0, i, j]
            for e in range(1, columns):
                for j in range(J):
                    a[c, i, j] += weights[c, e] * R[e, i, j]
    for i in range(q):
        for k in range(i + 1):
            for j in range(J):
                C[i, k, j] = a[0, i, j] * R[0, k, j]
            for c in range(1, columns):
                for j in range(J):
                    C[i, k, j] += a[c, i, j] * R[c, k, j]
            if k < i:
                for j in range(J):
                    C[k, i, j] = C[i, k, j]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def _pull_back_two(scale, value_bar, S, H, Q, C, grad_T):
    S00, S10, S11 = S[0, 0], S[1, 0], S[1, 1]
    H00, H01, H10, H11 = H[0, 0], H[0, 1], H[1, 0], H[1, 1]
    Q00, Q10, Q11 = Q[0, 0], Q[1, 0], Q[1, 1]
    C00, C10, C11 = C[0, 0], C[1, 0], C[1, 1]
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


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def pull_back(scale, value_bar, S, H, Q, C, D, F, grad_T):
    """Gradient by T of sum_j (scale/2 <C_j, Q_j> - value_bar/2 log|M_j|), written; returns sum_j <C_j, H_j H_j'>.

    With F = scale (C - S Q C) - value_bar S the gradient is the lower triangle of the sum of F H; D and F are work,
    (q, q, J).
    """
    q, J = S.shape[1], S.shape[2]
    if q == 2:
        return _pull_back_two(scale, value_bar, S, H, Q, C, grad_T)
    spread = 0.0
    for i in range(q):
        for k in range(q):
            for j in range(J):
                D[i, k, j] = Q[i, 0, j] * C[0, k, j]
                F[i, k, j] = C[i, 0, j] * H[0, k, j]
            for m in range(1, q):
                for j in range(J):
                    D[i, k, j] += Q[i, m, j] * C[m, k, j]
                    F[i, k, j] += C[i, m, j] * H[m, k, j]
            for j in range(J):
                spread += F[i, k, j] * H[i, k, j]
    for i in range(q):
        for k in range(q):
            for j in range(J):
                F[i, k, j] = scale * C[i, k, j] - value_bar * S[i, k, j]
            for m in range(q):
                for j in range(J):
                    F[i, k, j] -= scale * S[i, m, j] * D[m, k, j]
        for k in range(i + 1):
            total = 0.0
            for m in range(q):
                for j in range(J):
                    total += F[i, m, j] * H[m, k, j]
            grad_T[i, k] = total
    return spread

"""The factor T of the group covariance from the sampler's coordinates, and the way back of its gradient.

sd_k = reference_k exp(zeta_k)     T = diag(sd) L     L from the canonical partial correlations tanh(c)
"""

import math

import numba

# Logs of ratios beyond this are a step of the sampler that went astray: squares and quotients under- and overflow soon
# after, and a callback of the sampler cannot raise an exception.
FARTHEST = 100.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def is_near(x):
    """Whether no coordinate is beyond ``FARTHEST``."""
    near = True
    for value in x:
        near = near and abs(value) <= FARTHEST
    return near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def build_factor(zeta, c, sd_reference, to_algebra, sizes, shapes, sd, z, left, correlation, T):
    """Fill sd, z, left, correlation and T; returns the log density of the correlations, Jacobian included.

    Parameters
    ----------
    zeta, c : ndarray (q,), (r,)
        Log sd ratios and inverse hyperbolic tangents of the partial correlations.
    sd_reference, to_algebra : ndarray (q,)
        Reference sds in the units of the data, and the factors to those of the algebra.
    sizes, shapes : ndarray (blocks,), (r,)
        Effects of each block, and Beta shapes of the partial correlations under LKJ priors, unnormalised.
    sd, z, left : ndarray (q,), (r,), (r,)
        Filled: sds in the units of the data, partial correlations, what is left of each row's length.
    correlation, T : ndarray (q, q)
        Filled: the lower factor of the correlations, zeros elsewhere, and T in the algebra's units.
    """
    value, index, start = 0.0, 0, 0
    correlation[:, :] = 0.0
    for block in range(len(sizes)):
        size = int(sizes[block])
        for row in range(size):
            rest = 1.0
            for column in range(row):
                z[index] = math.tanh(c[index])
                left[index] = math.sqrt(rest)
                correlation[start + row, start + column] = z[index] * left[index]
                # log(1 - tanh(c)^2) without cancellation.
                size_of = abs(c[index])
                log_one_minus = 2 * (math.log(2.0) - size_of - math.log1p(math.exp(-2 * size_of)))
                value += shapes[index] * log_one_minus
                rest *= math.exp(log_one_minus)
                index += 1
            correlation[start + row, start + row] = math.sqrt(rest)
        start += size
    for i in range(len(zeta)):
        sd[i] = sd_reference[i] * math.exp(zeta[i])
        for k in range(len(zeta)):
            T[i, k] = sd[i] * to_algebra[i] * correlation[i, k]
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pull_factor(grad_T, T, sd, to_algebra, sizes, shapes, z, left, correlation, grad_zeta, grad_c):
    """Gradients by zeta and c, written, of the log density that ``build_factor`` returns plus a function of T.

    ``grad_T`` (q, q) is that function's gradient, its lower triangle.
    """
    for k in range(len(sd)):
        grad_zeta[k] = 0.0
        for m in range(k + 1):
            grad_zeta[k] += grad_T[k, m] * T[k, m]
    # Each partial correlation scales its own entry and shrinks those to its right.
    index, start = 0, 0
    for block in range(len(sizes)):
        size = int(sizes[block])
        for row in range(start, start + size):
            scale = sd[row] * to_algebra[row]
            for column in range(start, row):
                right = 0.0
                for m in range(column + 1, row + 1):
                    right += grad_T[row, m] * scale * correlation[row, m]
                own = grad_T[row, column] * scale * left[index] * (1.0 - z[index] * z[index])
                grad_c[index] = own - z[index] * right - 2.0 * z[index] * shapes[index]
                index += 1
        start += size

"""Log densities of all rows of a likelihood: loops that a compiler turns into vector instructions.

A row at a time, most of a logistic row went into mispredicted branches and two calls of libm; side by side a row costs
a few nanoseconds.
"""

import math

import numba
import numpy as np

from poolwise.algebra.likelihoods import BINOMIAL, LOGIT, POISSON, row_density

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.0 / math.log(2.0), 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding and taking it away leaves the nearest integer
_FAR = 700.0
_AT_ONCE = 512  # numbers in (1, 2] whose product cannot overflow
_FAST = {"reassoc", "contract", "nsz"}


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def exponentials(x, out, bits):
    """Fill out (n,) with exp(x), arguments beyond 700 taken as 700, to a unit in the last place by vector instructions.

    ``bits`` is work, integers (n,). The argument is a multiple of log 2, taken away in two parts (Cody & Waite, 1980),
    and a rest below 0.35, where fourteen terms of the series are exact to the last digit.
    """
    powers = bits.view(np.float64)
    for i in range(len(x)):
        z = min(max(x[i], -_FAR), _FAR)
        k = (z * _LOG2E + _ROUND) - _ROUND
        r = (z - k * _LN2_HIGH) - k * _LN2_LOW
        p = r / 6227020800.0 + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        out[i] = p * r + 1.0
        bits[i] = (np.int64(k) + 1023) << 52
    for i in range(len(x)):
        out[i] *= powers[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def row_densities(code, link, y, trials, weight, eta, own, own_bar, slopes, work, bits):
    """Weighted sum of the rows' log densities; fills their slopes by eta (n,) and adds to the cotangents of ``own``.

    The arguments are those of :func:`~poolwise.algebra.likelihoods.row_density` for all rows; ``work`` and ``bits``
    are (n,), of floats and integers.
    """
    if code == BINOMIAL and link == LOGIT:
        return _logistic(y, trials, weight, eta, slopes, work, bits)
    if code == POISSON:
        return _poisson(y, trials, weight, eta, slopes, work, bits)
    value = 0.0
    for i in range(len(eta)):
        logp, slope, _ = row_density(code, link, y[i], trials[i], eta[i], own, own_bar, weight[i], False)
        value += weight[i] * logp
        slopes[i] = weight[i] * slope
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _poisson(y, trials, weight, eta, slopes, means, bits):
    exponentials(eta, means, bits)
    value = 0.0
    for i in range(len(eta)):
        mean = trials[i] * means[i]
        value += weight[i] * (y[i] * eta[i] - mean)
        slopes[i] = weight[i] * (y[i] - mean)
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _logistic(y, trials, weight, eta, slopes, small, bits):
    n = len(eta)
    for i in range(n):
        slopes[i] = -abs(eta[i])
    exponentials(slopes, small, bits)
    value, single = 0.0, 0.0
    for i in range(n):
        # 1 / (1 + exp(-|eta|)) is p, or 1 - p on the left.
        likely = 1.0 / (1.0 + small[i])
        p = likely if eta[i] > 0.0 else small[i] * likely
        value += weight[i] * (y[i] * eta[i] - trials[i] * max(eta[i], 0.0))
        slopes[i] = weight[i] * (y[i] - trials[i] * p)
        single += 1.0 if weight[i] * trials[i] == 1.0 else 0.0
    if single < n:
        for i in range(n):
            value -= weight[i] * trials[i] * math.log1p(small[i])
        return value
    # One logarithm serves many rows of one trial. Next to 1 the sum would lose what log1p keeps, at most 1e-16 a row.
    for first in range(0, n, _AT_ONCE):
        product = 1.0
        for i in range(first, min(first + _AT_ONCE, n)):
            product *= 1.0 + small[i]
        value -= math.log(product)
    return value

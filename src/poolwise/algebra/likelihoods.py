"""Log density of one row by its linear predictor, for the families that the whitened form evaluates itself.

``row_density`` returns the value, its slope, and the expected information, which is the weight of a row in the Laplace
approximation. Terms that the linear predictor does not move are summed over all rows apart: ``own_density`` has those
of the family's own parameters, one logarithm of a gamma function for each distinct response, ``constants`` the rest.
"""

import math
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]

BINOMIAL, POISSON, NEGATIVE_BINOMIAL, GAMMA, BETA, STUDENT, CUMULATIVE, EXPONENTIAL, WEIBULL, NORMAL = range(10)
LOGIT, PROBIT, CLOGLOG, LOG, IDENTITY = range(5)
_FAMILIES = {
    ("bernoulli", "logit"): (BINOMIAL, LOGIT),
    ("bernoulli", "probit"): (BINOMIAL, PROBIT),
    ("bernoulli", "cloglog"): (BINOMIAL, CLOGLOG),
    ("binomial", "logit"): (BINOMIAL, LOGIT),
    ("binomial", "probit"): (BINOMIAL, PROBIT),
    ("binomial", "cloglog"): (BINOMIAL, CLOGLOG),
    ("poisson", "log"): (POISSON, LOG),
    ("negativebinomial", "log"): (NEGATIVE_BINOMIAL, LOG),
    ("gamma", "log"): (GAMMA, LOG),
    ("exponential", "log"): (EXPONENTIAL, LOG),
    ("weibull", "log"): (WEIBULL, LOG),
    ("beta", "logit"): (BETA, LOGIT),
    ("t", "identity"): (STUDENT, IDENTITY),
    ("gaussian", "identity"): (NORMAL, IDENTITY),
    ("cumulative", "logit"): (CUMULATIVE, LOGIT),
    ("cumulative", "probit"): (CUMULATIVE, PROBIT),
    ("cumulative", "cloglog"): (CUMULATIVE, CLOGLOG),
}
# Rows with the same linear predictor add up to one row of these.
SUMMABLE = (BINOMIAL, POISSON)
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
# Beyond this distance a linear predictor gives probabilities that round to 0 or 1 under every link.
_FAR = 700.0


def density_code(family: str, link: str) -> tuple[int, int] | None:
    """Codes of a family and link, or None where the kernel has none."""
    return _FAMILIES.get((family, link))


def constants(code: int, y: Array, trials: Array) -> Array:
    """The terms (n,) of each row's log density that no parameter moves."""
    if code == BINOMIAL:
        return gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)
    if code in (POISSON, NEGATIVE_BINOMIAL):
        return -gammaln(y + 1)
    if code in (GAMMA, WEIBULL):
        return -np.log(y)
    if code == BETA:
        return -np.log(y) - np.log1p(-y)
    if code in (STUDENT, NORMAL):
        return np.full(len(y), -_LOG_SQRT_2PI if code == NORMAL else 0.0)
    return np.zeros(len(y))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def prepare(code, own):
    """Fill the place behind the family's own parameters with what every row of a Weibull response needs of them."""
    if code == WEIBULL:
        own[1] = math.lgamma(1.0 + 1.0 / own[0])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def own_density(code, own, own_bar, distinct, counts):
    """The terms of all rows that only the family's own parameters move; completes their cotangents.

    Parameters
    ----------
    code : int
        From :func:`density_code`.
    own, own_bar : ndarray
        Parameters, after :func:`prepare`, and their cotangents, to which every row has added.
    distinct, counts : ndarray
        Distinct responses and how many rows have each, by weight; one entry serves where the response does not matter.
    """
    value = 0.0
    if code == NEGATIVE_BINOMIAL:
        shape = own[0]
        base, base_slope = math.lgamma(shape), digamma(shape)
        for i in range(len(distinct)):
            value += counts[i] * (math.lgamma(distinct[i] + shape) - base)
            own_bar[0] += counts[i] * (digamma(distinct[i] + shape) - base_slope)
    elif code == GAMMA:
        shape = own[0]
        value = counts.sum() * (shape * math.log(shape) - math.lgamma(shape))
        own_bar[0] += counts.sum() * (math.log(shape) + 1.0 - digamma(shape))
    elif code == WEIBULL:
        value = counts.sum() * math.log(own[0])
        own_bar[0] += counts.sum() / own[0] - own_bar[1] * digamma(1.0 + 1.0 / own[0]) / (own[0] * own[0])
    elif code == STUDENT:
        sigma, nu = own[0], own[1]
        half = 0.5 * (nu + 1.0)
        constant = math.lgamma(half) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu * math.pi) - math.log(sigma)
        value = counts.sum() * constant
        own_bar[0] -= counts.sum() / sigma
        own_bar[1] += 0.5 * counts.sum() * (digamma(half) - digamma(0.5 * nu) - 1.0 / nu)
    elif code == NORMAL:
        value = -counts.sum() * math.log(own[0])
        own_bar[0] -= counts.sum() / own[0]
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def digamma(x):
    """Derivative of lgamma for x > 0; asymptotic series after the recurrence, to about 1e-13."""
    total = 0.0
    while x < 10.0:
        total -= 1.0 / x
        x += 1.0
    inverse = 1.0 / (x * x)
    series = inverse * (
        1 / 12
        - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse * (1 / 132 - inverse * 691 / 32760))))
    )
    return total + math.log(x) - 0.5 / x - series


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _log_normal_cdf(x):
    """Log Phi(x) and phi(x) / Phi(x), by the asymptotic series far out on the left."""
    if x > -30.0:
        below = 0.5 * math.erfc(-x / math.sqrt(2.0))
        value = math.log(below)
        return value, math.exp(-0.5 * x * x - _LOG_SQRT_2PI - value)
    inverse = 1.0 / (x * x)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse))
    return -0.5 * x * x - _LOG_SQRT_2PI - math.log(-x) + math.log(series), -x / series


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _log_probability(link, eta):
    """Log p, log(1 - p) and their slopes by eta, for probit and cloglog."""
    if link == PROBIT:
        below, slope = _log_normal_cdf(eta)
        above, other = _log_normal_cdf(-eta)
        return below, above, slope, -other
    # cloglog: 1 - p = exp(-exp(eta)).
    rate = math.exp(min(eta, _FAR))
    if rate < 1e-12:
        return eta, -rate, 1.0, -rate
    event = -math.expm1(-rate)
    return math.log(event), -rate, rate * math.exp(-rate) / event, -rate


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cdf(link, x):
    """F(x) and f(x) of the standard distribution of a link."""
    if link == LOGIT:
        small = math.exp(-abs(x))
        p = (1.0 if x > 0 else small) / (1.0 + small)
        return p, small / ((1.0 + small) * (1.0 + small))
    if link == PROBIT:
        return 0.5 * math.erfc(-x / math.sqrt(2.0)), math.exp(-0.5 * x * x - _LOG_SQRT_2PI)
    rate = math.exp(min(x, 50.0))
    return -math.expm1(-rate), rate * math.exp(-rate)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(link, has_low, low, has_high, high):
    """F(high) - F(low), from the tail where the difference keeps its digits, and the densities at both ends."""
    density_low, density_high = 0.0, 0.0
    if link == CLOGLOG:
        # The upper tail is exp(-exp(x)), the lower 1 - exp(-exp(x)).
        rate_low = math.exp(min(low, 50.0)) if has_low else 0.0
        rate_high = math.exp(min(high, 50.0)) if has_high else math.inf
        if has_low:
            density_low = rate_low * math.exp(-rate_low)
        if has_high:
            density_high = rate_high * math.exp(-rate_high)
        chance = math.exp(-rate_low) * -math.expm1(rate_low - rate_high)
        return chance, density_low, density_high
    below, above = 0.0, 1.0
    # Both links are symmetric: F(high) - F(low) = F(-low) - F(-high).
    flip = has_low and low > 0.0
    if has_low:
        below, density_low = _cdf(link, -low if flip else low)
    if has_high:
        above, density_high = _cdf(link, -high if flip else high)
    if flip:
        return below - (above if has_high else 0.0), density_low, density_high
    return above - below, density_low, density_high


@numba.njit(cache=True, nogil=True, error_model="numpy")
def row_density(code, link, y, trials, eta, own, own_bar, weight, informed):
    """Value, slope and expected information of one row by eta; adds weight times the slopes by ``own`` to ``own_bar``.

    Parameters
    ----------
    code, link : int
        From :func:`density_code`.
    y, trials : float
        Response; trials of a binomial one, rows that a Poisson one sums, logarithm of a gamma or Weibull one.
    eta : float
        Linear predictor.
    own : ndarray (k + 1,)
        The family's further parameters after :func:`prepare`, a spare place behind them: alpha, kappa, (sigma, nu),
        thresholds.
    own_bar : ndarray
        Cotangents of these.
    weight : float
        How often the row counts.
    informed : bool
        Whether the information is wanted; where it takes longer than the value it is 0 otherwise.

    Returns
    -------
    value, slope, information : float
    """
    if code == BINOMIAL and link == LOGIT:
        small = math.exp(-abs(eta))
        p = 1.0 / (1.0 + small) if eta > 0 else small / (1.0 + small)
        return y * eta - trials * (max(eta, 0.0) + math.log1p(small)), y - trials * p, trials * p * (1.0 - p)
    if code == BINOMIAL:
        event, other, up, down = _log_probability(link, eta)
        value, slope = 0.0, 0.0
        # Written so that 0 times the log of 0 is 0.
        if y > 0.0:
            value += y * event
            slope += y * up
        if y < trials:
            value += (trials - y) * other
            slope += (trials - y) * down
        # p' ^ 2 / (p (1 - p)) = -(p'/p) (-p'/(1 - p)).
        return value, slope, -trials * up * down
    if code == POISSON:
        mean = math.exp(min(eta, _FAR))
        return y * eta - trials * mean, y - trials * mean, trials * mean
    if code == NEGATIVE_BINOMIAL:
        shape = own[0]
        log_shape = math.log(shape)
        ahead = eta - log_shape
        small = math.exp(-abs(ahead))
        share = (1.0 if ahead > 0 else small) / (1.0 + small)  # mean / (mean + shape)
        rest = (small if ahead > 0 else 1.0) / (1.0 + small)
        log_rest = -max(ahead, 0.0) - math.log1p(small)
        own_bar[0] += weight * (log_rest + 1.0 - (y + shape) * rest / shape)
        return (shape + y) * log_rest + y * ahead, y - (y + shape) * share, shape * share
    if code == GAMMA:
        shape, logs = own[0], trials - eta
        ratio = math.exp(logs)
        own_bar[0] += weight * (logs - ratio)
        return shape * (logs - ratio), shape * (ratio - 1.0), shape
    if code == EXPONENTIAL:
        ratio = y * math.exp(-eta)
        return -eta - ratio, ratio - 1.0, 1.0
    if code == WEIBULL:
        # y has mean exp(eta): its scale is exp(eta) / Gamma(1 + 1 / shape), own[1] the logarithm of that divisor.
        shape, logs = own[0], trials - eta + own[1]
        power = math.exp(shape * logs)
        own_bar[0] += weight * (1.0 - power) * logs
        own_bar[1] += weight * (1.0 - power) * shape
        return shape * logs - power, shape * (power - 1.0), shape * shape
    if code == BETA:
        total = own[0]
        mean = 1.0 / (1.0 + math.exp(-eta))
        mean = min(max(mean, 1e-15), 1.0 - 1e-15)
        a, b = mean * total, (1.0 - mean) * total
        log_y, log_other = math.log(y), math.log1p(-y)
        value = math.lgamma(total) - math.lgamma(a) - math.lgamma(b) + a * log_y + b * log_other
        by_a, by_b = log_y - digamma(a), log_other - digamma(b)
        by_mean = total * (by_a - by_b)
        own_bar[0] += weight * (digamma(total) + mean * by_a + (1.0 - mean) * by_b)
        spread = mean * (1.0 - mean)
        information = 0.0
        if informed:
            # Trigamma by the slope of digamma is enough for a weight.
            for part in (a, b):
                step = 1e-4 * part
                information += (digamma(part + step) - digamma(part - step)) / (2.0 * step)
        return value, by_mean * spread, information * total * total * spread * spread
    if code == STUDENT:
        sigma, nu = own[0], own[1]
        z = (y - eta) / sigma
        square = z * z / nu
        log_inner = math.log1p(square)
        pull = (nu + 1.0) / nu * z / (1.0 + square)
        own_bar[0] += weight * pull * z / sigma
        own_bar[1] += weight * 0.5 * (pull * z / nu - log_inner)
        return -0.5 * (nu + 1.0) * log_inner, pull / sigma, (nu + 1.0) / (nu + 3.0) / (sigma * sigma)
    if code == NORMAL:
        z = (y - eta) / own[0]
        own_bar[0] += weight * z * z / own[0]
        return -0.5 * z * z, z / own[0], 1.0 / (own[0] * own[0])
    # Cumulative: P(level k) = F(threshold_k - eta) - F(threshold_(k-1) - eta).
    k, last = int(y), len(own) - 1
    chance, density_low, density_high = _between(link, k > 0, own[k - 1] - eta, k < last, own[k] - eta)
    chance = max(chance, 1e-300)
    slope_low, slope_high = density_low / chance, density_high / chance
    if k > 0:
        own_bar[k - 1] -= weight * slope_low
    if k < last:
        own_bar[k] += weight * slope_high
    information = 0.0
    before, density_before = 0.0, 0.0
    for level in range(last + 1 if informed else 0):
        if level < last:
            here, density = _cdf(link, own[level] - eta)
        else:
            here, density = 1.0, 0.0
        information += (density - density_before) ** 2 / max(here - before, 1e-12)
        before, density_before = here, density
    return math.log(chance), slope_low - slope_high, information


def names_of(family: str) -> Sequence[str]:
    """The further parameters in the order of ``own``."""
    return {
        "negativebinomial": ("alpha",),
        "gamma": ("alpha",),
        "weibull": ("alpha",),
        "beta": ("kappa",),
        "t": ("sigma", "nu"),
        "gaussian": ("sigma",),
        "cumulative": ("threshold",),
    }.get(family, ())

"""Joint priors: log densities of several parameters at once, as one numba function of numbers.

A joint prior is a list of sets of parameters, flat in one float array, so that the kernel serves any of them::

    [number of sets | set ... ]
    set = [kind, length of the set, coefficients m, sds k, latents r, four arguments,
           m coefficients as (position, scale), k sds as (position, scale), further numbers, r centres of the latents]

Latents are parameters that only the prior has; they are sampled on the real line, each from its centre. A scale is the
sd of the parameter's predictor, so that a coefficient times its scale is an effect of one sd; of a weight of a smooth
function, the squared frequency of its column.

References
----------
Decov: Goodrich, Gabry, Ali & Brilleman, rstanarm's covariance prior. ICCBeta: a beta prior on the intraclass
correlation. R2D2M2: Aguilar & Buerkner (2023), Electronic Journal of Statistics 17, 1711-1767. Horseshoe:
Piironen & Vehtari (2017), Electronic Journal of Statistics 11, 5018-5051, equations 2.6 to 3.12. Smooth functions:
Riutort-Mayol, Buerkner, Andersen, Solin & Vehtari (2023), Statistics and Computing 33, 17, equations 2 to 8.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from poolwise.priors.density import HALF, STUDENT, WIDTH, log_constant, prior_logpdf

Array = NDArray[np.float64]

DECOV, ICC_BETA, R2D2M2, HORSESHOE, SMOOTH = range(5)
SET_HEADER = 9
# Log variances of weights are no lower: theirs is far below what adds anything to the function.
LEAST_LOG = -200.0


@dataclass(frozen=True)
class JointSet:
    """Parameters that share one joint prior.

    Parameters
    ----------
    kind : int
        DECOV, ICC_BETA, R2D2M2, HORSESHOE or SMOOTH.
    arguments : tuple of float
        Up to four numbers: (concentration, shape, scale), (alpha, beta, nu, sigma), (alpha, beta of R2,
        concentration), (df, global scale, slab scale, slab df), (degrees of freedom of a Matern kernel or 0, number of
        predictors, centre of the log sd, of the log length scale).
    coefficients, sds : tuple of (int, float)
        Positions among the coefficients and among the group sds, each with its predictor's sd.
    further : tuple of float
        Of a smooth function, the coded priors of its sd and of its length scale.
    """

    kind: int
    arguments: tuple[float, ...]
    coefficients: tuple[tuple[int, float], ...] = ()
    sds: tuple[tuple[int, float], ...] = ()
    further: tuple[float, ...] = ()

    @property
    def centres(self) -> tuple[float, ...]:
        """Where each latent is centred: about its prior median."""
        if self.kind == R2D2M2:
            alpha, beta = self.arguments[:2]
            share = alpha / beta / (len(self.coefficients) + len(self.sds))
            return (math.log(share),) * len(self.coefficients)
        if self.kind == HORSESHOE:
            _, global_scale, slab_scale, _ = self.arguments
            return (*(0.0 for _ in self.coefficients), math.log(global_scale), math.log(slab_scale))
        if self.kind == SMOOTH:
            return self.arguments[2:]
        return ()

    def encode(self) -> list[float]:
        """The numbers of the set."""
        arguments = [*self.arguments, *(0.0,) * (4 - len(self.arguments))]
        members = [float(number) for pair in (*self.coefficients, *self.sds) for number in pair]
        members += self.further
        length = SET_HEADER + len(members) + len(self.centres)
        counts = [len(self.coefficients), len(self.sds), len(self.centres)]
        return [self.kind, length, *counts, *arguments, *members, *self.centres]


def encode(sets: Sequence[JointSet]) -> Array:
    """All sets as the flat array that :func:`joint_logpdf` reads."""
    return np.array([len(sets), *(number for one in sets for number in one.encode())], dtype=np.float64)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def joint_logpdf(joint, coefficient, sd, sigma, latent, coefficient_bar, sd_bar, latent_bar):
    """Log density of all sets, and its derivative by sigma; the other derivatives are added to the three last arrays.

    Parameters
    ----------
    joint : ndarray
        From :func:`encode`.
    coefficient, sd : ndarray (p,), (q,)
        Common effects (intercept at centred predictors) and group sds.
    sigma : float
        Residual standard deviation.
    latent : ndarray (r,)
        Latents, from their centres.
    coefficient_bar, sd_bar, latent_bar : ndarray (p,), (q,), (r,)
        Derivatives are added here.

    Returns
    -------
    tuple of float
        Natural log, and derivative by sigma.
    """
    value, sigma_bar = 0.0, 0.0
    at, first = 1, 0
    for _ in range(int(joint[0])):
        kind, length, r = int(joint[at]), int(joint[at + 1]), int(joint[at + 4])
        one = joint[at : at + length]
        own, own_bar = latent[first : first + r], latent_bar[first : first + r]
        if kind == DECOV:
            more, slope = _decov(one, sd, sigma, sd_bar)
        elif kind == ICC_BETA:
            more, slope = _icc_beta(one, sd, sigma, sd_bar)
        elif kind == R2D2M2:
            more, slope = _r2d2m2(one, coefficient, sd, sigma, own, coefficient_bar, sd_bar, own_bar)
        elif kind == HORSESHOE:
            more, slope = _horseshoe(one, coefficient, sigma, own, coefficient_bar, own_bar)
        else:
            more, slope = _smooth(one, coefficient, own, coefficient_bar, own_bar), 0.0
        value += more
        sigma_bar += slope
        at += length
        first += r
    return value, sigma_bar


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _decov(one, sd, sigma, sd_bar):
    """Sds of a block: sd_k = sigma tau sqrt(k pi_k), tau ~ Gamma(shape, 1 / scale), pi ~ Dirichlet(concentration)."""
    k, concentration, shape, scale = int(one[3]), one[5], one[6], one[7]
    sums = 0.0
    for i in range(k):
        sums += (sd[int(one[SET_HEADER + 2 * i])] / sigma) ** 2
    tau = math.sqrt(sums / k)
    value = (shape - 1) * math.log(tau) - tau / scale - math.lgamma(shape) - shape * math.log(scale)
    value += -math.log(2 * k * tau) + math.lgamma(k * concentration) - k * math.lgamma(concentration)
    value -= (k * concentration - 1) * math.log(sums)
    by_sum = ((shape - 2) / tau - 1 / scale) / (2 * k * tau) - (k * concentration - 1) / sums
    slope = 0.0
    for i in range(k):
        at = int(one[SET_HEADER + 2 * i])
        v = (sd[at] / sigma) ** 2
        value += (concentration - 1) * math.log(v) + math.log(2 * v / sd[at])
        # log(2 v / sd) brings 1 / v and -1 / sd.
        by_v = by_sum + concentration / v
        sd_bar[at] += by_v * 2 * v / sd[at] - 1 / sd[at]
        slope -= by_v * 2 * v / sigma
    return value, slope


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _half_t(scale, nu, x):
    return prior_logpdf(STUDENT + HALF, 0.0, scale, nu, log_constant(STUDENT + HALF, 0.0, scale, nu), x)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _icc_beta(one, sd, sigma, sd_bar):
    """Total sd ~ half-t(nu, s), share of the groups in the variance ~ Beta, split evenly at random among several."""
    k, alpha, beta, nu, scale = int(one[3]), one[5], one[6], one[7], one[8]
    groups = 0.0
    for i in range(k):
        groups += sd[int(one[SET_HEADER + 2 * i])] ** 2
    residual = sigma * sigma
    total = math.sqrt(groups + residual)
    variance = groups + residual
    value, slope = _half_t(scale, nu, total)
    value += -math.log(2 * total) - math.log(variance) + math.lgamma(k) - (k - 1) * math.log(groups)
    value += (alpha - 1) * math.log(groups / variance) + (beta - 1) * math.log(residual / variance)
    value += math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta) + math.log(2 * sigma)
    common = slope / (2 * total) - 0.5 / variance - (alpha + beta - 1) / variance
    by_groups = common + (alpha - 1) / groups - (k - 1) / groups
    for i in range(k):
        at = int(one[SET_HEADER + 2 * i])
        value += math.log(2 * sd[at])
        sd_bar[at] += by_groups * 2 * sd[at] + 1 / sd[at]
    return value, (common + (beta - 1) / residual) * 2 * sigma + 1 / sigma


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _r2d2m2(one, coefficient, sd, sigma, latent, coefficient_bar, sd_bar, latent_bar):
    """Explained over residual variance t = R2 / (1 - R2), R2 ~ Beta, shared by Dirichlet among coefficients and sds.

    Shares of coefficients are latent, w_i = exp(latent): b_i ~ Normal(0, sqrt(w_i) sigma / scale); those of sds are
    v_i = (sd scale / sigma)^2.
    """
    m, k, alpha, beta, concentration = int(one[2]), int(one[3]), one[5], one[6], one[7]
    sds, centres = SET_HEADER + 2 * m, SET_HEADER + 2 * m + 2 * k
    members = m + k
    total = 0.0
    for i in range(m):
        total += math.exp(latent[i] + one[centres + i])
    for i in range(k):
        total += (sd[int(one[sds + 2 * i])] * one[sds + 2 * i + 1] / sigma) ** 2
    value = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    value += math.lgamma(members * concentration) - members * math.lgamma(concentration)
    value += (alpha - members * concentration) * math.log(total) - (alpha + beta) * math.log1p(total)
    by_total = (alpha - members * concentration) / total - (alpha + beta) / (1 + total)
    slope = 0.0
    for i in range(m):
        at, scale = int(one[SET_HEADER + 2 * i]), one[SET_HEADER + 2 * i + 1]
        log_w = latent[i] + one[centres + i]
        w = math.exp(log_w)
        spread = math.exp(0.5 * log_w) * sigma / scale
        z = coefficient[at] / spread
        # The density of w in its log brings + log w.
        value += concentration * log_w - 0.5 * z * z - math.log(spread) - 0.5 * math.log(2 * math.pi)
        latent_bar[i] += by_total * w + concentration - 0.5 + 0.5 * z * z
        coefficient_bar[at] -= z / spread
        slope += (z * z - 1) / sigma
    for i in range(k):
        at, scale = int(one[sds + 2 * i]), one[sds + 2 * i + 1]
        v = (sd[at] * scale / sigma) ** 2
        value += (concentration - 1) * math.log(v) + math.log(2 * v / sd[at])
        by_v = by_total + concentration / v
        sd_bar[at] += by_v * 2 * v / sd[at] - 1 / sd[at]
        slope -= by_v * 2 * v / sigma
    return value, slope


# The product of three scales may underflow: an infinite density, which is rejected, in place of an exception.
@numba.njit(cache=True, nogil=True, error_model="numpy")
def _horseshoe(one, coefficient, sigma, latent, coefficient_bar, latent_bar):
    """b_i ~ Normal(0, s_i / scale), s_i^2 = A c^2 / (A + c^2), A = (tau lambda_i)^2, tau = sigma exp(latent).

    lambda_i ~ half-t(df, 1), tau / sigma ~ half-Cauchy(global scale), c^2 ~ InverseGamma(nu / 2, nu slab^2 / 2).
    """
    m, df, global_scale, slab_scale, slab_df = int(one[2]), one[5], one[6], one[7], one[8]
    centres = SET_HEADER + 2 * m
    log_tau, log_c = latent[m] + one[centres + m], latent[m + 1] + one[centres + m + 1]
    relative, c2 = math.exp(log_tau), math.exp(2 * log_c)
    value, own = _half_t(global_scale, 1.0, relative)
    value += log_tau
    by_tau, by_c, slope = own * relative + 1.0, 0.0, 0.0
    shape, rate = 0.5 * slab_df, 0.5 * slab_df * slab_scale**2
    value += shape * math.log(rate) - math.lgamma(shape) - 2 * shape * log_c - rate / c2 + math.log(2.0)
    by_c += -2 * shape + 2 * rate / c2
    for i in range(m):
        at, scale = int(one[SET_HEADER + 2 * i]), one[SET_HEADER + 2 * i + 1]
        log_lambda = latent[i] + one[centres + i]
        local = math.exp(log_lambda)
        density, own = _half_t(1.0, df, local)
        a = (sigma * relative * local) ** 2
        variance = a * c2 / (a + c2) / scale**2
        squared = coefficient[at] ** 2 / variance
        value += density + log_lambda - 0.5 * squared - 0.5 * math.log(2 * math.pi * variance)
        by_log_variance, free = 0.5 * (squared - 1), c2 / (a + c2)
        latent_bar[i] += own * local + 1.0 + by_log_variance * 2 * free
        by_tau += by_log_variance * 2 * free
        by_c += by_log_variance * 2 * (1 - free)
        slope += by_log_variance * 2 * free / sigma
        coefficient_bar[at] -= coefficient[at] / variance
    latent_bar[m] += by_tau
    latent_bar[m + 1] += by_c
    return value, slope


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_spectral(df, d, square, log_sd, log_length):
    """Log spectral density of a kernel of one length scale; its derivatives by the logs of sd and length scale.

    Parameters
    ----------
    df : float
        3 or 5 of a Matern kernel of smoothness 3/2 or 5/2, 0 of an exponentiated quadratic one.
    d : float
        Number of predictors.
    square : float
        Sum of the squares of the frequencies.
    log_sd, log_length : float

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, equations 4.11 and 4.15.
    """
    steep = square * math.exp(2 * log_length)
    value = 2 * log_sd + d * log_length
    if df == 0:
        value += 0.5 * d * math.log(2 * math.pi) - 0.5 * steep
        by_length = d - steep
    else:
        value += 0.5 * d * math.log(4 * math.pi) + math.lgamma(0.5 * (df + d)) - math.lgamma(0.5 * df)
        value += 0.5 * df * math.log(df) - 0.5 * (df + d) * math.log(df + steep)
        by_length = d - (df + d) * steep / (df + steep)
    if not value > LEAST_LOG:
        return LEAST_LOG, 0.0, 0.0
    return value, 2.0, by_length


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smooth(one, coefficient, latent, coefficient_bar, latent_bar):
    """Weights w_j ~ Normal(0, S(omega_j)) of a smooth function, S by the latent logs of its sd and length scale."""
    m, df, d = int(one[2]), one[5], one[6]
    codes = SET_HEADER + 2 * m
    centres = codes + 2 * WIDTH
    value = 0.0
    for k in range(2):
        row = one[codes + k * WIDTH : codes + (k + 1) * WIDTH]
        at = math.exp(latent[k] + one[centres + k])
        logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], at)
        # The density of a log brings + log.
        value += logp + latent[k] + one[centres + k]
        latent_bar[k] += slope * at + 1.0
    for i in range(m):
        at, square = int(one[SET_HEADER + 2 * i]), one[SET_HEADER + 2 * i + 1]
        log_s, by_sd, by_length = log_spectral(df, d, square, latent[0] + one[centres], latent[1] + one[centres + 1])
        precision = math.exp(-log_s)
        squared = coefficient[at] * coefficient[at] * precision
        value -= 0.5 * (math.log(2 * math.pi) + log_s + squared)
        coefficient_bar[at] -= coefficient[at] * precision
        latent_bar[0] += 0.5 * (squared - 1) * by_sd
        latent_bar[1] += 0.5 * (squared - 1) * by_length
    return value

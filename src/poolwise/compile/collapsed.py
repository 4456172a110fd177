"""The collapsed log posterior over (b, sds, correlations, sigma) as one numba kernel, data and priors as numbers.

The unconstrained vector is ``[xi (p) | log sd ratios (q) | atanh partial correlations | log sigma ratio | latents]``;
latents are what a joint prior has beside the parameters (priors/joint.py).

    b     = its conditional mean given (T, sigma, latents) + L^-T xi     see algebra/whitened.py
    sd_k  = reference_k exp(zeta_k)   and T = diag(sd) L, L from the canonical partial correlations tanh(c)
    sigma = reference exp(tau)

All numbers travel in one flat float array, so the compiled kernel serves every model of any size.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from scipy.special import gammaln

from poolwise.algebra.basis import Basis
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.group_factor import build_factor, is_near, pull_factor
from poolwise.algebra.scratch import borrowed
from poolwise.algebra.theta import BlockStructure, correlation_factor, lkj_shapes, lower_factor
from poolwise.algebra.whitened import backward, by_lane, factor_and_center, forward, unwhiten, work_size
from poolwise.algebra.whitened_prior import pull_precision
from poolwise.priors.density import WIDTH, prior_logpdf
from poolwise.priors.joint import JointSet, encode, joint_logpdf
from poolwise.priors.joint_precision import fill_precisions, normal_terms, precisions_of_draws, pull_precisions

HEADER = 16  # numbers at the start of the packed array: sizes first, then scalars
LENGTH = 11  # where the header holds the length of the whole
WORK = 12  # and that of the work array
BLOCK = 4_000_000  # numbers in the precisions of as many draws as are whitened back at once


@dataclass(frozen=True)
class Reference:
    """Where the sampler's coordinates are centred: they need only be near.

    Parameters
    ----------
    precision : ndarray (p, p)
        Of the priors of the common effects, in the coordinates of the algebra.
    linear : ndarray (p,)
        The same precision times their prior mean.
    sd : ndarray (q,)
        Group standard deviations in the coordinates of the algebra, units of the data.
    sigma : float
        Residual standard deviation, units of the data.
    """

    precision: Array
    linear: Array
    sd: Array
    sigma: float


@dataclass(frozen=True)
class Collapsed:
    """A Gaussian model with its group-specific effects integrated out, ready to be evaluated.

    Parameters
    ----------
    stats : CrossProducts
        Sufficient statistics in the coordinates of ``basis``.
    basis : Basis
        The way back to the units of the data.
    structure : BlockStructure
        Which effects are correlated.
    eta : tuple of float
        LKJ parameter of each block.
    reference : Reference
        Centre and scale of the unconstrained coordinates.
    joint : tuple of JointSet
        Parameters that share a joint prior.
    """

    stats: CrossProducts
    basis: Basis
    structure: BlockStructure
    eta: tuple[float, ...]
    reference: Reference
    joint: tuple[JointSet, ...] = ()

    @property
    def size(self) -> int:
        """Length of the unconstrained vector."""
        return self.stats.p + self.structure.q + self.structure.n_correlations + 1 + self.n_latents

    @property
    def n_latents(self) -> int:
        """How many parameters only the joint priors have."""
        return sum(len(one.centres) for one in self.joint)

    def split(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """The parts xi, zeta, c and tau of unconstrained vectors (..., size)."""
        p, q, r = self.stats.p, self.structure.q, self.structure.n_correlations
        return x[..., :p], x[..., p : p + q], x[..., p + q : p + q + r], x[..., p + q + r]

    def constrain(self, x: Array) -> "Draws":
        """Parameters in the units of the data, and what the algebra needs, for unconstrained vectors (D, size)."""
        xi, zeta, c, tau = self.split(x)
        offset, matrix = self.basis.to_coefficients
        sd = self.reference.sd * np.exp(zeta)
        L = np.zeros((*x.shape[:-1], self.structure.q, self.structure.q))
        at = 0
        for start, size in zip(self.structure.starts, self.structure.sizes, strict=True):
            stop, count = start + size, size * (size - 1) // 2
            L[..., start:stop, start:stop] = correlation_factor(np.tanh(c[..., at : at + count]), size)
            at += count
        sigma = self.reference.sigma * np.exp(tau)
        T = (sd / self.basis.sd_scale)[..., None] * L
        s = (sigma / self.basis.y_scale) ** 2
        b = self._common_effects(xi, T, s, sigma, x[..., self.size - self.n_latents :])
        return Draws(b, T, s, offset + b @ matrix.T, lower_factor(self.basis.to_effects @ T), sigma)

    def _common_effects(self, xi: Array, T: Array, s: Array, sigma: Array, latents: Array) -> Array:
        P, d = self.reference.precision, self.reference.linear
        if not self.n_latents:
            return unwhiten(self.stats, P, d, xi, T, s)
        precisions = precisions_of_draws(encode(self.joint), sigma, np.ascontiguousarray(latents), self.stats.p)
        b, size = np.empty(xi.shape), max(1, BLOCK // self.stats.p**2)
        for start in range(0, len(xi), size):
            rows = slice(start, start + size)
            more, linear = normal_terms(precisions[rows], *self.basis.to_centred)
            b[rows] = unwhiten(self.stats, P + more, d + linear, xi[rows], T[rows], s[rows])
        return b


@dataclass(frozen=True)
class Draws:
    """Draws of the parameters: b, T, s in the coordinates of the algebra, the rest in the units of the data.

    ``group_factor`` (D, q, q) is T with the group intercepts at zero, as Bambi, brms and lme4 report them.
    """

    b: Array
    T: Array
    s: Array
    coefficients: Array
    group_factor: Array
    sigma: Array


def pack(model: Collapsed, coefficient_priors: Array, sd_priors: Array, sigma_prior: Array) -> Array:
    """All numbers of a model and its priors as one flat float64 array, the kernel's only argument beside x.

    Parameters
    ----------
    model : Collapsed
        The model.
    coefficient_priors, sd_priors, sigma_prior : ndarray (p, 5), (q, 5), (5,)
        Rows (kind, p1, p2, p3, constant) as from :func:`poolwise.priors.density.prior_code`; the coefficients' at
        centred predictors.

    Returns
    -------
    ndarray
    """
    stats, basis, structure, reference = model.stats, model.basis, model.structure, model.reference
    shapes = lkj_shapes(structure.sizes, model.eta)
    offset, matrix = basis.to_centred
    header = np.zeros(HEADER)
    header[:5] = stats.J, structure.q, stats.p, len(structure.sizes), structure.n_correlations
    header[5:9] = stats.n, stats.log_weights, reference.sigma, basis.y_scale
    header[9] = _log_jacobian(model, shapes)
    parts = [
        header,
        *by_lane(stats),
        reference.precision,
        reference.linear,
        offset,
        matrix,
        reference.sd,
        1.0 / basis.sd_scale,
        np.array(structure.sizes, dtype=float),
        shapes,
        coefficient_priors,
        sd_priors,
        sigma_prior,
        encode(model.joint),
    ]
    packed = np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)
    packed[LENGTH] = len(packed)
    p, q, r = stats.p, structure.q, structure.n_correlations
    follows = p * (p + 2) if model.n_latents else 0
    packed[WORK] = work_size(p, q, stats.J) + 3 * q * q + 2 * q + 2 * r + 4 * p + follows
    return packed


def _log_jacobian(model: Collapsed, shapes: Array) -> float:
    """Constants of the density over x: the linear map to coefficients, the units of y, the LKJ normalisations."""
    _, matrix = model.basis.to_centred
    _, logdet_matrix = np.linalg.slogdet(matrix)
    beta = gammaln(2 * shapes) - 2 * gammaln(shapes) - (2 * shapes - 1) * math.log(2)
    # The likelihood is of y in its own units: each counted row brings -log(y_scale).
    units = -model.stats.n * math.log(model.basis.y_scale)
    scales = np.log(model.reference.sd).sum() + math.log(model.reference.sigma)
    return float(logdet_matrix + beta.sum() + units + scales)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_posterior(x, packed, grad):
    """Log posterior density over the unconstrained vector x; writes its gradient.

    Returns NaN where the algebra breaks down in floating point, for the caller to reject.
    """
    if not is_near(x[int(packed[2]) :]):
        return math.nan
    # One allocation for all work, its owner used last: see ``borrowed``.
    work = np.empty(int(packed[WORK]) + 1)
    work[0] = _log_posterior(x, packed, grad, borrowed(work)[1:])
    return work[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _log_posterior(x, packed, grad, work):
    J, q, p = int(packed[0]), int(packed[1]), int(packed[2])
    n_blocks, n_corr = int(packed[3]), int(packed[4])
    n, log_weights, sigma_reference, y_scale = packed[5], packed[6], packed[7], packed[8]
    at = HEADER
    cross = packed[at : at + (p + 1) ** 2].reshape(p + 1, p + 1)
    at += (p + 1) ** 2
    S = packed[at : at + q * q * J].reshape(q, q, J)
    at += q * q * J
    R = packed[at : at + (p + 1) * q * J].reshape(p + 1, q, J)
    at += (p + 1) * q * J
    precision = packed[at : at + p * p].reshape(p, p)
    at += p * p
    linear = packed[at : at + p]
    at += p
    offset = packed[at : at + p]
    at += p
    matrix = packed[at : at + p * p].reshape(p, p)
    at += p * p
    sd_reference = packed[at : at + q]
    at += q
    to_algebra = packed[at : at + q]
    at += q
    sizes = packed[at : at + n_blocks]
    at += n_blocks
    shapes = packed[at : at + n_corr]
    at += n_corr
    coefficient_priors = packed[at : at + WIDTH * p].reshape(p, WIDTH)
    at += WIDTH * p
    sd_priors = packed[at : at + WIDTH * q].reshape(q, WIDTH)
    at += WIDTH * q
    sigma_prior = packed[at : at + WIDTH]
    joint = packed[at + WIDTH :]

    value = packed[9]
    grad[:] = 0.0

    at = work_size(p, q, J)
    algebra, rest_of_work = work[:at], work[at:]
    matrices = rest_of_work[: 3 * q * q].reshape(3, q, q)
    correlation, T, grad_T = matrices[0], matrices[1], matrices[2]
    at = 3 * q * q
    sd, sd_bar = rest_of_work[at : at + q], rest_of_work[at + q : at + 2 * q]
    sd_bar[:] = 0.0
    at += 2 * q
    z, left = rest_of_work[at : at + n_corr], rest_of_work[at + n_corr : at + 2 * n_corr]
    at += 2 * n_corr
    vectors = rest_of_work[at : at + 4 * p].reshape(4, p)
    b, b_bar, coefficient, coefficient_bar = vectors[0], vectors[1], vectors[2], vectors[3]
    b_bar[:] = 0.0

    # Parameters.
    zeta, c = x[p : p + q], x[p + q : p + q + n_corr]
    value += build_factor(zeta, c, sd_reference, to_algebra, sizes, shapes, sd, z, left, correlation, T)
    sigma = sigma_reference * math.exp(x[p + q + n_corr])
    s = (sigma / y_scale) ** 2

    # Latents of a joint prior set the precisions of the coefficients, and with them the coordinates.
    tau = p + q + n_corr
    latents = len(x) > tau + 1
    prior_precision = vectors[0]
    if latents:
        fixed, fixed_linear, more = precision, linear, rest_of_work[at + 4 * p :]
        prior_precision, linear, precision = more[:p], more[p : 2 * p], more[2 * p :].reshape(p, p)
        precision[:, :] = fixed
        linear[:] = fixed_linear
        fill_precisions(joint, sigma, x[tau + 1 :], prior_precision)
        for i in range(p):
            if prior_precision[i] > 0.0:
                for k in range(p):
                    weighted = prior_precision[i] * matrix[i, k]
                    linear[k] -= weighted * offset[i]
                    for m in range(p):
                        precision[k, m] += weighted * matrix[i, m]

    # Likelihood and common effects.
    xi, grad_xi = x[:p], grad[:p]
    value += forward(xi, T, s, n, log_weights, cross, S, R, precision, linear, algebra, b)
    if not math.isfinite(value):
        return math.nan

    # Priors of the coefficients at centred predictors.
    sigma_bar = 0.0
    for i in range(p):
        total = offset[i]
        for k in range(p):
            total += matrix[i, k] * b[k]
        coefficient[i] = total
        row = coefficient_priors[i]
        logp, coefficient_bar[i] = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], total)
        value += logp
    if joint[0] > 0:
        logp, sigma_bar = joint_logpdf(
            joint, coefficient, sd, sigma, x[tau + 1 :], coefficient_bar, sd_bar, grad[tau + 1 :]
        )
        value += logp
    for i in range(p):
        for k in range(p):
            b_bar[k] += coefficient_bar[i] * matrix[i, k]
    grad_s = backward(1.0, b_bar, xi, s, n, S, R, algebra, b, grad_xi, grad_T)
    if latents:
        L, center = factor_and_center(algebra, p, q, J)
        for i in range(p):
            if prior_precision[i] > 0.0:
                prior_precision[i] = pull_precision(matrix[i], offset[i], xi, L, center, grad_xi)
        sigma_bar += pull_precisions(joint, sigma, x[tau + 1 :], prior_precision, grad[tau + 1 :])

    # Group standard deviations, whose log transform adds zeta to the density, and correlations.
    by_zeta, by_c = grad[p : p + q], grad[p + q : tau]
    pull_factor(grad_T, T, sd, to_algebra, sizes, shapes, z, left, correlation, by_zeta, by_c)
    for k in range(q):
        row = sd_priors[k]
        logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], sd[k])
        value += logp + zeta[k]
        by_zeta[k] += (slope + sd_bar[k]) * sd[k] + 1.0

    # Residual standard deviation.
    row = sigma_prior
    logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], sigma)
    value += logp + x[tau]
    grad[tau] = grad_s * 2.0 * s + (slope + sigma_bar) * sigma + 1.0
    return value

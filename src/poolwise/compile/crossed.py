"""The posterior of a Gaussian model of several grouping factors over its few variance parameters alone.

The unconstrained vector is ``[log sd ratios (q) | atanh partial correlations | log sigma ratio]``, as in
:mod:`poolwise.compile.collapsed`; the common effects are integrated out under normal priors, or stand-ins for others.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from poolwise.algebra.basis import Basis
from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_marginal import Marginal, NormalPrior, crossed_marginal, marginal_gradient
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.group_factor import build_factor, pull_factor
from poolwise.algebra.theta import BlockStructure, lkj_shapes
from poolwise.priors.density import LAPLACE, NORMAL, STUDENT, prior_logpdf

# Logs of ratios beyond this are no variances but a search that went astray.
FARTHEST = 50.0
# Stand-ins have this share of the precision of what they touch: the ratio of the priors stays bounded where it counts.
PRECISION = 0.25


@dataclass(frozen=True)
class CrossedPosterior:
    """A Gaussian model of several grouping factors, its effects and common effects integrated out.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics in the coordinates of ``basis``.
    basis : Basis
        The way back to the units of the data.
    structure : BlockStructure
        Which effects are correlated, all factors one after the other.
    eta : tuple of float
        LKJ parameter of each block.
    coefficient_priors, sd_priors, sigma_prior : ndarray (p, 5), (q, 5), (5,)
        Rows (kind, p1, p2, p3, constant) as from :func:`poolwise.priors.density.prior_code`; the coefficients' at
        centred predictors.
    normal : NormalPrior
        Of the common effects: exact where their priors are normal or flat, a stand-in elsewhere.
    sd, sigma : ndarray (q,), float
        Where the coordinates are centred, units of the data.
    """

    stats: CrossedProducts
    basis: Basis
    structure: BlockStructure
    eta: tuple[float, ...]
    coefficient_priors: Array
    sd_priors: Array
    sigma_prior: Array
    normal: NormalPrior
    sd: Array
    sigma: float

    @property
    def size(self) -> int:
        """Length of the unconstrained vector."""
        return self.structure.q + self.structure.n_correlations + 1

    def covariances(self, x: Array) -> "Covariances":
        """The parameters at x, and the log density of their priors over x, Jacobian included."""
        q, r = self.structure.q, self.structure.n_correlations
        shapes = lkj_shapes(self.structure.sizes, self.eta)
        sd, z, left = np.empty(q), np.empty(r), np.empty(r)
        correlation, T = np.empty((q, q)), np.empty((q, q))
        sizes = np.array(self.structure.sizes, dtype=float)
        to_algebra = 1.0 / self.basis.sd_scale
        zeta, c = np.ascontiguousarray(x[:q]), np.ascontiguousarray(x[q : q + r])
        value = build_factor(zeta, c, self.sd, to_algebra, sizes, shapes, sd, z, left, correlation, T)
        value += float((gammaln(2 * shapes) - 2 * gammaln(shapes) - (2 * shapes - 1) * math.log(2)).sum())
        sigma = self.sigma * math.exp(x[q + r])
        by_x = np.zeros(self.size)
        for k, number in enumerate((*sd, sigma)):
            row = self.sd_priors[k] if k < q else self.sigma_prior
            logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], number)
            # The log transform adds log(number) to the density.
            value += logp + math.log(number)
            by_x[k if k < q else q + r] = slope * number + 1.0
        work = (sd, to_algebra, sizes, shapes, z, left, correlation)
        return Covariances(T, (sigma / self.basis.y_scale) ** 2, sigma, value, by_x, work)

    def log_density(self, x: Array) -> tuple[float, "Covariances", Marginal]:
        """Log density over x given y, up to p(y), and what it was made of; NaN where the algebra breaks down."""
        near = np.clip(x, -FARTHEST, FARTHEST)
        at = self.covariances(near)
        there = crossed_marginal(self.stats, self.normal, at.T, at.s)
        # The likelihood is of y in its own units: each counted row brings -log(y_scale).
        value = at.log_prior + there.value - self.stats.n * math.log(self.basis.y_scale)
        return value if np.array_equal(near, x) else math.nan, at, there

    def with_gradient(self, x: Array) -> tuple[float, Array]:
        """Log density over x and its gradient."""
        q, r = self.structure.q, self.structure.n_correlations
        value, at, there = self.log_density(x)
        if not math.isfinite(value):
            return value, np.full(self.size, np.nan)
        by_T, by_s = marginal_gradient(self.stats, at.T, at.s, there)
        by_zeta, by_c = np.zeros(q), np.zeros(r)
        pull_factor(by_T, at.T, *at.work, by_zeta, by_c)
        return value, at.by_x + np.concatenate([by_zeta, by_c, [2 * at.s * by_s]])

    def correction(self, b: Array) -> float:
        """Log ratio of the priors of the common effects to what stands in for them, at b."""
        offset, matrix = self.basis.to_centred
        value = sum(
            prior_logpdf(int(row[0]), *row[1:], coefficient)[0]
            for row, coefficient in zip(self.coefficient_priors, offset + matrix @ b, strict=True)
        )
        normal = self.normal
        # The priors are densities of coefficients in the units of the data.
        volume = float(np.log(np.diag(matrix)).sum())
        return value + volume - (normal.constant + normal.linear @ b - 0.5 * b @ normal.precision @ b)


@dataclass(frozen=True)
class Covariances:
    """Group covariances and residual variance at a point.

    Parameters
    ----------
    T, s : ndarray (q, q), float
        In the coordinates of the algebra.
    sigma : float
        Residual sd, units of the data.
    log_prior : float
        Log density of sds, correlations and sigma over x.
    by_x : ndarray (size,)
        Its gradient, that of the correlations aside.
    work : tuple of ndarray
        What ``pull_factor`` needs.
    """

    T: Array
    s: float
    sigma: float
    log_prior: float
    by_x: Array
    work: tuple[Array, ...]


def normal_prior(coefficient_priors: Array, basis: Basis, around: Array) -> NormalPrior:
    """The priors of the common effects as one normal density over the algebra's b.

    Normal and flat priors are exact. A Student t or Laplace density is replaced by a normal one about the same place,
    twice as wide as that which touches it at ``around``; anything else by a flat one.

    Parameters
    ----------
    coefficient_priors : ndarray (p, 5)
        As :class:`CrossedPosterior` has them.
    basis : Basis
        Coordinates.
    around : ndarray (p,)
        Coefficients at centred predictors near which the stand-ins need to be good.

    Returns
    -------
    NormalPrior
    """
    p = len(coefficient_priors)
    mean, precision, constant = np.zeros(p), np.zeros(p), 0.0
    for k, ((kind, place, scale, shape, _), value) in enumerate(zip(coefficient_priors, around, strict=True)):
        if kind not in (NORMAL, STUDENT, LAPLACE):
            continue
        mean[k] = place
        if kind == NORMAL:
            precision[k] = scale**-2
        elif kind == STUDENT:
            precision[k] = PRECISION * (shape + 1) / (shape * scale**2 + (value - place) ** 2)
        else:
            precision[k] = PRECISION / (scale * max(abs(value - place), scale))
        constant += 0.5 * math.log(precision[k] / (2 * math.pi))
    offset, matrix = basis.to_centred
    away = mean - offset
    constant += float(np.log(np.diag(matrix)).sum()) - 0.5 * float(precision @ away**2)
    return NormalPrior(matrix.T @ (precision[:, None] * matrix), matrix.T @ (precision * away), constant)


def exact_normal(coefficient_priors: Array) -> bool:
    """Whether every prior of a common effect is normal or flat, so that nothing has to be corrected."""
    return bool(np.isin(coefficient_priors[:, 0], (0, NORMAL)).all())

"""Importance sampling of a posterior of few parameters: a split t at the mode, smoothed weights, resampling.

Geweke (1989), Econometrica 57(6), section 4, for a t with two scales on each axis; Vehtari, Simpson, Gelman, Yao &
Gabry (2024), JMLR 25(72), for Pareto-smoothed weights and the limit of their k; Kitagawa (1996), J. Comput. Graph.
Stat. 5(1), for systematic resampling.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from poolwise.algebra.crossed import Integers
from poolwise.algebra.crossproducts import Array

# Degrees of freedom of the proposal: its tails are longer than those of any log sd under a proper prior, and longer
# still where correlations are drawn, which the data lose sight of as a sd goes to zero.
DEGREES, DEGREES_CORRELATED = 8.0, 4.0
# Where the two scales of an axis are measured, in sds of the Laplace approximation: near the mode the t shall be as
# wide as the density, far out as high. A group sd that may be zero has an exponential tail in its log, seen only there.
NEAR, FAR = (1.0, 2.0, 3.0), (5.0, 8.0, 12.0, 20.0)
# How far the scales may leave those of the Laplace approximation.
LEAST, LARGEST = 0.5, 6.0
# An axis bends: by this many sds out, the other coordinates have moved as far as they ever do. As a group sd goes to
# zero its variance goes elsewhere, and there is no more of it to go.
BEND = 3.0
# A mode this far from the start is none.
FARTHEST = 40.0
# Above this Pareto k importance weights are unreliable (Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72)).
K_LIMIT = 0.7
# Logs of weights that differ by less are equal.
ALIKE = 1e-9
# Steps of the differences: first blind, then in sds.
BLIND_STEP, STEP = 1e-3, 0.1

Gradient = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class SplitT:
    """Independent t's along bent axes through the mode, each axis with a scale on either side.

    Coordinate i is mode_i + L_ii e_i + sum over k < i of L_ik BEND tanh(e_k / BEND), a map with a constant Jacobian.
    Independent, so that a point far out on one axis leaves the others as narrow as they are.

    Parameters
    ----------
    mode : ndarray (d,)
        Its centre.
    L : ndarray (d, d)
        Lower triangular; its columns are the axes where they pass the mode.
    scales : ndarray (2, d)
        Of the negative and of the positive side of each axis.
    degrees : float
        Degrees of freedom.
    """

    mode: Array
    L: Array
    scales: Array
    degrees: float = DEGREES

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Independent draws (size, d)."""
        d = len(self.mode)
        lengths = np.abs(rng.standard_t(self.degrees, (size, d)))
        # A side is chosen as often as its scale is large: the density is then continuous.
        positive = rng.random((size, d)) < self.scales[1] / self.scales.sum(axis=0)
        return self.at(np.where(positive, lengths * self.scales[1], -lengths * self.scales[0]))

    def at(self, along: Array) -> Array:
        """Points (n, d) from places along the axes (n, d)."""
        return self.mode + along * np.diag(self.L) + BEND * np.tanh(along / BEND) @ np.tril(self.L, -1).T

    def along(self, x: Array) -> Array:
        """Places along the axes (n, d) from points (n, d)."""
        along = np.zeros_like(x)
        for k in range(x.shape[1]):
            moved = BEND * np.tanh(along[:, :k] / BEND) @ self.L[k, :k]
            along[:, k] = (x[:, k] - self.mode[k] - moved) / self.L[k, k]
        return along

    def log_density(self, x: Array) -> Array:
        """Log density (n,) at x (n, d)."""
        d, degrees = len(self.mode), self.degrees
        along = self.along(x)
        squares = np.where(along > 0, along / self.scales[1], along / self.scales[0]) ** 2
        constant = d * (gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * math.log(degrees * math.pi))
        constant -= np.log(np.diag(self.L)).sum() + np.log(self.scales.mean(axis=0)).sum()
        return constant - (degrees + 1) / 2 * np.log1p(squares / degrees).sum(axis=1)


def split_t(
    with_gradient: Gradient, log_density: Callable[[Array], float], start: Array, degrees: float = DEGREES
) -> SplitT | None:
    """The proposal for a density: its mode, its curvature there, and how it falls on either side.

    Parameters
    ----------
    with_gradient : callable
        Log density and its gradient.
    log_density : callable
        Log density alone.
    start : ndarray (d,)
        Near the mode.
    degrees : float, default 8
        Degrees of freedom.

    Returns
    -------
    SplitT or None
        None where there is no mode, or no curvature at it.
    """
    first = np.diag(_negative_hessian(with_gradient, start, np.full(len(start), BLIND_STEP)))
    scale = 1 / np.sqrt(np.where(first > 1.0, first, 1.0))

    def negative(z: Array) -> tuple[float, Array]:
        value, gradient = with_gradient(start + scale * z)
        if not (math.isfinite(value) and np.all(np.isfinite(gradient))):
            return 1e300, np.zeros_like(z)
        return -value, -gradient * scale

    bounds = [(-FARTHEST / one, FARTHEST / one) for one in scale]
    options = {"gtol": 1e-3, "ftol": 1e-14, "maxiter": 200}
    found = minimize(negative, np.zeros(len(start)), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    mode = start + scale * found.x
    curvature = _negative_hessian(with_gradient, mode, STEP * np.minimum(scale, 1.0))
    if not np.all(np.isfinite(curvature)):
        return None
    # In units of the first scales the curvature is well conditioned.
    values, vectors = np.linalg.eigh(curvature * np.outer(scale, scale))
    if not values.min() > 1e-6:
        return None
    L = np.linalg.cholesky((vectors / values) @ vectors.T * np.outer(scale, scale))
    proposal = SplitT(mode, L, np.ones((2, len(mode))), degrees)
    top = log_density(mode)
    for axis in range(len(mode)):
        for side, sign in enumerate((-1.0, 1.0)):
            widths = []
            for far in (*NEAR, *FAR):
                away = np.zeros((1, len(mode)))
                away[0, axis] = sign * far
                drop = top - log_density(proposal.at(away)[0])
                if drop > 0 and math.isfinite(drop):
                    power = 2 * drop / (degrees + 1)
                    square = 2 * drop if far in NEAR else degrees * math.expm1(min(power, 500.0))
                    widths.append(far / math.sqrt(square))
            proposal.scales[side, axis] = np.clip(max(widths, default=LARGEST), LEAST, LARGEST)
    return proposal


def _negative_hessian(with_gradient: Gradient, at: Array, steps: Array) -> Array:
    """Minus the second derivatives, by central differences of the gradient."""
    rows = []
    for k, step in enumerate(steps):
        away = np.zeros_like(at)
        away[k] = step
        rows.append((with_gradient(at - away)[1] - with_gradient(at + away)[1]) / (2 * step))
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


def smoothed_weights(log_ratio: Array, efficiency: float = 1.0) -> tuple[Array, float]:
    """Normalised Pareto-smoothed weights (n,) and their k.

    k is infinite where no tail can be fitted to weights so unequal, minus infinity where all are equal.

    Parameters
    ----------
    log_ratio : ndarray (n,)
        Log of target over proposal; minus infinity and NaN count as a weight of zero.
    efficiency : float, default 1
        Independent draws that one proposal is worth: less than one where they come from a Markov chain.
    """
    from arviz_stats.base import array_stats

    there = np.isfinite(log_ratio)
    weights = np.zeros(len(log_ratio))
    if not there.any() or np.isposinf(log_ratio).any():
        return weights, math.inf
    own = log_ratio[there]
    if np.ptp(own) < ALIKE:
        weights[there] = 1 / len(own)
        return weights, -math.inf
    # ArviZ takes the negative of log weights there: of leave-one-out, the log likelihood.
    smoothed, k = array_stats.psislw(own.max() - own, r_eff=efficiency)
    weights[there] = np.exp(smoothed - smoothed.max())
    return weights / weights.sum(), float(k) if np.isfinite(k) else math.inf


def copies(weights: Array, draws: int, rng: np.random.Generator) -> Integers:
    """How often each proposal is kept: ``draws`` times its weight, rounded up or down at random, ``draws`` in all."""
    ends = draws * np.cumsum(weights)
    ends[-1] = draws
    return np.diff(np.floor(ends + rng.random()), prepend=0.0).astype(np.int64)


def duplicated(weights: Array, draws: int) -> float:
    """The share of draws that repeat another, about."""
    return float(np.maximum(draws * weights - 1, 0.0).sum() / draws)

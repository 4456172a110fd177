"""log p(y | T, s) of several grouping factors, all effects integrated out: the common ones under a normal prior.

With G = (X, y)'V^-1 (X, y), V relative to s, and a prior of b with the log density k + d'b - 1/2 b'P b, given T and s
the common effects are normal with precision A = G_xx / s + P and mean m = A^-1 (G_xy / s + d), and

    log p(y | T, s) = k - 1/2 [ n log 2 pi s + log|V| + G_yy / s - p log 2 pi + log|A| - m'A m ]

By the envelope theorem its derivative by G is -1/2 W / s, W = (-m, 1)(-m, 1)' with A^-1 added to its block of X: the
weights that ``gradient_blocks`` takes.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3; Lindley & Smith (1972), JRSS B 34, 1-41.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_profiled import gradient_blocks
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.elimination import Elimination, eliminate


@dataclass(frozen=True)
class NormalPrior:
    """Prior of the common effects in the coordinates of the algebra: constant + linear'b - 1/2 b' precision b.

    Parameters
    ----------
    precision : ndarray (p, p)
        Zero for flat priors.
    linear : ndarray (p,)
        The precision times the mean.
    constant : float
        What makes the density integrate to one, or any number where it cannot.
    """

    precision: Array
    linear: Array
    constant: float = 0.0


@dataclass(frozen=True)
class Marginal:
    """log p(y | T, s) and the conditional distribution of the common effects.

    Parameters
    ----------
    value : float
        NaN where a matrix is not positive definite in floating point.
    mean, L : ndarray (p,), ndarray (p, p)
        Of b given T and s: its mean, and the lower Cholesky factor of its precision.
    at : Elimination
        The factorisation, from which effects can be drawn.
    """

    value: float
    mean: Array
    L: Array
    at: Elimination


def crossed_marginal(stats: CrossedProducts, prior: NormalPrior, T: Array, s: float) -> Marginal:
    """Log p(y | T, s), the effects of all factors and the common effects integrated out.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    prior : NormalPrior
        Of the common effects.
    T : ndarray (q, q)
        Factor of the group covariances, block diagonal over the factors.
    s : float
        Residual variance.

    Returns
    -------
    Marginal
    """
    p = stats.p
    at = eliminate(stats, T / math.sqrt(s))
    A = at.gram[:p, :p] / s + prior.precision
    if not (math.isfinite(at.logdet) and np.all(np.isfinite(A))):
        return Marginal(math.nan, np.zeros(p), np.eye(p), at)
    try:
        L = np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return Marginal(math.nan, np.zeros(p), np.eye(p), at)
    half = lapack.dtrtrs(L, at.gram[:p, p] / s + prior.linear, lower=1)[0]
    mean = lapack.dtrtrs(L, half, lower=1, trans=1)[0]
    rows = stats.n * math.log(2 * math.pi * s) - stats.log_weights + at.logdet + at.gram[p, p] / s
    common = p * math.log(2 * math.pi) - 2 * float(np.log(np.diag(L)).sum()) + float(half @ half)
    return Marginal(prior.constant - 0.5 * (rows - common), mean, L, at)


def marginal_gradient(stats: CrossedProducts, T: Array, s: float, there: Marginal) -> tuple[Array, float]:
    """Derivatives of the value by T (q, q), its lower triangle, and by s.

    Parameters
    ----------
    stats, T, s
        As :func:`crossed_marginal` took them.
    there : Marginal
        What it returned; its factorisation is used up.

    Returns
    -------
    by_T : ndarray (q, q)
    by_s : float
    """
    p, gram = stats.p, there.at.gram
    contrast = np.concatenate([-there.mean, [1.0]])
    weights = np.outer(contrast, contrast)
    weights[:p, :p] += scipy.linalg.cho_solve((there.L, True), np.eye(p))
    by_Lambda = np.zeros_like(T)
    found = gradient_blocks(stats, there.at, weights / s)
    for block, value in zip(stats.blocks(by_Lambda), found, strict=True):
        block[...] = -0.5 * np.tril(value)
    by_T = by_Lambda / math.sqrt(s)
    by_s = 0.5 * float((weights * gram).sum()) / s**2 - 0.5 * stats.n / s - 0.5 * float((by_T * T).sum()) / s
    return by_T, by_s

"""Deviance with sigma given or profiled out and one linear restriction on b: what profiles and Hessians are made of.

With V = I + Z Lambda Lambda'Z', (A, c, t) = (X'V^-1 X, X'V^-1 y, y'V^-1 y), b = A^-1 c and pwrss = t - b'c,

    D = log|V| [+ log|A|] + df log(2 pi s) + pwrss / s,     df = n,  or n - p for REML,  s = pwrss / df if profiled out

Under the restriction a'b = v the generalised least squares estimate and its sum of squares are

    b_v = b + A^-1 a (v - a'b) / (a'A^-1 a),     pwrss_v = pwrss + (v - a'b)^2 / (a'A^-1 a)

By the envelope theorem the derivative by Lambda is the same as without it, at b_v.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), equations 31 to 41; Searle, Casella & McCulloch (1992),
Variance Components, section 6.2, for the deviance with sigma explicit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_profiled import gradient_blocks
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.elimination import eliminate


@dataclass(frozen=True)
class Deviance:
    """The deviance at one point.

    Parameters
    ----------
    value : float
        Minus twice the (restricted) log-likelihood; NaN where it cannot be evaluated in floating point.
    gradient : ndarray (q, q)
        Derivative by every element of Lambda, above the diagonal too: 2 G Lambda with G the derivative by
        Lambda Lambda'. Zero between factors.
    by_log_s : float
        Derivative by log s; 0 where s is profiled out.
    b : ndarray (p,)
        Common effects, under the restriction if there is one.
    A : ndarray (p, p)
        X'V^-1 X; the covariance of b without restriction is s A^-1.
    s : float
        Residual variance, given or profiled.
    """

    value: float
    gradient: Array
    by_log_s: float
    b: Array
    A: Array
    s: float


def deviance(
    stats: CrossProducts | CrossedProducts,
    Lambda: Array,
    s: float | None = None,
    *,
    reml: bool = False,
    restriction: tuple[Array, float] | None = None,
) -> Deviance:
    """Deviance and its derivatives.

    Parameters
    ----------
    stats : CrossProducts or CrossedProducts
        Sufficient statistics of one or several grouping factors.
    Lambda : ndarray (q, q)
        Relative factor, lower triangular (block diagonal over several factors).
    s : float, optional
        Residual variance; profiled out by default.
    reml : bool, default False
        Restricted or ordinary likelihood.
    restriction : (ndarray (p,), float), optional
        a and v of a'b = v.

    Returns
    -------
    Deviance
    """
    p, q = stats.p, stats.q
    gram, logdet, slope = (
        _reduce_crossed(stats, Lambda) if isinstance(stats, CrossedProducts) else _reduce(stats, Lambda)
    )
    A, c = gram[:p, :p], gram[:p, p]
    sign, logdet_A = np.linalg.slogdet(A) if p else (1.0, 0.0)
    nothing = np.full((q, q), np.nan)
    if not (sign > 0 and np.isfinite(logdet)):
        return Deviance(np.nan, nothing, np.nan, np.full(p, np.nan), A, np.nan)
    inverse = np.linalg.inv(A) if p else np.zeros((0, 0))
    b = inverse @ c
    pwrss = float(gram[p, p] - b @ c)
    if restriction is not None:
        a, v = restriction
        direction = inverse @ a
        left, unit = v - float(a @ b), float(a @ direction)
        b, pwrss = b + direction * (left / unit), pwrss + left**2 / unit
    df = stats.n - p if reml else stats.n
    profiled, s = s is None, pwrss / df if s is None else s
    if not (pwrss > 0 and s > 0):
        return Deviance(np.nan, nothing, np.nan, b, A, np.nan)
    value = logdet + df * np.log(2 * np.pi * s) + pwrss / s - stats.log_weights
    contrast = np.concatenate([-b, [1.0]])
    weights = np.outer(contrast, contrast) / s
    if reml:
        value += logdet_A
        weights[:p, :p] += inverse
    by_log_s = 0.0 if profiled else df - pwrss / s
    return Deviance(float(value), slope(weights), by_log_s, b, A, float(s))


Reduced = tuple[Array, float, Callable[[Array], Array]]


def _reduce(stats: CrossProducts, Lambda: Array) -> Reduced:
    """(X, y)'V^-1 (X, y), log|V|, and the derivative by Lambda once the columns of (X, y) have their weights."""
    sides = np.concatenate([stats.ZtX, stats.Zty[:, :, None]], axis=2)  # (J, q, p + 1)
    own = np.block([[stats.XtX, stats.Xty[:, None]], [stats.Xty[None], np.array([[stats.yty]])]])
    ST = stats.ZtZ @ Lambda  # (J, q, q)
    M = Lambda.T @ ST + np.eye(stats.q)
    Minv = np.linalg.inv(M)
    W = Lambda.T @ sides  # (J, q, p + 1)
    MinvW = Minv @ W
    logdet = float(np.linalg.slogdet(M)[1].sum())

    def gradient(weights: Array) -> Array:
        E = sides - ST @ MinvW  # Z'V^-1 (X, y)
        trace = np.einsum("jkm,jml->kl", ST, Minv)
        return 2 * trace - 2 * np.tensordot(E @ weights, MinvW, axes=([0, 2], [0, 2]))

    return own - np.einsum("jka,jkb->ab", W, MinvW), logdet, gradient


def _reduce_crossed(stats: CrossedProducts, Lambda: Array) -> Reduced:
    at = eliminate(stats, Lambda)

    def gradient(weights: Array) -> Array:
        full = np.zeros((stats.q, stats.q))
        for block, value in zip(stats.blocks(full), gradient_blocks(stats, at, weights), strict=True):
            block[...] = value
        return full

    return at.gram, at.logdet, gradient

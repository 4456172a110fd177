"""REML and ML criteria of one grouping factor with b and sigma profiled out, and their gradient by theta.

With Lambda = T / sigma (the factor relative to the residual sd) and M_j = I + Lambda'S_j Lambda:

    A = X'X - sum (Z'X)'Lambda M^-1 Lambda'(Z'X),   c = X'y - sum (Z'X)'Lambda M^-1 Lambda'(Z'y),   b = A^-1 c
    ML   = sum log|M| + n [1 + log(2 pi pwrss / n)]
    REML = sum log|M| + log|A| + (n - p) [1 + log(2 pi pwrss / (n - p))]

References
----------
Bates, Maechler, Bolker & Walker (2015), equations 34, 40 and 41.
"""

from dataclasses import dataclass

import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts


@dataclass(frozen=True)
class Profiled:
    """Everything at one value of Lambda.

    Parameters
    ----------
    criterion : float
        Minus twice the profiled (restricted) log-likelihood.
    gradient : ndarray (q, q)
        Derivative of the criterion by Lambda, lower triangle.
    b : ndarray (p,)
        Common effects at their generalised least squares value.
    A : ndarray (p, p)
        X'V^-1 X with V relative to sigma^2; the covariance of b is sigma^2 A^-1.
    s : float
        Residual variance.
    """

    criterion: float
    gradient: Array
    b: Array
    A: Array
    s: float


def profile(stats: CrossProducts, Lambda: Array, *, reml: bool) -> Profiled:
    """Criterion, gradient and estimates at Lambda.

    Parameters
    ----------
    stats : CrossProducts
        Sufficient statistics.
    Lambda : ndarray (q, q)
        Lower-triangular relative factor.
    reml : bool
        Restricted (True) or ordinary (False) likelihood.

    Returns
    -------
    Profiled
        With a NaN criterion where A is not positive definite in floating point.
    """
    p, q = stats.p, stats.q
    sides = np.concatenate([stats.ZtX, stats.Zty[:, :, None]], axis=2)  # (J, q, p + 1)
    ST = stats.ZtZ @ Lambda  # (J, q, q)
    M = Lambda.T @ ST + np.eye(q)
    W = Lambda.T @ sides  # (J, q, p + 1)
    try:
        Minv = np.linalg.inv(M)
        MinvW = Minv @ W
        eliminated = np.einsum("jka,jkb->ab", W, MinvW)
        A = stats.XtX - eliminated[:p, :p]
        b = np.linalg.solve(A, stats.Xty - eliminated[:p, p]) if p else np.zeros(0)
    except np.linalg.LinAlgError:
        # A step of the optimiser so far out that the effects leave nothing of a column of X in floating point.
        return Profiled(np.nan, np.full((q, q), np.nan), np.full(p, np.nan), np.full((p, p), np.nan), np.nan)
    pwrss = stats.yty - eliminated[p, p] - b @ (stats.Xty - eliminated[:p, p])
    df = stats.n - p if reml else stats.n
    _, logdets = np.linalg.slogdet(M)
    logdet = logdets.sum()
    sign, logdet_A = np.linalg.slogdet(A) if reml and p else (1.0, 0.0)
    if sign <= 0 or not pwrss > 0:
        return Profiled(np.nan, np.full((q, q), np.nan), b, A, np.nan)
    criterion = logdet + logdet_A + df * (1 + np.log(2 * np.pi * pwrss / df)) - stats.log_weights

    # U = Lambda M^-1 Lambda'(Z'X, Z'y); what the effects leave of each column is E = (Z'X, Z'y) - S U.
    U = Lambda @ MinvW
    E = sides - stats.ZtZ @ U
    contrast = np.concatenate([-b, [1.0]])
    gradient = -2 * df / pwrss * np.einsum("jk,jl->kl", E @ contrast, MinvW @ contrast)
    gradient += 2 * np.einsum("jkm,jml->kl", ST, Minv)
    if reml and p:
        gradient -= 2 * np.einsum("jka,ab,jlb->kl", E[:, :, :p], np.linalg.inv(A), MinvW[:, :, :p], optimize=True)
    return Profiled(float(criterion), np.tril(gradient), b, A, float(pwrss / df))

"""Effects of several grouping factors given everything else: exact conditional moments and draws.

With G = I + Lambda'Z'Z Lambda and Lambda = T / sqrt(s):

    u | b, T, s, y  ~  N(Lambda G^-1 Lambda'Z'(y - X b), s Lambda G^-1 Lambda')

By block elimination (see ``elimination.py``) the effects of the remaining factors have the covariance s H with
H = Lambda_r S^-1 Lambda_r', and those of group j of the eliminated factor, given them, s E_j'E_j.

References
----------
Henderson (1975), Biometrics 31, 423-447; Bates, Maechler, Bolker & Walker (2015), equation 56.
"""

from dataclasses import dataclass

import numpy as np

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_profiled import by_factor
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.elimination import Elimination, eliminate, inverse_and_traces, mix_rows


@dataclass(frozen=True)
class CrossedMoments:
    """Conditional moments of the effects of every factor.

    Parameters
    ----------
    mean : list of ndarray (J_f, q_f)
        Conditional means, at the REML optimum the conditional modes.
    covariance : list of ndarray (J_f, q_f, q_f)
        Conditional covariances of each group's effects.
    slope : list of ndarray (J_f, q_f, p)
        Derivatives of the means by b.
    """

    mean: list[Array]
    covariance: list[Array]
    slope: list[Array]


def crossed_moments(stats: CrossedProducts, b: Array, T: Array, s: float) -> CrossedMoments:
    """Conditional mean, covariance and slope on b of all effects.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    b : ndarray (p,)
        Common effects.
    T : ndarray (q, q)
        Factor of the group covariances, block diagonal over the factors.
    s : float
        Residual variance.

    Returns
    -------
    CrossedMoments
    """
    at = eliminate(stats, T / np.sqrt(s))
    others = [at.Lambdas[f] for f in stats.others]
    V = at.solve(at.W)  # (Q, p + 1)
    own = at.Lambdas[stats.eliminated] @ at.back(V)
    effects = by_factor(stats, own, mix_rows(V, stats, others))  # Lambda G^-1 Lambda'Z'(X, y)
    inverse, traces, _ = inverse_and_traces(stats, at)
    D = at.E.swapaxes(1, 2) @ at.E
    covariance = [
        Lambda @ _diagonal_blocks(inverse, where, len(Lambda)) @ Lambda.T
        for where, Lambda in zip(stats.columns.slices, others, strict=True)
    ]
    covariance.insert(stats.eliminated, D + D @ traces @ D)
    return CrossedMoments(
        [effect @ np.concatenate([-b, [1.0]]) for effect in effects],
        [s * block for block in covariance],
        [-effect[:, :, : stats.p] for effect in effects],
    )


def _diagonal_blocks(inverse: Array, where: slice, q: int) -> Array:
    """Blocks (J, q, q) on the diagonal of a symmetric matrix stored in its lower triangle."""
    first = np.arange(where.start, where.stop, q)[:, None, None]
    row, column = np.arange(q)[:, None], np.arange(q)
    return inverse[first + np.maximum(row, column), first + np.minimum(row, column)]


def crossed_effects(stats: CrossedProducts, b: Array, T: Array, s: Array, rng: np.random.Generator) -> list[Array]:
    """One exact draw of all effects for each draw of b, T and s.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    b, T, s : ndarray (D, p), (D, q, q), (D,)
        Draws of the common effects, of the factor of the group covariances, and of the residual variance.
    rng : Generator
        Source of randomness.

    Returns
    -------
    list of ndarray (D, J_f, q_f)
        One array a factor. Each draw costs one factorisation of the Schur complement.
    """
    draws = len(s)
    found = [np.empty((draws, factor.J, factor.q)) for factor in stats.factors]
    for d in range(draws):
        at = eliminate(stats, T[d] / np.sqrt(s[d]))
        for out, effect in zip(found, _draw(stats, at, b[d], np.sqrt(s[d]), rng), strict=True):
            out[d] = effect[:, :, 0]
    return found


def _draw(stats: CrossedProducts, at: Elimination, b: Array, sigma: float, rng: np.random.Generator) -> list[Array]:
    contrast = np.concatenate([-b, [1.0]])
    # G = U'U: U^-1 (U^-T Lambda'Z'(y - X b) + sigma z) has the mean G^-1 Lambda'Z'(y - X b) and covariance s G^-1.
    V = at.solve((at.W @ contrast + sigma * rng.standard_normal(len(at.W)))[:, None])  # (Q, 1)
    half = at.half_sides @ contrast
    own = at.back_from((half + sigma * rng.standard_normal(half.shape))[:, :, None], V)
    others = mix_rows(V, stats, [at.Lambdas[f] for f in stats.others])
    return by_factor(stats, at.Lambdas[stats.eliminated] @ own, others)

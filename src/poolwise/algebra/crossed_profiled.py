"""REML and ML criteria of several grouping factors with b and sigma profiled out, and their gradient by theta.

With V = I + Z Lambda Lambda'Z' and G = I + Lambda'Z'Z Lambda, so that |V| = |G|:

    A = X'V^-1 X,   b = A^-1 X'V^-1 y,   pwrss = y'V^-1 y - b'X'V^-1 y
    ML   = log|G| + n [1 + log(2 pi pwrss / n)]
    REML = log|G| + log|A| + (n - p) [1 + log(2 pi pwrss / (n - p))]

and, with v = Lambda'Z'V^-1 (y - X b) and N = Lambda'Z'V^-1 X, the derivative by the block of Lambda of one factor,
summed over its groups j, is

    2 Z_j'V^-1 Z_j Lambda - 2 df / pwrss Z_j'V^-1 (y - X b) v_j' - 2 Z_j'V^-1 X A^-1 N_j'       (the last for REML)

References
----------
Bates, Maechler, Bolker & Walker (2015), equations 34, 40 and 41; the derivatives follow from dV = dLambda terms of
Z Lambda Lambda'Z' by the rules for determinants and inverses.
"""

import numpy as np

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.elimination import Elimination, eliminate, inverse_and_traces, mix_rows
from poolwise.algebra.profiled import Profiled


def profile_crossed(stats: CrossedProducts, Lambda: Array, *, reml: bool) -> Profiled:
    """Criterion, gradient and estimates at Lambda.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics.
    Lambda : ndarray (q, q)
        Relative factor, block diagonal over the factors in their order, each block lower triangular.
    reml : bool
        Restricted (True) or ordinary (False) likelihood.

    Returns
    -------
    Profiled
        With a NaN criterion where a matrix is not positive definite in floating point. The gradient has the shape of
        Lambda, zero outside its blocks.
    """
    p, q = stats.p, stats.q
    at = eliminate(stats, Lambda)
    A, c = at.gram[:p, :p], at.gram[:p, p]
    b = np.linalg.solve(A, c) if p else np.zeros(0)
    pwrss = at.gram[p, p] - b @ c
    df = stats.n - p if reml else stats.n
    sign, logdet_A = np.linalg.slogdet(A) if reml and p else (1.0, 0.0)
    if sign <= 0 or not pwrss > 0 or not np.isfinite(at.logdet):
        return Profiled(np.nan, np.full((q, q), np.nan), b, A, np.nan)
    criterion = at.logdet + logdet_A + df * (1 + np.log(2 * np.pi * pwrss / df)) - stats.log_weights
    weights = np.zeros((p + 1, p + 1))
    contrast = np.concatenate([-b, [1.0]])
    weights += df / pwrss * np.outer(contrast, contrast)
    if reml and p:
        weights[:p, :p] += np.linalg.inv(A)
    gradient = np.zeros((q, q))
    for block, value in zip(stats.blocks(gradient), gradient_blocks(stats, at, weights), strict=True):
        block[...] = np.tril(value)
    return Profiled(float(criterion), gradient, b, A, float(pwrss / df))


def gradient_blocks(stats: CrossedProducts, at: Elimination, weights: Array) -> list[Array]:
    """Derivative by each factor's block; ``weights`` (p + 1, p + 1) join the columns of (X, y) in pwrss and log|A|."""
    spherical, left = _spherical_and_left(stats, at)
    _, own, others = inverse_and_traces(stats, at)
    S = stats.own.ZtZ
    # Z_ej'V^-1 Z_ej Lambda_e = S_j Lambda M^-1 - (I - S_j D_j) C_j S^-1 C_j' Lambda M^-1
    Lambda_Minv = at.E.swapaxes(1, 2) @ at.L_inverse
    D = at.E.swapaxes(1, 2) @ at.E
    trace = S @ Lambda_Minv - (own - S @ D @ own) @ Lambda_Minv
    found = []
    for f, factor in enumerate(stats.factors):
        if f == stats.eliminated:
            total = trace.sum(axis=0)
        else:
            where = stats.columns.slices[stats.others.index(f)]
            total = others[where, : factor.q].reshape(factor.J, factor.q, factor.q).sum(axis=0)
        found.append(2 * total - 2 * np.tensordot(left[f] @ weights, spherical[f], axes=([0, 2], [0, 2])))
    return found


def _spherical_and_left(stats: CrossedProducts, at: Elimination) -> tuple[list[Array], list[Array]]:
    """Lambda'Z'V^-1 (X, y) and Z'V^-1 (X, y), (J_f, q_f, p + 1) for each factor."""
    k = stats.p + 1
    V = at.solve(at.W)  # (Q, p + 1)
    V_own = at.back(V)  # (J_e, q_e, p + 1)
    U = mix_rows(V, stats, [at.Lambdas[f] for f in stats.others])
    U_own = at.Lambdas[stats.eliminated] @ V_own
    sides, sides_others = stats.sides
    left_own = sides - stats.own.ZtZ @ U_own - (stats.between @ U).reshape(sides.shape)
    left = sides_others - stats.rest @ U - stats.between.T @ U_own.reshape(-1, k)
    return by_factor(stats, V_own, V), by_factor(stats, left_own, left)


def by_factor(stats: CrossedProducts, own: Array, others: Array) -> list[Array]:
    """Rows of the eliminated factor (J_e, q_e, k) and of the others (Q, k), in the order of the factors."""
    found = {
        f: others[where].reshape(-1, stats.factors[f].q, others.shape[1])
        for f, where in zip(stats.others, stats.columns.slices, strict=True)
    }
    return [own if f == stats.eliminated else found[f] for f in range(len(stats.factors))]

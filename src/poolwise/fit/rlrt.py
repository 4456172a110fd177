"""Exact restricted likelihood-ratio test of one variance component being zero.

For y = X b + Z u + e, u ~ N(0, lambda sigma^2 I), with mu the K positive eigenvalues of Z'(I - X (X'X)^-1 X')Z, the
statistic has under lambda = 0 the distribution of

    sup over lambda >= 0 of  (n - p) log(1 + N / D) - sum log(1 + lambda mu_s)
    N = sum lambda mu_s / (1 + lambda mu_s) w_s^2,   D = sum w_s^2 / (1 + lambda mu_s) + chi^2_{n - p - K}

with independent standard normals w. It is simulated: K + 1 chi-squares a draw, whatever the number of rows. The
supremum is taken over 0 and 200 values of lambda, log(lambda max(mu)) from -10 to 8 in equal steps.

With other variance components in the model the distribution is that of the model without them, which is an
approximation and was found a good one.

References
----------
Crainiceanu & Ruppert (2004), J. R. Statist. Soc. B 66, 165-185, theorem 1; Scheipl, Greven & Kuechenhoff (2008),
Comput. Stat. Data Anal. 52, 3283-3299 (RLRsim); Greven, Crainiceanu, Kuechenhoff & Peters (2008), J. Comput. Graph.
Stat. 17, 870-891, for several components.
"""

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.deviance import deviance
from poolwise.algebra.theta import BlockStructure

GRID = np.exp(np.linspace(-10.0, 8.0, 200))
# Eigenvalues this close, relatively, count as one: their chi-squares add.
TIED = 1e-9
# Numbers held at a time while simulating.
BLOCK = 5_000_000
LEAST_START = 0.05


def spectrum(stats: CrossProducts, effect: int) -> Array:
    """Eigenvalues (J,) of Z'(I - X (X'X)^-1 X')Z for one effect of a grouping factor, ascending."""
    ZtX = stats.ZtX[:, effect]  # (J, p)
    explained = ZtX @ np.linalg.solve(stats.XtX, ZtX.T) if stats.p else 0.0
    return np.linalg.eigvalsh(np.diag(stats.ZtZ[:, effect, effect]) - explained)


def null_distribution(mu: Array, df: float, n_sim: int, rng: np.random.Generator) -> Array:
    """Draws (n_sim,) of the statistic where the variance component is zero.

    Parameters
    ----------
    mu : ndarray (K,)
        Eigenvalues, those that are not positive are left out.
    df : float
        n - p.
    n_sim : int
        Number of draws.
    rng : Generator
        Source of randomness.

    Returns
    -------
    ndarray (n_sim,)
    """
    mu = np.sort(mu[mu > TIED * mu.max()])
    starts = np.concatenate([[0], np.flatnonzero(np.diff(mu) > TIED * mu.max()) + 1])
    counts = np.diff([*starts, len(mu)])
    levels = mu[starts]
    scaled = GRID[:, None] * levels / levels[-1]  # (grid, levels)
    penalty = np.log1p(scaled) @ counts
    found = np.empty(n_sim)
    rows = max(1, BLOCK // (len(levels) + len(GRID)))
    for first in range(0, n_sim, rows):
        size = min(rows, n_sim - first)
        squares = rng.chisquare(counts, (size, len(counts)))
        rest = rng.chisquare(df - len(mu), size) if df > len(mu) else np.zeros(size)
        remaining = squares @ (1 / (1 + scaled)).T + rest[:, None]  # D, (size, grid)
        explained = squares @ (scaled / (1 + scaled)).T  # N
        found[first : first + size] = np.maximum((df * np.log1p(explained / remaining) - penalty).max(axis=1), 0.0)
    return found


def criterion_without(
    stats: CrossProducts | CrossedProducts, structure: BlockStructure, Lambda: Array, effect: int
) -> float:
    """The smallest REML criterion with one effect's variance, uncorrelated with all others, at zero.

    Parameters
    ----------
    stats : CrossProducts or CrossedProducts
        Sufficient statistics.
    structure : BlockStructure
        Blocks of Lambda; ``effect`` is a block of its own.
    Lambda : ndarray (q, q)
        Where to start.
    effect : int
        Among the effects of all factors.

    Returns
    -------
    float
    """
    free = [position for position in structure.positions if position != (effect, effect)]

    def criterion(x: Array) -> tuple[float, Array]:
        at = np.zeros_like(Lambda)
        for position, element in zip(free, x, strict=True):
            at[position] = element
        found = deviance(stats, at, reml=True)
        if not np.isfinite(found.value):
            return 1e300, np.zeros_like(x)
        return found.value, np.array([found.gradient[position] for position in free])

    start = Lambda.copy()
    np.fill_diagonal(start, np.maximum(np.diag(Lambda), LEAST_START))
    with threadpool_limits(1):
        if not free:
            return criterion(np.zeros(0))[0]
        options = {"ftol": 1e-15, "gtol": 1e-8, "maxiter": 500, "maxls": 50}
        x = np.array([start[position] for position in free])
        return float(minimize(criterion, x, jac=True, method="L-BFGS-B", options=options).fun)

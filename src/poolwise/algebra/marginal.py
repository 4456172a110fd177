"""The log marginal likelihood of many draws, group-specific effects integrated out."""

import math

import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts

# Draws at a time: the arrays of one block stay below about 100 MB.
BLOCK_NUMBERS = 10_000_000


def log_marginal(stats: CrossProducts, b: Array, T: Array, s: Array) -> Array:
    """Log p(y | b, T, s) for draws of b (D, p), T (D, q, q) and s (D,), in the coordinates of the statistics.

    With r_j = Z_j'y - Z_j'X b, M_j = s I + T'S_j T and w_j = T'r_j::

        -1/2 [ n log 2 pi + (n - J q) log s + sum_j log|M_j| + (|y - X b|^2 - sum_j w_j'M_j^-1 w_j) / s ]

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 3.
    """
    J, q = stats.J, stats.q
    rss = stats.yty - 2 * b @ stats.Xty + np.einsum("dp,pr,dr->d", b, stats.XtX, b)
    logdet, explained = np.zeros(len(s)), np.zeros(len(s))
    block = max(1, BLOCK_NUMBERS // max(1, J * q * q))
    for start in range(0, len(s) if q else 0, block):
        rows = slice(start, start + block)
        r = stats.Zty - np.einsum("jkp,dp->djk", stats.ZtX, b[rows])
        w = np.einsum("dkl,djk->djl", T[rows], r)
        M = np.einsum("dkl,jkm,dmo->djlo", T[rows], stats.ZtZ, T[rows], optimize=True)
        M += s[rows, None, None, None] * np.eye(q)
        logdet[rows] = np.linalg.slogdet(M)[1].sum(axis=1)
        explained[rows] = (w * np.linalg.solve(M, w[..., None])[..., 0]).sum(axis=(1, 2))
    constant = stats.n * math.log(2 * math.pi) - stats.log_weights
    return -0.5 * (constant + (stats.n - J * q) * np.log(s) + logdet + (rss - explained) / s)

"""Are ranks uniform? The test by the largest departure of their ECDF, with simultaneous bands, worked out exactly.

N ranks among 0, ..., L that are uniform have N F(k) ~ Binomial(N, (k + 1) / (L + 1)) at every k. The band takes the
quantiles gamma / 2 and 1 - gamma / 2 at every k, and gamma so that all of the ECDF is inside with the level's
probability. The counts are a Markov chain in k, so that probability is a sum over its paths, without simulation.

References
----------
Saeilynoja, Buerkner & Vehtari (2022), Statistics and Computing 32, 32: graphical test for discrete uniformity.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import binom

from poolwise.algebra.crossproducts import Array

# Places where the ECDF is looked at: more would not be seen, and cost.
MOST_PLACES = 100


def ecdf_places(L: int) -> NDArray[np.int64]:
    """Ranks at which the ECDF of ranks 0 to L is looked at; all but the last, unless they are many."""
    return np.unique(np.linspace(0, L - 1, min(L, MOST_PLACES)).round().astype(np.int64))


def counts_up_to(ranks: NDArray[np.int64], L: int) -> NDArray[np.int64]:
    """How many ranks are at most each of :func:`ecdf_places`."""
    return np.searchsorted(np.sort(ranks), ecdf_places(L), side="right")


def p_value(ranks: NDArray[np.int64], L: int) -> float:
    """Probability that uniform ranks depart at least as far, at their worst place.

    Parameters
    ----------
    ranks : ndarray of int (N,)
        Each in 0, ..., L.
    L : int
        Largest rank: number of posterior draws.

    Returns
    -------
    float

    Examples
    --------
    >>> p_value(np.arange(100) % 20, 19) > 0.99
    True
    >>> p_value(np.zeros(100, dtype=int), 19) < 1e-6
    True
    """
    N, counts = len(ranks), counts_up_to(ranks, L)
    z = (ecdf_places(L) + 1) / (L + 1)
    tails = 2 * np.minimum(binom.cdf(counts, N, z), binom.sf(counts - 1, N, z))
    return float(np.clip(1 - _inside(N, L, float(tails.min()) * (1 + 1e-9)), 0.0, 1.0))


@cache
def band(N: int, L: int, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest counts at :func:`ecdf_places` that N uniform ranks keep to at once, with this probability.

    Parameters
    ----------
    N : int
        Number of ranks.
    L : int
        Largest rank.
    level : float
        Probability that all counts are inside; at least that, as counts are whole numbers.

    Returns
    -------
    lower, upper : ndarray of int
    """
    low, high = np.log((1 - level) / (2 * len(ecdf_places(L)))), np.log(1 - level)
    for _ in range(40):
        middle = (low + high) / 2
        if _inside(N, L, np.exp(middle)) >= level:
            low = middle
        else:
            high = middle
    return _limits(N, L, np.exp(low))


def _limits(N: int, L: int, gamma: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Range of counts whose two tails both exceed gamma / 2, at each place."""
    z = ((ecdf_places(L) + 1) / (L + 1))[:, None]
    x = np.arange(N + 1)
    fine = (binom.cdf(x, N, z) > gamma / 2) & (binom.sf(x - 1, N, z) > gamma / 2)
    return fine.argmax(axis=1), N - fine[:, ::-1].argmax(axis=1)


def _inside(N: int, L: int, gamma: float) -> float:
    """Probability that uniform ranks stay within the limits at every place."""
    if gamma >= 1:
        return 0.0
    lower, upper = _limits(N, L, gamma)
    z = (ecdf_places(L) + 1) / (L + 1)
    log_factorial = gammaln(np.arange(N + 1) + 1.0)
    chance: Array = np.ones(1)
    start = np.zeros(1, dtype=np.int64)
    before = 0.0
    for k in range(len(z)):
        step = (z[k] - before) / (1 - before)
        now = np.arange(lower[k], upper[k] + 1)
        more, left = now[None] - start[:, None], N - start[:, None]
        possible = more >= 0
        d = np.where(possible, more, 0)
        rest = left - d
        log_pmf = log_factorial[left] - log_factorial[d] - log_factorial[rest] + d * np.log(step)
        log_pmf = log_pmf + rest * np.log1p(-step)
        chance = chance @ np.where(possible, np.exp(log_pmf), 0.0)
        start, before = now, z[k]
    return float(chance.sum())

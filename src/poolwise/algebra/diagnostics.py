"""R-hat and effective sample sizes of Markov chains, after Vehtari et al. (2021); equal to ArviZ's to rounding.

They are here, in numpy alone, because every fit is checked and ArviZ's statistics take longer to import than a small
posterior takes to sample.

References
----------
Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16(2), 667-718.
Geyer (1992), Statistical Science 7, 473-483, for the initial monotone sequence.
"""

import numpy as np
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array

# Draws of a chain below which its halves have no variance.
FEWEST = 4


def rhat(draws: Array) -> float:
    """Rank-normalised split R-hat, the larger of bulk and tail.

    Parameters
    ----------
    draws : ndarray (chain, draw)
        One quantity.

    Returns
    -------
    float
        1 where the chains agree; NaN for a constant, and for chains of fewer than :data:`FEWEST` draws.
    """
    if draws.shape[1] < FEWEST:
        return float("nan")
    folded = np.abs(draws - np.median(draws))
    return max(_split_rhat(_normal_scores(_split(draws))), _split_rhat(_normal_scores(_split(folded))))


def ess_mean(draws: Array) -> float:
    """Effective sample size of the mean of draws (chain, draw); chains too short to tell count whole."""
    return _ess(_split(draws)) if draws.shape[1] >= FEWEST else float(draws.size)


def ess_bulk(draws: Array) -> float:
    """Effective sample size of the rank-normalised draws (chain, draw); NaN of chains too short to tell."""
    if draws.shape[1] < FEWEST:
        return float("nan")
    return _ess(_normal_scores(_split(draws)))


def ess_tail(draws: Array) -> float:
    """Smaller of the effective sample sizes of the 5 % and 95 % quantiles; NaN of chains too short to tell."""
    if draws.shape[1] < FEWEST:
        return float("nan")
    return min(_ess(_split((draws <= np.quantile(draws, p)).astype(np.float64))) for p in (0.05, 0.95))


def _split(draws: Array) -> Array:
    """Halves of each chain as chains of their own; of an odd number of draws the middle one is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: Array) -> Array:
    """Normal quantiles of the ranks over all chains, tied values sharing their mean rank (Blom 1958)."""
    _, position, counts = np.unique(draws.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[position].reshape(draws.shape)
    return ndtri((ranks - 0.375) / (draws.size + 0.25))


def _split_rhat(chains: Array) -> float:
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean()
    between = chains.mean(axis=1).var(ddof=1)
    if within == 0:
        return float("nan")
    return float(np.sqrt((n - 1) / n + between / within))


def _ess(chains: Array) -> float:
    m, n = chains.shape
    if np.ptp(chains) == 0:
        return float(m * n)
    autocovariance = _autocovariance(chains).mean(axis=0)
    within = autocovariance[0] * n / (n - 1)
    total = within * (n - 1) / n
    if m > 1:
        total += chains.mean(axis=1).var(ddof=1)
    rho = 1 - (within - autocovariance) / total
    rho[0] = 1.0
    # Sums of neighbouring pairs of autocorrelations, cut at the first negative one and made monotone.
    pairs = rho[: 2 * ((n - 1) // 2)].reshape(-1, 2)
    sums = pairs.sum(axis=1)
    negative = np.flatnonzero(sums <= 0)
    if not len(sums):
        return float(m * n * np.log10(m * n))
    stop = int(negative[0]) if len(negative) else len(sums) - 1
    tau = -1 + 2 * np.minimum.accumulate(sums[:stop]).sum() + max(pairs[stop, 0], 0.0)
    return float(m * n / max(tau, 1 / np.log10(m * n)))


def _autocovariance(chains: Array) -> Array:
    """Autocovariances (chain, lag) by the fast Fourier transform, divided by the length of the chain."""
    n = chains.shape[1]
    centred = chains - chains.mean(axis=1, keepdims=True)
    length = 1 << (2 * n - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(centred, length)) ** 2
    return np.fft.irfft(spectrum, length)[:, :n] / n

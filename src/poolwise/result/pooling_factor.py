"""The pooling factor: how much of a group-specific effect is the population's word, not the group's own data."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.conditional import conditional_moments
from poolwise.algebra.crossproducts import Array
from poolwise.errors import FitError
from poolwise.spec.sufficient import sufficient

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit


def pooling_factor_draws(fit: "BayesFit", chosen: NDArray[np.int64]) -> Array:
    """Pooling factor of each group and effect for some draws of a fit with one grouping factor.

    The share of a group-specific effect's variance in the population that the group's data leave unexplained,
    Var(u_jk | T, sigma, y) / (T T')_kk: 1 is complete pooling, 0 is none. For a single intercept this is
    (sigma^2 / n_j) / (sigma^2 / n_j + tau^2).

    Parameters
    ----------
    fit : BayesFit
        For the draws of T and sigma.
    chosen : ndarray of int (D,)
        Which draws.

    Returns
    -------
    ndarray (D, J, q)

    References
    ----------
    Gelman & Pardoe (2006), Technometrics 48, 241-251.
    """
    if len(fit.design.factors) != 1:
        raise FitError("pooling factors are worked out for one grouping factor; this model has another number of them")
    (factor,) = fit.design.factors
    collapsed = sufficient(fit.design)
    basis, stats = collapsed.basis, collapsed.stats
    to_effects, own = basis.to_effects, fit.factor_draws(factor)[chosen]
    T, s = np.linalg.solve(to_effects, own), (fit.sigma_draws[chosen] / basis.y_scale) ** 2
    found, b = np.empty((len(chosen), factor.J, len(factor.effects))), np.zeros(stats.p)
    for d in range(len(chosen)):
        _, covariance, _ = conditional_moments(stats, b, T[d], s[d])
        found[d] = np.einsum("kl,jlm,km->jk", to_effects, covariance, to_effects) / (own[d] ** 2).sum(axis=1)
    return found

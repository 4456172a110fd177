"""The pooling factor: how much of a group-specific effect is the population's word, not the group's own data."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.laplace import laplace
from poolwise.errors import FitError
from poolwise.spec.exponential import linear_predictor
from poolwise.spec.sufficient import sufficient

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

# Draws at a time: the arrays of one block stay below about 100 MB.
BLOCK_NUMBERS = 2_000_000


def pooling_factor_draws(fit: "BayesFit", chosen: NDArray[np.int64]) -> Array:
    """Pooling factor of each group and effect for some draws of a fit with one grouping factor.

    The share of a group-specific effect's variance in the population that the group's data leave unexplained,
    Var(u_jk | T, sigma, y) / (T T')_kk: 1 is complete pooling, 0 is none. For a single intercept this is
    (sigma^2 / n_j) / (sigma^2 / n_j + tau^2). Of families other than the Gaussian it is on the scale of the link, the
    variance given the parameters by the Laplace approximation.

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
    if not fit.design.collapses:
        return _by_laplace(fit, chosen)
    (factor,) = fit.design.factors
    collapsed = sufficient(fit.design)
    basis, stats = collapsed.basis, collapsed.stats
    own = fit.factor_draws(factor)[chosen]
    T, s = np.linalg.solve(basis.to_effects, own), (fit.sigma_draws[chosen] / basis.y_scale) ** 2
    q, population = len(factor.effects), (own**2).sum(axis=2)
    found = np.empty((len(chosen), factor.J, q))
    block = max(1, BLOCK_NUMBERS // (factor.J * q * q))
    for start in range(0, len(chosen), block):
        rows = slice(start, start + block)
        M = np.einsum("dkl,jkm,dmo->djlo", T[rows], stats.ZtZ, T[rows], optimize=True)
        M += s[rows, None, None, None] * np.eye(q)
        # Conditional covariance s T M^-1 T' of the effects, in the units of the data.
        covariance = np.einsum("dkl,djlm,dkm->djk", own[rows], np.linalg.inv(M), own[rows], optimize=True)
        found[rows] = s[rows, None, None] * covariance / population[rows, None, :]
    return found


def _by_laplace(fit: "BayesFit", chosen: NDArray[np.int64]) -> Array:
    predictor = linear_predictor(fit.design)
    (factor,) = fit.design.factors
    basis, problem = predictor.basis, predictor.problem
    _, matrix = basis.to_coefficients
    b = np.linalg.solve(matrix, fit.coefficients[chosen].T).T
    own = fit.factor_draws(factor)[chosen]
    Lambda = np.linalg.solve(basis.to_effects, own)
    log_own = np.zeros(len(chosen))
    if problem.rows.free:
        (name,) = fit.family_draws
        log_own = np.log(fit.family_draws[name][chosen, 0])
    found, u = np.empty((len(chosen), factor.J, len(factor.effects))), None
    for d in range(len(chosen)):
        point = laplace(problem, Lambda[d], b[d], float(log_own[d]), u)
        u = point.u
        (blocks,) = point.inverse.blocks()
        covariance = np.einsum("kl,jlm,km->jk", own[d], blocks, own[d])
        found[d] = covariance / (own[d] ** 2).sum(axis=1)
    return found

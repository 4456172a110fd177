"""How far each group is pulled: pooling factors and the estimates they stand between."""

import numpy as np
import pandas as pd

from poolwise.algebra.conditional import conditional_moments
from poolwise.algebra.crossproducts import Array
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit

# Posterior draws over which the pooling factor is averaged; its Monte Carlo error is then below 0.02.
DRAWS = 400


def pooling_factors(fit: BayesFit, reml: FrequentistFit) -> Array:
    """Posterior mean of each group's pooling factor, (J, q).

    The share of a group-specific effect's variance in the population that the group's data leave unexplained,
    Var(u_jk | T, sigma, y) / (T T')_kk: 1 is complete pooling, 0 is none. For a single intercept this is
    (sigma^2 / n_j) / (sigma^2 / n_j + tau^2).

    Parameters
    ----------
    fit : BayesFit
        For the draws of T and sigma.
    reml : FrequentistFit
        Of the same model, for its sufficient statistics.

    Returns
    -------
    ndarray

    References
    ----------
    Gelman & Pardoe (2006), Technometrics 48, 241-251.
    """
    factor = reml.factor
    if factor is None:
        raise ValueError("the model has no groups")
    basis, stats = reml.sufficient.basis, reml.sufficient.stats
    to_effects, own = basis.to_effects, fit.factor_draws(factor)
    T = np.linalg.solve(to_effects, own)
    s = (fit.sigma_draws / basis.y_scale) ** 2
    chosen = np.unique(np.linspace(0, len(s) - 1, DRAWS).astype(int))
    total = np.zeros((factor.J, len(factor.effects)))
    b = np.zeros(stats.p)
    for d in chosen:
        _, covariance, _ = conditional_moments(stats, b, T[d], s[d])
        variance = np.einsum("kl,jlm,km->jk", to_effects, covariance, to_effects)
        total += variance / (own[d] ** 2).sum(axis=1)
    return total / len(chosen)


def shrinkage_table(none: pd.DataFrame, complete: pd.Series, reml: FrequentistFit, bayes: BayesFit) -> pd.DataFrame:
    """One row for each group and varying term.

    Parameters
    ----------
    none : DataFrame
        coef() without pooling.
    complete : Series
        Coefficients under complete pooling.
    reml, bayes
        The partial-pooling fits.

    Returns
    -------
    DataFrame
        Columns group, term, n, no_pooling, complete_pooling, partial_reml, partial_bayes, lower, upper (of the Bayesian
        interval), pooling_factor.
    """
    factor = reml.factor
    if factor is None:
        raise ValueError("the model has no groups")
    keys = ["group", "term"]
    partial = bayes.coef(factor=factor.name)
    table = partial[partial["term"].isin(factor.effects)].drop(columns="factor")
    table = table.rename(columns={"estimate": "partial_bayes"})
    table = table.merge(reml.coef()[[*keys, "estimate"]].rename(columns={"estimate": "partial_reml"}), on=keys)
    own = none[[*keys, "estimate"]].rename(columns={"estimate": "no_pooling"})
    table = table.merge(own, on=keys, how="left")
    table["complete_pooling"] = table["term"].map(complete)
    factors = pd.DataFrame(pooling_factors(bayes, reml), index=factor.labels, columns=list(factor.effects))
    long = factors.rename_axis("group").reset_index().melt("group", var_name="term", value_name="pooling_factor")
    columns = [*keys, "n", "no_pooling", "complete_pooling", "partial_reml", "partial_bayes", "lower", "upper"]
    return table.merge(long, on=keys)[[*columns, "pooling_factor"]]

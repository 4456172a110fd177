"""How far each group is pulled: pooling factors and the estimates they stand between."""

import numpy as np
import pandas as pd

from poolwise.algebra.crossproducts import Array
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.pooling_factor import pooling_factor_draws

# Posterior draws over which the pooling factor is averaged; its Monte Carlo error is then below 0.02.
DRAWS = 400


def pooling_factors(fit: BayesFit) -> Array:
    """Posterior mean of each group's pooling factor, (J, q)."""
    D = len(fit.coefficients)
    return pooling_factor_draws(fit, np.unique(np.linspace(0, D - 1, DRAWS).astype(int))).mean(axis=0)


def shrinkage_table(
    none: pd.DataFrame,
    complete: pd.Series,
    partial: FrequentistFit | GLMMFit,
    bayes: BayesFit,
    name: str = "partial_reml",
) -> pd.DataFrame:
    """One row for each group and varying term.

    Parameters
    ----------
    none : DataFrame
        coef() without pooling.
    complete : Series
        Coefficients under complete pooling.
    partial, bayes
        The partial-pooling fits, without and with priors.
    name : str, default "partial_reml"
        Column of the former.

    Returns
    -------
    DataFrame
        Columns group, term, n, no_pooling, complete_pooling, ``name``, partial_bayes, lower, upper (of the Bayesian
        interval), pooling_factor.
    """
    factor = partial.factor
    if factor is None:
        raise ValueError("the model has no groups")
    keys = ["group", "term"]
    table = bayes.coef(factor=factor.name)
    table = table[table["term"].isin(factor.effects)].drop(columns="factor")
    table = table.rename(columns={"estimate": "partial_bayes"})
    table = table.merge(partial.coef()[[*keys, "estimate"]].rename(columns={"estimate": name}), on=keys)
    own = none[[*keys, "estimate"]].rename(columns={"estimate": "no_pooling"})
    table = table.merge(own, on=keys, how="left")
    table["complete_pooling"] = table["term"].map(complete)
    factors = pd.DataFrame(pooling_factors(bayes), index=factor.labels, columns=list(factor.effects))
    long = factors.rename_axis("group").reset_index().melt("group", var_name="term", value_name="pooling_factor")
    columns = [*keys, "n", "no_pooling", "complete_pooling", name, "partial_bayes", "lower", "upper"]
    return table.merge(long, on=keys)[[*columns, "pooling_factor"]]

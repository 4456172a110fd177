"""Varying slopes on a predictor far from zero, where the group intercepts stand far outside the data.

Correlated effects are centred by the algebra, and their priors by the preset unless it puts them at zero; uncorrelated
effects are uncorrelated at zero only, so that the formula itself has to be centred.
"""

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.spec.design import Design

# Beyond this distance of the mean from zero, in sds within groups, the sd of the group intercepts at zero is dominated
# by the slopes: its prior, scaled to the response, then pulls the slopes' sd down, and the two are hardly told apart.
DISTANCE = 5.0


def uncentred_slopes(design: Design, *, centred: bool) -> pd.DataFrame:
    """Numeric predictors with varying slopes, beside varying intercepts, whose mean is far from zero.

    Parameters
    ----------
    design : Design
    centred : bool
        Whether the intercepts of correlated effects stand at the means of their predictors.

    Returns
    -------
    DataFrame
        Columns factor, term, mean, sd, distance (mean over sd); empty where nothing is far.
    """
    rows = []
    for factor in design.factors:
        if names.INTERCEPT not in factor.effects:
            continue
        beside = factor.structure.block_of[factor.effects.index(names.INTERCEPT)]
        for k, effect in enumerate(factor.effects):
            if centred and factor.structure.block_of[k] == beside:
                continue
            mean, sd = factor.spread(k)
            if effect != names.INTERCEPT and sd > 0 and abs(mean) > DISTANCE * sd:
                rows.append((factor.name, effect, mean, sd, abs(mean) / sd))
    return pd.DataFrame(rows, columns=["factor", "term", "mean", "sd", "distance"]).astype({"distance": np.float64})


def uncentred_text(table: pd.DataFrame) -> str:
    """What it means and what to do, in a sentence."""
    row = table.iloc[0]
    return (
        f"the slope of {row['term']!r} varies by {row['factor']!r}, but its mean {row['mean']:.4g} is "
        f"{row['distance']:.3g} sds from zero: the varying intercepts stand far outside the data, where their prior "
        f"and their optimum distort the fit; write center({row['term']}) in the formula, common part and block"
    )

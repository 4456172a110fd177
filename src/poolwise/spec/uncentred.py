"""Varying slopes on a predictor far from zero: the group intercepts then stand far outside the data."""

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.spec.design import Design

# Beyond this distance of the mean from zero, in sds within groups, the sd of the group intercepts at zero is dominated
# by the slopes: its prior, scaled to the response, then pulls the slopes' sd down, and the two are hardly told apart.
DISTANCE = 5.0


def uncentred_slopes(design: Design) -> pd.DataFrame:
    """Numeric predictors with varying slopes, beside varying intercepts, whose mean is far from zero.

    Parameters
    ----------
    design : Design

    Returns
    -------
    DataFrame
        Columns factor, term, mean, sd, distance (mean over sd); empty where nothing is far.
    """
    rows = []
    for factor in design.factors:
        if names.INTERCEPT not in factor.effects:
            continue
        for k, effect in enumerate(factor.effects):
            mean, sd = float(factor.Z[:, k].mean()), float(factor.Z[:, k].std())
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

"""Do the intervals of group coefficients vanish: conditional ones far narrower than what is really known?"""

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.check.finding import Finding
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit

# A conditional interval below this share of the Bayesian one hides more than three quarters of the uncertainty.
WIDTH_RATIO = 0.25


def interval_widths(fit: FrequentistFit | GLMMFit, bayes: BayesFit, level: float = 0.95) -> pd.DataFrame:
    """Widths of the three kinds of interval, a row for each group and varying term.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit
        For the conditional and total intervals.
    bayes : BayesFit
        For the Bayesian ones; same formula and data.
    level : float, default 0.95

    Returns
    -------
    DataFrame
        Columns group, term, n, conditional, total, bayes, ratio (conditional to bayes).
    """
    factor = fit.factor
    if factor is None:
        return pd.DataFrame(columns=["group", "term", "n", "conditional", "total", "bayes", "ratio"])

    def width(table: pd.DataFrame) -> pd.Series:
        return table["upper"] - table["lower"]

    table = fit.coef("conditional", level)[["group", "term", "n"]].copy()
    table["conditional"] = width(fit.coef("conditional", level))
    table["total"] = width(fit.coef("total", level))
    table["bayes"] = width(bayes.coef(level=level, factor=factor.name))
    table["ratio"] = table["conditional"] / table["bayes"]
    return table[table["term"].isin(factor.effects)].reset_index(drop=True)


def vanishing_intervals(fit: FrequentistFit | GLMMFit, bayes: BayesFit, level: float = 0.95) -> list[Finding]:
    """One finding for each varying term whose conditional intervals are a small part of the Bayesian ones.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit
        A partial-pooling fit by REML or ML.
    bayes : BayesFit
        The Bayesian fit of the same model.
    level : float, default 0.95

    Returns
    -------
    list of Finding
        Code ``vanishing_intervals``.
    """
    found = []
    for term, table in interval_widths(fit, bayes, level).groupby("term", sort=False):
        ratio = float(table["ratio"].median())
        # An infinite estimate has no interval that could vanish.
        if np.isnan(ratio) or ratio >= WIDTH_RATIO:
            continue
        name = "intercepts" if term == names.INTERCEPT else f"slopes of {term}"
        found.append(
            Finding(
                code="vanishing_intervals",
                severity="serious",
                title=(
                    f"the conditional {level:.0%} intervals of the {name} by group are {_range(table['conditional'])} "
                    f"wide, the Bayesian ones {_range(table['bayes'])} (median ratio {ratio:.2f})"
                ),
                value=ratio,
                threshold=WIDTH_RATIO,
                meaning=(
                    "Conditional standard deviations take the common effects and the group variances as known. Where "
                    "the estimated variance is near zero they vanish, although the data say little about the groups. "
                    f"The total intervals, {_range(table['total'])} wide, add the "
                    "common effects; only the Bayesian ones add the uncertainty of the variances."
                ),
                advice=(
                    "Report the Bayesian intervals, coef() of the partial_bayes fit; where a frequentist interval must "
                    'stand, use interval="total" and say that it takes the variances as known.'
                ),
                reference="Henderson (1975), Biometrics 31, 423-447; Gelman & Hill (2007), section 12.4.",
                table=table.reset_index(drop=True),
            )
        )
    return found


def _range(widths: pd.Series) -> str:
    return f"{widths.min():.2g} to {widths.max():.2g}"

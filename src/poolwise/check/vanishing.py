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
KINDS = ("conditional", "total", "bayes")


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
        Columns group, term, n, conditional, total, bayes, ratio (conditional to bayes), ratio_total (total to bayes),
        ratio_effect (conditional to the posterior's interval of the group-specific effect alone); of the first grouping
        factor, the smallest groups first.
    """
    if fit.factor is None:
        return pd.DataFrame(columns=["group", "term", "n", *KINDS, "ratio", "ratio_total", "ratio_effect"])
    long = intervals_by_kind(fit, bayes, level)
    long = long[long["factor"] == fit.factor.name]
    table = long[long["kind"] == "conditional"][["group", "term", "n"]].reset_index(drop=True)
    for kind in KINDS:
        table[kind] = long.loc[long["kind"] == kind, "width"].to_numpy()
    table["ratio"], table["ratio_total"] = table["conditional"] / table["bayes"], table["total"] / table["bayes"]
    ends = np.quantile(bayes.effects(bayes.design.factors[0]), [(1 - level) / 2, (1 + level) / 2], axis=0)
    effects = pd.DataFrame(ends[1] - ends[0], index=fit.factor.labels, columns=list(fit.factor.effects))
    own = [effects.loc[group, term] for group, term in zip(table["group"], table["term"], strict=True)]
    table["ratio_effect"] = table["conditional"] / own
    return table.sort_values("n", kind="stable", ignore_index=True)


def intervals_by_kind(fit: FrequentistFit | GLMMFit, bayes: BayesFit, level: float = 0.95) -> pd.DataFrame:
    """The three kinds of interval side by side, for each group of each grouping factor and each varying term.

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
        Columns factor, group, term, n, kind (conditional, total or bayes), estimate, lower, upper, width, ratio (of the
        width to the Bayesian one): what a picture of the ratio against the size of the group draws.
    """
    parts = []
    for factor in fit.design.factors:
        known = bayes.coef(level=level, factor=factor.name)
        known = known[known["term"].isin(factor.effects)]
        for kind in KINDS:
            table = known if kind == "bayes" else fit.coef(kind, level)
            table = table[(table["factor"] == factor.name) & table["term"].isin(factor.effects)].copy()
            table.insert(4, "kind", kind)
            table["width"] = table["upper"] - table["lower"]
            table["ratio"] = table["width"].to_numpy() / (known["upper"] - known["lower"]).to_numpy()
            parts.append(table)
    columns = ["factor", "group", "term", "n", "kind", "estimate", "lower", "upper", "width", "ratio"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def vanishing_intervals(
    fit: FrequentistFit | GLMMFit, bayes: BayesFit, level: float = 0.95, *, width_ratio: float = WIDTH_RATIO
) -> list[Finding]:
    """One finding for each varying term whose conditional intervals are a small part of the Bayesian ones.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit
        A partial-pooling fit by REML or ML.
    bayes : BayesFit
        The Bayesian fit of the same model.
    level : float, default 0.95
    width_ratio : float, default 0.25
        Median ratio of conditional to Bayesian widths below which the intervals have vanished: of the coefficients,
        and of the group-specific effects alone. A common effect that is poorly known, such as the intercept at a
        distant zero, widens the former without the variance being small.

    Returns
    -------
    list of Finding
        Code ``vanishing_intervals``.
    """
    found = []
    for term, table in interval_widths(fit, bayes, level).groupby("term", sort=False):
        ratio = float(table["ratio"].median())
        # An infinite estimate has no interval that could vanish.
        if np.isnan(ratio) or ratio >= width_ratio or table["ratio_effect"].median() >= width_ratio:
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
                threshold=width_ratio,
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
                figure=table.reset_index(drop=True),
            )
        )
    return found


def _range(widths: pd.Series) -> str:
    return f"{widths.min():.2g} to {widths.max():.2g}"

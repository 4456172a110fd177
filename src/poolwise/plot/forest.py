"""The coefficients of every group, a panel a fit."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.errors import UnknownNameError, near_names
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import (
    KINDS,
    bare,
    group_ticks,
    heads_beyond,
    left_out,
    pooled_range,
    smallest_and_largest,
    title_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

PANELS = {
    "complete": "complete pooling",
    "none": "no pooling",
    "partial_reml": "partial pooling, REML",
    "partial_laplace": "partial pooling, Laplace",
    "partial_bayes": "partial pooling, Bayesian",
}


def forest_frame(study: "PoolingStudy", term: str | None = None, level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: a row a fit, kind of interval and group, of one term.

    Parameters
    ----------
    study : PoolingStudy
    term : str, optional
        A varying effect; by default the first slope, or the intercept where there is none.
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    DataFrame
        Columns fit, interval, group, n, estimate, lower, upper, position; the smallest group at the bottom. Complete
        pooling has the same row for every group.

    Raises
    ------
    UnknownNameError
        If no effect of that name varies.
    """
    term = _term(study, term)
    table = study.coef(level)
    table = table[(table["term"] == term) & table["fit"].isin(list(PANELS))]
    sizes = smallest_and_largest(pd.Series(study.factor.sizes, index=study.factor.labels))
    place = {group: k for k, group in enumerate(sizes.index)}
    complete = table[table["fit"] == "complete"]
    repeated = complete.drop(columns=["group", "n"]).merge(
        sizes.rename("n").rename_axis("group").reset_index(), how="cross"
    )
    own = table[(table["fit"] != "complete") & table["group"].isin(place)]
    found = pd.concat([repeated, own], ignore_index=True)
    found["position"] = found["group"].map(place)
    return found[["fit", "interval", "group", "n", "estimate", "lower", "upper", "position"]]


def _term(study: "PoolingStudy", term: str | None) -> str:
    effects = study.factor.effects
    if term is None:
        return next((effect for effect in effects if effect != names.INTERCEPT), effects[0])
    if term not in effects:
        raise UnknownNameError(f"no effect {term!r} varies by {study.factor.name}; {near_names(term, effects)}")
    return term


@legible
def plot_forest(study: "PoolingStudy", term: str | None = None, level: float = 0.95) -> "Figure":
    """Draw the coefficients of a term under complete, no and partial pooling, a panel a fit.

    Parameters
    ----------
    study : PoolingStudy
    term : str, optional
        As in :func:`forest_frame`.
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    term = _term(study, term)
    table = forest_frame(study, term, level)
    fits = [fit for fit in PANELS if fit in set(table["fit"])]
    groups = table["group"].nunique()
    figure = Figure(figsize=(2.7 * len(fits) + 1.6, 1.7 + 0.27 * groups), layout="constrained")
    axes = figure.subplots(1, len(fits), sharex=True, sharey=True, squeeze=False)[0]
    low, high = pooled_range(table)
    for axis, fit in zip(axes, fits, strict=True):
        own = table[table["fit"] == fit]
        for kind, style in KINDS.items():
            part = own[(own["interval"] == kind) & np.isfinite(own["estimate"])]
            y, lw = part["position"], 1.0 if kind == "total" else style["lw"]
            axis.hlines(y, part["lower"].clip(low, high), part["upper"].clip(low, high), color=style["color"], lw=lw)
            heads_beyond(axis, part, y, low, high, style["color"])
            inside = part[part["estimate"].between(low, high)]
            axis.plot(
                inside["estimate"], inside["position"], style["marker"], color=style["color"], mfc=style["mfc"], ms=4
            )
        if own["estimate"].isna().all():
            axis.text(
                0.5, 0.5, "not identified by\nany group's rows", transform=axis.transAxes, ha="center", va="center"
            )
        axis.axvline(table.loc[table["fit"] == "complete", "estimate"].iloc[0], color="black", ls=":", lw=1)
        axis.set_title(PANELS[fit], fontsize=10)
        bare(axis, "x")
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].set_xlim(low, high)
    group_ticks(axes[0], table)
    name, less = plain(study.factor.name, 30), left_out(groups, study.factor.J)
    less = f"\n{less}" if less else ""
    response = plain(study.model.design.formula.response, 30)
    figure.suptitle(
        f"{response}: {title_of(term)} by {name}, {level:.0%} intervals" + (f"\n{less}" if less else ""), fontsize=12
    )
    partial = axes[fits.index("partial_reml" if "partial_reml" in fits else "partial_laplace")]
    partial.set_xlabel("thick: conditional interval; thin: total", fontsize=8)
    return figure

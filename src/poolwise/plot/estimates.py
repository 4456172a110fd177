"""Estimates and intervals of every group, no pooling beside partial pooling."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import (
    KINDS,
    bare,
    group_ticks,
    left_out,
    legend_below,
    pooled_range,
    smallest_and_largest,
    title_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

# The fits that have intervals, by group, and how far from the middle of the group's row each kind stands.
METHODS = {"none": "", "partial_reml": "REML, ", "partial_laplace": "Laplace, ", "partial_bayes": ""}
# One panel is narrower than the legend in three columns and the title, in inches.
NARROWEST = 7.4
OFFSETS = {"separate": 0.27, "total": 0.09, "conditional": -0.09, "bayes": -0.27}


def estimates_frame(study: "PoolingStudy", level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: a row for each fit, kind of interval, group and varying term.

    Parameters
    ----------
    study : PoolingStudy
    level : float, default 0.95

    Returns
    -------
    DataFrame
        Columns fit, interval, group, term, estimate, lower, upper, n, position; the smallest group at the bottom.
    """
    table = study.coef(level)
    kept = table["fit"].isin(list(METHODS)) & table["interval"].isin(list(OFFSETS))
    table = table[kept & table["term"].isin(study.factor.effects)]
    sizes = smallest_and_largest(table.sort_values("group").drop_duplicates("group").set_index("group")["n"])
    position = {group: place for place, group in enumerate(sizes.index)}
    table = table[table["group"].isin(position)]
    return table.assign(position=table["group"].map(position)).reset_index(drop=True)


@legible
def plot_estimates(study: "PoolingStudy", level: float = 0.95) -> "Figure":
    """Draw estimates and intervals by group, one panel a varying term; a line to the edge is an interval beyond it.

    Parameters
    ----------
    study : PoolingStudy
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    table = estimates_frame(study, level)
    terms = [term for term in study.factor.effects if term in set(table["term"])]
    groups = table["group"].nunique()
    figure = Figure(figsize=(max(NARROWEST, 5.2 * len(terms)), 1.9 + 0.42 * groups), layout="constrained")
    axes = figure.subplots(1, len(terms), sharey=True, squeeze=False)[0]
    for axis, term in zip(axes, terms, strict=True):
        _panel(axis, table[table["term"] == term], study.complete.fixef.get(term), term)
    group_ticks(axes[0], table)
    axes[0].set_ylabel(plain(study.factor.name))
    response, less = plain(study.model.design.formula.response), left_out(groups, study.factor.J)
    figure.suptitle(
        f"Coefficients of {response} by {plain(study.factor.name)}, {level:.0%} intervals"
        + (f" ({less})" if less else ""),
        fontsize=12,
    )
    legend_below(figure, axes[0], 3)
    return figure


def _panel(axis, table: pd.DataFrame, complete: float | None, term: str) -> None:
    known = [] if complete is None or not np.isfinite(complete) else [complete]
    low, high = pooled_range(table, *known)
    for (fit, kind), part in table.groupby(["fit", "interval"], sort=False):
        # An infinite estimate, of a group whose responses are perfectly predicted, has no place on an axis.
        part = part[np.isfinite(part["estimate"])]
        style, y = KINDS[kind], part["position"] + OFFSETS[kind]
        axis.hlines(
            y, part["lower"].clip(low, high), part["upper"].clip(low, high), color=style["color"], lw=style["lw"]
        )
        inside = part["estimate"].between(low, high)
        look = dict(color=style["color"], mfc=style["mfc"], ms=5, label=METHODS[fit] + style["label"])
        axis.plot(part["estimate"][inside], y[inside], style["marker"], **look)
    for value in known:
        axis.axvline(value, color="black", ls=":", lw=1, label="complete pooling")
    axis.set_xlim(low, high)
    axis.set_xlabel(title_of(term))
    bare(axis, "x")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)

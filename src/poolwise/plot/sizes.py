"""Estimates and intervals against the size of a group, a column a kind of interval, and the widths of all kinds."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import KINDS, bare, legend_below, side_by_side, size_axis, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

POOLED = ("conditional", "total", "bayes")
TERMS_SHOWN = 3
# More groups than this have thinner lines and smaller marks.
MANY = 60
# Panels reach this often the widest Bayesian interval. Classes of size, and line styles of the median widths.
BEYOND, CLASSES, LINES = 20.0, 12, {"separate": ":", "total": "--", "conditional": "-.", "bayes": "-"}


def sizes_frame(study: "PoolingStudy", level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: a row a kind of interval, group and varying term.

    Parameters
    ----------
    study : PoolingStudy
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    DataFrame
        Columns interval (separate: no pooling; conditional and total: REML or Laplace; bayes), group, term, n, x,
        estimate, lower, upper, width. x is n, groups of one size a little apart.
    """
    table = study.coef(level)
    fits = ("none", "partial_reml", "partial_laplace", "partial_bayes")
    table = table[table["fit"].isin(fits) & table["term"].isin(study.factor.effects)]
    sizes = pd.Series(study.factor.sizes, index=study.factor.labels)
    x = pd.Series(side_by_side(sizes), index=sizes.index)
    found = table.assign(x=table["group"].map(x), width=table["upper"] - table["lower"])
    columns = ["interval", "group", "term", "n", "x", "estimate", "lower", "upper", "width"]
    return found[columns].reset_index(drop=True)


@legible
def plot_sizes(study: "PoolingStudy", level: float = 0.95) -> "Figure":
    """Draw estimates and intervals, and the intervals' widths, against the size of the groups.

    Parameters
    ----------
    study : PoolingStudy
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot. A row a varying term, the first three of them.
    """
    from matplotlib.figure import Figure

    table = sizes_frame(study, level)
    factor, terms = study.factor, study.factor.effects[:TERMS_SHOWN]
    figure = Figure(figsize=(12.0, 2.9 * len(terms) + 1.2), layout="constrained")
    axes = figure.subplots(len(terms), len(POOLED) + 1, squeeze=False, sharex=True)
    for row, term in zip(axes, terms, strict=True):
        own = table[table["term"] == term]
        for axis, kind in zip(row, POOLED, strict=False):
            _estimates(axis, own[own["interval"] == kind], kind, study.complete.fixef.get(term))
            axis.set_ylim(*_range(own[own["interval"].isin(POOLED)]))
            axis.tick_params(labelleft=axis is row[0])
        row[0].set_ylabel(title_of(term, 30))
        _widths(row[-1], own)
    for axis, kind in zip(axes[0], POOLED, strict=False):
        axis.set_title(str(KINDS[kind]["label"]), fontsize=10)
    axes[0, -1].set_title("width of the intervals (log scale)", fontsize=10)
    for axis in axes[-1]:
        size_axis(axis, table["n"], "rows in the group (log scale)")
    what = f"{plain(study.model.design.formula.response, 30)} by {plain(factor.name, 30)}"
    left_out = "" if len(terms) == len(factor.effects) else f" (first {len(terms)} of {len(factor.effects)} terms)"
    figure.suptitle(f"{what}: {level:.0%} intervals against group size{left_out}", fontsize=12)
    legend_below(figure, axes[0, -1], 4)
    return figure


def _range(pooled: pd.DataFrame) -> tuple[float, float]:
    """All intervals, with a margin."""
    low, high = float(pooled["lower"].min()), float(pooled["upper"].max())
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def _estimates(axis: "Axes", table: pd.DataFrame, kind: str, complete: float | None) -> None:
    style, many = KINDS[kind], len(table) > MANY
    alpha = 0.35 if many else 1.0
    axis.vlines(table["x"], table["lower"], table["upper"], color=style["color"], lw=0.5 if many else 1.6, alpha=alpha)
    axis.plot(table["x"], table["estimate"], ".", color="black", ms=1.5 if many else 5)
    if complete is not None and np.isfinite(complete):
        axis.axhline(complete, color="black", ls=":", lw=1)
    bare(axis)


def _widths(axis: "Axes", table: pd.DataFrame) -> None:
    """A mark a group; of many groups the median width along their size, a line style a kind."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    many = table["group"].nunique() > MANY
    for kind, style in KINDS.items():
        own = table[(table["interval"] == kind) & (table["width"] > 0) & np.isfinite(table["width"])]
        if many:
            classes = own.groupby(pd.qcut(own["n"], CLASSES, duplicates="drop"), observed=True)[["n", "width"]].median()
            axis.plot(classes["n"], classes["width"], color=style["color"], ls=LINES[kind], lw=2, label=style["label"])
            axis.plot(own["x"], own["width"], ".", color=style["color"], ms=1.5, alpha=0.3, zorder=1)
            continue
        look = dict(color=style["color"], mfc=style["mfc"], ms=5, label=style["label"])
        axis.plot(own["x"], own["width"], style["marker"], **look)
    axis.set_yscale("log")
    # Two rows have an interval of their own that may be thousands of times as wide as all others.
    axis.set_ylim(top=min(axis.get_ylim()[1], BEYOND * float(table.loc[table["interval"] == "bayes", "width"].max())))
    decades = np.log10(axis.get_ylim()[1] / axis.get_ylim()[0])
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    bare(axis)

"""Estimates and intervals of every group, no pooling beside partial pooling."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import legible, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

# Okabe & Ito's colour-blind safe palette; shapes and line widths tell the fits apart in grey.
STYLE = {
    ("none", "separate"): dict(label="no pooling", color="#999999", marker="o", mfc="white", lw=1.0, offset=0.27),
    ("partial_reml", "total"): dict(
        label="REML, total interval", color="#0072B2", marker="s", mfc="white", lw=1.2, offset=0.09
    ),
    ("partial_reml", "conditional"): dict(
        label="REML, conditional interval", color="#D55E00", marker="s", mfc="#D55E00", lw=3.0, offset=-0.09
    ),
    ("partial_laplace", "total"): dict(
        label="Laplace, total interval", color="#0072B2", marker="s", mfc="white", lw=1.2, offset=0.09
    ),
    ("partial_laplace", "conditional"): dict(
        label="Laplace, conditional interval", color="#D55E00", marker="s", mfc="#D55E00", lw=3.0, offset=-0.09
    ),
    ("partial_bayes", "bayes"): dict(
        label="Bayesian", color="#009E73", marker="D", mfc="#009E73", lw=1.8, offset=-0.27
    ),
}
# Beyond this many groups the labels of single groups cannot be read: the smallest and largest groups are drawn.
GROUPS_SHOWN = 30


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
    keys = pd.Series(list(zip(table["fit"], table["interval"], strict=True)), index=table.index)
    table = table[keys.isin(list(STYLE)) & table["term"].isin(study.factor.effects)].copy()
    sizes = table.drop_duplicates("group").sort_values(["n", "group"])[["group", "n"]]
    if len(sizes) > GROUPS_SHOWN:
        half = GROUPS_SHOWN // 2
        sizes = pd.concat([sizes.head(half), sizes.tail(GROUPS_SHOWN - half)])
    position = {group: place for place, group in enumerate(sizes["group"])}
    table = table[table["group"].isin(position)]
    return table.assign(position=table["group"].map(position)).reset_index(drop=True)


@legible
def plot_estimates(study: "PoolingStudy", level: float = 0.95) -> "Figure":
    """Draw estimates and intervals by group, one panel a varying term.

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
    groups = table.drop_duplicates("group").sort_values("position")
    height = 1.9 + 0.42 * len(groups)
    figure = Figure(figsize=(5.2 * len(terms), height), layout="constrained")
    axes = figure.subplots(1, len(terms), sharey=True, squeeze=False)[0]
    for axis, term in zip(axes, terms, strict=True):
        _panel(axis, table[table["term"] == term], study.complete.fixef.get(term), term)
    axes[0].set_yticks(
        groups["position"], [short_label(g, n) for g, n in zip(groups["group"], groups["n"], strict=True)]
    )
    axes[0].set_ylabel(plain(study.factor.name))
    response = plain(study.model.design.formula.response)
    left_out = (
        "" if len(groups) == study.factor.J else f" ({len(groups)} of {study.factor.J} groups: smallest and largest)"
    )
    figure.suptitle(
        f"Coefficients of {response} by {plain(study.factor.name)}, {level:.0%} intervals{left_out}", fontsize=12
    )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _panel(axis, table: pd.DataFrame, complete: float | None, term: str) -> None:
    for (fit, kind), style in STYLE.items():
        # An infinite estimate, of a group whose responses are perfectly predicted, has no place on an axis.
        part = table[(table["fit"] == fit) & (table["interval"] == kind) & np.isfinite(table["estimate"])]
        if part.empty:
            continue
        y = part["position"] + style["offset"]
        axis.hlines(y, part["lower"], part["upper"], color=style["color"], lw=style["lw"])
        axis.plot(
            part["estimate"], y, style["marker"], color=style["color"], mfc=style["mfc"], ms=5, label=style["label"]
        )
    if complete is not None and np.isfinite(complete):
        axis.axvline(complete, color="black", ls=":", lw=1, label="complete pooling")
    axis.set_xlabel("intercept" if term == names.INTERCEPT else f"slope of {plain(term)}")
    axis.grid(axis="x", color="#e5e5e5", lw=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_axisbelow(True)


def short_label(group: str, n: int) -> str:
    """A group and its size, short enough for an axis."""
    return f"{plain(group, 24)} (n = {n})"

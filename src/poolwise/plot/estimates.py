"""Estimates and intervals of every group: no pooling beside partial pooling, or those of one fit."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import (
    KINDS,
    bare,
    group_ticks,
    heads_beyond,
    left_out,
    legend_below,
    pooled_range,
    smallest_and_largest,
    title_of,
)
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.tables import choose_factor
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

Fit = BayesFit | FrequentistFit | GLMMFit
# The fits that have intervals, by group, and how far from the middle of the group's row each kind stands.
ONE = "fit"
METHODS = {"none": "", "partial_reml": "REML, ", "partial_laplace": "Laplace, ", "partial_bayes": "", ONE: ""}
# What the dotted line is, of a study and of a fit.
COMPLETE, COMMON = "complete pooling", "common effect"
# One panel is narrower than the legend in three columns and the title, in inches.
NARROWEST = 7.4
OFFSETS = {"separate": 0.27, "total": 0.09, "conditional": -0.09, "bayes": -0.27}


def estimates_frame(source: "PoolingStudy | Fit", level: float = 0.95, factor: str | None = None) -> pd.DataFrame:
    """The frame that is drawn: a row for each fit, kind of interval, group and varying term.

    Parameters
    ----------
    source : PoolingStudy, BayesFit, FrequentistFit or GLMMFit
        A study has all its fits, a fit itself, called ``fit``.
    level : float, default 0.95
    factor : str, optional
        Grouping factor of a fit that has several; the first by default.

    Returns
    -------
    DataFrame
        Columns fit, interval, group, term, estimate, lower, upper, n, position; the smallest group at the bottom.

    Raises
    ------
    ArgumentError
        For a fit without groups.
    UnknownNameError
        If there is no such grouping factor.
    """
    table = _coef_of_fit(source, level, factor) if isinstance(source, Fit) else source.coef(level)
    kept = table["fit"].isin(list(METHODS)) & table["interval"].isin(list(OFFSETS))
    table = table[kept & table["term"].isin(_varying(source, factor))]
    sizes = smallest_and_largest(table.sort_values("group").drop_duplicates("group").set_index("group")["n"])
    position = {group: place for place, group in enumerate(sizes.index)}
    table = table[table["group"].isin(position)]
    return table.assign(position=table["group"].map(position)).reset_index(drop=True)


@legible
def plot_estimates(source: "PoolingStudy | Fit", level: float = 0.95, factor: str | None = None) -> "Figure":
    """Draw estimates and intervals by group, one panel a varying term; an arrowhead is an interval that goes on.

    Parameters
    ----------
    source : PoolingStudy, BayesFit, FrequentistFit or GLMMFit
        A study shows all its fits, a fit its own intervals about the common effect.
    level : float, default 0.95
        Probability of the intervals.
    factor : str, optional
        Grouping factor of a fit that has several; the first by default.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    Raises
    ------
    ArgumentError
        For a fit without groups.
    UnknownNameError
        If there is no such grouping factor.
    """
    from matplotlib.figure import Figure

    table, chosen = estimates_frame(source, level, factor), _factor_of(source, factor)
    common, said = (source.fixef, COMMON) if isinstance(source, Fit) else (source.complete.fixef, COMPLETE)
    terms = [term for term in _varying(source, factor) if term in set(table["term"])]
    groups = table["group"].nunique()
    figure = Figure(figsize=(max(NARROWEST, 5.2 * len(terms)), 1.9 + 0.42 * groups), layout="constrained")
    axes = figure.subplots(1, len(terms), sharey=True, squeeze=False)[0]
    for axis, term in zip(axes, terms, strict=True):
        _panel(axis, table[table["term"] == term], common.get(term), said, term)
    group_ticks(axes[0], table)
    axes[0].set_ylabel(plain(chosen.name))
    response, less = plain(_design_of(source).formula.response), left_out(groups, chosen.J)
    figure.suptitle(
        f"Coefficients of {response} by {plain(chosen.name)}, {level:.0%} intervals" + (f" ({less})" if less else ""),
        fontsize=12,
    )
    legend_below(figure, axes[0], 3)
    return figure


def _design_of(source: "PoolingStudy | Fit") -> Design:
    return source.design if isinstance(source, Fit) else source.model.design


def _factor_of(source: "PoolingStudy | Fit", factor: str | None) -> GroupingFactor:
    if not isinstance(source, Fit) and factor is None:
        return source.factor
    chosen = choose_factor(_design_of(source), factor)
    if chosen is None:
        raise ArgumentError("this fit has no groups, so no coefficients by group to draw; summary() has the estimates")
    return chosen


def _varying(source: "PoolingStudy | Fit", factor: str | None) -> list[str]:
    """The varying terms, by category of a categorical response."""
    name = _factor_of(source, factor).name
    own = [each for design in _design_of(source).linear for each in design.factors if each.name == name]
    return [names.in_category(effect, each.category) for each in own for effect in each.effects]


def _coef_of_fit(fit: "Fit", level: float, factor: str | None) -> pd.DataFrame:
    name = _factor_of(fit, factor).name
    if isinstance(fit, BayesFit):
        return fit.coef(level=level, factor=name).assign(fit=ONE, interval="bayes")
    parts = [fit.coef(kind, level).assign(fit=ONE, interval=kind) for kind in fit.intervals]
    table = pd.concat(parts, ignore_index=True)
    return table[table["factor"] == name]


def _panel(axis: "Axes", table: pd.DataFrame, common: float | None, said: str, term: str) -> None:
    known = [] if common is None or not np.isfinite(common) else [common]
    low, high = pooled_range(table, *known)
    several = len(set(table["interval"])) > 1
    for (fit, kind), part in table.groupby(["fit", "interval"], sort=False):
        # An infinite estimate, of a group whose responses are perfectly predicted, has no place on an axis.
        part = part[np.isfinite(part["estimate"])]
        # A kind alone stands in the middle of its group's row.
        style, y = KINDS[str(kind)], part["position"] + (OFFSETS[str(kind)] if several else 0.0)
        axis.hlines(
            y, part["lower"].clip(low, high), part["upper"].clip(low, high), color=style["color"], lw=style["lw"]
        )
        heads_beyond(axis, part, y, low, high, style["color"])
        inside = part["estimate"].between(low, high)
        look = dict(color=style["color"], mfc=style["mfc"], ms=5, label=METHODS[str(fit)] + style["label"])
        axis.plot(part["estimate"][inside], y[inside], style["marker"], **look)
    for value in known:
        axis.axvline(value, color="black", ls=":", lw=1, label=said)
    axis.set_xlim(low, high)
    axis.set_xlabel(title_of(term))
    bare(axis, "x")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)

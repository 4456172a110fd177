"""Regression lines of every group under complete, no and partial pooling, on the rows they were fitted to."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.data.columns import NUMBER, kind_of
from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import legend_below, short_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

# Okabe & Ito's palette; line styles tell the fits apart in grey.
STYLE = {
    "complete": dict(label="complete pooling", color="black", ls=":", lw=1.2),
    "none": dict(label="no pooling", color="#D55E00", ls="--", lw=1.4),
    "partial_bayes": dict(label="partial pooling (Bayesian), with its interval", color="#0072B2", ls="-", lw=1.8),
}
# Facets that a page holds; of more groups the smallest and the largest are drawn.
GROUPS_SHOWN = 16
POINTS = 30


def lines_frame(study: "PoolingStudy", predictor: str | None = None, level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: the mean of the response along the predictor, for each fit and group.

    Parameters
    ----------
    study : PoolingStudy
    predictor : str, optional
        A numeric column; by default the first that the formula uses. Other numeric columns are held at their means in
        the group, other columns at the group's commonest value.
    level : float, default 0.95
        Probability of the intervals of the mean.

    Returns
    -------
    DataFrame
        Columns fit, group, n, x, estimate, lower, upper, in the units of the data. Each group's line spans its rows.

    Raises
    ------
    ArgumentError
        If there is no such numeric column.
    """
    factor, data = study.factor, study.model.design.frame
    predictor = chosen_predictor(study, predictor)
    sizes = pd.Series(factor.sizes, index=factor.labels).sort_values(kind="stable")
    if len(sizes) > GROUPS_SHOWN:
        sizes = pd.concat([sizes.head(GROUPS_SHOWN // 2), sizes.tail(GROUPS_SHOWN // 2)])
    grids = []
    for group in sizes.index:
        rows = data[np.asarray(factor.labels)[factor.codes] == group]
        typical = {
            column: rows[column].mean() if kind_of(rows[column]) == NUMBER else rows[column].mode(dropna=False).iloc[0]
            for column in rows
        }
        grid = pd.DataFrame({column: [value] * POINTS for column, value in typical.items()})
        for column in grid:
            if kind_of(rows[column]) != NUMBER:
                grid[column] = grid[column].astype(rows[column].dtype)
        grid[predictor] = np.linspace(rows[predictor].min(), rows[predictor].max(), POINTS)
        grids.append(grid)
    grid = pd.concat(grids, ignore_index=True)
    keys = pd.DataFrame(
        {"group": np.repeat(sizes.index, POINTS), "n": np.repeat(sizes.to_numpy(), POINTS), "x": grid[predictor]}
    )
    parts = []
    for name in STYLE:
        predicted = study.fits[name].predict(grid, level=level)[["estimate", "lower", "upper"]]
        parts.append(pd.concat([keys.assign(fit=name), predicted.reset_index(drop=True)], axis=1))
    return pd.concat(parts, ignore_index=True)[["fit", "group", "n", "x", "estimate", "lower", "upper"]]


@legible
def plot_lines(study: "PoolingStudy", predictor: str | None = None, level: float = 0.95) -> "Figure":
    """Draw the lines, a panel a group, with the group's rows.

    Parameters
    ----------
    study : PoolingStudy
    predictor : str, optional
        As in :func:`lines_frame`.
    level : float, default 0.95
        Probability of the band of the Bayesian fit.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    table = lines_frame(study, predictor, level)
    predictor, factor, data = chosen_predictor(study, predictor), study.factor, study.model.design.frame
    groups = table.drop_duplicates("group")
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.5 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    response = study.model.design.formula.response
    labels = np.asarray(factor.labels)[factor.codes]
    for axis, (_, group) in zip(axes, groups.iterrows(), strict=False):
        own = data[labels == group["group"]]
        if response in own and kind_of(own[response]) == NUMBER:
            axis.plot(own[predictor], own[response], ".", color="#999999", ms=3.5, alpha=0.7, zorder=1)
        for name, style in STYLE.items():
            part = table[(table["group"] == group["group"]) & (table["fit"] == name)]
            if name == "partial_bayes":
                axis.fill_between(part["x"], part["lower"], part["upper"], color=style["color"], alpha=0.2, lw=0)
            axis.plot(part["x"], part["estimate"], **style)
        axis.set_title(short_label(str(group["group"]), int(group["n"])), fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    for axis in axes[len(groups) - columns : len(groups)]:
        axis.set_xlabel(plain(predictor))
    for axis in axes[::columns]:
        axis.set_ylabel(plain(response))
    left_out = "" if len(groups) == factor.J else f" ({len(groups)} of {factor.J} groups: smallest and largest)"
    figure.suptitle(
        f"{plain(response)} by {plain(factor.name)}: one line, a line each, and what lies between{left_out}",
        fontsize=12,
    )
    legend_below(figure, axes[0], 3)
    return figure


def chosen_predictor(study: "PoolingStudy", predictor: str | None) -> str:
    """The numeric column asked for, or the first that the formula uses."""
    design = study.model.design
    data, others = design.frame, (*design.formula.response_columns, *study.factor.columns, design.weights_column)
    used = [column for column in data.columns if column not in others and kind_of(data[column]) == NUMBER]
    terms = [term for term in study.complete.fixef.index if term != names.INTERCEPT]
    used = sorted(used, key=lambda column: (column not in terms, list(data.columns).index(column)))
    if predictor is None and used:
        return used[0]
    if predictor in used:
        return str(predictor)
    raise ArgumentError(
        f"no numeric predictor {predictor!r} to draw lines along; there are {', '.join(used) or 'none'}"
    )

"""How much each group borrows: its pooling factor against its size."""

from typing import TYPE_CHECKING

import pandas as pd

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import bare, side_by_side, size_axis, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.bayes import BayesFit

COLOR = "#0072B2"
TERMS_SHOWN, COLUMNS, MANY = 6, 3, 60


def pooling_frame(fit: "BayesFit", level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: a row a group and varying term.

    Parameters
    ----------
    fit : BayesFit
        With one grouping factor.
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    DataFrame
        Columns group, term, n, x (n, groups of one size a little apart), pooling (1 complete, 0 none), lower, upper.

    Raises
    ------
    ArgumentError
        With several grouping factors, or none.
    """
    from poolwise.result.variance import variance

    if len(fit.design.factors) != 1:
        raise ArgumentError(
            f"pooling factors by group are of models with one grouping factor; this one has {len(fit.design.factors)}"
        )
    table = variance(fit, level).groups.drop(columns="factor")
    (factor,) = fit.design.factors
    sizes = pd.Series(factor.sizes, index=factor.labels)
    x = pd.Series(side_by_side(sizes), index=sizes.index)
    table.insert(3, "x", table["group"].map(x))
    return table


@legible
def plot_pooling(fit: "BayesFit", level: float = 0.95) -> "Figure":
    """Draw the pooling factor of every group against its size, a panel a varying term.

    Parameters
    ----------
    fit : BayesFit
        With one grouping factor.
    level : float, default 0.95
        Probability of the intervals.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    References
    ----------
    Gelman & Pardoe (2006), Technometrics 48(2), 241-251.
    """
    from matplotlib.figure import Figure

    table = pooling_frame(fit, level)
    (factor,) = fit.design.factors
    terms = factor.effects[:TERMS_SHOWN]
    columns = min(COLUMNS, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, 3.4 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    many = factor.J > MANY
    for axis, term in zip(axes, terms, strict=False):
        own = table[table["term"] == term]
        axis.vlines(
            own["x"], own["lower"], own["upper"], color=COLOR, lw=0.4 if many else 1.4, alpha=0.4 if many else 0.8
        )
        axis.plot(
            own["x"], own["pooling"], "o", color=COLOR, mfc="white", ms=2.5 if many else 5, mew=0.6 if many else 1.2
        )
        ordered = own.sort_values("n", kind="stable")
        for row, side in zip(ordered.iloc[[0, -1]].itertuples(), ("left", "right"), strict=True):
            where = dict(xytext=(0, 7), textcoords="offset points", ha=side, fontsize=8)
            box = dict(facecolor="white", edgecolor="none", alpha=0.8, pad=0.8)
            axis.annotate(plain(str(row.group), 18), (row.x, row.pooling), bbox=box, zorder=5, **where)
        axis.set_ylim(0, 1)
        axis.set_title(title_of(term, 36), fontsize=10)
        size_axis(axis, own["n"], "rows in the group (log scale)")
        bare(axis)
    for axis in axes[len(terms) :]:
        axis.set_visible(False)
    for axis in axes[: len(terms) : columns]:
        axis.set_ylabel("pooling factor\n(1 complete, 0 none)")
    left_out = "" if len(terms) == len(factor.effects) else f" (first {len(terms)} of {len(factor.effects)} terms)"
    title = f"Pooling of {plain(fit.design.formula.response, 30)} by {plain(factor.name, 30)}, {level:.0%} intervals"
    figure.suptitle(title + left_out, fontsize=12)
    return figure

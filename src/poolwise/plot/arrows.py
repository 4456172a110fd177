"""How far each group is pulled: from its own regression to the partial-pooling estimate, two effects at a time."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import legend_below, short_label, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

# Beyond these numbers of groups labels would cover arrows, and arrows one another: those pulled farthest have them.
LABELS_SHOWN, ARROWS_SHOWN = 8, 40
# Half the squared distance of the contours of two normal variables that hold these shares.
CONTOURS = (0.5, 0.9)


def arrows_frame(study: "PoolingStudy") -> pd.DataFrame:
    """The frame that is drawn: a row a group, its own estimates and the Bayesian partial-pooling ones.

    Parameters
    ----------
    study : PoolingStudy
        With two varying effects at least; the first two are drawn.

    Returns
    -------
    DataFrame
        Columns group, n, x, y (no pooling), x_partial, y_partial, moved: the length of the arrow in units of the
        posterior mean group sds. Groups without a regression of their own are left out.

    Raises
    ------
    ArgumentError
        If a group has fewer than two varying effects, or no group's rows identify both.
    """
    effects = study.factor.effects[:2]
    if len(effects) < 2:
        raise ArgumentError(
            f"arrows need two varying effects, such as (x | {study.factor.name}); the model has "
            f"{', '.join(study.factor.effects)}: see plot_estimates"
        )
    table = study.shrinkage()
    wide = table.pivot_table(index=["group", "n"], columns="term", values=["no_pooling", "partial_bayes"], dropna=False)
    frame = pd.DataFrame(
        {
            name: wide[(source, effect)]
            for (source, effect), name in zip(
                [(s, e) for s in ("no_pooling", "partial_bayes") for e in effects],
                ("x", "y", "x_partial", "y_partial"),
                strict=True,
            )
        }
    )
    sds = np.sqrt(np.diag(_covariance(study)))
    frame["moved"] = np.hypot((frame["x_partial"] - frame["x"]) / sds[0], (frame["y_partial"] - frame["y"]) / sds[1])
    frame = frame.dropna()
    if frame.empty:
        raise ArgumentError(
            f"no group's rows identify both {' and '.join(effects)} without pooling, where arrows begin: a predictor "
            "is constant within groups, or rows are too few (finding too_few_rows); plot_lines compares predictions"
        )
    return frame.reset_index().sort_values("n", kind="stable", ignore_index=True)


@legible
def plot_arrows(study: "PoolingStudy") -> "Figure":
    """Draw an arrow a group, with the population's ellipses that hold half and nine tenths of the groups.

    Parameters
    ----------
    study : PoolingStudy

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    everyone = arrows_frame(study)
    effects = study.factor.effects[:2]
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axis = figure.subplots()
    centre = [study.bayes.fixef.get(effect, 0.0) for effect in effects]
    root = np.linalg.cholesky(_covariance(study))
    angle = np.linspace(0, 2 * np.pi, 181)
    for share in CONTOURS:
        edge = np.sqrt(-2 * np.log(1 - share)) * root @ np.vstack([np.cos(angle), np.sin(angle)])
        dashes = "--" if share > 0.5 else "-"
        axis.plot(centre[0] + edge[0], centre[1] + edge[1], color="#777777", lw=1.0, ls=dashes, zorder=4)
    edge = np.sqrt(-2 * np.log(1 - CONTOURS[-1])) * np.sqrt((root**2).sum(axis=1))
    windows = [_window(everyone, name, centre[k], edge[k]) for k, name in enumerate(("x", "y"))]
    axis.set_xlim(*windows[0])
    axis.set_ylim(*windows[1])
    inside = everyone["x"].between(*windows[0]) & everyone["y"].between(*windows[1])
    table = everyone[inside].nlargest(ARROWS_SHOWN, "moved")
    if len(everyone) > len(table):
        axis.plot(everyone["x_partial"], everyone["y_partial"], ".", color="#bbbbbb", ms=3, label="the other groups")
    widest = table["n"].max()
    for row in table.itertuples():
        axis.annotate(
            "",
            (row.x_partial, row.y_partial),
            (row.x, row.y),
            arrowprops=dict(arrowstyle="->", color="#0072B2", lw=0.7 + 1.8 * np.sqrt(row.n / widest), alpha=0.85),
        )
    axis.plot(table["x"], table["y"], "o", mfc="white", color="#D55E00", ms=5, label="no pooling")
    axis.plot(table["x_partial"], table["y_partial"], "D", color="#0072B2", ms=4, label="partial pooling (Bayesian)")
    axis.plot(*centre, "+", color="black", ms=11, mew=1.6, label="the population")
    shown = table.nlargest(LABELS_SHOWN, "moved")
    for row in shown.itertuples():
        text = short_label(str(row.group), int(row.n))
        axis.annotate(text, (row.x, row.y), textcoords="offset points", xytext=(6, 5), fontsize=8)
    axis.set_xlabel(title_of(effects[0]))
    axis.set_ylabel(title_of(effects[1]))
    response = study.model.design.formula.response
    left_out = (
        "" if len(table) == len(everyone) else f"\narrows of the {len(table)} of {len(everyone)} groups moved most"
    )
    if not inside.all():
        left_out += f" within the picture; {(~inside).sum()} begin beyond it"
    if absent := study.factor.J - len(everyone):
        left_out += f"\nnot drawn: {absent} group{'s' * (absent > 1)} without both coefficients of their own"
    axis.set_title(f"{plain(response)} by {plain(study.factor.name)}: what pooling moves{left_out}", fontsize=12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#eeeeee", lw=0.6)
    axis.set_axisbelow(True)
    legend_below(figure, axis, 4)
    return figure


def _window(frame: pd.DataFrame, name: str, centre: float, edge: float) -> tuple[float, float]:
    """Ends of an axis: the population, all partial estimates, and of many groups most of their own."""
    tail = 0.0 if len(frame) <= ARROWS_SHOWN else 0.05
    partial = frame[f"{name}_partial"]
    low = min(partial.min(), centre - edge, frame[name].quantile(tail))
    high = max(partial.max(), centre + edge, frame[name].quantile(1 - tail))
    pad = 0.06 * (high - low) or 1.0
    return float(low - pad), float(high + pad)


def _covariance(study: "PoolingStudy") -> np.ndarray:
    """Posterior mean covariance of the first two effects."""
    T = study.bayes.factor_draws(study.factor)[:, :2, :2]
    return np.einsum("dik,djk->ij", T, T) / len(T)

"""The picture of a finding: the frame that the check put into it, drawn."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible
from poolwise.plot.panels import KINDS, bare, side_by_side, size_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.check.finding import Finding

SEEN, EXPECTED = "black", "#0072B2"
FIFTHS = {
    "observed": ("o-", "observed"),
    "predicted": ("s--", "predicted by a common mean"),
    "predicted_with": ("^:", "predicted with the covariate"),
}


@legible
def plot_finding(finding: "Finding") -> "Figure":
    """Draw ``finding.figure``.

    Parameters
    ----------
    finding : Finding
        Of the codes ``vanishing_intervals`` (widths of the three kinds of interval against the size of the group),
        ``undue_shrinkage`` (observed and predicted mean response of each fifth of the
        groups), ``posterior_predictive``
        (each statistic among those of replications), ``loo_pit`` (ECDF of the probabilities of left-out rows, less that
        of a uniform) or ``unreliable_elpd`` (Pareto k of every row).

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    Raises
    ------
    ArgumentError
        For a finding without a picture.

    Examples
    --------
    >>> import poolwise as pw
    >>> data = pw.hospital_mortality(100, seed=1)
    >>> fit = pw.Model("p(died, patients) ~ risk + (1 | hospital)", data, "binomial").fit_frequentist()
    >>> finding = fit.check()[0]
    >>> finding.code, len(finding.plot().axes)
    ('undue_shrinkage', 1)
    """
    from matplotlib.figure import Figure

    if finding.code not in _DRAW or finding.figure.empty:
        raise ArgumentError(
            f"the finding {finding.code!r} has no picture, its table is the evidence; pictures have {', '.join(_DRAW)}"
        )
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    _DRAW[finding.code](figure, finding.figure, finding.threshold)
    figure.suptitle(finding.code.replace("_", " "), fontsize=11)
    return figure


def _widths(figure: "Figure", table: pd.DataFrame, threshold: float) -> None:
    axis, x = figure.subplots(), side_by_side(table["n"])
    for kind in ("conditional", "total", "bayes"):
        style = KINDS[kind]
        axis.plot(x, table[kind], style["marker"], color=style["color"], mfc=style["mfc"], ms=6, label=style["label"])
    order = np.argsort(x)
    bound = threshold * table["bayes"].to_numpy()
    axis.plot(x[order], bound[order], color=SEEN, ls=":", lw=1, label=f"{threshold:g} of the Bayesian width")
    axis.set_yscale("log")
    axis.set_ylabel("width (log scale)")
    size_axis(axis, table["n"], "rows in the group (log scale)")
    bare(axis)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)


def _fifths(figure: "Figure", table: pd.DataFrame, threshold: float) -> None:
    axis = figure.subplots()
    for kind, own in table.groupby("kind", sort=False):
        look, label = FIFTHS[str(kind)]
        axis.plot(
            own["bin"], own["value"], look, color=SEEN if kind == "observed" else EXPECTED, mfc="white", label=label
        )
    own = table[table["kind"] == "observed"]
    axis.set_xticks(own["bin"], [f"{value:.3g}" for value in own["covariate"]])
    axis.set_xlabel("median of the covariate in each fifth of the groups")
    axis.set_ylabel("mean response")
    axis.legend(frameon=False)
    bare(axis)


def _statistics(figure: "Figure", table: pd.DataFrame, threshold: float) -> None:
    axes = figure.subplots(1, len(table), squeeze=False)[0]
    for axis, row in zip(axes, table.itertuples(), strict=True):
        axis.vlines(0, row.lower, row.upper, color=EXPECTED, lw=3)
        axis.plot(0, row.replicated, "o", color=EXPECTED, mfc="white", ms=7)
        axis.plot(0, row.observed, "X", color=SEEN, ms=8)
        name = textwrap.fill(str(row.statistic).replace("_", " "), 11)
        axis.set_title(f"{name}\np = {row.p:.2g}", fontsize=9)
        axis.set_xticks([])
        axis.margins(x=1.0, y=0.15)
        bare(axis, "y")
    figure.supxlabel("cross: the data; circle and bar: median and 95 % of replications", fontsize=9)


def _probabilities(figure: "Figure", table: pd.DataFrame, threshold: float) -> None:
    axis, pit = figure.subplots(), table["pit"].to_numpy()
    x = np.concatenate([[0.0], pit, [1.0]])
    axis.step(x, np.append(np.arange(len(pit) + 1) / len(pit), 1.0) - x, where="post", color=EXPECTED)
    axis.axhline(0, color=SEEN, ls="--", lw=1)
    axis.set_xlabel("probability below a left-out row")
    axis.set_ylabel("share of rows, less uniform")
    bare(axis)


def _tails(figure: "Figure", table: pd.DataFrame, threshold: float) -> None:
    axis, far = figure.subplots(), ~(table["pareto_k"] <= threshold)
    axis.plot(table.loc[~far, "row"], table.loc[~far, "pareto_k"], ".", color=EXPECTED)
    axis.plot(table.loc[far, "row"], table.loc[far, "pareto_k"], "X", color="#D55E00", ms=7)
    axis.axhline(threshold, color=SEEN, ls="--", lw=1)
    axis.set_xlabel("row")
    axis.set_ylabel("Pareto k")
    bare(axis)


_DRAW = {
    "vanishing_intervals": _widths,
    "undue_shrinkage": _fifths,
    "posterior_predictive": _statistics,
    "loo_pit": _probabilities,
    "unreliable_elpd": _tails,
}

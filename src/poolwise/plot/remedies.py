"""Remedies of a singular fit, compared: their group sds, and what they make of the groups' coefficients."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import KINDS, bare, legend_below, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.check.singularity import Singularity

EFFECTS_SHOWN = 3


def remedies_frame(singularity: "Singularity") -> pd.DataFrame:
    """The frame that is drawn.

    Parameters
    ----------
    singularity : Singularity
        From :func:`poolwise.explain_singularity`.

    Returns
    -------
    DataFrame
        Columns panel (sd, coefficient), remedy, interval (of coefficients: conditional, total, bayes), effect, group
        (empty for an sd), estimate, lower, upper. Of the first grouping factor.
    """
    factor = singularity.fit.design.factors[0]
    rows = [
        ("sd", remedy, "", effect, "", singularity.remedies.loc[remedy].get(f"sd({effect} | {factor.name})", np.nan))
        for remedy in singularity.remedies.index
        for effect in factor.effects
    ]
    sds = pd.DataFrame(rows, columns=["panel", "remedy", "interval", "effect", "group", "estimate"])
    coef = singularity.coef
    coef = coef[(coef["factor"] == factor.name) & coef["term"].isin(factor.effects)]
    coef = coef.rename(columns={"term": "effect"}).assign(panel="coefficient")
    columns = ["panel", "remedy", "interval", "effect", "group", "estimate", "lower", "upper"]
    return pd.concat([sds.dropna(subset=["estimate"]), coef], ignore_index=True)[columns]


@legible
def plot_remedies(singularity: "Singularity") -> "Figure":
    """Draw the remedies: above the group sds, below the groups' coefficients and the mean width of their intervals.

    Parameters
    ----------
    singularity : Singularity
        From :func:`poolwise.explain_singularity`.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot. A tick a group; the bars are as wide as the intervals are on average.
    """
    from matplotlib.figure import Figure

    frame = remedies_frame(singularity)
    factor, remedies = singularity.fit.design.factors[0], list(singularity.remedies.index)
    effects = factor.effects[:EFFECTS_SHOWN]
    place = {name: len(remedies) - 1 - k for k, name in enumerate(remedies)}
    figure = Figure(figsize=(3.9 * len(effects) + 1.9, 2.6 + 0.62 * len(remedies)), layout="constrained")
    heights = [1.0, 1.6]
    axes = figure.subplots(2, len(effects), sharey=True, squeeze=False, height_ratios=heights)
    for (upper, lower), effect in zip(axes.T, effects, strict=True):
        sds = frame[(frame["panel"] == "sd") & (frame["effect"] == effect)]
        upper.plot(sds["estimate"], sds["remedy"].map(place), "o", color="black", ms=6)
        upper.hlines(sds["remedy"].map(place), 0, sds["estimate"], color="black", lw=1)
        upper.set_xlim(left=-0.02 * max(float(sds["estimate"].max()), 1e-9))
        upper.set_xlabel(f"sd between groups: {title_of(effect, 24)}")
        bare(upper, "x")
        own = frame[(frame["panel"] == "coefficient") & (frame["effect"] == effect)]
        for shift, kind in ((0.22, "total"), (0.0, "conditional"), (0.22, "bayes")):
            _row(lower, own[own["interval"] == kind], kind, shift, place)
        lower.set_xlabel(title_of(effect, 30))
        bare(lower, "x")
    for axis in axes[:, 0]:
        axis.set_yticks(list(place.values()), [plain(name, 30) for name in place])
        axis.set_ylim(-0.6, len(remedies) - 0.4)
    response = plain(singularity.fit.design.formula.response, 40)
    figure.suptitle(
        f"{response} by {plain(factor.name, 40)}: remedies compared\n(ticks: groups; bars: mean interval)", fontsize=12
    )
    legend_below(figure, axes[1, 0], 3)
    return figure


def _row(axis, table: pd.DataFrame, kind: str, shift: float, place: dict[str, int]) -> None:
    style = KINDS[kind]
    for remedy, own in table.groupby("remedy", sort=False):
        y = place[str(remedy)]
        axis.plot(own["estimate"], np.full(len(own), y - 0.22), "|", color="black", ms=7, mew=0.8)
        middle, width = float(own["estimate"].mean()), float((own["upper"] - own["lower"]).mean())
        line = (middle - width / 2, middle + width / 2)
        axis.plot(line, (y + shift, y + shift), color=style["color"], lw=style["lw"] + 0.8, label=style["label"])
        axis.plot(middle, y + shift, style["marker"], color=style["color"], mfc=style["mfc"], ms=4)

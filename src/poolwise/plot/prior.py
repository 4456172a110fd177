"""What the priors imply before the data: each sd, the pooling factor by group size, the intraclass correlation."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import legible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.implications import PriorImplications, VaryingEffect

# Okabe & Ito's colour-blind safe palette; the panels stand apart, so that grey loses nothing.
SD, POOLING, SHARE = "#0072B2", "#009E73", "#D55E00"
STYLES = ("-", "--", ":", "-.")
BINS = 25
# The long tail of a prior beyond this quantile is said in words instead of drawn.
SHOWN = 0.95
# Sizes at which the pooling factor is worked out.
GRID = 60
# More columns than this cannot be read; further effects are in the table of the implications.
EFFECTS_SHOWN = 4


def prior_frame(implications: "PriorImplications") -> pd.DataFrame:
    """The frame that is drawn.

    Parameters
    ----------
    implications : PriorImplications
        From :meth:`poolwise.Model.prior_implies`.

    Returns
    -------
    DataFrame
        Columns panel (sd, data, pooling, correlation), about (parameter, effect or grouping factor), x, estimate,
        lower, upper and beyond. For sd and correlation x is the middle of a bin, lower and upper its ends, estimate the
        probability density there and beyond the probability to the right of the last bin; for data x is the sd of the
        response, where the parameter is in its units. For pooling x is a group size, and estimate, lower and upper are
        the median and the interval of the pooling factor.
    """
    rows: list[tuple] = []
    shown = implications.effects[:EFFECTS_SHOWN]
    for parameter in [*(effect.parameter for effect in shown), names.SIGMA]:
        values = implications.drawn.parameters[parameter]
        rows += _density("sd", parameter, values, float(np.quantile(values, SHOWN)))
    alike = [effect.parameter for effect in shown if effect.term == names.INTERCEPT]
    rows += [("data", name, implications.sd_y, *[np.nan] * 3, 0.0) for name in (*alike, names.SIGMA)]
    for effect in shown:
        # A row alone tells nothing about a slope.
        sizes = np.unique(np.round(np.geomspace(1 + effect.lost, max(effect.sizes[-1], 2 + effect.lost), GRID)))
        table = implications.pooling(sizes)
        table = table[table["effect"] == effect.name]
        columns = (table[column] for column in ("n", "estimate", "lower", "upper"))
        rows += [("pooling", effect.name, *numbers, 0.0) for numbers in zip(*columns, strict=True)]
    for factor, values in implications.correlation.items():
        rows += _density("correlation", factor, values, 1.0)
    return pd.DataFrame(rows, columns=["panel", "about", "x", "estimate", "lower", "upper", "beyond"])


def _density(panel: str, about: str, values: np.ndarray, last: float) -> list[tuple]:
    """A histogram from 0 to ``last``: a kernel would smear the density over 0, where it matters."""
    counts, ends = np.histogram(values, bins=BINS, range=(0.0, last))
    density = counts / len(values) / np.diff(ends)
    beyond = float(np.mean(values > last))
    middle = (ends[:-1] + ends[1:]) / 2
    return [(panel, about, *row, beyond) for row in zip(middle, density, ends[:-1], ends[1:], strict=True)]


@legible
def plot_prior(implications: "PriorImplications") -> "Figure":
    """Draw what the priors imply: a column a varying effect, its sd above its pooling factor, sigma above the ICC.

    Parameters
    ----------
    implications : PriorImplications
        From :meth:`poolwise.Model.prior_implies`.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    frame = prior_frame(implications)
    design, effects = implications.design, implications.effects[:EFFECTS_SHOWN]
    rows = 2 if effects else 1
    width = max(3.4 * (len(effects) + 1) + 0.6, 5.0)
    figure = Figure(figsize=(width, 2.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, len(effects) + 1, squeeze=False)
    part = dict(list(frame.groupby(["panel", "about"])))
    for column, effect in enumerate(effects):
        data = part.get(("data", effect.parameter))
        _sd_panel(axes[0, column], part["sd", effect.parameter], data, _sd_label(effect, implications))
        _pooling_panel(axes[1, column], part["pooling", effect.name], effect, implications.level)
    _sd_panel(
        axes[0, -1], part["sd", names.SIGMA], part["data", names.SIGMA], f"residual sd ({_plain(design.response)})"
    )
    axes[0, 0].set_ylabel("prior density")
    if effects:
        axes[1, 0].set_ylabel("pooling factor\n(1 complete, 0 none)")
        axes[1, 0].legend(fontsize=7, framealpha=0.8, edgecolor="none", loc="upper right")
        _correlation_panel(axes[1, -1], frame[frame["panel"] == "correlation"])
    more = len(implications.effects) - len(effects)
    left_out = f" (first {len(effects)} of {len(implications.effects)} varying effects)" if more else ""
    title = f"Before the data: what the priors of {_plain(design.formula.text)} imply{left_out}"
    figure.suptitle(textwrap.fill(title, int(11 * width)), fontsize=12)
    return figure


def _sd_label(effect: "VaryingEffect", implications: "PriorImplications") -> str:
    factor, response = _plain(effect.factor), _plain(implications.design.response)
    if effect.term == names.INTERCEPT:
        return f"sd of intercepts by {factor}\n({response})"
    return f"sd of slopes by {factor}\n({response} per unit of {_plain(effect.term)})"


def _sd_panel(axis, table: pd.DataFrame, data: pd.DataFrame | None, label: str) -> None:
    _steps(axis, table, SD, "-")
    last, beyond = float(table["upper"].iloc[-1]), float(table["beyond"].iloc[0])
    said = f"{beyond:.0%} beyond {last:.3g}"
    if data is not None:
        sd_y = float(data["x"].iloc[0])
        if sd_y < last:
            axis.axvline(sd_y, color="black", ls="--", lw=1)
        said = f"- - sd of the data, {sd_y:.3g}\n{said}"
    axis.set_xlim(0, last)
    axis.text(0.98, 0.97, said, transform=axis.transAxes, ha="right", va="top", fontsize=8)
    axis.set_xlabel(label)
    _plain_axis(axis)


def _pooling_panel(axis, table: pd.DataFrame, effect: "VaryingEffect", level: float) -> None:
    axis.fill_between(
        table["x"], table["lower"], table["upper"], color=POOLING, alpha=0.25, lw=0, label=f"{level:.0%} interval"
    )
    axis.plot(table["x"], table["estimate"], color=POOLING, lw=1.8, label="median")
    for n in effect.sizes:
        axis.axvline(n, color="black", ls=":", lw=0.8, label="sizes in the data" if n == effect.sizes[0] else None)
    axis.set_xscale("log")
    last = float(table["x"].iloc[-1])
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000) if n <= last]
    step = -(-len(ticks) // 6)
    axis.set_xticks(ticks[::step], [f"{n:,}" for n in ticks[::step]])
    axis.minorticks_off()
    axis.set_xlim(1, last**1.03)
    axis.set_ylim(0, 1)
    axis.set_xlabel(f"rows in a group (log scale)\n{_plain(effect.name)}")
    axis.grid(color="#e5e5e5", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)


def _correlation_panel(axis, table: pd.DataFrame) -> None:
    several = len(set(table["about"])) > 1
    for k, (factor, own) in enumerate(table.groupby("about", sort=False)):
        color = (SHARE, "black", SD, POOLING)[k % 4]
        _steps(axis, own, color, STYLES[k % len(STYLES)], label=_plain(str(factor)), fill=not several)
    axis.set_xlim(0, 1)
    axis.set_xlabel("intraclass correlation\n(groups' share of the variance)")
    if several:
        axis.legend(fontsize=8, frameon=False)
    _plain_axis(axis)


def _steps(axis, table: pd.DataFrame, color: str, style: str, label: str | None = None, *, fill: bool = True) -> None:
    edges = np.append(table["lower"], table["upper"].iloc[-1])
    axis.stairs(table["estimate"], edges, color=color, ls=style, lw=1.5, label=label)
    if fill:
        axis.stairs(table["estimate"], edges, color=color, alpha=0.2, fill=True)


def _plain_axis(axis) -> None:
    axis.set_ylim(bottom=0)
    axis.set_yticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)


def _plain(text: str) -> str:
    # A dollar sign would start mathematics in matplotlib.
    short = text if len(text) <= 60 else f"{text[:59]}…"
    return short.replace("$", r"\$")

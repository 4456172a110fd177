"""What several pictures share: colours, marks, a size axis, a bare panel, the choice of groups that fit a page."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colour-blind safe palette; shapes and line widths tell the kinds of interval apart in grey.
KINDS: dict[str, dict[str, Any]] = {
    "separate": dict(label="no pooling", color="#777777", marker="o", mfc="white", lw=1.0),
    "total": dict(label="total interval", color="#0072B2", marker="s", mfc="white", lw=1.2),
    "conditional": dict(label="conditional interval", color="#D55E00", marker="s", mfc="#D55E00", lw=3.0),
    "bayes": dict(label="Bayesian interval", color="#009E73", marker="D", mfc="#009E73", lw=1.8),
}
# Groups with a line and a name of their own; of more the smallest and the largest are drawn.
GROUPS_SHOWN = 30
# Groups of one size stand side by side within this factor.
SPREAD = 1.06


def title_of(effect: str, longest: int = 40) -> str:
    """A varying effect in words."""
    return "intercept" if effect == names.INTERCEPT else f"slope of {plain(effect, longest)}"


def short_label(group: str, n: int) -> str:
    """A group and its size, short enough for an axis."""
    return f"{plain(group, 24)} (n = {n})"


def group_ticks(axis: "Axes", groups: pd.DataFrame) -> None:
    """A label a group on the vertical axis: columns group, n, position, of which each group's first row counts."""
    once = groups.drop_duplicates("group").sort_values("position")
    labels = [short_label(group, n) for group, n in zip(once["group"], once["n"], strict=True)]
    axis.set_yticks(once["position"], labels)


def left_out(shown: int, of: int) -> str:
    """What a title says where groups are left out."""
    return "" if shown == of else f"{shown} of {of:,} groups: smallest and largest"


def pooled_range(table: pd.DataFrame, *also: float) -> tuple[float, float]:
    """Ends of an axis: all pooled intervals, most estimates without pooling; wider intervals reach the edge."""
    pooled = table.loc[table["fit"] != "none", ["lower", "upper"]].to_numpy().ravel()
    own = table.loc[table["fit"] == "none", "estimate"].to_numpy()
    own = own[np.isfinite(own)]
    ends = np.concatenate([pooled[np.isfinite(pooled)], np.quantile(own, [0.05, 0.95]) if len(own) else [], also])
    pad = 0.15 * (ends.max() - ends.min()) or 1.0
    return float(ends.min() - pad), float(ends.max() + pad)


def heads_beyond(axis: "Axes", part: pd.DataFrame, y: pd.Series, low: float, high: float, color: str) -> None:
    """An arrowhead at the edge of the axis where an interval goes on beyond it."""
    for edge, beyond, head in ((low, part["lower"] < low, "<"), (high, part["upper"] > high, ">")):
        if beyond.any():
            axis.plot(np.full(beyond.sum(), edge), y[beyond], head, color=color, ms=4.5, clip_on=False)


def legend_below(figure: "Figure", axis: "Axes", columns: int) -> None:
    """The legend of an axis below the figure, each label once."""
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def smallest_and_largest(sizes: pd.Series) -> pd.Series:
    """Sizes by group in order, those in the middle left out where there are many."""
    ordered = sizes.sort_values(kind="stable")
    if len(ordered) <= GROUPS_SHOWN:
        return ordered
    half = GROUPS_SHOWN // 2
    return pd.concat([ordered.head(half), ordered.tail(GROUPS_SHOWN - half)])


def side_by_side(n: pd.Series) -> np.ndarray:
    """Sizes for an axis: groups of one size a little apart, so that none covers another."""
    within = n.groupby(n).cumcount().to_numpy()
    count = n.groupby(n).transform("size").to_numpy()
    place = np.where(count > 1, within / np.maximum(count - 1, 1) - 0.5, 0.0)
    return n.to_numpy(dtype=float) * SPREAD ** (2 * place)


def size_axis(axis: "Axes", n: pd.Series, label: str) -> None:
    """A logarithmic axis of group sizes with round numbers."""
    low, high = float(n.min()) / 1.25, float(n.max()) * 1.25
    axis.set_xscale("log")
    steps = [factor * 10**power for power in range(8) for factor in (1, 2, 5)]
    ticks = [tick for tick in steps if low <= tick <= high]
    if len(ticks) > 7:
        ticks = [tick for tick in ticks if str(tick)[0] == "1"]
    if len(ticks) < 2:
        ticks = sorted({int(n.min()), int(n.max())})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(low, high)
    axis.set_xlabel(label)


def bare(axis: "Axes", grid: Literal["both", "x", "y"] = "both") -> None:
    """No box, a light grid behind."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)

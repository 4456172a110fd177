"""What several pictures share: colours, marks, a size axis, a bare panel, the choice of groups that fit a page."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

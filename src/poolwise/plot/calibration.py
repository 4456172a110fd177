"""Ranks of simulation-based calibration: their ECDF minus the uniform one, with the simultaneous band."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.plot.lettering import legible
from poolwise.result.tables import check_level
from poolwise.validate.uniformity import band, counts_up_to, ecdf_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poolwise.validate.calibration import Calibration

COLUMNS = 4
INSIDE, OUTSIDE, BAND = "#0072B2", "#D55E00", "#999999"


def calibration_frame(calibration: "Calibration", level: float = 0.95) -> pd.DataFrame:
    """The frame that is drawn: a row a quantity and place of the ECDF.

    Parameters
    ----------
    calibration : Calibration
    level : float, default 0.95
        Probability that all of one quantity's ECDF is inside its band.

    Returns
    -------
    DataFrame
        Columns quantity, x (share of the posterior draws), difference, lower, upper, inside (of all of the quantity).

    Raises
    ------
    ArgumentError
        If level is not between 0 and 1.
    """
    N, L = len(calibration.ranks), calibration.kept
    lower, upper = band(N, L, check_level(level))
    z = (ecdf_places(L) + 1) / (L + 1)
    parts = []
    for name, ranks in calibration.ranks.items():
        counts = counts_up_to(ranks.to_numpy(), L)
        inside = bool(np.all((counts >= lower) & (counts <= upper)))
        columns = dict(x=z, difference=counts / N - z, lower=lower / N - z, upper=upper / N - z, inside=inside)
        parts.append(pd.DataFrame({"quantity": name, **columns}))
    return pd.concat(parts, ignore_index=True)


@legible
def plot_calibration(calibration: "Calibration", level: float = 0.95) -> "Figure":
    """Draw the ECDF of the ranks minus the uniform one, a panel a quantity.

    Above zero on the left and below on the right, the posteriors are too narrow; the other way round, too wide; above
    all along, too high; below, too low.

    Parameters
    ----------
    calibration : Calibration
        From :func:`poolwise.validate.simulation_based_calibration`.
    level : float, default 0.95
        Of each panel's band; with many panels a curve or two leave it by chance, which ``Calibration.table`` allows
        for.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    References
    ----------
    Saeilynoja, Buerkner & Vehtari (2022), Statistics and Computing 32, 32.
    """
    from matplotlib.figure import Figure

    frame = calibration_frame(calibration, level)
    quantities = list(calibration.ranks)
    columns = min(COLUMNS, len(quantities))
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 1.9 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis, quantity in zip(axes.flat, quantities, strict=False):
        draw_difference(axis, frame[frame["quantity"] == quantity])
        axis.set_title(_plain(quantity), fontsize=9)
    for axis in axes.flat[len(quantities) :]:
        axis.set_visible(False)
    figure.supxlabel("share of the posterior draws", fontsize=9)
    figure.supylabel("ECDF of ranks minus uniform", fontsize=9)
    return figure


def draw_difference(axis: "Axes", one: pd.DataFrame) -> None:
    """The band and the curve of one quantity; one that leaves the band is dashed and orange."""
    axis.fill_between(one["x"], one["lower"], one["upper"], step="post", color=BAND, alpha=0.3, lw=0)
    color, style = (INSIDE, "-") if one["inside"].iloc[0] else (OUTSIDE, "--")
    axis.step(one["x"], one["difference"], where="post", lw=1.2, color=color, ls=style)
    axis.set_xlim(0, 1)
    axis.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    # A dollar sign would start mathematics in matplotlib.
    return text.replace("$", r"\$")

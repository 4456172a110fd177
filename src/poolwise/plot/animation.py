"""From complete to no to partial pooling, as moving lines."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.data.columns import NUMBER, kind_of
from poolwise.data.whole_file import write_whole
from poolwise.errors import ArgumentError
from poolwise.plot.lettering import plain, with_fonts
from poolwise.plot.lines import chosen_predictor, lines_frame
from poolwise.plot.panels import short_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from poolwise.compare.study import PoolingStudy

STAGES = {"complete": "complete pooling", "none": "no pooling", "partial_bayes": "partial pooling (Bayesian)"}
# Pictures from one stage to the next, seconds that each is seen, and seconds that a stage rests.
STEPS, STEP, REST = 15, 0.08, 1.2
DPI, COLORS = 80, 64


def animation_frame(study: "PoolingStudy", predictor: str | None = None, steps: int = STEPS) -> pd.DataFrame:
    """The frame that is drawn: every group's line at every time.

    Parameters
    ----------
    study : PoolingStudy
    predictor : str, optional
        A numeric column; by default the first that the formula uses.
    steps : int, default 15
        Steps from one stage to the next.

    Returns
    -------
    DataFrame
        Columns time (0 complete, 1 no, 2 partial pooling), stage (the nearest, in words), group, n, x, y. Lines in
        between are weighted means; an infinite line stands as NaN.

    Raises
    ------
    ArgumentError
        If there is no such numeric column, or steps is not a whole number above zero.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ArgumentError(f"steps must be a whole number of at least 1; got {steps!r}")
    lines = lines_frame(study, predictor)
    rows = {name: lines[lines["fit"] == name].reset_index(drop=True) for name in STAGES}
    parts = []
    names = list(STAGES)
    for step in range(2 * steps + 1):
        time = step / steps
        before = min(int(time), 1)
        share = time - before
        y = rows[names[before]]["estimate"]
        if share > 0:
            # Slow at both ends, as eyes follow it.
            weight = share**2 * (3 - 2 * share)
            y = (1 - weight) * y + weight * rows[names[before + 1]]["estimate"]
        keys = rows[names[0]][["group", "n", "x"]]
        parts.append(keys.assign(time=time, stage=STAGES[names[round(time)]], y=y))
    frame = pd.concat(parts, ignore_index=True)
    frame["y"] = frame["y"].where(np.isfinite(frame["y"]))
    return frame[["time", "stage", "group", "n", "x", "y"]]


def write_gif(study: "PoolingStudy", path: str | Path, predictor: str | None = None) -> Path:
    """Write the animation as a GIF that repeats.

    Parameters
    ----------
    study : PoolingStudy
    path : str or Path
        Where to; an existing file is replaced once the new one is complete.
    predictor : str, optional
        As in :func:`animation_frame`.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    frame = animation_frame(study, predictor)
    pictures, seconds = _pictures(*_still(study, frame, chosen_predictor(study, predictor)), frame)
    milliseconds = [round(1000 * one) for one in seconds]
    made = io.BytesIO()
    pictures[0].save(made, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    return write_whole(path, made.getvalue(), "the animation")


def _pictures(figure: "Figure", lines: dict, frame: pd.DataFrame) -> "tuple[list[Image.Image], list[float]]":
    """A picture a time, and for how many seconds it is seen; what does not move is drawn once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas, names = FigureCanvasAgg(figure), list(STAGES.values())
    canvas.draw()
    # The layout is worked out once.
    figure.set_layout_engine("none")
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    title = figure.text(0.5, 0.985, "", ha="center", va="top", fontsize=13)
    pictures, seconds = [], []
    for time, now in frame.groupby("time"):
        canvas.restore_region(still)
        heights = dict(list(now.groupby("group", sort=False)["y"]))
        for group, line in lines.items():
            line.set_ydata(heights[group])
            line.axes.draw_artist(line)
        resting = float(time).is_integer()
        title.set_text(names[round(time)] if resting else f"towards {names[int(time) + 1]}")
        figure.draw_artist(title)
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
        pictures.append(Image.fromarray(np.ascontiguousarray(pixels)).quantize(COLORS))
        seconds.append(REST if resting else STEP)
    return pictures, seconds


def _still(study: "PoolingStudy", frame: pd.DataFrame, predictor: str) -> "tuple[Figure, dict]":
    """The panels with the rows and one line each, which then moves."""
    from matplotlib.figure import Figure

    data, factor, response = study.model.design.frame, study.factor, study.model.design.formula.response
    labels = np.asarray(factor.labels)[factor.codes]
    groups = frame.drop_duplicates("group")
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.1 * rows + 0.7), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    lines = {}
    for axis, row in zip(axes, groups.itertuples(), strict=False):
        own = data[labels == row.group]
        if response in own and kind_of(own[response]) == NUMBER:
            axis.plot(own[predictor], own[response], ".", color="#999999", ms=3)
        first = frame[(frame["group"] == row.group) & (frame["time"] == 0)]
        axis.plot(first["x"], first["y"], color="black", ls=":", lw=1)
        (lines[row.group],) = axis.plot(first["x"], first["y"], color="#0072B2", lw=2, animated=True)
        axis.set_title(short_label(str(row.group), int(row.n)), fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    axes[0].set_ylim(*value_range(study, frame))
    figure.supxlabel(plain(predictor), fontsize=9)
    figure.supylabel(plain(response), fontsize=9)
    figure.suptitle(" ", fontsize=13)
    return with_fonts(figure), lines


def value_range(study: "PoolingStudy", frame: pd.DataFrame) -> tuple[float, float]:
    """The responses, the first and the last lines; what reaches beyond without pooling leaves the panel."""
    ends = frame.loc[frame["time"].isin([0.0, 2.0]), "y"].to_numpy()
    values = np.concatenate([ends[np.isfinite(ends)], np.asarray(study.model.design.outcome.scaled, dtype=float)])
    low, high = float(values.min()), float(values.max())
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad

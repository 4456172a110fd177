"""The groups' lines from complete to no to partial pooling, moved by a slider on the page."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolwise.compare.study import PoolingStudy
from poolwise.data.columns import NUMBER, kind_of
from poolwise.plot.animation import STAGES, animation_frame, value_range
from poolwise.plot.lettering import cut
from poolwise.plot.lines import chosen_predictor
from poolwise.report.intervals import nice_ticks
from poolwise.report.text import shown

WIDTH, COLUMNS, TALL, GAP, HEAD, LEFT, FOOT = 760, 4, 120, 12, 20, 46, 22
DOTS = 150


@dataclass(frozen=True)
class Panel:
    """A group: its place, its name, where the panel stands, its rows, and heights of its line at the three stages."""

    place: int
    name: str
    left: float
    top: float
    dots: str
    x: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]

    def path(self, stage: int) -> str:
        """The line at a stage; empty where the group has none."""
        points = [f"{x} {y}" for x, y in zip(self.x, self.stages[stage], strict=True) if np.isfinite(y)]
        return "M" + "L".join(points) if len(points) > 1 else ""

    @property
    def data(self) -> str:
        """What the script reads: x, and the heights of each stage, separated by bars."""
        return "|".join(" ".join(f"{value:g}" for value in row) for row in (self.x, *self.stages))


@dataclass(frozen=True)
class Motion:
    """The drawing."""

    name: str
    caption: str
    panels: tuple[Panel, ...]
    ticks: tuple[tuple[float, float, str], ...]
    width: int
    height: float
    panel_width: float
    panel_height: int
    stages: tuple[str, ...] = tuple(STAGES.values())

    kind = "motion"


def motion(study: PoolingStudy, places: dict[str, int], predictor: str | None = None) -> Motion:
    """Lay out the panels.

    Parameters
    ----------
    study : PoolingStudy
    places : dict of str to int
        Place of each group.
    predictor : str, optional
        A numeric column; by default the first that the formula uses.

    Returns
    -------
    Motion
        Of the sixteen groups that :func:`poolwise.plots.plot_lines` draws.
    """
    predictor = chosen_predictor(study, predictor)
    frame = animation_frame(study, predictor, steps=1)
    design, factor = study.model.design, study.factor
    labels = np.asarray(factor.labels)[factor.codes]
    low, high = value_range(study, frame)
    left, right = float(frame["x"].min()), float(frame["x"].max())
    groups = frame.drop_duplicates("group")
    columns = min(COLUMNS, len(groups))
    wide = round((WIDTH - LEFT - GAP * (columns - 1)) / columns, 1)
    panels, ticks = [], []
    numeric = design.formula.response in design.frame and kind_of(design.frame[design.formula.response]) == NUMBER
    for k, row in enumerate(groups.itertuples()):
        x0, y0 = LEFT + (k % columns) * (wide + GAP), HEAD + (k // columns) * (TALL + HEAD + GAP)

        def across(values, x0=x0) -> np.ndarray:
            share = (np.asarray(values, dtype=float) - left) / ((right - left) or 1.0)
            return np.round(x0 + 4 + share * (wide - 8), 1)

        def down(values, y0=y0) -> np.ndarray:
            return np.round(y0 + TALL * (high - np.asarray(values, dtype=float)) / (high - low), 1)

        own = frame[frame["group"] == row.group]
        by_time = [own[own["time"] == time] for time in (0.0, 1.0, 2.0)]
        dots = ""
        if numeric:
            rows = design.frame[labels == row.group]
            chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), DOTS)).astype(int))]
            pairs = zip(across(chosen[predictor]), down(chosen[design.formula.response]), strict=True)
            dots = "".join(f"M{x:g} {y:g}h0" for x, y in pairs)
        heights = tuple(tuple(map(float, down(part["y"]))) for part in by_time)
        xs = tuple(map(float, across(by_time[0]["x"])))
        name = f"\u2068{shown(cut(str(row.group), 20))}\u2069 (n = {int(row.n):,})"
        panels.append(Panel(places[str(row.group)], name, round(x0, 1), y0, dots, xs, heights))
        if k % columns == 0:
            marks = nice_ticks(low, high, 4)
            ticks += [(LEFT - 6, float(down([mark])[0]) + 4, f"{mark:g}") for mark in marks]
    rows_of = -(-len(groups) // columns)
    height = HEAD + rows_of * (TALL + HEAD + GAP) - GAP - HEAD + FOOT
    left_out = "" if len(groups) == factor.J else f" The smallest and largest of {factor.J:,} groups."
    caption = (
        f"{shown(design.formula.response, 60)} along {shown(predictor, 60)}, a panel a group. Dotted: complete; "
        f"dashed: no pooling; solid: partial pooling, or what the slider says.{left_out}"
    )
    return Motion("motion", caption, tuple(panels), tuple(ticks), WIDTH, height, wide, TALL)


def write_slider(study: PoolingStudy, path: str | Path, predictor: str | None = None) -> Path:
    """Write the moving lines as a page of their own, with a slider; see :func:`poolwise.write_report`."""
    from poolwise.report.blocks import Section
    from poolwise.report.sections import group_places
    from poolwise.report.write import write_page

    drawing = motion(study, group_places(study.model.design), predictor)
    title = f"From complete to no to partial pooling: {shown(study.model.design.formula.text, 200)}"
    return write_page(path, title, [Section("lines", "Lines by group", [drawing])])

"""The groups' intervals as a drawing of the page's own, in which a reader switches the kind and finds a group."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import cut
from poolwise.report.text import shown

# Kinds of interval: key of the style, words, order from the top of a group's row to its bottom.
KINDS = {
    ("none", "separate"): ("separate", "no pooling"),
    ("partial_reml", "total"): ("total", "REML, total"),
    ("partial_laplace", "total"): ("total", "Laplace, total"),
    ("partial_reml", "conditional"): ("conditional", "REML, conditional"),
    ("partial_laplace", "conditional"): ("conditional", "Laplace, conditional"),
    ("partial_bayes", "bayes"): ("bayes", "Bayesian"),
}
WIDTH, GUTTER, MARGIN, HEAD = 720, 190, 12, 24
# Height of a group's row: enough for its name where there are few groups, a line where there are many.
TALLEST, LOWEST, ALTOGETHER, NAMED = 34.0, 4.0, 6000.0, 13.0
GROUPS_SHOWN = 1000


@dataclass(frozen=True)
class Mark:
    """Interval and estimate of one kind: coordinates.

    An estimate beyond the axis has no dot; ``heads`` are arrowheads where the interval goes on beyond the axis.
    """

    style: str
    y: float
    lower: float
    upper: float
    estimate: float | None
    radius: float
    heads: str


@dataclass(frozen=True)
class Row:
    """A group: its place, name, what a pointer over it says, its marks and its band."""

    place: int
    name: str
    said: str
    y: float
    top: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Marks:
    """The drawing of one varying term."""

    name: str
    title: str
    caption: str
    rows: tuple[Row, ...]
    kinds: tuple[tuple[str, str], ...]
    ticks: tuple[tuple[float, str], ...]
    complete: float | None
    height: float
    step: float
    named: bool
    width: int = WIDTH
    gutter: int = GUTTER
    head: int = HEAD

    kind = "marks"


def interval_marks(coef: pd.DataFrame, term: str, number: int, complete: float | None, places: dict[str, int]) -> Marks:
    """Lay out the intervals of a term.

    Parameters
    ----------
    coef : DataFrame
        From :meth:`poolwise.PoolingStudy.coef`.
    term : str
        The varying term.
    number : int
        Of the drawing, for its name on the page.
    complete : float or None
        The coefficient under complete pooling.
    places : dict of str to int
        Place of each group.

    Returns
    -------
    Marks
    """
    table = coef[coef["term"] == term]
    keys = list(zip(table["fit"], table["interval"], strict=True))
    table = table.assign(style=[KINDS.get(key, ("", ""))[0] for key in keys])
    kinds = tuple(dict.fromkeys(KINDS[key] for key in KINDS if key in set(keys)))
    table = table[table["style"] != ""]
    groups = table.drop_duplicates("group").sort_values(["n", "group"], ascending=False)["group"].tolist()
    everyone = len(groups)
    if everyone > GROUPS_SHOWN:
        groups = groups[: GROUPS_SHOWN // 2] + groups[-GROUPS_SHOWN // 2 :]
    step = float(np.clip(ALTOGETHER / len(groups), LOWEST, TALLEST))
    low, high = _range(table, complete)
    scale = (WIDTH - GUTTER - MARGIN) / (high - low)

    def x(value: float) -> float:
        return round(float(GUTTER + (np.clip(value, low, high) - low) * scale), 1)

    by_group = dict(list(table.groupby("group", sort=False)))
    order = [style for style, _ in kinds]
    rows = []
    for line, group in enumerate(groups):
        top = HEAD + line * step
        own, marks, said = by_group[group], [], []
        for record in own.itertuples():
            if not np.isfinite(record.estimate):
                continue
            y = round(top + step * (order.index(record.style) + 1) / (len(order) + 1), 1)
            radius = 3.5 if step > NAMED else round(max(step / 5, 0.8), 1)
            lower, upper = _or(record.lower, -np.inf), _or(record.upper, np.inf)
            at = x(record.estimate) if low <= record.estimate <= high else None
            heads = _heads(x(low), y, 1, radius) * (lower < low) + _heads(x(high), y, -1, radius) * (upper > high)
            marks.append(Mark(record.style, y, x(lower), x(upper), at, radius, heads))
            said.append(f"{dict(kinds)[record.style]} {record.estimate:.3g} [{record.lower:.3g}, {record.upper:.3g}]")
        # Isolated, so that letters written from right to left do not turn the number around.
        name = f"\u2068{shown(cut(group, 24))}\u2069 (n = {int(own['n'].iloc[0])})"
        middle = round(top + step / 2, 1)
        rows.append(
            Row(places[group], name, f"{shown(group, 80)}: {'; '.join(said)}", middle, round(top, 1), tuple(marks))
        )
    title = "Intercepts" if term == names.INTERCEPT else f"Slopes of {shown(term)}"
    left_out = "" if everyone == len(groups) else f" The {len(groups):,} largest and smallest of {everyone:,} groups."
    beyond = (
        " An arrowhead at the edge: the interval goes on." if any(m.heads for row in rows for m in row.marks) else ""
    )
    caption = f"{title} by group with 95 % intervals, the largest group on top; dotted: complete pooling."
    caption += beyond + left_out
    ticks = tuple((x(tick), f"{tick:.6g}".replace("-", "\N{MINUS SIGN}")) for tick in nice_ticks(low, high))
    line_at = None if complete is None or not np.isfinite(complete) else x(complete)
    height = round(HEAD + step * len(groups) + HEAD, 1)
    return Marks(
        f"intervals-{number}", title, caption, tuple(rows), kinds, ticks, line_at, height, round(step, 2), step >= NAMED
    )


def _heads(edge: float, y: float, inwards: int, size: float) -> str:
    """An arrowhead that points at the edge of the axis."""
    back = round(edge + inwards * 1.6 * size, 1)
    return f"M{back} {round(y - size, 1)}L{edge} {y}L{back} {round(y + size, 1)}"


def _or(value: float, otherwise: float) -> float:
    return value if not np.isnan(value) else otherwise


def _range(table: pd.DataFrame, complete: float | None) -> tuple[float, float]:
    """The axis: all of the pooled intervals, and most of the others; what reaches beyond ends in an arrowhead."""
    pooled = table[table["style"].isin(["total", "bayes"])]
    ends = pooled[["lower", "upper"]].to_numpy().ravel()
    ends = ends[np.isfinite(ends)]
    own = table.loc[table["style"] == "separate", "estimate"].to_numpy()
    own = own[np.isfinite(own)]
    if len(own):
        ends = np.append(ends, np.quantile(own, [0.02, 0.98]))
    if complete is not None and np.isfinite(complete):
        ends = np.append(ends, complete)
    low, high = float(ends.min()), float(ends.max())
    pad = 0.03 * (high - low) or 1.0
    return low - pad, high + pad


def nice_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers in a range.

    Examples
    --------
    >>> nice_ticks(-0.2, 1.1)
    [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    return [round(float(k * step), 12) for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]

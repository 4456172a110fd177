"""A table of the report: cells for the page, and the same table as CSV, Markdown and LaTeX."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

import numpy as np
import pandas as pd

from poolwise.report.text import latex, markdown, shown

# Rows on the page, the first and the last of a longer table; and rows up to which Markdown and LaTeX make sense.
ROWS_SHOWN, ROWS_SET = 1000, 200
DIGITS, MOST_DECIMALS, ALIKE = 3, 6, 300
# Decimals that numbers of many sizes may have in common, and figures of the largest of them.
MOST_COMMON, MOST_FIGURES = 4, 9
NOTHING = "–"
INTERVAL = ("mean", "estimate", "lower", "upper", "eti95_lb", "eti95_ub")


@dataclass(frozen=True, eq=False)
class Table:
    """A table.

    Parameters
    ----------
    name : str
        Of its files.
    caption : str
        What it shows, in a sentence.
    frame : DataFrame
        A row a row; the first column heads the rows.
    heads : dict of str to str
        Columns in words.
    group : str, optional
        Column of the labels of groups, whose rows light up together with their marks.
    places : dict of str to int
        Place of each group.
    """

    name: str
    caption: str
    frame: pd.DataFrame
    heads: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    places: Mapping[str, int] = field(default_factory=dict)

    kind = "table"

    @cached_property
    def columns(self) -> list[tuple[str, bool]]:
        """Head of each column, and whether it holds numbers."""
        return [(shown(self.heads.get(str(name), name)), _numeric(self.frame[name])) for name in self.frame]

    @cached_property
    def rows(self) -> list[tuple[int, list[str]]]:
        """The rows on the page: the place of the row's group, or -1, and its cells."""
        frame = self.frame
        if len(frame) > ROWS_SHOWN:
            frame = pd.concat([frame.head(ROWS_SHOWN // 2), frame.tail(ROWS_SHOWN // 2)])
        cells = [self._cells(frame[name]) for name in frame]
        groups = frame[self.group] if self.group else [""] * len(frame)
        return [
            (self.places.get(group, -1), [shown(cell) for cell in row])
            for group, *row in zip(groups, *cells, strict=True)
        ]

    @property
    def left_out(self) -> str:
        """What the page does not show, in words."""
        if len(self.frame) <= ROWS_SHOWN:
            return ""
        return f"The first and last {ROWS_SHOWN // 2:,} of {len(self.frame):,} rows; the CSV file has all."

    @property
    def files(self) -> list[tuple[str, str, str]]:
        """Of each format: its name, the name of the file, and the file as a data address."""
        formats = [("CSV", "csv", "text/csv", self.csv())]
        if len(self.frame) <= ROWS_SET:
            formats += [
                ("Markdown", "md", "text/markdown", self.markdown()),
                ("LaTeX", "tex", "text/plain", self.latex()),
            ]
        return [
            (name, f"{self.name}.{ending}", f"data:{mime};charset=utf-8,{quote(text, safe=_SAFE)}")
            for name, ending, mime, text in formats
        ]

    def csv(self) -> str:
        """All rows, in full precision."""
        return self.frame.to_csv(index=False, lineterminator="\n")

    def markdown(self) -> str:
        """A pipe table of the rounded numbers."""
        head = [markdown(name) for name, _ in self.columns]
        rule = ["---:" if numeric else ":---" for _, numeric in self.columns]
        rows = [[markdown(cell) for cell in row] for row in self._rounded()]
        return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *rows])

    def latex(self) -> str:
        """A tabular of the package booktabs, of the rounded numbers."""
        columns = "".join("r" if numeric else "l" for _, numeric in self.columns)
        rows = [" & ".join(latex(cell) for cell in row) + r" \\" for row in self._rounded()]
        head = " & ".join(latex(name) for name, _ in self.columns) + r" \\"
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        return "\n".join([*lines, r"\end{tabular}", ""])

    def _rounded(self) -> list[tuple[str, ...]]:
        return list(zip(*[self._cells(self.frame[name]) for name in self.frame], strict=True))

    def _cells(self, column: pd.Series) -> list[str]:
        """Cells of a column; an estimate and the bounds of its interval have as many decimals."""
        together = [self.frame[name] for name in self.frame if name in INTERVAL and _numeric(self.frame[name])]
        least = max((decimals_of(one) or 0 for one in together), default=0) if column.name in INTERVAL else 0
        return cells_of(column, least)


# Characters that a data address need not encode.
_SAFE = "!*'();:@$,/?[]|-_.~"


def cells_of(column: pd.Series, least: int = 0) -> list[str]:
    """Cells of a column: numbers with decimals that suit all of it, yes and no, text.

    Parameters
    ----------
    column : Series
    least : int, default 0
        Decimals of numbers that have decimals, at least.

    Returns
    -------
    list of str

    Examples
    --------
    >>> cells_of(pd.Series([1.23456, 12.5, np.nan]))
    ['1.23', '12.50', '–']
    >>> cells_of(pd.Series([200.8089, 1.3029, 15.307, 0.0584]))
    ['200.809', '1.303', '15.307', '0.058']
    """
    if column.dtype == bool:
        return ["yes" if value else "no" for value in column]
    if not _numeric(column):
        return [NOTHING if value is None or value is pd.NA or value != value else str(value) for value in column]
    values, decimals = column.to_numpy(dtype=float), decimals_of(column)
    if decimals is None:
        return [_special(value) or _digits(value) for value in values]
    return [_special(value) or f"{value:.{max(decimals, least) if decimals else 0}f}" for value in values]


def decimals_of(column: pd.Series) -> int | None:
    """Decimals that suit all numbers of a column; None where they are of too many sizes to have them in common.

    Examples
    --------
    >>> decimals_of(pd.Series([1.23456, 12.5])), decimals_of(pd.Series([7.0, 1200.0]))
    (2, 0)
    """
    values = column.to_numpy(dtype=float)
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    if not len(finite) or (np.all(finite == np.round(finite)) and finite.max() < 1e15):
        return 0
    # The decimals that the smaller half of the numbers needs.
    typical = float(np.quantile(finite, 0.25, method="lower"))
    small, large = np.quantile(finite, [0.1, 0.9])
    if large <= ALIKE * small and 10.0 ** (DIGITS - MOST_DECIMALS) <= typical < 1e9:
        return _decimals(typical)
    # Of many sizes: the smallest keeps two digits.
    decimals = _decimals(float(finite.min())) - 1
    return decimals if decimals <= MOST_COMMON and finite.max() < 10.0 ** (MOST_FIGURES - decimals) else None


def _decimals(value: float) -> int:
    """Decimals that show a number with its digits."""
    return int(np.clip(DIGITS - 1 - np.floor(np.log10(value)), 0, MOST_DECIMALS))


def _digits(value: float) -> str:
    """Significant digits, without an exponent where that can be read."""
    if value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{DIGITS}g}"
    return f"{value:.{max(DIGITS - 1 - int(np.floor(np.log10(abs(value)))), 0)}f}"


def _special(value: float) -> str:
    if np.isnan(value):
        return NOTHING
    return "" if np.isfinite(value) else ("∞" if value > 0 else "-∞")


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and column.dtype != bool

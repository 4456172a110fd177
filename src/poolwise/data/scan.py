"""The first walk through rows that do not fit memory: what is wrong with them, their levels, means and spreads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, NUMBER, UNUSABLE, count, describe_rows, kind_of
from poolwise.data.partitions import Piece
from poolwise.errors import DataError, near_names


@dataclass(frozen=True)
class ColumnScan:
    """What is known of a column.

    Parameters
    ----------
    kind : str
        See :func:`poolwise.data.columns.kind_of`.
    levels : dict
        Of text, categories and labels, as they came, and whether each occurs.
    n, mean, square : int, float, float
        Of a number: rows, mean, and sum of squared deviations from it.
    low, high : float
        Range of a number.
    ordered : bool
        Whether the categories have an order.
    """

    kind: str
    levels: dict = field(default_factory=dict)
    n: int = 0
    mean: float = 0.0
    square: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    ordered: bool = False

    @property
    def sd(self) -> float:
        """Root of the mean squared deviation."""
        return float(np.sqrt(self.square / self.n)) if self.n else 0.0


@dataclass(frozen=True)
class Scan:
    """What the first walk found.

    Parameters
    ----------
    columns : dict of str to ColumnScan
        In the order of the formula.
    rows : int
        Complete rows.
    where : str
        The first of them.
    """

    columns: dict[str, ColumnScan]
    rows: int = 0
    where: str = ""


def complete_rows(
    pieces: Iterable[Piece], columns: Sequence[str], weights: str | None, missing: str, dropped: dict[str, int]
) -> Iterator[Piece]:
    """The pieces with complete rows only, each checked as far as it can be by itself.

    ``dropped`` counts the missing values of rows left out, by column.

    Raises
    ------
    DataError
        Names the partition, the column and the rows.
    """
    for piece in pieces:
        frame = piece.frame
        for name in columns:
            if list(frame.columns).count(name) != 1:
                hint = near_names(name, list(map(str, frame.columns))).rstrip(".")
                raise DataError(f"{piece.partition}: the table has no column {name!r}; {hint}")
        if not len(frame):
            continue
        absent = np.zeros(len(frame), dtype=bool)
        for name in columns:
            gone = _check_column(piece, name, weights, missing)
            if gone.any():
                dropped[name] = dropped.get(name, 0) + int(gone.sum())
                absent |= gone
        numbers = piece.numbers
        if absent.any():
            frame = frame.loc[~absent].reset_index(drop=True)
            numbers = None if numbers is None else numbers[~absent]
        if len(frame):
            yield Piece(piece.partition, piece.first, frame, numbers)


def _check_column(piece: Piece, name: str, weights: str | None, missing: str) -> NDArray[np.bool_]:
    values = piece.frame[name]
    kind = kind_of(values)
    if kind in UNUSABLE:
        what, advice = UNUSABLE[kind]
        raise DataError(f"{piece.partition}: column {name!r} holds {what}; {advice.format(name=name)}")
    gone = values.isna().to_numpy()
    if gone.any() and missing == "error":
        rows = np.flatnonzero(gone) + piece.first
        raise DataError(
            f"{piece.partition}: column {name!r} has {count(len(rows), 'missing value')} ({describe_rows(rows)}, "
            "counted from 0); leave them out with missing='drop' or fill them in"
        )
    if kind == NUMBER:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        for wrong, what in (
            (np.isinf(numbers), "infinite value"),
            ((numbers <= 0) if name == weights else np.zeros(0, dtype=bool), "weight below or at zero"),
        ):
            if wrong.any():
                rows = np.flatnonzero(wrong) + piece.first
                raise DataError(
                    f"{piece.partition}: column {name!r} has {count(len(rows), what)} ({describe_rows(rows)}, counted "
                    "from 0); correct them or leave these rows out"
                )
    return gone


def scan(pieces: Iterable[Piece], columns: Sequence[str], labels: set[str]) -> Scan:
    """Walk through the rows once.

    Parameters
    ----------
    pieces : iterable of Piece
        From :func:`complete_rows`.
    columns : sequence of str
        What the formula needs.
    labels : set of str
        Columns whose numbers are labels: grouping factors and what stands in ``C()``.

    Returns
    -------
    Scan

    Raises
    ------
    DataError
        If a column changes its type between partitions.
    """
    found = Scan({})
    for piece in pieces:
        own = {name: _column_scan(piece.frame[name], name in labels) for name in columns}
        found = merge_scans([found, Scan(own, len(piece.frame), f"{piece.partition}, row {piece.first}")])
    return found


def merge_scans(parts: Sequence[Scan]) -> Scan:
    """What is known of several parts together.

    Raises
    ------
    DataError
        Names the part whose column is of another type.
    """
    first, *others = [part for part in parts if part.rows] or [Scan({})]
    for other in others:
        merged = {}
        for name, known in first.columns.items():
            new = other.columns[name]
            if known.kind != new.kind:
                raise DataError(
                    f"{other.where}: column {name!r} holds {_word(new.kind)} from there on, and {_word(known.kind)} "
                    f"before ({first.where}); make it one type in all partitions"
                )
            if known.ordered and list(known.levels) != list(new.levels):
                raise DataError(
                    f"{other.where}: the ordered column {name!r} has other categories here than before; give all "
                    "partitions the same"
                )
            merged[name] = _merged(known, new)
        first = Scan(merged, first.rows + other.rows, first.where)
    return first


def merge_walks(parts: Sequence[tuple[Scan, dict[str, int]]]) -> tuple[Scan, dict[str, int]]:
    """What is known of several parts together, and the missing values of rows left out of them, by column."""
    names = {name for _, dropped in parts for name in dropped}
    counts = {name: sum(dropped.get(name, 0) for _, dropped in parts) for name in sorted(names)}
    return merge_scans([found for found, _ in parts]), counts


def _merged(known: ColumnScan, new: ColumnScan) -> ColumnScan:
    levels = known.levels | {level: occurs or known.levels.get(level, False) for level, occurs in new.levels.items()}
    n, apart = known.n + new.n, new.mean - known.mean
    if not n:
        return ColumnScan(known.kind, levels, ordered=known.ordered)
    return ColumnScan(
        known.kind,
        levels,
        n,
        known.mean + apart * new.n / n,
        known.square + new.square + apart**2 * known.n * new.n / n,
        min(known.low, new.low),
        max(known.high, new.high),
        known.ordered,
    )


def _column_scan(values: pd.Series, label: bool) -> ColumnScan:
    kind = kind_of(values)
    if kind == CATEGORICAL:
        levels = dict.fromkeys(values.cat.categories, False)
        levels.update(dict.fromkeys(values.cat.categories[np.unique(values.cat.codes)], True))
        return ColumnScan(kind, levels, ordered=bool(values.cat.ordered))
    levels = dict.fromkeys(pd.unique(values).tolist(), True) if kind != NUMBER or label else {}
    if kind != NUMBER:
        return ColumnScan(kind, levels)
    numbers = values.to_numpy(dtype=np.float64)
    mean = float(numbers[0] + np.mean(numbers - numbers[0]))
    square = float(((numbers - mean) ** 2).sum())
    return ColumnScan(kind, levels, len(numbers), mean, square, float(numbers.min()), float(numbers.max()))


def _word(kind: str) -> str:
    return {NUMBER: "numbers", CATEGORICAL: "categories"}.get(kind, "text")

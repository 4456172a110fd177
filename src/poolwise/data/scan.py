"""The first walk through rows that do not fit memory: what is wrong with them, their levels, means and spreads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, NUMBER, UNUSABLE, count, describe_rows, kind_of
from poolwise.data.partitions import Piece
from poolwise.errors import DataError, near_names

# Distinct numbers of a column that are remembered.
FEW = 32


@dataclass
class ColumnScan:
    """What is known of a column.

    Parameters
    ----------
    kind : str
        See :func:`poolwise.data.columns.kind_of`.
    levels : list
        Of text, categories and grouping columns, as they came; of a number the first few distinct ones.
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


@dataclass
class Scan:
    """What the first walk found.

    Parameters
    ----------
    columns : dict of str to ColumnScan
        In the order of the formula.
    rows : int
        Complete rows.
    """

    columns: dict[str, ColumnScan]
    rows: int = 0


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
        if absent.any():
            frame = frame.loc[~absent].reset_index(drop=True)
        if len(frame):
            yield Piece(piece.partition, piece.first, frame)


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
        If there is no complete row, or a column changes its type between partitions.
    """
    found = Scan({})
    for piece in pieces:
        found.rows += len(piece.frame)
        for name in columns:
            values = piece.frame[name]
            kind = kind_of(values)
            known = found.columns.setdefault(name, ColumnScan(kind))
            if known.kind != kind:
                raise DataError(
                    f"{piece.partition}: column {name!r} holds {_word(kind)} from row {piece.first} on, and "
                    f"{_word(known.kind)} before; make it one type in all partitions"
                )
            if kind == NUMBER:
                _learn_numbers(known, values.to_numpy(dtype=np.float64))
            _learn_levels(known, values, kind, name in labels, piece, name)
    if not found.rows:
        raise DataError("no row is complete: the source has no rows, or each misses a value in a needed column")
    return found


def _word(kind: str) -> str:
    return {NUMBER: "numbers", CATEGORICAL: "categories"}.get(kind, "text")


def _learn_numbers(known: ColumnScan, values: NDArray) -> None:
    n = len(values)
    mean = float(values[0] + np.mean(values - values[0]))
    apart, total = mean - known.mean, known.n + n
    known.square += float(((values - mean) ** 2).sum()) + apart**2 * known.n * n / total
    known.mean = known.mean + apart * n / total if known.n else mean
    known.n = total
    known.low, known.high = min(known.low, float(values.min())), max(known.high, float(values.max()))


def _learn_levels(known: ColumnScan, values: pd.Series, kind: str, label: bool, piece: Piece, name: str) -> None:
    if kind == CATEGORICAL:
        categories, ordered = list(values.cat.categories), bool(values.cat.ordered)
        if known.levels and ordered and categories != list(known.levels):
            raise DataError(
                f"{piece.partition}: the ordered column {name!r} has other categories here than before; give all "
                "partitions the same"
            )
        known.ordered = ordered
        known.levels.update(dict.fromkeys(categories, False) | known.levels)
        known.levels.update(dict.fromkeys(values.cat.categories[np.unique(values.cat.codes)], True))
    elif kind != NUMBER or label or len(known.levels) < FEW:
        distinct = pd.unique(values)
        new = distinct if kind != NUMBER or label else distinct[: FEW + len(known.levels)]
        known.levels.update(dict.fromkeys(new.tolist(), True))

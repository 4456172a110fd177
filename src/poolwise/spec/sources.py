"""The columns an expression reads: checked, turned into float64 numbers or ordered levels, learned once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from poolwise.data.columns import CATEGORICAL, NUMBER, TEXT, UNUSABLE, count, describe_rows, describe_values, kind_of
from poolwise.errors import DataError, near_names


@dataclass(frozen=True)
class Source:
    """One column as one component reads it; `levels` is None for numbers."""

    column: str
    levels: tuple | None


def learn(
    frame: pd.DataFrame, column: str, component: str, *, may_be_levels: bool, must_be_levels: bool = False
) -> Source:
    """Decide whether a column is read as numbers or as levels.

    Parameters
    ----------
    frame : DataFrame
        The table.
    column : str
        Its column.
    component : str
        Where it stands, for messages.
    may_be_levels : bool
        Whether text and categoricals are welcome (a bare column).
    must_be_levels : bool, default False
        Whether numbers are levels too (inside C, T, S).

    Returns
    -------
    Source
        With the levels that occur: in the user's order for categoricals, else sorted.

    Raises
    ------
    DataError
        If the column is not there, has missing values, one level only, or does not fit.
    """
    values = _column(frame, column)
    kind = kind_of(values)
    if kind in UNUSABLE:
        what, advice = UNUSABLE[kind]
        raise DataError(f"column {column!r} holds {what}; {advice.format(name=column)}")
    _check_missing(values, column)
    if kind == NUMBER and not must_be_levels:
        return Source(column, None)
    if not (may_be_levels or must_be_levels):
        what = "text" if kind == TEXT else "categories"
        raise DataError(f"column {column!r} holds {what}, but {component} needs numbers")
    if kind == CATEGORICAL:
        present = np.unique(values.cat.codes.to_numpy())
        levels = tuple(values.cat.categories[present].tolist())
    else:
        levels = tuple(sorted(set(values.tolist())))
    _check_levels(levels, column)
    return Source(column, levels)


def aliased(sources: dict[str, Source], frame: pd.DataFrame) -> pd.DataFrame:
    """Frame of the aliases: float64 numbers and ordered categoricals, in new memory."""
    columns = {}
    for alias, source in sources.items():
        values = frame[source.column]
        if source.levels is None:
            columns[alias] = values.to_numpy(dtype=np.float64)
        else:
            columns[alias] = pd.Categorical(values.astype(object), categories=list(source.levels), ordered=True)
    return pd.DataFrame(columns)


def renew(sources: dict[str, Source], frame: pd.DataFrame) -> pd.DataFrame:
    """Frame of the aliases for a new table, after checking that it fits what was learned.

    Raises
    ------
    DataError
        For a missing column or value, a number that became text, and levels that were not seen.
    """
    columns: dict[str, np.ndarray] = {}
    for alias, source in sources.items():
        values = _column(frame, source.column)
        _check_missing(values, source.column)
        if source.levels is None:
            if kind_of(values) != NUMBER:
                raise DataError(f"column {source.column!r} held numbers in the fitted data; here it holds other values")
            columns[alias] = values.to_numpy(dtype=np.float64)
        else:
            columns[alias] = _known_levels(values, source)
    return pd.DataFrame(columns)


def _known_levels(values: pd.Series, source: Source) -> np.ndarray:
    assert source.levels is not None
    plain = values.astype(object)
    lookup = {level: level for level in source.levels}
    unseen = np.flatnonzero([value not in lookup for value in plain])
    if len(unseen):
        by_level: dict[object, list[int]] = {}
        for row in unseen:
            by_level.setdefault(plain.iloc[row], []).append(int(row))
        listed = ", ".join(f"{level!r} ({describe_rows(rows)})" for level, rows in list(by_level.items())[:5])
        more = f" and {len(by_level) - 5} more" if len(by_level) > 5 else ""
        raise DataError(
            f"column {source.column!r} has {count(len(by_level), 'level')} that the fitted data did not have: "
            f"{listed}{more}; known levels: {describe_values(source.levels)}"
        )
    # A plain array, because C(...) refuses a categorical whose levels do not all occur.
    found = np.empty(len(plain), dtype=object)
    found[:] = [lookup[value] for value in plain]
    return found


def _column(frame: pd.DataFrame, column: str) -> pd.Series:
    if column not in frame.columns:
        raise DataError(f"the table has no column {column!r}; {near_names(column, frame.columns)}")
    values = frame[column]
    if isinstance(values, pd.DataFrame):
        raise DataError(f"the table has {values.shape[1]} columns called {column!r}; rename all but one")
    return values


def _check_missing(values: pd.Series, column: str) -> None:
    rows = np.flatnonzero(values.isna().to_numpy())
    if len(rows):
        raise DataError(
            f"column {column!r} has {count(len(rows), 'missing value')} ({describe_rows(rows)}); "
            "drop these rows or fill them in"
        )


def _check_levels(levels: tuple, column: str) -> None:
    if len(levels) < 2:
        raise DataError(f"column {column!r} has one level only ({describe_values(levels)}); leave it out")
    if len(set(map(str, levels))) < len(levels):
        raise DataError(f"column {column!r} has different levels that print alike; rename them")

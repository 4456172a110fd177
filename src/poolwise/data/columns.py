"""What a column of a table holds, and how messages name rows and values."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Number, Real
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal["number", "text", "categorical", "decimal", "complex", "time", "mixed", "other"]

NUMBER, TEXT, CATEGORICAL = "number", "text", "categorical"
# What each kind that a model cannot use is called, and the way out.
UNUSABLE: dict[str, tuple[str, str]] = {
    "decimal": ("Decimal numbers", "convert it: table[{name!r}].astype(float)"),
    "complex": ("complex numbers", "use the real part, the modulus or the angle"),
    "time": ("dates or durations", "convert it to a number, such as days since a date, or to text labels"),
    "mixed": ("values of mixed types", "convert it to one type: table[{name!r}].astype(float) or .astype(str)"),
    "other": ("values that are neither numbers nor text", "convert it to numbers or to text labels"),
}


def kind_of(column: pd.Series) -> Kind:
    """Tell what a column holds.

    Parameters
    ----------
    column : Series
        Numpy-backed or categorical; missing values do not count.

    Returns
    -------
    str
        ``number`` (bool and integers included), ``text``, ``categorical``, or a kind a model cannot use: ``decimal``,
        ``complex``, ``time``, ``mixed``, ``other``.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "categorical"
    if isinstance(dtype, pd.StringDtype):
        return "text"
    if dtype.kind in "biuf":
        return "number"
    if dtype.kind == "c":
        return "complex"
    if dtype.kind in "mM":
        return "time"
    return _kind_of_objects(column.dropna().array)


def _kind_of_objects(values: Iterable[object]) -> Kind:
    kinds = {_kind_of_type(type_) for type_ in set(map(type, values))}
    if not kinds:
        # A column with missing values only is reported as missing.
        return "number"
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _kind_of_type(type_: type) -> Kind:
    if issubclass(type_, str):
        return "text"
    if issubclass(type_, Decimal):
        return "decimal"
    if issubclass(type_, Real | np.number | np.bool_ | bool) and not issubclass(type_, np.complexfloating):
        return "number"
    if issubclass(type_, Number):
        return "complex"
    if hasattr(type_, "isoformat") or issubclass(type_, np.datetime64 | np.timedelta64 | pd.Timedelta):
        return "time"
    return "other"


def describe_rows(rows: Sequence[int] | NDArray, first: int = 5) -> str:
    """Name rows, the first five by number.

    Examples
    --------
    >>> describe_rows([4]), describe_rows([4, 17, 90]), describe_rows(range(17))
    ('row 4', 'rows 4, 17, 90', 'rows 0, 1, 2, 3, 4 and 12 more')
    """
    listed = ", ".join(str(int(row)) for row in rows[:first])
    more = f" and {len(rows) - first} more" if len(rows) > first else ""
    return f"row{'s' if len(rows) != 1 else ''} {listed}{more}"


def describe_values(values: Iterable[object], first: int = 8) -> str:
    """List values, at most eight.

    Examples
    --------
    >>> describe_values(["a", "b"]), describe_values(range(10), first=2)
    ('a, b', '0, 1 and 8 more')
    """
    texts = [str(value) for value in values]
    more = f" and {len(texts) - first} more" if len(texts) > first else ""
    return ", ".join(texts[:first]) + more


def count(number: int, noun: str) -> str:
    """Write a number with its noun.

    Examples
    --------
    >>> count(1, "missing value"), count(3, "missing value")
    ('1 missing value', '3 missing values')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"

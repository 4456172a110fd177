"""One pass over the columns a model needs, which reports all problems of the table at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import NUMBER, TEXT, UNUSABLE, count, describe_rows, describe_values, kind_of
from poolwise.data.grouping import as_groups, group_problems
from poolwise.errors import DataError, near_names

# Beyond it, and below its inverse, squares and their sums leave the range of doubles.
LARGEST = 1e140

# More distinct numbers written as text than this are taken for a mistake, not for levels.
MOST_NUMERIC_LEVELS = 20
# As are so many numbers with at most this share of other texts, an "absent" or "n/a" among them.
MOST_STRAY = 0.1


@dataclass(frozen=True, eq=False)
class CheckedTable:
    """The columns a model needs, without missing or infinite values.

    Parameters
    ----------
    frame : DataFrame (n rows)
        Only the needed columns, rows numbered from 0. Grouping factors are categoricals with the levels that occur.
    rows : ndarray of int (n,)
        Row numbers of the caller's table, from 0.
    dropped : dict of str to int
        Missing values per column when rows were dropped.
    notes : tuple of str
        What a reader should know: unused levels, groups that lost all their rows.
    """

    frame: pd.DataFrame
    rows: NDArray[np.int64]
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def dropped_in_words(self) -> str:
        """Why rows were dropped: ``2 miss 'age', 1 misses 'dose'``; empty where none was."""
        return ", ".join(f"{n} miss{'es' if n == 1 else ''} {name!r}" for name, n in self.dropped.items())


def check_table(
    frame: pd.DataFrame,
    *,
    response: Sequence[str],
    predictors: Sequence[str],
    factors: Sequence[str | tuple[str, ...]],
    members: Sequence[str] = (),
    weights: str | None = None,
    missing: str = "error",
    constant_ok: Sequence[str] = (),
    singletons_ok: bool = False,
    levels_ok: bool = False,
) -> CheckedTable:
    """Check everything a model needs of a table, and say all that is wrong in one error.

    Parameters
    ----------
    frame : DataFrame
        From :func:`poolwise.data.intake.as_frame`; never changed.
    response : sequence of str
        Columns of the response; the first is the outcome, others are trials, bounds or a status.
    predictors : sequence of str
        Columns of common terms, block expressions and offsets.
    factors : sequence of str or tuple of str
        Grouping columns; a tuple stands for the cells of an interaction.
    members : sequence of str, optional
        Columns that name groups of one population together, ``mm(g1, g2)``.
    weights : str, optional
        Column of weights.
    missing : {"error", "drop"}
        What to do with rows that miss a value in a needed column.
    constant_ok : sequence of str, optional
        Predictors that may be constant (offsets).
    singletons_ok : bool, default False
        Whether every group may have one row (a family without a residual standard deviation).
    levels_ok : bool, default False
        Whether the response may be text or categories (an ordinal family).

    Returns
    -------
    CheckedTable

    Raises
    ------
    DataError
        One sentence for one problem, a list for several; each names the column, the rows and the way out.

    Examples
    --------
    >>> table = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["b", "b", "a", "a"]})
    >>> check_table(table, response=["y"], predictors=[], factors=["g"]).frame["g"].cat.categories.tolist()
    ['a', 'b']
    """
    if missing not in ("error", "drop"):
        raise DataError(f"missing={missing!r} is not known; use 'error' or 'drop'")
    cells = [(item,) if isinstance(item, str) else tuple(item) for item in factors]
    roles = _Roles(tuple(response), tuple(predictors), tuple(dict.fromkeys([*sum(cells, ()), *members])), weights)
    if len(frame) == 0:
        raise DataError("the table has no rows")
    problems = _unknown_columns(frame, roles.columns)
    usable = [name for name in roles.columns if list(frame.columns).count(name) == 1]
    problems += _unusable_types(frame, usable, roles)
    usable = [name for name in usable if kind_of(frame[name]) not in UNUSABLE]
    problems += _infinite(frame, usable) + _beyond_squares(frame, usable)
    absent = {name: frame[name].isna().to_numpy() for name in usable}
    if missing == "error":
        problems += [_missing_text(name, where) for name, where in absent.items() if where.any()]
    # The remaining checks look at complete rows, so that they report what a model would see.
    kept = ~np.logical_or.reduce([np.zeros(len(frame), dtype=bool), *absent.values()])
    if not kept.any():
        problems.append("no row is complete: every row misses a value in a needed column")
        _raise(problems)
    part = frame.loc[kept, usable].reset_index(drop=True)
    problems += _response_problems(part, roles, levels_ok)
    problems += _predictor_problems(part, roles, constant_ok, np.flatnonzero(kept))
    problems += _weight_problems(part, roles, np.flatnonzero(kept))
    part, factor_problems, notes = as_groups(part, frame, roles.factors)
    problems += factor_problems
    problems += group_problems(part, [cell for cell in cells if set(cell) <= set(part.columns)], singletons_ok)
    _raise(problems)
    dropped = {name: int(where.sum()) for name, where in absent.items() if where.any()}
    return CheckedTable(_as_numbers(part), np.flatnonzero(kept), dropped, tuple(notes))


@dataclass(frozen=True)
class _Roles:
    response: tuple[str, ...]
    predictors: tuple[str, ...]
    factors: tuple[str, ...]
    weights: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        weights = () if self.weights is None else (self.weights,)
        return tuple(dict.fromkeys([*self.response, *weights, *self.predictors, *self.factors]))


def _raise(problems: list[str]) -> None:
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        raise DataError("\n- ".join([f"the table has {len(problems)} problems:", *problems]))


def _unknown_columns(frame: pd.DataFrame, needed: Sequence[str]) -> list[str]:
    problems = []
    names = list(frame.columns)
    for name in needed:
        if names.count(name) > 1:
            problems.append(f"the table has {names.count(name)} columns called {name!r}; rename all but one")
        elif name not in names:
            other = next((column for column in names if not isinstance(column, str) and str(column) == name), None)
            if other is None:
                hint = near_names(name, names)
            else:
                kind = type(other).__name__
                hint = f"its name is the {kind} {other!r}; make it text: table.columns = table.columns.map(str)"
            problems.append(f"the table has no column {name!r}; {hint.rstrip('.')}")
    return problems


def _unusable_types(frame: pd.DataFrame, names: Sequence[str], roles: _Roles) -> list[str]:
    problems = []
    for name in names:
        kind = kind_of(frame[name])
        if kind in UNUSABLE:
            what, advice = UNUSABLE[kind]
            problems.append(f"column {name!r} holds {what}; {advice.format(name=name)}")
        elif kind == NUMBER and name in roles.predictors and name in roles.factors:
            problems.append(
                f"column {name!r} is used as a number and as a grouping factor; copy it under another name for one"
            )
    return problems


def _beyond_squares(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    problems = []
    for name in names:
        if kind_of(frame[name]) != NUMBER:
            continue
        values = np.abs(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
        values = values[np.isfinite(values) & (values > 0)]
        if len(values) and not 1 / LARGEST < values.max() < LARGEST:
            unit = f"1e{int(np.floor(np.log10(values.max())))}"
            problems.append(
                f"column {name!r} has values of the size of {unit}, whose squares are beyond floating point; change "
                f"its unit: table[{name!r}] / {unit}"
            )
    return problems


def _infinite(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    problems = []
    for name in names:
        if kind_of(frame[name]) != NUMBER:
            continue
        rows = np.flatnonzero(np.isinf(frame[name].to_numpy(dtype=np.float64, na_value=np.nan)))
        if len(rows):
            values = f"{count(len(rows), 'infinite value')} ({describe_rows(rows)})"
            problems.append(f"column {name!r} has {values}; set them to a number or leave these rows out")
    return problems


def _missing_text(name: str, where: NDArray[np.bool_]) -> str:
    rows = np.flatnonzero(where)
    if len(rows) == len(where):
        return f"column {name!r} has missing values only; leave it out or fill it in"
    values = f"{count(len(rows), 'missing value')} ({describe_rows(rows)})"
    them = "them" if len(rows) > 1 else "it"
    return f"column {name!r} has {values}; drop {them} with missing='drop' or fill {them} in"


def _response_problems(part: pd.DataFrame, roles: _Roles, levels_ok: bool) -> list[str]:
    name = roles.response[0]
    if name not in part:
        return []
    values = part[name]
    if kind_of(values) != NUMBER and not levels_ok:
        seen = describe_values([repr(str(value)) for value in pd.unique(values)], first=3)
        return [
            f"the response {name!r} holds {_kind_word(values)} ({seen}), not numbers; {_made_numbers(name, values)}"
        ]
    if isinstance(values.dtype, pd.CategoricalDtype):
        empty = [str(level) for level in values.cat.categories if not (values == level).any()]
        if empty:
            return [
                f"the response {name!r} has {count(len(empty), 'level')} without rows: {', '.join(empty)}; their "
                f"thresholds are not identified. Drop them: table[{name!r}].cat.remove_unused_categories()"
            ]
    if len(part) == 1:
        return ["the table has one complete row; a model needs more"]
    if _is_constant(values) and len(roles.response) == 1:
        return [f"the response {name!r} is {values.iloc[0]} in every row; there is nothing to model"]
    return []


def _made_numbers(name: str, values: pd.Series) -> str:
    """The line that makes numbers of a response of texts."""
    distinct = pd.Series(pd.unique(values), dtype=object)
    column = f"table[{name!r}]"
    if pd.to_numeric(distinct, errors="coerce").notna().mean() > 0.5:
        return f"convert it: {column} = pd.to_numeric({column})"
    if len(distinct) == 2:
        event = max(distinct, key=str)
        said = name if name.isidentifier() else f"`{name}`"
        return f"name the event in the formula, {said}[{event!r}] ~ ..., with family='bernoulli'"
    return "convert it to numbers, or take family='categorical', or 'cumulative' where they have an order"


def _kind_word(values: pd.Series) -> str:
    return "text" if kind_of(values) == TEXT else "categories"


def _predictor_problems(
    part: pd.DataFrame, roles: _Roles, constant_ok: Sequence[str], numbers: NDArray[np.int64]
) -> list[str]:
    problems = []
    for name in roles.predictors:
        if name not in part or name in roles.response:
            continue
        values = part[name]
        if kind_of(values) == TEXT and _is_numeric_text(values):
            problems.append(
                f"column {name!r} holds numbers written as text ({describe_values(pd.unique(values), first=3)}); "
                f"convert it: pd.to_numeric(table[{name!r}]), or make it a pd.Categorical if they are labels"
            )
        elif kind_of(values) == TEXT and len(stray := _stray_texts(values)):
            rows = numbers[values.isin(stray).to_numpy()]
            problems.append(
                f"column {name!r} holds numbers but for {describe_values(stray, first=3)} ({describe_rows(rows)}), so "
                f"that all of it is text; mend {'it' if len(rows) == 1 else 'them'}: pd.to_numeric(table[{name!r}], "
                "errors='coerce') leaves gaps there. If they are labels, make it a pd.Categorical"
            )
        elif _is_constant(values) and name not in constant_ok and len(part) > 1:
            problems.append(
                f"column {name!r} is {values.iloc[0]} in every row, which cannot be told from the intercept; "
                "leave it out"
            )
    return problems


def _is_constant(values: pd.Series) -> bool:
    return bool((values == values.iloc[0]).all())


def _is_numeric_text(values: pd.Series) -> bool:
    """Whether all texts are numbers, and so many or so fractional that they cannot be meant as labels."""
    distinct = pd.Series(pd.unique(values), dtype=object)
    if pd.to_numeric(distinct, errors="coerce").isna().any():
        return False
    return len(distinct) > MOST_NUMERIC_LEVELS or bool(distinct.str.contains(".", regex=False).all())


def _stray_texts(values: pd.Series) -> NDArray:
    """The few texts in a column of many numbers; empty where the column is one of labels."""
    distinct = pd.Series(pd.unique(values), dtype=object)
    stray = pd.to_numeric(distinct, errors="coerce").isna().to_numpy()
    numbers = int((~stray).sum())
    few = numbers > MOST_NUMERIC_LEVELS and stray.sum() <= MOST_STRAY * numbers
    return distinct[stray & few].to_numpy()


def _weight_problems(part: pd.DataFrame, roles: _Roles, numbers: NDArray[np.int64]) -> list[str]:
    name = roles.weights
    if name is None or name not in part:
        return []
    if kind_of(part[name]) != NUMBER:
        return [f"the weights {name!r} hold {_kind_word(part[name])}, not numbers; convert them"]
    rows = numbers[part[name].to_numpy(dtype=np.float64) <= 0]
    if len(rows):
        values = f"{count(len(rows), 'value')} that {'is' if len(rows) == 1 else 'are'} zero or negative"
        return [f"the weights {name!r} have {values} ({describe_rows(rows)}); leave these rows out"]
    return []


def _as_numbers(part: pd.DataFrame) -> pd.DataFrame:
    """Objects that are all numbers as float64; text and categoricals as they are."""
    columns = {}
    for name in part.columns:
        values = part[name]
        is_object_number = values.dtype == object and kind_of(values) == NUMBER
        columns[name] = values.astype(np.float64) if is_object_number else values
    return pd.DataFrame(columns, index=part.index)

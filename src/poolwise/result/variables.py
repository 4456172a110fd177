"""The predictors of a model, what a comparison of two of their values is, and rows with a predictor changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from poolwise.errors import ArgumentError, DataError, UnknownNameError, near_names, shown
from poolwise.spec.design import Design

REFERENCE, PAIRWISE, SEQUENTIAL = CONTRASTS = ("reference", "pairwise", "sequential")
STEPS = ("sd", "iqr", "minmax")


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two versions of each row that differ in one predictor.

    Parameters
    ----------
    label : str
        Such as ``"+1"``, ``"b - a"``.
    high, low : object
        The value of all rows, or an array of one value a row.
    """

    label: str
    high: Any
    low: Any


def predictors(design: Design) -> list[str]:
    """Columns of the data that are neither response, weights nor only a grouping factor."""
    formulas = [own.formula for own in (design, *design.further)]
    out = {*design.formula.response_columns, design.weights_column}
    used = {column for formula in formulas for column in formula.predictors}
    return [str(column) for column in design.frame.columns if column in used and column not in out]


def column_of(design: Design, variable: str) -> pd.Series:
    """A predictor in the data of the fit.

    Raises
    ------
    UnknownNameError
        If it is none.
    """
    known = predictors(design)
    if variable not in known:
        raise UnknownNameError(f"{shown(variable)} is no predictor of the model; {near_names(str(variable), known)}")
    return design.frame[variable]


def levels_of(column: pd.Series) -> list | None:
    """Levels in their order; None of a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        seen = set(column)
        return [level for level in column.cat.categories if level in seen]
    if column.dtype == bool:
        return sorted(set(column.tolist()))
    return None if pd.api.types.is_numeric_dtype(column) else sorted(set(column))


def contrasts(design: Design, variable: str, frame: pd.DataFrame, contrast: Any, mark: str) -> list[Contrast]:
    """The comparisons asked for.

    Parameters
    ----------
    design : Design
        Of the fit.
    variable : str
        A predictor.
    frame : DataFrame
        The rows.
    contrast : number, pair, or str
        Of a number a step, ``(low, high)``, ``"sd"``, ``"iqr"`` or ``"minmax"``; of levels ``"reference"`` (each
        against the first), ``"pairwise"``, ``"sequential"``, or a pair of levels. None: a step of 1, or
        ``"reference"``.
    mark : str
        Between the two in labels: - or /.

    Returns
    -------
    list of Contrast
    """
    column = column_of(design, variable)
    levels = levels_of(column)
    if levels is not None:
        return [Contrast(f"{high} {mark} {low}", high, low) for low, high in _pairs(variable, levels, contrast)]
    if isinstance(contrast, str):
        return [_step_in_words(variable, column, frame, contrast)]
    if isinstance(contrast, Sequence) and len(contrast) == 2:
        low, high = (_number(variable, value) for value in contrast)
        return [Contrast(f"{high:g} {mark} {low:g}", high, low)]
    step = 1.0 if contrast is None else _number(variable, contrast)
    if step == 0:
        raise ArgumentError(f"the contrast of {variable!r} is a step of 0: there is nothing to compare")
    now = _numbers(variable, frame)
    return [Contrast(f"{step:+g}", now + step, now)]


def _step_in_words(variable: str, column: pd.Series, frame: pd.DataFrame, contrast: str) -> Contrast:
    known = column.to_numpy(dtype=float)
    if contrast not in STEPS:
        raise ArgumentError(
            f"{variable!r} is a number: its contrast is a step, a pair (low, high), or one of "
            f"{', '.join(map(repr, STEPS))}; got {shown(contrast)}"
        )
    if contrast == "minmax":
        return Contrast(contrast, known.max(), known.min())
    step = known.std(ddof=1) if contrast == "sd" else float(np.subtract(*np.quantile(known, [0.75, 0.25])))
    now = _numbers(variable, frame)
    return Contrast(f"+1 {contrast} ({step:.4g})", now + step, now)


def _pairs(variable: str, levels: list, contrast: Any) -> list[tuple]:
    """Pairs (low, high)."""
    if contrast is None or (isinstance(contrast, str) and contrast == REFERENCE):
        return [(levels[0], level) for level in levels[1:]]
    if isinstance(contrast, str) and contrast == PAIRWISE:
        return list(combinations(levels, 2))
    if isinstance(contrast, str) and contrast == SEQUENTIAL:
        return list(pairwise(levels))
    if isinstance(contrast, Sequence) and not isinstance(contrast, str) and len(contrast) == 2:
        for level in contrast:
            if level not in levels:
                raise UnknownNameError(
                    f"{shown(level)} is no level of {variable!r}; {near_names(str(level), list(map(str, levels)))}"
                )
        return [tuple(contrast)]
    raise ArgumentError(
        f"{variable!r} has levels: its contrast is one of {', '.join(map(repr, CONTRASTS))}, or a pair of levels; "
        f"got {shown(contrast)}"
    )


def _number(variable: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"a value of {variable!r} must be a number; got {shown(value)}")
    if not np.isfinite(value):
        raise ArgumentError(f"a value of {variable!r} must be finite; got {value}")
    return float(value)


def _numbers(variable: str, frame: pd.DataFrame) -> np.ndarray:
    if variable not in frame.columns:
        raise DataError(f"the rows have no column {variable!r}")
    return frame[variable].to_numpy(dtype=float)


def changed(design: Design, frame: pd.DataFrame, variable: str, value: Any) -> pd.DataFrame:
    """The rows with a predictor set to a value, or to one value a row."""
    column = design.frame[variable]
    values: Any = value if isinstance(value, np.ndarray) else [value] * len(frame)
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = pd.Categorical(values, categories=column.cat.categories, ordered=column.cat.ordered)
    return frame.assign(**{variable: values})

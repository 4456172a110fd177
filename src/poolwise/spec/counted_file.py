"""A file of counts, in the frame of :mod:`poolwise.spec.sealed_file`: cells, and the sums of their rows. No code.

header    formula, family, weights, states, dropped, min_rows, folds, notes; columns, each with its name, kind, levels,
          ordered
arrays    key_0, key_1 ...: the values of these columns in each cell, or the place of their levels
          y, trials, rows, constant, scaled, squared, fold: as :class:`poolwise.spec.counts.CellCounts` has them

Version 1 had neither folds nor notes.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, NUMBER, TEXT, kind_of
from poolwise.spec.counted import CountedData, recipe_of_counts, rehearse
from poolwise.spec.counts import COUNTED, FIELDS, CellCounts, cells_of, key_columns
from poolwise.spec.recipe import refuse_uncollapsible
from poolwise.spec.sealed_file import (
    check_column,
    check_scalars,
    check_width,
    folds_and_notes,
    formula_of,
    holds,
    sealed,
)

MAGIC = b"poolwise counted 2\n"
MAGIC_1 = b"poolwise counted 1\n"
# Rounding of sums of shares and squares, relative.
ROUNDING = 1e-9


def encode_counted(data: CountedData) -> bytes:
    """The bytes of a file of counts."""
    columns: list[list] = []
    arrays: dict[str, NDArray] = {}
    for k, (name, values) in enumerate(data.parts.keys.items()):
        kind, levels = kind_of(values), None
        ordered = kind == CATEGORICAL and bool(values.cat.ordered)
        if kind != NUMBER:
            labels = values if kind == CATEGORICAL else values.astype("category")
            levels, values = labels.cat.categories.tolist(), labels.cat.codes.astype(np.int64)
        columns.append([name, kind, levels, ordered])
        # Unsigned integers as signed ones.
        arrays[f"key_{k}"] = values.to_numpy(np.int64) if values.dtype.kind == "u" else values.to_numpy()
    arrays |= {name: getattr(data.parts, name) for name in (*FIELDS, "fold")}
    header = {
        "formula": data.recipe.text,
        "canonical": data.recipe.canonical,
        "trusted": data.recipe.trusted,
        "family": data.family,
        "weights": data.weights,
        "columns": columns,
        "states": [list(states) for states in data.states],
        "dropped": data.dropped,
        "min_rows": data.min_rows,
        "folds": data.folds,
        "notes": list(data.notes),
    }
    return sealed(MAGIC, header, arrays)


def decoded_counts(
    header: dict[str, Any], arrays: dict[str, NDArray], size: int, trusted: bool, *, folded: bool
) -> CountedData:
    """The counts of a file of ``size`` bytes, checked.

    Raises
    ------
    PoolwiseError, KeyError, TypeError, ValueError
        If they are none.
    """
    formula, family = formula_of(header, trusted), header["family"]
    refuse_uncollapsible(formula)
    holds(family in COUNTED, "the family is none that is counted")
    check_scalars(header)
    keys = _keys(header, arrays, key_columns(formula))
    folds, notes = folds_and_notes(header) if folded else (1, ())
    fold = _folds(arrays["fold"], folds, len(keys)) if folded else np.zeros(len(keys), dtype=np.int64)
    parts = CellCounts(keys, fold, *(_numbers(arrays[name], len(keys)) for name in FIELDS))
    named = {*FIELDS, *(["fold"] if folded else []), *(f"key_{k}" for k in range(len(keys.columns)))}
    holds(set(arrays) == named, "there are other arrays")
    holds(len(np.unique(cells_of(keys) * folds + fold)) == len(keys), "two cells are one")
    _check_counts(parts, family, header["weights"] or formula.weights)
    states = tuple(tuple(states) for states in header["states"])
    weights, dropped, least = (header[name] for name in ("weights", "dropped", "min_rows"))
    data = CountedData(formula, family, weights, parts, states, dropped, least, folds, notes)
    recipe = recipe_of_counts(data)
    check_width(recipe, size, len(keys))
    rehearse(data, recipe)
    return data


def _keys(header: dict[str, Any], arrays: dict[str, NDArray], needed: list[str]) -> pd.DataFrame:
    cells, found = len(arrays["rows"]), {}
    holds(cells > 0, "there are no cells")
    for k, (name, kind, levels, ordered) in enumerate(header["columns"]):
        check_column(name, kind, levels, ordered)
        values = arrays[f"key_{k}"]
        holds(values.shape == (cells,), f"column {name!r} has not one value a cell")
        if kind == NUMBER:
            holds(levels is None and bool(np.isfinite(values).all()), f"column {name!r} has values that are no numbers")
            found[name] = pd.Series(values)
            continue
        holds(levels is not None and values.dtype.kind == "i", f"column {name!r} has no levels")
        holds(bool(((values >= 0) & (values < len(levels))).all()), f"column {name!r} has an unknown level")
        holds(kind != TEXT or all(isinstance(level, str) for level in levels), f"column {name!r} has levels of no text")
        labels = pd.Categorical.from_codes(values, levels, ordered=ordered)
        found[name] = (
            pd.Series(labels) if kind == CATEGORICAL else pd.Series(np.array(levels, object)[values], dtype=object)
        )
    holds(list(found) == needed, "the columns are not those of the formula")
    return pd.DataFrame(found, index=range(cells))


def _folds(values: NDArray, folds: int, cells: int) -> NDArray[np.int64]:
    holds(values.dtype == np.int64 and values.shape == (cells,), "the folds have another type or shape")
    holds(bool(((values >= 0) & (values < folds)).all()), "there is a fold beyond the number of folds")
    return values


def _numbers(values: NDArray, cells: int) -> NDArray[np.float64]:
    holds(values.dtype.kind == "f" and values.shape == (cells,), "the sums have other types or shapes")
    holds(bool((np.abs(values) < 2.0**52).all()), "a sum is beyond what can be counted")
    return values


def _check_counts(counts: CellCounts, family: str, weights: str | None) -> None:
    """Refuse sums that no responses of the family have."""
    y, trials, rows, scaled = counts.y, counts.trials, counts.rows, counts.scaled
    more = 1 + ROUNDING
    holds(bool((rows > 0).all() and (y >= 0).all() and (trials > 0).all()), "a cell has no rows, or less than nothing")
    if weights is None:
        holds(all(bool((part == np.round(part)).all()) for part in (y, trials, rows)), "a count is no whole number")
    if family != "poisson":
        holds(bool((y <= trials * more).all()), "a cell has more successes than trials")
        holds(bool(((scaled >= 0) & (scaled <= rows * more)).all()), "a cell has shares beyond 1")
    if family != "binomial":
        holds(bool((np.abs(trials - rows) <= ROUNDING * rows).all()), "trials are not one a row")
        holds(bool((np.abs(scaled - y) <= ROUNDING * y).all()), "the responses do not add up")
    if family == "bernoulli":
        holds(not counts.constant.any(), "a binary response has no constant")
    # The square of a mean is no larger than the mean of the squares.
    holds(bool((scaled**2 <= counts.squared * rows * more).all()), "a sum of squares is smaller than it can be")

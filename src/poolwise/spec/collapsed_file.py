"""A file of sums, in the frame of :mod:`poolwise.spec.sealed_file`. No rows and no code.

    header    formula, weights, columns, states, scalars
    arrays    keys, rows, between, low, high; plain_weight, plain_mean, plain_scatter; weighted_... with weights

Version 1 had no folds of rows; it is read too.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.moments import CellSums, Moments
from poolwise.data.whole_file import write_whole
from poolwise.errors import PoolwiseError, StoreError, shown
from poolwise.spec import counted_file
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted import CountedData
from poolwise.spec.recipe import ColumnNote, Recipe
from poolwise.spec.sealed_file import (
    check_column,
    check_scalars,
    check_width,
    folds_and_notes,
    formula_of,
    holds,
    is_whole,
    sealed,
    unsealed,
)

MAGIC = b"poolwise collapsed 2\n"
READ = (MAGIC, b"poolwise collapsed 1\n", counted_file.MAGIC, counted_file.MAGIC_1)


def save_collapsed(data: CollapsedData | CountedData, path: str | Path) -> Path:
    """Write sums or counts to a file, whole or not at all; see :meth:`CollapsedData.save`."""
    if isinstance(data, CountedData):
        return write_whole(path, counted_file.encode_counted(data), "the counts")
    return write_whole(path, encode_collapsed(data), "the sums")


def encode_collapsed(data: CollapsedData) -> bytes:
    """The bytes of a file of sums."""
    recipe, sums = data.recipe, data.parts
    arrays: dict[str, NDArray[Any]] = {"keys": sums.keys, "rows": sums.rows, "between": sums.between}
    # The ends of a range are single rows' values, but for a column of two values.
    arrays["low"] = np.where(sums.between, np.nan, sums.low)
    arrays["high"] = np.where(sums.between, np.nan, sums.high)
    for name, moments in (("plain", sums.plain), ("weighted", sums.weighted)):
        if name == "plain" or sums.weighted is not sums.plain:
            arrays |= {f"{name}_{key}": getattr(moments, key) for key in ("weight", "mean", "scatter")}
    header = {
        "formula": recipe.formula.text,
        "canonical": recipe.formula.canonical,
        "trusted": recipe.formula.trusted,
        "weights": recipe.weights,
        "columns": [
            [name, note.kind, None if note.levels is None else list(note.levels), note.ordered, note.mean, note.sd]
            for name, note in recipe.columns.items()
        ],
        "states": [list(states) for states in recipe.states],
        "log_weights": sums.log_weights,
        "dropped": data.dropped,
        "notes": list(data.notes),
        "min_rows": data.min_rows,
        "folds": data.folds,
    }
    return sealed(MAGIC, header, arrays)


def load_collapsed(path: str | Path, *, trusted: bool = False) -> CollapsedData | CountedData:
    """Read a file that :meth:`CollapsedData.save` or :meth:`CountedData.save` wrote; safe with files of strangers.

    Parameters
    ----------
    path : str or Path
        The file.
    trusted : bool, default False
        Read sums whose formula needed ``trusted=True``; only for files you wrote yourself.

    Returns
    -------
    CollapsedData or CountedData
        What was saved.

    Raises
    ------
    StoreError
        If the file is not one of collapsed data, is truncated, was altered, or holds what sums cannot be.

    Examples
    --------
    >>> import poolwise as pw, tempfile, pathlib
    >>> sums = pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pw.load_collapsed(sums.save(pathlib.Path(folder) / "site.sums")).n
    180
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    return decode_collapsed(content, repr(str(path)), trusted=trusted)


def decode_collapsed(content: bytes, called: str, *, trusted: bool = False) -> CollapsedData | CountedData:
    """Read what :func:`encode_collapsed` or its like for counts wrote; ``called`` names it in messages.

    Raises
    ------
    StoreError
        As :func:`load_collapsed`.
    """
    magic = next((own for own in READ if content.startswith(own)), b"")
    if not magic:
        version = content[:40].split(b"\n")[0]
        ours = version.startswith((b"poolwise collapsed", b"poolwise counted"))
        said = "another version of them" if ours else "of another kind"
        raise StoreError(f"{called} is no file of sums or counts of version 1 or 2, but {said}")
    if not is_whole(content, magic):
        raise StoreError(f"{called} was truncated, altered or damaged: its checksum does not fit")
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            header, arrays = unsealed(content, magic)
            if magic in (counted_file.MAGIC, counted_file.MAGIC_1):
                folded = magic == counted_file.MAGIC
                return counted_file.decoded_counts(header, arrays, len(content), trusted, folded=folded)
            return _decoded(header, arrays, len(content), trusted, folded=magic == MAGIC)
    except (PoolwiseError, KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        detail = str(error)[:300]
        raise StoreError(f"{called} does not hold collapsed data that can be used: {detail}") from error
    except (AttributeError, ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
        raise StoreError(f"{called} holds numbers that are no sums of rows") from error


def _decoded(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], size: int, trusted: bool, *, folded: bool
) -> CollapsedData:
    recipe = _recipe(header, trusted)
    check_width(recipe, size, arrays["keys"].size)
    folds, notes = folds_and_notes(header if folded else header | {"folds": 1})
    sums = _sums(arrays, _number(header["log_weights"]), recipe, folds)
    check_scalars(header)
    data = CollapsedData(recipe, sums, header["dropped"], notes, header["min_rows"], folds)
    d = len(data.evaluator.u) + 1
    holds(sums.plain.mean.shape[1] == d, f"the formula has {d} columns, the sums {sums.plain.mean.shape[1]}")
    data.basis(centred=True)
    return data


def _recipe(header: dict[str, Any], trusted: bool) -> Recipe:
    formula, weights, columns = formula_of(header, trusted), header["weights"], {}
    for name, kind, levels, ordered, mean, sd in header["columns"]:
        check_column(name, kind, levels, ordered)
        columns[name] = ColumnNote(kind, None if levels is None else tuple(levels), ordered, _number(mean), _number(sd))
    needed = set(formula.columns) | ({weights} if weights else set())
    holds(set(columns) == needed, "the columns are not those of the formula")
    recipe = Recipe(formula, weights, columns, tuple(tuple(states) for states in header["states"]))
    holds(all(columns[name].levels for name in recipe.group_columns), "a grouping column has no levels")
    holds(math.prod(map(float, recipe.shape)) < 2.0**62, "there are too many combinations of groups")
    return recipe


def _number(value: object) -> float:
    holds(type(value) in (int, float) and math.isfinite(value), f"{shown(value)} is no finite number")  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def _sums(arrays: dict[str, NDArray[Any]], log_weights: float, recipe: Recipe, folds: int) -> CellSums:
    keys, rows, between = arrays["keys"], arrays["rows"], arrays["between"]
    C, d = arrays["plain_mean"].shape
    holds(keys.dtype.kind == rows.dtype.kind == "i" and between.dtype.kind == "b", "the arrays have other types")
    holds(keys.shape == rows.shape == (C,) and C > 0 and between.shape == (d,), "the arrays have other shapes")
    holds(bool((np.diff(keys) > 0).all()) and keys[0] >= 0, "the cells are not in order")
    holds(math.prod(map(float, recipe.shape)) * folds < 2.0**62, "there are too many combinations of groups and folds")
    holds(keys[-1] < math.prod(recipe.shape) * folds, "a cell is of no known group")
    holds(bool((rows >= 1).all() and (rows < 2**52).all()), "a cell has no rows")
    plain = _moments(arrays, "plain", C, d)
    holds(np.array_equal(plain.weight, rows), "the rows do not add up")
    weighted = _moments(arrays, "weighted", C, d) if "weighted_mean" in arrays else plain
    holds((weighted is plain) == (recipe.weight_column is None), "the weights do not fit the formula")
    low, high = arrays["low"], arrays["high"]
    holds(low.shape == high.shape == (d,) and low.dtype.kind == high.dtype.kind == "f", "the ranges have other shapes")
    holds(bool(np.isfinite(low[~between]).all() and (low <= high)[~between].all()), "a range is empty")
    low, high = np.where(between, np.nan, low), np.where(between, np.nan, high)
    return CellSums(keys, rows, plain, weighted, log_weights, low, high, between)


def _moments(arrays: dict[str, NDArray[Any]], name: str, C: int, d: int) -> Moments:
    weight, mean, scatter = (arrays[f"{name}_{key}"] for key in ("weight", "mean", "scatter"))
    holds(all(part.dtype.kind == "f" for part in (weight, mean, scatter)), "the sums are no floating-point numbers")
    holds(weight.shape == (C,) and mean.shape == (C, d) and scatter.shape == (C, d, d), "the sums have other shapes")
    holds(all(np.isfinite(part).all() for part in (weight, mean, scatter)), "a sum is not finite")
    diagonal = np.einsum("ckk->ck", scatter)
    holds(bool((weight > 0).all() and (diagonal >= 0).all()), "a sum of squares or weights is negative")
    root = np.sqrt(diagonal)
    most = root[:, :, None] * root[:, None, :] * (1 + 1e-6) + 1e-300
    holds(bool((np.abs(scatter) <= most).all() and (scatter == scatter.transpose(0, 2, 1)).all()), "a scatter is none")
    return Moments(weight, mean, scatter)

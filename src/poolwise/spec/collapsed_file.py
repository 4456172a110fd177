"""A file of sums: a line that names the format, a header in JSON, plain numbers, a checksum. No rows and no code.

    poolwise collapsed 2, LF    the format and its version
    8 bytes                     length of the header, little-endian
    header                      JSON: formula, weights, columns, states, scalars; names, types and shapes of the arrays
    arrays                      one after the other, little-endian, C order
    32 bytes                    SHA-256 of all before

Version 1 had no folds of rows; it is read too. What a reader takes from a file is bounded by the file's own size, and
checked before it is used.
"""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.moments import CellSums, Moments
from poolwise.data.folds import MOST_FOLDS
from poolwise.data.whole_file import write_whole
from poolwise.errors import PoolwiseError, StoreError, shown
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.expansion import Component
from poolwise.spec.formula import parse_expression, parse_formula
from poolwise.spec.recipe import FEWEST, ColumnNote, Recipe
from poolwise.spec.syntax import Call, Literal, names_in

MAGIC = b"poolwise collapsed 2\n"
READ = (MAGIC, b"poolwise collapsed 1\n")
# A header lists formula, levels and learned numbers; more than this is no header.
LONGEST_HEADER = 500_000_000
TYPES = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8"), "b1": np.dtype("?")}
KINDS = ("number", "text", "categorical")


def save_collapsed(data: CollapsedData, path: str | Path) -> Path:
    """Write sums to a file, whole or not at all; see :meth:`CollapsedData.save`."""
    return write_whole(path, encode_collapsed(data), "the sums")


def encode_collapsed(data: CollapsedData) -> bytes:
    """The bytes of a file of sums."""
    recipe, sums = data.recipe, data.parts
    arrays: dict[str, NDArray] = {"keys": sums.keys, "rows": sums.rows, "between": sums.between}
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
        "arrays": [[name, _type(array), list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header, allow_nan=False).encode()
    parts = [MAGIC, len(text).to_bytes(8, "little"), text]
    parts += [np.ascontiguousarray(array, dtype=TYPES[_type(array)]).tobytes() for array in arrays.values()]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def _type(array: NDArray) -> str:
    return {"f": "f8", "i": "i8", "b": "b1"}[array.dtype.kind]


def load_collapsed(path: str | Path, *, trusted: bool = False) -> CollapsedData:
    """Read a file that :meth:`CollapsedData.save` wrote; safe with files of strangers.

    Parameters
    ----------
    path : str or Path
        The file.
    trusted : bool, default False
        Read sums whose formula needed ``trusted=True``; only for files you wrote yourself.

    Returns
    -------
    CollapsedData

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


def decode_collapsed(content: bytes, called: str, *, trusted: bool = False) -> CollapsedData:
    """Read what :func:`encode_collapsed` wrote; ``called`` names it in messages.

    Raises
    ------
    StoreError
        As :func:`load_collapsed`.
    """
    if not content.startswith(READ):
        version = content[:40].split(b"\n")[0]
        said = "another version of them" if version.startswith(b"poolwise collapsed") else "of another kind"
        raise StoreError(f"{called} is no file of collapsed data of version 1 or 2, but {said}")
    body, checksum = content[:-32], content[-32:]
    if len(content) < len(MAGIC) + 40 or hashlib.sha256(body).digest() != checksum:
        raise StoreError(f"{called} was truncated, altered or damaged: its checksum does not fit")
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            return _decoded(body, trusted, folded=content.startswith(MAGIC))
    except (PoolwiseError, KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        detail = str(error)[:300]
        raise StoreError(f"{called} does not hold collapsed data that can be used: {detail}") from error
    except (AttributeError, ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
        raise StoreError(f"{called} holds numbers that are no sums of rows") from error


def _decoded(body: bytes, trusted: bool, *, folded: bool) -> CollapsedData:
    at = len(MAGIC)
    length = int.from_bytes(body[at : at + 8], "little")
    start = at + 8 + length
    _holds(length <= LONGEST_HEADER and start <= len(body), "the header is longer than the file")
    header = json.loads(body[at + 8 : start].decode())
    _holds(isinstance(header, dict), "the header is no table")
    # Halves of surrogate pairs, which no table can show, end here.
    json.dumps(header, ensure_ascii=False).encode()
    arrays: dict[str, NDArray] = {}
    for name, kind, shape in header["arrays"]:
        _holds(
            isinstance(shape, list)
            and len(shape) <= 3
            and all(type(size) is int and 0 <= size < 2**40 for size in shape),
            f"array {shown(name)} has the shape {shown(shape)}",
        )
        size = math.prod(shape) * TYPES[kind].itemsize
        _holds(start + size <= len(body), f"array {shown(name)} ends beyond the file")
        arrays[name] = np.frombuffer(body, TYPES[kind], math.prod(shape), start).reshape(shape).copy()
        start += size
    _holds(start == len(body), "the arrays end before the file")
    recipe = _recipe(header, trusted)
    rows = max([FEWEST, arrays["keys"].size, *(len(note.levels or ()) for note in recipe.columns.values())])
    # Rows that stand for the data are evaluated: for sums that are true they are fewer than the numbers of the file.
    most = max(10_000_000, 4 * len(body))
    _holds(rows * (len(recipe.columns) + widest(recipe)) <= most, "the formula has far more columns than the sums")
    folds = header["folds"] if folded else 1
    _holds(type(folds) is int and 1 <= folds <= MOST_FOLDS, "the number of folds is none")
    sums = _sums(arrays, _number(header["log_weights"]), recipe, folds)
    min_rows, dropped, notes = header["min_rows"], header["dropped"], header["notes"]
    _holds(type(min_rows) is int and min_rows >= 1, "min_rows is no whole number")
    _holds(isinstance(dropped, dict) and all(type(value) is int for value in dropped.values()), "dropped is no table")
    _holds(isinstance(notes, list) and all(isinstance(note, str) for note in notes), "the notes are no texts")
    data = CollapsedData(recipe, sums, dropped, tuple(notes), min_rows, folds)
    d = len(data.evaluator.u) + 1
    _holds(sums.plain.mean.shape[1] == d, f"the formula has {d} columns, the sums {sums.plain.mean.shape[1]}")
    data.basis(centred=True)
    return data


def widest(recipe: Recipe) -> int:
    """Columns that the expressions of a recipe can have, at most; nothing is evaluated."""
    formula, total = recipe.formula, 1
    for expression in (formula.common, *(block.expression for block in formula.blocks)):
        for term in parse_expression(expression, trusted=formula.trusted).terms:
            total += math.prod(_width(component, recipe) for component in term)
    return total


def _width(component: Component, recipe: Recipe) -> int:
    width = 1
    for name in set(names_in(component)):
        width *= len(recipe.columns[name].levels or (0,))
    if isinstance(component, Call) and component.function in ("bs", "poly"):
        given = [*component.arguments[1:], *(value for _, value in component.keywords)]
        width *= max([1, *(int(float(one.text)) for one in given if isinstance(one, Literal) and one.kind == "number")])
    return width


def _recipe(header: dict[str, Any], trusted: bool) -> Recipe:
    for key in ("formula", "canonical"):
        _holds(isinstance(header[key], str) and len(header[key]) < 100_000, f"the {key} is no text")
    formula = replace(parse_formula(header["canonical"], trusted=trusted), text=header["formula"])
    weights = header["weights"]
    _holds(weights is None or isinstance(weights, str), "the weights are no column")
    columns = {}
    for name, kind, levels, ordered, mean, sd in header["columns"]:
        _holds(
            isinstance(name, str) and kind in KINDS and isinstance(ordered, bool), f"column {shown(name)} is unclear"
        )
        if levels is not None:
            _holds(
                isinstance(levels, list)
                and len(levels) > 0
                and all(type(level) in (str, int, float, bool) for level in levels)
                and len(set(levels)) == len(levels),
                f"column {shown(name)} has levels that are not distinct labels",
            )
        columns[name] = ColumnNote(kind, None if levels is None else tuple(levels), ordered, _number(mean), _number(sd))
    needed = set(formula.columns) | ({weights} if weights else set())
    _holds(set(columns) == needed, "the columns are not those of the formula")
    recipe = Recipe(formula, weights, columns, tuple(tuple(states) for states in header["states"]))
    _holds(all(columns[name].levels for name in recipe.group_columns), "a grouping column has no levels")
    _holds(math.prod(map(float, recipe.shape)) < 2.0**62, "there are too many combinations of groups")
    return recipe


def _number(value: object) -> float:
    _holds(type(value) in (int, float) and math.isfinite(value), f"{shown(value)} is no finite number")  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def _sums(arrays: dict[str, NDArray], log_weights: float, recipe: Recipe, folds: int) -> CellSums:
    keys, rows, between = arrays["keys"], arrays["rows"], arrays["between"]
    C, d = arrays["plain_mean"].shape
    _holds(keys.dtype.kind == rows.dtype.kind == "i" and between.dtype.kind == "b", "the arrays have other types")
    _holds(keys.shape == rows.shape == (C,) and C > 0 and between.shape == (d,), "the arrays have other shapes")
    _holds(bool((np.diff(keys) > 0).all()) and keys[0] >= 0, "the cells are not in order")
    _holds(math.prod(map(float, recipe.shape)) * folds < 2.0**62, "there are too many combinations of groups and folds")
    _holds(keys[-1] < math.prod(recipe.shape) * folds, "a cell is of no known group")
    _holds(bool((rows >= 1).all() and (rows < 2**52).all()), "a cell has no rows")
    plain = _moments(arrays, "plain", C, d)
    _holds(np.array_equal(plain.weight, rows), "the rows do not add up")
    weighted = _moments(arrays, "weighted", C, d) if "weighted_mean" in arrays else plain
    _holds((weighted is plain) == (recipe.weight_column is None), "the weights do not fit the formula")
    low, high = arrays["low"], arrays["high"]
    _holds(low.shape == high.shape == (d,) and low.dtype.kind == high.dtype.kind == "f", "the ranges have other shapes")
    _holds(bool(np.isfinite(low[~between]).all() and (low <= high)[~between].all()), "a range is empty")
    low, high = np.where(between, np.nan, low), np.where(between, np.nan, high)
    return CellSums(keys, rows, plain, weighted, log_weights, low, high, between)


def _moments(arrays: dict[str, NDArray], name: str, C: int, d: int) -> Moments:
    weight, mean, scatter = (arrays[f"{name}_{key}"] for key in ("weight", "mean", "scatter"))
    _holds(all(part.dtype.kind == "f" for part in (weight, mean, scatter)), "the sums are no floating-point numbers")
    _holds(weight.shape == (C,) and mean.shape == (C, d) and scatter.shape == (C, d, d), "the sums have other shapes")
    _holds(all(np.isfinite(part).all() for part in (weight, mean, scatter)), "a sum is not finite")
    diagonal = np.einsum("ckk->ck", scatter)
    _holds(bool((weight > 0).all() and (diagonal >= 0).all()), "a sum of squares or weights is negative")
    root = np.sqrt(diagonal)
    most = root[:, :, None] * root[:, None, :] * (1 + 1e-6) + 1e-300
    _holds(bool((np.abs(scatter) <= most).all() and (scatter == scatter.transpose(0, 2, 1)).all()), "a scatter is none")
    return Moments(weight, mean, scatter)


def _holds(true: bool, otherwise: str) -> None:
    if not true:
        raise StoreError(otherwise)

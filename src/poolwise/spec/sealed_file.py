"""The frame of files of sums and of counts: a line that names the format, a header in JSON, plain numbers, a checksum.

    poolwise collapsed 2, LF    the format and its version
    8 bytes                     length of the header, little-endian
    header                      JSON: formula, columns, scalars; under "arrays" names, types and shapes of the arrays
    arrays                      one after the other, little-endian, C order
    32 bytes                    SHA-256 of all before

What a reader takes from a file is bounded by the file's own size, and checked before it is used.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poolwise.data.folds import MOST_FOLDS
from poolwise.errors import StoreError, shown
from poolwise.spec.expansion import Component
from poolwise.spec.formula import Formula, parse_expression, parse_formula
from poolwise.spec.recipe import FEWEST, Recipe
from poolwise.spec.size import curves
from poolwise.spec.syntax import names_in

# A header lists formula, levels and learned numbers; more than this is no header.
LONGEST_HEADER = 500_000_000
TYPES = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8"), "b1": np.dtype("?")}
KINDS = ("number", "text", "categorical")


def sealed(magic: bytes, header: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> bytes:
    """The bytes of a file.

    Parameters
    ----------
    magic : bytes
        The format and its version, one line.
    header : mapping
        What JSON holds.
    arrays : mapping of str to ndarray
        Floating-point numbers, integers or truth values.
    """
    listed = [[name, _type(array), list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    parts = [magic, len(text).to_bytes(8, "little"), text]
    parts += [np.ascontiguousarray(array, dtype=TYPES[_type(array)]).tobytes() for array in arrays.values()]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def _type(array: NDArray) -> str:
    return {"f": "f8", "i": "i8", "b": "b1"}[array.dtype.kind]


def is_whole(content: bytes, magic: bytes) -> bool:
    """Whether a file carries the checksum of all before it."""
    return len(content) >= len(magic) + 40 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def unsealed(content: bytes, magic: bytes) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Header and arrays of a file that is whole.

    Raises
    ------
    StoreError, KeyError, TypeError, ValueError, RecursionError
        If they are none.
    """
    body, at = content[:-32], len(magic)
    length = int.from_bytes(body[at : at + 8], "little")
    start = at + 8 + length
    holds(length <= LONGEST_HEADER and start <= len(body), "the header is longer than the file")
    header = json.loads(body[at + 8 : start].decode())
    holds(isinstance(header, dict), "the header is no table")
    # Halves of surrogate pairs, which no table can show, end here.
    json.dumps(header, ensure_ascii=False).encode()
    arrays: dict[str, NDArray] = {}
    for name, kind, shape in header["arrays"]:
        holds(
            isinstance(shape, list)
            and len(shape) <= 3
            and all(type(size) is int and 0 <= size < 2**40 for size in shape),
            f"array {shown(name)} has the shape {shown(shape)}",
        )
        size = math.prod(shape) * TYPES[kind].itemsize
        holds(start + size <= len(body), f"array {shown(name)} ends beyond the file")
        arrays[name] = np.frombuffer(body, TYPES[kind], math.prod(shape), start).reshape(shape).copy()
        start += size
    holds(start == len(body), "the arrays end before the file")
    return header, arrays


def formula_of(header: Mapping[str, Any], trusted: bool) -> Formula:
    """The formula of a header, parsed."""
    for key in ("formula", "canonical"):
        holds(isinstance(header[key], str) and len(header[key]) < 100_000, f"the {key} is no text")
    holds(header["weights"] is None or isinstance(header["weights"], str), "the weights are no column")
    return replace(parse_formula(header["canonical"], trusted=trusted), text=header["formula"])


def check_column(name: Any, kind: Any, levels: Any, ordered: Any) -> None:
    """Refuse what a header says of a column, if no table has it."""
    holds(isinstance(name, str) and kind in KINDS and isinstance(ordered, bool), f"column {shown(name)} is unclear")
    if levels is not None:
        holds(
            isinstance(levels, list)
            and len(levels) > 0
            and all(type(level) in (str, int, float, bool) for level in levels)
            and len(set(levels)) == len(levels),
            f"column {shown(name)} has levels that are not distinct labels",
        )


def check_scalars(header: Mapping[str, Any]) -> None:
    """Refuse a smallest number of rows, or dropped rows, that no walk has."""
    min_rows, dropped = header["min_rows"], header["dropped"]
    holds(type(min_rows) is int and min_rows >= 1, "min_rows is no whole number")
    holds(isinstance(dropped, dict) and all(type(value) is int for value in dropped.values()), "dropped is no table")


def folds_and_notes(header: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Number of folds, and notes, if they are such."""
    folds, notes = header["folds"], header["notes"]
    holds(type(folds) is int and 1 <= folds <= MOST_FOLDS, "the number of folds is none")
    holds(isinstance(notes, list) and all(isinstance(note, str) for note in notes), "the notes are no texts")
    return folds, tuple(notes)


def check_width(recipe: Recipe, size: int, cells: int) -> None:
    """Refuse a formula whose columns would take far more memory than the file, of ``size`` bytes, has.

    Rows that stand for the data are evaluated: for what is true they are fewer than the numbers of the file.
    """
    rows = max([FEWEST, cells, *(len(note.levels or ()) for note in recipe.columns.values())])
    most = max(10_000_000, 4 * size)
    holds(rows * (len(recipe.columns) + widest(recipe)) <= most, "the formula has far more columns than the sums")


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
    return width * curves(component)


def holds(true: bool, otherwise: str) -> None:
    """Refuse a file, in words."""
    if not true:
        raise StoreError(otherwise)

"""How many columns a formula makes of a table, before anything is evaluated."""

import math

import pandas as pd

from poolwise.data.memory import refuse_larger
from poolwise.errors import DataError
from poolwise.spec.expansion import Component
from poolwise.spec.formula import Formula, parse_expression
from poolwise.spec.syntax import Call, Literal, names_in

# The matrix, and the copy that the rank is found with.
COPIES = 2
# Functions that make a category of numbers.
CODINGS = ("C", "T", "S")


def refuse_wide(formula: Formula, frame: pd.DataFrame) -> None:
    """Refuse a formula whose columns do not fit into the memory that is free.

    Parameters
    ----------
    formula : Formula
        Common part and blocks.
    frame : DataFrame
        The rows.

    Raises
    ------
    DataError
        With the size, what is free, the largest term, and the way out.
    """
    found: list[tuple[int, str]] = []
    for expression in (formula.common, *(block.expression for block in formula.blocks)):
        for term in parse_expression(expression, trusted=formula.trusted).terms:
            levels = [_levels(component, frame) for component in term]
            found.append((math.prod(levels), ":".join(_called(component) for component in term)))
    width = sum(columns for columns, _ in found)
    most, largest = max(found, default=(0, ""))
    refuse_larger(
        8.0 * COPIES * len(frame) * width,
        f"{len(frame)} rows of {width} columns, of which {most} are of {largest!r},",
        "Write a factor of many levels as groups, (1 | g)",
        DataError,
    )


def _levels(component: Component, frame: pd.DataFrame) -> int:
    """Columns of one component of a term, but for the one that an intercept takes."""
    width = 1
    coded = isinstance(component, Call) and component.function in CODINGS
    for name in set(names_in(component)) & set(frame.columns):
        if coded or not pd.api.types.is_numeric_dtype(frame[name]):
            width *= max(1, frame[name].nunique() - 1)
    return width * curves(component)


def curves(component: Component) -> int:
    """Columns of a number under bs() or poly(), at most: the largest number among the arguments; 1 of another."""
    if not (isinstance(component, Call) and component.function in ("bs", "poly")):
        return 1
    given = [*component.arguments[1:], *(value for _, value in component.keywords)]
    return max([1, *(int(float(one.text)) for one in given if isinstance(one, Literal) and one.kind == "number")])


def _called(component: Component) -> str:
    return " ".join(sorted(set(names_in(component))))

"""The rows that the formulas of a model need, checked together."""

from collections.abc import Callable, Sequence

import pandas as pd

from poolwise.data.validate import CheckedTable, check_table
from poolwise.spec.families import Family
from poolwise.spec.formula import Formula


def checked_rows(
    frame: pd.DataFrame,
    formula: Formula,
    further: Sequence[Formula],
    family: Family,
    weights: str | None,
    missing: str = "error",
) -> CheckedTable:
    """The rows that all formulas of a model need, checked."""
    every = [formula, *further]

    def joined(of: Callable[[Formula], tuple]) -> tuple:
        return tuple(dict.fromkeys(item for one in every for item in of(one)))

    return check_table(
        frame,
        response=formula.response_columns,
        predictors=joined(lambda one: one.predictors),
        factors=joined(lambda one: one.cells),
        members=joined(lambda one: one.member_columns),
        weights=formula.weights_column(weights),
        missing=missing,
        constant_ok=joined(lambda one: one.offset_columns),
        singletons_ok=not family.has_sigma,
        levels_ok=family.holds in ("levels", "categories"),
    )

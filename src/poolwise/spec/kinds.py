"""Kinds of groups, ``gr(g, by=z)``: the groups of each kind are draws from a normal distribution of their own.

The effects of a group j of kind k are u_j ~ N(0, T_k T_k'): each kind has its own group sds and correlations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.errors import DataError
from poolwise.spec.group_sds import within


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kind of each group.

    Parameters
    ----------
    column : str
        Where they come from.
    labels : tuple of str (K,)
        The kinds, in the order of the categories, or sorted.
    codes : ndarray of int (J,)
        Kind of each group.
    """

    column: str
    labels: tuple[str, ...]
    codes: NDArray[np.int64]

    def of_rows(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Kind (n,) of the rows of a new table.

        Raises
        ------
        DataError
            If the column is not there, or a kind was not in the data.
        """
        if self.column not in frame.columns:
            raise DataError(
                f"the table has no column {self.column!r}, the kind of a new group; add it, or predict with "
                "groups='population_mean'"
            )
        known = {label: k for k, label in enumerate(self.labels)}
        found = _labels(frame[self.column])
        unseen = sorted({label for label in found if label not in known})
        if unseen:
            raise DataError(
                f"the column {self.column!r} has kinds of groups that were not in the data: "
                f"{', '.join(map(repr, unseen[:5]))}; known are {', '.join(map(repr, self.labels))}. Their spread is "
                "not known: predict with groups='population_mean'"
            )
        return np.array([known[label] for label in found], dtype=np.int64)


def kinds_of(column: pd.Series, codes: NDArray[np.int64], labels: Sequence[str], factor: str) -> Kinds:
    """Kinds of the groups of a factor, from the kind of each row.

    Parameters
    ----------
    column : Series (n,)
        Kind of each row: labels, truth values or whole numbers.
    codes : ndarray of int (n,)
        Group of each row.
    labels : sequence of str (J,)
        The groups.
    factor : str
        Its name.

    Raises
    ------
    DataError
        For a kind that differs within a group, for fractions, and where all groups are of one kind.
    """
    name = str(column.name)
    if column.dtype.kind == "f" and not np.all(np.mod(column, 1) == 0):
        raise DataError(
            f"by= takes the kind of a group, and {name!r} holds fractions; cut it into classes, or let the group sds "
            f"follow it: gr({factor}, sd=~ {name})"
        )
    ordered = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(column.unique())
    rows = pd.Categorical(_labels(column), categories=_labels(pd.Series(ordered))).codes.astype(np.int64)
    first = np.unique(codes, return_index=True)[1]
    differs = rows != rows[first][codes]
    if differs.any():
        raise DataError(
            f"by= takes the kind of a group, and {name!r} {within(codes[differs], labels, factor)}; use a column that "
            "is one in each group"
        )
    kinds = tuple(_labels(pd.Series(ordered)))
    if len(kinds) == 1:
        raise DataError(
            f"by={name} tells kinds of groups apart, and all groups of {factor!r} are of kind {kinds[0]!r}; leave it "
            "out"
        )
    return Kinds(name, kinds, rows[first])


def _labels(column: pd.Series) -> list[str]:
    """Kinds as text; whole floats as integers."""
    return [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in column]

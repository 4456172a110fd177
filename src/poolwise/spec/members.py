"""Multi-membership, ``mm(g1, g2)``: a row belongs to several groups of one population, each with a weight.

The group-specific part of row i is sum over its memberships m of w_im z_i' u_g(i, m); the weights of a row sum to one.

References
----------
Browne, Goldstein & Rasbash (2001), Multiple membership multiple classification (MMMC) models, Statistical Modelling
1(2), 103-124.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Members:
    """The memberships of the rows.

    Parameters
    ----------
    columns : tuple of str (M,)
        A column a membership.
    weights_columns : tuple of str (M,)
        Where their weights come from; empty for equal ones.
    weights : ndarray (n, M)
        Of the rows, each summing to one; two memberships in one group stand in the first of them.
    """

    columns: tuple[str, ...]
    weights_columns: tuple[str, ...]
    weights: Array


def weights_of(columns: Sequence[str], weights_columns: Sequence[str], frame: pd.DataFrame) -> Array:
    """Weights (n, M) of the memberships of each row of a table, summing to one.

    Raises
    ------
    DataError
        For a column that is not there, a weight that is missing, negative or not finite, and a row whose weights are
        all zero.
    """
    for column in [*columns, *weights_columns]:
        if column not in frame.columns:
            raise DataError(f"the table has no column {column!r}, which mm({', '.join(columns)}) needs; add it")
    if weights_columns:
        weights = frame[list(weights_columns)].to_numpy(dtype=np.float64)
        bad = ~(np.isfinite(weights) & (weights >= 0)).all(axis=1) | (weights.sum(axis=1) == 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            shown = ", ".join(f"{value:g}" for value in weights[row])
            raise DataError(
                f"the weights {', '.join(map(repr, weights_columns))} of mm({', '.join(columns)}) must be 0 or above "
                f"and not all 0; {int(bad.sum())} rows have others, first row {row}: {shown}"
            )
        weights = weights / weights.sum(axis=1, keepdims=True)
    else:
        weights = np.full((len(frame), len(columns)), 1.0 / len(columns))
    labels = frame[list(columns)].astype(str).to_numpy()
    for second in range(1, len(columns)):
        for first in range(second):
            same = labels[:, first] == labels[:, second]
            weights[same, first] += weights[same, second]
            weights[same, second] = 0.0
    return weights


def union_of(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.int64], tuple]:
    """Index vectors (n, M) and the groups that any membership names, sorted where each column's are.

    Raises
    ------
    DataError
        If there is one group only.
    """
    categories = [list(frame[column].cat.categories) for column in columns]
    levels = list({str(level): level for own in categories for level in own}.values())
    if all(own == sorted(own) for own in categories) and len({type(level) for level in levels}) == 1:
        levels = sorted(levels)
    if len(levels) == 1:
        raise DataError(
            f"the memberships mm({', '.join(columns)}) name one group only ({levels[0]}); partial pooling needs several"
        )
    place = {str(level): j for j, level in enumerate(levels)}
    codes = np.column_stack([[place[label] for label in frame[column].astype(str)] for column in columns])
    return codes.astype(np.int64), tuple(levels)

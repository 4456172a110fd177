"""Group sds that follow what describes the groups, ``gr(g, sd=~z)``: the log of the group sds as a regression.

The effects of group j are

    u_j = D_j T e_j,   e_j ~ N(0, I),   D_j = diag(exp(gamma_k' (z_j - mean z))),

T T' being the covariance in a group whose covariates stand at their means over the groups: the group sds and
correlations of the block are those of that group, and each effect k has coefficients gamma_k of its own.

References
----------
George, Rockova, Rosenbaum, Satopaa & Silber (2017), Journal of the American Statistical Association 112(519), 933-947.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.errors import DataError

if TYPE_CHECKING:
    from poolwise.spec.evaluate import Columns

Array = NDArray[np.float64]
# Groups that a message lists.
MOST_LISTED = 5
# Relative to the column: what is left of a constant after arithmetic.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SdRegression:
    """The regression of the log of a factor's group sds on what describes the groups.

    Parameters
    ----------
    expression : str
        As understood: ``1 + z``; the constant is the group sd itself.
    columns : Columns
        How it is evaluated on new rows, constant included.
    names : tuple of str (r,)
        The columns without the constant.
    mean : ndarray (r,)
        Over the groups.
    W : ndarray (J, r)
        Each group's, minus the mean.
    """

    expression: str
    columns: "Columns"
    names: tuple[str, ...]
    mean: Array
    W: Array

    def rows_of(self, frame: pd.DataFrame) -> Array:
        """Deviations (n, r) of the rows of a table from the mean over the groups of the fit.

        Raises
        ------
        DataError
            For a column that is not there.
        """
        for column in self.columns.columns_used:
            if column not in frame.columns:
                raise DataError(
                    f"the table has no column {column!r}, which the sd of a new group follows; add it, or predict "
                    "with groups='population_mean'"
                )
        return self.columns.apply(frame)[:, 1:] - self.mean


def sd_regression(
    expression: str, columns: "Columns", codes: NDArray[np.int64], labels: Sequence[str], factor: str
) -> SdRegression:
    """Regression of a factor's log sds from the covariates of its rows.

    Raises
    ------
    DataError
        For a covariate that differs within a group, which are named, is the same in all, or follows from the others.
    """
    values, names = columns.matrix[:, 1:], columns.names[1:]
    start = np.unique(codes, return_index=True)[1]
    by_group = values[start]
    size = np.abs(values).max(axis=0)
    differs = np.abs(values - by_group[codes]) > ROUNDING * size
    if differs.any():
        k = int(np.flatnonzero(differs.any(axis=0))[0])
        where = within(codes[differs[:, k]], labels, factor)
        raise DataError(f"sd=~ takes what describes a group, and {names[k]!r} {where}; use its mean by group")
    mean = by_group.mean(axis=0)
    W = by_group - mean
    if np.linalg.matrix_rank(W / np.where(size > 0, size, 1.0), tol=ROUNDING * len(W)) < W.shape[1]:
        raise DataError(
            f"the columns {', '.join(map(repr, names))} of sd=~ in gr({factor}, ...) do not tell their coefficients "
            f"apart: over the {len(labels)} groups one is constant or follows from the others; leave it out"
        )
    return SdRegression(expression, columns, names, mean, W)


def within(codes: NDArray[np.int64], labels: Sequence[str], factor: str) -> str:
    """Words of a message that something differs within the groups of these codes."""
    groups = [labels[j] for j in np.unique(codes)]
    more = f" and {len(groups) - MOST_LISTED} more" if groups[MOST_LISTED:] else ""
    listed = ", ".join(map(repr, groups[:MOST_LISTED]))
    return f"differs within {len(groups)} of the {len(labels)} groups of {factor!r}: {listed}{more}"

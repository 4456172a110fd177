"""What stands right of a block's bar beside a plain factor: ``gr(g, sd=~z)``, the log of the group sds as a regression.

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

from poolwise.errors import DataError, FitError
from poolwise.spec.syntax import Grouping
from poolwise.spec.tokens import Token

if TYPE_CHECKING:
    from poolwise.spec.design import Design
    from poolwise.spec.evaluate import Columns
    from poolwise.spec.parser import Parser

Array = NDArray[np.float64]
GR = "gr"
# Groups that a message lists.
MOST_LISTED = 5
# Relative to the column: what is left of a constant after arithmetic.
ROUNDING = 1e-9


def stands_next(parser: "Parser") -> bool:
    """Whether the parser is at ``gr(``."""
    token = parser.peek
    return token.kind == "name" and token.value == GR and parser.tokens[parser.position + 1].kind == "("


def read_grouping(parser: "Parser") -> Grouping:
    """Read ``gr(factor, sd=~terms)``; the parser is at its name.

    Raises
    ------
    FormulaError
        For another argument, and one that is given twice.
    """
    name = parser.take()
    parser.take()
    with parser.nested():
        parser.place = "factor"
        factor, sd = parser.sum(), None
        while parser.peek.kind == ",":
            parser.take()
            key = _keyword(parser)
            if sd is not None:
                raise parser.error("sd= is given twice", key, "write its terms with +: `gr(g, sd=~ a + b)`")
            parser.expect("~", "the sd is a regression: `gr(g, sd=~ z)`")
            parser.place = "term"
            sd = parser.sum()
        parser.expect(")", "close the bracket of gr(...): `(1 | gr(g, sd=~ z))`")
    return Grouping(factor, sd, start=name.start, stop=parser.last_stop)


def _keyword(parser: "Parser") -> Token:
    key = parser.take()
    advice = "gr(...) takes a grouping factor and sd=~ terms: `(1 | gr(g, sd=~ z))`"
    if key.kind != "name" or parser.peek.kind != "=":
        raise parser.error(f"unexpected {parser.shown(key)} in gr(...)", key, advice)
    if key.value != "sd":
        raise parser.error(f"gr(...) has no argument {key.value!r}", key, advice)
    parser.take()
    return key


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
        groups = [labels[j] for j in np.unique(codes[differs[:, k]])]
        more = f" and {len(groups) - MOST_LISTED} more" if groups[MOST_LISTED:] else ""
        raise DataError(
            f"sd=~ takes what describes a group, and {names[k]!r} differs within {len(groups)} of the {len(labels)} "
            f"groups of {factor!r}: {', '.join(map(repr, groups[:MOST_LISTED]))}{more}; use its mean by group"
        )
    mean = by_group.mean(axis=0)
    W = by_group - mean
    if np.linalg.matrix_rank(W / np.where(size > 0, size, 1.0), tol=ROUNDING * len(W)) < W.shape[1]:
        raise DataError(
            f"the columns {', '.join(map(repr, names))} of sd=~ in gr({factor}, ...) do not tell their coefficients "
            f"apart: over the {len(labels)} groups one is constant or follows from the others; leave it out"
        )
    return SdRegression(expression, columns, names, mean, W)


def refuse_grouping(design: "Design", what: str) -> None:
    """Refuse a design whose group sds follow covariates.

    Raises
    ------
    FitError
        Names the block.
    """
    for factor in design.factors:
        if factor.sd_regression is not None:
            raise FitError(
                f"{what} takes one covariance for all groups of {factor.name!r}, and gr({factor.name}, sd=~ ...) has "
                "one a group; Model.fit() samples it in generative form, with predictions, loo and summaries"
            )

"""Groups that are related to one another, ``gr(g, cov=A)``: a pedigree, a phylogeny, distances in space.

The effects are u = (L_A e T'), rows of e standard normal, so that cov(u_j, u_k) = A_jk T T': the group sds are those of
a group with A_jj = 1.

References
----------
Henderson (1976), Biometrics 32(1), 69-83; Hadfield & Nakagawa (2010), Journal of Evolutionary Biology 23, 494-508.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.errors import DataError

Array = NDArray[np.float64]
# Relative asymmetry that rounding explains.
ASYMMETRY = 1e-8
MOST_LISTED = 5


@dataclass(frozen=True, eq=False)
class Relation:
    """Known covariance between the groups of a factor.

    Parameters
    ----------
    name : str
        By which the formula calls it.
    matrix : ndarray (J, J)
        Covariance A, in the order of the groups.
    root : ndarray (J, J)
        Its lower Cholesky factor.
    """

    name: str
    matrix: Array
    root: Array


def relation_of(
    name: str, covariances: Mapping[str, pd.DataFrame] | None, labels: Sequence[str], factor: str
) -> Relation:
    """The matrix that a formula names, for the groups there are.

    Parameters
    ----------
    name : str
        From ``gr(g, cov=name)``.
    covariances : mapping of str to DataFrame, optional
        What was handed over; rows and columns are labelled with groups. Further groups are left out, which is exact.
    labels : sequence of str (J,)
        The groups.
    factor : str
        Its name.

    Raises
    ------
    DataError
        For a matrix that is not there, is not labelled, misses groups, or is no covariance.
    """
    where = f"the matrix {name!r} of gr({factor}, cov={name})"
    given = dict(covariances or {})
    if name not in given:
        there = f"there are {', '.join(map(repr, given))}" if given else "none is given"
        raise DataError(f"{where} is not there: {there}; write Model(..., covariances={{{name!r}: A}})")
    table = given[name]
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"{where} must be a DataFrame with the groups of {factor!r} as index and columns, so that no order is "
            f"guessed; got {type(table).__name__}. Write pd.DataFrame(A, index=groups, columns=groups)"
        )
    rows, columns = [list(map(str, axis)) for axis in (table.index, table.columns)]
    for axis, found in (("index", rows), ("columns", columns)):
        if len(set(found)) < len(found):
            raise DataError(f"{where} has a group twice in its {axis}")
        missing = [label for label in labels if label not in set(found)]
        if missing:
            more = f" and {len(missing) - MOST_LISTED} more" if missing[MOST_LISTED:] else ""
            raise DataError(
                f"{where} lacks {len(missing)} of the {len(labels)} groups in its {axis}: "
                f"{', '.join(map(repr, missing[:MOST_LISTED]))}{more}"
            )
    at = {label: k for k, label in enumerate(rows)}, {label: k for k, label in enumerate(columns)}
    try:
        whole = table.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} holds something that is not a number: {error}") from error
    matrix = whole[np.ix_([at[0][label] for label in labels], [at[1][label] for label in labels])]
    if not np.isfinite(matrix).all():
        raise DataError(f"{where} misses values or has infinite ones")
    if np.abs(matrix - matrix.T).max() > ASYMMETRY * np.abs(matrix).max():
        j, k = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise DataError(
            f"{where} is not symmetric: {labels[j]!r}, {labels[k]!r} have {matrix[j, k]:g} and {matrix[k, j]:g}"
        )
    try:
        return Relation(name, matrix, np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        raise DataError(
            f"{where} is no covariance: its smallest eigenvalue is {smallest:.3g} and must be positive. Groups that "
            "are copies of one another (clones, identical twins) should be one group"
        ) from None

"""Binary responses, trials and counts added up by combination of predictors and groups, the likelihood kept whole."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.likelihoods import constants, density_code
from poolwise.data.columns import CATEGORICAL
from poolwise.data.folds import fold_of_rows
from poolwise.data.partitions import Piece
from poolwise.data.scan import Scan
from poolwise.errors import DataError, PoolwiseError
from poolwise.spec.families import Family
from poolwise.spec.formula import Formula
from poolwise.spec.response import Response, read_response

Array = NDArray[np.float64]
COUNTED = ("bernoulli", "binomial", "poisson")


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Rows added up by cell, a combination of the values of all columns but the response's.

    Parameters
    ----------
    keys : DataFrame (C rows)
        The values of these columns.
    fold : ndarray of int (C,)
        Fold of the rows, which are added up apart; 0 where there are none.
    y : ndarray (C,)
        Sum of the responses: successes, or a count.
    trials : ndarray (C,)
        Sum of the trials, one a row of a Bernoulli or Poisson response.
    rows : ndarray (C,)
        Rows.
    constant : ndarray (C,)
        Sum of the terms of the rows' log densities that no parameter moves.
    scaled, squared : ndarray (C,)
        Sum of the responses, shares of the trials, and of their squares.
    """

    keys: pd.DataFrame
    fold: NDArray[np.int64]
    y: Array
    trials: Array
    rows: Array
    constant: Array
    scaled: Array
    squared: Array

    @property
    def n(self) -> int:
        """Number of rows there were."""
        return round(float(self.rows.sum()))

    @property
    def facts(self) -> dict[str, float]:
        """Mean and sd of the response of all rows, shares of the trials, for scaled priors; medians are gone."""
        mean = float(self.scaled.sum()) / self.n
        squares = self.squares_about(np.full(len(self.rows), mean)).sum()
        sd = float(np.sqrt(squares / max(self.n - 1, 1)))
        return {"mean_y": mean, "sd_y": sd, "median_y": float("nan"), "mad_y": float("nan")}

    def squares_about(self, mean: Array) -> Array:
        """Sum over each cell's rows of squared distances of the response, shares of the trials, from its ``mean``."""
        return np.maximum(self.squared - 2 * mean * self.scaled + self.rows * mean**2, 0.0)

    def subset(self, cells: NDArray) -> "CellCounts":
        """The sums of some cells, by a mask or by positions."""
        chosen = np.flatnonzero(cells) if cells.dtype == bool else cells
        keys = self.keys.iloc[chosen].reset_index(drop=True)
        return CellCounts(keys, self.fold[chosen], *(getattr(self, name)[chosen] for name in FIELDS))


FIELDS = ("y", "trials", "rows", "constant", "scaled", "squared")


def counts_of_rows(
    piece: Piece, formula: Formula, family: Family, weights: str | None, folds: int = 1, seed: int = 0
) -> CellCounts:
    """Add the rows of a piece up, those of each fold apart.

    Raises
    ------
    DataError
        For responses outside the family's support; names the partition and its rows.
    """
    frame = piece.frame
    given = None if weights is None else frame[weights].to_numpy(dtype=np.float64)
    try:
        outcome = read_response(formula, frame, family, np.arange(len(frame)) + piece.first, given, whole=False)
    except PoolwiseError as error:
        raise DataError(f"{piece.partition}: {error}") from error
    times = np.ones(len(frame)) if formula.weights is None else frame[formula.weights].to_numpy(dtype=np.float64)
    trials = np.ones(len(frame)) if outcome.trials is None else outcome.trials
    code, _ = density_code(family.name, family.link) or (0, 0)
    scaled = outcome.scaled
    values = [outcome.y, trials, np.ones(len(frame)), constants(code, outcome.y, trials), scaled, scaled**2]
    fold = np.zeros(len(frame), dtype=np.int64)
    if piece.numbers is not None:
        fold = fold_of_rows(piece.numbers, folds, seed)
    return _added_up(plain(frame[key_columns(formula)]), fold, np.column_stack([times * value for value in values]))


def merge_counts(parts: Sequence[CellCounts], most: int) -> CellCounts:
    """Counts of disjoint sets of rows as those of their union.

    Raises
    ------
    DataError
        If there are more than ``most`` cells.
    """
    if len(parts) > 1:
        keys, fold = pd.concat([part.keys for part in parts], ignore_index=True), [part.fold for part in parts]
        parts = [_added_up(keys, np.concatenate(fold), np.concatenate([_columns(part) for part in parts]))]
    (found,) = parts
    if len(found.rows) > most:
        folded = " and fold" if found.fold.any() else ""
        raise DataError(
            f"{found.n} rows have {len(found.rows)} different combinations of {', '.join(found.keys.columns)}{folded}, "
            f"more than most_cells={most}, so there is little to add up; round or bin numeric predictors, leave "
            "predictors out, fit a sample of the rows, or raise most_cells"
        )
    return found


def count_stream(
    pieces: Iterable[Piece],
    formula: Formula,
    family: Family,
    weights: str | None,
    most: int,
    folds: int = 1,
    seed: int = 0,
) -> CellCounts | None:
    """Counts of a stream of complete rows; None where there are none. Memory holds the cells, and one piece's rows."""
    found: CellCounts | None = None
    for piece in pieces:
        own = counts_of_rows(piece, formula, family, weights, folds, seed)
        found = merge_counts([own] if found is None else [found, own], most)
    return found


def merged(parts: Sequence[CellCounts | None], most: int) -> CellCounts | None:
    """Counts of several parts, those without rows left out."""
    there = [part for part in parts if part is not None]
    return merge_counts(there, most) if there else None


def in_order(counts: CellCounts, categories: Mapping[str, pd.CategoricalDtype]) -> CellCounts:
    """The cells in the order of their values, then of folds, these columns as categories: whatever the batches were."""
    found = replace(counts, keys=counts.keys.astype(dict(categories)))
    found = found.subset(np.argsort(found.fold, kind="stable"))
    if not len(found.keys.columns):
        return found
    return found.subset(found.keys.sort_values(list(found.keys.columns), kind="stable").index.to_numpy())


def cells_of(keys: pd.DataFrame) -> NDArray[np.int64]:
    """Number of the combination of values in each row of ``keys``, in the order of their first appearance."""
    if not len(keys.columns):
        return np.zeros(len(keys), dtype=np.int64)
    return keys.groupby(list(keys.columns), sort=False, observed=True).ngroup().to_numpy()


def categories_of(found: Scan) -> dict[str, pd.CategoricalDtype]:
    """The categories of a source, all of them."""
    return {
        name: pd.CategoricalDtype(list(known.levels), known.ordered)
        for name, known in found.columns.items()
        if known.kind == CATEGORICAL
    }


def plain(keys: pd.DataFrame) -> pd.DataFrame:
    """Categories as their values: parts of a source may have others."""
    values: dict[str, Callable] = {
        name: column.astype(column.cat.categories.dtype)
        for name, column in keys.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    return keys.assign(**values).reset_index(drop=True)


def small_cells(counts: CellCounts, family: str, least: int) -> NDArray[np.bool_]:
    """Cells whose sums tell of fewer rows than ``least``: all of them, or of binary responses those of either value."""
    small = counts.rows < least
    if family == "bernoulli":
        for rows in (counts.y, counts.rows - counts.y):
            small |= (rows > 0) & (rows < least)
    return small


def key_columns(formula: Formula) -> list[str]:
    """Columns whose values tell the cells apart."""
    return list(dict.fromkeys([*formula.predictors, *formula.factors]))


def response_of(counts: CellCounts, family: Family) -> Response:
    """The responses of the cells: successes in trials, or sums of counts."""
    return Response(counts.y, None if family.holds == "count" else counts.trials)


def _columns(counts: CellCounts) -> Array:
    return np.column_stack([getattr(counts, name) for name in FIELDS])


def folds_together(counts: CellCounts) -> CellCounts:
    """The sums of each cell, all folds together."""
    return _added_up(counts.keys, np.zeros(len(counts.rows), dtype=np.int64), _columns(counts))


def _added_up(keys: pd.DataFrame, fold: NDArray[np.int64], values: Array) -> CellCounts:
    part = cells_of(keys) * (int(fold.max(initial=0)) + 1) + fold
    found, first, where = np.unique(part, return_index=True, return_inverse=True)
    sums = [np.bincount(where, weights=value, minlength=len(found)) for value in values.T]
    return CellCounts(keys.iloc[first].reset_index(drop=True), fold[first], *sums)

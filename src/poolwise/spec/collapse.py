"""Rows collapsed to sums, once: from a table, from files larger than memory, or partition by partition."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from poolwise.algebra.moments import CellSums, PairwiseSums, merge_sums, sums_of_rows
from poolwise.data.columns import count, describe_values
from poolwise.data.folds import check_folds, fold_of_rows
from poolwise.data.partitions import BATCH, DaskPieces, Piece, numbered, pieces_of
from poolwise.data.scan import complete_rows, merge_walks, scan
from poolwise.errors import ArgumentError, DataError
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted import CountedData, count_walk, counted_data, merge_counted
from poolwise.spec.counts import COUNTED
from poolwise.spec.formula import parse_formula
from poolwise.spec.learn import learn_from_stream
from poolwise.spec.recipe import Recipe, evaluator, label_columns, recipe_of_scan, refuse_other, refuse_uncollapsible

# Combinations of predictors and groups, at most, of families other than the Gaussian.
MOST_CELLS = 2_000_000
# Bytes of the sums, at most.
MOST_BYTES = 4_000_000_000


def collapse(
    source: Any,
    formula: str,
    *,
    family: str = "gaussian",
    weights: str | None = None,
    group_correlation: bool = True,
    missing: str = "error",
    like: CollapsedData | CountedData | None = None,
    min_rows: int = 1,
    folds: int | None = None,
    seed: int = 0,
    most_cells: int = MOST_CELLS,
    batch: int = BATCH,
    client: Any = None,
    trusted: bool = False,
    progress: bool = False,
) -> "CollapsedData | CountedData":
    """Replace rows by the sums that a mixed model needs, in bounded memory.

    A Gaussian model needs cross-products by group. Binary responses, trials and counts are added up by combination of
    the values of predictors and groups, which loses nothing of the likelihood and saves work where these repeat.

    Parameters
    ----------
    source : table, path, glob, or list of these
        A pandas, polars or pyarrow table; a Parquet or CSV file or a glob of them, read in batches; a pyarrow dataset;
        a DuckDB relation; a Dask DataFrame, partition by partition. It is walked through twice: once for levels, means
        and mistakes, once for the sums; in between once for each stage of learning that ``scale``, ``center``,
        ``poly`` and ``bs`` ask for.
    formula : str
        As :class:`poolwise.Model` takes it.
    family : {"gaussian", "bernoulli", "binomial", "poisson"}
        Of the response.
    weights : str, optional
        Column of precision weights; of trials, for a binomial response given as shares.
    group_correlation : bool, default True
        False reads every ``(x | g)`` as ``(x || g)``.
    missing : {"error", "drop"}, default "error"
        What to do with rows that miss a value of a column in the formula.
    like : CollapsedData or CountedData, optional
        Sums, or counts, of other rows, of another site perhaps, whose levels of predictors and learned transformations
        are used instead of this source's own, so that :func:`combine` can add both.
    min_rows : int, default 1
        Refuse if a group (or a combination of groups), or a value of a two-valued column within one, has fewer rows:
        the sums of very few rows tell what the rows are. With folds this holds for each group's rows in each fold; of
        counts for each combination of predictors and groups, and for either value of a binary response within one.
    folds : int, optional
        Keep the sums of this many folds of rows apart, in the same walk, so that :func:`compare_pooling`
        cross-validates without rows. The sums take that many times the memory, at most.
    seed : int, default 0
        Of the folds. A row's fold follows from the seed and the row's number in the source alone, whatever the batches,
        partitions and workers.
    most_cells : int, default 2,000,000
        Refuse more combinations of predictors and groups, and of folds, than this, of families other than the Gaussian.
    batch : int, default 500,000
        Rows in memory at once.
    client : distributed.Client, optional
        The cluster on which a Dask DataFrame's partitions are summed, by a tree reduction; Dask's own scheduler
        otherwise. Transformations learn from partitions brought here one after the other.
    trusted : bool, default False
        Allow any function in the formula; only for formulas you wrote yourself.
    progress : bool, default False
        Say what is being done.

    Returns
    -------
    CollapsedData or CountedData
        For ``pw.Model(formula, ..., family)``; counts for families other than the Gaussian. Its text says what was
        learned from the data.

    Raises
    ------
    FormulaError, DataError
        Names the partition and its rows.

    References
    ----------
    Chan, Golub & LeVeque (1983), Am. Stat. 37(3), 242-247: the sums lose no digits to a distant mean.

    Examples
    --------
    >>> import poolwise as pw
    >>> pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    180 rows collapsed for Reaction ~ Days + (Days | Subject)
      sums     18 cells of Subject, 2 columns; cells of 10 to 10 rows
      learned  18 groups of Subject
    >>> pw.collapse(pw.load_dataset("cbpp"), "p(incidence, size) ~ period + (1 | herd)", family="binomial")
    56 rows collapsed for p(incidence, size) ~ period + (1 | herd), family binomial
      counts   56 cells of period, herd, of 1 to 1 rows
    """
    if missing not in ("error", "drop"):
        raise ArgumentError(f"missing={missing!r} is not known; use 'error' or 'drop'")
    for name, value in (("min_rows", min_rows), ("batch", batch), ("most_cells", most_cells)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1; got {value!r}")
    apart = check_folds(folds, seed)
    parsed = parse_formula(formula, trusted=trusted)
    if not group_correlation:
        parsed = parsed.uncorrelated
    if family not in ("gaussian", *COUNTED):
        raise ArgumentError(f"family must be one of {', '.join(map(repr, ('gaussian', *COUNTED)))}; got {family!r}")
    weight = parsed.weights_column(weights)
    columns: list[str] = list(dict.fromkeys([*parsed.columns, *([weight] if weight else [])]))
    opened = pieces_of(source, batch, client)
    complete = partial(complete_rows, columns=columns, weights=weight, missing=missing)

    def rows() -> Iterable[pd.DataFrame]:
        return (piece.frame for piece in complete(opened(columns), dropped={}))

    def reduced(walk: str, own: Callable[..., Any], merge: Callable[..., Any], *, count: bool = False):
        if progress:
            print(f"collapse: {walk}", flush=True)
        if isinstance(opened, DaskPieces):
            return opened.reduce(columns, own, merge, count=count)
        return own(numbered(opened(columns)) if count else opened(columns))

    refuse_uncollapsible(parsed)
    if family != "gaussian":
        if like is not None and not isinstance(like, CountedData):
            raise ArgumentError(f"like= of family {family!r} takes counts, as collapse() returns them")
        asked: dict[str, Any] = {
            "formula": parsed,
            "family": family,
            "weights": weights,
            "most": most_cells,
            "folds": apart,
            "seed": seed,
        }
        own_counts = partial(count_walk, complete=complete, columns=columns, **asked)
        together = partial(merge_counted, most=most_cells)
        parts = reduced("cells and their counts", own_counts, together, count=apart > 1)
        return counted_data(parsed, family, weights, parts, rows, like, min_rows, apart)
    if like is not None and not isinstance(like, CollapsedData):
        raise ArgumentError("like= of family 'gaussian' takes sums, as collapse() returns them")
    own_scan = partial(_scanned, complete=complete, columns=columns, labels=label_columns(parsed))
    found, dropped = reduced("levels, means and mistakes", own_scan, merge_walks)
    if not found.rows:
        raise DataError("no row is complete: the source has no rows, or each misses a value in a needed column")
    recipe, notes = recipe_of_scan(parsed, weights, found)
    if like is not None:
        recipe = _as_agreed(recipe, like.recipe)
    else:
        ready = evaluator(recipe)
        learn_from_stream(ready.learning, rows)
        recipe = ready.with_states()
    check_shape((*recipe.shape, apart))
    own_sums = partial(_summed, complete=complete, recipe=recipe, folds=apart, seed=seed)
    sums = reduced("sums", own_sums, _merged_sums, count=apart > 1)
    data = CollapsedData(recipe, sums, dropped, notes, min_rows, apart)
    if data.n != found.rows:
        raise DataError(f"the source had {found.rows} rows at first and {data.n} at last; it must not change meanwhile")
    _refuse_singletons(data)
    data.basis(centred=True)
    _refuse_small_cells(data)
    return data


def _scanned(pieces: Iterable[Piece], complete: Callable[..., Iterable[Piece]], columns: list[str], labels: set[str]):
    """First walk through some rows: what is known of them, and what was dropped."""
    dropped: dict[str, int] = {}
    return scan(complete(pieces, dropped=dropped), columns, labels), dropped


def _summed(
    pieces: Iterable[Piece], complete: Callable[..., Iterable[Piece]], recipe: Recipe, folds: int, seed: int
) -> CellSums | None:
    """Last walk through some rows; None where there are none."""
    ready, sums = evaluator(recipe), PairwiseSums()
    d = len(ready.u) + 1
    for piece in complete(pieces, dropped={}):
        U, key, w = ready.rows(piece)
        if piece.numbers is not None:
            key = key * folds + fold_of_rows(piece.numbers, folds, seed)
        part = sums_of_rows(U, key, w)
        if len(part.keys) * (d * d + d) * 8 > MOST_BYTES:
            raise DataError(
                f"the sums of {len(part.keys)} combinations of groups and {d} columns take more than "
                f"{MOST_BYTES / 1e9:.0f} GB; use fewer or coarser grouping factors, fewer predictors, or fewer folds"
            )
        sums.add(part)
    return sums.result


def _merged_sums(parts: Sequence[CellSums | None]) -> CellSums | None:
    there = [part for part in parts if part is not None]
    return merge_sums(there) if there else None


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse more combinations of groups than can be numbered."""
    if np.prod([float(J) for J in shape]) >= 2.0**62:
        raise DataError(
            f"the grouping columns have {' x '.join(map(str, shape))} combinations, more than can be numbered"
        )


def _refuse_singletons(data: CollapsedData) -> None:
    for factor in data.design.factors:
        if (factor.sizes == 1).all():
            raise DataError(
                f"every group of {factor.name!r} has one row ({factor.J} groups); group and residual variation cannot "
                "be told apart; use a coarser factor or leave the block out"
            )


def _refuse_small_cells(data: CollapsedData) -> None:
    """Refuse cells whose sums give rows away."""
    if data.min_rows <= 1:
        return
    sums, least = data.parts, data.min_rows
    small = sums.rows < least
    for k in np.flatnonzero(~sums.between & (sums.low < sums.high)):
        upper = (sums.plain.mean[:, k] - sums.low[k]) / (sums.high[k] - sums.low[k]) * sums.rows
        upper = np.round(upper)
        small |= ((upper > 0) & (upper < least)) | ((sums.rows - upper > 0) & (sums.rows - upper < least))
    if small.any():
        names = data.recipe.group_columns
        listed = [
            ":".join(str(data.recipe.columns[name].levels[code]) for name, code in zip(names, codes, strict=True))  # type: ignore[index]
            for codes in np.unique(data.codes[data.cell_of_part[small]], axis=0)[:5]
        ]
        within = f" within one of the {data.folds} folds" if data.folds > 1 else ""
        raise DataError(
            f"{count(int(small.sum()), 'cell')} of {':'.join(names) or 'the table'} ({describe_values(listed)} ...) "
            f"have fewer than min_rows={least} rows{within}, or fewer with one value of a two-valued predictor, so "
            "that their sums would tell single rows; leave these rows out, merge groups, "
            f"{'take fewer folds or none, ' if data.folds > 1 else ''}or agree on a smaller min_rows"
        )


def _as_agreed(own: Recipe, agreed: Recipe) -> Recipe:
    """The recipe with another's levels of predictors and learned transformations, if both ask the same."""
    refuse_other(own, agreed, "like=")
    columns = dict(own.columns)
    for name, note in agreed.columns.items():
        if name not in own.group_columns:
            unseen = set(own.columns[name].levels or ()) - set(note.levels or ())
            if note.levels is not None and unseen:
                raise DataError(
                    f"column {name!r} has levels that like= does not have: "
                    f"{describe_values(sorted(map(str, unseen)))}; known levels: {describe_values(note.levels)}"
                )
            columns[name] = note
    return replace(own, columns=columns, states=agreed.states)

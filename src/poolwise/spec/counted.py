"""Counts in place of rows: how they are walked to, saved, agreed on, and evaluated."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, TEXT, count, describe_values, kind_of
from poolwise.data.partitions import Piece
from poolwise.data.scan import Scan, merge_scans, merge_walks, scan
from poolwise.data.validate import CheckedTable
from poolwise.errors import DataError
from poolwise.spec.checked import checked_rows
from poolwise.spec.counts import (
    CellCounts,
    categories_of,
    cells_of,
    count_stream,
    folds_together,
    in_order,
    merged,
    plain,
    response_of,
    small_cells,
)
from poolwise.spec.design import Design, build_design, check_rank
from poolwise.spec.families import Family, family_of
from poolwise.spec.formula import Formula
from poolwise.spec.learn import learn_from_stream, set_states, states_of
from poolwise.spec.recipe import ColumnNote, Recipe, label_columns, refuse_other, stand_in
from poolwise.spec.response import refuse_same_trials
from poolwise.spec.saved import Saved


@dataclass(frozen=True, eq=False)
class CountedData(Saved):
    """Counts of a table's rows by combination of predictors and groups; :func:`poolwise.collapse` makes them.

    Parameters
    ----------
    recipe : Formula
        Parsed.
    family : str
        bernoulli, binomial or poisson.
    weights : str or None
        Column of trials, of a binomial response given as shares.
    parts : CellCounts
        Cells, with the sums of their rows; with folds, each cell by fold.
    states : tuple of tuple of dict
        What the transformations of each expression learned from all rows: common part, blocks in order.
    dropped : dict of str to int
        Missing values by column, of rows that were left out.
    min_rows : int
        No part, and no value of a binary response within a part, has fewer rows.
    folds : int
        Folds of the rows that are kept apart; 1 where there are none.
    notes : tuple of str
        What a reader should know.

    Examples
    --------
    >>> import poolwise as pw
    >>> formula = "p(incidence, size) ~ period + (1 | herd)"
    >>> counts = pw.collapse(pw.load_dataset("cbpp"), formula, family="binomial")
    >>> pw.Model(formula, counts, "binomial").fit_frequentist().theta.round(3).tolist()
    [0.642]
    """

    recipe: Formula
    family: str
    weights: str | None
    parts: CellCounts
    states: tuple[tuple[dict[str, Any], ...], ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    min_rows: int = 1
    folds: int = 1
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> CellCounts:
        """The sums of each cell, all folds together."""
        return self.parts if self.folds == 1 else folds_together(self.parts)

    @cached_property
    def cell_of_part(self) -> NDArray[np.int64]:
        """Cell of each part."""
        return np.arange(len(self.parts.rows)) if self.folds == 1 else cells_of(self.parts.keys)

    @property
    def fold_of_part(self) -> NDArray[np.int64]:
        """Fold of each part."""
        return self.parts.fold

    @property
    def formula(self) -> str:
        """The formula the rows were collapsed for."""
        return self.recipe.text

    @property
    def n(self) -> int:
        """Number of rows there were."""
        return self.counts.n

    def table(self, family: Family) -> tuple[Formula, CheckedTable]:
        """The checked cells with a response that stands for theirs, and the formula of that.

        :meta private:
        """
        frame, formula = self.counts.keys.copy(), self.recipe
        name = "response"
        while name in frame.columns:
            name += "_"
        # Any response of the family's support that varies: the cells' own are put in place afterwards.
        frame[name] = np.arange(len(frame)) % 2.0
        said = f"p({name}, 1)" if family.holds == "trials" else name
        stands = replace(formula, response=said, response_columns=(name,), weights=None)
        return stands, checked_rows(frame, stands, (), family, None)

    def cells(self, family: Family, *, rank: bool = True) -> tuple[Design, CheckedTable]:
        """A design whose rows are the cells, and the table it was made from.

        :meta private:
        """
        made, table = self._evaluated(family)
        parts = expressions(made)
        again = [replace(part, matrix=part.apply(table.frame)) if part.stateful else part for part in parts]
        common, factors = again.pop(0), []
        for factor in made.factors:
            own = tuple((block, again.pop(0)) for block, _ in factor.parts)
            factors.append(replace(factor, parts=own, Z=np.column_stack([columns.matrix for _, columns in own])))
        outcome = response_of(self.counts, family)
        design = replace(made, formula=self.recipe, outcome=outcome, common=common, factors=tuple(factors))
        if rank:
            check_rank(design)
        return design, table

    def _evaluated(self, family: Family) -> tuple[Design, CheckedTable]:
        """The cells under the formula, with what the transformations learned, if they did yet."""
        formula, table = self.table(family)
        made = build_design(formula, table, None, family, rank=False)
        parts = expressions(made)
        if self.states and len(self.states) != len(parts):
            raise DataError("the learned transformations do not fit the formula")
        for part, states in zip(parts, self.states, strict=False):
            set_states(part, states)
        return made, table

    def check(self) -> "CountedData":
        """Itself, once a model of it was made and its response found to vary.

        :meta private:
        """
        counts, said = self.counts, self.recipe.response
        if self.family == "poisson":
            if not counts.y.any():
                raise DataError(f"the response {said} is 0 in every row; there is nothing to model")
        else:
            refuse_same_trials(counts.y, counts.trials, said)
        self.cells(family_of(self.family, None))
        return self

    def __repr__(self) -> str:
        rows = self.counts.rows
        lines = [
            f"{self.n} rows collapsed for {self.formula}, family {self.family}",
            f"  counts   {count(len(rows), 'cell')} of {', '.join(self.counts.keys.columns) or 'all rows'}, of "
            f"{rows.min():g} to {rows.max():g} rows",
        ]
        if self.folds > 1:
            rows = self.parts.rows
            lines.append(f"  folds    {self.folds}, of rows; a cell has {rows.min():g} to {rows.max():g} rows in one")
        lines += [f"  dropped  {k} missing values of {name}" for name, k in self.dropped.items()]
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])


def recipe_of_counts(data: CountedData) -> Recipe:
    """What is known of the columns of the cells, as sums have it."""
    labels, notes = label_columns(data.recipe), {}
    for name, values in data.counts.keys.items():
        kind, levels = kind_of(values), None
        if kind == CATEGORICAL:
            levels = tuple(values.cat.categories.tolist())
        elif kind == TEXT or name in labels:
            levels = tuple(sorted(set(values.tolist())))
        ordered = kind == CATEGORICAL and bool(values.cat.ordered)
        numbers = values.to_numpy(np.float64) if levels is None else np.zeros(1)
        notes[str(name)] = ColumnNote(kind, levels, ordered, float(numbers.mean()), float(numbers.std()))
    return Recipe(data.recipe, data.weights, notes, data.states)


def rehearse(data: CountedData, recipe: Recipe) -> None:
    """Evaluate the formula on rows that stand for the cells.

    Raises
    ------
    PoolwiseError
        If formula, columns and what was learned do not fit one another.
    """
    keys = stand_in(recipe)
    alone = replace(data, parts=replace(data.counts, keys=keys), folds=1)
    design, table = alone._evaluated(family_of(data.family, None))
    if not data.states:
        raise DataError("what the transformations learned is missing")
    for part in expressions(design):
        part.apply(table.frame)


def refuse_small(data: CountedData) -> CountedData:
    """Itself, if no cell gives rows away."""
    small, keys = small_cells(data.parts, data.family, data.min_rows), data.parts.keys
    if small.any():
        listed = [":".join(map(str, cell)) for cell in keys[small].head(5).itertuples(index=False)]
        binary = ", or fewer of either response" if data.family == "bernoulli" else ""
        within = f" within one of the {data.folds} folds" if data.folds > 1 else ""
        raise DataError(
            f"{count(int(small.sum()), 'cell')} of {':'.join(keys.columns) or 'the table'} ({describe_values(listed)} "
            f"...) have fewer than min_rows={data.min_rows} rows{binary}{within}, so that their sums would tell single "
            "rows; leave these rows out, bin numeric predictors, merge groups or levels, "
            f"{'take fewer folds or none, ' if data.folds > 1 else ''}or agree on a smaller min_rows"
        )
    return data


def expressions(design: Design) -> list[Any]:
    """The expressions whose transformations may learn: common part, blocks in order."""
    return [design.common, *(columns for factor in design.factors for _, columns in factor.parts)]


def count_walk(
    pieces: Iterable[Piece],
    complete: Callable[..., Iterable[Piece]],
    columns: list[str],
    formula: Formula,
    family: str,
    weights: str | None,
    most: int,
    folds: int,
    seed: int,
) -> tuple[Scan, dict[str, int], CellCounts | None]:
    """The walk through some rows that are counted: what is known of them, what was dropped, the counts."""
    dropped: dict[str, int] = {}
    found, counts, labels = Scan({}), None, label_columns(formula)
    for piece in complete(pieces, dropped=dropped):
        found = merge_scans([found, scan([piece], columns, labels)])
        own = count_stream([piece], formula, family_of(family, None), weights, most, folds, seed)
        counts = merged([counts, own], most)
    return found, dropped, counts


def merge_counted(
    parts: Sequence[tuple[Scan, dict[str, int], CellCounts | None]], most: int
) -> tuple[Scan, dict[str, int], CellCounts | None]:
    """The same of several parts together."""
    found, dropped = merge_walks([(own, gone) for own, gone, _ in parts])
    return found, dropped, merged([counts for _, _, counts in parts], most)


def counted_data(
    formula: Formula,
    family: str,
    weights: str | None,
    walked: tuple[Any, ...],
    walk: Callable[[], Iterable[pd.DataFrame]],
    like: CountedData | None,
    min_rows: int,
    folds: int,
) -> CountedData:
    """The counts of a source, once transformations learned from all of its rows, or as those of ``like`` did."""
    found, dropped, counts = walked
    if counts is None:
        raise DataError("no row is complete: the source has no rows, or each misses a value in a needed column")
    parts = in_order(counts, categories_of(found))
    data = CountedData(formula, family, weights, parts, (), dropped, min_rows, folds)
    if like is not None:
        # One site may have one level alone: whether a model can be made is asked of all sites together.
        return refuse_small(agreeing(data, like, "like="))
    design, _ = data.cells(family_of(family, None), rank=False)
    learning = expressions(design)
    learn_from_stream(learning, walk)
    return refuse_small(replace(data, states=tuple(tuple(states_of(part)) for part in learning)).check())


def agreeing(own: CountedData, agreed: CountedData, who: str) -> CountedData:
    """The counts with another's categories and learned transformations, if both ask the same.

    Raises
    ------
    DataError
        If they do not, or there are categories that the other does not have; names ``who``.
    """
    if own.family != agreed.family:
        raise DataError(f"{who} was counted for family {agreed.family!r}, not {own.family!r}")
    refuse_other(recipe_of_counts(own), recipe_of_counts(agreed), who)
    categories = {}
    for name, values in agreed.counts.keys.items():
        if isinstance(values.dtype, pd.CategoricalDtype):
            categories[str(name)] = values.dtype
            occurring = own.counts.keys[name].cat.remove_unused_categories().cat.categories
            unseen = occurring.difference(values.cat.categories)
            if len(unseen):
                raise DataError(
                    f"column {name!r} has levels that {who} does not have: {describe_values(unseen)}; known levels: "
                    f"{describe_values(values.cat.categories)}"
                )
    parts = in_order(replace(own.parts, keys=plain(own.parts.keys)), categories)
    return replace(own, parts=parts, states=agreed.states)

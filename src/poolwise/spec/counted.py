"""Counts in place of rows, and what models ask of them: a design whose rows are cells, each standing for many."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.basis import centring
from poolwise.algebra.crossproducts import Array
from poolwise.data.columns import count
from poolwise.data.partitions import Piece
from poolwise.data.scan import Scan, merge_scans, merge_walks, scan
from poolwise.data.validate import CheckedTable
from poolwise.errors import DataError
from poolwise.priors.scale import mean_and_sd
from poolwise.spec.checked import checked_rows
from poolwise.spec.counts import CellCounts, count_stream, in_order, merged, response_of
from poolwise.spec.design import Design, build_design, check_rank
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.families import UNITLESS, Family, family_of
from poolwise.spec.formula import Formula
from poolwise.spec.learn import learn_from_stream, set_states, states_of
from poolwise.spec.recipe import label_columns
from poolwise.spec.response import refuse_same_trials
from poolwise.spec.rowless import WithoutRows, absent, without_rows


@dataclass(frozen=True, eq=False)
class CountedData:
    """Counts of a table's rows by combination of predictors and groups; :func:`poolwise.collapse` makes them.

    Parameters
    ----------
    recipe : Formula
        Parsed.
    family : str
        bernoulli, binomial or poisson.
    weights : str or None
        Column of trials, of a binomial response given as shares.
    counts : CellCounts
        Cells, with the sums of their rows.
    states : tuple of tuple of dict
        What the transformations of each expression learned from all rows: common part, blocks in order.
    dropped : dict of str to int
        Missing values by column, of rows that were left out.

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
    counts: CellCounts
    states: tuple[tuple[dict, ...], ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

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
        formula, table = self.table(family)
        made = build_design(formula, table, None, family, rank=False)
        parts = expressions(made)
        for part, states in zip(parts, self.states, strict=False):
            set_states(part, states)
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
        return "\n".join([*lines, *(f"  dropped  {k} missing values of {name}" for name, k in self.dropped.items())])


def expressions(design: Design) -> list:
    """The expressions whose transformations may learn: common part, blocks in order."""
    return [design.common, *(columns for factor in design.factors for _, columns in factor.parts)]


class CountedFactor(GroupingFactor):
    """A grouping factor whose rows are gone; ``cells`` has the group and the columns of each cell."""

    def __init__(self, cells: GroupingFactor, rows: Array):
        kept = {name: value for name, value in vars(cells).items() if name not in ("codes", "Z")}
        parts = tuple((block, without_rows(columns)) for block, columns in cells.parts)
        self.__dict__.update(kept | {"parts": parts, "cells": cells, "rows": rows})

    codes = absent("the group of each row")
    Z = absent("the rows of the group-specific part")

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each group."""
        return np.bincount(self.cells.codes, self.rows, self.J).round().astype(np.int64)

    @property
    def centring(self) -> Array:
        """Matrix (q, q) that subtracts the means of the columns of Z in each block that has a column of ones."""
        return centring(self.cells.Z, self.structure, self.rows)

    def spread(self, k: int) -> tuple[float, float]:
        """Mean and sd, over the rows, of column k of Z."""
        mean, sd = mean_and_sd(self.cells.Z[:, k], self.rows)
        n = float(self.rows.sum())
        return mean, sd * float(np.sqrt((n - 1) / n))

    def same_groups(self, other: GroupingFactor) -> bool:
        """Whether two factors divide the rows alike."""
        return isinstance(other, CountedFactor) and self.cells.same_groups(other.cells)

    def same_column(self, k: int, other: GroupingFactor, m: int) -> bool:
        """Whether column k of Z is column m of the other's."""
        return isinstance(other, CountedFactor) and self.cells.same_column(k, other.cells, m)

    cells: GroupingFactor
    rows: Array


class CountedDesign(WithoutRows):
    """A design made of counts.

    Parameters
    ----------
    cells : Design
        Its rows are the cells.
    counts : CellCounts
        Their sums.
    """

    def __init__(self, cells: Design, counts: CellCounts):
        self.__dict__.update(
            formula=cells.formula,
            family=cells.family,
            frequency=False,
            weights_column=None,
            common=without_rows(cells.common),
            factors=tuple(CountedFactor(factor, counts.rows) for factor in cells.factors),
            predicted=(),
            _cells=cells,
            _counts=counts,
        )

    @property
    def counted(self) -> CellCounts:
        """The sums."""
        return vars(self)["_counts"]

    @property
    def cells(self) -> Design:
        """The design whose rows are the cells."""
        return vars(self)["_cells"]

    @property
    def n(self) -> int:
        """Number of rows there were."""
        return self.counted.n

    @cached_property
    def exchangeable(self) -> bool:
        """As the cells are."""
        return self.cells.exchangeable


def counted_design(data: CountedData, family: Family) -> tuple[CountedDesign, CheckedTable]:
    """The design of counts under a family and link.

    Raises
    ------
    DataError
        For a family other than the one that was counted, or a link whose scaled priors would ask for single rows.
    """
    if family.name != data.family:
        raise DataError(
            f"the rows were counted for family {data.family!r}; give that family, or collapse them for {family.name!r}"
        )
    if family.link not in UNITLESS:
        raise DataError(
            f"counted rows serve the links {', '.join(UNITLESS)}; fit the link {family.link!r} from the rows"
        )
    cells, table = data.cells(family)
    nothing = CheckedTable(table.frame.iloc[:0], table.rows[:0], data.dropped, table.notes)
    return CountedDesign(cells, data.counts), nothing


def count_walk(
    pieces: Iterable[Piece],
    complete: Callable,
    columns: list[str],
    formula: Formula,
    family: str,
    weights: str | None,
    most: int,
) -> tuple[Scan, dict[str, int], CellCounts | None]:
    """The walk through some rows that are counted: what is known of them, what was dropped, the counts."""
    dropped: dict[str, int] = {}
    found, counts, labels = Scan({}), None, label_columns(formula)
    for piece in complete(pieces, dropped=dropped):
        found = merge_scans([found, scan([piece], columns, labels)])
        own = count_stream([piece], formula, family_of(family, None), weights, most)
        counts = merged([counts, own], most)
    return found, dropped, counts


def merge_counted(
    parts: Sequence[tuple[Scan, dict[str, int], CellCounts | None]], most: int
) -> tuple[Scan, dict[str, int], CellCounts | None]:
    """The same of several parts together."""
    found, dropped = merge_walks([(own, gone) for own, gone, _ in parts])
    return found, dropped, merged([counts for _, _, counts in parts], most)


def counted_data(
    formula: Formula, family: str, weights: str | None, walked: tuple, walk: Callable[[], Iterable[pd.DataFrame]]
) -> CountedData:
    """The counts of a source, once transformations learned from all of its rows."""
    found, dropped, counts = walked
    if counts is None:
        raise DataError("no row is complete: the source has no rows, or each misses a value in a needed column")
    data = CountedData(formula, family, weights, in_order(counts, found), dropped=dropped)
    design, _ = data.cells(family_of(family, None), rank=False)
    parts = expressions(design)
    learn_from_stream(parts, walk)
    return replace(data, states=tuple(tuple(states_of(part)) for part in parts)).check()

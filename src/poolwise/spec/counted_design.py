"""What models ask of counts: a design whose rows are cells, each standing for many."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import centring
from poolwise.algebra.crossproducts import Array
from poolwise.data.validate import CheckedTable
from poolwise.errors import DataError
from poolwise.priors.scale import mean_and_sd
from poolwise.spec.counted import CountedData
from poolwise.spec.counts import FIELDS, CellCounts, response_of
from poolwise.spec.design import Design, row_subset
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.families import UNITLESS, Family
from poolwise.spec.rowless import WithoutRows, absent, without_rows


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
    data : CountedData
        What was counted.
    counts : CellCounts, optional
        Sums of the rows of each cell; all by default.
    """

    def __init__(self, cells: Design, data: CountedData, counts: CellCounts | None = None):
        counts = data.counts if counts is None else counts
        self.__dict__.update(
            formula=cells.formula,
            family=cells.family,
            frequency=False,
            weights_column=None,
            common=without_rows(cells.common),
            factors=tuple(CountedFactor(factor, counts.rows) for factor in cells.factors),
            predicted=(),
            _cells=cells,
            _data=data,
            _counts=counts,
        )

    def without(self, held: NDArray[np.bool_]) -> "CountedDesign":
        """The design without the rows of these parts of the source; cells that have no others are left out."""
        data = self.source
        left, cell = data.parts.subset(~held), data.cell_of_part[~held]
        rows = np.bincount(cell, left.rows, self.cells.n)
        there = rows > 0
        sums = [np.bincount(cell, getattr(left, name), self.cells.n)[there] for name in FIELDS]
        fold = np.zeros(int(there.sum()), dtype=np.int64)
        counts = CellCounts(data.counts.subset(there).keys, fold, *sums)
        cells = replace(row_subset(self.cells, there), outcome=response_of(counts, self.family))
        return CountedDesign(cells, data, counts)

    def narrowed(self, narrow: Callable[[Design], Design]) -> "CountedDesign":
        """The same counts with fewer columns: ``narrow`` of the cells' design."""
        return CountedDesign(narrow(self.cells), self.source, self.counted)

    @property
    def without_groups(self) -> "CountedDesign":
        """The design without its grouping factors."""
        return self.narrowed(lambda cells: cells.without_groups)

    @property
    def counted(self) -> CellCounts:
        """The sums."""
        return vars(self)["_counts"]

    @property
    def source(self) -> CountedData:
        """What the design was made from."""
        return vars(self)["_data"]

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
    nothing = CheckedTable(table.frame.iloc[:0], table.rows[:0], data.dropped, (*table.notes, *data.notes))
    return CountedDesign(cells, data), nothing

"""Sums in place of rows, and what models ask of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.basis import Basis, basis_of_moments, dependent_of_moments
from poolwise.algebra.moments import CellSums, Moments
from poolwise.algebra.theta import BlockStructure
from poolwise.data.columns import count
from poolwise.priors.scale import ColumnFacts, DataFacts, EffectFacts
from poolwise.spec.design import Design, refuse_dependent
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.recipe import Evaluator, Recipe, evaluator
from poolwise.spec.rowless import RowlessDesign
from poolwise.spec.saved import Saved

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CollapsedData(Saved):
    """The sums of a table's rows that a Gaussian mixed model needs; :func:`poolwise.collapse` makes them.

    Parameters
    ----------
    recipe : Recipe
        Formula, levels, and what the transformations learned.
    parts : CellSums
        Counts, means and scatters by cell, a group or a combination of groups; with folds, by cell and fold.
    dropped : dict of str to int
        Missing values by column, of rows that were left out.
    notes : tuple of str
        What a reader should know.
    min_rows : int
        No part, and no value of a two-valued column within a part, has fewer rows.
    folds : int
        Folds of the rows that are kept apart; 1 where there are none. A part's key is its cell's key times that, plus
        its fold.

    Examples
    --------
    >>> import poolwise as pw
    >>> sums = pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
    >>> pw.Model(sums.formula, sums).fit_frequentist().fixef.round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """

    recipe: Recipe
    parts: CellSums
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    min_rows: int = 1
    folds: int = 1

    @cached_property
    def sums(self) -> CellSums:
        """The sums of each cell, all folds together."""
        return self.parts.coarser(self.folds)

    @cached_property
    def cell_of_part(self) -> NDArray[np.int64]:
        """Cell of each part."""
        return np.searchsorted(self.sums.keys, self.parts.keys // self.folds)

    @property
    def fold_of_part(self) -> NDArray[np.int64]:
        """Fold of each part."""
        return self.parts.keys % self.folds

    @property
    def formula(self) -> str:
        """The formula the rows were collapsed for."""
        return self.recipe.formula.text

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.parts.rows.sum())

    @cached_property
    def total(self) -> Moments:
        """Unweighted moments of all rows."""
        return self.sums.plain.total

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Levels (C, grouping columns) of each cell."""
        return codes_of(self.sums.keys, self.recipe.shape)

    @cached_property
    def evaluator(self) -> Evaluator:
        """How new rows are evaluated."""
        return evaluator(self.recipe, self.codes)

    @cached_property
    def design(self) -> Design:
        """Names, groups and sums, in place of a design with rows."""
        return RowlessDesign(self.evaluator.design, self, self.evaluator.z)

    def basis(self, *, centred: bool, factors: tuple[GroupingFactor, ...] | None = None) -> Basis:
        """Coordinates of the algebra, of the design's grouping factors or of others of these sums.

        :meta private:
        """
        factors = self.design.factors if factors is None else factors
        z = [k for factor in factors for k in factor.z]  # type: ignore[attr-defined]
        structure = BlockStructure(tuple(size for own in factors for size in own.structure.sizes))
        mean, scatter = self.total.mean[0], self.total.scatter[0]
        intercept = self.design.intercept
        dependent = dependent_of_moments(scatter, mean, self.n, self.evaluator.x, intercept)
        refuse_dependent(self.design.coefficient_names, dependent, self.n)
        return basis_of_moments(self.n, mean, scatter, self.evaluator.x, z, intercept, structure if centred else None)

    def equivalent(
        self, basis: Basis, z: Sequence[int], parts: NDArray[np.bool_] | None = None
    ) -> tuple[Array, Array, Array, NDArray[np.int64], Array]:
        """Rows in the coordinates of the algebra that have the same cross-products as those that were collapsed.

        Parameters
        ----------
        basis : Basis
        z : sequence of int
            Columns of the sums that make Z, -1 for the constant.
        parts : ndarray of bool, optional
            Only the rows of these parts.

        Returns
        -------
        ndarray (R, p), (R, q), (R,), ndarray of int (R,), ndarray (R,)
            X, Z, y, cell and weight. A cell has one row at its mean, and at most as many as columns about it.

        :meta private:
        """
        moments = self.sums.weighted if parts is None else self.parts.weighted.subset(parts)
        apart, cell = moments.equivalent_rows()
        cells = np.arange(len(moments.weight)) if parts is None else self.cell_of_part[parts]
        x, z = list(self.evaluator.x), list(z)

        def columns(U: Array, constant: float, basis: Basis) -> tuple[Array, Array, Array]:
            U = np.column_stack([U, np.full(len(U), constant)])
            return basis.rows(U[:, x], U[:, z], U[:, -2])

        at_zero = replace(basis, centre=np.zeros(len(basis.centre)), y_shift=0.0)
        means, scatters = columns(moments.mean, 1.0, basis), columns(apart, 0.0, at_zero)
        X, Z, y = (np.concatenate(both) for both in zip(means, scatters, strict=True))
        weights = np.concatenate([moments.weight, np.ones(len(cell))])
        return X, Z, y, np.concatenate([cells, cells[cell]]), weights

    def counted(self, parts: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """Rows that the likelihood counts, of all or some parts, and the sum of the logs of all precision weights.

        :meta private:
        """
        chosen = slice(None) if parts is None else parts
        if self.design.frequency:
            return float(self.parts.weighted.weight[chosen].sum()), 0.0
        return float(self.parts.rows[chosen].sum()), self.parts.log_weights

    def facts(self) -> DataFacts:
        """What the scaling rules of priors may ask of the data; without medians.

        :meta private:
        """
        design, total, n = self.design, self.total, self.n
        mean, sd = total.mean[0], np.sqrt(np.einsum("kk->k", total.scatter[0]) / max(n - 1, 1))
        coded = {k for _, where, levels in design.common.terms if levels for k in range(where.start, where.stop)}
        columns = {}
        for k, name in enumerate(design.coefficient_names):
            at = self.evaluator.x[k]
            if k == design.intercept:
                continue
            low, high, two = float(self.sums.low[at]), float(self.sums.high[at]), not bool(self.sums.between[at])
            categorical = k in coded and two and low == 0.0 and high == 1.0
            columns[name] = ColumnFacts(float(mean[at]), float(sd[at]), low, high, two, categorical)
        effects = {}
        for factor, z in zip(design.factors, self.evaluator.z, strict=True):
            for k, sd_name in zip(factor.sd_columns, factor.sd_names, strict=True):
                constant = z[k] < 0
                within = 0.0 if constant else factor.sd_within(k)
                effects[sd_name] = EffectFacts(within, 0.0 if constant else float(sd[z[k]]), constant)
        return DataFacts(
            n=n,
            mean_y=float(mean[-1]),
            sd_y=float(sd[-1]),
            median_y=float("nan"),
            mad_y=float("nan"),
            columns=columns,
            effects=effects,
            groups={factor.name: factor.J for factor in design.factors},
            intercept=design.intercept >= 0,
        )

    def __repr__(self) -> str:
        cells, d = count(len(self.sums.keys), "cell"), self.sums.plain.mean.shape[1]
        lines = [
            f"{self.n} rows collapsed for {self.formula}",
            f"  sums     {cells} of {', '.join(self.recipe.group_columns) or 'one group'}, {d} columns; "
            f"cells of {self.sums.rows.min()} to {self.sums.rows.max()} rows",
        ]
        if self.folds > 1:
            parts = self.parts.rows
            lines.append(f"  folds    {self.folds}, of rows; a cell has {parts.min()} to {parts.max()} rows in one")
        lines += [f"  learned  {said}" for said in self.recipe.learned]
        lines += [f"  dropped  {number} missing values of {name}" for name, number in self.dropped.items()]
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])


def codes_of(keys: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Codes (C, columns) behind the keys of the cells."""
    if not shape:
        return np.zeros((len(keys), 0), dtype=np.int64)
    return np.column_stack(np.unravel_index(keys, shape)).astype(np.int64)

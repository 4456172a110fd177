"""From a checked table and a formula to numbers: X, one small Z a grouping factor, index vectors, never a dense Z.

Long for its docstrings: one class, and the ways to make it whole or in part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.basis import dependent_columns
from poolwise.data.validate import CheckedTable
from poolwise.errors import ArgumentError, DataError
from poolwise.spec.evaluate import Columns, evaluate
from poolwise.spec.factors import GroupingFactor, grouping_factors, rows_of
from poolwise.spec.families import GAUSSIAN, Auxiliary, Family
from poolwise.spec.formula import Formula
from poolwise.spec.predicted import predicted_family
from poolwise.spec.response import Response, read_response
from poolwise.spec.size import refuse_wide
from poolwise.spec.smooth import Smooth, make_smooth

if TYPE_CHECKING:
    from poolwise.spec.collapsed import CollapsedData
    from poolwise.spec.counted import CountedData
    from poolwise.spec.counts import CellCounts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The numbers of a model.

    Parameters
    ----------
    formula : Formula
        What was asked.
    frame : DataFrame
        The checked columns the numbers were made from.
    family : Family
        Distribution of the response, and its link.
    outcome : Response
        Its values, trials, levels, censoring.
    offset : ndarray (n,)
        Known part of the linear predictor.
    weights : ndarray (n,) or None
        Weights of the rows.
    frequency : bool
        Whether a weight w counts as w equal rows (``weighted(y, w)``) or as a precision, variance sigma^2 / w.
    weights_column : str or None
        Where the weights come from.
    common : Columns
        Common part, its matrix X and its names.
    factors : tuple of GroupingFactor
        In order of appearance.
    predicted : tuple of Design
        Designs of further parameters with formulas of their own, ``sigma ~ x``.
    prefix : str
        Before the names of all variables; ``sigma_`` in the design of sigma.
    category : str
        Of a categorical response, the category whose linear predictor this is. The design of the response itself then
        has no columns and no factors; :attr:`predicted` has one design a category, without the reference if there is
        one.
    smooths : tuple of Smooth
        Smooth functions of predictors.
    """

    formula: Formula
    frame: pd.DataFrame
    family: Family
    outcome: Response
    offset: Array
    weights: Array | None
    frequency: bool
    weights_column: str | None
    common: Columns
    factors: tuple[GroupingFactor, ...]
    predicted: tuple["Design", ...] = ()
    prefix: str = ""
    category: str = ""
    smooths: tuple[Smooth, ...] = ()

    def with_response(self, y: Array) -> "Design":
        """The same rows with another response (n,), which is not checked against the family.

        Raises
        ------
        ArgumentError
            If there are not as many numbers as rows, or one is not finite.
        """
        if y.shape != (self.n,) or not np.isfinite(y).all():
            raise ArgumentError(f"y must be {self.n} finite numbers, one a row; got shape {y.shape}")
        return replace(self, outcome=replace(self.outcome, y=y))

    @property
    def linear(self) -> tuple["Design", ...]:
        """Designs of the linear predictors of the response: itself, or one a category, the reference left out."""
        return self.predicted if self.family.categorical else (self,)

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Labels of a categorical response, the reference first; None of any other."""
        return self.outcome.categories if self.family.categorical else None

    @property
    def category_dim(self) -> str:
        """Dimension of the effects of a categorical response."""
        return (names.category_dim if self.family.has_reference else names.term_dim)(self.response)

    @property
    def further(self) -> tuple["Design", ...]:
        """Designs of further parameters of the family with formulas of their own."""
        return () if self.family.categorical else self.predicted

    @property
    def constant_auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Further parameters of the family that are the same in all rows."""
        given = {design.family.name for design in self.predicted}
        return tuple(own for own in self.family.auxiliaries if own.name not in given)

    @property
    def all_factors(self) -> tuple[GroupingFactor, ...]:
        """Grouping factors of all formulas, the first of each name."""
        found: dict[str, GroupingFactor] = {}
        for design in (self, *self.predicted):
            for factor in design.factors:
                found.setdefault(factor.name, factor)
        return tuple(found.values())

    @property
    def collapsed(self) -> "CollapsedData | None":
        """The sums that stand in place of the rows; None where there are rows."""
        return None

    @property
    def counted(self) -> "CellCounts | None":
        """The counts that stand in place of the rows; None where there are rows."""
        return None

    @property
    def source(self) -> "CollapsedData | CountedData | None":
        """What stands in place of the rows, sums or counts; None where there are rows."""
        return self.collapsed

    @property
    def cells(self) -> "Design":
        """The design whose rows an algorithm works on: itself, or that of the cells where rows were added up."""
        return self

    @property
    def without_groups(self) -> "Design":
        """The design without its grouping factors."""
        return replace(self, factors=())

    @property
    def y(self) -> Array:
        """Response (n,), offsets included; successes of a binomial one, 0, 1, ... for ordered levels."""
        return self.outcome.y

    @property
    def collapses(self) -> bool:
        """Whether effects integrate out in closed form: Gaussian rows of one sigma, neither censored nor truncated."""
        return self.family.gaussian and self.outcome.plain and not (self.predicted or self.smooths)

    @property
    def exchangeable(self) -> bool:
        """Whether groups are independent draws from one normal distribution, as are all rows given what is linear."""
        return all(factor.exchangeable for factor in self.factors) and not (self.predicted or self.smooths)

    @property
    def covariances(self) -> dict[str, pd.DataFrame]:
        """Known covariances between groups, by the names of the formula."""
        every = [factor for design in (self, *self.predicted) for factor in design.factors]
        related = [(factor, factor.relation) for factor in every if factor.relation is not None]
        return {one.name: pd.DataFrame(one.matrix, factor.labels, factor.labels) for factor, one in related}

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.outcome.y)

    @property
    def X(self) -> Array:
        """Common part (n, p)."""
        return self.common.matrix

    @property
    def response(self) -> str:
        """Variable of the response in a tree."""
        return names.variable(self.formula.response.replace("`", ""))

    @property
    def intercept(self) -> int:
        """Position of the intercept in X, or -1."""
        return 0 if self.formula.intercept and self.family.has_intercept and not self.family.categorical else -1

    @property
    def aliases(self) -> dict[str, str]:
        """Stated names of common terms that would collide with parameters."""
        reserved = [names.INTERCEPT, names.CHAIN, names.DRAW, names.OBSERVATION, self.family.parent]
        reserved += [own.name for own in self.family.auxiliaries]
        for factor in [factor for design in (self, *self.predicted) for factor in design.factors]:
            reserved += [factor.correlation_name]
            reserved += [name for own in factor.log_sd_names for name in own]
            for term in factor.terms:
                reserved += [factor.effect_name(term.name), factor.group_sd_name(term.name)]
        reserved += [name for design in self.predicted for name in design.coefficient_names]
        terms = [term for term, where, _ in self.common.terms if not self._is_intercept(term, where)]
        return names.aliases(terms, reserved)

    @property
    def coefficient_names(self) -> tuple[str, ...]:
        """Name of each column of X, aliases applied, so that no two are the same."""
        found = list(self.common.names)
        for term, where, _ in self.common.terms:
            alias = self.aliases.get(term)
            if alias is not None and not self._is_intercept(term, where):
                found[where] = [alias + name.removeprefix(term) for name in found[where]]
        return tuple(names.in_category(self.prefix + name, self.category) for name in found)

    def variable(self, term: str, where: slice) -> str:
        """Variable of a common term in the posterior."""
        own = term if self._is_intercept(term, where) else names.variable(self.aliases.get(term, term))
        return self.prefix + names.in_category(own, names.variable(self.category))

    def _is_intercept(self, term: str, where: slice) -> bool:
        return term == names.INTERCEPT and where.start == self.intercept

    def offset_of(self, frame: pd.DataFrame) -> Array:
        """Known part of the mean for a new table."""
        return _offset(self.formula, frame)


def build_design(
    formula: Formula,
    table: CheckedTable,
    weights: str | None = None,
    family: Family = GAUSSIAN,
    covariances: Mapping[str, pd.DataFrame] | None = None,
    further: Sequence[Formula] = (),
    *,
    rank: bool = True,
) -> Design:
    """Evaluate a formula on a checked table.

    Parameters
    ----------
    formula : Formula
        The parsed formula.
    table : CheckedTable
        Rows without missing or infinite values.
    weights : str, optional
        Column of precision weights, of trials for a binomial response given as shares; a formula's own
        ``weighted(y, w)`` are frequency weights.
    family : Family, optional
        Gaussian by default.
    covariances : mapping of str to DataFrame, optional
        Matrices that ``gr(g, cov=A)`` names.
    further : sequence of Formula, optional
        Of further parameters of the family; left of ``~`` stands which.
    rank : bool, default True
        Whether collinear columns of X are refused; not where the table only stands for the rows.

    Returns
    -------
    Design

    Raises
    ------
    DataError
        For collinear columns of X, which are named, for a response that does not fit its family, and for columns that
        do not fit into memory.
    """
    frame = table.frame
    if formula.response in (names.CHAIN, names.DRAW, names.OBSERVATION):
        raise DataError(f"the response is called {formula.response!r}, a dimension of the draws; rename the column")
    column = weights or formula.weights
    values = None if column is None else frame[column].to_numpy(dtype=np.float64)
    outcome = read_response(formula, frame, family, table.rows, values if weights else None)
    if weights and family.holds == "trials":
        column = values = None
    if weights and column and not family.gaussian:
        raise DataError(
            f"weights= is for Gaussian responses (precisions) and binomial shares (trials), not for family "
            f"{family.name!r}; write weighted(y, {weights}) ~ ... for a row that counts as several"
        )
    for own in (formula, *further):
        refuse_wide(own, frame)
    common = evaluate(formula.common, frame, trusted=formula.trusted)
    if not family.has_intercept:
        if not formula.intercept:
            raise DataError(
                f"the thresholds of family {family.name!r} take the place of the intercept; leave out the `0 +`"
            )
        common = common.without_intercept()
    design = Design(
        formula=formula,
        frame=frame,
        family=family,
        outcome=outcome,
        offset=_offset(formula, frame),
        weights=values,
        frequency=formula.weights is not None,
        weights_column=column,
        common=common,
        factors=tuple(grouping_factors(formula, frame, covariances)),
        smooths=tuple(make_smooth(call, frame, trusted=formula.trusted) for call in formula.smooths),
    )
    if rank:
        check_rank(design)
    if family.categorical:
        return _by_category(design)
    return _with_aliases(replace(design, predicted=tuple(_predicted(design, own, covariances) for own in further)))


def _by_category(design: Design) -> Design:
    """The design of a categorical response: a linear predictor of the same columns a category, but for a reference."""
    assert design.outcome.categories is not None
    if design.formula.offsets:
        raise DataError("an offset of a categorical response would be that of every category; leave it out")
    made = []
    for label in design.outcome.categories[design.family.has_reference :]:
        factors = tuple(replace(factor, category=label) for factor in design.factors)
        family = Family(f"mu[{label}]", "mu", "identity", ("identity",), "real")
        own = replace(design, family=family, weights=None, frequency=False, weights_column=None)
        smooths = tuple(replace(smooth, category=label) for smooth in design.smooths)
        made.append(_with_aliases(replace(own, factors=factors, smooths=smooths, category=label)))
    return replace(design, common=design.common.emptied(), factors=(), smooths=(), predicted=tuple(made))


def _predicted(design: Design, formula: Formula, covariances: Mapping[str, pd.DataFrame] | None) -> Design:
    """The design of a further parameter, of the same rows."""
    own = predicted_family(design.family, formula.response)
    prefix = f"{own.name}_"
    factors = tuple(replace(factor, prefix=prefix) for factor in grouping_factors(formula, design.frame, covariances))
    made = replace(
        design,
        formula=formula,
        family=own,
        offset=_offset(formula, design.frame),
        weights=None,
        frequency=False,
        weights_column=None,
        common=evaluate(formula.common, design.frame, trusted=formula.trusted),
        factors=factors,
        smooths=tuple(
            make_smooth(call, design.frame, prefix=prefix, trusted=formula.trusted) for call in formula.smooths
        ),
        prefix=prefix,
    )
    check_rank(made)
    return _with_aliases(made)


def _with_aliases(design: Design) -> Design:
    """Effects of the groups under the aliases of the common terms, so that coefficients find their effects."""
    if not (aliases := design.aliases):
        return design
    factors = []
    for factor in design.factors:
        effects, terms = list(factor.effects), []
        for term in factor.terms:
            alias = term.name if term.name == names.INTERCEPT else aliases.get(term.name, term.name)
            effects[term.columns] = [alias + effect.removeprefix(term.name) for effect in effects[term.columns]]
            terms.append(replace(term, name=alias))
        factors.append(replace(factor, effects=tuple(effects), terms=tuple(terms)))
    return replace(design, factors=tuple(factors))


def codes_of_cells(design: Design, factor: GroupingFactor) -> NDArray[np.int64]:
    """Group of each row, or of each cell where rows were added up."""
    return next(own.codes for own in design.cells.factors if own.name == factor.name)


def row_subset(design: Design, rows: NDArray) -> Design:
    """The same columns and groups with these rows only; a group may be left without any."""
    outcome = design.outcome
    kept = Response(
        outcome.y[rows],
        None if outcome.trials is None else outcome.trials[rows],
        outcome.levels,
        None if outcome.status is None else outcome.status[rows],
        None if outcome.bounds is None else (outcome.bounds[0][rows], outcome.bounds[1][rows]),
        outcome.categories,
        None if outcome.counts is None else outcome.counts[rows],
    )
    return replace(
        design,
        frame=design.frame[rows].reset_index(drop=True),
        outcome=kept,
        offset=design.offset[rows],
        weights=None if design.weights is None else design.weights[rows],
        common=replace(design.common, matrix=design.X[rows]),
        predicted=tuple(row_subset(own, rows) for own in design.predicted),
        factors=tuple(rows_of(own, rows) for own in design.factors),
        smooths=tuple(own.of_rows(rows) for own in design.smooths),
    )


def _offset(formula: Formula, frame: pd.DataFrame) -> Array:
    total = np.zeros(len(frame))
    for expression in formula.offsets:
        # An offset is not a predictor: a constant or collinear one is right.
        total = total + evaluate(f"0 + {expression}", frame, trusted=formula.trusted).matrix[:, 0]
    return total


def check_rank(design: Design) -> None:
    """Refuse columns of X that are linear combinations of those before them."""
    X = design.X
    if design.family.has_intercept:
        dependent = dependent_columns(X, design.intercept)
    else:
        # The thresholds stand for the constant.
        with_constant = np.column_stack([np.ones(design.n), X])
        dependent = [k - 1 for k in dependent_columns(with_constant, 0) if k > 0]
    refuse_dependent(design.coefficient_names, dependent, design.n)


def refuse_dependent(columns: tuple[str, ...], dependent: Sequence[int], n: int) -> None:
    """Raise if columns of X, named by position, are linear combinations of those before them."""
    if dependent:
        listed = ", ".join(repr(columns[k]) for k in dependent)
        before = ", ".join(repr(name) for k, name in enumerate(columns) if k not in dependent)
        raise DataError(
            f"the common effects are not identified: {listed} {'is' if len(dependent) == 1 else 'are'} a linear "
            f"combination of {before} (rank {len(columns) - len(dependent)} of {len(columns)} columns, {n} rows); "
            "leave out the terms named, or combine them"
        )

"""From a checked table and a formula to numbers: X, one small Z a grouping factor, index vectors, never a dense Z."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.basis import dependent_columns
from poolwise.algebra.theta import BlockStructure
from poolwise.data.columns import UNUSABLE, kind_of
from poolwise.data.grouping import label_text, label_texts
from poolwise.data.validate import CheckedTable
from poolwise.errors import DataError
from poolwise.spec.evaluate import Columns, evaluate
from poolwise.spec.families import GAUSSIAN, Auxiliary, Family
from poolwise.spec.formula import Block, Formula
from poolwise.spec.group_sds import SdRegression, sd_regression
from poolwise.spec.kinds import Kinds, kinds_of
from poolwise.spec.members import Members, union_of, weights_of
from poolwise.spec.predicted import predicted_family
from poolwise.spec.relation import Relation, relation_of
from poolwise.spec.response import Response, read_response

if TYPE_CHECKING:
    from poolwise.spec.collapsed import CollapsedData

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GroupTerm:
    """One term of a block: its name, the columns of Z it fills, and its levels if it has several columns."""

    name: str
    columns: slice
    levels: tuple[str, ...] | None


@dataclass(frozen=True)
class GroupingFactor:
    """A grouping factor with all the effects that vary by it.

    Parameters
    ----------
    name : str
        As in the formula: ``county``, ``a:b``.
    columns : tuple of str
        The data columns it is made of.
    levels : tuple
        The groups, in order; tuples for cells of an interaction.
    codes : ndarray of int (n,), or (n, M) with ``mm()``
        Group, or groups, of each row.
    Z : ndarray (n, q)
        The columns of one group's block.
    effects : tuple of str (q,)
        Name of each column of Z, ``Intercept`` for the constant.
    terms : tuple of GroupTerm
        The same by term.
    structure : BlockStructure
        Which effects are correlated.
    parts : tuple of (Block, Columns)
        The blocks of the formula and how each is evaluated on new rows.
    sd_regression : SdRegression, optional
        Of ``gr(g, sd=~ z)``: what the log of the group sds follows.
    kinds : Kinds, optional
        Of ``gr(g, by=z)``: the kind of each group, each with a covariance of its own.
    relation : Relation, optional
        Of ``gr(g, cov=A)``: known covariance between the groups.
    members : Members, optional
        Of ``mm(g1, g2)``: the memberships of the rows.
    prefix : str
        Before the names of all variables, ``sigma_`` in the formula of sigma; empty in that of the response.
    category : str
        Of a categorical response, the category whose linear predictor the effects are of.
    """

    name: str
    columns: tuple[str, ...]
    levels: tuple
    codes: NDArray[np.int64]
    Z: Array
    effects: tuple[str, ...]
    terms: tuple[GroupTerm, ...]
    structure: BlockStructure
    parts: tuple[tuple[Block, Columns], ...]
    sd_regression: SdRegression | None = None
    kinds: Kinds | None = None
    relation: Relation | None = None
    members: Members | None = None
    prefix: str = ""
    category: str = ""

    def _own(self, name: str) -> str:
        return names.variable(names.in_category(self.prefix + name, self.category))

    @property
    def exchangeable(self) -> bool:
        """Whether each row is of one group, and the groups are independent draws from one normal distribution."""
        return self.sd_regression is self.kinds is self.relation is self.members is None

    @property
    def views(self) -> tuple["GroupingFactor", ...]:
        """The factor membership by membership, weights in Z; itself where a row has one group."""
        if self.members is None:
            return (self,)
        weights = self.members.weights
        return tuple(
            replace(self, columns=(column,), codes=self.codes[:, m], Z=self.Z * weights[:, m, None], members=None)
            for m, column in enumerate(self.columns)
        )

    def contribution(self, effects: Array) -> Array:
        """Group-specific part (n,) of the linear predictor of effects (J, q)."""
        return sum(np.einsum("nk,nk->n", view.Z, effects[view.codes]) for view in self.views)

    @property
    def J(self) -> int:
        """Number of groups."""
        return len(self.levels)

    @property
    def labels(self) -> list[str]:
        """The groups as text."""
        return [names.cell_label(level) if isinstance(level, tuple) else str(level) for level in self.levels]

    def spread(self, k: int) -> tuple[float, float]:
        """Mean and sd, over the rows, of column k of Z."""
        return float(self.Z[:, k].mean()), float(self.Z[:, k].std())

    def same_groups(self, other: "GroupingFactor") -> bool:
        """Whether two factors divide the rows alike."""
        return self.J == other.J and len(np.unique(self.codes * other.J + other.codes)) == self.J

    def same_column(self, k: int, other: "GroupingFactor", m: int) -> bool:
        """Whether column k of Z is column m of the other's."""
        return np.array_equal(self.Z[:, k], other.Z[:, m])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each group; of several memberships, those with a weight."""
        if self.members is None:
            return np.bincount(self.codes, minlength=self.J)
        return np.bincount(self.codes[self.members.weights > 0], minlength=self.J)

    def effect_name(self, term: str) -> str:
        """Variable of the effects of a term, ``x|g``."""
        return self._own(names.effect(term, self.name))

    def group_sd_name(self, term: str) -> str:
        """Variable of the group sds of a term, ``x|g_sigma``."""
        return self._own(names.group_sd(term, self.name))

    @property
    def correlation_name(self) -> str:
        """Variable of the correlations, ``corr|g``."""
        return self._own(names.correlation(self.name))

    def correlation_label(self, inside: str) -> str:
        """Label of one correlation in a summary, ``corr|g[Intercept, x]``."""
        own = names.variable(self.prefix) + names.correlation(self.name)
        return names.in_category(f"{own}[{inside}]", self.category)

    @property
    def correlation_dims(self) -> tuple[str, str]:
        """Dimensions of the correlations."""
        return names.correlation_dims(self.prefix + self.name)

    @property
    def kind_dim(self) -> str:
        """Dimension of the kinds of groups."""
        return names.kind_dim(self.prefix + self.name)

    @property
    def sd_names(self) -> list[str]:
        """Name of each group sd as a parameter, ``f|g_sigma[b]`` for one column of a term; kind after kind."""
        found = []
        for kind in ((),) if self.kinds is None else ((label,) for label in self.kinds.labels):
            for term in self.terms:
                base = names.variable(self.prefix) + names.group_sd(term.name, self.name)
                for level in (None,) if term.levels is None else term.levels:
                    inside = ", ".join([*kind, *(() if level is None else (str(level),))])
                    found.append(names.in_category(f"{base}[{inside}]" if inside else base, self.category))
        return found

    @property
    def sd_columns(self) -> list[int]:
        """Column of Z of each group sd, one after the other as :attr:`sd_names`."""
        return list(range(len(self.effects))) * (1 if self.kinds is None else len(self.kinds.labels))

    @property
    def log_sd_names(self) -> list[list[str]]:
        """Names of the coefficients of each effect's log sd, ``1|g_logsd_z``; empty lists without a regression."""
        covariates = () if self.sd_regression is None else self.sd_regression.names
        return [[self._own(names.log_sd(effect, self.name, each)) for each in covariates] for effect in self.effects]

    def codes_of(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Group of each row of a new table; -1 for a group that was not seen.

        Raises
        ------
        DataError
            If a grouping column is not there or misses values.
        """
        for column in self.columns:
            if column not in frame.columns:
                raise DataError(
                    f"the new table has no column {column!r}, which the grouping factor {self.name!r} needs; add it "
                    "(a label that was not seen stands for a new group)"
                )
            if isinstance(frame[column], pd.DataFrame):
                raise DataError(
                    f"the new table has {frame[column].shape[1]} columns called {column!r}; rename all but one"
                )
            if (kind := kind_of(frame[column])) in UNUSABLE:
                what, advice = UNUSABLE[kind]
                raise DataError(f"the grouping column {column!r} holds {what}; {advice.format(name=column)}")
            if frame[column].isna().any():
                row = int(np.flatnonzero(frame[column].isna())[0])
                raise DataError(f"the grouping column {column!r} misses its value in row {row} of the new table")
        single = len(self.columns) == 1
        cells = [(level,) if single else level for level in self.levels]
        known = {tuple(map(label_text, cell)): j for j, cell in enumerate(cells)}
        rows = zip(*(label_texts(frame[column]) for column in self.columns), strict=True)
        return np.array([known.get(row, -1) for row in rows], dtype=np.int64)

    def Z_of(self, frame: pd.DataFrame) -> Array:
        """Z of a new table, with what the transformations learned from the data."""
        return np.column_stack([columns.apply(frame) for _, columns in self.parts])


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
        has no columns and no factors; :attr:`predicted` has one design for each category after the first.
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

    @property
    def linear(self) -> tuple["Design", ...]:
        """Designs of the linear predictors of the response: itself, or one for each category after the first."""
        return self.predicted if self.family.categorical else (self,)

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Labels of a categorical response, the reference first; None of any other."""
        return self.outcome.categories if self.family.categorical else None

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
    def y(self) -> Array:
        """Response (n,), offsets included; successes of a binomial one, 0, 1, ... for ordered levels."""
        return self.outcome.y

    @property
    def collapses(self) -> bool:
        """Whether effects integrate out in closed form: Gaussian rows of one sigma, neither censored nor truncated."""
        return self.family.gaussian and self.outcome.plain and not self.predicted

    @property
    def exchangeable(self) -> bool:
        """Whether the groups of each factor are independent draws from one normal distribution, as are all rows."""
        return all(factor.exchangeable for factor in self.factors) and not self.predicted

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
    check_rank: bool = True,
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
    check_rank : bool, default True
        Whether collinear columns of X are refused; not where the table only stands for the rows.

    Returns
    -------
    Design

    Raises
    ------
    DataError
        For collinear columns of X, which are named, and for a response that does not fit its family.
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
        factors=tuple(_factors(formula, frame, covariances)),
    )
    if check_rank:
        _check_rank(design)
    if family.categorical:
        return _by_category(design)
    return _with_aliases(replace(design, predicted=tuple(_predicted(design, own, covariances) for own in further)))


def _by_category(design: Design) -> Design:
    """The design of a categorical response: a linear predictor of the same columns for each category but the first."""
    assert design.outcome.categories is not None
    if design.formula.offsets:
        raise DataError("an offset of a categorical response would move all categories but the first; leave it out")
    made = []
    for label in design.outcome.categories[1:]:
        factors = tuple(replace(factor, category=label) for factor in design.factors)
        family = Family(f"mu[{label}]", "mu", "identity", ("identity",), "real")
        own = replace(design, family=family, weights=None, frequency=False, weights_column=None)
        made.append(_with_aliases(replace(own, factors=factors, category=label)))
    return replace(design, common=design.common.emptied(), factors=(), predicted=tuple(made))


def _predicted(design: Design, formula: Formula, covariances: Mapping[str, pd.DataFrame] | None) -> Design:
    """The design of a further parameter, of the same rows."""
    own = predicted_family(design.family, formula.response)
    prefix = f"{own.name}_"
    factors = tuple(replace(factor, prefix=prefix) for factor in _factors(formula, design.frame, covariances))
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
        prefix=prefix,
    )
    _check_rank(made)
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
    )
    return replace(
        design,
        frame=design.frame[rows].reset_index(drop=True),
        outcome=kept,
        offset=design.offset[rows],
        weights=None if design.weights is None else design.weights[rows],
        common=replace(design.common, matrix=design.X[rows]),
        predicted=tuple(row_subset(own, rows) for own in design.predicted),
        factors=tuple(_rows_of(own, rows) for own in design.factors),
    )


def _rows_of(factor: GroupingFactor, rows: NDArray) -> GroupingFactor:
    members = factor.members
    if members is not None:
        members = replace(members, weights=members.weights[rows])
    return replace(factor, codes=factor.codes[rows], Z=factor.Z[rows], members=members)


def _offset(formula: Formula, frame: pd.DataFrame) -> Array:
    total = np.zeros(len(frame))
    for expression in formula.offsets:
        # An offset is not a predictor: a constant or collinear one is right.
        total = total + evaluate(f"0 + {expression}", frame, trusted=formula.trusted).matrix[:, 0]
    return total


def _factors(formula: Formula, frame: pd.DataFrame, covariances: Mapping[str, pd.DataFrame] | None):
    by_name: dict[str, list[Block]] = {}
    for block in formula.blocks:
        by_name.setdefault(block.factor, []).append(block)
    plain = {
        factor: factor if blocks[0].multiple else ":".join(blocks[0].columns) for factor, blocks in by_name.items()
    }
    for written, blocks in by_name.items():
        # A column called `a:b` beside the interaction a:b keeps its back-quotes.
        name = plain[written] if list(plain.values()).count(plain[written]) == 1 else written
        codes, levels = (union_of if blocks[0].multiple else _codes)(frame, blocks[0].columns)
        parts, terms, width = [], [], 0
        sizes: list[int] = []
        effects: list[str] = []
        for block in blocks:
            columns = evaluate(block.expression, frame, trusted=formula.trusted)
            _refuse_intercept_column(block, columns)
            parts.append((block, columns))
            for term, where, term_levels in columns.terms:
                terms.append(GroupTerm(term, slice(width + where.start, width + where.stop), term_levels))
            count = columns.matrix.shape[1]
            sizes += [count] if block.correlated else [1] * count
            effects += columns.names
            width += count
        Z = np.column_stack([columns.matrix for _, columns in parts])
        structure = BlockStructure(tuple(sizes))
        factor = GroupingFactor(
            name, blocks[0].columns, levels, codes, Z, tuple(effects), tuple(terms), structure, tuple(parts)
        )
        yield _grouped(factor, formula, frame, covariances)


def _grouped(
    factor: GroupingFactor, formula: Formula, frame: pd.DataFrame, covariances: Mapping[str, pd.DataFrame] | None
) -> GroupingFactor:
    """The factor with what gr(...) or mm(...) says of its groups."""
    block, codes, labels, name = factor.parts[0][0], factor.codes, factor.labels, factor.name
    if block.multiple:
        weights = weights_of(block.columns, block.member_weights, frame)
        return replace(factor, members=Members(block.columns, block.member_weights, weights))
    if sd := block.sd:
        columns = evaluate(sd, frame, trusted=formula.trusted)
        factor = replace(factor, sd_regression=sd_regression(sd, columns, codes, labels, name))
    if block.by:
        factor = replace(factor, kinds=kinds_of(frame[block.by], codes, labels, name))
    if block.cov:
        factor = replace(factor, relation=relation_of(block.cov, covariances, labels, name))
    return factor


def _refuse_intercept_column(block: Block, columns: Columns) -> None:
    """A column called Intercept inside a block would be taken for the constant, and its effect lost."""
    constant = 1 if block.terms[0] == "1" else 0
    if any(term == names.INTERCEPT and where.start >= constant for term, where, _ in columns.terms):
        raise DataError(
            f"the block ({block.expression} | {block.factor}) has a column called {names.INTERCEPT!r}, the name of the "
            "constant; rename the column"
        )


def _codes(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple]:
    """Index vector and groups of a factor; an interaction has only the cells that occur, keyed by tuples."""
    if len(columns) == 1:
        categories = frame[columns[0]].cat
        return categories.codes.to_numpy(dtype=np.int64), tuple(categories.categories)
    parts = [frame[column].cat for column in columns]
    flat = np.ravel_multi_index(
        [part.codes.to_numpy(dtype=np.int64) for part in parts], [len(part.categories) for part in parts]
    )
    cells, codes = np.unique(flat, return_inverse=True)
    indices = np.unravel_index(cells, [len(part.categories) for part in parts])
    levels = zip(*(part.categories[index] for part, index in zip(parts, indices, strict=True)), strict=True)
    return codes.astype(np.int64), tuple(levels)


def _check_rank(design: Design) -> None:
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

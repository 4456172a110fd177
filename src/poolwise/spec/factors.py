"""Grouping factors: which rows are of which group, the columns of a group's effects, and what is said of the groups."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.basis import centring
from poolwise.algebra.theta import BlockStructure
from poolwise.data.columns import UNUSABLE, kind_of
from poolwise.data.grouping import label_text, label_texts
from poolwise.errors import DataError
from poolwise.priors.scale import within_group_sd
from poolwise.spec.evaluate import Columns, evaluate
from poolwise.spec.formula import Block, Formula
from poolwise.spec.group_sds import SdRegression, sd_regression
from poolwise.spec.kinds import Kinds, kinds_of
from poolwise.spec.members import Members, union_of, weights_of
from poolwise.spec.relation import Relation, relation_of

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

    def sd_within(self, k: int) -> float:
        """Pooled sd of column k of Z within groups; its total sd where it does not vary within any."""
        return within_group_sd(self.Z[:, k], self.codes)

    @property
    def centring(self) -> Array:
        """Matrix (q, q) that subtracts the means of the columns of Z in each block that has a column of ones."""
        return centring(self.Z, self.structure)

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
                    "(a label that was not seen stands for a new group); with a population of groups, "
                    "groups='population_mean' and groups='integrated' do without it"
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


def grouping_factors(
    formula: Formula, frame: pd.DataFrame, covariances: Mapping[str, pd.DataFrame] | None
) -> Iterator[GroupingFactor]:
    """The grouping factors of a formula on a checked table, in order of appearance.

    Raises
    ------
    DataError
        For what describes groups and does not fit them, and for a column whose name is the constant's.
    """
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


def rows_of(factor: GroupingFactor, rows: NDArray) -> GroupingFactor:
    """The same groups and columns with these rows only."""
    members = factor.members
    if members is not None:
        members = replace(members, weights=members.weights[rows])
    return replace(factor, codes=factor.codes[rows], Z=factor.Z[rows], members=members)

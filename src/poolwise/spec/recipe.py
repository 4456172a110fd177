"""How columns are made from rows, without the rows: formula, levels, and what the transformations learned.

formulae needs a table to make sense of an expression. It gets one that only stands for the data: every level occurs,
and numbers lie close to their column's mean, where whatever can be evaluated for the rows can be evaluated too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import CATEGORICAL, NUMBER, TEXT, describe_rows, describe_values, kind_of
from poolwise.data.partitions import Piece
from poolwise.data.scan import Scan
from poolwise.data.validate import CheckedTable, check_table
from poolwise.errors import DataError, PoolwiseError
from poolwise.spec import syntax
from poolwise.spec.design import Design, build_design
from poolwise.spec.evaluate import Columns, evaluate
from poolwise.spec.formula import Formula, parse_expression
from poolwise.spec.learn import set_states, states_of
from poolwise.spec.response import response_expression
from poolwise.spec.syntax import Call, render

# Rows that stand for the data, at least.
FEWEST = 64
# Share of its sd by which a number lies about its mean there.
NEAR = 0.01


@dataclass(frozen=True)
class ColumnNote:
    """What is kept of a column: its kind, levels (grouping columns too), mean and sd of numbers."""

    kind: str
    levels: tuple | None = None
    ordered: bool = False
    mean: float = 0.0
    sd: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """From rows to the columns of a design.

    Parameters
    ----------
    formula : Formula
        Parsed.
    weights : str or None
        Column of precision weights.
    columns : mapping of str to ColumnNote
        What is known of each column.
    states : tuple of tuple of dict
        What the transformations of each expression learned: common part, blocks in order.
    """

    formula: Formula
    weights: str | None
    columns: Mapping[str, ColumnNote]
    states: tuple[tuple[dict, ...], ...] = ()

    @property
    def weight_column(self) -> str | None:
        """Column of precision or frequency weights."""
        return self.weights or self.formula.weights

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Grouping columns, whose codes tell the cells apart."""
        return tuple(dict.fromkeys(column for block in self.formula.blocks for column in block.columns))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of levels of each grouping column."""
        return tuple(len(self.columns[name].levels or ()) for name in self.group_columns)

    @property
    def learned(self) -> list[str]:
        """What was learned from the data, in words."""
        said = []
        for name, note in self.columns.items():
            if note.levels is not None:
                what = "groups" if name in self.group_columns else "levels"
                said.append(f"{len(note.levels)} {what} of {name}")
        for states in self.states:
            for state in states:
                numbers = {key: value for key, value in state.items() if isinstance(value, float)}
                shown = ", ".join(f"{key} {value:.6g}" for key, value in numbers.items())
                said.append(f"{_WORDS[state['call']]}" + (f" ({shown})" if shown else ""))
        return list(dict.fromkeys(said))


_WORDS = {"Center": "center()", "Scale": "scale()", "Polynomial": "poly()", "BSpline": "the knots of bs()"}


@dataclass(frozen=True, eq=False)
class Evaluator:
    """A recipe ready to use.

    Parameters
    ----------
    recipe : Recipe
    design : Design
        Of the rows that stand for the data; its names, terms, levels and structure are the data's.
    response, offsets : Columns, tuple of Columns
        How they are evaluated.
    u : tuple of (Columns, int)
        Each distinct column that varies, of X and the Z's: whose matrix, and which column there.
    x, z : tuple of int, tuple of tuple of int
        Place of each column of X and of each factor's Z among these; -1 for a column of ones.
    """

    recipe: Recipe
    design: Design
    response: Columns
    offsets: tuple[Columns, ...]
    u: tuple[tuple[Columns, int], ...]
    x: tuple[int, ...]
    z: tuple[tuple[int, ...], ...]

    @property
    def learning(self) -> list[Columns]:
        """The expressions whose transformations may learn."""
        return _expressions(self.design)

    def with_states(self) -> Recipe:
        """The recipe with what was learned."""
        return replace(self.recipe, states=tuple(tuple(states_of(part)) for part in self.learning))

    def rows(self, piece: Piece) -> tuple[NDArray, NDArray, NDArray | None]:
        """Columns (n, d), response without offset last; cell of each row; weights.

        Raises
        ------
        DataError
            Names the partition, and what in it cannot be evaluated.
        """
        frame = piece.frame
        try:
            evaluated = {id(part): part.apply(frame) for part in {id(part): part for part, _ in self.u}.values()}
            y = self.response.apply(frame)[:, 0]
            for offset in self.offsets:
                y = y - offset.apply(frame)[:, 0]
            U = np.column_stack([*(evaluated[id(part)][:, k] for part, k in self.u), y])
            weights = self.recipe.weight_column
            w = None if weights is None else frame[weights].to_numpy(dtype=np.float64)
            return U, self._keys(frame), w
        except PoolwiseError as error:
            where = f" (rows counted from row {piece.first})" if piece.first else ""
            raise DataError(f"{piece.partition}: {error}{where}") from error

    def _keys(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        key = np.zeros(len(frame), dtype=np.int64)
        for name in self.recipe.group_columns:
            note = self.recipe.columns[name]
            levels = pd.Index(note.levels)
            values = frame[name]
            if isinstance(values.dtype, pd.CategoricalDtype):
                codes = levels.get_indexer(values.cat.categories)[values.cat.codes.to_numpy()]
            else:
                codes = levels.get_indexer(pd.Index(values.to_numpy()))
            if (codes < 0).any():
                rows = np.flatnonzero(codes < 0)
                raise DataError(
                    f"column {name!r} has groups that are not among the {len(levels)} known ones: "
                    f"{describe_values(pd.unique(values.iloc[rows]), first=5)} ({describe_rows(rows)})"
                )
            key = key * len(levels) + codes
        return key


def refuse_uncollapsible(formula: Formula) -> None:
    """Refuse ``gr(...)`` and ``mm(...)``, whose groups are no independent draws, smooth functions and labels."""
    if formula.event:
        raise DataError(
            f"collapse() takes a response of numbers; make {formula.response!r} 0 and 1 in the source, the event "
            f"{formula.event!r} being 1"
        )
    for smooth in formula.smooths:
        raise DataError(
            f"collapse() takes a mean that is linear in its coefficients, and the formula has {render(smooth)}; fit "
            "such a model from its rows"
        )
    for block in formula.blocks:
        if block.multiple or block.by or block.cov or block.sd:
            raise DataError(
                f"collapse() takes groups that are independent draws from one normal distribution, and the formula has "
                f"{block}; fit such a model from its rows"
            )


def _expressions(design: Design) -> list[Columns]:
    return [design.common, *(columns for factor in design.factors for _, columns in factor.parts)]


def label_columns(formula: Formula) -> set[str]:
    """Columns whose numbers are labels: grouping factors, and what stands in ``C()``, ``T()``, ``S()``."""
    found = set(formula.factors)
    for expression in (formula.common, *(block.expression for block in formula.blocks)):
        for term in parse_expression(expression, trusted=formula.trusted).terms:
            for component in term:
                if isinstance(component, Call) and component.function in syntax.CATEGORICAL:
                    found |= set(syntax.names_in(component))
    return found


def recipe_of_scan(formula: Formula, weights: str | None, found: Scan) -> tuple[Recipe, tuple[str, ...]]:
    """Settle kinds and levels from the first walk; also notes for the reader.

    Raises
    ------
    DataError
        For everything that :class:`poolwise.Model` refuses of a table as a whole.
    """
    if found.rows == 1:
        raise DataError("the table has one complete row; a model needs more")
    labels = label_columns(formula)
    witness: dict[str, Any] = {}
    length = 2
    for name, known in found.columns.items():
        if known.kind == CATEGORICAL:
            occurring = [level for level, occurs in known.levels.items() if occurs]
            values: Any = pd.Categorical(occurring, categories=list(known.levels), ordered=known.ordered)
        elif known.kind == NUMBER and name not in labels:
            values = np.array([known.low, known.high])
        else:
            values = np.array(list(known.levels), dtype=object if known.kind == TEXT else None)
        witness[name] = values
        length = max(length, len(values))
    # Every row twice: whether groups have several rows is known once they are counted.
    twice = np.arange(2 * length) // 2
    frame = pd.DataFrame({name: values[twice % len(values)] for name, values in witness.items()})
    table = check_table(
        frame,
        response=formula.response_columns,
        predictors=formula.predictors,
        factors=formula.cells,
        weights=weights or formula.weights,
        constant_ok=formula.offset_columns,
    )
    notes = {}
    for name, known in found.columns.items():
        settled: pd.Series = table.frame[name]
        levels: tuple | None = None
        if kind_of(settled) == CATEGORICAL:
            levels = tuple(settled.cat.categories.tolist())
        elif known.kind == TEXT or name in labels:
            levels = tuple(sorted(set(settled.tolist())))
        numbers = known.kind == NUMBER and name not in formula.factors
        notes[name] = ColumnNote(
            known.kind, levels, known.ordered, known.mean if numbers else 0.0, known.sd if numbers else 0.0
        )
    return Recipe(formula, weights, notes), table.notes


def stand_in(recipe: Recipe, cells: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """Rows that stand for the data; the first have the groups of ``cells`` (C, grouping columns), in their order."""
    notes = recipe.columns
    length = max([FEWEST, *(len(note.levels) for note in notes.values() if note.levels)])
    cells = np.zeros((0, len(recipe.group_columns)), dtype=np.int64) if cells is None else cells
    length = max(length, len(cells))
    position = np.arange(length)
    columns: dict[str, object] = {}
    for k, (name, note) in enumerate(notes.items()):
        if note.levels is not None:
            codes = position % len(note.levels)
            if name in recipe.group_columns:
                own = recipe.group_columns.index(name)
                codes = cells[position % len(cells), own] if len(cells) else codes
                columns[name] = pd.Categorical.from_codes(codes, list(note.levels))
            elif note.kind == CATEGORICAL:
                columns[name] = pd.Categorical.from_codes(codes, list(note.levels), ordered=note.ordered)
            else:
                columns[name] = np.array(note.levels, dtype=object if note.kind == TEXT else None)[codes]
        else:
            # Different irrational steps: no column is a function of another.
            step = np.sqrt(_PRIMES[k % len(_PRIMES)] + k // len(_PRIMES) * 100)
            columns[name] = note.mean + NEAR * (note.sd or 1.0) * (position * step % 1.0 - 0.5)
    return pd.DataFrame(columns)


_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)


def evaluator(recipe: Recipe, cells: NDArray[np.int64] | None = None) -> Evaluator:
    """Make a recipe ready to use.

    Parameters
    ----------
    recipe : Recipe
    cells : ndarray of int (C, grouping columns), optional
        Codes of the cells that occur, once they are known: an interaction's groups are those.

    Returns
    -------
    Evaluator

    Raises
    ------
    DataError
        For models whose rows do not collapse to sums.
    """
    formula = recipe.formula
    refuse_uncollapsible(formula)
    frame = stand_in(recipe, cells)
    table = CheckedTable(frame, np.arange(len(frame)))
    design = build_design(formula, table, recipe.weights, rank=False)
    response = evaluate(f"0 + {response_expression(formula)}", frame, trusted=formula.trusted)
    offsets = tuple(evaluate(f"0 + {expression}", frame, trusted=formula.trusted) for expression in formula.offsets)
    for part in (response, *offsets):
        if part.stateful:
            raise DataError(
                f"{part.stateful[0]} of the response or an offset would have to learn from all rows; put it into a "
                "column of the data instead"
            )
    if recipe.states:
        expressions = _expressions(design)
        if len(expressions) != len(recipe.states):
            raise DataError("the learned transformations do not fit the formula")
        for part, states in zip(expressions, recipe.states, strict=True):
            set_states(part, states)
    u: list[tuple[Columns, int]] = []
    seen: dict[str, list[int]] = {}

    def place(part: Columns, k: int) -> int:
        column, name = part.matrix[:, k], part.names[k]
        if bool((column == 1.0).all()):
            return -1
        for known in seen.get(name, ()):
            other, m = u[known]
            if np.array_equal(other.matrix[:, m], column):
                return known
        u.append((part, k))
        seen.setdefault(name, []).append(len(u) - 1)
        return len(u) - 1

    x = tuple(place(design.common, k) for k in range(design.X.shape[1]))
    z = tuple(
        tuple(place(columns, k) for _, columns in factor.parts for k in range(columns.matrix.shape[1]))
        for factor in design.factors
    )
    return Evaluator(recipe, design, response, offsets, tuple(u), x, z)


def refuse_other(own: Recipe, agreed: Recipe, who: str) -> None:
    """Refuse sums of another model, or of columns of another type."""
    if own.formula != agreed.formula or own.weights != agreed.weights:
        raise DataError(
            f"{who} was collapsed for another model: {agreed.formula.canonical}"
            f"{f' with weights {agreed.weights!r}' if agreed.weights else ''}, not {own.formula.canonical}"
            f"{f' with weights {own.weights!r}' if own.weights else ''}"
        )
    for name, note in agreed.columns.items():
        if own.columns[name].kind != note.kind:
            raise DataError(
                f"{who}: column {name!r} holds another type there ({note.kind}, not {own.columns[name].kind})"
            )

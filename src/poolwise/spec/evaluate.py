"""Numbers of a one-sided expression such as ``1 + x + f``, and the same columns again for a new table.

The contrasts and stateful transformations are those of formulae. It is handed aliases instead of the user's columns,
one set for each component, because it keys terms by their printed text: there a column called ``Intercept`` merges
with the intercept, and ``I((x + 1) * 2)`` with ``I(x + 1 * 2)``.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import formulae
import numpy as np
import pandas as pd
from formulae.environment import Environment
from numpy.typing import NDArray

from poolwise.data.columns import count, describe_rows
from poolwise.data.validate import LARGEST
from poolwise.errors import DataError
from poolwise.names import INTERCEPT
from poolwise.spec import syntax
from poolwise.spec.expansion import Component, Terms
from poolwise.spec.formula import parse_expression
from poolwise.spec.sources import Source, aliased, learn, renew
from poolwise.spec.syntax import Call, Name, render

Array = NDArray[np.float64]

_FUNCTIONS = ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos")
# The functions that formulae does not bring itself.
NAMESPACE = {name: getattr(np, name) for name in _FUNCTIONS}
_ALIAS = re.compile(r"c(\d+)v\d+")
# What formulae and the transformations raise for arguments that do not fit the data.
_FAILURES = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, NotImplementedError)


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a design matrix and how to make them again.

    Parameters
    ----------
    matrix : ndarray (n, k)
        The numbers.
    names : tuple of str (k,)
        Flat labels as formulae gives them: ``Intercept``, ``x``, ``f[b]``, ``poly(x, 2)[1]``, without back-quotes.
    terms : tuple of (str, slice, tuple of str or None)
        Name of each term, its columns, and their labels; None for one plain numeric column.
    columns_used : tuple of str
        Columns of the table.
    stateful : tuple
        The calls that learned from the data (scale, center, poly, bs), those inside another before it; each has its
        memory in ``stateful_transform``.
    """

    matrix: Array
    names: tuple[str, ...]
    terms: tuple[tuple[str, slice, tuple[str, ...] | None], ...]
    columns_used: tuple[str, ...]
    _again: Callable[[pd.DataFrame], Array]
    stateful: tuple = ()

    def apply(self, frame: pd.DataFrame) -> Array:
        """Evaluate on a new table with what was learned: means and scales, knots, levels and their order.

        Parameters
        ----------
        frame : DataFrame (m rows)
            With the columns of :attr:`columns_used`.

        Returns
        -------
        ndarray (m, k)

        Raises
        ------
        DataError
            For a missing column, a missing or infinite value, an unseen level (named, with its rows and the known
            levels), or a column that changed from number to text or back.
        """
        matrix = self._again(frame) if len(frame) else np.empty((0, len(self.names)))
        _check_finite(matrix, self.terms, frame, self.columns_used)
        if matrix.size and np.abs(matrix).max() > LARGEST:
            row = int(np.flatnonzero((np.abs(matrix) > LARGEST).any(axis=1))[0])
            raise DataError(f"row {row} has predictors beyond {LARGEST:g}, whose squares are beyond floating point")
        return matrix

    def emptied(self) -> "Columns":
        """No columns, of as many rows."""
        return Columns(self.matrix[:, :0], (), (), (), lambda new: np.empty((len(new), 0)))

    def without_intercept(self) -> "Columns":
        """The same columns without the constant, which stands first."""
        terms = tuple((name, slice(at.start - 1, at.stop - 1), levels) for name, at, levels in self.terms[1:])
        return Columns(
            self.matrix[:, 1:],
            self.names[1:],
            terms,
            self.columns_used,
            lambda new: self._again(new)[:, 1:],
            self.stateful,
        )


def evaluate(expression: str, frame: pd.DataFrame, *, trusted: bool = False) -> Columns:
    """Evaluate the terms of an expression on a table.

    Parameters
    ----------
    expression : str
        Canonical or not: ``1 + x + f``, ``0 + x``, ``1``. An intercept is implied unless ``0`` is written.
    frame : DataFrame (n rows)
        Integers and booleans count as float64 numbers; text and categoricals are coded by treatment contrasts
        (all levels where no intercept is spanned), in the user's order for categoricals, else sorted.
    trusted : bool, default False
        Whether dotted calls of numpy (``np.log10(x)``) pass.

    Returns
    -------
    Columns

    Raises
    ------
    DataError
        For missing values, a column of one level, text in arithmetic, and terms that are not finite (log of 0).
    FormulaError
        For anything outside the grammar.

    Examples
    --------
    >>> columns = evaluate("1 + f + x:f", pd.DataFrame({"x": [1, 2, 3, 4], "f": ["a", "b", "a", "b"]}))
    >>> columns.names
    ('Intercept', 'f[b]', 'x:f[a]', 'x:f[b]')
    """
    terms = parse_expression(expression, trusted=trusted)
    if len(frame) == 0:
        raise DataError("the table has no rows")
    if not terms.terms:
        return _constant(terms.intercept, len(frame))
    components = tuple(dict.fromkeys(component for term in terms.terms for component in term))
    sources = _sources(components, frame)
    design = _first_design(terms, components, sources, frame, expression, trusted=trusted)
    names, described = _describe(design, components, terms)
    used = tuple(dict.fromkeys(source.column for source in sources.values()))
    matrix = np.asarray(design.design_matrix, dtype=np.float64)
    _check_finite(matrix, described, frame, used)
    stateful = tuple(_stateful(design))
    return Columns(matrix, names, described, used, lambda new: _next_design(design, sources, new, expression), stateful)


def _constant(intercept: bool, n: int) -> Columns:
    names = (INTERCEPT,) if intercept else ()
    terms = ((INTERCEPT, slice(0, 1), None),) if intercept else ()
    return Columns(np.ones((n, len(names))), names, terms, (), lambda new: np.ones((len(new), len(names))))


def _sources(components: tuple[Component, ...], frame: pd.DataFrame) -> dict[str, Source]:
    """Columns that each component reads, by alias."""
    found = {}
    for i, component in enumerate(components):
        is_column = isinstance(component, Name)
        categorical = isinstance(component, Call) and component.function in syntax.CATEGORICAL
        for j, column in enumerate(dict.fromkeys(syntax.names_in(component))):
            source = learn(frame, column, render(component), may_be_levels=is_column, must_be_levels=categorical)
            found[f"c{i}v{j}"] = source
        if categorical:
            _check_reference(component, found[f"c{i}v0"])
        if isinstance(component, Call) and component.function == "poly":
            _check_degree(component, frame)
    return found


def _check_degree(component: Call, frame: pd.DataFrame) -> None:
    """Refuse a polynomial through more points than there are: its last columns would be rounding noise."""
    given = [*component.arguments[1:2], *(value for key, value in component.keywords if key == "degree")]
    degree = render(given[0]) if given else "1"
    if not degree.isdecimal() or int(degree) < 1:
        raise DataError(f"{render(component)}: the degree must be a positive integer, not {degree}")
    columns = list(dict.fromkeys(syntax.names_in(component)))
    distinct = len(frame[columns].drop_duplicates())
    if int(degree) >= distinct:
        raise DataError(
            f"{render(component)} needs more than {degree} distinct values of {' and '.join(map(repr, columns))}, "
            f"which has {distinct}; lower the degree"
        )


def _check_reference(component: Component, source: Source) -> None:
    """Refuse a reference level that is not there; formulae would print to the screen and fail obscurely."""
    assert isinstance(component, Call) and source.levels is not None
    options = [*component.arguments[1:], *(value for _, value in component.keywords)]
    inner = [value for option in options if isinstance(option, Call) for value in option.arguments]
    inner += [value for option in options if isinstance(option, Call) for _, value in option.keywords]
    for option in (*options, *inner):
        if not isinstance(option, syntax.Literal) or option.kind == "contrast" or option.text == "None":
            continue
        text = option.text.strip('"')
        is_text = option.kind == "string"
        known = [level for level in source.levels if isinstance(level, str) == is_text]
        if not any(text == level if is_text else str(level) in (text, f"{text}.0") for level in known):
            listed = ", ".join(map(repr, source.levels))
            raise DataError(
                f"{render(component)}: {option.text} is no level of column {source.column!r}; levels: {listed}"
            )


def _first_design(
    terms: Terms,
    components: tuple[Component, ...],
    sources: dict[str, Source],
    frame: pd.DataFrame,
    expression: str,
    *,
    trusted: bool,
):
    def alias_text(component: Component) -> str:
        i = components.index(component)
        columns = list(dict.fromkeys(syntax.names_in(component)))
        return render(component, lambda name: f"c{i}v{columns.index(name)}")

    text = " + ".join(["1" if terms.intercept else "0", *(":".join(map(alias_text, term)) for term in terms.terms)])
    environment = Environment([NAMESPACE | ({"np": np, "numpy": np} if trusted else {})])
    return _guarded(
        lambda: formulae.design_matrices(text, aliased(sources, frame), na_action="pass", env=environment).common,
        expression,
    )


def _next_design(design, sources: dict[str, Source], frame: pd.DataFrame, expression: str) -> Array:
    new = renew(sources, frame)
    found = _guarded(lambda: design.evaluate_new_data(new).design_matrix, expression)
    return np.asarray(found, dtype=np.float64)


def _stateful(design) -> Iterator:
    """Calls of formulae that keep what they learned, inner ones first."""

    def walk(part) -> Iterator:
        for inner in [*getattr(part, "args", ()), *getattr(part, "kwargs", {}).values()]:
            yield from walk(inner)
        if getattr(part, "stateful_transform", None) is not None:
            yield part

    for term in design.terms.values():
        for component in getattr(term, "components", ()):
            yield from walk(getattr(component, "call", None))


def _guarded(work: Callable, expression: str):
    """Run formulae; its errors become ours, and what is not finite is reported afterwards by term and row."""
    try:
        with np.errstate(all="ignore"):
            return work()
    except _FAILURES as error:
        detail = re.sub(r"c\d+v\d+", "column", str(error))
        raise DataError(f"the expression {expression!r} cannot be evaluated: {detail}") from error


def _describe(design, components: tuple[Component, ...], terms: Terms):
    """Labels of the columns, and name, slice and levels of each term."""
    shown = [render(component, str) for component in components]
    plain = [":".join(render(component, str) for component in term) for term in terms.terms]
    if len(set(plain)) < len(plain):
        # A column called `a:b` beside the interaction a:b: the back-quotes keep them apart.
        shown = [render(component) for component in components]
    names: list[str] = []
    described = []
    for term in design.terms.values():
        where = design.slices[term.name]
        name, suffixes = _suffixes(term, shown)
        names += [":".join(part + end for part, end in zip(name, ends, strict=True)) for ends in suffixes]
        levels = tuple(", ".join(end[1:-1] for end in ends if end) for ends in suffixes)
        described.append((":".join(name), where, levels if any(levels) else None))
    return tuple(names), tuple(described)


def _suffixes(term, shown: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of a term's components, and for each column the bracketed ends of their labels."""
    if term.kind == "intercept":
        return [INTERCEPT], [("",)]
    names, ends = [], []
    for component in term.components:
        alias = next(match for name in component.var_names if (match := _ALIAS.fullmatch(name)))
        names.append(shown[int(alias.group(1))])
        ends.append([label[len(component.name) :] for label in component.labels])
    return names, list(itertools.product(*ends))


def _check_finite(matrix: Array, terms, frame: pd.DataFrame, used: tuple[str, ...]) -> None:
    """Refuse NaN and infinity made by a transformation, naming term, rows and the values they came from."""
    if np.isfinite(matrix).all():
        return
    problems = []
    for name, where, _ in terms:
        rows = np.flatnonzero(~np.isfinite(matrix[:, where]).all(axis=1))
        if len(rows):
            words = set(re.findall(r"\w+", name))
            values = [f"{column!r} is {frame[column].iloc[rows[0]]}" for column in used if column in words]
            source = f", where {' and '.join(values)} in row {rows[0]}" if values else ""
            problems.append(
                f"the term {name!r} is not finite in {count(len(rows), 'row')} ({describe_rows(rows)})" + source
            )
    listed = problems[0] if len(problems) == 1 else "\n- ".join(["these terms are not finite:", *problems])
    raise DataError(f"{listed}; change the values or the transformation, or leave these rows out")

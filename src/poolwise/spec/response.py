"""The response of a formula as numbers: values, trials, censoring, bounds; checked against what its family holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.data.columns import TEXT, count, describe_rows, describe_values, kind_of
from poolwise.errors import DataError
from poolwise.spec.evaluate import evaluate
from poolwise.spec.families import FAMILIES, Family, family_of
from poolwise.spec.formula import Formula
from poolwise.spec.parser import Parser
from poolwise.spec.syntax import Call, Literal, Name, Node, render

Array = NDArray[np.float64]
TRIALS = ("p", "prop", "proportion", "cbind")
COUNTS = ("c", "counts")
STATUS = {"none": 0, "left": -1, "right": 1}


@dataclass(frozen=True, eq=False)
class Response:
    """The response of each row.

    Parameters
    ----------
    y : ndarray (n,)
        Numbers; successes out of trials; 0, 1, ... for the levels of an ordinal response; totals of counts.
    trials : ndarray (n,) or None
        Trials of a binomial response.
    levels : tuple or None
        Levels of an ordinal response, in order.
    status : ndarray of int (n,) or None
        Censoring: -1 left, 0 none, 1 right.
    bounds : tuple of two ndarray (n,) or None
        Lower and upper bounds of a truncated response.
    categories : tuple of str or None
        Of a categorical response, the reference first; ``y`` numbers them from 0.
    counts : ndarray (n, K) or None
        How many of each category, of a response c(a, b, ...).
    """

    y: Array
    trials: Array | None = None
    levels: tuple | None = None
    status: NDArray[np.int64] | None = None
    bounds: tuple[Array, Array] | None = None
    categories: tuple[str, ...] | None = None
    counts: Array | None = None

    @property
    def observed(self) -> Array:
        """What is observed, (n,), or (n, K) of counts by category."""
        return self.y if self.counts is None else self.counts

    @property
    def plain(self) -> bool:
        """Whether every row is one value, neither censored nor truncated."""
        return self.status is None and self.bounds is None

    @property
    def scaled(self) -> Array:
        """Values on the scale that predictions are on: shares of the trials, levels counted from 1."""
        if self.trials is not None:
            return self.y / self.trials
        return self.y + 1 if self.levels is not None else self.y


def read_response(
    formula: Formula,
    frame: pd.DataFrame,
    family: Family,
    rows: NDArray[np.int64],
    weights: Array | None = None,
    *,
    whole: bool = True,
) -> Response:
    """Evaluate the response of a formula and check it against its family.

    Parameters
    ----------
    formula : Formula
        The parsed formula.
    frame : DataFrame (n rows)
        The checked columns.
    family : Family
        What the response must hold.
    rows : ndarray of int (n,)
        Row numbers of the caller's table, for messages.
    weights : ndarray (n,), optional
        Of a binomial response given as shares: the trials, as in R's glm.
    whole : bool, default True
        Whether these are all rows, whose response has to vary.

    Returns
    -------
    Response

    Raises
    ------
    DataError
        For values outside the family's support, trials below successes, and forms the family does not have.
    """
    node, _ = Parser(f"{formula.response} ~ 1", trusted=formula.trusted).two_sided()
    function = node.function if isinstance(node, Call) else ""
    arguments = node.arguments if isinstance(node, Call) else ()

    def numbers(part: Node) -> Array:
        if isinstance(part, Literal):
            return np.full(len(frame), float(part.text))
        text = render(part) if isinstance(part, Name | Call) else f"I({render(part)})"
        values = evaluate(f"0 + {text}", frame, trusted=formula.trusted).matrix
        if values.shape[1] != 1:
            raise DataError(f"the response {text!r} must be one numeric column, it evaluates to {values.shape[1]}")
        return values[:, 0]

    if family.holds == "trials":
        response = _trials(function, arguments, numbers, node, family, weights)
    elif function in TRIALS:
        raise DataError(
            f"the response {formula.response} counts successes in trials, which family {family.name!r} does not have; "
            "use family='binomial'"
        )
    elif family.holds == "counts":
        response = _counts(function, arguments, numbers, node, family)
    elif function in COUNTS:
        raise DataError(
            f"the response {formula.response} counts several categories, which family {family.name!r} does not have; "
            "use family='multinomial' or 'dirichlet_multinomial'"
        )
    elif family.holds == "levels":
        response = _levels(node, frame)
    elif family.categorical:
        response = _categories(node, frame)
    elif function == "censored":
        response = Response(numbers(arguments[0]), status=_status(arguments[1:], frame))
    elif function == "truncated":
        response = _truncated(node, arguments, numbers, rows)
    else:
        response = Response(numbers(node))
    _check_support(response, family, formula.response, rows)
    if whole and response.trials is not None:
        refuse_same_trials(response.y, response.trials, formula.response)
    return response


def refuse_same_trials(y: Array, trials: Array, said: str) -> None:
    """Refuse trials that all succeed or all fail."""
    if not y.any() or (y == trials).all():
        raise DataError(
            f"the response {said} is {'0' if not y.any() else 'all trials'} in every row; there is nothing to model"
        )


def response_expression(formula: Formula) -> str:
    """The response as one numeric expression.

    Raises
    ------
    DataError
        If it is censored, truncated or counts trials.
    """
    node, _ = Parser(f"{formula.response} ~ 1", trusted=formula.trusted).two_sided()
    if isinstance(node, Call) and node.function in (*TRIALS, *COUNTS, "censored", "truncated"):
        raise DataError(f"the response {formula.response} is not one number a row, which alone collapses to sums")
    return render(node) if isinstance(node, Name | Call) else f"I({render(node)})"


def trials_of(formula: Formula, frame: pd.DataFrame) -> Array:
    """Trials of the rows of a new table, or totals of its counts, for predictions of the response.

    Raises
    ------
    DataError
        If the formula has no trials, or the table lacks their column.
    """
    node, _ = Parser(f"{formula.response} ~ 1", trusted=formula.trusted).two_sided()
    if not (isinstance(node, Call) and node.function in (*TRIALS, *COUNTS)):
        raise DataError("the trials of new rows are not known: the response was given as shares with weights=")
    parts = []
    for part in node.arguments if node.function in ("cbind", *COUNTS) else node.arguments[1:]:
        if isinstance(part, Literal):
            parts.append(np.full(len(frame), float(part.text)))
            continue
        text = render(part) if isinstance(part, Name | Call) else f"I({render(part)})"
        parts.append(evaluate(f"0 + {text}", frame).matrix[:, 0])
    return np.sum(parts, axis=0)


def _trials(
    function: str,
    arguments: tuple[Node, ...],
    numbers: Callable[[Node], Array],
    node: Node,
    family: Family,
    weights: Array | None,
) -> Response:
    if function == "cbind":
        successes, failures = map(numbers, arguments)
        return Response(successes, successes + failures)
    if function in TRIALS:
        successes, trials = map(numbers, arguments)
        return Response(successes, trials)
    if weights is None:
        raise DataError(
            f"family {family.name!r} needs successes and trials: write p(successes, trials) ~ ... or cbind(successes, "
            "failures) ~ ..., or give shares as the response with weights= naming the column of trials; a response of "
            "0 and 1 is for family 'bernoulli'"
        )
    shares = numbers(node)
    successes = np.round(shares * weights)
    off = np.flatnonzero(np.abs(shares * weights - successes) > 1e-6 * np.maximum(weights, 1))
    if len(off):
        raise DataError(
            f"the share times the trials is not a whole number in {count(len(off), 'row')} ({describe_rows(off)}); "
            "write p(successes, trials) ~ ... instead"
        )
    return Response(successes, weights)


def _levels(node: Node, frame: pd.DataFrame) -> Response:
    if not isinstance(node, Name):
        raise DataError(f"an ordinal response is a column, not {render(node)}")
    values = frame[node.name]
    if kind_of(values) == TEXT:
        seen = describe_values(sorted(set(values)), first=5)
        raise DataError(
            f"the response {node.name!r} holds text ({seen}) without an order; make it a "
            "pd.Categorical(..., categories=[lowest, ..., highest], ordered=True)"
        )
    if isinstance(values.dtype, pd.CategoricalDtype):
        return Response(values.cat.codes.to_numpy(np.float64), levels=tuple(values.cat.categories))
    if (values % 1 != 0).any():
        raise DataError(
            f"the response {node.name!r} has fractions; the levels of an ordinal response are whole numbers"
        )
    levels, codes = np.unique(values.to_numpy(), return_inverse=True)
    return Response(codes.astype(np.float64), levels=tuple(int(level) for level in levels))


def _categories(node: Node, frame: pd.DataFrame) -> Response:
    """Codes in the order of a pd.Categorical, else sorted; integers and booleans are labels too."""
    if not isinstance(node, Name):
        raise DataError(f"a categorical response is a column, not {render(node)}")
    values = frame[node.name]
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, levels = values.cat.codes.to_numpy(), list(values.cat.categories)
    else:
        if kind_of(values) != TEXT and (values % 1 != 0).any():
            raise DataError(f"the response {node.name!r} has fractions; a category is a text or a whole number")
        found, codes = np.unique(values.to_numpy(), return_inverse=True)
        levels = list(found)
    whole = [int(level) if isinstance(level, float) and level.is_integer() else level for level in levels]
    labels = tuple(str(level) for level in whole)
    if len(set(labels)) < len(labels):
        raise DataError(f"two categories of the response {node.name!r} read the same as text; rename one")
    return Response(codes.astype(np.float64), categories=labels)


def _counts(
    function: str, arguments: tuple[Node, ...], numbers: Callable[[Node], Array], node: Node, family: Family
) -> Response:
    if function not in COUNTS:
        raise DataError(
            f"family {family.name!r} needs the counts of every category: write c(first, second, ...) ~ ..., not "
            f"{render(node)}; a column of one category a row is family='categorical'"
        )
    labels = tuple(render(part) for part in arguments)
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DataError(
            f"the response {render(node)} counts {describe_values(twice, first=3)} twice; name each category once"
        )
    counts = np.column_stack([numbers(part) for part in arguments])
    return Response(counts.sum(axis=1), categories=labels, counts=counts)


def _status(arguments: tuple[Node, ...], frame: pd.DataFrame) -> NDArray[np.int64]:
    if len(arguments) != 1 or not isinstance(arguments[0], Name):
        raise DataError(
            "interval censoring is not available; write censored(y, status), status one of none, left, right"
        )
    values = frame[arguments[0].name]
    known: dict[object, int] = {-1: -1, 0: 0, 1: 1}
    known.update(STATUS)
    unknown = [value for value in pd.unique(values) if value not in known]
    if unknown:
        raise DataError(
            f"the censoring status {arguments[0].name!r} holds {describe_values(unknown, first=3)}; it must be "
            "'none', 'left' or 'right', or 0, -1 or 1"
        )
    return np.array([known[value] for value in values], dtype=np.int64)


def _truncated(
    node: Node, arguments: tuple[Node, ...], numbers: Callable[[Node], Array], rows: NDArray[np.int64]
) -> Response:
    values = numbers(arguments[0])
    given = dict(zip(("lb", "ub"), arguments[1:], strict=False))
    if isinstance(node, Call):
        given |= dict(node.keywords)
    lower, upper = np.full(len(values), -np.inf), np.full(len(values), np.inf)
    for name, bound in (("lb", lower), ("ub", upper)):
        part = given.get(name)
        if part is not None and not (isinstance(part, Literal) and part.text == "None"):
            bound[:] = numbers(part)
    outside = rows[(values < lower) | (values > upper)]
    if len(outside):
        raise DataError(
            f"the truncated response lies outside its bounds in {count(len(outside), 'row')} "
            f"({describe_rows(outside)}); a truncated sample has no such rows: correct the bounds, or use censored()"
        )
    return Response(values, bounds=(lower, upper))


_HOLDS: Mapping[str, tuple[Callable[[Array], NDArray[np.bool_]], str]] = {
    "real": (lambda y: np.isfinite(y), "real numbers"),
    "positive": (lambda y: y > 0, "positive numbers"),
    "nonnegative": (lambda y: y >= 0, "numbers from 0"),
    "unit": (lambda y: (y > 0) & (y < 1), "numbers between 0 and 1, both excluded"),
    "circle": (lambda y: np.abs(y) <= np.pi, "angles between -pi and pi"),
    "count": (lambda y: (y >= 0) & (y % 1 == 0), "whole numbers from 0"),
    "binary": (lambda y: (y == 0) | (y == 1), "0 and 1 (or False and True), 1 being the event"),
}


def _check_support(response: Response, family: Family, said: str, rows: NDArray[np.int64]) -> None:
    y = response.y
    if response.counts is not None:
        counts = response.counts
        for wrong, what in (
            (((counts < 0) | (counts % 1 != 0)).any(axis=1), "counts that are not whole numbers from 0"),
            (y < 1, "no count in any category"),
        ):
            if wrong.any():
                raise DataError(
                    f"the response {said} has {what} in {count(int(wrong.sum()), 'row')} ({describe_rows(rows[wrong])})"
                )
        if (counts > 0).any(axis=0).sum() < 2:
            raise DataError(f"the response {said} counts one category only; there is nothing to model")
        return
    if response.categories is not None:
        if len(response.categories) < 2:
            raise DataError(f"the response {said!r} has one category only; there is nothing to model")
        return
    if response.levels is not None:
        if len(response.levels) < 2:
            raise DataError(f"the response {said!r} has one level only; there is nothing to model")
        return
    if response.trials is not None:
        n = response.trials
        for wrong, what in (
            ((n < 1) | (n % 1 != 0), "trials that are not whole numbers from 1"),
            ((y < 0) | (y % 1 != 0), "successes that are not whole numbers from 0"),
            (y > n, "more successes than trials"),
        ):
            if wrong.any():
                found = rows[wrong]
                raise DataError(
                    f"the response {said} has {what} in {count(len(found), 'row')} ({describe_rows(found)})"
                    + _swapped(y, n)
                )
        return
    fits, words = _HOLDS[family.holds]
    wrong = rows[~fits(y)]
    if len(wrong):
        values = pd.unique(y[~fits(y)])
        others = [name for name in FAMILIES if name != family.name and _serves(family_of(name), y)]
        others = sorted(others, key=lambda name: family.name not in name)[:4]
        hint = f"; families that allow them: {', '.join(map(repr, others))}" if others else ""
        raise DataError(
            f"family {family.name!r} needs {words}; the response {said!r} has {count(len(wrong), 'other value')}, such "
            f"as {describe_values(values, first=3)} ({describe_rows(wrong)}){hint}"
        )


def _swapped(y: Array, n: Array) -> str:
    return "; the order is p(successes, trials)" if (n <= y).all() else ""


def _serves(family: Family, y: Array) -> bool:
    return family.holds in _HOLDS and bool(_HOLDS[family.holds][0](y).all())

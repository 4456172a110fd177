"""Nodes of a formula's syntax tree, their canonical text, and the functions a formula may call."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from poolwise.spec.tokens import LITERALS


class Signature(NamedTuple):
    """How a function may be called: number of positional arguments and names of keyword arguments."""

    least: int
    most: int
    keywords: tuple[str, ...] = ()


_ONE = Signature(1, 1)
# Columns of a response of counts by category, c(a, b, ...) or counts(a, b, ...).
MOST_CATEGORIES = 1000
# Functions of numbers; they may be nested in each other and in arithmetic.
NUMERIC: Mapping[str, Signature] = MappingProxyType(
    dict.fromkeys(
        ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos", "scale", "center"), _ONE
    )
    | {"standardize": _ONE, "I": _ONE}
)
# Functions that make several columns or levels; each is a term (or a factor of an interaction) by itself.
_BASES = {
    "poly": Signature(1, 3, ("degree", "raw")),
    "bs": Signature(1, 2, ("df", "degree", "intercept", "lower_bound", "upper_bound")),
    "hsgp": Signature(1, 3, ("m", "L", "c", "by", "cov", "share_cov", "scale", "iso", "drop_first", "centered")),
}
CATEGORICAL: Mapping[str, Signature] = MappingProxyType(
    {"C": Signature(1, 2, ("contrast",)), "T": Signature(1, 2, ("ref",)), "S": Signature(1, 2, ("omit",))}
)
RESPONSE: Mapping[str, Signature] = MappingProxyType(
    {
        "weighted": Signature(2, 2),
        "p": Signature(2, 2),
        "cbind": Signature(2, 2),
        "c": Signature(2, MOST_CATEGORIES),
        "counts": Signature(2, MOST_CATEGORIES),
        "prop": Signature(2, 2),
        "proportion": Signature(2, 2),
        "censored": Signature(2, 3),
        "truncated": Signature(1, 3, ("lb", "ub")),
    }
)
OFFSET, SMOOTH = "offset", "hsgp"
FUNCTIONS: Mapping[str, Signature] = MappingProxyType({**NUMERIC, **_BASES, **CATEGORICAL, OFFSET: _ONE, **RESPONSE})
# Second argument of C(f, ...): how the levels become columns.
CONTRASTS: Mapping[str, Signature] = MappingProxyType(
    {"Treatment": Signature(0, 1, ("reference",)), "Sum": Signature(0, 1, ("omit",))}
)


@dataclass(frozen=True)
class Node:
    """Root of the nodes; `start` and `stop` are the place in the formula and do not count for equality."""

    start: int = field(default=0, compare=False, kw_only=True)
    stop: int = field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True)
class Name(Node):
    """A column."""

    name: str


@dataclass(frozen=True)
class Literal(Node):
    """A number, a string in double quotes, True, False, None, or the name of a contrast: as canonical text."""

    text: str
    kind: str


@dataclass(frozen=True)
class Call(Node):
    """A function call; keyword arguments as pairs."""

    function: str
    arguments: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True)
class Event(Node):
    """`column["label"]` left of `~`: the label of a response of two that is 1."""

    column: Name
    label: str


@dataclass(frozen=True)
class Minus(Node):
    """Negation inside arithmetic."""

    operand: Node


@dataclass(frozen=True)
class Arithmetic(Node):
    """`left operator right` with one of + - * / ** inside I(...) or a function."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Sum(Node):
    """Terms added (+) and removed (-)."""

    items: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Crossing(Node):
    """Two sets of terms joined with `:`, `*` or `/`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Power(Node):
    """`(a + b) ** 2`: all interactions up to an order."""

    base: Node
    order: int


@dataclass(frozen=True)
class Bar(Node):
    """`(expression | factor)`, `||` when not correlated."""

    expression: Sum
    factor: "Sum | Grouping | Membership"
    correlated: bool


@dataclass(frozen=True)
class Grouping(Node):
    """`gr(factor, by=column, cov=name, sd=~terms)` right of a bar; `cov` names a matrix, not a column."""

    factor: Node
    by: Node | None = None
    cov: str = ""
    sd: Sum | None = None


@dataclass(frozen=True)
class Membership(Node):
    """`mm(g1, g2, weights=c(w1, w2))` right of a bar."""

    members: tuple[Node, ...]
    weights: tuple[Node, ...] = ()


def quote(name: str) -> str:
    """Column name as a formula needs it: in back-quotes unless it is a plain identifier.

    Examples
    --------
    >>> quote("std_age"), quote("my var"), quote("_x")
    ('std_age', '`my var`', '`_x`')
    """
    plain = name[:1].isalpha() and all(character.isalnum() or character == "_" for character in name)
    return name if plain and name not in LITERALS else f"`{name}`"


def number_text(text: str) -> str:
    """Canonical text of a number, without exponent, which the design matrices' own scanner cannot read.

    Examples
    --------
    >>> number_text("1e-3"), number_text("2.50"), number_text("007")
    ('0.001', '2.5', '7')
    """
    value = Decimal(text).normalize()
    shown = format(value, "f")
    whole = text.isdecimal()
    return shown if whole or "." in shown else f"{shown}.0"


_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}


def render(node: Node, name: Callable[[str], str] = quote) -> str:
    """Canonical text of a component (a column or a call with its arguments).

    Parameters
    ----------
    node : Node
        Name, Literal, Call, Minus or Arithmetic.
    name : callable, default :func:`quote`
        How a column is written.

    Returns
    -------
    str
        Brackets stand wherever precedence could be read in two ways: formulae reads ``-x ** 2`` as ``(-x) ** 2``.
    """
    if isinstance(node, Name):
        return name(node.name)
    if isinstance(node, Literal):
        return node.text
    if isinstance(node, Minus):
        inner = render(node.operand, name)
        return f"-{inner}" if isinstance(node.operand, Name | Literal | Call) else f"-({inner})"
    if isinstance(node, Arithmetic):
        left = _side(node.left, name, _STRENGTH[node.operator], strict=node.operator == "**")
        right = _side(node.right, name, _STRENGTH[node.operator], strict=True)
        return f"{left} {node.operator} {right}"
    assert isinstance(node, Call)
    arguments = [render(argument, name) for argument in node.arguments]
    arguments += [f"{keyword}={render(value, name)}" for keyword, value in node.keywords]
    return f"{node.function}({', '.join(arguments)})"


def _side(node: Node, name: Callable[[str], str], strength: int, *, strict: bool) -> str:
    text = render(node, name)
    if isinstance(node, Minus):
        return f"({text})"
    if isinstance(node, Arithmetic):
        inner = _STRENGTH[node.operator]
        return f"({text})" if inner < strength or (strict and inner <= strength) else text
    return text


def names_in(node: Node) -> Iterator[str]:
    """Columns named in a node, in order of appearance, with repeats."""
    return (found.name for found in name_nodes(node))


def name_nodes(node: Node) -> Iterator[Name]:
    """Nodes of the columns named in a node, in order of appearance."""
    if isinstance(node, Name):
        yield node
    for child in _children(node):
        yield from name_nodes(child)


def _children(node: Node) -> Iterable[Node]:
    if isinstance(node, Minus):
        return (node.operand,)
    if isinstance(node, Power):
        return (node.base,)
    if isinstance(node, Arithmetic | Crossing):
        return (node.left, node.right)
    if isinstance(node, Bar):
        return (node.expression, node.factor)
    if isinstance(node, Grouping):
        return (child for child in (node.factor, node.by, node.sd) if child is not None)
    if isinstance(node, Membership):
        return (*node.members, *node.weights)
    if isinstance(node, Sum):
        return (item for _, item in node.items)
    if isinstance(node, Call):
        return (*node.arguments, *(value for _, value in node.keywords))
    return ()

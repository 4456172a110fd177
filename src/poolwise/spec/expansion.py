"""From a syntax tree to terms: interactions expanded, duplicates refused, the intercept explicit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

from poolwise.errors import FormulaError
from poolwise.spec import syntax
from poolwise.spec.parser import MAX_TERMS
from poolwise.spec.syntax import Bar, Call, Crossing, Literal, Name, Node, Power, Sum, quote, render
from poolwise.spec.tokens import formula_error

# A component is a column or a call; a term is one component, or several in an interaction.
type Component = Node
type Term = tuple[Component, ...]


@dataclass(frozen=True)
class Terms:
    """Terms of one side, with or without an intercept."""

    intercept: bool
    terms: tuple[Term, ...]

    @property
    def text(self) -> str:
        """Canonical text with an explicit intercept: ``1 + x``, ``0 + x``, ``1``, ``0``."""
        return " + ".join(["1" if self.intercept else "0", *map(term_text, self.terms)])


def term_text(term: Term) -> str:
    """Canonical text of a term, ``a:b``."""
    return ":".join(render(component) for component in term)


def flat(terms: Sum) -> Iterator[tuple[str, Node]]:
    """Signed items with brackets around plain sums dissolved."""
    for sign, node in terms.items:
        if isinstance(node, Sum) and sign == "+" and all(inner == "+" for inner, _ in node.items):
            yield from flat(node)
        else:
            yield sign, node


def expand(terms: Sum, text: str) -> Terms:
    """Expand a sum of terms as R does, with an implied intercept.

    Parameters
    ----------
    terms : Sum
        Without blocks and offsets.
    text : str
        The formula, for messages.

    Returns
    -------
    Terms
        In order of appearance.

    Raises
    ------
    FormulaError
        For a term typed twice, a removed term that is not there, numbers other than 0 and 1, and too many terms.
    """
    intercept = True
    kept: dict = {}
    typed: set = set()
    for sign, node in flat(terms):
        if isinstance(node, Literal):
            intercept = (_intercept(node, text) == "1") == (sign == "+")
            continue
        found = _keyed(_set_of(node, text))
        if sign == "-":
            _remove(found, kept, node, text)
            typed -= set(found)
            continue
        # One term is the same however it is written; a product of sets only when written alike.
        identity = next(iter(found)) if len(found) == 1 else node
        if identity in typed:
            shown = text[node.start : node.stop].strip()
            raise formula_error(f"the term {shown!r} stands twice", text, node.start, "write it once")
        typed.add(identity)
        kept |= {key: found[key] for key in found if key not in kept}
        _check_size(len(kept), node, text)
    return Terms(intercept, tuple(kept.values()))


def expand_factor(factor: Node, text: str) -> list[tuple[str, ...]]:
    """Give the grouping factors as tuples of columns: ``a/b`` gives ``("a",)`` and ``("a", "b")``.

    Raises
    ------
    FormulaError
        For anything but columns joined with ``:`` and ``/``.
    """
    if isinstance(factor, Name):
        return [(factor.name,)]
    if isinstance(factor, Sum) and len(factor.items) == 1 and factor.items[0][0] == "+":
        return expand_factor(factor.items[0][1], text)
    if isinstance(factor, Crossing) and factor.operator in (":", "/"):
        left, right = expand_factor(factor.left, text), expand_factor(factor.right, text)
        if factor.operator == ":" and len(left) == len(right) == 1:
            return [_joined(left[0], right[0])]
        if factor.operator == "/":
            inside = _joined(*left)
            return [*left, *(_joined(inside, columns) for columns in right)]
    raise _factor_error(factor, text)


def _factor_error(factor: Node, text: str) -> FormulaError:
    if isinstance(factor, Call):
        advice = "make a column with the groups in the table first, and name it here"
        return formula_error("a grouping factor is a column, not a call", text, factor.start, advice)
    if isinstance(factor, Sum | Crossing):
        parts = [node for _, node in factor.items] if isinstance(factor, Sum) else [factor.left, factor.right]
        names = [quote(node.name) for node in parts if isinstance(node, Name)]
        advice = "write one block a factor: `(1 | a) + (1 | b)`"
        if len(names) == len(parts):
            blocks = [*names, ":".join(names)] if isinstance(factor, Crossing) else names
            advice = f"write one block a factor: `{' + '.join(f'(1 | {name})' for name in blocks)}`"
        problem = "a block has one grouping factor, of columns joined with `:` or `/`"
        return formula_error(problem, text, factor.start, advice)
    return formula_error(
        "a grouping factor is a column", text, factor.start, "name the column, in back-quotes if need be"
    )


def _intercept(node: Literal, text: str) -> str:
    if node.text not in ("0", "1"):
        problem = f"the number {node.text} is not a term"
        advice = "only 1 (intercept) and 0 (none) stand alone; write I(x + 2) for arithmetic"
        raise formula_error(problem, text, node.start, advice)
    return node.text


def _set_of(node: Node, text: str) -> list[Term]:
    """Terms that a node stands for."""
    if isinstance(node, Name):
        return [(node,)]
    if isinstance(node, Call):
        if node.function == syntax.OFFSET:
            raise formula_error("an offset is not a term", text, node.start, "add it at the end: `y ~ x + offset(z)`")
        return [(node,)]
    if isinstance(node, Sum):
        inner = expand(node, text)
        _refuse_numbers(node, text)
        return list(inner.terms)
    if isinstance(node, Power):
        return _power(node, text)
    if isinstance(node, Crossing):
        return _crossing(node, text)
    if isinstance(node, Bar):
        advice = "join blocks with +: `y ~ x + (1 | a) + (1 | b)`"
        raise formula_error("a block stands inside other brackets or a product", text, node.start, advice)
    advice = "write arithmetic in I(...): `I(x / 2)`, `I(x ** 2)`"
    raise formula_error("a number cannot be part of an interaction", text, node.start, advice)


def _refuse_numbers(node: Sum, text: str) -> None:
    for _, item in flat(node):
        if isinstance(item, Literal):
            advice = "write 1 or 0 outside the brackets"
            raise formula_error("the intercept cannot be part of an interaction", text, item.start, advice)


def _crossing(node: Crossing, text: str) -> list[Term]:
    left, right = _set_of(node.left, text), _set_of(node.right, text)
    _check_size(len(left) * len(right), node, text)
    if len(left) == len(right) == 1 and set(left[0]) == set(right[0]):
        shown = term_text(left[0])
        advice = f"for a square write I({shown} ** 2)" if isinstance(left[0][0], Name) else "write it once"
        raise formula_error(f"{shown} is crossed with itself", text, node.start, advice)
    if node.operator == "/":
        return [*left, *(_joined(_joined(*left), term) for term in right)]
    products = [_joined(a, b) for a in left for b in right]
    return products if node.operator == ":" else [*left, *right, *products]


def _power(node: Power, text: str) -> list[Term]:
    base = list(_keyed(_set_of(node.base, text)).values())
    if len(base) == 1 and node.order > 1:
        shown = term_text(base[0])
        advice = f"for arithmetic write I({shown} ** {node.order})"
        raise formula_error(f"the power of a single term, {shown}, is the term itself", text, node.start, advice)
    orders = range(1, min(node.order, len(base)) + 1)
    _check_size(sum(comb(len(base), order) for order in orders), node, text)
    return [_joined(*chosen) for order in orders for chosen in combinations(base, order)]


def _remove(found: dict, kept: dict, node: Node, text: str) -> None:
    for key, term in found.items():
        if key not in kept:
            advice = "leave the removal out, or name a term that stands before it"
            raise formula_error(f"there is no term {term_text(term)!r} to remove", text, node.start, advice)
        del kept[key]


def _check_size(size: int, node: Node, text: str) -> None:
    if size > MAX_TERMS:
        advice = "compute the columns in the table first, or write fewer interactions"
        raise formula_error(f"the formula expands to more than {MAX_TERMS} terms", text, node.start, advice)


def _keyed(terms: Iterable[Term]) -> dict[frozenset, Term]:
    """Terms by their set of components: ``a:b`` and ``b:a`` are one, the first written stays."""
    found: dict[frozenset, Term] = {}
    for term in terms:
        found.setdefault(frozenset(term), term)
    return found


def _joined[T](*parts: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))

"""Closed grammar of model formulas: what a formula says, before any data is seen.

A formula is read by poolwise's own tokenizer and recursive-descent parser and never evaluated, so it can call only
the functions of an allow-list and name only columns. The result is canonical: interactions are expanded, intercepts
explicit, and each ``(expr | factor)`` is a :class:`Block`.

Long because whatever a formula may not say is refused in the one reading of its tree.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from poolwise.errors import DataError, FormulaError
from poolwise.spec import syntax
from poolwise.spec.expansion import Term, Terms, expand, expand_factor, flat, term_text
from poolwise.spec.parser import Parser
from poolwise.spec.syntax import (
    FUNCTIONS,
    Bar,
    Call,
    Event,
    Grouping,
    Membership,
    Name,
    Node,
    Sum,
    names_in,
    quote,
    render,
)
from poolwise.spec.tokens import MAX_CHARACTERS, formula_error

__all__ = ["FUNCTIONS", "Block", "Formula", "parse_expression", "parse_formula"]


@dataclass(frozen=True)
class Block:
    """One ``(expression | factor)``: the effects that vary by a grouping factor.

    Parameters
    ----------
    expression : str
        Canonical one-sided formula, intercept explicit: ``1 + std_age``, ``0 + x``.
    terms : tuple of str
        Canonical terms, ``"1"`` first if there: ``("1", "std_age")``.
    factor : str
        Canonical name, ``county`` or ``a:b``.
    columns : tuple of str
        Columns of the factor, ``("county",)`` or ``("a", "b")``.
    correlated : bool
        False for ``||``.
    sd : str
        Canonical regression of the log group sds, ``1 + z`` of ``gr(g, sd=~z)``; empty without.
    by : str
        Column of ``gr(g, by=z)``, the kind of each group; empty without.
    cov : str
        Name of the matrix of ``gr(g, cov=A)``, the covariance between groups; empty without.
    multiple : bool
        Whether rows belong to a group of each column, ``mm(g1, g2)``, whose factor is called so.
    member_weights : tuple of str
        Columns of the weights of the memberships; empty for equal ones.
    """

    expression: str
    terms: tuple[str, ...]
    factor: str
    columns: tuple[str, ...]
    correlated: bool
    sd: str = ""
    by: str = ""
    cov: str = ""
    multiple: bool = False
    member_weights: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = {"by=": quote(self.by) if self.by else "", "cov=": quote(self.cov) if self.cov else "", "sd=~": self.sd}
        arguments = [key + value for key, value in given.items() if value]
        factor = f"gr({', '.join([self.factor, *arguments])})" if arguments else self.factor
        if self.member_weights:
            factor = f"{self.factor[:-1]}, weights=c({', '.join(map(quote, self.member_weights))}))"
        return f"({self.expression} {'|' if self.correlated else '||'} {factor})"


@dataclass(frozen=True)
class Formula:
    """A formula as understood.

    Parameters
    ----------
    text : str
        As given, in Unicode normal form C.
    response : str
        Canonical response, ``y`` or ``log(y)``.
    response_columns : tuple of str
        Columns of the response, without weights.
    weights : str or None
        Column w of ``weighted(y, w)``; the response is then ``y``.
    common : str
        Canonical right-hand side of the common part, ``1 + x + f`` or ``0 + x``, without offsets and blocks.
    intercept : bool
        Whether the common part has an intercept.
    terms : tuple of str
        Canonical common terms without the intercept.
    offsets : tuple of str
        What stands inside each ``offset(...)``, as one component: ``log(n)``, ``I(a + b)``.
    blocks : tuple of Block
        Group-specific parts, in order; ``(x | a/b)`` gives two.
    columns : tuple of str
        Every column of the formula as understood, in its order, without back-quotes.
    predictors : tuple of str
        Columns of common terms, block expressions, offsets and of what describes groups in ``gr(...)``.
    factors : tuple of str
        Columns of grouping factors.
    trusted : bool
        Whether dotted calls were let pass.
    offset_columns : tuple of str
        Columns that stand only in offsets or among the weights of memberships, where a constant is right.
    smooths : tuple of Call
        Smooth functions, ``hsgp(x, m=20, c=1.5)``.
    event : str
        Label of the response that is 1, ``yes`` of ``y["yes"] ~ x``; empty without, and once the response is numbers.
    """

    text: str = field(compare=False)
    response: str
    response_columns: tuple[str, ...]
    weights: str | None
    common: str
    intercept: bool
    terms: tuple[str, ...]
    offsets: tuple[str, ...]
    blocks: tuple[Block, ...]
    columns: tuple[str, ...]
    predictors: tuple[str, ...]
    factors: tuple[str, ...]
    trusted: bool
    offset_columns: tuple[str, ...] = ()
    smooths: tuple[Call, ...] = ()
    event: str = ""

    @property
    def uncorrelated(self) -> "Formula":
        """The formula with every ``|`` read as ``||``."""
        return replace(self, blocks=tuple(replace(block, correlated=False) for block in self.blocks))

    def weights_column(self, given: str | None) -> str | None:
        """The column of weights, the formula's own or the one that is given.

        Raises
        ------
        DataError
            If both are there.
        """
        if self.weights is not None and given is not None:
            raise DataError(
                f"weights are given twice: weighted(..., {self.weights}) in the formula and weights={given!r}; keep one"
            )
        return given or self.weights

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Columns whose cells are the groups of a factor."""
        return tuple(dict.fromkeys(block.columns for block in self.blocks if not block.multiple))

    @property
    def member_columns(self) -> tuple[str, ...]:
        """Columns of memberships, ``mm(g1, g2)``."""
        return _unique(name for block in self.blocks if block.multiple for name in block.columns)

    @property
    def canonical(self) -> str:
        """The whole formula as understood; it parses to this formula again."""
        left = self.response if self.weights is None else f"weighted({self.response}, {quote(self.weights)})"
        left += f'["{self.event}"]' if self.event else ""
        right = [self.common, *map(render, self.smooths), *(f"offset({inner})" for inner in self.offsets)]
        right += map(str, self.blocks)
        return f"{left} ~ {' + '.join(right)}"

    def __str__(self) -> str:
        return self.canonical


def parse_formula(text: str, *, trusted: bool = False) -> Formula:
    """Read a formula.

    Parameters
    ----------
    text : str
        For instance ``"y ~ x + (1 + x | g)"``. Columns with unusual names stand in back-quotes.
    trusted : bool, default False
        Let dotted calls such as ``np.log10(x)`` pass. Pass it only for formulas you wrote yourself.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        For anything outside the grammar; shows the place and what to write instead.

    Examples
    --------
    >>> formula = parse_formula("y ~ a*b + (x || g/h)")
    >>> formula.canonical
    'y ~ 1 + a + b + a:b + (1 + x || g) + (1 + x || g:h)'
    >>> formula.blocks[1].columns
    ('g', 'h')
    """
    text = _checked(text)
    response, right = Parser(text, trusted=trusted).two_sided()
    event, response = (response.label, response.column) if isinstance(response, Event) else ("", response)
    items, offsets, smooths, bars = _separate(right, text)
    common = expand(items, text)
    blocks = _blocks(bars, text)
    if not (common.terms or common.intercept or smooths or blocks):
        raise formula_error("the model has no terms", text, right.start, "write `1` for an intercept, or name a column")
    for terms in (common, *(own for _, own in blocks)):
        _refuse_joined_smooths(terms, text)
    _refuse_duplicates(offsets, "offset", text)
    _refuse_duplicates(smooths, "smooth function", text)
    target, weights = _split_weights(response)
    outcome = _outcome_columns(target)
    _refuse_response_on_the_right(outcome, right, text)
    in_common = _columns(common.terms)
    in_smooths = [name for smooth in smooths for name in names_in(smooth)]
    in_offsets = [name for offset in offsets for name in names_in(offset)]
    in_blocks = [[*_columns(terms.terms), *_grouping_columns(block)] for block, terms in blocks]
    in_factors = [block.columns for block, _ in blocks]
    by_block = [name for pair in zip(in_blocks, in_factors, strict=True) for names in pair for name in names]
    predictors = _unique([*in_common, *in_smooths, *in_offsets, *(name for names in in_blocks for name in names)])
    in_weights = [name for block, _ in blocks for name in block.member_weights]
    in_terms = {*in_common, *in_smooths, *(name for names in in_blocks for name in names)} - set(in_weights)
    formula = Formula(
        text=text,
        response=render(target),
        response_columns=_unique(names_in(target)),
        weights=weights,
        common=common.text,
        intercept=common.intercept,
        terms=tuple(map(term_text, common.terms)),
        offsets=tuple(_offset_text(offset) for offset in offsets),
        blocks=tuple(block for block, _ in blocks),
        columns=_unique([*names_in(response), *in_common, *in_smooths, *in_offsets, *by_block]),
        predictors=predictors,
        factors=_unique(name for names in in_factors for name in names),
        trusted=trusted,
        offset_columns=tuple(name for name in _unique([*in_offsets, *in_weights]) if name not in in_terms),
        smooths=tuple(smooths),
        event=event,
    )
    _refuse_too_large(formula)
    return formula


def parse_expression(text: str, *, trusted: bool = False) -> Terms:
    """Read a one-sided expression without blocks or offsets, such as ``1 + x + f``.

    Raises
    ------
    FormulaError
        As :func:`parse_formula`, and for a block or an offset.
    """
    text = _checked(text)
    items, offsets, smooths, bars = _separate(Parser(text, trusted=trusted).one_sided(), text)
    for node in [*offsets, *smooths, *bars]:
        advice = "leave out blocks, offsets and smooth functions"
        raise formula_error("only common terms can stand here", text, node.start, advice)
    return expand(items, text)


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise FormulaError(f"a formula is a text such as 'y ~ x + (1 | g)', not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"the formula has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    # Normal form C only: U+00B5 and U+03BC stay two different letters.
    return unicodedata.normalize("NFC", text)


def _refuse_too_large(formula: Formula) -> None:
    """A formula within the limits may be beyond them written out; then it could not be read again from a file."""
    canonical = formula.canonical
    try:
        Parser(_checked(canonical), trusted=formula.trusted).two_sided()
    except FormulaError:
        advice = "compute the columns in the table first, or write fewer interactions"
        raise formula_error("the formula is too large when written out", canonical, 0, advice) from None


def _separate(right: Sum, text: str) -> tuple[Sum, list[Node], list[Call], list[Bar]]:
    """Right-hand side as common terms, arguments of offsets, smooth functions, and blocks."""
    items: list = []
    offsets: list = []
    smooths: list = []
    bars: list = []
    node: Any
    for sign, node in flat(right):
        function = node.function if isinstance(node, Call) else ""
        if not isinstance(node, Bar) and function not in (syntax.OFFSET, syntax.SMOOTH):
            items.append((sign, node))
        elif sign == "-":
            what = "a block, an offset or a smooth function cannot be removed"
            raise formula_error(what, text, node.start, "leave it out instead")
        elif isinstance(node, Bar):
            bars.append(node)
        elif function == syntax.SMOOTH:
            smooths.append(node)
        else:
            offsets.append(node.arguments[0])
    return Sum(tuple(items), start=right.start, stop=right.stop), offsets, smooths, bars


def _offset_text(node: Node) -> str:
    """Arithmetic goes in I(...), because the text is read as a term again."""
    return render(node) if isinstance(node, Name | Call) else f"I({render(node)})"


def _blocks(bars: list[Bar], text: str) -> list[tuple[Block, Terms]]:
    found: list[tuple[Block, Terms]] = []
    for bar in bars:
        terms = expand(bar.expression, text)
        if not (terms.terms or terms.intercept):
            raise formula_error("the block has no effects", text, bar.start, "write `(1 | g)` or `(0 + x | g)`")
        labels = ("1",) * terms.intercept + tuple(map(term_text, terms.terms))
        factor, arguments = _grouping(bar.factor, text)
        for columns in factor if isinstance(factor, list) else expand_factor(factor, text):
            called = ":".join(map(quote, columns))
            if "multiple" in arguments:
                called = f"mm({', '.join(map(quote, columns))})"
            else:
                same = (block for block, _ in found if set(block.columns) == set(columns) and not block.multiple)
                known = next(same, None)
                called, columns = (called, columns) if known is None else (known.factor, known.columns)
            block = Block(terms.text, labels, called, columns, bar.correlated, **arguments)
            _refuse_two_groupings(block, [earlier for earlier, _ in found], bar, text)
            _refuse_duplicate_effects(block, [earlier for earlier, _ in found], bar, text)
            found.append((block, terms))
    return found


def _grouping(factor: Sum | Grouping | Membership, text: str) -> tuple[Node | list[tuple[str, ...]], dict[str, Any]]:
    """The factor itself and what gr(...) or mm(...) says of it, by field of :class:`Block`."""
    if isinstance(factor, Membership):
        weights = tuple(names_in(Sum(tuple(("+", node) for node in factor.weights))))
        members = tuple(name for node in factor.members for name in names_in(node))
        return [members], {"multiple": True, "member_weights": weights}
    if not isinstance(factor, Grouping):
        return factor, {}
    found = {"by": factor.by.name if isinstance(factor.by, Name) else "", "cov": factor.cov}
    if factor.sd is not None:
        terms = expand(factor.sd, text)
        if not (terms.terms and terms.intercept):
            advice = "write the covariates alone, `gr(g, sd=~ z)`: the group sd itself is the constant"
            raise formula_error("sd=~ needs covariates beside its constant", text, factor.sd.start, advice)
        found["sd"] = terms.text
    return factor.factor, found


def _refuse_two_groupings(block: Block, earlier: list[Block], bar: Bar, text: str) -> None:
    own = (block.sd, block.by, block.cov, block.member_weights)
    same = [other for other in earlier if other.factor == block.factor]
    if any((other.sd, other.by, other.cov, other.member_weights) != own for other in same):
        advice = f"write the same gr({block.factor}, ...), or the same weights of mm(...), in each block on it"
        raise formula_error(f"two blocks on {block.factor!r} have different groupings", text, bar.start, advice)


def _grouping_columns(block: Block) -> list[str]:
    """Columns that describe the groups, inside gr(...)."""
    covariates = _columns(parse_expression(block.sd, trusted=True).terms) if block.sd else []
    return [*([block.by] if block.by else []), *covariates, *block.member_weights]


def _refuse_duplicate_effects(block: Block, earlier: list[Block], bar: Bar, text: str) -> None:
    held = {term for other in earlier if other.factor == block.factor for term in other.terms}
    twice = [term for term in block.terms if term in held]
    if not twice:
        return
    kept = [term for term in block.terms if term not in held]
    advice = "leave this block out"
    if kept:
        advice = f"write `({' + '.join(['0', *kept])} {'|' if block.correlated else '||'} {block.factor})` here"
    listed = " and ".join("an intercept" if term == "1" else repr(term) for term in twice)
    raise formula_error(f"two blocks on {block.factor!r} both hold {listed}", text, bar.start, advice)


def _refuse_joined_smooths(terms: Terms, text: str) -> None:
    for component in (component for term in terms.terms for component in term):
        if isinstance(component, Call) and component.function == syntax.SMOOTH:
            advice = "by= gives each level of a column a function of its own: `hsgp(x, m=20, c=1.5, by=g)`"
            what = "a smooth function is a term of its own, neither part of an interaction nor of a block"
            raise formula_error(what, text, component.start, advice)


def _refuse_duplicates(nodes: Sequence[Node], what: str, text: str) -> None:
    for k, node in enumerate(nodes):
        if node in nodes[:k]:
            raise formula_error(f"the {what} stands twice", text, node.start, "write it once")


def _split_weights(response: Node) -> tuple[Node, str | None]:
    if isinstance(response, Call) and response.function == "weighted":
        target, weights = response.arguments
        assert isinstance(weights, Name)
        # Arithmetic goes in I(...), because the text is read as a response again.
        return target if isinstance(target, Name | Call) else Call("I", (target,)), weights.name
    return response, None


def _outcome_columns(target: Node) -> set[str]:
    """Columns that are the outcome itself, not trials, bounds or a censoring status."""
    if isinstance(target, Call) and target.function in syntax.RESPONSE:
        target = target.arguments[0]
    return set(names_in(target))


def _refuse_response_on_the_right(outcome: set[str], right: Sum, text: str) -> None:
    for node in syntax.name_nodes(right):
        if node.name in outcome:
            advice = "leave it out on the right, or copy the column under another name if it is a different quantity"
            raise formula_error(f"the response {node.name!r} also stands on the right", text, node.start, advice)


def _columns(terms: Iterable[Term]) -> list[str]:
    return [name for term in terms for component in term for name in names_in(component)]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))

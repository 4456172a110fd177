"""What stands right of a block's bar beside a plain factor: ``gr(g, by=z, cov=A, sd=~w)`` and ``mm(g1, g2)``.

``by=`` gives each kind of group a covariance of its own (:mod:`.kinds`), ``cov=`` relates the groups to one another
(:mod:`.relation`), ``sd=~`` lets the group sds follow covariates (:mod:`.group_sds`), ``mm()`` lets a row belong to
several groups (:mod:`.members`).
"""

from typing import TYPE_CHECKING, Any

from poolwise.errors import FitError
from poolwise.spec.syntax import Grouping, Membership, Name
from poolwise.spec.tokens import Token

if TYPE_CHECKING:
    from poolwise.spec.design import Design
    from poolwise.spec.parser import Parser

GR, MM = "gr", "mm"
ARGUMENTS = ("by", "cov", "sd")


def stands_next(parser: "Parser") -> bool:
    """Whether the parser is at ``gr(`` or ``mm(``."""
    token = parser.peek
    return token.kind == "name" and token.value in (GR, MM) and parser.tokens[parser.position + 1].kind == "("


def read_grouping(parser: "Parser") -> Grouping | Membership:
    """Read ``gr(factor, by=column, cov=name, sd=~terms)`` or ``mm(...)``; the parser is at its name.

    Raises
    ------
    FormulaError
        For another argument, and one that is given twice.
    """
    name = parser.take()
    parser.take()
    if name.value == MM:
        return _membership(parser, name)
    given: dict[str, Any] = {}
    with parser.nested():
        parser.place = "factor"
        factor = parser.sum()
        while parser.peek.kind == ",":
            parser.take()
            key = _keyword(parser)
            if key.value in given:
                advice = "write its terms with +: `gr(g, sd=~ a + b)`" if key.value == "sd" else "give it once"
                raise parser.error(f"{key.value}= is given twice", key, advice)
            given[key.value] = _argument(parser, name, key.value)
        parser.expect(")", "close the bracket of gr(...): `(1 | gr(g, sd=~ z))`")
    return Grouping(factor, **given, start=name.start, stop=parser.last_stop)


def _keyword(parser: "Parser") -> Token:
    key = parser.take()
    advice = "gr(...) takes a grouping factor, by= a column, cov= the name of a matrix, and sd=~ terms"
    if key.kind != "name" or parser.peek.kind != "=":
        raise parser.error(f"unexpected {parser.shown(key)} in gr(...)", key, advice)
    if key.value not in ARGUMENTS:
        raise parser.error(f"gr(...) has no argument {key.value!r}", key, advice)
    parser.take()
    return key


def _argument(parser: "Parser", name: Token, key: str):
    """Value of one argument: a column, the name of a matrix, or terms."""
    if key == "by":
        return parser.column(name)
    if key == "cov":
        token = parser.take()
        if token.kind != "name":
            advice = "name an entry of Model(..., covariances={...}): `gr(g, cov=A)`"
            raise parser.error(f"unexpected {parser.shown(token)} as the name of a matrix", token, advice)
        return token.value
    parser.expect("~", "the sd is a regression: `gr(g, sd=~ z)`")
    parser.place = "term"
    return parser.sum()


def _membership(parser: "Parser", name: Token) -> Membership:
    """Rest of ``mm(g1, g2, weights=c(w1, w2))`` after its bracket."""
    members: list[Name] = []
    weights: list[Name] = []
    with parser.nested():
        while not weights:
            if parser.peek.value == "weights" and parser.tokens[parser.position + 1].kind == "=":
                parser.take()
                parser.take()
                weights = _weights(parser, name)
            else:
                members.append(_column(parser, name))
            if parser.peek.kind != ",":
                break
            parser.take()
        parser.expect(")", "close the bracket of mm(...): `(1 | mm(g1, g2))`")
    if len({member.name for member in members}) < max(2, len(members)):
        raise parser.error("mm(...) takes two or more different columns", name, "write `(1 | mm(g1, g2))`")
    if weights and len(weights) != len(members):
        advice = "give a column of weights a membership: `mm(g1, g2, weights=c(w1, w2))`"
        raise parser.error(f"mm(...) has {len(members)} memberships and {len(weights)} weights", name, advice)
    return Membership(tuple(members), tuple(weights), start=name.start, stop=parser.last_stop)


def _column(parser: "Parser", name: Token) -> Name:
    node = parser.column(name)
    assert isinstance(node, Name)
    return node


def _weights(parser: "Parser", name: Token) -> list[Name]:
    """Columns of ``c(w1, w2)``."""
    token, advice = parser.take(), "write weights=c(w1, w2), columns of the table"
    if token.kind != "name" or token.value not in ("c", "cbind"):
        raise parser.error(f"unexpected {parser.shown(token)} as weights", token, advice)
    parser.expect("(", advice)
    found = [_column(parser, name)]
    while parser.peek.kind == ",":
        parser.take()
        found.append(_column(parser, name))
    parser.expect(")", advice)
    return found


def why_not_exchangeable(design: "Design") -> str:
    """What makes groups, or rows, differ before the data, in a few words; empty where nothing does."""
    if design.family.categorical:
        return "each category has a linear predictor of its own"
    if design.predicted:
        return f"{', '.join(own.family.name for own in design.predicted)} has a formula of its own"
    if design.smooths:
        return f"the mean follows a smooth function, {design.smooths[0].term}"
    for factor in design.factors:
        if factor.sd_regression is not None:
            return "the group sds follow covariates, gr(..., sd=~ ...)"
        if factor.kinds is not None:
            return "each kind of group has a covariance of its own, gr(..., by=...)"
        if factor.relation is not None:
            return "the groups are related to one another, gr(..., cov=...)"
        if factor.members is not None:
            return "rows belong to several groups, mm(...)"
    return ""


def refuse_grouping(design: "Design", what: str) -> None:
    """Refuse a design whose groups or rows are not independent draws from one distribution.

    Raises
    ------
    FitError
        Names the block, or the parameter.
    """
    if design.family.categorical:
        raise FitError(
            f"{what} takes one linear predictor a row, and family {design.family.name!r} has one for each category "
            "after the first; Model.fit() samples it, with predictions, loo and summaries"
        )
    if design.predicted:
        own = ", ".join(repr(one.formula.canonical) for one in design.predicted)
        raise FitError(
            f"{what} takes one {design.predicted[0].family.name} for all rows, and {own} gives each row its own; "
            "Model.fit() samples it, with predictions, loo and summaries"
        )
    if design.smooths:
        raise FitError(
            f"{what} takes a mean that is linear in its coefficients, and {design.smooths[0].term} is a smooth "
            "function; Model.fit() samples it, with predictions, loo and summaries"
        )
    for factor in design.factors:
        if factor.exchangeable:
            continue
        if factor.sd_regression is not None:
            reason = f"gr({factor.name}, sd=~ ...) has one a group"
        elif factor.kinds is not None:
            reason = f"gr({factor.name}, by={factor.kinds.column}) has one a kind of group"
        elif factor.relation is not None:
            reason = f"gr({factor.name}, cov={factor.relation.name}) relates the groups to one another"
        else:
            reason = "mm() puts a row into several of them"
        raise FitError(
            f"{what} takes one covariance for all groups of {factor.name!r} and each row in one of them, and {reason}; "
            "Model.fit() samples it, with predictions, loo and summaries"
        )

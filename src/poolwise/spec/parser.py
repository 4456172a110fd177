"""Recursive-descent parser: a formula to its syntax tree; nothing is evaluated or looked up."""

from poolwise.errors import FormulaError
from poolwise.spec.calls import CallParser
from poolwise.spec.grouping import read_grouping, stands_next
from poolwise.spec.syntax import Bar, Crossing, Event, Literal, Name, Node, Power, Sum

MAX_TERMS = 200
MAX_POWER = 10


class Parser(CallParser):
    """Parser of one formula: terms as in R, + and - of * and / of : of ** of atoms."""

    def two_sided(self) -> tuple[Node, Sum]:
        """Response and right-hand side of ``response ~ terms``."""
        # A tilde after = belongs to an argument, as in gr(g, sd=~ z).
        before = ["", *(token.kind for token in self.tokens)]
        tildes = [token for token, last in zip(self.tokens, before, strict=False) if token.kind == "~" and last != "="]
        if not tildes:
            raise self.error("the formula has no '~'", self.tokens[-1], "write `response ~ terms`: `y ~ x`")
        if len(tildes) > 1:
            raise self.error("the formula has two '~'", tildes[1], "write one `response ~ terms`")
        if self.peek.kind == "~":
            raise self.error("nothing stands left of '~'", self.peek, "name the response: `y ~ x`")
        response = self.response()
        self.take()
        return response, self.one_sided("nothing stands right of '~'")

    def one_sided(self, empty: str = "the expression is empty") -> Sum:
        """Terms up to the end of the text."""
        if self.peek.kind == "end":
            raise self.error(empty, self.peek, "write the terms; `1` alone is a model with an intercept only")
        if self.peek.kind == "+":
            advice = "write the term that belongs there; in a shell put a formula with back-quotes in single quotes"
            raise self.error("nothing stands before '+'", self.peek, advice)
        terms = self.sum()
        if self.peek.kind in ("|", "||"):
            raise self.bare_bar(terms)
        advice = "join terms with +, and put other arithmetic in I(...)"
        if self.peek.kind == "name" and self.tokens[self.position - 1].kind == "name":
            both = self.text[self.tokens[self.position - 1].start : self.peek.stop]
            advice = f"join terms with +; a name with spaces stands in back-quotes: `{both}`"
        self.expect("end", advice)
        return terms

    def sum(self) -> Sum:
        """Terms joined with + and -."""
        start = self.peek.start
        items: list = []
        while not items or self.peek.kind in ("+", "-"):
            before = self.operations
            items.append((self.sign(), self.product()))
            # Terms lie side by side in the tree, so only operators within one make it deeper.
            self.operations = before
            if len(items) > MAX_TERMS:
                raise self.too_large(f"more than {MAX_TERMS} terms")
        return Sum(tuple(items), start=start, stop=self.last_stop)

    def sign(self) -> str:
        """Sign before a term; two minus signs cancel."""
        minuses = 0
        while self.peek.kind in ("+", "-"):
            minuses += self.take().kind == "-"
        return "-" if minuses % 2 else "+"

    def product(self) -> Node:
        """Interactions joined with * and /."""
        return self.chain(("*", "/"), self.interaction)

    def interaction(self) -> Node:
        """Atoms joined with `:`."""
        return self.chain((":",), self.power)

    def chain(self, operators: tuple[str, ...], part) -> Node:
        """Left-associative chain of crossings."""
        left = part()
        while self.peek.kind in operators:
            operator = self.operator()
            right = part()
            left = Crossing(operator.kind, left, right, start=left.start, stop=right.stop)
        return left

    def power(self) -> Node:
        """`atom ** k`."""
        base = self.atom()
        if self.peek.kind != "**":
            return base
        self.operator()
        token = self.take()
        order = int(token.value) if token.kind == "number" and token.value.isdecimal() and len(token.value) < 4 else 0
        if not 1 <= order <= MAX_POWER:
            advice = f"`(a + b) ** k` takes an integer k from 1 to {MAX_POWER}; for arithmetic write I(x ** 2)"
            raise self.error("the power of a set of terms must be a small integer", token, advice)
        return Power(base, order, start=base.start, stop=token.stop)

    def atom(self) -> Node:
        """Read a column, a call, 0 or 1, or brackets."""
        token = self.peek
        if token.kind == "(":
            return self.brackets()
        if token.kind == "number":
            self.take()
            return Literal(token.value, "number", start=token.start, stop=token.stop)
        if token.kind in ("string", "literal"):
            raise self.error(f"{token.value!r} is not a term", token, "name a column, in back-quotes if need be")
        return self.component(self.place)

    def brackets(self) -> Node:
        """`(terms)` or the block `(terms | factor)`."""
        start = self.take().start
        with self.nested():
            if self.peek.kind in ("|", "||"):
                raise self.error("nothing stands left of the bar", self.peek, "write `(1 | g)` for a varying intercept")
            inner = self.sum()
            if self.peek.kind not in ("|", "||"):
                self.expect(")", "close the bracket")
                return Sum(inner.items, start=start, stop=self.last_stop)
            bar = self.take()
            if self.peek.kind == ")":
                raise self.error("nothing stands right of the bar", self.peek, "name the grouping factor: `(1 | g)`")
            self.place = "factor"
            factor = read_grouping(self) if stands_next(self) else self.sum()
            self.place = "term"
            if self.peek.kind in ("|", "||"):
                raise self.error("a block has one bar", self.peek, "write one block a factor: `(1 | a) + (1 | b)`")
            self.expect(")", "close the bracket")
            return Bar(inner, factor, bar.kind == "|", start=start, stop=self.last_stop)

    def response(self) -> Node:
        """Read a column, `column["label"]` or a call, alone before `~`."""
        node = self.component("response")
        if self.peek.kind == "[" and isinstance(node, Name):
            self.take()
            label = self.take().value
            self.expect("]", "close the bracket")
            node = Event(node, label, start=node.start, stop=self.last_stop)
        if self.peek.kind != "~":
            advice = "the response is one column or call; for arithmetic write I(...), for instance `I(y / 10) ~ x`"
            raise self.error(f"unexpected {self.shown(self.peek)} in the response", self.peek, advice)
        return node

    def bare_bar(self, terms: Sum) -> FormulaError:
        """Error about `y ~ x + 1 | g`, which R reads as `(x + 1 | g)` and others drop in silence."""
        bar = self.take()
        last = terms.items[-1][1]
        before, effect = self.text[: last.start], self.text[last.start : last.stop].strip()
        try:
            factor = self.product()
            factor_text, after = self.text[factor.start : factor.stop], self.text[factor.stop :]
        except FormulaError:
            factor_text, after = "g", ""
        fixed = f"{before}({effect} {bar.kind} {factor_text}){after}"
        whole = self.text[terms.start : terms.stop].strip()
        advice = f"put the block in brackets: `{fixed}`"
        if whole != effect:
            advice += f"; if every term varies by group: `({whole} {bar.kind} {factor_text})`"
        return self.error(f"{bar.kind!r} stands outside brackets", bar, advice)

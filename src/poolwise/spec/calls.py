"""Components of a formula: columns and calls, with arithmetic in their arguments."""

from poolwise.errors import FormulaError, near_names
from poolwise.spec import syntax
from poolwise.spec.cursor import COMPUTE_FIRST, Cursor
from poolwise.spec.syntax import Arithmetic, Call, Literal, Minus, Name, Node
from poolwise.spec.tokens import Token

# Functions of other programs: what poolwise writes instead, where it has the like.
_SMOOTH = (
    "a smooth function is written `hsgp(x, m=20, c=1.5)`, or `bs(x, df=5)` for splines of fixed degrees of freedom"
)
_ELSEWHERE = {
    **dict.fromkeys(("s", "te", "ti", "t2", "gp", "ns", "cr", "cc"), _SMOOTH),
    **dict.fromkeys(("factor", "as.factor"), "a number that stands for levels is written `C(x)`"),
    "trunc": "a truncated response is written `truncated(y, lb, ub) ~ ...`",
    "cens": "a censored response is written `censored(y, status) ~ ...`",
    "trials": "trials are written `p(successes, trials) ~ ...`",
    **dict.fromkeys(("mo", "me", "mi", "cs", "ar", "ma", "arma", "car", "sar"), ""),
}


class CallParser(Cursor):
    """Parser of columns, calls and arithmetic."""

    def component(self, place: str) -> Node:
        """Read a column, a call or `{...}`, which is I(...); `place` is term, factor, argument or response."""
        token = self.take()
        if token.kind == "{":
            with self.nested():
                node = Call("I", (self.numeric("I", token),), start=token.start)
                self.expect("}", "close the brace")
            return Call(node.function, node.arguments, start=token.start, stop=self.last_stop)
        if token.kind == "dotted" and not (self.trusted and self.peek.kind == "("):
            raise self.dotted(token)
        if token.kind in ("name", "dotted"):
            if self.peek.kind == "(":
                return self.call(token, place)
            return Name(token.value, start=token.start, stop=token.stop)
        if token.kind == "end":
            raise self.error("the formula ends too early", token, "a column, a call or a bracket is expected here")
        raise self.error(f"unexpected {self.shown(token)}", token, "a column, a call or a bracket is expected here")

    def call(self, name: Token, place: str) -> Call:
        """`function(arguments)` of an allowed function."""
        signature = self.signature(name, place)
        self.take()
        arguments: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        with self.nested():
            while self.peek.kind != ")":
                if self.peek.kind == "name" and self.tokens[self.position + 1].kind == "=":
                    keywords.append(self.keyword(name, signature, [key for key, _ in keywords]))
                elif keywords:
                    advice = "put positional arguments first"
                    raise self.error("a positional argument follows a keyword argument", self.peek, advice)
                else:
                    arguments.append(self.positional(name, len(arguments)))
                if self.peek.kind != ",":
                    break
                self.take()
            self.expect(")", "separate arguments with commas and close the bracket")
        self.count(name, signature, len(arguments))
        return Call(name.value, tuple(arguments), tuple(keywords), start=name.start, stop=self.last_stop)

    def signature(self, name: Token, place: str) -> syntax.Signature | None:
        """How the function may be called, or the error that it may not; None for a trusted dotted call."""
        function = name.value
        if name.kind == "dotted" and place != "factor" and all(part.isidentifier() for part in function.split(".")):
            return None
        if function in ("gr", "mm"):
            example = "(1 | gr(g, sd=~ z))" if function == "gr" else "(1 | mm(g1, g2))"
            advice = f"{function}(...) stands alone right of a block's bar: `{example}`"
            raise self.error(f"{function}(...) cannot stand here", name, advice)
        if place == "factor":
            advice = "make a column with the groups in the table first, and name it here"
            raise self.error("a grouping factor is a column, not a call", name, advice)
        if function in _ELSEWHERE:
            advice = _ELSEWHERE[function] or f"available: {', '.join(syntax.FUNCTIONS)}"
            raise self.error(f"{function}(...) is not part of poolwise", name, advice)
        if function not in syntax.FUNCTIONS:
            known = near_names(function, syntax.FUNCTIONS, limit=len(syntax.FUNCTIONS))
            raise self.error(f"unknown function {function!r}", name, known)
        if place == "argument" and function not in syntax.NUMERIC:
            raise self.error(f"{function}(...) cannot stand inside another function", name, COMPUTE_FIRST)
        if place == "term" and function in syntax.RESPONSE:
            raise self.error(f"{function}(...) belongs to the response", name, f"write `{function}(y, ...) ~ terms`")
        if place == "response" and function not in (*syntax.NUMERIC, *syntax.RESPONSE):
            raise self.error(f"{function}(...) cannot be a response", name, COMPUTE_FIRST)
        return syntax.FUNCTIONS[function]

    def count(self, name: Token, signature: syntax.Signature | None, given: int) -> None:
        """Refuse a wrong number of positional arguments."""
        if signature is None or signature.least <= given <= signature.most:
            return
        wanted = str(signature.least)
        if signature.most > signature.least:
            wanted += f" to {signature.most}"
        advice = f"{name.value} takes {wanted} positional argument{'s' if wanted != '1' else ''}"
        if signature.keywords:
            advice += f" and the keywords {', '.join(signature.keywords)}"
        raise self.error(f"{name.value}(...) has {given} positional argument{'s' * (given != 1)}", name, advice)

    def keyword(self, name: Token, signature: syntax.Signature | None, given: list[str]) -> tuple[str, Node]:
        """`key=value`."""
        key = self.take()
        if signature is not None and key.value not in signature.keywords:
            known = near_names(key.value, signature.keywords) if signature.keywords else "It takes none."
            raise self.error(f"{name.value}(...) has no keyword argument {key.value!r}", key, known)
        if key.value in given:
            raise self.error(f"the keyword argument {key.value!r} is given twice", key, "give it once")
        self.take()
        if name.value == "truncated" or name.kind == "dotted":
            return key.value, self.value()
        if key.value == "by":
            return key.value, self.column(name)
        return key.value, self.contrast() if key.value == "contrast" else self.option()

    def positional(self, name: Token, k: int) -> Node:
        """Read the k-th positional argument."""
        function = name.value
        if name.kind == "dotted":
            return self.value()
        if function == "hsgp" or (function in syntax.CATEGORICAL and k == 0):
            return self.column(name)
        if function in syntax.RESPONSE:
            if k == 0:
                return self.numeric(function, name)
            return self.column(name) if function in ("weighted", "censored") else self.value()
        if k == 0:
            return self.numeric(function, name)
        return self.contrast() if function == "C" else self.option()

    def column(self, function: Token) -> Node:
        """Read a bare column."""
        token = self.peek
        node = self.component("argument")
        if not isinstance(node, Name):
            raise self.error(f"{function.value}(...) takes a column here", token, COMPUTE_FIRST)
        return node

    def contrast(self) -> Node:
        """Treatment, Sum, or a call of them."""
        token = self.take()
        if token.kind != "name" or token.value not in syntax.CONTRASTS:
            advice = 'write C(f, Treatment("a")), C(f, Sum), T(f, "a") or S(f, "a")'
            raise self.error(f"unexpected {self.shown(token)} as a contrast", token, advice)
        if self.peek.kind != "(":
            return Literal(token.value, "contrast", start=token.start, stop=token.stop)
        signature = syntax.CONTRASTS[token.value]
        self.take()
        arguments, keywords = [], []
        if self.peek.kind == "name":
            keywords.append(self.keyword(token, signature, []))
        elif self.peek.kind != ")":
            arguments.append(self.option())
        self.expect(")", f"{token.value} takes one level")
        return Call(token.value, tuple(arguments), tuple(keywords), start=token.start, stop=self.last_stop)

    def option(self) -> Literal:
        """Read a number, a text, True, False or None."""
        token = self.take()
        sign = ""
        if token.kind == "-":
            sign, token = "-", self.take()
        if token.kind == "number":
            return Literal(sign + self.number(token), "number", start=token.start, stop=token.stop)
        if token.kind in ("string", "literal") and not sign:
            text = f'"{token.value}"' if token.kind == "string" else token.value
            return Literal(text, token.kind, start=token.start, stop=token.stop)
        raise self.error(
            f"unexpected {self.shown(token)} as an option", token, "a number, a text in quotes, True, False or None"
        )

    def value(self) -> Node:
        """Read an option or arithmetic."""
        return self.option() if self.peek.kind in ("string", "literal") else self.arithmetic()

    def numeric(self, function: str, token: Token) -> Node:
        """Arithmetic with at least one column."""
        node = self.arithmetic()
        if not any(syntax.names_in(node)):
            raise self.error(f"no column stands inside {function}(...)", token, "name a column of the table")
        return node

    def arithmetic(self) -> Node:
        """Read sums and differences of numbers, with Python's precedence."""
        return self.left_chain(("+", "-"), lambda: self.left_chain(("*", "/"), self.unary))

    def left_chain(self, operators: tuple[str, ...], part) -> Node:
        """Left-associative chain of arithmetic."""
        left = part()
        while self.peek.kind in operators:
            operator = self.operator()
            right = part()
            left = Arithmetic(operator.kind, left, right, start=left.start, stop=right.stop)
        return left

    def unary(self) -> Node:
        """Signs bind weaker than `**`: ``-x ** 2`` is ``-(x ** 2)``, as in Python and R."""
        token = self.peek
        if token.kind not in ("+", "-"):
            return self.raised()
        self.take()
        with self.nested():
            operand = self.unary()
        return operand if token.kind == "+" else Minus(operand, start=token.start, stop=operand.stop)

    def raised(self) -> Node:
        """Read `base ** exponent`, right-associative."""
        base = self.primary()
        if self.peek.kind != "**":
            return base
        self.operator()
        with self.nested():
            exponent = self.unary()
        return Arithmetic("**", base, exponent, start=base.start, stop=exponent.stop)

    def primary(self) -> Node:
        """Read a number, a column, a call or brackets inside arithmetic."""
        token = self.peek
        if token.kind == "number":
            self.take()
            return Literal(self.number(token), "number", start=token.start, stop=token.stop)
        if token.kind == "(":
            self.take()
            with self.nested():
                inner = self.arithmetic()
                self.expect(")", "close the bracket")
            return inner
        if token.kind in (":", "|", "||", "~"):
            raise self.error(f"{token.value!r} cannot stand inside a function", token, "use + - * / ** here")
        return self.component("argument")

    def number(self, token: Token) -> str:
        """Canonical text of a number token."""
        if len(token.value) > 30 or not abs(float(token.value)) < 1e30:
            raise self.error("the number is too large or too long", token, "rescale the column in the table first")
        text = syntax.number_text(token.value)
        if len(text) > 40:
            raise self.error("the number is too small", token, "rescale the column in the table first")
        return text

    def dotted(self, token: Token) -> FormulaError:
        """Error about `my.var` or `np.log(x)`."""
        if self.peek.kind == "(":
            last = token.value.rsplit(".", 1)[-1]
            known = f"write `{last}(...)`" if last in syntax.FUNCTIONS else COMPUTE_FIRST
            return self.error(
                f"the call {token.value}(...) is not allowed", token, f"{known}, or pass trusted=True if you trust it"
            )
        return self.error(
            f"the name {token.value!r} has a dot", token, f"if it is a column, write it in back-quotes: `{token.value}`"
        )

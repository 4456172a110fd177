"""A place in a formula's tokens: what comes next, limits, and errors that point there."""

from collections.abc import Iterator
from contextlib import contextmanager

from poolwise.errors import FormulaError
from poolwise.spec.tokens import Token, formula_error, tokenize

MAX_DEPTH = 40
# Operators within one term; bounds the depth of the tree and so of every walk through it.
MAX_OPERATIONS = 100
COMPUTE_FIRST = "compute the column in the table first"


class Cursor:
    """Tokens of one formula and how far they are read.

    Parameters
    ----------
    text : str
        The formula.
    trusted : bool
        Whether dotted calls such as ``np.log10(x)`` pass.
    """

    def __init__(self, text: str, *, trusted: bool) -> None:
        self.text = text
        self.trusted = trusted
        self.tokens = tokenize(text)
        self.position = 0
        self.depth = 0
        # Where the next component stands: term or factor.
        self.place = "term"
        self.operations = 0

    @property
    def peek(self) -> Token:
        """Next token."""
        return self.tokens[self.position]

    @property
    def last_stop(self) -> int:
        """End of the token taken last."""
        return self.tokens[self.position - 1].stop

    def take(self) -> Token:
        """Take the next token; the end stays."""
        token = self.peek
        if token.kind != "end":
            self.position += 1
        return token

    def operator(self) -> Token:
        """Take an operator and count it."""
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise self.too_large(f"more than {MAX_OPERATIONS} operators in one term")
        return self.take()

    def expect(self, kind: str, advice: str) -> None:
        """Take a token of this kind."""
        if self.peek.kind != kind:
            problem = "the formula ends too early" if self.peek.kind == "end" else f"unexpected {self.shown(self.peek)}"
            raise self.error(problem, self.peek, advice)
        self.take()

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Count one level of brackets."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.too_large(f"brackets nested more than {MAX_DEPTH} deep")
        yield
        self.depth -= 1

    def shown(self, token: Token) -> str:
        """Token as a message names it."""
        if token.kind == "end":
            return "end"
        return f"{token.value!r}" if len(token.value) <= 40 else f"{token.value[:40]!r}..."

    def error(self, problem: str, token: Token, advice: str) -> FormulaError:
        """Error at a token."""
        return formula_error(problem, self.text, token.start, advice)

    def too_large(self, what: str) -> FormulaError:
        """Error about a limit."""
        return self.error(f"the formula has {what}", self.peek, COMPUTE_FIRST)

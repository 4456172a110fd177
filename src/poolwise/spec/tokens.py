"""Tokens of a formula, and the error that points at one of them."""

import re
from dataclasses import dataclass

from poolwise.errors import FormulaError

MAX_CHARACTERS = 10_000
# A longer formula is shown by a window around the place of the error.
SHOWN = 120

LITERALS = ("True", "False", "None")
# Longest first, so that `**` is not read as two products.
OPERATORS = ("**", "||", "~", "+", "-", "*", "/", ":", "|", "(", ")", "{", "}", ",", "=")
# What users of R and Python may write, and what to write instead.
FOREIGN = {
    "%in%": "write `a:b` for the cells of two factors, or `a/b` for b nested in a",
    "==": "comparisons are not part of a formula; compute the column in the table first",
    "!=": "comparisons are not part of a formula; compute the column in the table first",
    "<=": "comparisons are not part of a formula; compute the column in the table first",
    ">=": "comparisons are not part of a formula; compute the column in the table first",
    "//": "write `/` inside I(...), or compute the column in the table first",
    "<": "comparisons are not part of a formula; compute the column in the table first",
    ">": "comparisons are not part of a formula; compute the column in the table first",
    "^": "write `**`: `(a + b) ** 2` for interactions, `I(x ** 2)` for a square",
    "%": "compute the column in the table first",
    "@": "use + - : * / ** and the bar of `(expr | factor)`",
    "&": "write `a:b` for an interaction",
    "!": "compute the column in the table first",
    "[": "lists and subscripts are not part of a formula; compute the column in the table first",
    "]": "lists and subscripts are not part of a formula; compute the column in the table first",
    "$": "write the bare column name; the table is given beside the formula",
    ";": "use + - : * / ** and the bar of `(expr | factor)`",
    "\\": "put a name with unusual characters in back-quotes",
    ".": "R's `.` (all columns) is not part of the grammar; name the columns",
}
_LEVEL = re.compile(r"""\[\s*(?:(?P<quote>["'])(?P<level>[^"']*)(?P=quote)|(?P<bare>\w+))\s*\]""")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Token:
    """One piece of a formula.

    Parameters
    ----------
    kind : str
        ``name``, ``dotted`` (a path such as np.log), ``number``, ``string``, ``literal`` (True, False, None),
        ``end``, or the operator itself.
    value : str
        The text, of a name or string without its quotes.
    start, stop : int
        Position in the formula, from 0.
    quoted : bool
        Whether a name stood in back-quotes.
    """

    kind: str
    value: str
    start: int
    stop: int
    quoted: bool = False


def formula_error(problem: str, text: str, position: int, advice: str) -> FormulaError:
    """Error that shows the formula with a caret under the place.

    Examples
    --------
    >>> print(formula_error("unknown operator '^'", "y ~ x^2", 5, "write `**`"))
    unknown operator '^'
      y ~ x^2
           ^
    write `**`
    """
    # White space and unprintable characters become blanks, one for one, so that the caret stays in its column.
    shown = "".join(character if character.isprintable() else " " for character in text)
    first = max(0, position - SHOWN // 2) if len(shown) > SHOWN else 0
    shown = shown[first : first + SHOWN] if len(shown) > SHOWN else shown
    left = "... " if first > 0 else ""
    right = " ..." if first + SHOWN < len(text) else ""
    caret = " " * (2 + len(left) + position - first) + "^"
    return FormulaError(f"{problem}\n  {left}{shown}{right}\n{caret}\n{advice}")


def tokenize(text: str) -> list[Token]:
    """Tokens of a formula, the last of kind ``end``.

    Parameters
    ----------
    text : str
        The formula, in Unicode normal form C.

    Returns
    -------
    list of Token

    Raises
    ------
    FormulaError
        For a character, an operator or a name outside the grammar; shows its place and what to write instead.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        if text[position] == "[" and [token.kind for token in tokens] == ["name"]:
            # A level of the response, `y["yes"] ~ x`; subscripts stand nowhere else.
            tokens += _level(text, position)
        else:
            tokens.append(_token(text, position))
        position = tokens[-1].stop
    return [*tokens, Token("end", "", len(text), len(text))]


def _level(text: str, start: int) -> list[Token]:
    """`["yes"]` or `[yes]` after the response."""
    found = _LEVEL.match(text, start)
    if found is None or (found["quote"] and not found["level"].strip()):
        advice = 'name one label of the response in quotes: `y["yes"] ~ x`; compute anything else in the table first'
        raise formula_error("'[' is not closed after one label", text, start, advice)
    inner = found.start("quote") if found["quote"] else found.start("bare")
    token = _string(text, inner) if found["quote"] else Token("string", found["bare"], inner, found.end("bare"))
    return [Token("[", "[", start, start + 1), token, Token("]", "]", found.end() - 1, found.end())]


def _token(text: str, start: int) -> Token:
    character = text[start]
    if character == "`":
        return _back_quoted(text, start)
    if character in "\"'":
        return _string(text, start)
    if character.isalpha() or character == "_":
        return _name(text, start)
    if number := _NUMBER.match(text, start):
        return Token("number", number.group(), start, number.end())
    for operator in FOREIGN:
        if text.startswith(operator, start):
            raise formula_error(f"{operator!r} is not part of the grammar", text, start, FOREIGN[operator])
    for operator in OPERATORS:
        if text.startswith(operator, start):
            return Token(operator, operator, start, start + len(operator))
    raise formula_error(
        f"unexpected character {character!r}", text, start, "put a column name with such a character in back-quotes"
    )


def _back_quoted(text: str, start: int) -> Token:
    stop = text.find("`", start + 1)
    if stop == -1:
        raise formula_error("a back-quote is not closed", text, start, "close it: `column name`")
    if stop == start + 1:
        raise formula_error("nothing stands between the back-quotes", text, start, "write the column name: `name`")
    return Token("name", text[start + 1 : stop], start, stop + 1, quoted=True)


def _string(text: str, start: int) -> Token:
    stop = text.find(text[start], start + 1)
    if stop == -1:
        raise formula_error("a quotation mark is not closed", text, start, 'close it: "level"')
    value = text[start + 1 : stop]
    if any(character in "\"'\\" or not character.isprintable() for character in value):
        advice = "rename the level in the table, or put it first in a pd.Categorical"
        raise formula_error("text with a quotation mark or a backslash cannot be written here", text, start, advice)
    return Token("string", value, start, stop + 1)


def _name(text: str, start: int) -> Token:
    stop = start
    while stop < len(text) and (text[stop].isalnum() or text[stop] in "_."):
        stop += 1
    name = text[start:stop]
    if any(part.startswith("__") for part in name.split(".")):
        raise formula_error(
            f"the name {name!r} is not allowed", text, start, f"if it is a column, put it in back-quotes: `{name}`"
        )
    if "." in name:
        return Token("dotted", name, start, stop)
    return Token("literal" if name in LITERALS else "name", name, start, stop)

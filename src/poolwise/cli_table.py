"""The table of a command: read from its file, its levels put in order, and messages in the command's words."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poolwise.errors import DataError, PoolwiseError
from poolwise.spec.families import family_of
from poolwise.spec.formula import parse_formula

# What messages call an argument of Python, and how an option of that name is written.
OPTIONS = re.compile(r"\b(missing|family|link|kind|groups|form)='(\w+)'")
OPTION = re.compile(r"\b(draws|chains|seed|level|priors|family|link|kind|groups)=(?=[\s.,;]|$)")
BY_FACTOR = re.compile(r"\bgroups=\{'([^']+)': '(\w+)'\}")
# How Python gives a response of texts its order, and how the command line does.
ORDERED = (
    "make it a pd.Categorical(..., categories=[lowest, ..., highest], ordered=True)",
    "give it one: --levels LOW,...,HIGH",
)
ROWS = re.compile(r"\b(rows?) (\d+(?:, \d+)*)((?: and \d+ more)?)(?! to\b)(?: of the new table)?")
HEADER = 1


class InputFile:
    """A CSV file as a data frame, which knows the lines of its rows.

    Parameters
    ----------
    path : str
        Of a CSV file with a header.

    Attributes
    ----------
    frame : DataFrame
        Its rows.

    Raises
    ------
    PoolwiseError
        If there is no such file, or it is no CSV file.
    """

    def __init__(self, path: str):
        import pandas as pd

        self.path = Path(path)
        if not self.path.is_file():
            advice = "; the file comes first, then the formula" if "~" in path else ""
            raise PoolwiseError(f"there is no file {path!r}{advice}")
        try:
            self.frame = pd.read_csv(self.path)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise PoolwiseError(f"{path!r} is not a readable CSV file: {error}") from error

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors with rows counted from 1, as spreadsheets do, and with the lines of the file where a row is one.

        Elsewhere rows are counted from 0, as data frames do.
        """
        try:
            yield
        except DataError as error:
            raise type(error)(self._counted(str(error))) from error

    def _counted(self, text: str) -> str:
        with open(self.path, "rb") as file:
            # A text with a line break, and an empty line, would shift what follows.
            one_each = sum(1 for _ in file) == len(self.frame) + HEADER

        def counted(match: re.Match) -> str:
            word, numbers, more = match.groups()
            rows = [int(number) + 1 for number in numbers.split(", ")]
            said = f"{word} {', '.join(map(str, rows))}{more} of the data"
            if not one_each:
                return f"{said}, counted from 1 without the header"
            lines = ", ".join(str(row + HEADER) for row in rows)
            return f"{said}, {word.replace('row', 'line')} {lines}{' ...' if more else ''} of the file"

        return ROWS.sub(counted, text)


def in_words_of_the_command(text: str) -> str:
    """A message that names arguments of Python, with the options of the command line in their places.

    Examples
    --------
    >>> in_words_of_the_command("drop them with missing='drop'; use groups={'g': 'integrated'}")
    "drop them with --missing drop; use --groups 'g=integrated'"
    """
    text = text.replace(*ORDERED)
    text = BY_FACTOR.sub(r"--groups '\1=\2'", text)
    return OPTION.sub(r"--\1", OPTIONS.sub(r"--\1 \2", text))


def order_levels(file: InputFile, formula: str, family: str, given: str) -> None:
    """Give the texts of an ordinal response their order, in place.

    Parameters
    ----------
    file : InputFile
        Its frame is changed.
    formula, family : str
        Of the model.
    given : str
        The levels from the lowest to the highest, between commas, as in a CSV file.

    Raises
    ------
    DataError
        For a family without levels, a response of numbers, levels given twice, and levels that the file lacks or has
        beside these.
    """
    import pandas as pd

    name = parse_formula(formula).response_columns[0]
    if family_of(family).holds != "levels":
        raise DataError(f"--levels orders an ordinal response, of --family cumulative or sratio; here it is {family!r}")
    if name not in file.frame.columns:
        # The model says so in the same words as of any other column.
        return
    values = file.frame[name]
    if pd.api.types.is_numeric_dtype(values):
        raise DataError(f"the response {name!r} holds numbers, which have an order; leave out --levels")
    levels = [level.strip() for level in next(csv.reader([given], skipinitialspace=True), [])]
    there = set(values.dropna())
    for problem, wrong in (
        ("are given twice", sorted({level for level in levels if levels.count(level) > 1})),
        ("are no levels of the file", [level for level in levels if level not in there]),
        ("are levels of the file and not given", sorted(there - set(levels))),
    ):
        if wrong:
            listed = ", ".join(map(repr, wrong[:5])) + (" ..." if len(wrong) > 5 else "")
            raise DataError(
                f"--levels {given}: {listed} {problem}; write each level of {name!r} once, the lowest first"
            )
    file.frame[name] = pd.Categorical(values, categories=levels, ordered=True)

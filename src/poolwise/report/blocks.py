"""What a section is made of. The template has one macro a kind of block."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolwise.errors import PoolwiseError, RowsNeededError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.check.finding import Finding
    from poolwise.report.tables import Table

DPI = 110


@dataclass(frozen=True)
class Text:
    """A paragraph, or preformatted text such as a formula."""

    text: str
    formula: bool = False

    kind = "text"


@dataclass(frozen=True)
class Facts:
    """Pairs of a word and what it stands for."""

    pairs: tuple[tuple[str, str], ...]

    kind = "facts"


@dataclass(frozen=True)
class Items:
    """A list of sentences, numbered or not."""

    items: tuple[str, ...]

    kind = "items"


@dataclass(frozen=True)
class Chart:
    """A picture as a data address, with words for those who do not see it, and a caption."""

    address: str
    alt: str
    caption: str
    width: int
    height: int

    kind = "chart"


@dataclass(frozen=True, eq=False)
class Advice:
    """A finding, and its evidence."""

    finding: "Finding"
    evidence: "Table | None"

    kind = "advice"


@dataclass(frozen=True, eq=False)
class Downloads:
    """A table that is too long for the page: its files only."""

    title: str
    table: "Table"

    kind = "downloads"


@dataclass(frozen=True, eq=False)
class Section:
    """A section: its place in the address, its title, its blocks."""

    name: str
    title: str
    blocks: Sequence[Any]


def why(error: PoolwiseError) -> str:
    """Why something is missing; what code to write instead is no matter of a report.

    Parameters
    ----------
    error : PoolwiseError

    Returns
    -------
    str
    """
    if isinstance(error, RowsNeededError):
        return "it needs the rows of the data, and the model was made from sums of them"
    return str(error)


def chart(draw: "Callable[[], Figure]", alt: str, caption: str) -> Any:
    """A picture, or a sentence that says why there is none.

    Parameters
    ----------
    draw : callable
        Returns a matplotlib figure.
    alt : str
        What the picture shows, in words.
    caption : str
        How to read it.

    Returns
    -------
    Chart or Text
    """
    try:
        figure = draw()
    except PoolwiseError as error:
        return Text(f"No picture here: {why(error)}.")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor="white")
    width, height = (round(DPI * side) for side in figure.get_size_inches())
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Chart(address, alt, caption, width, height)

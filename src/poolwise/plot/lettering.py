"""Names in pictures: short enough, free of mathematics, in a font that has their letters."""

from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
BASE = "DejaVu Sans"
# In place of a letter that no font of this machine has.
NO_GLYPH = "\N{WHITE SQUARE}"


def cut(text: str, longest: int) -> str:
    """A name on one line, a long one cut visibly in its middle: names of groups often differ at their ends.

    Parameters
    ----------
    text : str
    longest : int
        Characters.

    Returns
    -------
    str

    Examples
    --------
    >>> cut("the school of the town", 10)
    'the sc…own'
    """
    line, end = " ".join(str(text).split()), (longest - 1) // 3
    return line if len(line) <= longest else f"{line[: longest - 1 - end]}…{line[len(line) - end :]}"


def plain(text: str, longest: int = 60) -> str:
    r"""A name for a picture: short, and without dollar signs, which start mathematics.

    Parameters
    ----------
    text : str
    longest : int, default 60
        Characters.

    Returns
    -------
    str

    Examples
    --------
    >>> print(plain("price in $"))
    price in \$
    """
    return cut(text, longest).replace("$", r"\$")


def legible(draw: "Callable[P, Figure]") -> "Callable[P, Figure]":
    """Of a function that draws: every letter of its figure gets a font of this machine that has it, or a white square.

    Parameters
    ----------
    draw : callable
        Returns a figure.

    Returns
    -------
    callable
        The same, whose figures draw without warnings of missing glyphs.
    """

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        return with_fonts(draw(*args, **kwargs))

    return wrapped


def with_fonts(figure: "Figure") -> "Figure":
    """Give every text of a figure fonts that have its letters, see :func:`legible`."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    named = [axis for axis in axes if isinstance(axis.get_major_locator(), FixedLocator)]
    labels = {axis: axis.get_major_formatter().format_ticks(list(axis.get_ticklocs())) for axis in named}
    texts = [text.get_text() for text in figure.findobj(Text)]
    written = "".join([*texts, *(name for own in labels.values() for name in own)])
    foreign = {letter for letter in written if letter.isprintable() and ord(letter) not in _letters(_path(BASE))}
    unprintable = {letter for letter in written if not letter.isprintable() and letter != "\n"}
    if not foreign and not unprintable:
        return figure
    families, without = _families(frozenset(foreign))
    table = str.maketrans(dict.fromkeys(without | unprintable, NO_GLYPH))
    for axis, own in labels.items():
        axis.set_ticks(axis.get_ticklocs(), [name.translate(table) for name in own])
    for text in figure.findobj(Text):
        text.set_text(text.get_text().translate(table))
        text.set_fontfamily([BASE, *families])
    return figure


@cache
def _families(foreign: frozenset[str]) -> tuple[list[str], set[str]]:
    """Fonts that together have these letters, and the letters that none has."""
    from matplotlib.font_manager import fontManager

    left, families = set(foreign), []
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.style != "normal", entry.weight != 400)):
        if not left:
            break
        # A font of last resort draws a box for every letter there is.
        if "LastResort" in entry.fname or entry.name in families:
            continue
        found = {letter for letter in left if ord(letter) in _letters(entry.fname)}
        if found:
            families.append(entry.name)
            left -= found
    return families, left


@cache
def _path(family: str) -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(family))


@cache
def _letters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        # A font file that cannot be read has no letters.
        return frozenset()

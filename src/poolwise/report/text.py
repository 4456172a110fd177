"""Words of users on a page: cut visibly, control characters made visible, and escaped for each target."""

import unicodedata

LONGEST = 160
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
        "%": r"\%",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\n": " ",
    }
)
_MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", **{mark: f"\\{mark}" for mark in "\\`*_|[]"}}
)


def shown(text: object, longest: int = LONGEST) -> str:
    """The text for a reader: control characters as a replacement sign, a long one cut, which is said.

    Parameters
    ----------
    text : object
        Its ``str`` is shown.
    longest : int, default 160
        Characters beyond which it is cut.

    Returns
    -------
    str
        Not escaped: the template does that.

    Examples
    --------
    >>> shown("a" * 10_000, 10)
    'aaaaaaaaaa… (10,000 characters)'
    """
    whole = str(text)
    clean = "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for letter in whole[:longest]
    )
    return clean if len(whole) <= longest else f"{clean}… ({len(whole):,} characters)"


def latex(text: object) -> str:
    r"""The text escaped for LaTeX.

    Examples
    --------
    >>> latex("50 % of std_age")
    '50 \\% of std\\_age'
    """
    return str(text).translate(_LATEX)


def markdown(text: object) -> str:
    """The text escaped for a cell of a Markdown table."""
    return str(text).translate(_MARKDOWN)

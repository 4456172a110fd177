"""New groups whose labels may be misspelt ones of known groups, which a prediction takes for new ones."""

import re
import warnings
from collections.abc import Sequence
from difflib import SequenceMatcher

import pandas as pd

from poolwise import names
from poolwise.errors import PoolwiseWarning
from poolwise.spec.factors import GroupingFactor

# New labels beyond which they are new in earnest, and comparisons that take a tenth of a second.
MOST_NEW, MOST_COMPARED = 20, 10_000
# Likeness of two words as difflib counts it, and the letters a word needs for that to say something.
ALIKE, LETTERS = 0.8, 4
SHOWN = 3


def warn_of_near_labels(factor: GroupingFactor, labels: pd.MultiIndex) -> None:
    """Warn where the label of a new group nearly is that of a known one.

    Parameters
    ----------
    factor : GroupingFactor
        With the known groups.
    labels : MultiIndex
        The new group of each row that has one, as texts.

    Warns
    -----
    PoolwiseWarning
        Names the new labels and the known ones that may be meant.
    """
    new = [names.cell_label(label) if len(label) > 1 else label[0] for label in labels.unique()]
    if not 0 < len(new) <= MOST_NEW:
        return
    near = near_labels(new, factor.labels)
    if not near:
        return
    pairs = [
        f"{one!r} is a new group of {factor.name!r} and predicted as one; did you mean {known!r}?"
        for one, known in near.items()
    ]
    more = f" And {len(pairs) - SHOWN} more." if len(pairs) > SHOWN else ""
    warnings.warn(f"{' '.join(pairs[:SHOWN])}{more}", PoolwiseWarning, stacklevel=5)


def near_labels(new: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Known labels that new ones may have been meant to be.

    Letters and blanks count, numbers do not: ``site 12`` is no misspelt ``site 11``.

    Parameters
    ----------
    new, known : sequence of str
        Labels as texts.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> near_labels(["Cheshir", " kent", "s12", "devon"], ["cheshire", "Kent", "s11", "dorset"])
    {'Cheshir': 'cheshire', ' kent': 'Kent'}
    """
    plain = {_plain(label): label for label in known}
    found = {label: plain[_plain(label)] for label in new if _plain(label) in plain}
    if len(new) * len(known) > MOST_COMPARED:
        return found
    for label in new:
        alike = {other: _likeness(_plain(label), one) for one, other in plain.items()}
        best = max(alike, key=lambda other: alike[other], default="")
        if label not in found and alike.get(best, 0.0) >= ALIKE:
            found[label] = best
    return {label: found[label] for label in new if label in found}


def _plain(label: str) -> str:
    return " ".join(label.casefold().split())


def _likeness(one: str, other: str) -> float:
    """Of the words that differ, the least; 0 where a number, a short word or the number of words differs."""
    words = [re.findall(r"\d+|[^\W\d_]+", text) for text in (one, other)]
    if len(words[0]) != len(words[1]):
        return 0.0
    pairs = [(a, b) for a, b in zip(*words, strict=True) if a != b]
    if any(min(len(a), len(b)) < LETTERS or a.isdigit() or b.isdigit() for a, b in pairs):
        return 0.0
    return min((SequenceMatcher(None, a, b).ratio() for a, b in pairs), default=1.0)

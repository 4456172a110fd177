"""Whether the draws of a run, or the matrix of crossed factors, fit into memory, asked before the work."""

from typing import TYPE_CHECKING

from poolwise.algebra.crossed import CrossedProducts
from poolwise.data.memory import refuse_larger
from poolwise.errors import FitError
from poolwise.spec.design import Design

if TYPE_CHECKING:
    from poolwise.fit.bayes import Sampling

# The factor, and what it is made of while its gradient is.
COPIES = 2


def refuse_too_large(design: Design, settings: "Sampling") -> None:
    """Refuse a run whose draws do not fit into the memory that is free.

    Parameters
    ----------
    design : Design
        For the number of parameters and effects of one draw.
    settings : Sampling
        For the number of draws.

    Raises
    ------
    FitError
        With the size, what is free, and the way out.
    """
    numbers = len(design.coefficient_names) + sum(factor.J * len(factor.effects) for factor in design.factors) + 1
    what = f"{settings.chains} chains of {settings.tune} + {settings.draws} draws of {numbers} numbers"
    needed = 8.0 * settings.chains * (settings.draws + settings.tune) * numbers
    refuse_larger(needed, what, "Ask for fewer draws", FitError)


def refuse_too_connected(stats: CrossedProducts) -> None:
    """Refuse crossed factors whose Schur complement does not fit into the memory that is free.

    Parameters
    ----------
    stats : CrossedProducts
        Its storage is known before any of it is taken.

    Raises
    ------
    FitError
        With the size, what is free, and the way out.
    """
    storage = stats.storage
    entries = storage.entries
    refuse_larger(
        8.0 * COPIES * entries,
        f"the {entries:.3g} numbers that tie {storage.Q} effects of crossed factors together",
        "Leave out the factor whose groups meet the most others, or fit a part of the rows",
        FitError,
    )

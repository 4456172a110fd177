"""Whether the draws of a run fit into memory, asked before the work."""

import os

from poolwise.errors import FitError
from poolwise.fit.bayes import Sampling
from poolwise.spec.design import Design


def refuse_too_large(design: Design, settings: Sampling) -> None:
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
    needed, free = 8 * settings.chains * (settings.draws + settings.tune) * numbers, _free()
    if needed > free:
        raise FitError(
            f"{settings.chains} chains of {settings.tune} + {settings.draws} draws of {numbers} numbers take at least "
            f"{needed / 1e9:.3g} GB of memory; {free / 1e9:.3g} GB are free. Ask for fewer draws"
        )


def _free() -> float:
    """Bytes of memory that are free; infinite where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")

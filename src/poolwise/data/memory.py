"""Whether arrays fit into the memory that is free, asked before they are made."""

import os

from poolwise.errors import PoolwiseError


def refuse_larger(needed: float, what: str, advice: str, error: type[PoolwiseError]) -> None:
    """Refuse what does not fit into the memory that is free.

    Parameters
    ----------
    needed : float
        Bytes, at least.
    what : str
        What takes them, in the plural.
    advice : str
        The way out, a sentence without its full stop.
    error : type
        What is raised.

    Raises
    ------
    PoolwiseError
        Of the type given, with the size, what is free, and the way out.
    """
    free = free_memory()
    if needed > free:
        raise error(f"{what} take at least {needed / 1e9:.3g} GB of memory; {free / 1e9:.3g} GB are free. {advice}")


def free_memory() -> float:
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

"""Whether arrays fit into the memory that is free, asked before they are made."""

import os
from collections.abc import Iterator
from pathlib import Path

from poolwise.errors import PoolwiseError

# Where each version of Linux's control groups keeps its tree, and its files: limit, use, and in memory.stat the part
# of the use that the system gives back on demand.
CGROUP_2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
CGROUP_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


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


def free_memory(root: Path = Path("/")) -> float:
    """Bytes of memory that are free: of the machine, or of a container or batch job that may have less.

    Parameters
    ----------
    root : Path, default "/"
        Of the file system that says so.

    Returns
    -------
    float
        Infinite where the system does not say.
    """
    return min([_free_of_machine(root), *_free_of_groups(root)])


def _free_of_machine(root: Path) -> float:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _free_of_groups(root: Path) -> Iterator[float]:
    """What each control group of the process, and each group that holds it, leaves of its limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, own = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, *files = CGROUP_1 if controllers else CGROUP_2
        top = root / folder
        place = top / own.strip("/")
        # A container shows the group of the process as the top, whatever the path says.
        for group in dict.fromkeys([place, *place.parents, top]):
            if group.is_relative_to(top) and (free := _free_of_group(group, *files)) is not None:
                yield free


def _free_of_group(group: Path, limit: str, use: str, reclaimable: str) -> float | None:
    """Limit minus use; None where there is no limit, or none to be read."""
    try:
        # Version 2 says "max" where there is no limit, which is no number.
        most, used = int((group / limit).read_text()), int((group / use).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0.0, float(most - used + int(stat.get(reclaimable, 0))))
    except (OSError, ValueError):
        return None

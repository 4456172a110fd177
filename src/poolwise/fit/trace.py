"""nutpie's trace as arrays: all of it when a run has ended, what is new in it while it runs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array

# The sample statistics that are kept, under nutpie's names.
STATISTICS = (
    "diverging",
    "depth",
    "maxdepth_reached",
    "n_steps",
    "step_size",
    "step_size_bar",
    "logp",
    "energy",
    "mean_tree_accept",
)

# Fewer draws than this a chain are no posterior.
MINIMUM = 4

# Told the draws of a chain that are new, with one chain as their first dimension, and their statistics.
Watch = Callable[[int, xr.Dataset, xr.Dataset], None]


def collected(trace: tuple[Any, Any], coords: Mapping[str, Any]) -> tuple[xr.Dataset, xr.Dataset]:
    """Draws and statistics of a run that has ended, or was interrupted.

    An interrupted run has chains of different lengths, some not begun: what the begun ones have in common is kept.

    Parameters
    ----------
    trace : pair of lists of Arrow record batches
        Draws and statistics, one of each a chain.
    coords : mapping of str to labels
        Of the dimensions.

    Returns
    -------
    posterior, sample_stats : Dataset
        The variables as nutpie has them; :data:`STATISTICS`.

    Raises
    ------
    KeyboardInterrupt
        If no chain has draws to keep.
    """
    lengths = [_lengths(*both) for both in zip(*trace, strict=True)]
    begun = [chain for chain, (_, draws) in enumerate(lengths) if draws >= MINIMUM]
    if not begun:
        raise KeyboardInterrupt("sampling was stopped before there were draws to keep")
    common = min(lengths[chain][1] for chain in begun)
    parts = [_part(trace, coords, chain, lengths[chain][0], common) for chain in begun]
    posterior, stats = (
        each[0] if len(begun) == 1 else xr.concat(each, names.CHAIN) for each in zip(*parts, strict=True)
    )
    where = {names.CHAIN: np.arange(len(begun)), names.DRAW: np.arange(common)}
    return posterior.assign_coords(where), stats


class Feed:
    """Hands on what is new in a trace that grows.

    Parameters
    ----------
    watch : callable
        Told of it.
    coords : mapping of str to labels
        Of the dimensions.
    """

    def __init__(self, watch: Watch, coords: Mapping[str, Any]):
        self._watch, self._coords = watch, coords
        self._told: dict[int, int] = {}

    def __call__(self, trace: tuple[Any, Any]) -> None:
        """Tell of the draws that were not there the last time, chain by chain."""
        for chain, both in enumerate(zip(*trace, strict=True)):
            warm_up, draws = _lengths(*both)
            told = self._told.get(chain, 0)
            if draws > told:
                self._watch(chain, *_part(trace, self._coords, chain, warm_up + told, draws - told))
                self._told[chain] = draws


def _lengths(draws: Any, stats: Any) -> tuple[int, int]:
    """Draws of warm-up and those after it of one chain."""
    warm_up = int(_numbers(stats, "tuning").sum())
    return warm_up, min(draws.num_rows, stats.num_rows) - warm_up


def _part(
    trace: tuple[Any, Any], coords: Mapping[str, Any], chain: int, begin: int, count: int
) -> tuple[xr.Dataset, xr.Dataset]:
    """A stretch of one chain, draws and statistics."""
    import pyarrow

    draws, stats = (pyarrow.record_batch(batches[chain]).slice(begin, count) for batches in trace)
    sample = (names.CHAIN, names.DRAW)
    variables: dict[str, tuple] = {}
    used: dict[str, Any] = {}
    for name in draws.schema.names:
        said = draws.schema.field(name).metadata or {}
        shape = [int(size) for size in said.get(b"shape", b"").decode().split(",") if size]
        own = [dim for dim in said.get(b"dims", b"").decode().split(",") if dim]
        own += [f"{name}_dim_{k}" for k in range(len(own), len(shape))]
        variables[name] = ((*sample, *own), _numbers(draws, name).reshape(1, count, *shape))
        used |= {dim: coords[dim] for dim in own if dim in coords}
    statistics = {name: (sample, _numbers(stats, name)[None]) for name in STATISTICS}
    return xr.Dataset(variables, coords=used), xr.Dataset(statistics)


def _numbers(batch: Any, column: str) -> Array:
    """Values of one column of an Arrow record batch, lists joined end to end."""
    import pyarrow

    values = pyarrow.record_batch(batch).column(column)
    if pyarrow.types.is_large_list(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)

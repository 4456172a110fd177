"""Draws as records of numbers, and back: one record a draw, its posterior variables and its statistics side by side."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import StoreError

# What a record, which holds float64, gives back exactly; whole numbers up to 2^53.
TYPES = ("float64", "bool", "int64", "uint64")
SAMPLE = (names.CHAIN, names.DRAW)


@dataclass(frozen=True)
class Layout:
    """Which numbers of a record are which variable.

    Parameters
    ----------
    posterior, stats : tuple of (name, dims, shape, type)
        Variables in their order, without chain and draw.
    coords : dict of str to list
        Labels of dimensions.
    """

    posterior: tuple[tuple[str, tuple[str, ...], tuple[int, ...], str], ...]
    stats: tuple[tuple[str, tuple[str, ...], tuple[int, ...], str], ...]
    coords: Mapping[str, list]

    @classmethod
    def of(cls, posterior: xr.Dataset, stats: xr.Dataset) -> "Layout":
        """That of a posterior and its sample statistics."""

        def listed(dataset: xr.Dataset) -> tuple:
            found = []
            for name, value in dataset.data_vars.items():
                value = value.transpose(*SAMPLE, ...)
                found.append((str(name), tuple(map(str, value.dims[2:])), value.shape[2:], str(value.dtype)))
            return tuple(found)

        coords: dict[str, list] = {}
        for name, labels in posterior.coords.items():
            if name not in SAMPLE:
                coords[str(name)] = labels.to_numpy().tolist()
        return cls(listed(posterior), listed(stats), coords)

    @property
    def width(self) -> int:
        """Numbers of a record."""
        return sum(math.prod(shape) for _, _, shape, _ in (*self.posterior, *self.stats))

    def records(self, posterior: xr.Dataset, stats: xr.Dataset) -> Array:
        """Records (chain, draw, width) of draws that have this layout."""
        parts = []
        for dataset, variables in ((posterior, self.posterior), (stats, self.stats)):
            for name, dims, shape, _ in variables:
                value = dataset[name].transpose(*SAMPLE, *dims).to_numpy()
                if value.shape[2:] != shape:
                    raise StoreError(f"draws of {name!r} have shape {value.shape[2:]}, and {shape} before")
                parts.append(value.reshape(*value.shape[:2], -1).astype(np.float64, copy=False))
        return np.concatenate(parts, axis=2)

    def datasets(self, records: Array) -> tuple[xr.Dataset, xr.Dataset]:
        """Posterior and sample statistics from records (chain, draw, width)."""
        chains, draws, _ = records.shape
        at, found = 0, []
        for variables in (self.posterior, self.stats):
            values: dict[Hashable, tuple] = {}
            for name, dims, shape, kind in variables:
                stop = at + math.prod(shape)
                value = records[..., at:stop].astype(kind).reshape(chains, draws, *shape)
                values[name] = ((*SAMPLE, *dims), value)
                at = stop
            found.append(values)
        where = {names.CHAIN: np.arange(chains), names.DRAW: np.arange(draws)}
        return xr.Dataset(found[0], coords={**where, **self.coords}), xr.Dataset(found[1])

    def as_json(self) -> dict:
        """What :meth:`from_json` reads."""
        return {"posterior": self.posterior, "stats": self.stats, "coords": self.coords}

    @classmethod
    def from_json(cls, found: dict, width: int) -> "Layout":
        """Read a layout, and check that it fits records of so many numbers.

        Raises
        ------
        StoreError, KeyError, TypeError, ValueError
            If it is none.
        """

        def listed(rows: list) -> tuple:
            return tuple((name, tuple(dims), tuple(shape), kind) for name, dims, shape, kind in rows)

        layout = cls(listed(found["posterior"]), listed(found["stats"]), dict(found["coords"]))
        sizes: dict[str, int] = {}
        for name, dims, shape, kind in (*layout.posterior, *layout.stats):
            _holds(isinstance(name, str) and kind in TYPES, f"a variable {name!r:.40} of type {kind!r:.40}")
            _holds(len(dims) == len(shape) and not {*SAMPLE} & {*dims}, f"dimensions {dims!r:.80} of {name!r:.40}")
            for dim, size in zip(dims, shape, strict=True):
                _holds(isinstance(dim, str) and type(size) is int and 0 <= size <= width, f"a size {size!r:.40}")
                _holds(sizes.setdefault(dim, size) == size, f"two sizes of {dim!r:.40}")
        for dim, labels in layout.coords.items():
            _holds(isinstance(labels, list) and len(labels) == sizes.get(dim), f"labels of {dim!r:.40}")
            _holds(all(type(label) in (str, int, float, bool) for label in labels), f"labels of {dim!r:.40}")
        _holds(layout.width == width, f"records of {width} numbers")
        return layout


def _holds(true: bool, what: str) -> None:
    if not true:
        raise StoreError(f"its layout has {what}")

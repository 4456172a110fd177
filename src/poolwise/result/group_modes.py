"""What a prediction does with the groups of its rows: the modes, and what became of each row.

For rows of a grouping factor with the effects u ~ N(0, Sigma), z'u being a row's group-specific part:

    observed          u of that group, with its uncertainty; every group must have been seen
    population_draw   u drawn from N(0, Sigma), once a label: a new group, as it might come
    population_mean   u = 0: the typical group
    integrated        u integrated out: the mean of the typical group, with the spread z'Sigma z in the interval

Without a mode a group that was seen is ``observed``; what a new one is depends on the fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.data.grouping import label_texts
from poolwise.errors import ArgumentError, DataError, UnknownNameError, near_names, shown
from poolwise.result.near_labels import warn_of_near_labels
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

OBSERVED, POPULATION_DRAW, POPULATION_MEAN, INTEGRATED = GROUP_MODES = (
    "observed",
    "population_draw",
    "population_mean",
    "integrated",
)
# Unknown groups that a message lists.
MOST_LISTED = 8

Groups = str | Mapping[str, str] | None


def group_modes(design: Design, groups: Groups) -> dict[str, str | None]:
    """The mode of each grouping factor, None where nothing was asked.

    Parameters
    ----------
    design : Design
        The factors.
    groups : str or mapping of factor name to str, optional
        One mode for all factors, or a mode by factor.

    Returns
    -------
    dict

    Raises
    ------
    ArgumentError, UnknownNameError
        For a mode or a factor that there is not.
    """
    names = [factor.name for factor in design.all_factors]
    if isinstance(groups, Mapping):
        for name in groups:
            if name not in names:
                raise UnknownNameError(f"groups= names no grouping factor {name!r}; {near_names(str(name), names)}")
        found: dict[str, str | None] = {name: groups.get(name) for name in names}
    else:
        found = dict.fromkeys(names, groups)
    for mode in found.values() if isinstance(groups, Mapping) else [groups]:
        if mode is not None and mode not in GROUP_MODES:
            listed = ", ".join(map(repr, GROUP_MODES))
            raise ArgumentError(f"groups must be one of {listed}, or a dict of them by factor; got {shown(mode)}")
    return found


def check_kind(kind: str, further: Sequence[str] = ()) -> str:
    """The kind of prediction, if there is such a one; ``further`` are parameters with formulas of their own."""
    if kind not in ("mean", "response", *further):
        listed = "".join(f", {name!r}" for name in further)
        raise ArgumentError(f"kind must be 'mean' or 'response'{listed}; got {kind!r}")
    return kind


def check_seed(seed: int) -> int:
    """The seed, if it is one."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"seed must be a whole number from 0; got {seed!r}")
    return int(seed)


def row_labels(factor: GroupingFactor, frame: pd.DataFrame) -> pd.MultiIndex:
    """The group of each row as texts."""
    return pd.MultiIndex.from_arrays([label_texts(frame[column]) for column in factor.columns], names=factor.columns)


def label_rng(seed: int, factor: GroupingFactor, label: tuple[str, ...]) -> np.random.Generator:
    """Generator of one group: neither other rows nor another factor's label of the same text change its draws."""
    return np.random.default_rng([seed, *"\x1f".join([factor.prefix + factor.name + factor.category, *label]).encode()])


def codes_for(factor: GroupingFactor, frame: pd.DataFrame, mode: str | None) -> NDArray[np.int64]:
    """Group of each row, -1 where it was not seen, and in all rows of a table without groups that needs none.

    Raises
    ------
    DataError
        If the mode is observed and a group was not, or the mode needs groups and the table has none.
    """
    if mode in (POPULATION_MEAN, INTEGRATED) and not set(factor.columns) & set(frame.columns):
        return np.full(len(frame), -1, dtype=np.int64)
    codes = factor.codes_of(frame)
    if mode == OBSERVED and (codes < 0).any():
        new = list(dict.fromkeys(":".join(label) for label in row_labels(factor, frame)[codes < 0]))
        listed = ", ".join(map(repr, new[:MOST_LISTED])) + (
            f" and {len(new) - MOST_LISTED} more" if new[MOST_LISTED:] else ""
        )
        one = len(new) == 1
        raise DataError(
            f"groups='observed' needs groups that were in the data, and {factor.name!r} has {len(new)} that "
            f"{'was' if one else 'were'} not: {listed}. Predict {'it' if one else 'them'} with "
            f"groups={{{factor.name!r}: 'integrated'}}, 'population_draw' or 'population_mean', or leave these rows out"
        )
    return codes


def record(
    factor: GroupingFactor, frame: pd.DataFrame, codes: NDArray[np.int64], mode: str | None, default: str | None
) -> tuple[str, Array]:
    """Column name and values: for each row whether its group was seen and what was done with it.

    ``default`` is what a new group is without a mode, None where nothing can be said of it. Without a mode a new group
    may be a misspelt one, of which a warning tells.
    """
    tell_near(factor, frame, codes, mode)
    known, new = (mode or OBSERVED), (mode or default)
    words = ["observed" if known == OBSERVED else f"seen: {known}", f"new: {new}" if new else "new"]
    return f"groups[{factor.name}]", np.where(codes >= 0, *words)


def tell_near(factor: GroupingFactor, frame: pd.DataFrame, codes: NDArray[np.int64], mode: str | None) -> None:
    """Warn of new groups whose labels nearly are those of known ones, where nothing says that they are new."""
    if mode is not None or not (codes < 0).any():
        return
    for view in factor.views:
        own = codes if len(factor.views) == 1 else view.codes_of(frame)
        warn_of_near_labels(view, row_labels(view, frame[own < 0]))


@dataclass(frozen=True)
class GroupRows:
    """The rows of one factor as the algebra of a frequentist prediction takes them.

    Parameters
    ----------
    codes : ndarray of int (n,)
        Groups whose effects are used; -1 for effects of covariance Sigma about 0.
    Z : ndarray (n, q)
        Zero in rows whose effects are fixed: at 0, or at what was drawn.
    drawn : ndarray (n,)
        Group-specific part of rows with drawn effects.
    known : ndarray of bool (n,)
        Whether the group was in the data.
    record : tuple of (str, ndarray)
        See :func:`record`.
    """

    codes: NDArray[np.int64]
    Z: Array
    drawn: Array
    known: NDArray[np.bool_]
    record: tuple[str, Array]


def group_rows(factor: GroupingFactor, frame: pd.DataFrame, mode: str | None, T: Array, seed: int) -> GroupRows:
    """Apply a mode to the rows of one factor; T (q, q) is the root of Sigma in the units of the data."""
    codes, Z = codes_for(factor, frame, mode), factor.Z_of(frame)
    known, drawn = codes >= 0, np.zeros(len(frame))
    if mode == POPULATION_DRAW:
        labels = row_labels(factor, frame)
        for label in labels.unique():
            rows = labels == label
            drawn[rows] = Z[rows] @ (T @ label_rng(seed, factor, label).standard_normal(len(T)))
    if mode in (POPULATION_DRAW, POPULATION_MEAN):
        Z = np.zeros_like(Z)
    used = codes if mode in (None, OBSERVED) else np.full_like(codes, -1)
    return GroupRows(used, Z, drawn, known, record(factor, frame, codes, mode, INTEGRATED))

"""The tidy table of coefficients and the small measures that every fit shares."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError, UnknownNameError, near_names
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor


class Printed(pd.DataFrame):
    """A frame that prints all its columns, where pandas leaves out those in the middle of a narrow terminal."""

    def __repr__(self) -> str:
        return self.to_string(max_rows=pd.get_option("display.max_rows"), min_rows=pd.get_option("display.min_rows"))


def coefficient_terms(design: Design, factor: GroupingFactor) -> list[str]:
    """Terms of coef(): the common ones, then those that only the groups have."""
    common = list(design.coefficient_names)
    effects = [names.in_category(name, factor.category) for name in factor.effects]
    return common + [name for name in effects if name not in common]


def coefficient_frame(
    factor: GroupingFactor | None, terms: Sequence[str], estimate: Array, lower: Array, upper: Array, n: int
) -> pd.DataFrame:
    """Tidy frame from arrays (J, terms), or (1, terms) for a fit without groups."""
    labels = factor.labels if factor is not None else ["all"]
    sizes = factor.sizes if factor is not None else np.array([n])
    rows = len(labels) * len(terms)
    return pd.DataFrame(
        {
            "factor": np.repeat(factor.name if factor is not None else "", rows),
            "group": np.repeat(labels, len(terms)),
            "term": np.tile(list(terms), len(labels)),
            "estimate": np.ravel(estimate),
            "lower": np.ravel(lower),
            "upper": np.ravel(upper),
            "n": np.repeat(sizes, len(terms)),
        }
    )[names.COEF_COLUMNS]


def prediction_frame(
    estimate: Array,
    lower: Array,
    upper: Array,
    known: NDArray[np.bool_],
    records: Iterable[tuple[str, NDArray]] = (),
) -> pd.DataFrame:
    """Predictions of rows, whether all their groups were seen, and by factor what was done with them."""
    groups = np.where(known, "observed", "new")
    table = pd.DataFrame({"estimate": estimate, "lower": lower, "upper": upper, "groups": groups})
    for name, column in records:
        table[name] = column
    return table


def interval_frame(labels: Sequence[str], estimate: pd.Series, lower: pd.Series, upper: pd.Series) -> pd.DataFrame:
    """Tidy frame of intervals: parameter, estimate, lower, upper."""
    columns = {"estimate": estimate, "lower": lower, "upper": upper}
    found = {name: column.to_numpy(dtype=float) for name, column in columns.items()}
    return pd.DataFrame({"parameter": list(labels), **found})


def choose_seed(seed: int | None) -> int:
    """The seed, or one that is drawn."""
    if seed is None:
        return int(np.random.default_rng().integers(2**32))
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"seed must be a whole number of at least 0; got {seed!r}")
    return int(seed)


def choose_factor(design: Design, factor: str | None) -> GroupingFactor | None:
    """The factor asked for, or the only one; None for a model without groups."""
    if factor is None:
        return design.factors[0] if design.factors else None
    for candidate in design.factors:
        if candidate.name == factor:
            return candidate
    known = [candidate.name for candidate in design.factors]
    raise UnknownNameError(f"no grouping factor {factor!r} in this model; {near_names(factor, known)}")


def root_mean_square(residuals: Array, weights: Array | None = None) -> float:
    """Root of the (weighted) mean of squares."""
    return float(np.sqrt(np.average(np.square(residuals), weights=weights)))


def check_level(level: float) -> float:
    """The level, if it is a probability strictly between 0 and 1."""
    if not (isinstance(level, int | float) and 0 < level < 1):
        raise ArgumentError(f"level must lie strictly between 0 and 1, for instance 0.95; got {level!r}")
    return float(level)


def check_interval(interval: str, allowed: Sequence[str]) -> str:
    """The kind of interval, if this fit has it."""
    if interval not in allowed:
        listed = ", ".join(repr(kind) for kind in allowed)
        raise ArgumentError(f"this fit has the intervals {listed}; got {interval!r}")
    return interval

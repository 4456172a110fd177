"""Named rules by which the numbers of a prior follow the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import PriorError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnFacts:
    """A column of the common part: mean, sd (n - 1), range, whether it has two values, or codes a level of a factor."""

    mean: float
    sd: float
    low: float
    high: float
    binary: bool
    categorical: bool = False


@dataclass(frozen=True)
class EffectFacts:
    """A group-specific effect: sds of its column within groups and over all rows, and whether it is the intercept."""

    sd_within: float
    sd: float
    intercept: bool


@dataclass(frozen=True)
class DataFacts:
    """What the rules may ask of the data; sds with n - 1, mad as in R (1.4826 times the median absolute deviation).

    ``covariates`` has the sds over the groups of what group sds follow. The response's are on the scale of the linear
    predictor; ``response`` has them in its own units where that differs. Median and mad are NaN where only sums are
    known.
    """

    n: int
    mean_y: float
    sd_y: float
    median_y: float
    mad_y: float
    columns: Mapping[str, ColumnFacts]
    effects: Mapping[str, EffectFacts]
    groups: Mapping[str, int]
    intercept: bool
    response: "DataFacts | None" = None
    covariates: Mapping[str, float] = field(default_factory=dict)


def mean_and_sd(x: Array, rows: Array | None = None) -> tuple[float, float]:
    """Mean and sd of a column (n,), of which each value stands for ``rows`` (n,) rows."""
    if rows is None:
        return float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else 0.0
    mean, n = float(np.average(x, weights=rows)), float(rows.sum())
    return mean, float(np.sqrt(rows @ (x - mean) ** 2 / (n - 1))) if n > 1 else 0.0


def column_facts(x: Array, *, categorical: bool = False, rows: Array | None = None) -> ColumnFacts:
    """Facts of one column (n,), of which each value stands for ``rows`` (n,) rows."""
    low, high = float(x.min()), float(x.max())
    binary = bool(np.all((x == low) | (x == high)))
    return ColumnFacts(*mean_and_sd(x, rows), low, high, binary, categorical)


def within_group_sd(x: Array, codes: NDArray[np.int64], rows: Array | None = None) -> float:
    """Pooled sd of a column within groups; its total sd where it does not vary within any group.

    Parameters
    ----------
    x : ndarray (n,)
        The column.
    codes : ndarray of int (n,)
        Group of each row.
    rows : ndarray (n,), optional
        How many equal rows each of these stands for.

    Returns
    -------
    float
        sqrt(sum of squared deviations from the group means / (n - J)).
    """
    each = np.ones(len(x)) if rows is None else rows
    counts = np.bincount(codes, weights=each)
    means = np.bincount(codes, weights=each * x) / np.maximum(counts, 1)
    squares = float((each * (x - means[codes]) ** 2).sum())
    degrees = float(each.sum()) - int((counts > 0).sum())
    mean, total = mean_and_sd(x, rows)
    within = float(np.sqrt(squares / degrees)) if degrees > 0 else 0.0
    # What is left of a column that is constant within groups is rounding noise.
    return within if within > 1e-8 * max(total, abs(mean)) else total


def mean_y(facts: DataFacts, column: str) -> float:
    """Mean of the response."""
    return facts.mean_y


def sd_y(facts: DataFacts, column: str) -> float:
    """Standard deviation of the response."""
    return facts.sd_y


def one_over_sd_y(facts: DataFacts, column: str) -> float:
    """One over the standard deviation of the response, the rate of an exponential with mean sd_y."""
    return 1.0 / facts.sd_y


def one_over_sd_z(facts: DataFacts, column: str) -> float:
    """One over the sd over the groups of a covariate of group sds, ``gr(g, sd=~ z)``."""
    return 1.0 / _positive(facts.covariates[column], column)


def sd_y_over_sd_x(facts: DataFacts, column: str) -> float:
    """Response sd over predictor sd; the sd of a two-valued predictor counts as at least a quarter of its range.

    The floor keeps the prior of a rare indicator from growing without bound.
    """
    found = facts.columns[column]
    sd = max(found.sd, (found.high - found.low) / 4) if found.binary else found.sd
    return facts.sd_y / _positive(sd, column)


def sd_y_over_sd_x_within(facts: DataFacts, column: str) -> float:
    """Response sd over the predictor's sd within groups."""
    return facts.sd_y / _positive(facts.effects[column].sd_within, column)


def sd_x_within_over_sd_y(facts: DataFacts, column: str) -> float:
    """The reciprocal, the rate of an exponential or gamma prior of a group sd of slopes."""
    return 1.0 / sd_y_over_sd_x_within(facts, column)


def sd_y_over_sd_x_sample(facts: DataFacts, column: str) -> float:
    """Response sd over predictor sd (n - 1) without a floor for rare indicators, as rstanarm has it."""
    return facts.sd_y / _positive(facts.columns[column].sd, column)


def sd_y_population(facts: DataFacts, column: str) -> float:
    """Standard deviation of the response with divisor n, as Bambi has it."""
    return facts.sd_y * _response_population(facts)


def sd_y_over_sd_x_population(facts: DataFacts, column: str) -> float:
    """Response sd over predictor sd over all rows, for common and group-specific slopes alike, as Bambi has it."""
    known = facts.columns[column] if column in facts.columns else facts.effects[column]
    return facts.sd_y * _response_population(facts) / (_positive(known.sd, column) * _population(facts))


def bambi_probability_slope_sd(facts: DataFacts, column: str) -> float:
    """Bambi's sd of a slope on a logit or probit scale: 1 for a level of a factor, else one over the predictor's sd."""
    found = facts.columns[column]
    return 1.0 if found.categorical else 1.0 / (_positive(found.sd, column) * _population(facts))


def bambi_probability_group_sd(facts: DataFacts, column: str) -> float:
    """Bambi's sd of group intercepts on a logit or probit scale, inflated as :func:`bambi_intercept_sd`."""
    inflation = sum(
        (found.mean * bambi_probability_slope_sd(facts, name)) ** 2 for name, found in facts.columns.items()
    )
    return float(np.sqrt(2.5**2 + inflation))


def bambi_intercept_sd(facts: DataFacts, column: str) -> float:
    """Bambi's sd of an intercept: 2.5 sd_y, inflated by the slopes' prior sds times the predictors' distance from zero.

    sqrt((2.5 sd_y)^2 + sum (2.5 sd_y / sd_x)^2 mean_x^2), although the predictors are centred: it grows without bound
    with the distance of a predictor from zero.
    """
    distance = sum((found.mean / _population_sd(facts, found)) ** 2 for found in facts.columns.values())
    return 2.5 * sd_y_population(facts, column) * float(np.sqrt(1 + distance))


def _response_population(facts: DataFacts) -> float:
    """The same for the response, whose unit on a link scale is not an sample's sd."""
    return 1.0 if facts.response is not None else _population(facts)


def _population(facts: DataFacts) -> float:
    return float(np.sqrt((facts.n - 1) / facts.n))


def _population_sd(facts: DataFacts, column: ColumnFacts) -> float:
    return column.sd * _population(facts)


def _positive(sd: float, column: str) -> float:
    if not sd > 0:
        raise PriorError(f"the scale of {column!r} cannot follow the data: the column is constant; give it a prior")
    return sd


def median_y_rounded(facts: DataFacts, column: str) -> float:
    """Median of the response rounded to one decimal, as brms has it; not equivariant to units."""
    return round(_known(facts.median_y), 1)


def mad_y_floored(facts: DataFacts, column: str) -> float:
    """Median absolute deviation of the response rounded to one decimal, at least 2.5, as brms; not equivariant."""
    return max(2.5, round(_known(facts.mad_y), 1))


def _known(median: float) -> float:
    if np.isnan(median):
        raise PriorError(
            "the rule asks for the median of the response, which collapsed data do not have; choose a preset whose "
            "scales follow the mean and the sd, for instance 'weakly_informative', or give these priors as numbers"
        )
    return median


RULES: dict[str, Callable[[DataFacts, str], float]] = {
    rule.__name__: rule
    for rule in (
        mean_y,
        sd_y,
        one_over_sd_y,
        one_over_sd_z,
        sd_y_over_sd_x,
        sd_y_over_sd_x_within,
        sd_x_within_over_sd_y,
        sd_y_over_sd_x_sample,
        sd_y_population,
        sd_y_over_sd_x_population,
        bambi_probability_slope_sd,
        bambi_probability_group_sd,
        bambi_intercept_sd,
        median_y_rounded,
        mad_y_floored,
    )
}

"""How well the predictions of any fit match the responses, on the scale of the response."""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError
from poolwise.result.tables import root_mean_square
from poolwise.spec.design import Design

BINARY = ("binary", "trials")
CERTAIN = 1e-9


def rmse(design: Design, fitted: Array) -> float:
    """Root mean squared error of fitted values; of shares of the trials for a binomial response, rows unweighted.

    Where rows were added up, of all rows of each cell at the cell's value.
    """
    if (counted := design.counted) is not None:
        return float(np.sqrt(counted.squares_about(fitted) / counted.n))
    return root_mean_square(design.outcome.scaled - fitted, design.weights if design.frequency else None)


def brier(design: Design, fitted: Array) -> float:
    """Mean squared error of the probabilities of single trials.

    Raises
    ------
    ArgumentError
        If the response is neither binary nor counts of trials.

    References
    ----------
    Brier (1950), Monthly Weather Review 78, 1-3.
    """
    y, n, w = _trials(design, "the Brier score")
    return float((w * (y * (1 - fitted) ** 2 + (n - y) * fitted**2)).sum() / (w * n).sum())


def log_loss(design: Design, fitted: Array) -> float:
    """Mean of minus the log probability of single trials; infinite where an impossible one happened.

    A probability within 1e-9 of 0 or 1 counts as one: that is where an optimiser stops that follows a separated
    coefficient to infinity.

    Raises
    ------
    ArgumentError
        If the response is neither binary nor counts of trials.

    References
    ----------
    Good (1952), J. R. Stat. Soc. B 14, 107-114.
    """
    y, n, w = _trials(design, "the log loss")
    fitted = np.where(fitted < CERTAIN, 0.0, np.where(fitted > 1 - CERTAIN, 1.0, fitted))
    with np.errstate(divide="ignore"):
        events = np.where(y > 0, y * np.log(np.where(y > 0, fitted, 1.0)), 0.0)
        others = np.where(n > y, (n - y) * np.log1p(-np.where(n > y, fitted, 0.0)), 0.0)
    return float(-(w * (events + others)).sum() / (w * n).sum())


def _trials(design: Design, what: str) -> tuple[Array, Array, Array]:
    family, outcome = design.family, design.outcome
    if family.holds not in BINARY:
        raise ArgumentError(f"{what} is for binary responses and counts of trials; family {family} has neither")
    w = design.weights if design.weights is not None and design.frequency else np.ones(design.n)
    return outcome.y, np.ones(design.n) if outcome.trials is None else outcome.trials, w

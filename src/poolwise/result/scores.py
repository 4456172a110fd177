"""How well the predictions of any fit match the responses, on the scale of the response."""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError
from poolwise.result.tables import root_mean_square
from poolwise.spec.design import Design

BINARY = ("binary", "trials")
CERTAIN = 1e-9


class Scored:
    """Scores in sample of a fit of binary responses or trials."""

    design: Design

    @property
    def _means(self) -> Array:
        """Fitted values of each row, or of each cell where rows were added up."""
        raise NotImplementedError

    def brier(self) -> float:
        """Brier score in sample, of binary responses and trials; see :func:`poolwise.result.scores.brier`.

        Returns
        -------
        float
            Between 0 and 1; 0 is perfect.

        Raises
        ------
        ArgumentError
            For a response that is neither.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> round(fit.brier(), 3)
        0.091
        """
        return brier(self.design, self._means)

    def log_loss(self) -> float:
        """Mean log loss in sample, of binary responses and trials; see :func:`poolwise.result.scores.log_loss`.

        Returns
        -------
        float
            Nats a trial.

        Raises
        ------
        ArgumentError
            For a response that is neither.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> round(fit.log_loss(), 3)
        0.314
        """
        return log_loss(self.design, self._means)


def rmse(design: Design, fitted: Array) -> float:
    """Root mean squared error of fitted values; of shares of the trials for a binomial response, rows unweighted.

    Where rows were added up, of all rows of each cell at the cell's value.
    """
    if (counted := design.counted) is not None:
        return float(np.sqrt(counted.squares_about(fitted).sum() / counted.n))
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
    return brier_of_trials(*_trials(design, "the Brier score"), fitted)


def brier_of_trials(y: Array, n: Array, w: Array, fitted: Array) -> float:
    """The same of y successes in n trials, each row counting w times."""
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
    return log_loss_of_trials(*_trials(design, "the log loss"), fitted)


def log_loss_of_trials(y: Array, n: Array, w: Array, fitted: Array) -> float:
    """The same of y successes in n trials, each row counting w times."""
    fitted = np.where(fitted < CERTAIN, 0.0, np.where(fitted > 1 - CERTAIN, 1.0, fitted))
    with np.errstate(divide="ignore"):
        events = np.where(y > 0, y * np.log(np.where(y > 0, fitted, 1.0)), 0.0)
        others = np.where(n > y, (n - y) * np.log1p(-np.where(n > y, fitted, 0.0)), 0.0)
    return float(-(w * (events + others)).sum() / (w * n).sum())


def _trials(design: Design, what: str) -> tuple[Array, Array, Array]:
    design = design.cells
    family, outcome = design.family, design.outcome
    if family.holds not in BINARY:
        raise ArgumentError(f"{what} is for binary responses and counts of trials; family {family} has neither")
    w = design.weights if design.weights is not None and design.frequency else np.ones(design.n)
    return outcome.y, np.ones(design.n) if outcome.trials is None else outcome.trials, w

"""Are single rows predicted with the right spread? Leave-one-out probability integral transforms, and their test.

PIT_i = P(new y_i <= y_i | all other rows) is uniform where the model is right. Values close to 0 and 1 are too many
where predictions are too narrow, too few where they are too wide. They depend on one another through the parameters,
which the test allows for.

References
----------
Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432; Tesso & Vehtari (2026), arXiv 2603.02928.
"""

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from scipy.special import ndtr

from poolwise.algebra.crossproducts import Array
from poolwise.check.finding import Finding
from poolwise.errors import ArgumentError
from poolwise.result import pointwise
from poolwise.result.bayes import BayesFit

ALPHA = 0.01
# Fewer rows than this show no shape.
FEWEST = 20


def loo_pit_values(fit: BayesFit, *, seed: int = 1) -> Array:
    """PIT of each row (n,), left out.

    For a Gaussian response with one grouping factor the group's effects are integrated out and the probability is exact
    given the parameters; otherwise it is the place of the row among the weighted replications and itself, ties broken
    at random.

    Parameters
    ----------
    fit : BayesFit
    seed : int, default 1
        Of the replications and of ties.

    Raises
    ------
    ArgumentError
        For a categorical response.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> pw.checks.loo_pit_values(fit).shape
    (30,)

    Returns
    -------
    ndarray (n,)
        Between 0 and 1; uniform where the model is right.
    """
    design = fit.design
    if design.outcome.categories is not None:
        raise ArgumentError("categories have no order, so that no row lies at or below another: they have no PIT")
    if pointwise.integrates_out(design):
        density, standardised = pointwise.left_out_rows(fit)
        weights = _weights(density)
        return np.clip((weights * ndtr(standardised)).sum(axis=0), 0.0, 1.0)
    weights = _weights(pointwise.log_likelihood(fit))
    drawn, y = fit.predict_draws(kind="response", seed=seed), design.y + (design.outcome.levels is not None)
    below, tied = (weights * (drawn < y)).sum(axis=0), (weights * (drawn == y)).sum(axis=0)
    # The row is one of D + 1 exchangeable draws, D as many as the weights are worth: beyond all replications it lies
    # between 1 - 1 / (D + 1) and 1, not at 1 itself, which would settle the test.
    share = 1 / (1 + 1 / (weights**2).sum(axis=0))
    u = np.random.default_rng(seed).uniform(size=design.n)
    return np.clip((1 - share) * (below + u * tied) + share * u, 0.0, 1.0)


def _weights(density: Array) -> Array:
    """Pareto-smoothed weights (D, n) of the posterior without each row, summing to one."""
    logs = array_stats.psislw(np.ascontiguousarray(density.T), axis=-1)[0].T
    weights = np.exp(logs - logs.max(axis=0))
    return weights / weights.sum(axis=0)


def loo_pit(fit: BayesFit, *, alpha: float = ALPHA) -> list[Finding]:
    """One finding, code ``loo_pit``, where left-out rows are not predicted with the right spread.

    Parameters
    ----------
    fit : BayesFit
    alpha : float, default 0.01
        Probability of the test below which it counts.

    References
    ----------
    Tesso & Vehtari (2026), arXiv 2603.02928: a Cauchy combination of pointwise tests; ArviZ has it.

    Returns
    -------
    list of Finding
        Empty where nothing is found.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> pw.checks.loo_pit(fit)
    []
    """
    outcome = fit.design.outcome
    if fit.design.n < FEWEST or outcome.status is not None or outcome.categories is not None:
        return []
    pit = loo_pit_values(fit)
    p = float(array_stats.uniformity_test(pit, method="pot_c")[0])
    if not p < alpha:
        return []
    middle = float(((pit > 0.25) & (pit < 0.75)).mean())
    level = float(pit.mean())
    if abs(level - 0.5) > abs(middle - 0.5):
        shape = f"rows lie {'above' if level > 0.5 else 'below'} their predictions (mean {level:.2f}, 0.50 if right)"
    elif middle > 0.5:
        shape = f"predictions are too wide: {middle:.0%} of rows fall into their middle half"
    else:
        shape = f"predictions are too narrow, or their tails too thin: {middle:.0%} of rows fall into their middle half"
    order = np.argsort(pit)
    table = pd.DataFrame({"row": order, "pit": pit[order], "expected": (np.arange(len(pit)) + 0.5) / len(pit)})
    return [
        Finding(
            code="loo_pit",
            severity="warning",
            title=f"left-out rows are not predicted with the right spread (p = {p:.2g}): {shape}",
            value=p,
            threshold=alpha,
            meaning="Intervals of predictions, and sigma, are not what they say; the family may be another one.",
            advice=(
                "Look at the table of the finding (PIT against its expectation); try family='t' for outliers, a log of "
                "the response for skewness, a formula for sigma where the spread changes."
            ),
            reference="Tesso & Vehtari (2026), arXiv 2603.02928; Vehtari, Gelman & Gabry (2017), Stat. Comput. 27.",
            table=table,
            figure=table,
        )
    ]

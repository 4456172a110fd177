"""What a prior implies before the data, on scales that people can judge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.priors.scale import within_group_sd
from poolwise.result import tables
from poolwise.spec.prior_draws import prior_draws
from poolwise.spec.specification import Specification

# Group sizes that are shown: smallest, quartiles, largest.
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class PriorImplications:
    """What :meth:`poolwise.Model.prior_implies` found.

    Parameters
    ----------
    table : DataFrame
        Columns quantity, about, estimate (prior median), lower, upper.
    level : float
        Probability of the equal-tailed interval.
    """

    table: pd.DataFrame
    level: float

    def __repr__(self) -> str:
        low, high = f"{50 * (1 - self.level):g}", f"{50 * (1 + self.level):g}"
        rows = [
            f"  {row.quantity:<38} {row.about:<28} {row.estimate:8.3g}   " + f"{row.lower:.3g} to {row.upper:.3g}"
            for row in self.table.itertuples(index=False)
        ]
        return "\n".join([f"Before the data, the priors imply (median, {low} to {high} %):", *rows])

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False, float_format="%.3g")


def prior_implications(specification: Specification, draws: int, seed: int | None, level: float) -> PriorImplications:
    """Push the priors forward to pooling factors, intraclass correlations, R2 and spreads.

    Parameters
    ----------
    specification : Specification
        Design and priors.
    draws : int
        Draws from the prior.
    seed : int or None
    level : float
        Probability of the intervals.

    Returns
    -------
    PriorImplications

    Notes
    -----
    Pooling factor of n rows: (sigma^2 / (n v)) / (sigma^2 / (n v) + sd^2), v being 1 for an intercept (its sd taken at
    the predictors' means) and the predictor's variance within groups for a slope; 1 is complete pooling. ICC: variance
    of the group-specific part, averaged over the rows, over that plus sigma^2. R2: variance of the common part over the
    rows, over the variance of the response.

    References
    ----------
    Gelman & Pardoe (2006), Technometrics 48, 241-251. Gelman, Goodrich, Gabry & Vehtari (2019), American Statistician
    73, 307-309.
    """
    tail = (1 - tables.check_level(level)) / 2
    design, rng = specification.design, np.random.default_rng(seed)
    drawn = prior_draws(design, specification.priors, draws, rng, centred=specification.centred)
    variance = drawn.sigma**2
    rows: list[tuple[str, str, float, float, float]] = []

    def add(quantity: str, about: str, values: Array) -> None:
        lower, middle, upper = np.quantile(values, [tail, 0.5, 1 - tail])
        rows.append((quantity, about, float(middle), float(lower), float(upper)))

    group_parts = []
    for factor, T in zip(design.factors, drawn.group_factors, strict=True):
        covariance = T @ T.swapaxes(-1, -2)
        at_mean = factor.Z.mean(axis=0)
        spread = np.einsum("dkl,k,l->d", covariance, at_mean, at_mean)
        sizes = np.unique(np.quantile(factor.sizes, QUANTILES, method="nearest")).astype(int)
        for k, effect in enumerate(factor.effects):
            intercept = effect == names.INTERCEPT
            own = spread if intercept else covariance[:, k, k]
            information = 1.0 if intercept else within_group_sd(factor.Z[:, k], factor.codes) ** 2
            for n in sizes:
                noise = variance / (n * information)
                add(f"pooling factor of {names.effect(effect, factor.name)}", f"n = {n}", noise / (noise + own))
        second = factor.Z.T @ factor.Z / design.n
        group_parts.append(np.einsum("dkl,kl->d", covariance, second))
        add("sd of group means", f"{factor.name}, units of {design.response}", np.sqrt(spread))
    groups = np.sum(group_parts, axis=0) if group_parts else np.zeros(draws)
    for factor, part in zip(design.factors, group_parts, strict=True):
        add("intraclass correlation", factor.name, part / (groups + variance))
    moved = design.X - design.X.mean(axis=0)
    common = np.einsum("dp,pr,dr->d", drawn.coefficients, moved.T @ moved / design.n, drawn.coefficients)
    total = common + groups + variance
    if design.X.shape[1] > (design.intercept >= 0):
        add("R2 of the common part", "share of the variance", common / total)
    add("sd of the response", "over the data's", np.sqrt(total) / float(np.std(design.y - design.offset, ddof=1)))
    frame = pd.DataFrame(rows, columns=["quantity", "about", "estimate", "lower", "upper"])
    return PriorImplications(frame, level)


def share_beyond(
    centre: float,
    sds: Array,
    rng: np.random.Generator,
    inverse_link: Callable[[Array], Array],
    low: float = 0.01,
    high: float = 0.99,
) -> float:
    """Share of group probabilities, or means, below ``low`` or above ``high``, one group drawn for each group sd.

    Parameters
    ----------
    centre : float
        The population's value on the link scale.
    sds : ndarray (D,)
        Draws of the group sd on the link scale.
    rng : numpy.random.Generator
    inverse_link : callable
        From the link scale to that of the response.
    low, high : float

    Returns
    -------
    float
    """
    values = inverse_link(centre + sds * rng.standard_normal(len(sds)))
    return float(np.mean((values < low) | (values > high)))

"""Group standard deviations that no likelihood can tell from something else, refused before and after the optimum."""

from collections.abc import Sequence

import numpy as np

from poolwise.algebra.crossproducts import CrossProducts
from poolwise.errors import FitError
from poolwise.fit.reml import Optimum
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

# Share of the squares of an effect's columns that the common effects must leave.
LEFT = 1e-9
# Residual variance, the response having the variance 1, below which the effects reproduce the response.
EXACT = 1e-12


def refuse_unidentified(design: Design, factors: Sequence[CrossProducts]) -> None:
    """Raise where an effect of the groups is wholly explained by the common effects, or stands in the model twice.

    Parameters
    ----------
    design : Design
        The rows.
    factors : sequence of CrossProducts
        The sums of each grouping factor.

    Raises
    ------
    FitError
        Names the parameters and the way out.
    """
    for factor, stats in zip(design.factors, factors, strict=True):
        inverse = np.linalg.inv(stats.XtX) if stats.p else np.zeros((0, 0))
        whole = np.einsum("jkk->k", stats.ZtZ)
        explained = np.einsum("jka,ab,jkb->k", stats.ZtX, inverse, stats.ZtX)
        for k in np.flatnonzero(whole - explained < LEFT * whole):
            raise FitError(
                f"{factor.sd_names[k]!r} is not identified: the common effects have a coefficient for every group of "
                f"{factor.name!r} already, which leaves nothing for {factor.effects[k]!r} to vary. Take the term that "
                f"tells the groups apart out of the common part, or the effect out of the block of {factor.name!r}"
            )
    for i, first in enumerate(design.factors):
        for second in design.factors[i + 1 :]:
            shared = _shared(first, second)
            if shared:
                raise FitError(
                    f"the grouping factors {first.name!r} and {second.name!r} make the same groups, so only the sum of "
                    f"their variances is identified ({', '.join(shared)}); leave one of the two blocks out"
                )


def _shared(first: GroupingFactor, second: GroupingFactor) -> list[str]:
    """Effects that two factors with the same groups have in common."""
    if not first.same_groups(second):
        return []
    return [
        name
        for k, name in enumerate(first.effects)
        if any(first.same_column(k, second, m) for m in range(len(second.effects)))
    ]


def refuse_exact(design: Design, optimum: Optimum) -> None:
    """Raise where the model reproduces the response, so that the likelihood has no maximum.

    Parameters
    ----------
    design : Design
        The rows.
    optimum : Optimum
        Where the optimiser stopped.

    Raises
    ------
    FitError
        If the residual variance is zero.
    """
    if not np.isfinite(optimum.at.criterion):
        raise FitError(
            "the residual variance is zero: the common effects reproduce the response exactly; "
            "check that the response is not a function of the predictors"
        )
    if optimum.at.s < EXACT:
        effects = sum(factor.J * factor.structure.q for factor in design.factors)
        raise FitError(
            f"the residual variance tends to zero: {len(design.coefficient_names)} common and {effects} group-specific "
            f"effects reproduce the {design.n} rows exactly, and the likelihood has no maximum. Leave out effects, or "
            "use Model.fit(), where the priors identify them"
        )

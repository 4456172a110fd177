"""The rows and coordinates of a generalised linear mixed model, from its design."""

from dataclasses import dataclass

import numpy as np

from poolwise.algebra.basis import Basis, centring, make_basis
from poolwise.algebra.exponential import ExponentialRows
from poolwise.algebra.laplace import LaplaceProblem
from poolwise.algebra.sparse_rows import make_pattern
from poolwise.algebra.theta import BlockStructure
from poolwise.errors import DataError, FitError
from poolwise.spec.crossed import MOST_COLUMNS
from poolwise.spec.design import Design
from poolwise.spec.families import Family
from poolwise.spec.grouping import refuse_grouping

# Families of Bambi's names and the exponential dispersion family that they are.
KINDS = {
    "bernoulli": "binomial",
    "binomial": "binomial",
    "poisson": "poisson",
    "negativebinomial": "negativebinomial",
    "gamma": "gamma",
    "exponential": "gamma",
    "wald": "wald",
    "gaussian": "gaussian",
}
# A count's mean cannot go through 1 - exp(-exp(eta)).
_WITHOUT = {("negativebinomial", "cloglog")}


@dataclass(frozen=True)
class LinearPredictor:
    """A design in the coordinates of the algebra.

    Parameters
    ----------
    basis : Basis
        Coordinates; the linear predictor itself is neither shifted nor scaled.
    problem : LaplaceProblem
        Rows, columns and groups.
    structure : BlockStructure
        Blocks of the group covariances, those of all factors one after the other.
    """

    basis: Basis
    problem: LaplaceProblem
    structure: BlockStructure


def has_laplace(family: Family) -> bool:
    """Whether a family has a frequentist fit by the Laplace approximation."""
    return family.name in KINDS and (family.name, family.link) not in _WITHOUT


def has_own(family: Family) -> bool:
    """Whether the family has a parameter of its own that is estimated."""
    return bool(family.auxiliaries)


def refuse_without_likelihood_fit(design: Design) -> None:
    """Refuse a design that has no frequentist fit, by the closed form or by the Laplace approximation.

    Raises
    ------
    FitError
        Says why, and that Model.fit() samples it.
    """
    refuse_grouping(design, "the frequentist fit")
    if not design.collapses and design.counted is None:
        _refuse_family(design)


def _refuse_family(design: Design) -> None:
    if not has_laplace(design.family):
        served = ", ".join(repr(name) for name in KINDS)
        raise FitError(
            f"family {design.family} has no frequentist fit in poolwise; Model.fit() samples its posterior. "
            f"Frequentist fits serve {served}"
        )
    if not design.outcome.plain:
        raise FitError(
            f"the response {design.formula.response} is censored or truncated, which frequentist fits do not serve; "
            "use Model.fit()"
        )


def exponential_rows(design: Design) -> ExponentialRows:
    """The responses of a design.

    Raises
    ------
    FitError
        For a family, a link or a kind of response that has no frequentist fit.
    DataError
        For counts that are all zero.
    """
    family = design.family
    if (counted := design.counted) is not None:
        if family.holds == "count":
            # The mean of equal rows is as good as their sum: the score and the curvature of a row, times their number.
            each = counted.y / counted.rows, np.ones(len(counted.rows)), counted.rows
            return ExponentialRows("poisson", family.link, *each, False, counted.constant / counted.rows)
        ones = np.ones(len(counted.rows))
        return ExponentialRows("binomial", family.link, counted.y, counted.trials, ones, False, counted.constant)
    _refuse_family(design)
    outcome = design.outcome
    if family.holds == "count" and not outcome.y.any():
        raise DataError(
            f"the response {design.formula.response} is 0 in every row: the likelihood is highest at a mean of 0, and "
            "no estimate is finite. Model.fit() gives a posterior under its priors"
        )
    ones = np.ones(design.n)
    weights = design.weights if design.weights is not None and design.frequency else ones
    trials = ones if outcome.trials is None else outcome.trials
    kind = KINDS[family.name]
    return ExponentialRows(kind, family.link, outcome.y, trials, weights, has_own(family))


def linear_predictor(design: Design) -> LinearPredictor:
    """Rows, orthogonal columns and groups of a design with any number of grouping factors.

    Raises
    ------
    FitError
        If the factors beside the largest have too many effects for a dense matrix.
    """
    rows, counted = exponential_rows(design), design.counted
    times, design = None if counted is None else counted.rows, design.cells
    structure = BlockStructure(tuple(size for factor in design.factors for size in factor.structure.sizes))
    Z = np.column_stack([np.zeros((design.n, 0)), *(factor.Z for factor in design.factors)])
    basis = make_basis(design.X, Z, np.zeros(design.n), design.intercept, centring(Z, structure, times), times)
    X, Z, _ = basis.rows(design.X, Z, np.zeros(design.n))
    if design.factors:
        pattern = make_pattern(
            [factor.codes for factor in design.factors],
            [factor.J for factor in design.factors],
            [factor.structure.q for factor in design.factors],
        )
    else:
        # Without groups: one group of no effects.
        pattern = make_pattern([np.zeros(design.n, dtype=np.int64)], [1], [0])
    if pattern.Q > MOST_COLUMNS:
        raise FitError(
            f"the grouping factors beside the largest have {pattern.Q} effects, and the algebra keeps a dense matrix "
            f"of their square, {8e-9 * pattern.Q**2:.0f} GB; at most {MOST_COLUMNS} effects are served. Use fewer or "
            "coarser factors, or lme4 or MixedModels.jl, whose factorisation is sparse"
        )
    return LinearPredictor(basis, LaplaceProblem(rows, X, Z, design.offset, pattern), structure)

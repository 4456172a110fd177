"""Formulas for further parameters of a family, ``sigma ~ x + (1 | g)``: which may have one, the link, and priors.

Each such parameter has a design of its own, made from the same rows; its variables carry the parameter's name first,
``sigma_Intercept``, ``sigma_x``, ``sigma_1|g``, as in Bambi.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poolwise import names
from poolwise.errors import FormulaError, near_names
from poolwise.priors.distributions import CORRELATION, POSITIVE, REAL, UNIT
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import Parameter
from poolwise.spec.families import Auxiliary, Family
from poolwise.spec.formula import Formula, parse_formula

if TYPE_CHECKING:
    from poolwise.spec.design import Design

# The log of a scale within a factor of 4.5 of what the response shows, for 68 in 100; others about their usual size.
LOG_SCALE, LOG_OTHER, LOGIT = 1.5, 1.5, 1.5
# Log degrees of freedom of a t distribution: 12, between 4.5 and 33 for 68 in 100.
LOG_NU = (2.5, 1.0)
SCALES = ("sigma", "b")


def read_formulas(formula: Any, *, trusted: bool = False) -> tuple[Formula, tuple[Formula, ...]]:
    """The formula of the response, and those of further parameters.

    Parameters
    ----------
    formula : str, sequence of str, or bambi.Formula
        The first is the response's.
    trusted : bool, default False
        As :func:`.parse_formula` takes it.

    Raises
    ------
    FormulaError
        For anything else.
    """
    if hasattr(formula, "main") and hasattr(formula, "additionals"):
        formula = [formula.main, *formula.additionals]
    if isinstance(formula, list | tuple):
        if not formula:
            raise FormulaError("the list of formulas is empty; write ['y ~ x + (1 | g)', 'sigma ~ x']")
        first, *others = (parse_formula(text, trusted=trusted) for text in formula)
        return first, tuple(others)
    return parse_formula(formula, trusted=trusted), ()


def check_predicted(further: Sequence[Formula], family: Family) -> None:
    """Refuse formulas for what the family does not have, or what no formula can predict.

    Raises
    ------
    FormulaError
        Names the parameter and those there are.
    """
    open_to = [own.name for own in family.auxiliaries if not own.vector]
    for k, formula in enumerate(further):
        name = formula.response
        if name in [own.name for own in family.auxiliaries if own.vector]:
            raise FormulaError(
                f"{formula.text!r}: {name!r} of family {family.name!r} is a vector, one number between two levels, "
                "which no formula predicts; let the predictors move the response instead"
            )
        if name not in open_to:
            there = near_names(name, open_to) if open_to else f"family {family.name!r} has none"
            raise FormulaError(
                f"{formula.text!r}: left of '~' of a further formula stands a parameter of family {family.name!r}; "
                f"{there}"
            )
        if formula.weights is not None or formula.event:
            what = "a label stands" if formula.event else "weights stand"
            raise FormulaError(f"{formula.text!r}: {what} in the formula of the response only")
        if name in [other.response for other in further[:k]]:
            raise FormulaError(f"two formulas predict {name!r}; join their terms with +")


def predicted_family(family: Family, name: str) -> Family:
    """The link of one parameter of a family, as the family of its own design."""
    own = next(part for part in family.auxiliaries if part.name == name)
    link = link_of(own)
    return Family(name, name, link, (link,), family.holds)


def link_of(own: Auxiliary) -> str:
    """What is linear: the log of a positive parameter, the logit of one between 0 and 1."""
    return "logit" if own.support == UNIT else "log"


def predicted_parameters(design: "Design", scale: float) -> list[Parameter]:
    """Parameters of one predicted parameter's design, with their default priors.

    On the log scale an sd of a predictor multiplies the parameter by exp(-2) to exp(2) for 95 in 100, and a group by as
    much. Presets do not reach them: most programs have no other scale for them than 1.

    Parameters
    ----------
    design : Design
        Of the parameter.
    scale : float
        Standard deviation of the response on the scale of the parameter.
    """
    found = []
    for k, column in enumerate(design.coefficient_names):
        if k == design.intercept:
            found.append(Parameter(column, "predicted_intercept", column, REAL, _intercept(design, scale)))
        else:
            prior = Prior("Normal", mu=0.0, sigma=1.0 / _sd(design.X[:, k]))
            found.append(Parameter(column, "predicted_slope", column, REAL, prior))
    for factor in design.factors:
        for k, sd_name in zip(factor.sd_columns, factor.sd_names, strict=True):
            unit = 1.0 if factor.effects[k] == names.INTERCEPT else _sd(factor.Z[:, k])
            prior = Prior("HalfNormal", sigma=1.0 / unit)
            found.append(Parameter(sd_name, "predicted_group_sd", sd_name, POSITIVE, prior))
        covariates = factor.sd_regression.W if factor.sd_regression is not None else np.zeros((1, 0))
        for own in factor.log_sd_names:
            for name, column in zip(own, covariates.T, strict=True):
                prior = Prior("Normal", mu=0.0, sigma=0.5 / _sd(column))
                found.append(Parameter(name, "group_log_sd", name, REAL, prior))
        if factor.structure.n_correlations:
            label = factor.correlation_name
            found.append(Parameter(label, "group_correlation", label, CORRELATION))
    return found + [parameter for smooth in design.smooths for parameter in smooth.parameters]


def _intercept(design: "Design", scale: float) -> Prior:
    name = design.family.name
    if design.family.link == "logit":
        return Prior("Normal", mu=0.0, sigma=LOGIT)
    if name in SCALES:
        return Prior("Normal", mu=float(np.log(scale)) if scale > 0 else 0.0, sigma=LOG_SCALE)
    return Prior("Normal", mu=LOG_NU[0], sigma=LOG_NU[1]) if name == "nu" else Prior("Normal", mu=0.0, sigma=LOG_OTHER)


def _sd(column: np.ndarray) -> float:
    sd = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
    return sd if sd > 0 else 1.0

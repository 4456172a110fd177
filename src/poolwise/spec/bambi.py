"""The adapter to Bambi: the only module that touches its names, so that a new release breaks one file."""

from typing import Any

from poolwise import names
from poolwise.priors.distributions import OWN
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.evaluate import NAMESPACE
from poolwise.spec.specification import Specification
from poolwise.spec.syntax import quote


def bambi_specification(specification: Specification) -> Any:
    """The unbuilt bambi.Model of the common part, its priors those of the specification where Bambi has them.

    The group-specific blocks are poolwise's own: Bambi would flatten them into independent terms with dense matrices.

    Parameters
    ----------
    specification : Specification
        The model as understood.

    Returns
    -------
    bambi.Model
    """
    import bambi

    design = specification.design
    priors: dict[str, Any] = {}
    for term, where, levels in design.linear[0].common.terms:
        row = [specification.priors[name] for own in design.linear for name in own.coefficient_names[where]]
        # Bambi has one prior for all categories of a response.
        if levels is None and row[0].distribution not in OWN and row.count(row[0]) == len(row):
            priors[names.INTERCEPT if term == names.INTERCEPT else term] = _as_bambi(row[0])
    for own in design.constant_auxiliaries:
        prior = specification.priors[own.name]
        if prior.distribution not in OWN and not own.vector:
            priors[own.name] = _as_bambi(prior)
    formula = specification.formula
    response = formula.response
    if design.outcome.counts is not None:
        response = f"counts({', '.join(design.outcome.categories or ())})"
    if formula.weights is not None:
        response = f"weighted({response}, {quote(formula.weights)})"
    offsets = "".join(f" + offset({expression})" for expression in formula.offsets)
    main: Any = f"{response} ~ {formula.common}{offsets}"
    if design.further:
        main = bambi.Formula(main, *(_further(one, specification, priors) for one in design.further))
    return bambi.Model(
        main,
        design.frame,
        family=design.family.name,
        link=design.family.link,
        priors=priors,
        extra_namespace=dict(NAMESPACE),
    )


def _further(design: Design, specification: Specification, priors: dict[str, Any]) -> str:
    """Formula of a further parameter; its priors go among the others under its name."""
    name = design.family.name
    own = priors[name] = {}
    for term, where, levels in design.common.terms:
        prior = specification.priors[design.coefficient_names[where.start]]
        if levels is None and prior.distribution not in OWN:
            own[term] = _as_bambi(prior)
    offsets = "".join(f" + offset({expression})" for expression in design.formula.offsets)
    return f"{name} ~ {design.formula.common}{offsets}"


def _as_bambi(prior: Prior) -> Any:
    import bambi

    return bambi.Prior(prior.distribution, **dict(prior.params))

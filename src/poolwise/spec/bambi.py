"""The adapter to Bambi: the only module that touches its names, so that a new release breaks one file."""

from typing import Any

import numpy as np

from poolwise import names
from poolwise.errors import ArgumentError
from poolwise.priors.distributions import JOINT, OWN
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.evaluate import NAMESPACE
from poolwise.spec.families import Family
from poolwise.spec.specification import Specification
from poolwise.spec.syntax import quote


def is_bambi_model(model: Any) -> bool:
    """Whether it is a bambi.Model."""
    import bambi

    return isinstance(model, bambi.Model)


def whole_bambi_model(specification: Specification) -> Any:
    """The unbuilt bambi.Model of everything, the group-specific blocks included.

    Parameters
    ----------
    specification : Specification
        The model as understood.

    Returns
    -------
    bambi.Model

    Raises
    ------
    ArgumentError
        For what Bambi does not have.
    """
    import bambi

    _refuse_more_than_bambi_has(specification)
    design, blocks = specification.design, []
    priors: dict[str, Any] = {}
    for one in (design, *design.further):
        own = priors.setdefault(one.family.name, {}) if one.prefix else priors
        for factor in one.factors:
            for term in factor.terms:
                name = f"{'1' if term.name == names.INTERCEPT else term.name}|{factor.name}"
                sds = [specification.priors[factor.sd_names[k]] for k in range(len(factor.effects))[term.columns]]
                own[name] = bambi.Prior("Normal", mu=0, sigma=_joined(sds))
        blocks.append(" + ".join(f"({_lhs(block.expression)}|{block.factor})" for block in one.formula.blocks))
    return _model(specification, blocks, priors)


def refuse_several_predictors(family: Family) -> None:
    """Of families whose priors do not stand one a column in both programs.

    Raises
    ------
    ArgumentError
    """
    if family.categorical or any(own.vector for own in family.auxiliaries):
        raise ArgumentError(
            f"family {family.name!r} has priors by category or threshold, which differ in shape between Bambi and "
            "poolwise; write the formula and the priors anew"
        )


def _refuse_more_than_bambi_has(specification: Specification) -> None:
    design = specification.design
    refuse_several_predictors(design.family)
    for factor in (factor for one in (design, *design.further) for factor in one.factors):
        if factor.structure.n_correlations:
            raise ArgumentError(
                f"Bambi has no correlated effects, and those of {factor.name} are: write || in place of |, or "
                "group_correlation=False"
            )
        if any((factor.relation, factor.kinds, factor.members, factor.sd_regression)):
            raise ArgumentError(f"Bambi has neither gr(..., sd=, by=, cov=) nor mm(), which {factor.name} is")
    if any(one.smooths for one in (design, *design.further)):
        raise ArgumentError(
            "the priors of hsgp() stand in other units in Bambi, which measures its box before it scales the data; "
            "write the formula and the priors anew"
        )
    if design.weights is not None and not design.frequency:
        raise ArgumentError("Bambi has no precision weights; weighted(y, w) ~ ... has frequency weights")
    for name, prior in specification.priors.items():
        if prior.distribution in OWN or prior.support == JOINT:
            raise ArgumentError(
                f"Bambi has not the prior {prior} of {name!r}; choose another preset, such as 'weakly_informative'"
            )


def _lhs(expression: str) -> str:
    """Left of the bar, a sole intercept as it is written."""
    return expression.removeprefix("1 + ") if expression.startswith("1 + ") else expression


def _joined(row: list[Prior]) -> Any:
    """One Bambi prior of several columns."""
    import bambi

    if len({prior.distribution for prior in row}) > 1:
        raise ArgumentError(f"Bambi has one distribution a term; here are {', '.join(map(str, row))}")
    keys = dict(row[0].params)
    joined = {key: np.array([dict(prior.params)[key] for prior in row]) for key in keys}
    return bambi.Prior(row[0].distribution, **{k: v if len(row) > 1 else v[0] for k, v in joined.items()})


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
    return _model(specification, ["" for _ in (specification.design, *specification.design.further)], {})


def _model(specification: Specification, blocks: list[str], priors: dict[str, Any]) -> Any:
    """The model of the common parts, with group-specific blocks for each formula, and the priors of the blocks."""
    import bambi

    design = specification.design
    for term, where, _ in design.linear[0].common.terms:
        row = [specification.priors[name] for own in design.linear for name in own.coefficient_names[where]]
        if any(prior.distribution in OWN for prior in row):
            continue
        # Bambi has one prior for all categories of a response.
        if row.count(row[0]) == len(row):
            priors[term] = _as_bambi(row[0])
        elif len(design.linear) == 1 and len({prior.distribution for prior in row}) == 1:
            priors[term] = _joined(row)
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
    main: Any = _joined_terms(f"{response} ~ {formula.common}{offsets}", blocks[0])
    if design.further:
        further = zip(design.further, blocks[1:], strict=True)
        main = bambi.Formula(main, *(_joined_terms(_further(one, specification, priors), own) for one, own in further))
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
    own = priors.setdefault(name, {})
    for term, where, _ in design.common.terms:
        row = [specification.priors[column] for column in design.coefficient_names[where]]
        if len({prior.distribution for prior in row} | set(OWN)) == 1 + len(OWN):
            own[term] = _joined(row)
    offsets = "".join(f" + offset({expression})" for expression in design.formula.offsets)
    return f"{name} ~ {design.formula.common}{offsets}"


def _joined_terms(formula: str, blocks: str) -> str:
    return f"{formula} + {blocks}" if blocks else formula


def _as_bambi(prior: Prior) -> Any:
    import bambi

    return bambi.Prior(prior.distribution, **dict(prior.params))

"""A Bambi model as arguments of poolwise's own: formula, data, family, link and every prior."""

from dataclasses import replace
from typing import Any

import numpy as np

from poolwise import names
from poolwise.errors import ArgumentError, PriorError, shown
from poolwise.priors.presets import PriorPreset, load_preset
from poolwise.priors.prior import Prior
from poolwise.spec.bambi import is_bambi_model, refuse_several_predictors
from poolwise.spec.design import Design
from poolwise.spec.families import family_of

# Its group-specific priors stand at predictors of zero, as Bambi's do; all its numbers are replaced.
PRESET = "bambi_0_21"


def arguments_of(model: Any) -> dict[str, Any]:
    """What :class:`poolwise.Model` is called with to say what a bambi.Model says.

    Parameters
    ----------
    model : bambi.Model
        Built or not.

    Returns
    -------
    dict

    Raises
    ------
    ArgumentError
        If it is no bambi.Model, or has potentials, no centring of its predictors, or a family of the user's own.
    """
    if not is_bambi_model(model):
        raise ArgumentError(f"from_bambi takes a bambi.Model; got {type(model).__name__}")
    if model.potentials:
        raise ArgumentError("the Bambi model has potentials, which a formula does not say; leave them out")
    if not model.center_predictors:
        raise ArgumentError(
            "the Bambi model has center_predictors=False: its intercept's prior stands at predictors of zero, that of "
            "poolwise at their means; build it with center_predictors=True"
        )
    smooth = [name for part in model.parameters.values() for name in getattr(part, "hsgp_terms", {})]
    if smooth:
        raise ArgumentError(
            f"the priors of {smooth[0]} stand in other units in Bambi, which measures its box before it scales the "
            "data; write the formula and the priors anew"
        )
    family = family_of(model.family.name)
    refuse_several_predictors(family)
    parent = model.family.likelihood.parent
    link = model.family.link[parent].name
    return {
        "formula": [model.formula.main, *model.formula.additionals],
        "data": model.data,
        "family": family.name,
        "link": None if link == family.link else link,
        "group_correlation": False,
        "missing": "drop" if model.dropna else "error",
    }


def priors_of(model: Any, design: Design) -> PriorPreset:
    """Every prior of a bambi.Model under the names of poolwise's parameters.

    Parameters
    ----------
    model : bambi.Model
        As :func:`arguments_of` took it.
    design : Design
        Of those arguments.

    Returns
    -------
    PriorPreset
    """
    found: dict[str, Prior] = {}
    parent = model.family.likelihood.parent
    for one in design.further:
        theirs = model.family.link[one.family.name].name
        if theirs != one.family.link:
            raise ArgumentError(
                f"the Bambi model has the link {theirs!r} of {one.family.name}, and poolwise {one.family.link!r} only"
            )
    for one in (design, *design.further):
        terms = model.parameters[one.family.name if one.prefix else parent].terms
        for term, where, _ in one.common.terms:
            columns = one.coefficient_names[where]
            found |= zip(columns, _columns(term, _known(terms, term).prior, len(columns)), strict=True)
        for factor in one.factors:
            for own in factor.terms:
                name = f"{'1' if own.name == names.INTERCEPT else own.name}|{factor.name}"
                sds = [factor.sd_names[k] for k in range(len(factor.effects))[own.columns]]
                found |= zip(sds, _columns(name, _spread(name, _known(terms, name).prior), len(sds)), strict=True)
    for own_parameter in design.constant_auxiliaries:
        name = own_parameter.name
        (found[name],) = _columns(name, model.marginal_parameters[name].prior, 1)
    preset = load_preset(PRESET)
    return replace(preset, name="from_bambi", title="Priors of a Bambi model", overrides=found)


def _known(terms: Any, name: str) -> Any:
    if name not in terms:
        raise ArgumentError(f"the term {name!r} of poolwise is none of Bambi's, which are {', '.join(terms)}")
    return terms[name]


def _spread(name: str, prior: Any) -> Any:
    """The prior of a group sd, inside that of the effects."""
    args = getattr(prior, "args", {})
    if getattr(prior, "name", "") != "Normal" or np.any(np.asarray(args.get("mu", 0)) != 0):
        raise PriorError(f"the prior of {name!r} is {prior}; poolwise has Normal(0, sd) with a prior of the sd")
    return args["sigma"]


def _columns(name: str, prior: Any, count: int) -> list[Prior]:
    """The prior of each column of a term."""
    if not hasattr(prior, "args"):
        raise PriorError(f"{name!r} is fixed at {shown(prior)} in the Bambi model; poolwise takes a distribution")
    if any(hasattr(value, "args") for value in prior.args.values()):
        raise PriorError(f"the prior of {name!r} is {prior}; a prior of its own parameters is only for group sds")
    args = {key: np.broadcast_to(np.asarray(value, dtype=float), count) for key, value in prior.args.items()}
    return [Prior(prior.name, **{key: float(values[k]) for key, values in args.items()}) for k in range(count)]

"""From preset, overrides and data to one prior of plain numbers for each parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from poolwise.errors import PriorError, near_names
from poolwise.priors.distributions import GROUP_SDS, JOINT, NO_GROUP_SD, NO_GROUP_SD_SAID
from poolwise.priors.presets import PriorPreset
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.read import ROLES
from poolwise.priors.scale import RULES, DataFacts

# Where a prior comes from that no preset and no family has, by role.
DEFAULTS = {
    "group_log_sd": "default of gr(sd=)",
    "predicted_intercept": "default of further formulas",
    "predicted_slope": "default of further formulas",
    "predicted_group_sd": "default of further formulas",
    "smooth_sd": "default of hsgp()",
    "smooth_length": "default of hsgp()",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter that needs a prior: name, role, key of its facts, support and prior where a preset has neither."""

    name: str
    role: str
    column: str
    support: str = ""
    default: Prior | None = None


@dataclass(frozen=True)
class ResolvedPrior:
    """A prior as it is used.

    Parameters
    ----------
    parameter, role : str
        What it is the prior of.
    prior : Prior
        Numbers only.
    rule : str
        How its numbers came about; empty where they stood in the preset or the call.
    source : str
        The preset, or the call.
    at : {"mean", "zero", ""}
        For an intercept, its group sd and its correlations: the predictors' values at which the prior stands.
    """

    parameter: str
    role: str
    prior: Prior
    rule: str
    source: str
    at: str = ""


def resolve(
    preset: PriorPreset,
    facts: DataFacts,
    parameters: Sequence[Parameter],
    overrides: Mapping[str, Any] | None = None,
) -> tuple[ResolvedPrior, ...]:
    """One prior a parameter.

    Parameters
    ----------
    preset : PriorPreset
        Priors by role, and its own overrides.
    facts : DataFacts
        For the scaling rules.
    parameters : sequence of Parameter
        Of the model.
    overrides : dict, optional
        From the call, by parameter (``std_age``, ``1|county_sigma``, ``corr|county``, ``sigma``), by a term that covers
        several (``f`` for ``f[b]``), or in Bambi's nested form (``1|county`` with a prior for its sd).

    Returns
    -------
    tuple of ResolvedPrior

    Raises
    ------
    PriorError
        For an override of something that is not there, or with the wrong support.
    """
    from_call = _expand(overrides or {}, parameters, strict=True)
    # A preset is written for many models: an override of a parameter that this one lacks does nothing.
    from_preset = _expand(preset.overrides, parameters, strict=False)
    found = []
    for parameter in parameters:
        prior: Prior | None
        if parameter.name in from_call:
            prior, source = from_call[parameter.name], "call"
        elif parameter.name in from_preset:
            prior, source = from_preset[parameter.name], f"preset {preset.name!r}, override"
        else:
            prior, source = preset.roles.get(parameter.role), f"preset {preset.name!r}"
            if prior is None:
                prior, source = parameter.default, DEFAULTS.get(parameter.role, "default of the family")
        assert prior is not None
        support = parameter.support or ROLES[parameter.role]
        if prior.support == JOINT:
            if parameter.name in from_call or parameter.name in from_preset:
                raise PriorError(
                    f"{prior.distribution} is a prior of several parameters together, not of {parameter.name!r} alone; "
                    "write it as the table [joint] of a preset"
                )
        elif not prior.fits(support):
            raise PriorError(
                f"the prior of {parameter.name!r} is {prior}, with {prior.support} support; "
                f"this parameter is {_said(support)}"
            )
        if prior.distribution in NO_GROUP_SD and parameter.role in (*GROUP_SDS, "predicted_group_sd"):
            raise PriorError(f"the prior of {parameter.name!r} ({source}): {prior.distribution} {NO_GROUP_SD_SAID}")
        numbers, rule = _numbers(prior, facts, parameter)
        at = _stands_at(parameter.role, preset, facts)
        found.append(ResolvedPrior(parameter.name, parameter.role, numbers, rule, source, at))
    return _whole(found)


def _whole(resolved: list[ResolvedPrior]) -> tuple[ResolvedPrior, ...]:
    """The same, checked that no joint prior of group sds and sigma has lost one side of what it divides."""
    shared = {row.role for row in resolved if row.prior.distribution == "ICCBeta"}
    if shared == {"group_sd_intercept"}:
        raise PriorError("ICCBeta divides one variance between groups and residuals; an override took 'sigma' from it")
    if shared != {"residual_sd"}:
        return tuple(resolved)
    # Without group intercepts all of the variance is the residuals'.
    return tuple(
        replace(row, prior=Prior("HalfStudentT", nu=row.prior.params["nu"], sigma=row.prior.params["sigma"]))
        if row.prior.distribution == "ICCBeta"
        else row
        for row in resolved
    )


def _stands_at(role: str, preset: PriorPreset, facts: DataFacts) -> str:
    if role == "intercept":
        return "mean" if facts.intercept else "zero"
    return preset.group_intercept_at if role in ("group_sd_intercept", "group_correlation") else ""


def _said(support: str) -> str:
    return {
        "positive": "positive: use HalfNormal, Exponential ...",
        "unit": "between 0 and 1: use Beta",
        "correlation": "a correlation: use LKJ",
    }.get(support, "a real number: use Normal, StudentT ...")


def _expand(overrides: Mapping[str, Any], parameters: Sequence[Parameter], *, strict: bool) -> dict[str, Prior]:
    """Overrides by parameter, from overrides by parameter, term or Bambi's nested form; an exact name goes first."""
    terms = {parameter.name: _term(parameter.name) for parameter in parameters}
    by_name: dict[str, Prior] = {}
    by_term: dict[str, Prior] = {}
    for key, value in overrides.items():
        name = _parameter_or_term(str(key), terms)
        covered = [known for known, term in terms.items() if term == name]
        if name in terms:
            by_name[name] = _prior(key, name, value)
        elif covered:
            by_term |= dict.fromkeys(covered, _prior(key, name, value))
        elif strict:
            raise PriorError(f"no parameter {key!r} in this model; {near_names(str(key), terms, 30)}")
    return by_term | by_name


def _term(name: str) -> str:
    """The term of a parameter, its name without levels: ``f[b]:x`` is of ``f:x``, ``f[b]|g_sigma`` of ``f|g_sigma``.

    A level may itself hold brackets, so they are counted.
    """
    kept, depth = [], 0
    for character in name:
        depth += character == "["
        if depth == 0:
            kept.append(character)
        depth -= character == "]" and depth > 0
    return "".join(kept)


def _parameter_or_term(key: str, terms: Mapping[str, str]) -> str:
    """The key itself, or for a group-specific effect (``1|g``) the name of its sd."""
    known = {*terms, *terms.values()}
    # Back-quotes are of formulas; the names of parameters have none.
    key = key if key in known else key.replace("`", "")
    return f"{key}_sigma" if key not in known and f"{key}_sigma" in known else key


def _prior(key: str, name: str, value: Any) -> Prior:
    """The prior of an override; for an effect it is nested as in Bambi, ``Normal(mu=0, sigma=<prior of the sd>)``."""
    if name == key.replace("`", ""):
        return Prior.coerce(value)
    args = getattr(value, "args", None)
    args = args if isinstance(args, Mapping) else {}
    centred = all(float(args[argument]) == 0 for argument in args if argument != "sigma")
    if getattr(value, "name", None) != "Normal" or not hasattr(args.get("sigma"), "args") or not centred:
        raise PriorError(
            f"the prior of {key!r} must be Normal(mu=0, sigma=<a prior>), as in Bambi; or name the group sd, {name!r}"
        )
    return Prior.coerce(args["sigma"])


def _numbers(prior: Prior, facts: DataFacts, parameter: Parameter) -> tuple[Prior, str]:
    """The prior with its rules evaluated, and how."""
    params: dict[str, float] = {}
    said = []
    for name, value in prior.params.items():
        if not isinstance(value, Scaled):
            params[name] = value
            continue
        measured = _measure(value, facts, parameter)
        params[name] = value.times * measured
        times = "" if value.times == 1 else f"{value.times:g} x "
        said.append(f"{name} = {times}{value.rule} = {times}{measured:.4g}")
    try:
        return Prior(prior.distribution, **params), "; ".join(said)
    except PriorError as error:
        raise PriorError(f"the prior of {parameter.name!r}, {prior}: {error}") from error


def _measure(value: Scaled, facts: DataFacts, parameter: Parameter) -> float:
    if parameter.role == "residual_sd" and facts.response is not None:
        facts = facts.response
    if facts.sd_y <= 0:
        raise PriorError("the priors cannot follow the data: the response is constant")
    try:
        return RULES[value.rule](facts, parameter.column)
    except KeyError as error:
        raise PriorError(
            f"the rule {value.rule!r} does not apply to {parameter.name!r} ({parameter.role.replace('_', ' ')})"
        ) from error


def priors_table(resolved: Sequence[ResolvedPrior]) -> pd.DataFrame:
    """A row a parameter: parameter, role, distribution, rule, source, and at which predictors it stands."""
    return pd.DataFrame(
        [(row.parameter, row.role, str(row.prior), row.rule, row.source, row.at) for row in resolved],
        columns=["parameter", "role", "distribution", "rule", "source", "at"],
    )

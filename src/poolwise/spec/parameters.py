"""The parameters of a model that need a prior, and the facts of the data that scaled priors follow."""

from dataclasses import replace
from typing import Any

import numpy as np

from poolwise import names
from poolwise.algebra.links import LINK
from poolwise.priors.distributions import CORRELATION, REAL
from poolwise.priors.prior import Prior, Scaled
from poolwise.priors.resolve import Parameter
from poolwise.priors.scale import Array, DataFacts, EffectFacts, column_facts, mean_and_sd, within_group_sd
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.families import UNITLESS
from poolwise.spec.predicted import predicted_parameters

# Prior sd of the log of a group sd, by sd of the covariate over the groups: a factor within 0.38 and 2.7 for 95 in 100.
LOG_SD = 0.5
# Facts of a response of levels or categories: its linear predictor has no unit.
UNIT_RESPONSE = {"mean_y": 0.0, "sd_y": 1.0, "median_y": 0.0, "mad_y": 0.0}


def parameters_of(design: Design) -> list[Parameter]:
    """Every parameter with a prior, in the order of the posterior: coefficients, sds, correlations, the family's."""
    found = [parameter for own in design.linear for parameter in _of_effects(own)]
    found += [Parameter(own.name, own.role, own.name, own.support, own.prior) for own in design.constant_auxiliaries]
    for own in design.further:
        found += predicted_parameters(own, _response_facts(_linear_response(design))["sd_y"])
    return found


def _of_effects(design: Design) -> list[Parameter]:
    """Those of one linear predictor."""
    found = []
    for k, name in enumerate(design.coefficient_names):
        role = "intercept" if k == design.intercept else "slope"
        found.append(Parameter(name, role, name))
    for factor in design.factors:
        for k, sd_name in zip(factor.sd_columns, factor.sd_names, strict=True):
            role = "group_sd_intercept" if factor.effects[k] == names.INTERCEPT else "group_sd_slope"
            found.append(Parameter(sd_name, role, sd_name))
        found += [
            Parameter(name, "group_log_sd", name, REAL, Prior("Normal", mu=0.0, sigma=Scaled("one_over_sd_z", LOG_SD)))
            for own in factor.log_sd_names
            for name in own
        ]
        if factor.structure.n_correlations:
            found.append(Parameter(factor.correlation_name, "group_correlation", factor.correlation_name, CORRELATION))
    return found + [parameter for smooth in design.smooths for parameter in smooth.parameters]


def facts_of(design: Design) -> DataFacts:
    """What the scaling rules may ask of the data."""
    if design.collapsed is not None:
        return design.collapsed.facts()
    family = design.family
    if family.categorical:
        parts = [facts_of(own) for own in design.linear]
        merged: dict[str, Any] = {
            field: {name: value for part in parts for name, value in getattr(part, field).items()}
            for field in ("columns", "effects", "covariates", "groups")
        }
        return replace(parts[0], **(merged | UNIT_RESPONSE), response=None)
    cells, counted = design.cells, design.counted
    rows = None if counted is None else counted.rows
    coded = {
        k
        for _, where, levels in cells.common.terms
        for k in range(where.start, where.stop)
        if levels is not None and set(np.unique(cells.X[:, k])) <= {0.0, 1.0}
    }
    of_response = _response_facts(_linear_response(design)) if counted is None else counted.facts
    facts = DataFacts(
        n=design.n,
        **of_response,
        columns={
            name: column_facts(cells.X[:, k], categorical=k in coded, rows=rows)
            for k, name in enumerate(design.coefficient_names)
            if k != design.intercept
        },
        effects={
            sd_name: EffectFacts(
                sd_within=0.0
                if factor.effects[k] == names.INTERCEPT
                else within_group_sd(factor.Z[:, k], factor.views[0].codes, rows),
                sd=mean_and_sd(factor.Z[:, k], rows)[1],
                intercept=factor.effects[k] == names.INTERCEPT,
            )
            for factor in cells.factors
            for k, sd_name in zip(factor.sd_columns, factor.sd_names, strict=True)
        },
        covariates={
            own[k]: float(factor.sd_regression.W[:, k].std(ddof=1))
            for factor in design.factors
            if factor.sd_regression is not None
            for own in factor.log_sd_names
            for k in range(len(own))
        },
        groups={factor.name: factor.J for factor in design.factors},
        intercept=design.intercept >= 0,
    )
    if family.link == "identity" and family.holds in ("real", "positive", "nonnegative"):
        return facts
    return replace(facts, **_on_link_scale(design), response=facts)


def _linear_response(design: Design) -> Array:
    """The response in the units of the residual sd: without its offset, logs for a lognormal."""
    y = design.outcome.scaled
    if design.family.name.endswith("lognormal"):
        return np.log(y[y > 0]) - design.offset[y > 0]
    return y - design.offset if design.family.link == "identity" else y


def _response_facts(y: Array) -> dict[str, Any]:
    median = float(np.median(y))
    return {
        "mean_y": float(y.mean()),
        "sd_y": float(y.std(ddof=1)) if len(y) > 1 else 0.0,
        "median_y": median,
        "mad_y": float(1.4826 * np.median(np.abs(y - median))),
    }


def _on_link_scale(design: Design) -> dict[str, Any]:
    """Facts of the response on the scale of the linear predictor.

    A coefficient on a log or logit scale is a ratio, so its unit is 1 whatever the units of the response; under the
    inverse links and the identity the unit is the response's sd times the slope of the link at the mean. Median and
    mad are as brms has them: of the transformed response (a zero counts as 0.1) under the log and inverse links,
    and 0 for probabilities.
    """
    link, counted = design.family.link, design.counted
    if counted is not None:
        mean = float(counted.y.sum() / counted.trials.sum())
        # The median of the logs of counts is gone; that of probabilities counts as 0.
        median = np.nan if link == "log" else 0.0
        at_mean = _linear_at(mean, link, design.cells.offset, counted.rows)
        return {"mean_y": at_mean, "sd_y": 1.0, "median_y": median, "mad_y": median}
    y, n = design.outcome.scaled, design.outcome.trials
    if design.outcome.levels is not None:
        return dict(UNIT_RESPONSE)
    mean = float(np.average(y, weights=n))
    at_mean = _linear_at(mean, link, design.offset)
    unit = 1.0
    if link not in UNITLESS:
        step = 1e-6 * abs(mean)
        slope = abs(float(LINK[link](np.asarray(mean + step)) - LINK[link](np.asarray(mean - step)))) / (2 * step)
        unit = slope * float(y.std(ddof=1))
    found = {"mean_y": at_mean, "sd_y": unit, "median_y": 0.0, "mad_y": 0.0}
    if link in ("log", "inverse", "inverse_squared", "identity"):
        transformed = _response_facts(LINK[link](np.where(y == 0, 0.1, y)) - design.offset)
        found |= {key: transformed[key] for key in ("median_y", "mad_y")}
    return found


def _linear_at(mean: float, link: str, offset: Array, rows: Array | None = None) -> float:
    """The linear predictor without offset at which rows of these offsets have this mean."""
    if link == "log":
        mean /= float(np.average(np.exp(offset - offset.max()), weights=rows)) * np.exp(offset.max())
        return float(np.log(mean))
    return float(LINK[link](np.asarray(mean)) - np.average(offset, weights=rows))


def structure_note(factor: GroupingFactor) -> str:
    """How the effects of a factor hang together, in words."""
    blocks = []
    effects = ["1" if effect == names.INTERCEPT else effect for effect in factor.effects]
    for start, size in zip(factor.structure.starts, factor.structure.sizes, strict=True):
        blocks.append("(" + ", ".join(effects[start : start + size]) + ")")
    return " + ".join(blocks) + (" correlated within brackets" if factor.structure.n_correlations else "")

"""The parameters of a model that need a prior, and the facts of the data that scaled priors follow."""

import numpy as np

from poolwise import names
from poolwise.priors.resolve import Parameter
from poolwise.priors.scale import DataFacts, EffectFacts, column_facts, within_group_sd
from poolwise.spec.design import Design, GroupingFactor


def parameters_of(design: Design) -> list[Parameter]:
    """Every parameter with a prior, in the order of the posterior: coefficients, sds, correlations, sigma."""
    found = []
    for k, name in enumerate(design.coefficient_names):
        role = "intercept" if k == design.intercept else "slope"
        found.append(Parameter(name, role, name))
    for factor in design.factors:
        for effect, sd_name in zip(factor.effects, factor.sd_names, strict=True):
            role = "group_sd_intercept" if effect == names.INTERCEPT else "group_sd_slope"
            found.append(Parameter(sd_name, role, sd_name))
        if factor.structure.n_correlations:
            found.append(Parameter(names.correlation(factor.name), "group_correlation", names.correlation(factor.name)))
    found.append(Parameter(names.SIGMA, "residual_sd", names.SIGMA))
    return found


def facts_of(design: Design) -> DataFacts:
    """What the scaling rules may ask of the data."""
    y = design.y - design.offset
    median = float(np.median(y))
    return DataFacts(
        n=design.n,
        mean_y=float(y.mean()),
        sd_y=float(y.std(ddof=1)) if design.n > 1 else 0.0,
        median_y=median,
        mad_y=float(1.4826 * np.median(np.abs(y - median))),
        columns={
            name: column_facts(design.X[:, k])
            for k, name in enumerate(design.coefficient_names)
            if k != design.intercept
        },
        effects={
            sd_name: EffectFacts(
                sd_within=0.0 if effect == names.INTERCEPT else within_group_sd(factor.Z[:, k], factor.codes),
                sd=float(factor.Z[:, k].std(ddof=1)) if design.n > 1 else 0.0,
                intercept=effect == names.INTERCEPT,
            )
            for factor in design.factors
            for k, (effect, sd_name) in enumerate(zip(factor.effects, factor.sd_names, strict=True))
        },
        groups={factor.name: factor.J for factor in design.factors},
        intercept=design.intercept >= 0,
    )


def structure_note(factor: GroupingFactor) -> str:
    """How the effects of a factor hang together, in words."""
    blocks = []
    effects = ["1" if effect == names.INTERCEPT else effect for effect in factor.effects]
    for start, size in zip(factor.structure.starts, factor.structure.sizes, strict=True):
        blocks.append("(" + ", ".join(effects[start : start + size]) + ")")
    return " + ".join(blocks) + (" correlated within brackets" if factor.structure.n_correlations else "")

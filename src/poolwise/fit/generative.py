"""NUTS over the generative model, for what the collapsed form does not serve."""

import numpy as np
import pymc as pm
import xarray as xr

from poolwise.fit.bayes import Sampling
from poolwise.fit.nuts import run
from poolwise.spec.design import Design

# Median rows a group from which the data say more of an effect than its prior does.
MANY_ROWS = 50


def informative_factors(design: Design) -> list[str]:
    """Factors whose effects are better sampled as they are: of groups with so many rows that the data place them.

    References
    ----------
    Betancourt & Girolami (2015), Hamiltonian Monte Carlo for hierarchical models, on when to centre.
    """
    return [factor.name for factor in design.factors if np.median(factor.sizes) >= MANY_ROWS and factor.exchangeable]


def sample_generative(design: Design, model: pm.Model, settings: Sampling) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior under Bambi's names without the helper variables, and nutpie's sample statistics.

    Parameters
    ----------
    design : Design
        Names of the factors.
    model : pm.Model
        From :func:`poolwise.compile.generative.generative_model`.
    settings : Sampling
        Of the run.

    Returns
    -------
    posterior, sample_stats : Dataset
    """
    import nutpie

    trace = run(nutpie.compile_pymc_model(model), **settings.nuts())
    posterior = trace["posterior"].to_dataset()
    wanted = {own.name for own in design.constant_auxiliaries}
    for one in (design, *design.predicted):
        wanted |= {one.variable(term, where) for term, where, _ in one.common.terms}
        for factor in one.factors:
            wanted.add(factor.correlation_name)
            wanted |= {name for own in factor.log_sd_names for name in own}
            for term in factor.terms:
                wanted |= {factor.effect_name(term.name), factor.group_sd_name(term.name)}
    return posterior[[name for name in posterior.data_vars if name in wanted]], trace["sample_stats"].to_dataset()

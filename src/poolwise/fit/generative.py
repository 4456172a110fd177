"""NUTS over the generative model, for what the collapsed form does not serve."""

from dataclasses import replace

import numpy as np
import pymc as pm
import xarray as xr

from poolwise import names
from poolwise.fit.bayes import Sampling
from poolwise.fit.nuts import run
from poolwise.fit.trace import Watch
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


def sample_generative(
    design: Design, model: pm.Model, settings: Sampling, watch: Watch | None = None
) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior under Bambi's names without the helper variables, and nutpie's sample statistics.

    Parameters
    ----------
    design : Design
        Names of the factors.
    model : pm.Model
        From :func:`poolwise.compile.generative.generative_model`.
    settings : Sampling
        Of the run.
    watch : callable, optional
        Told of new draws of a chain, and their statistics, while the run goes on.

    Returns
    -------
    posterior, sample_stats : Dataset
    """
    import nutpie

    watched = None
    if watch is not None:

        def watched(chain: int, posterior: xr.Dataset, stats: xr.Dataset) -> None:
            watch(chain, _own(design, posterior), stats)

    posterior, stats = run(nutpie.compile_pymc_model(model), watch=watched, **settings.nuts())
    return _own(design, posterior), stats


def _own(design: Design, posterior: xr.Dataset) -> xr.Dataset:
    """The variables that a person sees."""
    wanted = {own.name for own in design.constant_auxiliaries}
    for one in (design, *design.predicted):
        wanted |= {one.variable(term, where) for term, where, _ in one.common.terms}
        wanted |= {name for smooth in one.smooths for name in smooth.variables}
        for factor in one.factors:
            wanted.add(factor.correlation_name)
            wanted |= {name for own in factor.log_sd_names for name in own}
            for term in factor.terms:
                wanted |= {factor.effect_name(term.name), factor.group_sd_name(term.name)}
    posterior = posterior[[name for name in posterior.data_vars if name in wanted]]
    return stacked(design, posterior) if design.family.categorical else posterior


def stacked(design: Design, posterior: xr.Dataset) -> xr.Dataset:
    """The variables ``x[b]`` and ``x[c]`` of two categories as one, ``x``, the categories its last dimension."""
    labels, dim = [own.category for own in design.linear], design.category_dim
    found = {}
    for base in base_names(design):
        own = [names.in_category(base, names.variable(label)) for label in labels]
        if own[0] in posterior:
            values = np.stack([posterior[name].to_numpy() for name in own], axis=-1)
            found[base] = ((*posterior[own[0]].dims, dim), values)
    return xr.Dataset(found, coords={**posterior.coords, dim: labels})


def base_names(design: Design) -> list[str]:
    """Variables of a categorical response without their category."""
    own = replace(design.linear[0], category="")
    found = [own.variable(term, where) for term, where, _ in own.common.terms]
    for factor in (replace(factor, category="") for factor in own.factors):
        found += [factor.correlation_name, *(name for each in factor.log_sd_names for name in each)]
        for term in factor.terms:
            found += [factor.effect_name(term.name), factor.group_sd_name(term.name)]
    for smooth in own.smooths:
        found += sorted(replace(smooth, category="").variables)
    return found

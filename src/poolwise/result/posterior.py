"""From arrays of draws to one DataTree under Bambi's names."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.compile.collapsed import Draws
from poolwise.fit.bayes import Sampling
from poolwise.fit.crossed import CrossedDraws
from poolwise.fit.whitened import WhitenedDraws
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

# nutpie's names of sample statistics, and those that PyMC and ArviZ use.
STATISTICS = {
    "diverging": "diverging",
    "depth": "tree_depth",
    "maxdepth_reached": "reached_max_treedepth",
    "n_steps": "n_steps",
    "step_size": "step_size",
    "step_size_bar": "step_size_bar",
    "logp": "lp",
    "energy": "energy",
    "mean_tree_accept": "acceptance_rate",
}


def posterior_dataset(
    design: Design,
    coefficients: Array,
    sds: Mapping[str, Array],
    correlations: Mapping[str, Array],
    own: Mapping[str, Array],
    effects: Mapping[str, Array],
    smooths: Mapping[str, Array] = MappingProxyType({}),
) -> xr.Dataset:
    """Posterior group under Bambi's names, dims and coords.

    Parameters
    ----------
    design : Design
        Names and levels.
    coefficients : ndarray (chain, draw, p)
        On the original, uncentred scale.
    sds, correlations, effects : mapping of factor name to ndarray (chain, draw, q), (..., q, q), (..., J, q)
        In the units of the data; sds (chain, draw, K, q) and correlations (..., K, q, q) with kinds of groups.
    own : mapping of str to ndarray (chain, draw) or (chain, draw, K - 1)
        The family's further parameters: sigma, alpha, threshold.
    smooths : mapping of str to ndarray (chain, draw, ...), optional
        Variables of smooth functions.

    Returns
    -------
    Dataset
    """
    variables: dict[str, tuple] = {}
    coords: dict[str, object] = {
        names.CHAIN: np.arange(coefficients.shape[0]),
        names.DRAW: np.arange(coefficients.shape[1]),
    }
    sample = (names.CHAIN, names.DRAW)
    for term, where, levels in design.common.terms:
        name = design.variable(term, where)
        if levels is None:
            variables[name] = (sample, coefficients[..., where.start])
        else:
            variables[name] = ((*sample, names.term_dim(term)), coefficients[..., where])
            coords[names.term_dim(term)] = list(levels)
    for name, value in own.items():
        if value.ndim == len(sample):
            variables[name] = (sample, value)
        else:
            variables[name] = ((*sample, names.term_dim(name)), value)
            coords[names.term_dim(name)] = np.arange(value.shape[-1])
    for factor in design.factors:
        groups = names.group_dim(factor.name)
        coords[groups] = factor.labels
        by_kind: tuple[str, ...] = ()
        if factor.kinds is not None:
            by_kind = (factor.kind_dim,)
            coords[by_kind[0]] = list(factor.kinds.labels)
        for part in factor.terms:
            sd, value = sds[factor.name][..., part.columns], effects[factor.name][..., part.columns]
            sd_name, name = names.group_sd(part.name, factor.name), names.effect(part.name, factor.name)
            if part.levels is None:
                variables[sd_name] = ((*sample, *by_kind), sd[..., 0])
                variables[name] = ((*sample, groups), value[..., 0])
            else:
                dim = names.expression_dim(part.name)
                coords[dim] = list(part.levels)
                variables[sd_name] = ((*sample, *by_kind, dim), sd)
                variables[name] = ((*sample, groups, dim), value)
        if factor.structure.n_correlations:
            first, second = factor.correlation_dims
            coords[first] = coords[second] = list(factor.effects)
            variables[names.correlation(factor.name)] = ((*sample, *by_kind, first, second), correlations[factor.name])
    for smooth in design.smooths:
        coords |= smooth.coords
        by = (smooth.by_dim,) if smooth.levels and not smooth.shared else ()
        for kind, dims in (("sigma", by), ("ell", by), ("weights", smooth.weight_dims)):
            variables[smooth.called(kind)] = ((*sample, *dims), smooths[smooth.called(kind)])
    return xr.Dataset(variables, coords=coords)


def sample_stats_dataset(stats: xr.Dataset) -> xr.Dataset:
    """Sampler statistics under the names that PyMC and ArviZ use."""
    found = {new: stats[old] for old, new in STATISTICS.items() if old in stats}
    return xr.Dataset({name: ((names.CHAIN, names.DRAW), value.to_numpy()) for name, value in found.items()})


def data_tree(design: Design, posterior: xr.Dataset, sample_stats: xr.Dataset | None) -> xr.DataTree:
    """Posterior, sampler statistics, observed and constant data as one tree."""
    groups: dict[str, xr.Dataset] = {"posterior": posterior}
    if sample_stats is not None:
        groups["sample_stats"] = sample_stats
    if design.collapsed is not None or design.counted is not None:
        return xr.DataTree.from_dict(groups)
    response = design.response
    rows = {names.OBSERVATION: np.arange(design.n)}
    dims: tuple[str, ...] = (names.OBSERVATION,)
    seen: dict[str, Any] = dict(rows)
    if design.outcome.counts is not None:
        dims = (names.OBSERVATION, names.term_dim(response))
        seen[names.term_dim(response)] = list(design.outcome.categories or ())
    groups["observed_data"] = xr.Dataset({response: (dims, design.outcome.observed)}, coords=seen)
    constant: dict[str, tuple] = {
        "common_design": ((names.OBSERVATION, "common_column"), design.linear[0].X),
        "offset": (names.OBSERVATION, design.offset),
    }
    if design.weights is not None:
        constant["weights"] = (names.OBSERVATION, design.weights)
    for factor in design.linear[0].factors:
        several = (names.dimension(f"{factor.name}__member"),) * (factor.members is not None)
        constant[names.variable(f"{factor.name}__factor_index")] = ((names.OBSERVATION, *several), factor.codes)
    coords = {**rows, "common_column": list(replace(design.linear[0], category="").coefficient_names)}
    groups["constant_data"] = xr.Dataset(constant, coords=coords)
    return xr.DataTree.from_dict(groups)


def collapsed_tree(design: Design, draws: Draws, effects: Array, stats: xr.Dataset, settings: Sampling) -> xr.DataTree:
    """The tree of a collapsed fit.

    Parameters
    ----------
    design : Design
        Names and levels.
    draws : Draws
        Parameters, (chains * draws, ...).
    effects : ndarray (chains * draws, J, q)
        Group-specific effects.
    stats : Dataset
        nutpie's sample statistics.
    settings : Sampling
        Of the run.

    Returns
    -------
    xarray.DataTree
    """
    posterior = collapsed_posterior(design, draws, effects, (settings.chains, settings.draws))
    return data_tree(design, posterior, sample_stats_dataset(stats))


def collapsed_posterior(design: Design, draws: Draws, effects: Array, shape: tuple[int, int]) -> xr.Dataset:
    """The posterior group of a collapsed fit from draws (chains * draws, ...); the shape is (chains, draws)."""

    def by_chain(value: Array) -> Array:
        return value.reshape(*shape, *value.shape[1:])

    sds, correlations, by_factor = {}, {}, {}
    for factor in design.factors:
        sd, correlation = sds_and_correlations(_by_kind(draws.group_factor, factor))
        sds[factor.name], by_factor[factor.name] = by_chain(sd), by_chain(effects)
        correlations[factor.name] = by_chain(correlation)
    own = {names.SIGMA: by_chain(draws.sigma)}
    return posterior_dataset(design, by_chain(draws.coefficients), sds, correlations, own, by_factor)


def _by_kind(group_factor: Array, factor: GroupingFactor) -> Array:
    """Diagonal blocks (D, K, q, q) of the factor of all kinds, itself where there is one kind."""
    if factor.kinds is None:
        return group_factor
    q = len(factor.effects)
    starts = range(0, group_factor.shape[1], q)
    return np.stack([group_factor[:, at : at + q, at : at + q] for at in starts], axis=1)


def crossed_tree(design: Design, drawn: CrossedDraws, settings: Sampling) -> xr.DataTree:
    """The tree of a collapsed fit of several grouping factors."""
    shape, at = (settings.chains, settings.draws), 0

    def by_chain(value: Array) -> Array:
        return value.reshape(*shape, *value.shape[1:])

    sds, correlations, effects = {}, {}, {}
    for factor, effect in zip(design.factors, drawn.effects, strict=True):
        own = slice(at, at + len(factor.effects))
        sd, correlation = sds_and_correlations(drawn.parameters.group_factor[:, own, own])
        sds[factor.name], correlations[factor.name] = by_chain(sd), by_chain(correlation)
        effects[factor.name] = by_chain(effect)
        at = own.stop
    sigma = {names.SIGMA: by_chain(drawn.parameters.sigma)}
    posterior = posterior_dataset(design, by_chain(drawn.parameters.coefficients), sds, correlations, sigma, effects)
    return data_tree(design, posterior, drawn.stats)


def whitened_tree(design: Design, draws: WhitenedDraws, stats: xr.Dataset, settings: Sampling) -> xr.DataTree:
    """The tree of a whitened fit; draws are (chains * draws, ...)."""
    posterior = whitened_posterior(design, draws, (settings.chains, settings.draws))
    return data_tree(design, posterior, sample_stats_dataset(stats))


def whitened_posterior(design: Design, draws: WhitenedDraws, shape: tuple[int, int]) -> xr.Dataset:
    """The posterior group of a whitened fit from draws (chains * draws, ...); the shape is (chains, draws)."""

    def by_chain(value: Array) -> Array:
        return value.reshape(*shape, *value.shape[1:])

    def by_name(values: Mapping[str, Array]) -> dict[str, Array]:
        return {name: by_chain(value) for name, value in values.items()}

    return posterior_dataset(
        design,
        by_chain(draws.coefficients),
        by_name(draws.sds),
        by_name(draws.correlations),
        by_name(draws.own),
        by_name(draws.effects),
        by_name(draws.smooths),
    )

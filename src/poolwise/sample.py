"""From a model and settings to its posterior: which form samples it, and the fit that comes of it."""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from poolwise.compile.collapsed import Draws
from poolwise.errors import ArgumentError, OtherFormWarning, PartialRunWarning
from poolwise.fit.bayes import Sampling, all_closed, effect_streams
from poolwise.fit.crossed import CrossedDraws, CrossedSampler, is_affordable, serves_crossed
from poolwise.fit.importance import K_LIMIT
from poolwise.fit.trace import Watch
from poolwise.fit.whitened import WhitenedDraws, serves
from poolwise.priors.distributions import JOINT
from poolwise.result.bayes import BayesFit
from poolwise.result.posterior import (
    collapsed_posterior,
    collapsed_tree,
    crossed_tree,
    data_tree,
    sample_stats_dataset,
    whitened_posterior,
    whitened_tree,
)
from poolwise.result.stream import HowSampled, RunStore
from poolwise.spec.crossed import crossed_sufficient
from poolwise.spec.exchange import serves_exchangeable
from poolwise.spec.grouping import why_not_exchangeable

if TYPE_CHECKING:
    from poolwise.model import Model

FORMS = ("auto", "collapsed", "whitened", "generative", "centred")
# A form, why it was not another, and of the generative one the factors whose effects are centred.
Chosen = tuple[str, str, tuple[str, ...]]


def sample(
    model: "Model", settings: Sampling, chosen: Chosen, kept: RunStore | None = None
) -> tuple[BayesFit, HowSampled]:
    """The posterior of a model, not judged, and how it was sampled.

    Parameters
    ----------
    model : Model
    settings : Sampling
    chosen : tuple
        Of :func:`choose_form`, or of an earlier run.
    kept : RunStore, optional
        Where draws are written to while they are made.
    """
    form, why, free = chosen
    if form == "collapsed" and len(model.design.factors) > 1:
        drawn, why = _draw_crossed(model, settings)
        if drawn is not None:
            how = HowSampled(form, (), drawn.said)
            tree = crossed_tree(model.design, drawn, settings)
            return BayesFit(model.design, tree, model.specification.resolved, settings, drawn.said), how
        form = "generative" if serves(model.design, model.specification.priors) else "whitened"
        free = centred_factors(model, form, why)
    make = {"whitened": _whitened, "generative": _generative}.get(form, _collapsed)
    how, tree = make(model, settings, why, free, kept)
    run = _as_run(settings, tree)
    return BayesFit(model.design, tree, model.specification.resolved, run, how.said), how


def _collapsed(
    model: "Model", settings: Sampling, why: str, free: tuple[str, ...], kept: RunStore | None
) -> tuple[HowSampled, xr.DataTree]:
    sampler, design = model.sampler, model.design
    said = f"collapsed form ({sampler.door} door), group-specific effects drawn exactly"
    how, watch = HowSampled("collapsed", (), said), None
    if kept is not None:
        store, streams = kept, effect_streams(settings)
        store.sampling(how)

        def watch(chain: int, draws: Draws, stats: xr.Dataset) -> None:
            effects = sampler.effects_of(draws, streams[chain])
            posterior = collapsed_posterior(design, draws, effects, (1, len(draws.s)))
            store.watch(chain, posterior, sample_stats_dataset(stats))

    draws, stats = sampler.sample(settings, watch=watch)
    settings = replace(settings, chains=stats.sizes["chain"], draws=stats.sizes["draw"])
    return how, collapsed_tree(design, draws, sampler.effects(draws, settings), stats, settings)


def _whitened(
    model: "Model", settings: Sampling, why: str, free: tuple[str, ...], kept: RunStore | None
) -> tuple[HowSampled, xr.DataTree]:
    design = model.design
    if unserved := serves(design, model.specification.priors):
        raise ArgumentError(
            f"form='whitened' cannot sample this model: {unserved}; leave form out, or use 'generative'"
        )
    sampler = model.whitened
    how, watch = HowSampled("whitened", (), f"{sampler.said}{why and f' ({why})'}"), None
    if kept is not None:
        store = kept
        store.sampling(how)

        def watch(chain: int, draws: WhitenedDraws, stats: xr.Dataset) -> None:
            posterior = whitened_posterior(design, draws, (1, len(draws.coefficients)))
            store.watch(chain, posterior, sample_stats_dataset(stats))

    x, stats = sampler.sample(settings, watch)
    settings = replace(settings, chains=stats.sizes["chain"], draws=stats.sizes["draw"])
    return how, whitened_tree(design, sampler.constrain(x, settings.cores), stats, settings)


def _generative(
    model: "Model", settings: Sampling, why: str, free: tuple[str, ...], kept: RunStore | None
) -> tuple[HowSampled, xr.DataTree]:
    from poolwise.compile.generative import generative_model
    from poolwise.fit.generative import sample_generative

    design, own = model.design, model.specification
    factors = ", ".join(
        f"{factor.name} {'centred' if factor.name in free else 'non-centred'}" for factor in design.all_factors
    )
    said = f"generative form, effects sampled by NUTS ({factors}){why and f', as {why}'}"
    how = HowSampled("generative", free, said)
    watch: Watch | None = None
    if kept is not None:
        store = kept
        store.sampling(how)

        def watch(chain: int, posterior: xr.Dataset, stats: xr.Dataset) -> None:
            store.watch(chain, posterior, sample_stats_dataset(stats))

    explicit = generative_model(design, own.priors, centred=own.centred, explicit=list(free))
    posterior, stats = sample_generative(design, explicit, settings, watch)
    return how, data_tree(design, posterior, sample_stats_dataset(stats))


def centred_factors(model: "Model", form: str, why: str) -> tuple[str, ...]:
    """Factors whose effects the generative form samples as they are."""
    if form == "centred":
        return tuple(factor.name for factor in model.design.all_factors)
    if form != "generative" or not why:
        return ()
    from poolwise.fit.generative import informative_factors

    return tuple(informative_factors(model.design))


def choose_form(model: "Model", form: str) -> Chosen:
    """The form that samples the model, why not the whitened one where it might have been, and what is centred."""
    if form not in FORMS:
        raise ArgumentError(f"form must be one of {', '.join(map(repr, FORMS))}; got {form!r}")
    design, priors, why = model.design, model.specification.priors, ""
    if form == "auto":
        joint = any(prior.support == JOINT for prior in priors.values())
        several = len(design.factors) > 1
        explicit = (
            not design.collapses
            or not (design.exchangeable or serves_exchangeable(design))
            or several
            or (joint and not all_closed(priors))
        )
        form = "whitened" if explicit else "collapsed"
        why = serves(design, priors) if explicit else ""
        form = "generative" if why else form
        crossed = several and design.exchangeable and not serves_crossed(design, priors)
        if crossed and (why or is_affordable(design)):
            form = "collapsed"
    tied = not design.exchangeable
    if (form == "centred" and tied) or (form == "collapsed" and tied and not serves_exchangeable(design)):
        raise ArgumentError(
            f"form={form!r} takes groups that are independent draws from one normal distribution, and "
            f"{why_not_exchangeable(design)}; leave form out, or use 'generative'"
        )
    if form == "collapsed" and not design.collapses:
        raise ArgumentError(
            f"form='collapsed' is for Gaussian responses with an identity link, neither censored nor truncated; "
            f"this is family {design.family}. Leave form out, or use 'whitened' or 'generative'"
        )
    free = centred_factors(model, form, why)
    return "generative" if form == "centred" else form, why, free


def _draw_crossed(model: "Model", settings: Sampling) -> tuple[CrossedDraws | None, str]:
    """Draws of several factors in collapsed form; None, and why, where they are not to be trusted."""
    if why := serves_crossed(model.design, model.specification.priors):
        raise ArgumentError(
            f"form='collapsed' cannot sample this model of several grouping factors: {why}; leave form out, or use "
            "'whitened' or 'generative'"
        )
    rows = crossed_sufficient(model.design, centred=model.specification.centred)
    drawn, k = CrossedSampler(model.design, rows, model.specification.priors).sample(settings)
    if drawn is not None:
        return drawn, ""
    measured = f"Pareto k {k:.2f} is above {K_LIMIT}" if np.isfinite(k) else "their posterior has no clear mode"
    warnings.warn(
        f"the collapsed form draws the variances by importance, which this posterior does not allow: {measured}; "
        "its effects are sampled by NUTS instead, which takes longer",
        OtherFormWarning,
        stacklevel=4,
    )
    return None, f"the collapsed form refused: {measured}"


def _as_run(settings: Sampling, tree: xr.DataTree) -> Sampling:
    """The settings with the chains and draws there are; says so where the run was interrupted."""
    chains, draws = (tree["posterior"].sizes[dim] for dim in ("chain", "draw"))
    if (chains, draws) != (settings.chains, settings.draws):
        warnings.warn(
            f"interrupted: {chains} of {settings.chains} chains with {draws} of {settings.draws} draws were made, "
            "and are returned",
            PartialRunWarning,
            stacklevel=4,
        )
    return replace(settings, chains=chains, draws=draws)


def check_settings(draws, tune, chains, seed, cores, progress, target_accept) -> Sampling:
    """Settings as a caller gave them, if they can be."""
    for name, value, least in (("draws", draws, 4), ("tune", tune, 0), ("chains", chains, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name} must be a whole number of at least {least}; got {value!r}")
    for name, value, least in (("seed", seed, 0), ("cores", cores, 1)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and (not whole or not least <= value < 2**63):
            raise ArgumentError(f"{name} must be a whole number from {least}, or None; got {value!r}")
    number = isinstance(target_accept, int | float | np.number)
    if target_accept is not None and not (number and 0.5 <= target_accept < 1):
        raise ArgumentError(f"target_accept must lie in [0.5, 1), for instance 0.9; got {target_accept!r}")
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    return Sampling(int(draws), int(tune), int(chains), int(seed), cores, progress, target_accept)

"""More draws of a posterior that has some: of a run that was stopped, of one that was too short."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.errors import ArgumentError, FitError
from poolwise.fit.bayes import Sampling
from poolwise.fit.memory import refuse_too_large
from poolwise.model import Model
from poolwise.result.bayes import BayesFit
from poolwise.result.posterior import data_tree
from poolwise.result.stream import HowSampled, RunStore, Stored, load_store, refuse_other
from poolwise.sample import centred_factors, check_settings, choose_form, sample
from poolwise.spec.specification import restored

# What stands between the form and how its draws came together.
RESUMED, EXTENDED = "; resumed", "; extended"


def resume(
    path: str | Path,
    draws: int | None = None,
    *,
    progress: bool = True,
    cores: int | None = None,
    trusted: bool = False,
) -> BayesFit:
    """Make the draws that a stored run still lacks, after it was killed or interrupted, or to make it longer.

    Every draw that is in the store whole stays. Fresh chains, warmed up anew, make what is missing; each is put behind
    what is left of its chain, and the fit's ``form`` says so. Their seed is the first 63 bits of
    ``numpy.random.SeedSequence(seed, spawn_key=(n,))``, seed that of the run and n the number of draws there are. A
    run that had no draws yet begins again under its own seed.

    Parameters
    ----------
    path : str or Path
        The folder or URL that ``Model.fit(store=)`` filled; it is filled on.
    draws : int, optional
        Draws a chain there shall be in the end; those that the run was asked for by default.
    progress : bool, default True
        Show progress.
    cores : int, optional
        Chains side by side; as the run had them by default.
    trusted : bool, default False
        Go on with a model whose formula needed ``trusted=True``; only for stores you wrote yourself.

    Returns
    -------
    BayesFit
        Of all draws, R-hat and effective sizes over all of them. If nothing is missing, it is only read.

    Raises
    ------
    StoreError
        If there is no store, it was altered, or another run writes to it.
    ArgumentError
        If more draws are there than are asked for.

    Warns
    -----
    ConvergenceWarning
        If R-hat, effective sample sizes or divergences are beyond their limits.
    PartialRunWarning
        If this run was interrupted too: it can be resumed again.
    PoolwiseWarning
        If a store at a URL was taken over from a run that did not give it back; this is known after half a minute.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> with TemporaryDirectory() as folder:
    ...     fit = model.fit(seed=1, progress=False, store=Path(folder) / "run")
    ...     longer = pw.resume(Path(folder) / "run", draws=1500, progress=False)
    >>> longer.posterior.sizes["draw"]
    1500
    """
    store, stored = RunStore.reopen(path, trusted=trusted)
    with store:
        wanted = stored.settings.draws if draws is None else draws
        settings = replace(_settings(stored.settings, wanted, progress, cores), draws=int(wanted))
        missing = [int(wanted) - len(chain) for chain in stored.chains]
        if min(missing) < 0:
            raise ArgumentError(
                f"chains of {str(path)!r} have {int(wanted) - min(missing)} draws already; ask for as many at least"
            )
        if max(missing) == 0:
            return _nothing_missing(store, stored).warn_if_not_converged()
        fit = _resumed(store, stored, settings, missing)
    return (load_store(path, trusted=trusted) if fit is None else fit).warn_if_not_converged()


def _nothing_missing(store: RunStore, stored: Stored) -> BayesFit:
    """The fit of all draws; a run that was killed before it said that it is complete says so now."""
    fit = stored.fit()
    if not stored.complete and stored.how is not None:
        store.finish(fit, stored.how)
    return fit


def _resumed(store: RunStore, stored: Stored, settings: Sampling, missing: list[int]) -> BayesFit | None:
    """The fit of all draws when the missing ones are made; None if they are not all."""
    chains = [chain for chain, count in enumerate(missing) if count]
    there = [len(chain) for chain in stored.chains]
    part = settings.continued(sum(there), max(missing), len(chains))
    model = Model.of(restored(stored.design, stored.priors))
    refuse_too_large(model.design, settings)
    how = stored.how
    chosen = (how.form, "", how.free) if how is not None else choose_form(model, stored.manifest["form"])
    store.begin(chains, [missing[chain] for chain in chains], settings.draws)
    fit, made = sample(model, part, chosen, store)
    if (fit.settings.chains, fit.settings.draws) != (part.chains, part.draws):
        return None
    if how is None or stored.layout is None:
        store.finish(fit, made)
        return fit
    stats = _apart(fit.data["sample_stats"].to_dataset(), _proposals(stored))
    new = stored.layout.records(fit.posterior, stats)
    at = {chain: own for own, chain in enumerate(chains)}
    joined = np.stack(
        [
            np.concatenate([records, new[at[chain], : missing[chain]]]) if chain in at else records
            for chain, records in enumerate(stored.chains)
        ]
    )
    posterior, all_stats = stored.layout.datasets(joined)
    all_stats.attrs |= _attributes([stored.manifest["attributes"], stats.attrs])
    # The first stretches are those of the first run that is resumed, or extended.
    said = how.said + f"{RESUMED}: fresh chains went on after {_counts(there)} draws"
    tree = data_tree(stored.design, posterior, all_stats)
    whole = BayesFit(stored.design, tree, stored.priors, settings, said)
    store.finish(whole, replace(how, said=said))
    return whole


def extend(fit: BayesFit, draws: int, *, progress: bool, cores: int | None) -> BayesFit:
    """See :meth:`poolwise.BayesFit.extend`."""
    own = _settings(fit.settings, draws, progress, cores)
    done = fit.settings.draws
    part = own.continued(done * own.chains, int(draws), own.chains)
    model = Model.of(restored(fit.design, fit.resolved_priors))
    refuse_too_large(model.design, replace(own, draws=done + int(draws)))
    how = _how(fit, model)
    more, made = sample(model, part, (how.form, "", how.free))
    refuse_other(how, made)
    shape = more.settings
    before = fit.data["sample_stats"].to_dataset()
    first = int(before["proposal"].max()) + 1 if "proposal" in before else 0
    stats = [before, _apart(more.data["sample_stats"].to_dataset(), first)]
    # An interrupt may have left some chains without new draws: those have no place in the rectangle.
    chosen = {names.CHAIN: slice(0, shape.chains)}
    posterior = _behind([fit.posterior.isel(chosen), more.posterior])
    all_stats = _behind([part.isel(chosen) for part in stats])
    all_stats.attrs = _attributes([part.attrs for part in stats])
    settings = replace(fit.settings, chains=shape.chains, draws=done + shape.draws)
    said = f"{fit.form}{EXTENDED}: fresh chains went on after {done} draws"
    whole = BayesFit(fit.design, data_tree(fit.design, posterior, all_stats), fit.resolved_priors, settings, said)
    return whole.warn_if_not_converged()


def _settings(own: Sampling, draws: int, progress: bool, cores: int | None) -> Sampling:
    """Those of a run, with other draws and cores, checked."""
    return check_settings(
        draws, own.tune, own.chains, own.seed, own.cores if cores is None else cores, progress, own.target_accept
    )


def _how(fit: BayesFit, model: Model) -> HowSampled:
    """The form of a fit, which has it in words."""
    said = fit.form.split(RESUMED)[0].split(EXTENDED)[0]
    form = said.split()[0]
    factors = [factor.name for factor in model.design.all_factors]
    for free in ((), centred_factors(model, "generative", "asked"), tuple(factors)):
        how = ", ".join(f"{name} {'centred' if name in free else 'non-centred'}" for name in factors)
        if form == "generative" and f"({how})" in said:
            return HowSampled(form, free, said)
    if form not in ("collapsed", "whitened"):
        raise FitError(f"this fit cannot be extended, as its form is not known: {said!r}; fit the model anew")
    return HowSampled(form, (), said)


def _apart(stats: xr.Dataset, first: int) -> xr.Dataset:
    """The statistics, with proposals numbered from ``first``: those of two runs are not the same draw."""
    return stats.assign(proposal=stats["proposal"] + first) if "proposal" in stats else stats


def _proposals(stored: Stored) -> int:
    """One more than the largest number of a proposal in a store."""
    assert stored.layout is not None
    largest = 0
    for chain in stored.chains:
        _, stats = stored.layout.datasets(chain[None])
        if "proposal" in stats and len(chain):
            largest = max(largest, int(stats["proposal"].max()) + 1)
    return largest


def _attributes(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of independent draws: the worst Pareto k, and all proposals."""
    found: dict[str, Any] = {}
    for own in each:
        if "pareto_k" in own:
            found["pareto_k"] = max(own["pareto_k"], found.get("pareto_k", -np.inf))
            found["proposals"] = found.get("proposals", 0) + own["proposals"]
    return found


def _behind(parts: list[xr.Dataset]) -> xr.Dataset:
    """Draws of the same chains, those of the second behind those of the first."""
    bare = [part.drop_vars([name for name in (names.CHAIN, names.DRAW) if name in part.coords]) for part in parts]
    joined = xr.concat(bare, names.DRAW, coords="minimal", compat="override", join="override")
    where = {names.CHAIN: np.arange(joined.sizes[names.CHAIN]), names.DRAW: np.arange(joined.sizes[names.DRAW])}
    return joined.assign_coords(where) if parts[0].coords else joined


def _counts(lengths: list[int]) -> str:
    return str(lengths[0]) if len({*lengths}) == 1 else ", ".join(map(str, lengths))

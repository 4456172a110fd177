"""How every conclusion moves with the prior: one fit, reweighted to each preset where that is reliable."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError, DataError, FitError, PriorError
from poolwise.fit.importance import K_LIMIT, smoothed_weights
from poolwise.model import Model
from poolwise.result import tables
from poolwise.result.bayes import BayesFit
from poolwise.result.log_prior import log_prior
from poolwise.result.pooling_factor import pooling_factor_draws
from poolwise.spec.grouping import refuse_grouping
from poolwise.validate.runs import travelling
from poolwise.workers import Client, check_workers, in_order

# Draws of which the pooling factor is worked out; its Monte Carlo error is then below 0.02.
POOLING_DRAWS = 500


@dataclass(frozen=True)
class PriorComparison:
    """Conclusions under several presets, from :func:`compare_priors`.

    Parameters
    ----------
    table : DataFrame
        Columns preset, quantity, estimate (posterior mean), sd, lower, upper, shift: the estimate's distance from that
        of the first preset, in posterior sds of that.
    methods : DataFrame
        Indexed by preset; columns method (fitted, reweighted, refitted), pareto_k, ess: effective number of the
        weighted draws, mean over chains of independent ones.
    level : float
        Probability of the intervals.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> found = pw.compare_priors(model, ["weakly_informative", "few_groups"], seed=1)
    >>> found.methods["method"].tolist()
    ['fitted', 'reweighted']
    """

    table: pd.DataFrame
    methods: pd.DataFrame
    level: float

    def wide(self, column: str = "estimate") -> pd.DataFrame:
        """Quantities by presets.

        Parameters
        ----------
        column : str, default "estimate"
            A column of ``table``.

        Returns
        -------
        DataFrame (quantities, presets)

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> found = pw.compare_priors(model, ["weakly_informative", "few_groups"], seed=1)
        >>> found.wide().columns.tolist()
        ['weakly_informative', 'few_groups']
        """
        by_preset = {preset: rows.set_index("quantity")[column] for preset, rows in self.table.groupby("preset")}
        return pd.DataFrame({preset: by_preset[preset] for preset in self.methods.index})

    def _cells(self) -> pd.DataFrame:
        cells = self.table.assign(
            text=[
                f"{row.estimate:.3g} [{row.lower:.3g}, {row.upper:.3g}]" for row in self.table.itertuples(index=False)
            ]
        )
        return PriorComparison(cells, self.methods, self.level).wide("text").T

    def __repr__(self) -> str:
        return (
            f"Posterior mean [{self.level:.0%} interval] under each preset\n{self._cells().to_string()}\n\n"
            f"How\n{self.methods.to_string(float_format='%.2f', na_rep='')}"
        )

    def _repr_html_(self) -> str:
        return self._cells().to_html() + self.methods.to_html(float_format="%.2f", na_rep="")


def compare_priors(
    model: Model,
    presets: Sequence[Any],
    *,
    level: float = 0.95,
    seed: int = 1,
    progress: bool = False,
    workers: int = 1,
    client: Client | None = None,
    **settings: Any,
) -> PriorComparison:
    """Fit once under the model's own priors and say how the conclusions move under others.

    The draws are reweighted by the ratio of the two prior densities, Pareto-smoothed; where the smoothing says that the
    weights are unreliable (k above 0.7), or a prior has no closed density, the model is fitted again. Any number of
    grouping factors and any family will do: only the priors differ.

    Parameters
    ----------
    model : Model
        Its own priors come first in the tables.
    presets : sequence of str, path, PriorPreset or dict
        As ``Model(priors=...)`` takes them.
    level : float, default 0.95
        Probability of the equal-tailed intervals.
    seed : int, default 1
        Of every fit.
    progress : bool, default False
        Show the progress of the fits that are made here.
    workers : int, default 1
        Processes that refit side by side, one chain at a time each; a script that asks for several needs
        ``if __name__ == "__main__":``. They do not change the result.
    client : dask.distributed.Client, optional
        Runs the refits on its workers; anything with ``submit(function, ...)`` will do. The result is the same.
    **settings
        Handed to :meth:`poolwise.Model.fit`.

    Returns
    -------
    PriorComparison

    Raises
    ------
    ArgumentError
        If presets is no list, or level is not between 0 and 1.
    PriorError, UnknownNameError
        For a preset that is not valid, or is not there.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72).

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    >>> pw.compare_priors(model, ["few_groups", "brms"]).methods["method"].tolist()
    ['fitted', 'reweighted', 'reweighted']
    """
    tables.check_level(level)
    check_workers(workers, client)
    if isinstance(presets, str) or not len(presets):
        raise ArgumentError(f"presets must be a list of presets, such as ['brms', 'flat']; got {presets!r}")
    own, others = _name(model, {}), dict[str, Model]()
    for priors in presets:
        other = model.with_priors(priors)
        name = _name(other, {own, *others})
        if other.specification.resolved != model.specification.resolved:
            others[name] = other
    refuse_grouping(model.design, "the comparison of presets by reweighting")
    base = model.fit(seed=seed, progress=progress, **settings)
    quantities = _quantities(base)
    ours = log_prior_or_none(base, model)
    found, methods = {own: _summary(own, quantities, None, level)}, {own: ("fitted", np.nan, np.nan)}
    again: dict[str, float] = {}
    for name, other in others.items():
        weights, k = np.zeros(0), np.nan
        theirs = None if ours is None else log_prior_or_none(base, other)
        if ours is not None and theirs is not None:
            weights, k = smoothed_weights(theirs - ours)
        if k <= K_LIMIT:
            found[name] = _summary(name, quantities, weights, level)
            methods[name] = ("reweighted", k, 1 / float((weights**2).sum()))
        else:
            again[name] = k
    elsewhere = {} if client is None and workers == 1 else {"progress": False, "cores": 1}
    options = {"seed": seed, "progress": progress, **settings, **elsewhere}
    task = _Refits({name: travelling(others[name]) for name in again}, level, options)
    for name, table in zip(again, in_order(task, len(again), workers, client), strict=True):
        found[name], methods[name] = table, ("refitted", again[name], np.nan)
    order = [own, *others]
    table, methods = pd.concat([found[name] for name in order], ignore_index=True), {n: methods[n] for n in order}
    first = table[table["preset"] == own].set_index("quantity")
    table["shift"] = (table["estimate"] - table["quantity"].map(first["estimate"])) / table["quantity"].map(first["sd"])
    how = pd.DataFrame.from_dict(methods, orient="index", columns=["method", "pareto_k", "ess"]).rename_axis("preset")
    return PriorComparison(table, how, level)


@dataclass(frozen=True, eq=False)
class _Refits:
    """The conclusions under the presets that a reweighting does not reach, by their number."""

    models: dict[str, Model]
    level: float
    options: dict[str, Any]

    def __call__(self, number: int) -> pd.DataFrame:
        name, model = list(self.models.items())[number]
        return _summary(name, _quantities(model.fit(**self.options)), None, self.level)


def _name(model: Model, taken: Collection[str]) -> str:
    """The preset's name, told apart where something in it was changed."""
    changed = any(row.source == "call" or row.source.endswith("override") for row in model.specification.resolved)
    name = model.specification.preset.name + (" (changed)" if changed else "")
    while name in taken:
        name += "'"
    return name


def log_prior_or_none(fit: BayesFit, model: Model) -> Array | None:
    """Log density of the fit's draws under the model's priors; None where it has no closed form."""
    try:
        parts, volume = log_prior(fit, model.specification.resolved)
    except PriorError:
        return None
    return np.sum([*parts.values(), volume], axis=0)


def _quantities(fit: BayesFit) -> dict[str, Array]:
    """Draws of everything a conclusion is drawn from: parameters, group coefficients, mean pooling factors."""
    design = fit.design
    found: dict[str, Array] = dict(zip(design.coefficient_names, fit.coefficients.T, strict=True))
    for factor in design.factors:
        T = fit.factor_draws(factor)
        sd = np.sqrt((T**2).sum(axis=2))
        found |= dict(zip(factor.sd_names, sd.T, strict=True))
        covariance = np.einsum("dkl,dml->dkm", T, T)
        for row, column in factor.structure.positions:
            if row != column:
                label = f"{names.correlation(factor.name)}[{factor.effects[column]}, {factor.effects[row]}]"
                found[label] = covariance[:, row, column] / (sd[:, row] * sd[:, column])
    for name, own in fit.family_draws.items():
        own = own.reshape(len(own), -1)
        labels = [name] if own.shape[1] == 1 else [f"{name}[{k}]" for k in range(own.shape[1])]
        found |= dict(zip(labels, own.T, strict=True))
    if len(design.factors) == 1:
        (factor,) = design.factors
        chosen = np.unique(np.linspace(0, len(fit.coefficients) - 1, POOLING_DRAWS).astype(int))
        try:
            pooling = pooling_factor_draws(fit, chosen).mean(axis=1)
        except (FitError, DataError):
            # Families and responses without a Laplace approximation have no pooling factor on the link's scale.
            return found
        for k, effect in enumerate(factor.effects):
            # The same thinned draws for every preset; the others carry no value.
            values = np.full(len(fit.coefficients), np.nan)
            values[chosen] = pooling[:, k]
            found[f"pooling factor of {names.effect(effect, factor.name)}"] = values
    return found


def _summary(preset: str, quantities: dict[str, Array], weights: Array | None, level: float) -> pd.DataFrame:
    tail = (1 - level) / 2
    rows = []
    for quantity, values in quantities.items():
        there = np.isfinite(values)
        own = values[there]
        w = np.full(len(own), 1 / len(own)) if weights is None else weights[there] / weights[there].sum()
        mean = float(w @ own)
        lower, upper = weighted_quantiles(own, w, (tail, 1 - tail))
        rows.append((preset, quantity, mean, float(np.sqrt(w @ (own - mean) ** 2)), lower, upper))
    return pd.DataFrame(rows, columns=["preset", "quantity", "estimate", "sd", "lower", "upper"])


def weighted_quantiles(values: Array, weights: Array, probabilities: Sequence[float]) -> list[float]:
    """Quantiles of weighted draws, by interpolation between the midpoints of their weights."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    return [float(value) for value in np.interp(probabilities, cumulative, values[order])]

"""Coverage of every kind of interval on a given design: simulate from it, fit, and count.

References
----------
Morris, White & Crowther (2019), Statistics in Medicine 38(11), 2074-2102, for Monte Carlo errors and what to report.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import (
    ArgumentError,
    ConvergenceWarning,
    DataError,
    FitError,
    OtherFormWarning,
    UncentredSlopeWarning,
    UnknownNameError,
    near_names,
)
from poolwise.model import Model
from poolwise.result.glmm import GLMMFit
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM
from poolwise.result.simulate import simulate
from poolwise.result.tables import check_level, choose_seed
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.validate.runs import travelling
from poolwise.workers import Client, check_workers, in_order

CONDITIONAL, TOTAL, SEPARATE = "conditional", "total", "no pooling"
# The smallest, middle and largest third of the groups.
THIRDS = 3


@dataclass(frozen=True, eq=False)
class DesignCoverage:
    """Coverage of the groups' coefficients, by :func:`design_coverage`.

    Parameters
    ----------
    replicates : DataFrame
        A row a simulation, kind of interval, varying term and class of group sizes: coverage, width and squared error
        averaged over its groups, and whether the frequentist fit was singular.
    truth : Series
        The parameters that were simulated from.
    level : float
        Nominal coverage.
    failed : int
        Simulations without a fit of some kind, left out of that kind.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    >>> found = pw.design_coverage(model, truth={"1|Batch_sigma": 1.0}, presets=[], simulations=50, seed=1)
    >>> found.truth.index.tolist()
    ['Intercept', '1|Batch_sigma', 'sigma']
    """

    replicates: pd.DataFrame
    truth: pd.Series
    level: float
    failed: int

    @property
    def singular(self) -> float:
        """Share of simulations whose frequentist fit is singular."""
        return float(self.replicates.groupby("simulation")["singular"].first().mean())

    def table(self, fits: str = "all") -> pd.DataFrame:
        """Coverage and width of each kind of interval, by varying term and size of group.

        Parameters
        ----------
        fits : {"all", "singular", "regular"}
            Of which simulations.

        Returns
        -------
        DataFrame
            Columns interval, term, sizes, simulations, coverage, mc_error (of the coverage; groups of one simulation
            are counted as dependent), width (mean), rmse of the estimate. Groups whose interval is not defined, such
            as those without a regression of their own, are left out.

        Raises
        ------
        ArgumentError
            For fits of another name.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
        >>> found = pw.design_coverage(model, truth={"1|Batch_sigma": 1.0}, presets=[], simulations=50, seed=1)
        >>> found.table("singular")["simulations"].tolist()
        [18, 18, 18]
        """
        if fits not in ("all", "singular", "regular"):
            raise ArgumentError(f"fits must be 'all', 'singular' or 'regular'; got {fits!r}")
        rows = self.replicates
        if fits != "all":
            rows = rows[rows["singular"] == (fits == "singular")]
        by = rows.dropna(subset="covered").groupby(["interval", "term", "sizes"], sort=False, observed=True)
        found = by.agg(
            simulations=("covered", "size"),
            coverage=("covered", "mean"),
            mc_error=("covered", "sem"),
            width=("width", "mean"),
            rmse=("squared_error", lambda values: float(np.sqrt(values.mean()))),
        )
        return found.reset_index()

    def __repr__(self) -> str:
        R = self.replicates["simulation"].nunique()
        parts = [f"Coverage of {self.level:.0%} intervals in {R} simulations, singular fits {self.singular:.0%}"]
        parts.append(self.table().to_string(index=False, float_format="%.3g"))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return f"<p>{repr(self).splitlines()[0]}</p>{self.table().to_html(index=False, float_format='%.3g')}"


def design_coverage(
    model: Model | str,
    data: Any = None,
    *,
    truth: Mapping[str, float] | None = None,
    presets: Sequence[Any] | None = None,
    simulations: int = 100,
    sizes: Sequence[int] | None = None,
    level: float = 0.95,
    draws: int = 500,
    tune: int = 500,
    workers: int = 1,
    seed: int | None = None,
    progress: bool = False,
    client: Client | None = None,
) -> DesignCoverage:
    """How often each kind of interval holds the true coefficient of a group, on the rows and groups of this model.

    Parameters
    ----------
    model : Model or str
        With one grouping factor; or a formula, with ``data``.
    data : DataFrame, optional
        Of a formula.
    truth : mapping of str to float, optional
        Parameters to simulate from, by the names of a posterior's summary (``std_age|county_sigma``, ``sigma``,
        ``corr|county[Intercept, std_age]``, ``Intercept``); the frequentist estimates for those left out.
    presets : sequence of str, path, PriorPreset or dict, optional
        Of the Bayesian fits; the model's own priors by default, [] for none. Scaling rules follow the model's data, not
        the simulated ones.
    simulations : int, default 100
    sizes : sequence of int, optional
        Group sizes that begin a new class, for instance [20, 50]; thirds of the groups by default.
    level : float, default 0.95
    draws, tune : int, default 500
        Of the two chains of each Bayesian fit.
    workers : int, default 1
        Processes side by side; a script that asks for several needs ``if __name__ == "__main__":``. They do not change
        the result.
    seed : int, optional
        Each simulation's generator is spawned from it.
    progress : bool, default False
        Show how many simulations are done.
    client : dask.distributed.Client, optional
        Runs the simulations on its workers; anything with ``submit(function, ...)`` will do. The result is the same.

    Returns
    -------
    DesignCoverage

    Raises
    ------
    DataError, ArgumentError, UnknownNameError
        For a model without one grouping factor, or parameters it does not have.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    >>> found = pw.design_coverage(model, truth={"1|Batch_sigma": 1.0}, presets=[], simulations=50, seed=1)
    >>> found.table()["interval"].unique().tolist()
    ['conditional', 'total', 'no pooling']
    """
    level, seed = check_level(level), choose_seed(seed)
    for name, value in (("simulations", simulations), ("draws", draws)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1; got {value!r}")
    check_workers(workers, client)
    model = Model(model, data) if isinstance(model, str) else model
    design = model.design
    if len(design.factors) != 1:
        raise DataError(f"design_coverage needs one grouping factor; this formula has {len(design.factors)}")
    if design.frequency or not design.outcome.plain:
        raise DataError("rows with frequency weights, censored and truncated ones cannot be simulated here")
    known = _truth(model, truth or {})
    models = {}
    for preset in [None] if presets is None else presets:
        other = model if preset is None else model.with_priors(preset)
        models[f"bayes, {other.specification.preset.name}"] = travelling(other)
    factor = design.factors[0]
    classes, labels = _classes(factor, sizes)
    spawned = np.random.SeedSequence(seed).spawn(simulations)
    run = _Simulation(travelling(model), models, known, classes, labels, level, draws, tune, spawned)
    rows, failed = [], 0
    for done, (part, missing) in enumerate(in_order(run.run, len(run.seeds), workers, client), 1):
        rows += part
        failed += missing
        if progress and done % max(1, simulations // 20) == 0:
            print(f"  {done} of {simulations} simulations", file=sys.stderr, flush=True)
    return DesignCoverage(pd.DataFrame(rows), known, level, failed)


@dataclass(frozen=True, eq=False)
class _Simulation:
    model: Model
    models: dict[str, Model]
    truth: pd.Series
    classes: NDArray[np.int64]
    labels: list[str]
    level: float
    draws: int
    tune: int
    seeds: list[np.random.SeedSequence]

    def run(self, r: int) -> tuple[list[dict[str, Any]], int]:
        """Rows of one simulation, and how many fits there are not."""
        with warnings.catch_warnings():
            for kind in (ConvergenceWarning, UncentredSlopeWarning, OtherFormWarning):
                warnings.simplefilter("ignore", kind)
            return self._run(r)

    def _run(self, r: int) -> tuple[list[dict[str, Any]], int]:
        rng, design = np.random.default_rng(self.seeds[r]), self.model.design
        y, true = _response(design, self.truth, rng)
        again = self.model.with_response(y)
        rows: list[dict[str, Any]] = []
        failed = 0
        try:
            fit = again.fit_frequentist()
        except FitError:
            return [], 2 + len(self.models)
        found = {CONDITIONAL: fit.coef("conditional", self.level), TOTAL: fit.coef("total", self.level)}
        factor = design.factors[0]
        separate = NoPoolingFit if design.collapses else NoPoolingGLM
        try:
            found[SEPARATE] = separate(again.design, factor).coef("separate", self.level)
        except FitError:
            failed += 1
        seed = int(self.seeds[r].generate_state(1)[0])
        for name, model in self.models.items():
            try:
                bayes = model.with_response(y).fit(self.draws, self.tune, 2, seed, progress=False, cores=1)
                found[name] = bayes.coef(level=self.level)
            except FitError:
                failed += 1
        for kind, table in found.items():
            for k, term in enumerate(factor.effects):
                own = table[table["term"] == term]
                if own.empty:
                    continue
                rows += self._by_size(r, kind, term, own, true[:, k], singular=bool(fit.is_singular))
        return rows, failed

    def _by_size(
        self, r: int, kind: str, term: str, own: pd.DataFrame, true: Array, *, singular: bool
    ) -> list[dict[str, Any]]:
        lower, upper, estimate = (own[name].to_numpy() for name in ("lower", "upper", "estimate"))
        covered = np.where(np.isnan(lower), np.nan, (lower <= true) & (true <= upper))
        rows = []
        for c, label in enumerate(self.labels):
            at = (self.classes == c) & np.isfinite(covered)
            row = {"simulation": r, "interval": kind, "term": term, "sizes": label, "singular": singular}
            error = (estimate[at] - true[at]) ** 2
            values = {"covered": covered[at], "width": (upper - lower)[at], "squared_error": error}
            rows.append(row | {name: float(value.mean()) if at.any() else np.nan for name, value in values.items()})
        return rows


def _truth(model: Model, given: Mapping[str, float]) -> pd.Series:
    """Every parameter: as given, else as estimated; a correlation that has no estimate is 0."""
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, UncentredSlopeWarning):
            warnings.simplefilter("ignore", kind)
        fit = model.fit_frequentist()
    (factor,) = model.design.factors
    own = fit.varcorr[fit.varcorr["factor"] == factor.name]
    alone = own["var2"].isna()
    found = dict(fit.fixef) | dict(zip(factor.sd_names, own.loc[alone, "sdcor"], strict=True))
    for row in own[~alone].itertuples():
        correlation = 0.0 if np.isnan(row.sdcor) else float(np.clip(row.sdcor, -1, 1))
        found[f"{names.correlation(factor.name)}[{row.var1}, {row.var2}]"] = correlation
    found |= dict(fit.family_parameters) if isinstance(fit, GLMMFit) else {names.SIGMA: fit.sigma}
    for name, value in given.items():
        if name not in found:
            raise UnknownNameError(f"no parameter {name!r} in this model; {near_names(name, found, 20)}")
        found[name] = float(value)
    return pd.Series(found, dtype=float)


def _root(factor: GroupingFactor, truth: pd.Series) -> Array:
    """A root (q, q) of the covariance of a group's effects."""
    sds, correlation = truth[factor.sd_names].to_numpy(), np.eye(len(factor.effects))
    for row, column in factor.structure.positions:
        if row != column:
            name = f"{names.correlation(factor.name)}[{factor.effects[column]}, {factor.effects[row]}]"
            correlation[row, column] = correlation[column, row] = truth[name]
    values, vectors = np.linalg.eigh(correlation)
    if values.min() < -1e-8:
        raise ArgumentError(f"the correlations of truth= are not those of any covariance of {factor.name!r}")
    return sds[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))


def _response(design: Design, truth: pd.Series, rng: np.random.Generator) -> tuple[Array, Array]:
    """A response, and the true coefficients (J, q) of the varying terms."""
    (factor,) = design.factors
    b = truth[list(design.coefficient_names)].to_numpy()
    u = rng.standard_normal((factor.J, len(factor.effects))) @ _root(factor, truth).T
    eta = design.offset + design.X @ b + np.einsum("nk,nk->n", factor.Z, u[factor.codes])
    own: float | Array = 1.0
    if design.family.gaussian:
        own = truth[names.SIGMA] / np.sqrt(1.0 if design.weights is None else design.weights)
    elif design.family.auxiliaries and design.family.auxiliaries[0].name in truth:
        own = truth[design.family.auxiliaries[0].name]
    y = simulate(design.family, eta, own, design.outcome.trials, rng)  # type: ignore[arg-type]
    at = {name: k for k, name in enumerate(design.coefficient_names)}
    common = np.array([b[at[effect]] if effect in at else 0.0 for effect in factor.effects])
    return y, common + u


def _classes(factor: GroupingFactor, edges: Sequence[int] | None) -> tuple[NDArray[np.int64], list[str]]:
    n = factor.sizes
    if edges is None:
        order = pd.Series(n).rank(method="average", pct=True).to_numpy()
        classes = np.minimum((order * THIRDS - 1e-9).astype(int), THIRDS - 1)
    else:
        classes = np.searchsorted(np.sort(np.asarray(edges)), n, side="right")
    classes = np.unique(classes, return_inverse=True)[1]
    labels = []
    for c in range(int(classes.max()) + 1):
        low, high = n[classes == c].min(), n[classes == c].max()
        labels.append(f"{low}" if low == high else f"{low} to {high}")
    return classes, labels

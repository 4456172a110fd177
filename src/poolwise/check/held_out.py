"""Log predictive density of rows that a refit has not seen: k-fold cross-validation, and exact leave-one-out.

References
----------
Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.check.again import arguments, carried_priors, model_of, quiet_draws
from poolwise.errors import ArgumentError
from poolwise.fit.bayes import Sampling
from poolwise.fit.importance import K_LIMIT
from poolwise.model import Model
from poolwise.result.bayes import BayesFit
from poolwise.result.tables import choose_factor, choose_seed
from poolwise.spec.design import row_subset
from poolwise.workers import Client, check_workers, in_order


@dataclass(frozen=True, eq=False)
class KFold:
    """Expected log predictive density by k-fold cross-validation.

    Parameters
    ----------
    table : DataFrame
        A row a row of the data: row, fold, elpd (natural log).
    k : int
        Number of folds.
    by : str
        What was left out together: "rows" or the name of the grouping factor.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> held = fit.kfold(2, seed=1)
    >>> held.table.columns.tolist()
    ['row', 'fold', 'elpd']
    """

    table: pd.DataFrame
    k: int
    by: str

    @property
    def elpd(self) -> float:
        """Sum over the rows."""
        return float(self.table["elpd"].sum())

    @property
    def se(self) -> float:
        """Standard error of the sum, from the spread between rows."""
        return _error(self.table["elpd"].to_numpy())

    def difference(self, other: "KFold") -> tuple[float, float]:
        """How much more this one predicts than another of the same rows and folds, and the error of that.

        Raises
        ------
        ArgumentError
            If the other one has other rows or folds.

        Parameters
        ----------
        other : KFold
            Of another fit, with the same ``k``, ``by`` and ``seed``.

        Returns
        -------
        float, float
            Difference of the elpds, natural log, and its standard error.

        Examples
        --------
        >>> import poolwise as pw
        >>> data = pw.load_dataset("sleepstudy")
        >>> with_days, without = (
        ...     pw.Model(formula, data).fit(seed=1, progress=False).kfold(2, seed=1)
        ...     for formula in ("Reaction ~ Days + (1 | Subject)", "Reaction ~ 1 + (1 | Subject)")
        ... )
        >>> with_days.difference(without)[0] > 50
        True
        """
        if not self.table[["row", "fold"]].equals(other.table[["row", "fold"]]):
            raise ArgumentError("the two cross-validations have other rows or folds; give both the same k, by and seed")
        gap = (self.table["elpd"] - other.table["elpd"]).to_numpy()
        return float(gap.sum()), _error(gap)

    def __repr__(self) -> str:
        what = "rows" if self.by == "rows" else f"groups of {self.by}"
        return (
            f"elpd {self.elpd:.1f} (standard error {self.se:.1f}) of {len(self.table)} rows, {self.k} folds of {what}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


def _error(values: Array) -> float:
    return float(np.sqrt(len(values)) * values.std(ddof=1))


def kfold(
    fit: BayesFit,
    k: int = 10,
    *,
    by: str = "rows",
    seed: int | None = None,
    workers: int = 1,
    client: Client | None = None,
) -> KFold:
    """Predict each fold from a refit to the others, under the same priors and settings.

    Parameters
    ----------
    fit : BayesFit
    k : int, default 10
        Number of folds, at most the rows, or the groups.
    by : str, default "rows"
        "rows" spreads the rows of each group over the folds; the name of a grouping factor leaves its groups out whole,
        so that their effects are drawn from the population.
    seed : int, optional
        Of the folds and refits; that of the fit by default.
    workers : int, default 1
        Processes side by side, one chain at a time each; a script that asks for several needs
        ``if __name__ == "__main__":``. They do not change the result.
    client : dask.distributed.Client, optional
        Runs the refits on its workers; anything with ``submit(function, ...)`` will do. The result is the same.

    Returns
    -------
    KFold

    Raises
    ------
    ArgumentError
        For another ``by`` or k, and for fits whose priors cannot be carried over (``check.again``).

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> fit.kfold(3)
    elpd -... rows, 3 folds of rows
    """
    design, seed = fit.design, choose_seed(fit.settings.seed if seed is None else seed)
    factor = choose_factor(design, None if by == "rows" else by)
    if factor is not None and factor.members is not None and by != "rows":
        raise ArgumentError(f"rows of {by!r} belong to several groups, which cannot be left out whole; use by='rows'")
    units = design.n if by == "rows" or factor is None else factor.J
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 2 <= k <= units:
        raise ArgumentError(f"k must be a whole number from 2 to {units}, the number of {by}; got {k!r}")
    rng = np.random.default_rng(seed)
    if by == "rows" or factor is None:
        groups = np.zeros(design.n, dtype=np.int64) if factor is None else factor.views[0].codes
        shuffled = rng.permutation(design.n)
        order = shuffled[np.argsort(groups[shuffled], kind="stable")]
        folds = np.empty(design.n, dtype=np.int64)
        # Dealing out the rows group after group spreads each over the folds.
        folds[order] = np.arange(design.n) % k
    else:
        folds = rng.permutation(np.arange(factor.J) % k)[factor.codes]
    check_workers(workers, client)
    elsewhere, elpd = client is not None or workers != 1, np.empty(design.n)
    settings = replace(fit.settings, cores=1) if elsewhere else fit.settings
    task = _Refits(arguments(design, carried_priors(fit)), settings, folds, seed)
    for fold, found in enumerate(in_order(task, int(k), workers, client)):
        elpd[folds == fold] = found
    return KFold(pd.DataFrame({"row": np.arange(design.n), "fold": folds, "elpd": elpd}), int(k), by)


@dataclass(eq=False)
class _Refits:
    """The refit without a fold, by its number; the model is made where it runs."""

    arguments: dict
    settings: Sampling
    folds: NDArray[np.int64]
    seed: int

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    @cached_property
    def model(self) -> Model:
        return Model(**self.arguments)

    def __call__(self, fold: int) -> Array:
        return held_out(self.settings, self.model, self.folds == fold, self.seed + fold)


def held_out(settings: Sampling, model: Model, held: NDArray[np.bool_], seed: int) -> Array:
    """Log predictive density of the held rows (m,), each by itself, from a refit of the model to the others."""
    from poolwise.compile.likelihood import log_density

    found = quiet_draws(
        model.with_design(row_subset(model.design, ~held)),
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=seed % 2**32,
        cores=settings.cores,
        target_accept=settings.target_accept,
    )
    part = row_subset(model.design, held)
    own = found.own_by_row(part.frame)
    if part.weights is not None and not part.frequency:
        own = {**own, names.SIGMA: own[names.SIGMA] / np.sqrt(part.weights)}
    density = log_density(part, found.linear_predictor(part.frame), own)
    value = logsumexp(density, axis=0) - np.log(len(density))
    return value * part.weights if part.frequency and part.weights is not None else value


def reloo(fit: BayesFit, estimate):
    """PSIS-LOO with the rows whose importance weights cannot be trusted predicted by refits.

    Parameters
    ----------
    fit : BayesFit
    estimate : arviz ELPDData
        Of ``fit.loo(pointwise=True)``.

    Returns
    -------
    arviz ELPDData
        Pareto k of the rows that were refitted is 0.
    """
    k = np.asarray(estimate.pareto_k)
    bad = np.flatnonzero(~(k <= K_LIMIT))
    if not len(bad):
        return estimate
    found, model = copy.deepcopy(estimate), model_of(fit)
    for row in bad:
        found.elpd_i[row] = held_out(
            fit.settings, model, np.arange(fit.design.n) == row, fit.settings.seed + int(row) + 1
        )[0]
        found.pareto_k[row] = 0.0
    values = np.asarray(found.elpd_i)
    # The effective number of parameters moves with the sum: p = log density of all rows - elpd.
    found.p += found.elpd - values.sum()
    found.elpd, found.se, found.warning = float(values.sum()), _error(values), False
    return found

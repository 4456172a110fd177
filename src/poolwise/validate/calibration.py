"""Simulation-based calibration: does the sampler find what the model's own priors put into the data?"""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError, FitError
from poolwise.model import Model
from poolwise.result import tables
from poolwise.spec.design import Design
from poolwise.validate.runs import Fitted, Runs, travelling
from poolwise.validate.simulate import Parameters, drawn_parameters, drawn_responses, log_likelihoods
from poolwise.validate.uniformity import p_value
from poolwise.workers import Client, check_workers, in_order

LOG_LIKELIHOOD = "log likelihood"
# Numbers of the linear predictors that are held at a time, about 80 MB.
BLOCK_NUMBERS = 10_000_000
COLUMNS = ["quantity", "mean", "spread", "p_value", "p_adjusted", "calibrated"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of the true values among draws of their posteriors.

    Parameters
    ----------
    ranks : DataFrame (simulations, quantities)
        Number of posterior draws below the true value, 0 to ``kept``.
    kept : int
        Posterior draws a simulation, after thinning.
    formula, form : str
        What was fitted, and how.
    failed : int
        Simulations whose fit stopped; they depend on the response alone, so that leaving them out biases nothing.
    divergences : int
        Divergent draws in all fits.
    correlated : float
        Share of the fits with fewer effective than kept draws, of their worst parameter: their ranks are rougher.
    seed : int
        What reproduces all of it.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    >>> done = pw.validate.simulation_based_calibration(model, n_sim=20, seed=1, progress=False)
    >>> done.ranks.shape
    (20, 5)
    """

    ranks: pd.DataFrame
    kept: int
    formula: str
    form: str
    failed: int
    divergences: int
    correlated: float
    seed: int

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A row a quantity, the worst first.

        Parameters
        ----------
        level : float, default 0.95
            Of the simultaneous band of the ECDF, over its places and, for ``calibrated``, over the quantities.

        Returns
        -------
        DataFrame
            Columns quantity; mean of the ranks in [0, 1], about 0.5, more where posteriors are too low; spread, their
            sd over that of uniform ranks, about 1, more where posteriors are too narrow; p_value of the ECDF test;
            p_adjusted by Holm over the quantities; calibrated, whether that is at least 1 - level.

        Raises
        ------
        ArgumentError
            If level is not between 0 and 1.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
        >>> done = pw.validate.simulation_based_calibration(model, n_sim=20, seed=1, progress=False)
        >>> done.table().columns.tolist()
        ['quantity', 'mean', 'spread', 'p_value', 'p_adjusted', 'calibrated']
        """
        alpha = 1 - tables.check_level(level)
        uniform = np.sqrt(self.kept * (self.kept + 2) / 12)
        rows = []
        for name, ranks in self.ranks.items():
            spread = np.sqrt(np.mean((ranks - self.kept / 2) ** 2)) / uniform
            rows.append((name, ranks.mean() / self.kept, spread, p_value(ranks.to_numpy(), self.kept)))
        table = pd.DataFrame(rows, columns=COLUMNS[:4]).sort_values("p_value", ignore_index=True)
        left = len(table) - np.arange(len(table))
        table["p_adjusted"] = np.minimum(1.0, np.maximum.accumulate(table["p_value"] * left))
        table["calibrated"] = table["p_adjusted"] >= alpha
        return table

    @property
    def calibrated(self) -> bool:
        """Whether no quantity departs from uniform ranks at the level 0.95, over all of them."""
        return bool(self.table()["calibrated"].all())

    def __repr__(self) -> str:
        state = "calibrated" if self.calibrated else "NOT CALIBRATED"
        notes = [f"{self.failed} fits failed"] if self.failed else []
        notes += [f"{self.divergences} divergent draws"] if self.divergences else []
        notes += [f"{self.correlated:.0%} of the fits with fewer effective than kept draws"] if self.correlated else []
        return (
            f"Simulation-based calibration of {self.formula}: {state}\n"
            f"{len(self.ranks)} simulations, {self.kept} draws of each posterior, seed {self.seed}; {self.form}"
            f"{''.join('; ' + note for note in notes)}\n\n"
            f"{self.table().to_string(index=False, float_format='%.3f')}"
        )

    def _repr_html_(self) -> str:
        head = "<br>".join(escape(line) for line in repr(self).split("\n\n")[0].splitlines())
        return f"<p>{head}</p>{self.table().to_html(index=False, float_format='%.3f')}"


def simulation_based_calibration(
    model: Model | str,
    data=None,
    family: str = "gaussian",
    priors=None,
    *,
    n_sim: int = 200,
    draws: int = 1000,
    tune: int = 500,
    thin: int = 10,
    form: str = "auto",
    seed: int | None = None,
    workers: int = 1,
    progress: bool = True,
    drawn_from: Model | None = None,
    client: Client | None = None,
) -> Calibration:
    """Draw parameters from the priors and a response from them, fit it, and rank the truth in its posterior, often.

    If sampler and model agree, ranks are uniform, of every parameter and of the log likelihood. The data give their
    predictors, groups and sizes; their response only where a prior's scale follows it.

    Parameters
    ----------
    model : Model or str
        A model, or a formula with ``data``, ``family`` and ``priors`` as :class:`poolwise.Model` takes them. All
        priors must be proper, and narrow enough for their responses to be numbers.
    data, family, priors
        With a formula.
    n_sim : int, default 200
        Simulations.
    draws, tune, thin : int, default 1000, 500, 10
        Draws and warm-up of the one chain a fit, and which of the draws are kept: every tenth, so that those that are
        ranked are nearly independent.
    form : str, default "auto"
        As :meth:`poolwise.Model.fit` has it. The generative form compiles anew in every fit, which takes seconds.
    seed : int, optional
        Every simulation has a seed of its own made from it.
    workers : int, default 1
        Processes, which take seconds to start; it does not change the result. A script that asks for several has to
        keep its own work under ``if __name__ == "__main__":``, as always with processes in Python.
    progress : bool, default True
        Show progress.
    drawn_from : Model, optional
        The model that parameters and responses are drawn from, of the same rows and terms: under other priors, to see
        how large a difference the calibration notices. The fitted model by default.
    client : dask.distributed.Client, optional
        Runs the fits on its workers; anything with ``submit(function, ...)`` will do. The result is the same.

    Returns
    -------
    Calibration

    Raises
    ------
    PriorError
        If a prior is improper, or so wide that a response cannot be drawn.
    ArgumentError
        For rows with frequency weights, censored or truncated ones.
    FitError
        If fits of more than half of the simulations stop.

    References
    ----------
    Talts, Betancourt, Simpson, Vehtari & Gelman (2018), arXiv:1804.06788; Modrak et al. (2023), Bayesian Analysis,
    doi:10.1214/23-BA1404, for the log likelihood as a quantity: it sees errors that no single parameter's ranks show;
    Saeilynoja, Buerkner & Vehtari (2022), Statistics and Computing 32, 32, for the test.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    >>> done = pw.validate.simulation_based_calibration(model, n_sim=20, seed=1, progress=False)
    >>> list(done.ranks.columns)
    ['Intercept', '1|Batch_sigma', 'Intercept|Batch[A]', 'sigma', 'log likelihood']
    >>> done.calibrated
    True
    """
    for name, value, least in (("n_sim", n_sim, 2), ("thin", thin, 1)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name} must be a whole number of at least {least}; got {value!r}")
    check_workers(workers, client)
    if draws // thin < 4:
        raise ArgumentError(f"{draws} draws thinned by {thin} leave fewer than 4; raise draws or lower thin")
    if isinstance(model, str):
        model = Model(model, data, family, priors)
    from rich.console import Console
    from rich.progress import Progress

    source, seed = drawn_from or model, tables.choose_seed(seed)
    first, second, *seeds = np.random.SeedSequence(seed).spawn(n_sim + 2)
    truth = drawn_parameters(source, n_sim, np.random.default_rng(first))
    responses = drawn_responses(source.design, truth, int(second.generate_state(1)[0]))
    runs = Runs(travelling(model), responses, seeds, draws, tune, thin, form)
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("calibration", total=n_sim)
        found = in_order(runs.fit, n_sim, workers, client)
        return _calibrate(model, runs, truth, seed, found, lambda done: bar.update(task, completed=done))


def _calibrate(
    model: Model,
    runs: Runs,
    truth: Parameters,
    seed: int,
    fits: Generator[Fitted | None],
    report: Callable[[int], None],
) -> Calibration:
    """Fit all, in blocks whose draws are held together, and rank."""
    design, n_sim = model.design, len(runs.responses)
    block = max(1, BLOCK_NUMBERS // ((runs.kept + 1) * design.n))
    true_values = truth.quantities(design)
    rows: list[pd.DataFrame] = []
    seen: list[tuple[float, int, str]] = []
    pairs: list[tuple[int, Fitted]] = []
    with contextlib.closing(fits) as found:
        for r, fit in enumerate(found):
            if fit is not None:
                pairs.append((r, fit))
                seen.append((fit.ess, fit.divergences, fit.form))
            if pairs and (len(pairs) == block or r == n_sim - 1):
                rows.append(_ranks(design, truth, true_values, pairs, runs.responses))
                pairs = []
            report(r + 1)
    failed = n_sim - len(seen)
    if failed > n_sim / 2:
        raise FitError(
            f"{failed} of {n_sim} fits stopped: most responses that the priors give cannot be fitted; choose narrower "
            "priors"
        )
    return Calibration(
        ranks=pd.concat(rows),
        kept=runs.kept,
        formula=design.formula.text,
        form=_said(Counter(form for _, _, form in seen)),
        failed=failed,
        divergences=sum(diverging for _, diverging, _ in seen),
        correlated=float(np.mean([not ess >= runs.kept for ess, _, _ in seen])),
        seed=seed,
    )


def _said(forms: Counter[str]) -> str:
    """The form; where fits took several, in how many."""
    if len(forms) == 1:
        return next(iter(forms))
    return ", ".join(f"{form} in {count} fits" for form, count in forms.most_common())


def _ranks(
    design: Design,
    truth: Parameters,
    true_values: Mapping[str, Array],
    pairs: list[tuple[int, Fitted]],
    responses: Array,
) -> pd.DataFrame:
    """Ranks of the simulations r of a block, a row each."""
    which = [r for r, _ in pairs]
    drawn = [found.parameters.quantities(design) for _, found in pairs]
    table = {
        name: [int((one[name] < value[r]).sum()) for r, one in zip(which, drawn, strict=True)]
        for name, value in true_values.items()
    }
    posterior = log_likelihoods(design, [found.parameters for _, found in pairs], responses[which])
    true = log_likelihoods(design, [truth.chosen(r) for r in which], responses[which])
    table[LOG_LIKELIHOOD] = (posterior < true).sum(axis=1).tolist()
    return pd.DataFrame(table, index=which)

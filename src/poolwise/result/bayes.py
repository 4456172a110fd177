"""The Bayesian fit: one DataTree, and what a statistician asks of it."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.data.intake import as_frame
from poolwise.errors import ConvergenceWarning
from poolwise.fit.bayes import Sampling
from poolwise.priors.resolve import ResolvedPrior, priors_table
from poolwise.result import pointwise, tables
from poolwise.result.convergence import Convergence, convergence
from poolwise.result.expectation import mean_of
from poolwise.result.group_modes import (
    INTEGRATED,
    POPULATION_DRAW,
    POPULATION_MEAN,
    Groups,
    check_kind,
    codes_for,
    group_modes,
    label_rng,
    record,
    row_labels,
)
from poolwise.spec.design import Design, GroupingFactor
from poolwise.spec.response import trials_of

# Rows predicted at a time: the draws of one block stay below about 100 MB.
BLOCK_NUMBERS = 10_000_000


class BayesFit:
    """Posterior of a hierarchical model.

    Parameters
    ----------
    design : Design
        The rows.
    data : xarray.DataTree
        Groups posterior, sample_stats, observed_data, constant_data; Bambi's variable names.
    priors : sequence of ResolvedPrior
        The priors that were used.
    settings : Sampling
        Of the run.
    form : str
        How the posterior was sampled, in words.

    Attributes
    ----------
    data : xarray.DataTree
        Goes straight into ArviZ: ``az.summary(fit.data)``, ``az.plot_trace_dist(fit.data)``.
    convergence : Convergence
        R-hat, effective sample sizes and divergences, measured after every run.
    """

    intervals = ("bayes",)
    is_singular = False

    def __init__(
        self, design: Design, data: xr.DataTree, priors: Sequence[ResolvedPrior], settings: Sampling, form: str
    ):
        self.design, self.data, self.resolved_priors = design, data, tuple(priors)
        self.settings, self.form = settings, form
        stats = data["sample_stats"].to_dataset() if "sample_stats" in data.children else None
        # Exact draws given the parameters need no check; effects that NUTS sampled do.
        exact = form.startswith("collapsed")
        group_dims = {names.group_dim(factor.name) for factor in design.factors} if exact else set()
        self.convergence: Convergence = convergence(self.posterior, stats, group_dims)

    @property
    def posterior(self) -> xr.Dataset:
        """The posterior group."""
        return self.data["posterior"].to_dataset()

    @property
    def priors(self) -> pd.DataFrame:
        """The resolved priors, a row a parameter."""
        return priors_table(self.resolved_priors)

    @property
    def converged(self) -> bool:
        """Whether no convergence measure is beyond its limit."""
        return not self.convergence.problems

    def warn_if_not_converged(self) -> "BayesFit":
        """Warn once about what the convergence measures found; returns the fit."""
        for problem in self.convergence.problems:
            warnings.warn(problem, ConvergenceWarning, stacklevel=3)
        return self

    @cached_property
    def coefficients(self) -> Array:
        """Draws of the common effects (chains * draws, p), original scale, in the order of ``fixef``."""
        parts = []
        for term, where, levels in self.design.common.terms:
            value = self._draws(self.design.variable(term, where))
            parts.append(value[:, None] if levels is None else value)
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.settings.chains * self.settings.draws, 0))

    def _draws(self, variable: str) -> Array:
        """Values of a variable with chain and draw flattened into the first axis."""
        value = self.data["posterior"][variable].transpose(names.CHAIN, names.DRAW, ...).to_numpy()
        return value.reshape(-1, *value.shape[2:])

    def effects(self, factor: GroupingFactor) -> Array:
        """Draws of the group-specific effects (chains * draws, J, q)."""
        parts = []
        for term in factor.terms:
            value = self._draws(names.effect(term.name, factor.name))
            parts.append(value[:, :, None] if term.levels is None else value)
        return np.concatenate(parts, axis=2)

    @property
    def family_draws(self) -> dict[str, Array]:
        """Draws of the family's own parameters, (chains * draws, 1), or (chains * draws, 1, K - 1) for thresholds."""
        return {own.name: self._draws(own.name)[:, None] for own in self.design.family.auxiliaries}

    @property
    def sigma_draws(self) -> Array:
        """Draws of the residual standard deviation (chains * draws,)."""
        return self._draws(names.SIGMA)

    @property
    def sigma(self) -> float:
        """Posterior mean of the residual standard deviation."""
        return float(self.data["posterior"][names.SIGMA].mean())

    @property
    def fixef(self) -> pd.Series:
        """Posterior means of the common effects, original scale, under Bambi's names."""
        return pd.Series(self.coefficients.mean(axis=0), index=list(self.design.coefficient_names))

    @property
    def ranef(self) -> pd.DataFrame:
        """Posterior means of the group-specific effects of the first grouping factor, groups by effects."""
        factor = tables.choose_factor(self.design, None)
        if factor is None:
            raise AttributeError("this fit has no group-specific effects: its formula has no (... | group) block")
        index = pd.Index(factor.labels, name=factor.name)
        return pd.DataFrame(self.effects(factor).mean(axis=0), index=index, columns=list(factor.effects))

    def summary(self, level: float = 0.95, *, effects: bool = False, **options) -> pd.DataFrame:
        """ArviZ's summary of the parameters, unrounded: mean, sd, interval, MCSE, ESS, R-hat.

        Parameters
        ----------
        level : float, default 0.95
            Probability of the equal-tailed interval.
        effects : bool, default False
            Whether the group-specific effects are listed too.
        **options
            Handed to :func:`arviz.summary`.

        Returns
        -------
        DataFrame
        """
        import arviz as az

        group_dims = {names.group_dim(factor.name) for factor in self.design.factors}
        chosen = [
            str(name) for name, value in self.posterior.data_vars.items() if effects or not group_dims & set(value.dims)
        ]
        options = {"round_to": "none", "ci_prob": tables.check_level(level), "ci_kind": "eti", **options}
        with warnings.catch_warnings():
            # The diagonal of a correlation matrix is constant: its R-hat is a division of zero by zero.
            warnings.simplefilter("ignore", RuntimeWarning)
            table = az.summary(self.data, var_names=chosen, **options)
        diagonal = [
            f"{names.correlation(factor.name)}[{effect}, {effect}]"
            for factor in self.design.factors
            for effect in factor.effects
        ]
        return table.drop(index=[label for label in diagonal if label in table.index])

    def coef(self, interval: str = "bayes", level: float = 0.95, factor: str | None = None) -> pd.DataFrame:
        """Coefficients of each group, common plus group-specific effects, with equal-tailed credible intervals.

        Parameters
        ----------
        interval : {"bayes"}
            The only kind: the posterior knows the uncertainty of effects and variances together.
        level : float, default 0.95
            Probability of the interval.
        factor : str, optional
            Grouping factor; the first by default.

        Returns
        -------
        DataFrame
            Columns factor, group, term, estimate (posterior mean), lower, upper, n.
        """
        tables.check_interval(interval, self.intervals)
        tail = (1 - tables.check_level(level)) / 2
        chosen = tables.choose_factor(self.design, factor)
        draws, terms = self._coefficient_draws(chosen)
        lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
        return tables.coefficient_frame(chosen, terms, draws.mean(axis=0), lower, upper, self.design.n)

    def _coefficient_draws(self, factor: GroupingFactor | None) -> tuple[Array, list[str]]:
        """Draws (D, J, terms) of common plus group-specific effects."""
        common = list(self.design.coefficient_names)
        if factor is None:
            return self.coefficients[:, None, :], common
        terms = tables.coefficient_terms(self.design, factor)
        draws = np.zeros((len(self.coefficients), factor.J, len(terms)))
        draws[:, :, : len(common)] = self.coefficients[:, None, :]
        effects = self.effects(factor)
        for k, effect in enumerate(factor.effects):
            draws[:, :, terms.index(effect)] += effects[:, :, k]
        return draws, terms

    @property
    def _linear(self) -> bool:
        """Whether the mean of the response is its linear predictor."""
        return self.design.family.link == "identity" and self.design.family.gaussian

    @property
    def fitted(self) -> Array:
        """Posterior mean of the mean of each row (n,); of the share of trials, of the level of an ordinal response."""
        if not self._linear:
            blocks = [self.predict_draws(block=block).mean(axis=0) for block in self._blocks(self.design.n)]
            return np.concatenate(blocks)
        mean = self.design.offset + self.design.X @ self.fixef.to_numpy()
        for factor in self.design.factors:
            effects = self.effects(factor).mean(axis=0)
            mean = mean + np.einsum("nk,nk->n", factor.Z, effects[factor.codes])
        return mean

    @property
    def residuals(self) -> Array:
        """Response minus fitted values (n,), on the scale of :attr:`fitted`."""
        return self.design.outcome.scaled - self.fitted

    def rmse(self) -> float:
        """Root mean squared residual of the posterior mean, in sample."""
        return tables.root_mean_square(self.residuals, self.design.weights if self.design.frequency else None)

    def predict(
        self, data=None, *, groups: Groups = None, kind: str = "mean", level: float = 0.95, seed: int = 0
    ) -> pd.DataFrame:
        """Predictions for new rows, by default groups that were seen with their effects, new ones from the population.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and grouping factors; the data of the fit by default.
        groups : {"observed", "population_draw", "population_mean", "integrated"} or dict by factor, optional
            What a row's group stands for. ``"observed"``: the effects of that group; a group that was not in the data
            is an error. ``"population_draw"``: a new group, its effects drawn from N(0, Sigma) once a label and draw of
            the posterior. ``"population_mean"``: effects of zero, the typical group. ``"integrated"``: the mean over
            the groups of the population (with an identity link that of the typical group), their spread in the
            interval; rows of one label have effects of their own. By default a group that was seen is observed and a
            new one a population draw.
        kind : {"mean", "response"}
            The mean of the response (of a binomial one, the probability; of an ordinal one, the mean level, from 1), or
            the response itself with its residual noise (of a binomial one, successes in the trials of the row).
        level : float, default 0.95
            Probability of the equal-tailed interval.
        seed : int, default 0
            Of the population draws and the noise.

        Returns
        -------
        DataFrame
            Columns estimate, lower, upper, in the units of the response; groups: "observed", or "new" where at least
            one group of the row was not in the data; and ``groups[factor]``, what was done with each row's group.

        Raises
        ------
        DataError
            If the mode is observed and a group was not, which is named.
        """
        tail = (1 - tables.check_level(level)) / 2
        frame, modes = self.design.frame if data is None else as_frame(data), group_modes(self.design, groups)
        typical = {name: POPULATION_MEAN if mode == INTEGRATED else mode for name, mode in modes.items() if mode}
        blocks = []
        for block in self._blocks(len(frame)):
            draws = self.predict_draws(frame, groups=groups, kind=kind, seed=seed, block=block)
            mean = draws
            if INTEGRATED in modes.values() and self._linear:
                # The mean is linear in the effects: they are integrated out exactly, by leaving them out.
                mean = self.predict_draws(frame, groups=typical, seed=seed, block=block)
            blocks.append(np.vstack([mean.mean(axis=0), np.quantile(draws, [tail, 1 - tail], axis=0)]))
        mean, lower, upper = np.concatenate(blocks, axis=1)
        known, records = np.ones(len(frame), dtype=bool), []
        for factor in self.design.factors:
            codes = factor.codes_of(frame)
            known &= codes >= 0
            records.append(record(factor, codes, modes[factor.name], POPULATION_DRAW))
        return tables.prediction_frame(mean, lower, upper, known, records)

    def _blocks(self, rows: int) -> list[slice]:
        size = max(1, BLOCK_NUMBERS // max(1, len(self.coefficients)))
        return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]

    def predict_draws(
        self, data=None, *, groups: Groups = None, kind: str = "mean", seed: int = 0, block: slice | None = None
    ) -> Array:
        """Draws behind :meth:`predict`, (chains * draws, n).

        Parameters
        ----------
        data : DataFrame, optional
            As in :meth:`predict`.
        groups : str or dict by factor, optional
            As in :meth:`predict`.
        kind : {"mean", "response"}
            As in :meth:`predict`.
        seed : int, default 0
            Rows of one new group share its drawn effects.
        block : slice, optional
            Only these rows.

        Returns
        -------
        ndarray
        """
        check_kind(kind)
        mean = self.linear_predictor(data, groups=groups, seed=seed, block=block)
        start = 0 if block is None else block.start
        if not self.design.family.gaussian:
            own = self.family_draws
            if kind == "mean":
                return mean_of(self.design.family, mean, own)
            from poolwise.compile.likelihood import draw_response

            trials = None
            if self.design.outcome.trials is not None:
                known = self.design.outcome.trials
                trials = known if data is None else trials_of(self.design.formula, as_frame(data))
                trials = trials if block is None else trials[block]
            return draw_response(self.design, mean, own, trials, _mixed(seed, start))
        if kind == "response":
            rng = np.random.default_rng([seed, 1, start])
            mean += self.sigma_draws[:, None] * rng.standard_normal(mean.shape)
        return mean

    def linear_predictor(self, data=None, *, groups: Groups = None, seed: int = 0, block: slice | None = None) -> Array:
        """Draws of the linear predictor, offset included, (chains * draws, n); arguments as :meth:`predict_draws`."""
        modes, start = group_modes(self.design, groups), 0 if block is None else block.start
        frame = self.design.frame if data is None else as_frame(data)
        part = frame if block is None else frame.iloc[block].reset_index(drop=True)
        eta = self.coefficients @ self.design.common.apply(part).T + self.design.offset_of(part)
        for place, factor in enumerate(self.design.factors):
            rng = np.random.default_rng([seed, 2, place, start])
            eta += self._group_part(factor, part, modes[factor.name], seed, rng)
        return eta

    def _group_part(
        self, factor: GroupingFactor, part: pd.DataFrame, mode: str | None, seed: int, rng: np.random.Generator
    ) -> Array:
        """Contribution of one factor (D, rows); drawn effects come from N(0, T T'), once a label, or by row."""
        effects, codes, Z = self.effects(factor), codes_for(factor, part, mode), factor.Z_of(part)
        total = np.zeros((len(effects), len(part)))
        if mode == POPULATION_MEAN:
            return total
        if mode == INTEGRATED:
            root = np.einsum("dkl,dnk->dnl", self.factor_draws(factor), Z * self.sd_ratios(factor, part))
            sd = np.sqrt((root**2).sum(axis=2))
            return sd * rng.standard_normal(total.shape)
        own = (codes >= 0) & (mode != POPULATION_DRAW)
        total[:, own] = np.einsum("dnk,nk->dn", effects[:, codes[own]], Z[own])
        if not own.all():
            labels, T = row_labels(factor, part), self.factor_draws(factor)
            for label in labels[~own].unique():
                rows = np.flatnonzero((labels == label) & ~own)
                z = label_rng(seed, factor, label).standard_normal((len(effects), len(factor.effects)))
                u = np.einsum("dkl,dl->dk", T, z)
                new = part.iloc[rows].reset_index(drop=True)
                total[:, rows] = np.einsum("dnk,dk->dn", Z[rows] * self.sd_ratios(factor, new), u)
        return total

    def sd_ratios(self, factor: GroupingFactor, part: pd.DataFrame) -> Array:
        """Ratio (D, rows, q) of each row's group sds to those of the posterior; (1, 1, 1) of ones where they are one.

        The group sds of ``gr(g, sd=~ z)`` are those of a group whose covariates stand at their means.
        """
        if factor.sd_regression is None:
            return np.ones((1, 1, 1))
        gamma = np.stack([[self._draws(name) for name in own] for own in factor.log_sd_names])
        return np.exp(np.einsum("nr,krd->dnk", factor.sd_regression.rows_of(part), gamma))

    def factor_draws(self, factor: GroupingFactor) -> Array:
        """Draws of T (D, q, q) in the units of the data; with ``gr(g, sd=~ z)`` of a group of mean covariates."""
        if factor.name not in self._factors:
            self._factors[factor.name] = self._factor_of(factor)
        return self._factors[factor.name]

    @cached_property
    def _factors(self) -> dict[str, Array]:
        return {}

    def _factor_of(self, factor: GroupingFactor) -> Array:
        sds = []
        for term in factor.terms:
            value = self._draws(names.group_sd(term.name, factor.name))
            sds.append(value[:, None] if term.levels is None else value)
        sd = np.concatenate(sds, axis=1)
        if not factor.structure.n_correlations:
            return np.einsum("dk,kl->dkl", sd, np.eye(sd.shape[1]))
        correlation = self._draws(names.correlation(factor.name))
        # A correlation of exactly +-1 in floating point has no Cholesky factor; the jitter is below its rounding.
        return sd[:, :, None] * np.linalg.cholesky(correlation + 1e-12 * np.eye(sd.shape[1]))

    def add_log_likelihood(self) -> "BayesFit":
        """Add the pointwise log-likelihood, conditional on the group-specific effects, to ``data``; returns the fit.

        Raises
        ------
        FitError
            If rows times draws would not fit memory comfortably.
        """
        if "log_likelihood" not in self.data.children:
            self.data["log_likelihood"] = xr.DataTree(pointwise.rowwise(self, pointwise.log_likelihood(self)))
        return self

    def add_posterior_predictive(self, seed: int = 0) -> "BayesFit":
        """Add replications of the response, one a draw, to ``data``; returns the fit."""
        drawn = self.predict_draws(kind="response", seed=seed)
        self.data["posterior_predictive"] = xr.DataTree(pointwise.rowwise(self, drawn))
        return self

    def loo(self, **options):
        """PSIS-LOO by ArviZ: the expected log predictive density of a left-out row of a known group.

        With one grouping factor the group-specific effects are integrated out of the left-out row's density, which is
        the same quantity with far steadier importance weights; otherwise the density is conditional on them. ArviZ's
        ``p`` then counts the parameters that were sampled, not the effects integrated out; ``arviz.loo`` on
        ``add_log_likelihood().data`` gives the conditional one.

        Parameters
        ----------
        **options
            Handed to :func:`arviz.loo`.

        Returns
        -------
        arviz ELPDData
            Warns, as ArviZ does, where Pareto k says that a row's weights are unreliable.

        References
        ----------
        Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432; Vehtari et al. (2016), JMLR 17(103).
        """
        import arviz as az

        if (
            len(self.design.factors) > 1
            or not self.design.one_covariance
            or self.design.frequency
            or not self.design.collapses
        ):
            return az.loo(self.add_log_likelihood().data, **options)
        value = pointwise.rowwise(self, pointwise.log_density_of_left_out_rows(self))
        return az.loo(xr.DataTree.from_dict({"posterior": self.posterior, "log_likelihood": value}), **options)

    def sensitivity(self) -> pd.DataFrame:
        """Power-scaling sensitivity to each group of priors and to the likelihood, see :func:`.sensitivity`."""
        from poolwise.result.sensitivity import sensitivity

        return sensitivity(self)

    def variance(self, level: float = 0.95):
        """Pooling factors, R2 by level, intraclass correlation and contraction of the priors; :func:`.variance`."""
        from poolwise.result.variance import variance

        return variance(self, level)

    def credible_intervals(self, kind: str = "eti", level: float = 0.95, **options) -> pd.DataFrame:
        """Equal-tailed or highest-density intervals, direction, ROPE; options as :func:`.credible_intervals`."""
        from poolwise.result.credible import credible_intervals

        return credible_intervals(self, kind, level, **options)

    def logo(self, *, refit: bool = True):
        """Leave-one-group-out, the group's effects integrated out; see :func:`poolwise.checks.leave_group_out`.

        Parameters
        ----------
        refit : bool, default True
            Fit again without a group where Pareto k exceeds 0.7.

        Returns
        -------
        LeaveGroupOut
        """
        from poolwise.check.leave_group_out import leave_group_out

        return leave_group_out(self, refit=refit)

    def check(self, settings=None):
        """Run every check that suits this fit; see :func:`poolwise.checks.check`.

        Parameters
        ----------
        settings : CheckSettings, optional
            Thresholds, and what findings do.

        Returns
        -------
        Findings
            The most severe first.
        """
        from poolwise.check.run import check

        return check(self, settings)

    def save(self, path: str | Path) -> Path:
        """Write the fit to one NetCDF file; read it back with :func:`poolwise.load_fit`."""
        from poolwise.result.store import save_fit

        return save_fit(self, path)

    def __repr__(self) -> str:
        rows = f"{self.design.n} rows"
        groups = ", ".join(f"{factor.J} groups of {factor.name}" for factor in self.design.factors)
        draws = f"{self.settings.chains} chains of {self.settings.draws} draws, seed {self.settings.seed}"
        columns = ["mean", "sd", "eti95_lb", "eti95_ub"]
        table = self.summary(kind="stats")
        return (
            f"Bayesian fit of {self.design.formula.text}\n"
            f"{rows}{', ' + groups if groups else ''}; {draws}; {self.form}\n{self.convergence}\n\n"
            f"{table[[c for c in columns if c in table]].to_string(float_format='%.4g')}"
        )

    def _repr_html_(self) -> str:
        head = "<br>".join(escape(line) for line in repr(self).split("\n\n")[0].splitlines())
        return f"<p>{head}</p>{self.summary().to_html(float_format='%.4g')}"


def _mixed(*numbers: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])

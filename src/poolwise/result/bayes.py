"""The Bayesian fit: one DataTree, and what a statistician asks of it.

Long for its docstrings: most methods are doors to modules of their own.
"""

import warnings
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import ConvergenceWarning, FitError
from poolwise.fit.bayes import Sampling
from poolwise.priors.resolve import ResolvedPrior, priors_table
from poolwise.result import pointwise, scores, tables
from poolwise.result.bayes_predict import BayesPrediction
from poolwise.result.checked import Checked, Continued, CrossValidated
from poolwise.result.comparisons import Compared
from poolwise.result.convergence import Convergence, convergence
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.residual_sums import rmse_of_sums, terms_of


class BayesFit(BayesPrediction, scores.Scored, Compared, Checked, Continued, CrossValidated):
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

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> fit = model.fit(seed=1, progress=False)
    >>> fit.converged
    True
    >>> fit.form
    'collapsed form (direct door), group-specific effects drawn exactly'
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
        """Warn once about what the convergence measures found; returns the fit.

        Returns
        -------
        BayesFit

        Warns
        -----
        ConvergenceWarning
            Once for each limit of R-hat, effective draws or divergences that is passed.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.warn_if_not_converged() is fit
        True
        """
        for problem in self.convergence.problems:
            warnings.warn(problem, ConvergenceWarning, stacklevel=3)
        return self

    @property
    def sigma(self) -> float:
        """Posterior mean of the residual standard deviation."""
        return float(self.sigma_draws.mean())

    @property
    def fixef(self) -> pd.Series:
        """Posterior means of the common effects, original scale, under Bambi's names."""
        return pd.Series(
            {
                name: value
                for own in self.design.linear
                for name, value in zip(own.coefficient_names, self.coefficients_of(own).mean(axis=0), strict=True)
            },
            dtype=np.float64,
        )

    @property
    def ranef(self) -> pd.DataFrame:
        """Posterior means of the group-specific effects of the first grouping factor, groups by effects."""
        factors = [factor for factor in (tables.choose_factor(own, None) for own in self.design.linear) if factor]
        if not factors:
            raise AttributeError("this fit has no group-specific effects: its formula has no (... | group) block")
        index = pd.Index(factors[0].labels, name=factors[0].name)
        columns = [names.in_category(effect, factor.category) for factor in factors for effect in factor.effects]
        values = np.concatenate([self.effects(factor).mean(axis=0) for factor in factors], axis=1)
        return pd.DataFrame(values, index=index, columns=columns)

    def summary(self, level: float = 0.95, *, effects: bool = False, **options: Any) -> pd.DataFrame:
        """ArviZ's summary of the parameters, unrounded: mean, sd, interval, MCSE, ESS, R-hat.

        Parameters
        ----------
        level : float, default 0.95
            Probability of the equal-tailed interval.
        effects : bool, default False
            Whether the group-specific effects, and the weights of smooth functions, are listed too.
        **options
            Handed to :func:`arviz.summary`.

        Returns
        -------
        DataFrame

        Raises
        ------
        ArgumentError
            If level is not between 0 and 1.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.summary().index[:4].tolist()
        ['Intercept', 'Days', 'sigma', '1|Subject_sigma']
        """
        import arviz as az

        every = (self.design, *self.design.predicted)
        many = {names.group_dim(factor.name) for factor in self.design.all_factors}
        many |= {smooth.weight_dims[0] for design in every for smooth in design.smooths}
        chosen = [
            str(name) for name, value in self.posterior.data_vars.items() if effects or not many & set(value.dims)
        ]
        options = {"round_to": "none", "ci_prob": tables.check_level(level), "ci_kind": "eti", **options}
        with warnings.catch_warnings():
            # The diagonal of a correlation matrix is constant: its R-hat is a division of zero by zero.
            warnings.simplefilter("ignore", RuntimeWarning)
            # ArviZ labels values in the order in which the dimensions of all variables together first occur, so that
            # one of several dimensions goes alone.
            alone = {name: k for k, name in enumerate(chosen, 1) if self.posterior[name].ndim > 3}
            parts = [self.posterior[list(part)] for _, part in groupby(chosen, lambda name: alone.get(name, 0))]
            trees = [xr.DataTree.from_dict({"posterior": part}) for part in parts]
            table = pd.concat([az.summary(tree, **options) for tree in trees])
        # Of a correlation matrix what stands above its diagonal says all.
        repeated = [
            factor.correlation_label(f"{kind}{effect}, {other}")
            for design in every
            for factor in design.factors
            for kind in ([""] if factor.kinds is None else [f"{label}, " for label in factor.kinds.labels])
            for row, effect in enumerate(factor.effects)
            for other in factor.effects[: row + 1]
        ]
        return tables.Printed(table.drop(index=[label for label in repeated if label in table.index]))

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

        Raises
        ------
        ArgumentError
            If this fit has no such interval, or level is not between 0 and 1.
        UnknownNameError
            If there is no such grouping factor.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.coef().shape
        (36, 7)
        >>> fit.coef().columns.tolist()
        ['factor', 'group', 'term', 'estimate', 'lower', 'upper', 'n']
        """
        tables.check_interval(interval, self.intervals)
        tail = (1 - tables.check_level(level)) / 2
        found = []
        for own in self.design.linear:
            chosen = tables.choose_factor(own, factor)
            draws, terms = self._coefficient_draws(own, chosen)
            lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
            found.append(tables.coefficient_frame(chosen, terms, draws.mean(axis=0), lower, upper, self.design.n))
        return pd.concat(found, ignore_index=True)

    def _coefficient_draws(self, design: Design, factor: GroupingFactor | None) -> tuple[Array, list[str]]:
        """Draws (D, J, terms) of common plus group-specific effects of one linear predictor."""
        common, coefficients = list(design.coefficient_names), self.coefficients_of(design)
        if factor is None:
            return coefficients[:, None, :], common
        terms = tables.coefficient_terms(design, factor)
        draws = np.zeros((len(coefficients), factor.J, len(terms)))
        draws[:, :, : len(common)] = coefficients[:, None, :]
        effects = self.effects(factor)
        for k, effect in enumerate(factor.effects):
            draws[:, :, terms.index(names.in_category(effect, factor.category))] += effects[:, :, k]
        return draws, terms

    @property
    def fitted(self) -> Array:
        """Posterior mean of the mean of each row (n,); of the share of trials, of the level of an ordinal response.

        Of a categorical response the probabilities (n, K).
        """
        if not self._linear:
            blocks = [self.predict_draws(block=block).mean(axis=0) for block in self._blocks(self.design.n)]
            return np.concatenate(blocks)
        mean = self.design.offset + self.design.X @ self.fixef.to_numpy()
        for smooth in self.design.smooths:
            mean = mean + self.smooth_part(smooth, smooth.basis).mean(axis=0)
        for factor in self.design.factors:
            mean = mean + factor.contribution(self.effects(factor).mean(axis=0))
        return mean

    @property
    def residuals(self) -> Array:
        """Response minus fitted values (n,), on the scale of :attr:`fitted`.

        Raises
        ------
        FitError
            For a categorical response, which has none.
        """
        if self.design.family.categorical:
            raise FitError("a categorical response has no residuals; compare its categories with predict()")
        return self.design.outcome.scaled - self.fitted

    def rmse(self) -> float:
        """Root mean squared residual of the posterior mean, in sample.

        Returns
        -------
        float
            Units of the response; of shares for a binomial one.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> round(fit.rmse())
        23
        """
        if self.design.collapsed is not None:
            means = [self.effects(factor).mean(axis=0) for factor in self.design.factors]
            return rmse_of_sums(self.design, terms_of(self.design, self.fixef.to_numpy(), means))
        if self.design.counted is not None:
            return scores.rmse(self.design, self._means)
        return tables.root_mean_square(self.residuals, self.design.weights if self.design.frequency else None)

    @property
    def _means(self) -> Array:
        """Fitted values of each row, or of each cell where rows were added up."""
        if self.design.counted is None:
            return self.fitted
        frame = self.design.cells.frame
        blocks = [self.predict_draws(frame, block=block).mean(axis=0) for block in self._blocks(len(frame))]
        return np.concatenate(blocks)

    def add_log_likelihood(self) -> "BayesFit":
        """Add the pointwise log-likelihood, conditional on the group-specific effects, to ``data``; returns the fit.

        Raises
        ------
        FitError
            If rows times draws would not fit memory comfortably.

        Returns
        -------
        BayesFit
            With the group log_likelihood (chain, draw, row) in ``data``.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.add_log_likelihood().data["log_likelihood"]["Reaction"].shape
        (4, 1000, 180)
        """
        if "log_likelihood" not in self.data.children:
            self.data["log_likelihood"] = xr.DataTree(pointwise.rowwise(self, pointwise.log_likelihood(self)))
        return self

    def add_posterior_predictive(self, seed: int = 0) -> "BayesFit":
        """Add replications of the response, one a draw, to ``data``; returns the fit.

        Parameters
        ----------
        seed : int, default 0
            Of the replications.

        Returns
        -------
        BayesFit
            With the group posterior_predictive (chain, draw, row) in ``data``.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.add_posterior_predictive().data["posterior_predictive"]["Reaction"].shape
        (4, 1000, 180)
        """
        drawn = self.predict_draws(kind="response", seed=seed)
        self.data["posterior_predictive"] = xr.DataTree(pointwise.rowwise(self, drawn))
        return self

    def loo(self, *, reloo: bool = False, **options: Any):
        """PSIS-LOO by ArviZ: the expected log predictive density of a left-out row of a known group.

        With one grouping factor the group-specific effects are integrated out of the left-out row's density, which is
        the same quantity with far steadier importance weights; otherwise the density is conditional on them. ArviZ's
        ``p`` then counts the parameters that were sampled, not the effects integrated out; ``arviz.loo`` on
        ``add_log_likelihood().data`` gives the conditional one.

        Parameters
        ----------
        reloo : bool, default False
            Fit again without each row whose Pareto k exceeds 0.7, so that the estimate can be trusted.
        **options
            Handed to :func:`arviz.loo`.

        Returns
        -------
        arviz ELPDData
            Warns, as ArviZ does, where Pareto k says that a row's weights are unreliable.

        References
        ----------
        Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413-1432; Vehtari et al. (2016), JMLR 17(103).

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> loo = fit.loo()
        >>> round(loo.elpd)
        -862
        """
        import arviz as az

        if reloo:
            from poolwise.check.held_out import reloo as refit_bad_rows

            with warnings.catch_warnings():
                # What ArviZ would warn of is mended.
                warnings.simplefilter("ignore", UserWarning)
                return refit_bad_rows(self, self.loo(**{**options, "pointwise": True}))
        if not pointwise.integrates_out(self.design):
            return az.loo(self.add_log_likelihood().data, **options)
        value = pointwise.rowwise(self, pointwise.left_out_rows(self)[0])
        return az.loo(xr.DataTree.from_dict({"posterior": self.posterior, "log_likelihood": value}), **options)

    def sensitivity(self) -> pd.DataFrame:
        """Power-scaling sensitivity to each group of priors and to the likelihood (``result.sensitivity``).

        "Potential prior-data conflict" means that prior and likelihood both move a parameter, which is common with few
        groups and no error by itself; ``Model.check_priors`` finds priors that the data exclude, and
        :func:`poolwise.compare_priors` says how far conclusions move.

        Returns
        -------
        DataFrame
            Columns parameter, prior, likelihood, diagnosis; one row a parameter.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.sensitivity().shape
        (8, 7)
        """
        from poolwise.result.sensitivity import sensitivity

        return sensitivity(self)

    def variance(self, level: float = 0.95):
        """Pooling factors, R2 by level, intraclass correlation and contraction of the priors (``result.variance``).

        Parameters
        ----------
        level : float, default 0.95
            Probability of the equal-tailed intervals.

        Returns
        -------
        Variance
            Tables by quantity.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.variance().levels["level"].tolist()
        ['rows', 'Intercept | Subject', 'Days | Subject']
        """
        from poolwise.result.variance import variance

        return variance(self, level)

    def credible_intervals(self, kind: str = "eti", level: float = 0.95, **options: Any) -> pd.DataFrame:
        """Equal-tailed or highest-density intervals, direction, ROPE, options as in ``result.credible``.

        Parameters
        ----------
        kind : {"eti", "hdi"}, default "eti"
            Equal tails, or the narrowest interval.
        level : float, default 0.95
            Probability of the interval.
        **options
            As ``result.credible`` has them.

        Returns
        -------
        DataFrame
            One row a parameter.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.credible_intervals().columns.tolist()
        ['parameter', 'estimate', 'lower', 'upper', 'p_direction']
        """
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

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> found = fit.logo()
        >>> found.table.shape
        (18, 6)
        >>> round(found.elpd, -1)
        -890.0
        """
        from poolwise.check.leave_group_out import leave_group_out

        return leave_group_out(self, refit=refit)

    def plot_pooling(self, **options: Any):
        """Pooling factor of every group against its size; see :func:`poolwise.plots.plot_pooling`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_pooling` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> figure = fit.plot_pooling()
        """
        from poolwise.plot.pooling_factor import plot_pooling

        return plot_pooling(self, **options)

    def plot_prior_to_posterior(self, **options: Any):
        """Prior and posterior of each sd; see :func:`poolwise.plots.plot_prior_to_posterior`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_prior_to_posterior` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> figure = fit.plot_prior_to_posterior()
        """
        from poolwise.plot.updating import plot_prior_to_posterior

        return plot_prior_to_posterior(self, **options)

    def plot_posterior_predictive(self, **options: Any):
        """Replicated data beside the data; see :func:`poolwise.plots.plot_posterior_predictive`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_posterior_predictive` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> figure = fit.plot_posterior_predictive()
        """
        from poolwise.plot.predictive import plot_posterior_predictive

        return plot_posterior_predictive(self, **options)

    def plot_coverage(self, **options: Any):
        """Calibration by group size; see :func:`poolwise.plots.plot_coverage`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_coverage` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> figure = fit.plot_coverage()
        """
        from poolwise.plot.coverage import plot_coverage

        return plot_coverage(self, **options)

    def save(self, path: str | Path) -> Path:
        """Write the fit to one NetCDF file; read it back with :func:`poolwise.load_fit`.

        Parameters
        ----------
        path : str or Path
            Where to; an existing file is replaced once the new one is complete.

        Returns
        -------
        Path
            Of the file.

        Raises
        ------
        StoreError
            If it cannot be written; an earlier file is then untouched.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> with TemporaryDirectory() as folder:
        ...     again = pw.load_fit(fit.save(Path(folder) / "fit.nc"))
        >>> again.rmse() == fit.rmse()
        True
        """
        from poolwise.result.store import save_fit

        return save_fit(self, path)

    def __repr__(self) -> str:
        rows = f"{self.design.n} rows"
        formulas = "; ".join(own.formula.text for own in (self.design, *self.design.further))
        groups = ", ".join(f"{factor.J} groups of {factor.name}" for factor in self.design.all_factors)
        chains = f"{self.settings.chains} chain{'s' * (self.settings.chains != 1)}"
        draws = f"{chains} of {self.settings.draws} draws, seed {self.settings.seed}"
        columns = ["mean", "sd", "eti95_lb", "eti95_ub"]
        table = self.summary(kind="stats")
        return (
            f"Bayesian fit of {formulas}\n"
            f"{rows}{', ' + groups if groups else ''}; {draws}; {self.form}\n{self.convergence}\n\n"
            f"{table[[c for c in columns if c in table]].to_string(float_format='%.4g')}"
        )

    def _repr_html_(self) -> str:
        head = "<br>".join(escape(line) for line in repr(self).split("\n\n")[0].splitlines())
        return f"<p>{head}</p>{self.summary().to_html(float_format='%.4g')}"

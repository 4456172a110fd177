"""The model: a formula and a table in, fits out.

Long for its docstrings: each method is a door to a module of its own.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from poolwise import names
from poolwise.errors import ArgumentError, FitError, OtherFormWarning, PartialRunWarning, UncentredSlopeWarning
from poolwise.fit.bayes import CollapsedSampler, Sampling, all_closed
from poolwise.fit.crossed import CrossedDraws, CrossedSampler, is_affordable, serves_crossed
from poolwise.fit.identified import refuse_exact, refuse_unidentified
from poolwise.fit.importance import K_LIMIT
from poolwise.fit.memory import refuse_too_large
from poolwise.fit.reml import BOUNDARY_AVOIDING, optimise
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.fit.whitened import WhitenedSampler, serves
from poolwise.priors.distributions import JOINT
from poolwise.priors.resolve import priors_table
from poolwise.result.bayes import BayesFit
from poolwise.result.crossed import CrossedFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit, fit_glmm
from poolwise.result.implications import PriorImplications, prior_implications
from poolwise.result.posterior import collapsed_tree, crossed_tree, data_tree, sample_stats_dataset, whitened_tree
from poolwise.spec.crossed import crossed_sufficient
from poolwise.spec.design import Design
from poolwise.spec.exchange import exchangeable, serves_exchangeable
from poolwise.spec.grouping import refuse_grouping, why_not_exchangeable
from poolwise.spec.parameters import structure_note
from poolwise.spec.specification import specify
from poolwise.spec.sufficient import Sufficient, sufficient
from poolwise.spec.uncentred import uncentred_slopes, uncentred_text

FORMS = ("auto", "collapsed", "whitened", "generative", "centred")


class Model:
    """A hierarchical model, specified as in lme4, brms or Bambi.

    Parameters
    ----------
    formula : str, list of str, or bambi.Formula
        For instance ``"y ~ x + (x | g)"``. Blocks: ``(1 | g)``, ``(x | g)`` with correlated effects, ``(x || g)``
        without, ``(0 + x | g)``, ``(1 | a/b)``, ``(1 | a:b)``; ``(1 | gr(g, by=z))`` with a covariance for each kind z
        of group, ``(1 | gr(g, sd=~ z))`` with group sds that follow z, ``(1 | gr(g, cov=A))`` with related groups.
        A list has formulas for further parameters of the family too: ``["y ~ x + (x | g)", "sigma ~ x + (1 | g)"]``.
        Functions: log, exp, sqrt, scale, center, poly, bs,
        C, I, offset ...
    data : DataFrame
        One row an observation; pandas, polars, pyarrow or a dict of columns. It is not changed.
    family : str, default "gaussian"
        Distribution of the response, by Bambi's names: bernoulli, binomial (``p(successes, trials) ~ ...``), poisson,
        negativebinomial, gamma, beta, t, cumulative (ordered levels), categorical (levels without an order),
        multinomial (counts, ``c(a, b, d) ~ ...``) ...
    priors : str, path, PriorPreset or dict, default "weakly_informative"
        A preset by name or file, or a dict of :class:`poolwise.Prior` by parameter on top of the default preset.
    link : str, optional
        What is linear in the predictors: ``"logit"``, ``"probit"``, ``"log"`` ...; the family's usual one by default.
    group_correlation : bool, default True
        False reads every ``(x | g)`` as ``(x || g)``.
    weights : str, optional
        Column of precision weights, as lme4's ``weights``: the residual variance of a row is sigma^2 / weight.
        (Frequency weights are written ``weighted(y, w) ~ ...``.)
    missing : {"error", "drop"}, default "error"
        What to do with rows that miss a value of a column in the formula.
    covariances : dict of DataFrame, optional
        Matrices that ``gr(g, cov=A)`` names, by name: known covariance between the groups (a pedigree, a phylogeny,
        distances), whose index and columns are the groups. Its groups that the data lack are left out, which is exact.
    trusted : bool, default False
        Allow any function in the formula; only for formulas you wrote yourself.

    Raises
    ------
    FormulaError, DataError, PriorError
        Before anything is compiled, with all problems of the table in one message.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> model.fit_frequentist().fixef.round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """

    def __init__(
        self,
        formula,
        data,
        family: str = "gaussian",
        priors=None,
        *,
        link: str | None = None,
        group_correlation: bool = True,
        weights: str | None = None,
        missing: str = "error",
        covariances: Mapping[str, pd.DataFrame] | None = None,
        trusted: bool = False,
    ):
        self.specification = specify(
            formula,
            data,
            family,
            priors,
            link=link,
            group_correlation=group_correlation,
            weights=weights,
            missing=missing,
            covariances=covariances,
            trusted=trusted,
        )
        self.design = self.specification.design

    @classmethod
    def from_bambi(cls, model) -> "Model":
        """The model that a bambi.Model says: formula, data, family, link and every prior.

        Parameters
        ----------
        model : bambi.Model
            Built or not; its group-specific effects are independent, so this one's are too, whatever the formula.

        Returns
        -------
        Model

        Raises
        ------
        ArgumentError, PriorError
            For what poolwise does not have, or not in the same units: potentials, ``hsgp()``, families of one's own,
            fixed numbers in place of priors.

        Examples
        --------
        >>> import bambi as bmb
        >>> import poolwise as pw
        >>> peer = bmb.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
        >>> list(pw.Model.from_bambi(peer).priors["parameter"])
        ['Intercept', '1|Batch_sigma', 'sigma']
        """
        from poolwise.spec.from_bambi import arguments_of, priors_of

        read = cls(**arguments_of(model))
        return read.with_priors(priors_of(model, read.design))

    def to_bambi(self):
        """Make an unbuilt bambi.Model of it, its group-specific blocks and every prior included.

        Returns
        -------
        bambi.Model

        Raises
        ------
        ArgumentError
            For what Bambi does not have: correlated effects, joint priors, precision weights, ``gr()`` and ``mm()``.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
        >>> model.to_bambi().formula.main
        'Yield ~ 1 + (1|Batch)'
        """
        from poolwise.spec.bambi import whole_bambi_model

        return whole_bambi_model(self.specification)

    def with_priors(self, priors) -> "Model":
        """The same model under other priors; nothing is read, checked or collapsed again.

        Parameters
        ----------
        priors : str, path, PriorPreset or dict
            As the model itself takes them.

        Returns
        -------
        Model

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> model.with_priors("few_groups").priors.loc[0, "source"]
        "preset 'few_groups'"
        """
        other = self.with_design(self.design)
        other.specification = self.specification.with_priors(priors)
        if self.design.collapses and len(self.design.factors) <= 1 and self.design.exchangeable:
            other.__dict__["sufficient"] = self.sufficient
        return other

    def with_response(self, y) -> "Model":
        """The same model of another response of the same rows, as a simulation gives it; nothing is read again.

        Parameters
        ----------
        y : array (n,)
            In place of the response, as the design has it: successes of a binomial one, 0, 1, ... for ordered levels.
            It is not checked against the family.

        Returns
        -------
        Model
            Its priors keep the numbers that they have here, also where a rule took them from the response.

        Raises
        ------
        ArgumentError
            If there are not as many numbers as rows, or one is not finite.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> twice = model.with_response(2 * pw.load_dataset("sleepstudy")["Reaction"].to_numpy())
        >>> round(float(twice.fit_frequentist().sigma / model.fit_frequentist().sigma), 6)
        2.0
        """
        y = np.array(y, dtype=np.float64)
        if y.shape != (self.design.n,) or not np.isfinite(y).all():
            raise ArgumentError(f"y must be {self.design.n} finite numbers, one a row; got shape {y.shape}")
        return self.with_design(replace(self.design, outcome=replace(self.design.outcome, y=y)))

    def with_design(self, design: Design) -> "Model":
        """The same model of other numbers, such as a part of the rows; its priors keep the numbers that they have.

        Parameters
        ----------
        design : Design
            With the columns and the groups of this model's. It is not checked.

        Returns
        -------
        Model

        :meta private:
        """
        other = object.__new__(Model)
        other.design, other.specification = design, replace(self.specification, design=design)
        return other

    @property
    def priors(self) -> pd.DataFrame:
        """The resolved priors, a row a parameter: distribution, rule behind its numbers, source."""
        return priors_table(self.specification.resolved)

    @cached_property
    def spec(self):
        """The unbuilt :class:`bambi.Model` of the common part, with the resolved priors."""
        from poolwise.spec.bambi import bambi_specification

        return bambi_specification(self.specification)

    @cached_property
    def pymc(self):
        """The generative :class:`pymc.Model` with explicit group-specific effects, to read and to extend."""
        from poolwise.compile.generative import generative_model

        return generative_model(self.design, self.specification.priors, centred=self.specification.centred)

    @cached_property
    def sufficient(self) -> Sufficient:
        """The collapsed rows; only for at most one grouping factor."""
        return sufficient(self.design)

    @cached_property
    def sampler(self) -> CollapsedSampler:
        """The collapsed posterior; only for at most one grouping factor."""
        centred, priors = self.specification.centred, self.specification.priors
        if serves_exchangeable(self.design) and not self.design.exchangeable:
            twin = exchangeable(self.design, centred=centred)
            return CollapsedSampler(self.design, twin.sufficient, priors, to_effects=twin.to_effects)
        rows = self.sufficient if centred else sufficient(self.design, centred=False)
        return CollapsedSampler(self.design, rows, priors)

    def prior_predictive(self, draws: int = 500, seed: int | None = None):
        """Draw parameters and responses from the prior.

        Parameters
        ----------
        draws : int, default 500
        seed : int, optional

        Returns
        -------
        xarray.DataTree
            Groups prior and prior_predictive.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> model.prior_predictive(50, seed=1)["prior_predictive"]["Reaction"].shape
        (1, 50, 180)
        """
        from poolwise.compile.generative import prior_predictive

        return prior_predictive(self.pymc, self.specification.priors, draws, seed)

    def prior_implies(self, draws: int = 4000, seed: int | None = None, level: float = 0.9) -> PriorImplications:
        """What the priors imply before the data: pooling by group size, intraclass correlation, R2, spreads.

        Parameters
        ----------
        draws : int, default 4000
            Draws from the prior.
        seed : int, optional
        level : float, default 0.9
            Probability of the equal-tailed intervals.

        Returns
        -------
        PriorImplications
            Its ``table`` has the columns quantity, about, estimate (median), lower, upper.

        Raises
        ------
        PriorError
            If a prior is improper.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> model.prior_implies(seed=1).pooling([2, 50]).columns.tolist()
        ['effect', 'n', 'estimate', 'lower', 'upper']
        """
        return prior_implications(self.specification, draws, seed, level)

    def check_priors(self):
        """Pitfalls of the priors, found before sampling: :func:`poolwise.checks.prior_findings` of the model.

        The data are asked too, by a frequentist fit, which takes milliseconds to a second.

        Returns
        -------
        Findings
            Scales off by orders of magnitude, conflicts with the data, priors that decide alone, tails too heavy for
            few groups ...; empty where nothing is amiss.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> model.check_priors()
        No findings.
        >>> model.with_priors({"Days": pw.Prior("Normal", mu=0, sigma=0.01)}).check_priors().codes
        ['prior_scale']
        """
        from poolwise.check.priors import prior_findings

        return prior_findings(self)

    def fit_frequentist(
        self, reml: bool = True, *, penalty: str | None = None, n_quadrature: int = 1
    ) -> FrequentistFit | GLMMFit:
        """Fit by restricted (or ordinary) maximum likelihood, as lme4 does.

        Parameters
        ----------
        reml : bool, default True
            Restricted likelihood; False for ordinary maximum likelihood, to compare common effects by likelihood ratio.
            Of Gaussian models only: other families have ordinary maximum likelihood, and say so.
        penalty : {"boundary_avoiding"}, optional
            Multiply the likelihood by ``|group covariance / sigma^2|^(3/4)``, which keeps estimates of group sds about
            a standard error off zero and correlations off -1 and 1, and hardly moves them elsewhere: blme's default.
            Of Gaussian models only.
        n_quadrature : int, default 1
            Nodes of adaptive Gauss-Hermite quadrature, lme4's ``nAGQ``, for a family other than the Gaussian with one
            grouping factor of one effect; 1 is the Laplace approximation.

        Returns
        -------
        FrequentistFit
            With several grouping factors a :class:`~poolwise.result.crossed.CrossedFit`, whose ``ranef`` is a dict of
            frames by factor; for families other than the Gaussian a :class:`~poolwise.result.glmm.GLMMFit`.

        References
        ----------
        Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013), Psychometrika 78(4), 685-709.

        Raises
        ------
        FitError
            With no more rows than coefficients, with too many effects in the factors beside the largest, with a
            group sd that nothing identifies, where the model reproduces the response exactly, or for a family that has
            no frequentist fit.

        Warns
        -----
        ConvergenceWarning
            If a family other than the Gaussian did not converge, or a common effect has no finite estimate.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> round(model.fit_frequentist().criterion, 4)
        1743.6283
        >>> round(model.fit_frequentist(reml=False).criterion, 4)
        1751.9393
        """
        if penalty not in (None, "boundary_avoiding"):
            raise ArgumentError(f"penalty must be None or 'boundary_avoiding'; got {penalty!r}")
        if not self.design.collapses:
            if penalty is not None:
                raise ArgumentError(f"penalty= serves Gaussian models; this is family {self.design.family}")
            self._warn_if_uncentred(centred=True)
            return fit_glmm(self.design, n_quadrature).warn_about_problems()
        if n_quadrature != 1:
            raise ArgumentError(
                "n_quadrature= is for families other than the Gaussian, whose likelihood is exact; leave it out"
            )
        refuse_grouping(self.design, "the frequentist fit")
        power = 0.0 if penalty is None else BOUNDARY_AVOIDING
        self._warn_if_uncentred(centred=True)
        if len(self.design.factors) > 1:
            several = crossed_sufficient(self.design)
            self._refuse_few_rows(several.stats.n, several.stats.p)
            refuse_unidentified(self.design, several.stats.factors)
            optimum = optimise_crossed(several.stats, several.structure, reml=reml, power=power)
            refuse_exact(self.design, optimum)
            return CrossedFit(self.design, several, optimum, reml=reml, penalty=penalty)
        collapsed = self.sufficient
        self._refuse_few_rows(collapsed.stats.n, collapsed.stats.p)
        refuse_unidentified(self.design, (collapsed.stats,) * len(self.design.factors))
        optimum = optimise(collapsed.stats, collapsed.structure, reml=reml, power=power)
        refuse_exact(self.design, optimum)
        return FrequentistFit(self.design, collapsed, optimum, reml=reml, penalty=penalty)

    def _refuse_few_rows(self, n: float, p: int) -> None:
        if n <= p + 1:
            raise FitError(
                f"{self.design.n} rows cannot estimate {p} common effects and a residual variance; "
                "leave out terms, or use Model.fit(), where the priors identify them"
            )

    def fit(
        self,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        seed: int | None = None,
        form: str = "auto",
        progress: bool = True,
        *,
        cores: int | None = None,
        target_accept: float | None = None,
    ) -> BayesFit:
        """Sample the posterior.

        Parameters
        ----------
        draws, tune, chains : int, default 1000, 1000, 4
            Kept and discarded draws of each chain.
        seed : int, optional
            The same seed gives the same draws; one is drawn and kept in ``fit.settings.seed`` by default.
        form : {"auto", "collapsed", "whitened", "generative", "centred"}, default "auto"
            Collapsed integrates the group-specific effects of a Gaussian model out and draws them exactly afterwards;
            with several grouping factors its draws are independent, the variances drawn by importance. Whitened
            samples the effects in the coordinates of the Laplace approximation; generative samples them as the
            readable model (``model.pymc``) has them, standardised (non-centred); centred samples them as they are.
            Auto takes the first that serves the model, but whitened where more than 3,000 effects stand beside those
            of the largest factor; the fit's ``form`` says which and why.
        progress : bool, default True
            Show progress.
        cores : int, optional
            Chains side by side; all cores by default.
        target_accept : float, optional
            Acceptance rate that the step size aims for; by default 0.8 where the posterior is nearly normal, in the
            whitened form and in the collapsed one of ten groups or more of enough rows, and 0.9 elsewhere.

        Returns
        -------
        BayesFit

        Warns
        -----
        ConvergenceWarning
            If R-hat, effective sample sizes or divergences are beyond their limits.
        PartialRunWarning
            If the run was interrupted: the draws made until then are returned.
        OtherFormWarning
            If the importance weights of several factors in collapsed form are not to be trusted: the whitened (or
            generative) form samples the model instead.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.fixef.round().tolist()
        [251.0, 10.0]
        """
        settings = _settings(draws, tune, chains, seed, cores, progress, target_accept)
        refuse_too_large(self.design, settings)
        self._warn_if_uncentred(centred=self.specification.centred)
        priors = self.specification.priors
        form, why = self._chosen_form(form)
        if form == "collapsed" and len(self.design.factors) > 1:
            drawn, why = self._draw_crossed(settings)
            if drawn is not None:
                tree = crossed_tree(self.design, drawn, settings)
                fit = BayesFit(self.design, tree, self.specification.resolved, settings, drawn.said)
                return fit.warn_if_not_converged()
            form = "generative" if serves(self.design, priors) else "whitened"
        if form == "whitened":
            if unserved := serves(self.design, priors):
                raise ArgumentError(
                    f"form='whitened' cannot sample this model: {unserved}; leave form out, or use 'generative'"
                )
            whitened = self._whitened
            x, stats = whitened.sample(settings)
            settings = _as_run(settings, stats)
            tree = whitened_tree(self.design, whitened.constrain(x, settings.cores), stats, settings)
            said = f"{whitened.said}{why and f' ({why})'}"
        elif form in ("generative", "centred"):
            from poolwise.compile.generative import generative_model
            from poolwise.fit.generative import informative_factors, sample_generative

            factors = [factor.name for factor in self.design.all_factors]
            free = informative_factors(self.design) if why else factors if form == "centred" else []
            model = generative_model(self.design, priors, centred=self.specification.centred, explicit=free)
            posterior, stats = sample_generative(self.design, model, settings)
            tree = data_tree(self.design, posterior, sample_stats_dataset(stats))
            how = ", ".join(f"{name} {'centred' if name in free else 'non-centred'}" for name in factors)
            said = f"generative form, effects sampled by NUTS ({how}){why and f', as {why}'}"
        else:
            sampler = self.sampler
            parameters, stats = sampler.sample(settings)
            settings = _as_run(settings, stats)
            tree = collapsed_tree(self.design, parameters, sampler.effects(parameters, settings), stats, settings)
            said = f"collapsed form ({sampler.door} door), group-specific effects drawn exactly"
        return BayesFit(self.design, tree, self.specification.resolved, settings, said).warn_if_not_converged()

    def _chosen_form(self, form: str) -> tuple[str, str]:
        """The form that samples the model, and why not the whitened one where it might have been."""
        if form not in FORMS:
            raise ArgumentError(f"form must be one of {', '.join(map(repr, FORMS))}; got {form!r}")
        priors, why = self.specification.priors, ""
        if form == "auto":
            joint = any(prior.support == JOINT for prior in priors.values())
            several = len(self.design.factors) > 1
            explicit = (
                not self.design.collapses
                or not (self.design.exchangeable or serves_exchangeable(self.design))
                or several
                or (joint and not all_closed(priors))
            )
            form = "whitened" if explicit else "collapsed"
            why = serves(self.design, priors) if explicit else ""
            form = "generative" if why else form
            if (
                several
                and self.design.exchangeable
                and not serves_crossed(self.design, priors)
                and (why or is_affordable(self.design))
            ):
                form = "collapsed"
        tied = not self.design.exchangeable
        if (form == "centred" and tied) or (form == "collapsed" and tied and not serves_exchangeable(self.design)):
            raise ArgumentError(
                f"form={form!r} takes groups that are independent draws from one normal distribution, and "
                f"{why_not_exchangeable(self.design)}; leave form out, or use 'generative'"
            )
        if form == "collapsed" and not self.design.collapses:
            raise ArgumentError(
                f"form='collapsed' is for Gaussian responses with an identity link, neither censored nor truncated; "
                f"this is family {self.design.family}. Leave form out, or use 'whitened' or 'generative'"
            )
        return form, why

    @cached_property
    def _whitened(self) -> WhitenedSampler:
        return WhitenedSampler(self.design, self.specification.priors, centred=self.specification.centred)

    def _draw_crossed(self, settings: Sampling) -> tuple[CrossedDraws | None, str]:
        """Draws of several factors in collapsed form; None, and why, where they are not to be trusted."""
        if why := serves_crossed(self.design, self.specification.priors):
            raise ArgumentError(
                f"form='collapsed' cannot sample this model of several grouping factors: {why}; leave form out, or use "
                "'whitened' or 'generative'"
            )
        rows = crossed_sufficient(self.design, centred=self.specification.centred)
        drawn, k = CrossedSampler(self.design, rows, self.specification.priors).sample(settings)
        if drawn is not None:
            return drawn, ""
        measured = f"Pareto k {k:.2f} is above {K_LIMIT}" if np.isfinite(k) else "their posterior has no clear mode"
        warnings.warn(
            f"the collapsed form draws the variances by importance, which this posterior does not allow: {measured}; "
            "its effects are sampled by NUTS instead, which takes longer",
            OtherFormWarning,
            stacklevel=3,
        )
        return None, f"the collapsed form refused: {measured}"

    def _warn_if_uncentred(self, *, centred: bool) -> None:
        table = uncentred_slopes(self.design.linear[0], centred=centred)
        if not table.empty:
            warnings.warn(uncentred_text(table), UncentredSlopeWarning, stacklevel=3)

    def __repr__(self) -> str:
        design, table = self.design, self.specification.table
        lines = [
            f"Model of {design.formula.text}",
            f"  as understood  {design.formula.canonical}",
            *(f"                 {own.formula.canonical}  ({own.family.link} link)" for own in design.further),
            f"  family         {self.specification.family}",
            f"  rows           {design.n}"
            + (f", dropped for missing values: {table.dropped}" if table.dropped else ""),
        ]
        if design.categories is not None:
            reference = " (the first is the reference)" if design.family.has_reference else ""
            lines.insert(3, f"  categories     {', '.join(design.categories)}{reference}")
        for factor in [factor for own in (design.linear[0], *design.further) for factor in own.factors]:
            sizes = factor.sizes
            lines.append(
                f"  groups         {factor.J} of {factor.name}, {sizes.min()} to {sizes.max()} rows (median "
                f"{np.median(sizes):g}); effects {structure_note(factor)}"
            )
        lines += [f"  note           {note}" for note in table.notes]
        replaced = [term for term, _, _ in design.common.terms if names.variable(term) != term]
        lines += [f"  alias          {term!r} is called {names.variable(term)!r} in the posterior" for term in replaced]
        lines += [f"  alias          the term {term!r} is called {alias!r}" for term, alias in design.aliases.items()]
        shown = self.priors[["parameter", "distribution", "source"]]
        return "\n".join(lines) + f"\n  priors\n{shown.to_string(index=False)}"

    def _repr_html_(self) -> str:
        head = escape(repr(self).split("\n  priors\n")[0])
        return f"<pre>{head}</pre>{self.priors.to_html(index=False)}"


def _as_run(settings: Sampling, stats: xr.Dataset) -> Sampling:
    """The settings with the chains and draws there are; says so where the run was interrupted."""
    chains, draws = stats.sizes["chain"], stats.sizes["draw"]
    if (chains, draws) != (settings.chains, settings.draws):
        warnings.warn(
            f"interrupted: {chains} of {settings.chains} chains with {draws} of {settings.draws} draws were made, "
            "and are returned",
            PartialRunWarning,
            stacklevel=3,
        )
    return replace(settings, chains=chains, draws=draws)


def _settings(draws, tune, chains, seed, cores, progress, target_accept) -> Sampling:
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

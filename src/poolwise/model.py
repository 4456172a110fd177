"""The model: a formula and a table in, fits out.

Long for its docstrings: each method is a door to a module of its own.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from poolwise import names
from poolwise.errors import ArgumentError, FitError, UncentredSlopeWarning
from poolwise.fit.bayes import CollapsedSampler
from poolwise.fit.identified import refuse_exact, refuse_unidentified
from poolwise.fit.memory import refuse_too_large
from poolwise.fit.reml import BOUNDARY_AVOIDING, optimise
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.fit.whitened import WhitenedSampler
from poolwise.priors.presets import PriorPreset
from poolwise.priors.resolve import priors_table
from poolwise.result.bayes import BayesFit
from poolwise.result.crossed import CrossedFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit, fit_glmm
from poolwise.result.implications import PriorImplications, prior_implications
from poolwise.result.stream import RunStore
from poolwise.sample import check_settings, choose_form, sample
from poolwise.spec.crossed import crossed_sufficient
from poolwise.spec.design import Design
from poolwise.spec.exchange import exchangeable, serves_exchangeable
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.parameters import structure_note
from poolwise.spec.specification import Specification, specify
from poolwise.spec.sufficient import Sufficient, sufficient
from poolwise.spec.uncentred import uncentred_slopes, uncentred_text

# A preset by name or file, or priors by parameter: poolwise's, Bambi's or PreliZ's.
Priors = str | Path | PriorPreset | Mapping[str, Any] | None


class Model:
    """A hierarchical model, specified as in lme4, brms or Bambi.

    Parameters
    ----------
    formula : str, list of str, or bambi.Formula
        For instance ``"y ~ x + (x | g)"``. Blocks: ``(1 | g)``, ``(x | g)`` with correlated effects, ``(x || g)``
        without, ``(0 + x | g)``, ``(1 | a/b)``, ``(1 | a:b)``; ``(1 | gr(g, by=z))`` with a covariance for each kind z
        of group, ``(1 | gr(g, sd=~ z))`` with group sds that follow z, ``(1 | gr(g, cov=A))`` with related groups.
        ``'y["yes"] ~ x'`` names the event of a Bernoulli response of two labels, as in Bambi.
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
        A preset by name or file, or a dict of :class:`poolwise.Prior`, or of texts such as ``"Normal(0, 1)"``, by
        parameter on top of the default preset.
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
        formula: str | Sequence[str] | Any,
        data: Any,
        family: str = "gaussian",
        priors: Priors = None,
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
    def from_bambi(cls, model: Any) -> "Model":
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

    def with_priors(self, priors: Priors) -> "Model":
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

    def with_response(self, y: ArrayLike) -> "Model":
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
        return self.with_design(self.design.with_response(np.array(y, dtype=np.float64)))

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
        return Model.of(replace(self.specification, design=design))

    @classmethod
    def of(cls, specification: Specification) -> "Model":
        """The model of a specification, nothing checked again.

        :meta private:
        """
        other = object.__new__(cls)
        other.specification, other.design = specification, specification.design
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

        The data are asked too, by a frequentist fit, which takes milliseconds to a second. A conflict is a prior of a
        common effect that the data exclude, or one of a group sd that forbids what they show. How far the posterior
        leans on a prior that agrees with the data, correlations included, is what :meth:`.BayesFit.sensitivity` says.

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
        store: str | Path | None = None,
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
            whitened form and in the collapsed one of ten groups or more of enough rows, 0.95 in the whitened form of
            smooth functions, and 0.9 elsewhere.
        store : str or Path, optional
            A new folder that draws are written to while they are made, so that a run that is killed loses those of its
            last second at most (of a few on a machine that is overloaded): :func:`poolwise.load_fit` reads what is
            there, :func:`poolwise.resume` makes the rest. Or a URL of an object store, ``s3://bucket/run``, as fsspec
            knows it (``s3fs``, ``gcsfs`` or ``adlfs`` installed): an object of draws is put there about once a second.
            The independent draws of several factors in collapsed form are weighted together, and written at the end.

        Returns
        -------
        BayesFit

        Warns
        -----
        ConvergenceWarning
            If R-hat, effective sample sizes or divergences are beyond their limits.
        PartialRunWarning
            If the run was interrupted: the draws made until then are returned.
        PoolwiseWarning
            If the store cannot be written to any more; the fit is returned all the same.
        OtherFormWarning
            If the importance weights of several factors in collapsed form are not to be trusted: the whitened (or
            generative) form samples the model instead.

        Raises
        ------
        ArgumentError, FitError
            For settings and forms that the model cannot have, or draws that memory cannot hold.
        StoreError
            If the place of ``store=`` holds something already, or cannot be written to.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.fixef.round().tolist()
        [251.0, 10.0]
        """
        settings = check_settings(draws, tune, chains, seed, cores, progress, target_accept)
        refuse_too_large(self.design, settings)
        self._warn_if_uncentred(centred=self.specification.centred)
        chosen = choose_form(self, form)
        if store is None:
            return sample(self, settings, chosen)[0].warn_if_not_converged()
        with RunStore.create(store, self.design, self.specification.resolved, settings, form) as kept:
            fit, how = sample(self, settings, chosen, kept)
            if (fit.settings.chains, fit.settings.draws) == (settings.chains, settings.draws):
                kept.finish(fit, how)
        return fit.warn_if_not_converged()

    @cached_property
    def whitened(self) -> WhitenedSampler:
        """The whitened posterior.

        :meta private:
        """
        return WhitenedSampler(self.design, self.specification.priors, centred=self.specification.centred)

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
            f"  rows           {design.n}" + (f"; dropped: {table.dropped_in_words}" if table.dropped else ""),
        ]
        if (column := design.weights_column) is not None:
            frequency = f"frequency weights: a row counts as {column} rows"
            precision = f"precision weights: the residual variance of a row is sigma^2 / {column}"
            lines.append(f"  weights        {column}, {frequency if design.frequency else precision}")
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
        shown = self.priors[["parameter", "distribution", "at", "source"]]
        return "\n".join(lines) + f"\n  priors\n{shown.to_string(index=False)}"

    def _repr_html_(self) -> str:
        head = escape(repr(self).split("\n  priors\n")[0])
        return f"<pre>{head}</pre>{self.priors.to_html(index=False)}"

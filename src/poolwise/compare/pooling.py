"""The pooling study: complete, no and partial pooling of one question, side by side."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.theta import BlockStructure
from poolwise.check.between_within import between_within
from poolwise.check.few_rows import too_few_rows
from poolwise.check.finding import Findings
from poolwise.check.likelihood import not_maximised, separation
from poolwise.check.loo import unreliable_elpd
from poolwise.check.priors import prior_findings
from poolwise.check.sampling import not_converged
from poolwise.check.singular import singular_fit
from poolwise.check.vanishing import vanishing_intervals
from poolwise.compare.crossval import (
    Refit,
    bayes_refit,
    complete_refit,
    cross_validate,
    group_folds,
    no_pooling_refit,
    reml_refit,
    row_folds,
    rows_of_known_groups,
)
from poolwise.compare.refit import likelihood_refit, separate_refit, whitened_refit
from poolwise.compare.shrinkage import shrinkage_table
from poolwise.errors import ArgumentError, ConvergenceWarning, DataError
from poolwise.fit.bayes import Sampling
from poolwise.fit.reml import optimise
from poolwise.fit.whitened import serves
from poolwise.model import Model
from poolwise.result import scores
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit, fit_glmm
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM
from poolwise.result.pointwise import fits_memory
from poolwise.result.tables import choose_factor
from poolwise.spec.design import Design, GroupingFactor, GroupTerm
from poolwise.spec.evaluate import evaluate
from poolwise.spec.exponential import has_laplace
from poolwise.spec.formula import Block
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.sufficient import sufficient

COMPLETE, NONE, REML, SIMPLER, BAYES = "complete", "none", "partial_reml", "partial_reml_intercept", "partial_bayes"
LAPLACE, LAPLACE_SIMPLER = "partial_laplace", "partial_laplace_intercept"
LABELS = {
    COMPLETE: "complete pooling (least squares)",
    NONE: "no pooling (least squares a group)",
    REML: "partial pooling (REML)",
    SIMPLER: "partial pooling (REML, intercepts only)",
    BAYES: "partial pooling (Bayesian)",
}
# Families other than the Gaussian.
LIKELIHOOD_LABELS = {
    COMPLETE: "complete pooling (maximum likelihood)",
    NONE: "no pooling (maximum likelihood a group)",
    LAPLACE: "partial pooling (Laplace)",
    LAPLACE_SIMPLER: "partial pooling (Laplace, intercepts only)",
    BAYES: "partial pooling (Bayesian)",
}
Fit = FrequentistFit | NoPoolingFit | GLMMFit | NoPoolingGLM | BayesFit
# A refit's posterior mean needs fewer draws than its quantiles: its Monte Carlo error is then 3 % of a posterior sd.
REFIT_DRAWS = 500


class PoolingStudy:
    """What pooling did: fits of one formula by :func:`compare_pooling`.

    Parameters
    ----------
    model : Model
        The partial-pooling model.
    fits : dict of str to fit
        By name: complete, none, partial_reml, partial_bayes, and partial_reml_intercept where partial_reml is singular;
        of families other than the Gaussian partial_laplace and partial_laplace_intercept.
    scores : DataFrame
        Held-out errors, one row a fit: rmse_kfold, rmse_new_groups, of binary responses and trials also the Brier score
        and the log loss.
    folds : str
        How they were made, in words.

    Attributes
    ----------
    elpd : float
        Expected log predictive density of the Bayesian fit; NaN where rows times draws exceed memory.
    findings : Findings
        What failed silently, with evidence and advice; empty when nothing did.
    """

    def __init__(self, model: Model, fits: dict[str, Fit], scores: pd.DataFrame, folds: str):
        self.model, self.fits, self.scores, self.folds = model, fits, scores, folds
        partial, bayes, none = self.partial, self.bayes, self.none
        found = [*not_converged(bayes), *singular_fit(partial), *vanishing_intervals(partial, bayes)]
        found += too_few_rows(none) + between_within(partial)
        if isinstance(partial, GLMMFit) and isinstance(none, NoPoolingGLM) and isinstance(self.complete, GLMMFit):
            found += [*separation(self.complete, none, partial), *not_maximised(none, partial)]
        found += prior_findings(model.specification, partial)
        self.elpd = float("nan")
        if fits_memory(bayes):
            with warnings.catch_warnings():
                # What the warning says stands in the finding, with the rows.
                warnings.simplefilter("ignore", UserWarning)
                loo = bayes.loo(pointwise=True)
            self.elpd = float(loo.elpd)
            found += unreliable_elpd(loo)
        self.findings = Findings(found)

    @property
    def partial(self) -> FrequentistFit | GLMMFit:
        """The frequentist partial-pooling fit: by REML, or by the Laplace approximation."""
        return self.fits[REML if REML in self.fits else LAPLACE]  # type: ignore[return-value]

    @property
    def reml(self) -> FrequentistFit:
        """The partial-pooling fit by REML, of a Gaussian response."""
        if REML not in self.fits:
            raise AttributeError("REML is for Gaussian responses; this study has a fit by Laplace, study.laplace")
        return self.fits[REML]  # type: ignore[return-value]

    @property
    def laplace(self) -> GLMMFit:
        """The partial-pooling fit by the Laplace approximation, of a family other than the Gaussian."""
        if LAPLACE not in self.fits:
            raise AttributeError("this study is of a Gaussian response, and has a fit by REML, study.reml")
        return self.fits[LAPLACE]  # type: ignore[return-value]

    @property
    def bayes(self) -> BayesFit:
        """The Bayesian partial-pooling fit."""
        return self.fits[BAYES]  # type: ignore[return-value]

    @property
    def none(self) -> NoPoolingFit | NoPoolingGLM:
        """One regression a group."""
        return self.fits[NONE]  # type: ignore[return-value]

    @property
    def complete(self) -> FrequentistFit | GLMMFit:
        """One regression, groups ignored."""
        return self.fits[COMPLETE]  # type: ignore[return-value]

    @property
    def factor(self) -> GroupingFactor:
        """The grouping factor."""
        return self.model.design.factors[0]

    @property
    def table(self) -> pd.DataFrame:
        """One row a fit: errors in sample and held out, elpd, mean width of the 95 % intervals, singular or not.

        rmse_kfold is of rows of known groups, rmse_new_groups of groups left out whole. elpd (PSIS-LOO) is defined for
        the Bayesian fit only. width_<term> is the mean width of the groups' intervals: total for REML and Laplace, the
        posterior's for Bayes, the regressions' own otherwise; of infinite estimates, NaN, the mean does without. Errors
        are on the scale of the response (shares of the trials, probabilities, counts), widths on that of the link. Of
        binary responses and trials there are also brier and log_loss, the mean over single trials.
        """
        binary = self.model.design.family.holds in scores.BINARY
        rows = []
        for name, fit in self.fits.items():
            row = {
                "fit": name,
                "rmse": fit.rmse(),
                **(
                    {"brier": scores.brier(fit.design, fit.fitted), "log_loss": scores.log_loss(fit.design, fit.fitted)}
                    if binary
                    else {}
                ),
                **self.scores.loc[name].to_dict(),
                "elpd": self.elpd if name == BAYES else np.nan,
            }
            coef = fit.coef()
            for term in self.factor.effects:
                part = coef[coef["term"] == term]
                row[f"width_{term}"] = float((part["upper"] - part["lower"]).mean()) if len(part) else np.nan
            rows.append({**row, "singular": bool(fit.is_singular)})
        return pd.DataFrame(rows).set_index("fit")

    def coef(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group under every fit and every kind of interval, long.

        Parameters
        ----------
        level : float, default 0.95

        Returns
        -------
        DataFrame
            Columns fit, interval, factor, group, term, estimate, lower, upper, n.
        """
        parts = []
        for name, fit in self.fits.items():
            for kind in fit.intervals:
                table = fit.coef(kind, level)
                table.insert(0, "interval", "separate" if name == COMPLETE else kind)
                table.insert(0, "fit", name)
                if name != COMPLETE or kind == "total":
                    parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def shrinkage(self) -> pd.DataFrame:
        """Between which estimates each group stands, and its pooling factor.

        Returns
        -------
        DataFrame
            Columns group, term, n, no_pooling, complete_pooling, partial_reml (or partial_laplace), partial_bayes,
            lower, upper, pooling_factor (1 complete, 0 none); on the scale of the link.
        """
        name = "partial_reml" if REML in self.fits else "partial_laplace"
        return shrinkage_table(self.none.coef(), self.complete.fixef, self.partial, self.bayes, name)

    def plot_estimates(self, **options):
        """Estimates and intervals of every group under every fit; see :func:`poolwise.plots.plot_estimates`."""
        from poolwise.plot.estimates import plot_estimates

        return plot_estimates(self, **options)

    def plot_lines(self, **options):
        """Each group's rows and regression lines; see :func:`poolwise.plots.plot_lines`."""
        from poolwise.plot.lines import plot_lines

        return plot_lines(self, **options)

    def plot_arrows(self):
        """How far each group is pulled, two effects at a time; see :func:`poolwise.plots.plot_arrows`."""
        from poolwise.plot.arrows import plot_arrows

        return plot_arrows(self)

    def plot_forest(self, **options):
        """A term's coefficients, a panel a fit; see :func:`poolwise.plots.plot_forest`."""
        from poolwise.plot.forest import plot_forest

        return plot_forest(self, **options)

    def plot_sizes(self, **options):
        """Estimates, intervals and widths against group size; see :func:`poolwise.plots.plot_sizes`."""
        from poolwise.plot.sizes import plot_sizes

        return plot_sizes(self, **options)

    def plot_scores(self):
        """Errors in sample and held out, and elpd, as dots; see :func:`poolwise.plots.plot_scores`."""
        from poolwise.plot.scores import plot_scores

        return plot_scores(self)

    def plot_group_sds(self):
        """Profile likelihood beside the posterior of each group sd; see :func:`poolwise.plots.plot_group_sds`."""
        from poolwise.plot.group_sd import plot_group_sds

        return plot_group_sds(self)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file about the study; see :func:`poolwise.write_report`."""
        from poolwise.report.write import write_report

        return write_report(self, path)

    def animate(self, path: str | Path, predictor: str | None = None) -> Path:
        """Write the groups' lines moving from complete to no to partial pooling.

        Parameters
        ----------
        path : str or Path
            Ending in ``.gif``, or in ``.html``: a page with a slider that needs nothing else.
        predictor : str, optional
            A numeric column; by default the first that the formula uses.

        Returns
        -------
        Path

        Raises
        ------
        ArgumentError
            For another ending, or where there is no numeric predictor.
        """
        from poolwise.plot.animation import write_gif
        from poolwise.report.motion import write_slider

        writers = {".gif": write_gif, ".html": write_slider}
        ending = Path(path).suffix.lower()
        if ending not in writers:
            raise ArgumentError(f"an animation is written as .gif or .html; got {str(path)!r}")
        return writers[ending](self, path, predictor)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables as CSV, the findings as text and the posterior as NetCDF; returns the files."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"table": self.table.reset_index(), "coef": self.coef(), "shrinkage": self.shrinkage()}
        files = []
        for name, table in tables.items():
            files.append(folder / f"{name}.csv")
            table.to_csv(files[-1], index=False)
        files.append(folder / "findings.txt")
        files[-1].write_text(repr(self.findings) + "\n", encoding="utf-8")
        files.append(self.bayes.save(folder / "posterior.nc"))
        return files

    def _head(self) -> str:
        sizes = self.factor.sizes
        return (
            f"Pooling study of {self.model.design.formula.text}\n"
            f"{self.model.design.n} rows in {self.factor.J} groups of {self.factor.name} "
            f"({sizes.min()} to {sizes.max()} rows); priors {self.model.specification.preset.name}; {self.folds}"
        )

    def _shown(self) -> pd.DataFrame:
        table = self.table.rename(index=self.labels).rename_axis(None)
        for old, new in (("rmse", "RMSE"), ("brier", "Brier"), ("log_loss", "log loss")):
            added = {"": "", "_kfold": " k-fold", "_new_groups": " new groups"}
            table = table.rename(columns={old + key: new + said for key, said in added.items()})
        return table

    @property
    def labels(self) -> dict[str, str]:
        """The fits in words, by name."""
        return LABELS if REML in self.fits else LIKELIHOOD_LABELS

    def __repr__(self) -> str:
        table = self._shown().to_string(float_format="%.4g", na_rep="-")
        columns = (
            "RMSE in sample, of held-out rows of known groups (k-fold) and of groups left out whole;\n"
            "elpd by PSIS-LOO; width: mean 95 % interval of the groups' coefficients; -: not defined\n"
            "(without pooling nothing is known of a new group; a fold may hold all rows of a level)."
        )
        if LAPLACE in self.fits:
            columns += "\nErrors are on the scale of the response, widths on that of the link."
        return f"{self._head()}\n\n{table}\n\n{columns}\n\n{self.findings!r}"

    def _repr_html_(self) -> str:
        head = "<br>".join(map(escape, self._head().splitlines()))
        table = self._shown().to_html(float_format="%.4g", na_rep="–", escape=True)
        return f"<p>{head}</p>{table}{self.findings._repr_html_()}"


def compare_pooling(
    formula: str,
    data,
    family: str = "gaussian",
    priors=None,
    *,
    group: str | None = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    progress: bool = True,
    folds: int = 10,
    new_group_folds: int = 20,
    weights: str | None = None,
    missing: str = "error",
    link: str | None = None,
    refit_bayes: bool | None = None,
) -> PoolingStudy:
    """Fit one formula under complete, no and partial pooling, by least squares, REML and Bayes, and compare.

    Families other than the Gaussian are fitted by maximum likelihood, the Laplace approximation and Bayes.

    Parameters
    ----------
    formula : str
        With one grouping factor, for instance ``"y ~ x + (x | g)"``.
    data : DataFrame
        One row an observation.
    family : str, default "gaussian"
        Or bernoulli, binomial, poisson, negativebinomial, gamma, exponential or wald. Their held-out errors need a
        refit a fold, the Bayesian ones the longest: lower ``folds`` and ``new_group_folds`` where that takes too long.
    priors : str, path, PriorPreset or dict, optional
        Priors of the Bayesian fit, see :class:`poolwise.Model`.
    group : str, optional
        Name of the grouping factor; only to state which one is meant.
    draws, tune, chains, seed, progress
        Of the Bayesian fit, see :meth:`poolwise.Model.fit`; the seed also deals out the folds.
    folds : int, default 10
        Folds over rows of known groups.
    new_group_folds : int, default 20
        Up to this many groups are left out one by one; more are left out in this many sets.
    weights, missing, link
        See :class:`poolwise.Model`.
    refit_bayes : bool, optional
        Whether the Bayesian fit is made anew for every fold; by default, wherever that takes seconds: Gaussian models,
        and others that the whitened form samples. Its held-out errors are NaN otherwise, and the study says so.

    Returns
    -------
    PoolingStudy

    Raises
    ------
    DataError
        If the formula has no grouping factor, or several.
    FitError
        If the family has no frequentist fit, or none can be made.

    Examples
    --------
    >>> import poolwise as pw
    >>> study = pw.compare_pooling(  # doctest: +SKIP
    ...     "bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"), seed=1
    ... )
    """
    for name, value in (("folds", folds), ("new_group_folds", new_group_folds)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 2:
            raise ArgumentError(f"{name} must be a whole number of at least 2; got {value!r}")
    model = Model(formula, data, family, priors, link=link, weights=weights, missing=missing)
    factor = _one_factor(model, group)
    report = _reporter(progress)
    report("complete, no and partial pooling without priors")
    fits, refits = _gaussian_fits(model, factor) if model.design.collapses else _likelihood_fits(model, factor)
    report("partial pooling, Bayesian")
    bayes = model.fit(draws, tune, chains, seed, progress=progress)
    if (bayes.settings.chains, bayes.settings.draws) != (chains, draws):
        raise KeyboardInterrupt("the study was interrupted while sampling")
    fits[BAYES] = bayes
    settings = Sampling(REFIT_DRAWS, REFIT_DRAWS, 2, bayes.settings.seed, progress=False)
    refit, why = _bayes_refit(model, settings, refit_bayes)
    refits[BAYES] = refit
    found, said = _scores(model.design, factor, refits, folds, new_group_folds, bayes.settings.seed, report)
    return PoolingStudy(model, fits, found, said + why)


def _gaussian_fits(model: Model, factor: GroupingFactor) -> tuple[dict[str, Fit], dict[str, Refit | None]]:
    """Least squares and REML, and how they are made anew without some rows."""
    design = model.design
    alone = replace(design, factors=())
    collapsed = sufficient(alone)
    optimum = optimise(collapsed.stats, collapsed.structure, reml=True)
    reml = model.fit_frequentist()
    assert isinstance(reml, FrequentistFit)  # the family is Gaussian
    fits: dict[str, Fit] = {
        COMPLETE: FrequentistFit(alone, collapsed, optimum, reml=True),
        NONE: NoPoolingFit(design, factor),
        REML: reml,
    }
    refits: dict[str, Refit | None] = {
        COMPLETE: complete_refit(design),
        NONE: no_pooling_refit(design, factor),
        REML: reml_refit(design, reml.optimum),
    }
    simpler = intercepts_only(design) if reml.is_singular else None
    if simpler is not None:
        rows = sufficient(simpler)
        optimum = optimise(rows.stats, rows.structure, reml=True)
        fits[SIMPLER] = FrequentistFit(simpler, rows, optimum, reml=True)
        refits[SIMPLER] = reml_refit(simpler, optimum)
    return fits, refits


def _likelihood_fits(model: Model, factor: GroupingFactor) -> tuple[dict[str, Fit], dict[str, Refit | None]]:
    """Generalised linear models and the Laplace approximation, and how they are made anew without some rows."""
    design = model.design
    alone = replace(design, factors=())
    with warnings.catch_warnings():
        # The findings say it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        partial = model.fit_frequentist()
    assert isinstance(partial, GLMMFit)  # the family is not Gaussian
    fits: dict[str, Fit] = {COMPLETE: fit_glmm(alone), NONE: NoPoolingGLM(design, factor), LAPLACE: partial}
    refits: dict[str, Refit | None] = {
        COMPLETE: likelihood_refit(alone),
        NONE: separate_refit(design, factor),
        LAPLACE: likelihood_refit(design),
    }
    simpler = intercepts_only(design) if partial.is_singular else None
    if simpler is not None:
        fits[LAPLACE_SIMPLER], refits[LAPLACE_SIMPLER] = fit_glmm(simpler), likelihood_refit(simpler)
    return fits, refits


def _bayes_refit(model: Model, settings: Sampling, wanted: bool | None) -> tuple[Refit | None, str]:
    """How the Bayesian fit is made anew without some rows; None, and why in words, where it is not."""
    design, missing = model.design, "; the Bayesian fit is not refitted"
    if wanted is False:
        return None, f"{missing} (refit_bayes=False)"
    if design.collapses:
        return bayes_refit(design, model.sampler, settings), ""
    why = serves(design, model.specification.priors)
    if why and wanted:
        raise ArgumentError(f"refit_bayes=True needs the whitened form, which cannot sample this model: {why}")
    if why:
        return None, f"{missing} ({why})"
    return whitened_refit(design, model.specification, settings), ""


def can_be_compared(model: Model) -> bool:
    """Whether :func:`compare_pooling` serves a model: one grouping factor, one covariance, a frequentist fit.

    Parameters
    ----------
    model : Model

    Returns
    -------
    bool
    """
    design = model.design
    served = design.collapses or (has_laplace(design.family) and design.outcome.plain)
    return len(design.factors) == 1 and design.exchangeable and served


def _one_factor(model: Model, group: str | None) -> GroupingFactor:
    if model.design.family.categorical:
        refuse_grouping(model.design, "compare_pooling")
    factors = [factor.name for factor in model.design.factors]
    if len(factors) != 1:
        found = "none" if not factors else ", ".join(factors)
        raise DataError(
            f"compare_pooling needs one grouping factor, the formula {model.design.formula.text!r} has {found}; "
            "write for instance 'y ~ x + (x | g)'"
        )
    factor = choose_factor(model.design, group)
    assert factor is not None  # there is exactly one
    return factor


def intercepts_only(design: Design) -> Design | None:
    """The design without its varying slopes; None where there are none, or no varying intercept."""
    factor = design.factors[0]
    if names.INTERCEPT not in factor.effects or len(factor.effects) == 1:
        return None
    at = factor.effects.index(names.INTERCEPT)
    only = replace(
        factor,
        Z=factor.Z[:, at : at + 1],
        effects=(names.INTERCEPT,),
        terms=(GroupTerm(names.INTERCEPT, slice(0, 1), None),),
        structure=BlockStructure((1,)),
        parts=((Block("1", ("1",), factor.name, factor.columns, True), evaluate("1", design.frame)),),
    )
    return replace(design, factors=(only,))


def _scores(design, factor, refits: dict[str, Refit | None], folds: int, new_group_folds: int, seed: int, report):
    """Held-out errors of every fit, and how the folds were made."""
    by_row = row_folds(factor.codes, min(folds, design.n), seed)
    known = rows_of_known_groups(factor.codes, by_row)
    by_group = group_folds(factor, new_group_folds, seed)
    everyone = np.ones(design.n, dtype=bool)
    rows = {}
    kinds = ("rmse", "brier", "log_loss") if design.family.holds in scores.BINARY else ("rmse",)
    labels = {**LABELS, **LIKELIHOOD_LABELS} if not design.collapses else LABELS
    refitted = len(np.unique(by_row)) + len(np.unique(by_group))
    for name, refit in refits.items():
        rows[name] = dict.fromkeys([f"{kind}_{fold}" for kind in kinds for fold in ("kfold", "new_groups")], np.nan)
        if refit is None:
            continue
        report(f"cross-validation: {labels[name]}, {refitted} refits")
        known_groups = cross_validate(design, refit, by_row, known)
        new = cross_validate(design, refit, by_group, everyone)
        for kind in kinds:
            rows[name][f"{kind}_kfold"] = getattr(known_groups, kind)
            rows[name][f"{kind}_new_groups"] = getattr(new, kind)
    found = pd.DataFrame.from_dict(rows, orient="index")
    left_out = "one group" if new_group_folds >= factor.J else f"{new_group_folds} sets of groups"
    unscored = f", {int((~known).sum())} rows of groups with one row not scored" if not known.all() else ""
    return found, f"{min(folds, design.n)} folds{unscored}; new groups by leaving out {left_out} at a time"


def _reporter(progress: bool) -> Callable[[str], None]:
    if not progress:
        return lambda text: None
    return lambda text: print(f"  {text} ...", file=sys.stderr, flush=True)

"""Complete, no and partial pooling of one question: the fits, and their held-out errors."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise import names
from poolwise.algebra.theta import BlockStructure
from poolwise.compare.crossval import (
    Refit,
    bayes_refit,
    complete_refit,
    cross_validate,
    group_codes,
    group_folds,
    no_pooling_refit,
    reml_refit,
    row_folds,
    rows_of_known_groups,
)
from poolwise.compare.held_density import elpd_of_parts
from poolwise.compare.refit import likelihood_refit, separate_refit, whitened_refit
from poolwise.compare.study import (
    BAYES,
    COMPLETE,
    LABELS,
    LAPLACE,
    LAPLACE_SIMPLER,
    LIKELIHOOD_LABELS,
    NONE,
    REML,
    SIMPLER,
    Fit,
    PoolingStudy,
)
from poolwise.errors import ArgumentError, ConvergenceWarning, DataError, FitError
from poolwise.fit.bayes import Sampling
from poolwise.fit.reml import optimise
from poolwise.fit.whitened import serves
from poolwise.model import Model
from poolwise.result import scores
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit, fit_glmm
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM
from poolwise.result.tables import choose_factor
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted import CountedData
from poolwise.spec.counted_design import CountedDesign
from poolwise.spec.design import Design
from poolwise.spec.evaluate import evaluate
from poolwise.spec.exponential import refuse_without_likelihood_fit
from poolwise.spec.factors import GroupingFactor, GroupTerm
from poolwise.spec.formula import Block
from poolwise.spec.rowless import RowlessDesign
from poolwise.spec.sufficient import sufficient

# A refit's posterior mean needs fewer draws than its quantiles: its Monte Carlo error is then 3 % of a posterior sd.
REFIT_DRAWS = 500
# What serves the models that a study does not.
COMMAND = "On the command line: poolwise fit"


def compare_pooling(
    formula: str,
    data: Any,
    family: str = "gaussian",
    priors: Any = None,
    *,
    group: str | None = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int | None = None,
    progress: bool = True,
    folds: int | None = None,
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
    data : DataFrame, CollapsedData or CountedData
        One row an observation; or sums of rows, or counts. These have the errors of held-out rows only if they were
        collapsed with ``folds=``, and neither elpd nor the finding between_within, which need the rows.
    family : str, default "gaussian"
        Or bernoulli, binomial, poisson, negativebinomial, gamma, exponential or wald. Their held-out errors need a
        refit a fold, the Bayesian ones the longest: lower ``folds`` and ``new_group_folds`` where that takes too long.
    priors : str, path, PriorPreset or dict, optional
        Priors of the Bayesian fit, see :class:`poolwise.Model`.
    group : str, optional
        Name of the grouping factor; only to state which one is meant.
    draws, tune, chains, seed, progress
        Of the Bayesian fit, see :meth:`poolwise.Model.fit`; the seed also deals out the folds.
    folds : int, optional
        Folds over rows of known groups: 10 by default; sums have those they were collapsed with.
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
    >>> study = pw.compare_pooling(
    ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
    ... )
    >>> study.table["rmse"].round(1).tolist()
    [47.4, 22.9, 23.4, 23.3]
    """
    for name, value in (("folds", 10 if folds is None else folds), ("new_group_folds", new_group_folds)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 2:
            raise ArgumentError(f"{name} must be a whole number of at least 2; got {value!r}")
    collapsed = isinstance(data, CollapsedData | CountedData)
    if collapsed and folds not in (None, data.folds):
        there = f"were collapsed with folds={data.folds}" if data.folds > 1 else "were collapsed without folds"
        raise ArgumentError(f"the sums {there}; leave folds= out, or collapse the rows with folds={folds}")
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
    dense = _density_refit(model, settings) if refit is not None and collapsed else None
    seed = bayes.settings.seed
    found, said = _scores(model.design, factor, refits, folds, new_group_folds, seed, report, dense)
    return PoolingStudy(model, fits, found, said + why)


def _density_refit(model: Model, settings: Sampling) -> tuple[Refit, NDArray[np.float64]] | None:
    """The Bayesian refit of folds of sums, and where it writes the densities of held-out parts; None without folds."""
    data = model.design.source
    if data is None or data.folds == 1:
        return None
    densities = np.full(len(data.parts.rows), np.nan)
    if model.design.collapses:
        return bayes_refit(model.design, model.sampler, settings, densities), densities
    return whitened_refit(model.design, model.specification, settings, densities), densities


def _gaussian_fits(model: Model, factor: GroupingFactor) -> tuple[dict[str, Fit], dict[str, Refit | None]]:
    """Least squares and REML, and how they are made anew without some rows."""
    design = model.design
    alone = design.without_groups
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
    alone = design.without_groups
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
    try:
        refuse_without_likelihood_fit(model.design)
    except FitError:
        return False
    return len(model.design.factors) == 1


def _one_factor(model: Model, group: str | None) -> GroupingFactor:
    try:
        refuse_without_likelihood_fit(model.design)
    except FitError as error:
        raise FitError(f"compare_pooling needs a model with a frequentist fit: {error}. {COMMAND}") from error
    factors = [factor.name for factor in model.design.factors]
    if len(factors) != 1:
        found = "none" if not factors else ", ".join(factors)
        raise DataError(
            f"compare_pooling needs one grouping factor, the formula {model.design.formula.text!r} has {found}; "
            + (f"Model.fit() samples it. {COMMAND}" if factors else "write for instance 'y ~ x + (x | g)'")
        )
    factor = choose_factor(model.design, group)
    assert factor is not None  # there is exactly one
    return factor


def intercepts_only(design: Design) -> Design | None:
    """The design without its varying slopes; None where there are none, or no varying intercept."""
    factor = design.factors[0]
    if names.INTERCEPT not in factor.effects or len(factor.effects) == 1:
        return None
    if isinstance(design, RowlessDesign):
        return design.narrowed(_intercepts_only, ((-1,),))
    if isinstance(design, CountedDesign):
        return design.narrowed(_intercepts_only)
    return _intercepts_only(design)


def _intercepts_only(design: Design) -> Design:
    factor = design.factors[0]
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


def _scores(
    design: Design,
    factor: GroupingFactor,
    refits: dict[str, Refit | None],
    folds: int | None,
    new_group_folds: int,
    seed: int,
    report: Callable[[str], None],
    dense: tuple[Refit, NDArray[np.float64]] | None,
) -> tuple[pd.DataFrame, str]:
    """Held-out errors of every fit, of folds of sums the Bayesian log density too, and how the folds were made."""
    codes = group_codes(design, factor)
    by_row, said = _row_folds(design, codes, folds, seed)
    by_group = group_folds(codes, factor.J, new_group_folds, seed)
    cuts = {"new_groups": (by_group, np.ones(len(codes), dtype=bool))}
    if by_row is not None:
        known = rows_of_known_groups(codes, by_row)
        cuts = {"kfold": (by_row, known), **cuts}
        rows = ~known if design.source is None else design.source.parts.rows[~known]
        said += f", {int(rows.sum())} rows of groups with all rows in one fold not scored" if not known.all() else ""
    kinds = ("rmse", "brier", "log_loss") if design.family.holds in scores.BINARY else ("rmse",)
    labels = LABELS if design.collapses else LIKELIHOOD_LABELS
    refitted = sum(len(np.unique(by)) for by, _ in cuts.values())
    found = {}
    for name, refit in refits.items():
        found[name] = dict.fromkeys([f"{kind}_{cut}" for kind in kinds for cut in ("kfold", "new_groups")], np.nan)
        if refit is None:
            continue
        report(f"cross-validation: {labels[name]}, {refitted} refits")
        for cut, (by, scored) in cuts.items():
            noting = name == BAYES and cut == "kfold" and dense is not None
            own = cross_validate(design, dense[0] if noting and dense else refit, by, scored)
            found[name] |= {f"{kind}_{cut}": getattr(own, kind) for kind in kinds}
            if noting and dense:
                found[name]["elpd_kfold"] = elpd_of_parts(design, dense[1])
    left_out = "one group" if new_group_folds >= factor.J else f"{new_group_folds} sets of groups"
    return pd.DataFrame.from_dict(found, orient="index"), f"{said}; new groups by leaving out {left_out} at a time"


def _row_folds(
    design: Design, codes: NDArray[np.int64], folds: int | None, seed: int
) -> tuple[NDArray[np.int64] | None, str]:
    """Fold of each row, or of each part of sums, and in words; None where the sums have none."""
    data = design.source
    if data is None:
        folds = min(folds or 10, design.n)
        return row_folds(codes, folds, seed), f"{folds} folds"
    if data.folds == 1:
        return None, "no folds of rows in the sums (pw.collapse(..., folds=10) keeps them)"
    return data.fold_of_part, f"the {data.folds} folds of the sums"


def _reporter(progress: bool) -> Callable[[str], None]:
    if not progress:
        return lambda text: None
    return lambda text: print(f"  {text} ...", file=sys.stderr, flush=True)

"""The lint of priors: do they fit the data's units, the number of groups, the formula, and the data themselves?"""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from poolwise.check.finding import Findings
from poolwise.check.prior_conflict import prior_conflict, prior_dominates
from poolwise.check.prior_evidence import Evidence, evidence
from poolwise.check.prior_scale import gamma_for_mode, natural_scales, prior_scale
from poolwise.check.prior_shape import flat_sd, heavy_tail, intercept_without, lkj_one
from poolwise.check.uncentred import uncentred_slope
from poolwise.errors import ConvergenceWarning, DataError, FitError, UncentredSlopeWarning
from poolwise.model import Model
from poolwise.spec.prior_draws import improper_of, parameter_draws
from poolwise.spec.specification import Specification

if TYPE_CHECKING:
    from poolwise.result.frequentist import FrequentistFit
    from poolwise.result.glmm import GLMMFit

# Draws that place the quantiles of a prior, with an error of about a hundredth of its scale.
DRAWS = 10_000


def prior_findings(model: Model | Specification, reml: "FrequentistFit | GLMMFit | None" = None) -> Findings:
    """Pitfalls of the resolved priors, found before anything is sampled.

    Parameters
    ----------
    model : Model or Specification
        Design and priors.
    reml : FrequentistFit or GLMMFit, optional
        Of the same model, to see what the data say without priors. A Model is fitted here where none is given, which
        takes milliseconds to a second; a Specification alone is judged by the units of its data only.

    Returns
    -------
    Findings
        Codes ``prior_scale``, ``prior_conflict``, ``prior_dominates``, ``heavy_tail_few_groups``, ``flat_few_groups``,
        ``gamma_for_mode``, ``lkj_one``, ``intercept_prior_without_intercept``, ``uncentred_slope``; empty where
        nothing is amiss.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> pw.checks.prior_findings(model)
    No findings.
    >>> pw.checks.prior_findings(model.with_priors({"Days": pw.Prior("Normal", mu=0, sigma=0.01)})).codes
    ['prior_scale']
    """
    specification = model.specification if isinstance(model, Model) else model
    if reml is None and isinstance(model, Model):
        reml = _reml(model)
    design, priors = specification.design, specification.priors
    drawn = parameter_draws(design, priors, DRAWS, np.random.default_rng(0), without=improper_of(priors))
    natural = natural_scales(design)
    known: dict[str, Evidence] = {} if reml is None else evidence(design, reml, centred=specification.centred)
    found = uncentred_slope(design, centred=specification.centred) + intercept_without(specification)
    for row in specification.resolved:
        found += heavy_tail(row, design) + flat_sd(row, design) + lkj_one(row, design)
        values = drawn.get(row.parameter)
        # An improper prior is flat on purpose, and has no scale; a family's own parameter has no unit.
        if values is None or np.isnan(values).any() or row.parameter not in natural:
            continue
        seen = known.get(row.parameter)
        own = gamma_for_mode(row, natural) or prior_scale(row, values, natural, seen)
        if seen is not None and not own:
            own = prior_conflict(row, values, seen) + prior_dominates(row, values, seen)
        found += own
    return Findings(found)


def _reml(model: Model) -> "FrequentistFit | GLMMFit | None":
    """The REML fit; None where the data cannot carry one, which priors can."""
    with warnings.catch_warnings():
        # The finding says it.
        warnings.simplefilter("ignore", UncentredSlopeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return model.fit_frequentist()
        except (FitError, DataError):
            return None

"""The model behind a fit, and the same model with further columns: what checks refit."""

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError, ConvergenceWarning, OtherFormWarning, UncentredSlopeWarning
from poolwise.model import Model
from poolwise.priors.distributions import JOINT
from poolwise.priors.prior import Prior
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.spec.design import Design
from poolwise.spec.syntax import quote

Source = Model | FrequentistFit | GLMMFit | BayesFit


def model_of(source: Source, priors=None) -> Model:
    """The model itself, or the one that a fit is of.

    Parameters
    ----------
    source : Model or fit
    priors : optional
        As :class:`poolwise.Model` takes them; by default those of the model or the Bayesian fit, and of a frequentist
        fit, which has none, the default preset.

    Returns
    -------
    Model

    Raises
    ------
    ArgumentError
        For anything else, and for a Bayesian fit whose priors cannot be carried over parameter by parameter.
    """
    if isinstance(source, Model):
        return source if priors is None else source.with_priors(priors)
    if not hasattr(source, "design"):
        raise ArgumentError(f"a pw.Model or one of its fits is needed here; got {type(source).__name__}")
    if priors is None and isinstance(source, BayesFit):
        priors = carried_priors(source)
    return rebuilt(source.design, priors)


def carried_priors(fit: BayesFit) -> dict[str, Prior]:
    """The resolved priors of a fit, by parameter, for a model of other rows or columns."""
    if any(row.prior.support == JOINT or row.at == "zero" for row in fit.resolved_priors):
        raise ArgumentError(
            "the priors of this fit are joint ones, or stand at predictors of zero, and cannot be carried over to "
            "another model one by one; hand over the pw.Model in place of the fit"
        )
    return {row.parameter: row.prior for row in fit.resolved_priors}


def with_columns(model: Model, columns: Mapping[str, Array]) -> Model:
    """The model with further columns among the common effects.

    Parameters
    ----------
    model : Model
    columns : mapping of str to ndarray (n,)
        By a name that no column of the table has.

    Returns
    -------
    Model
        Under the same preset, or the same priors where they came from the call.
    """
    design, own = model.design, model.specification
    common = " + ".join([design.formula.common, *map(quote, columns)])
    called = {row.parameter: row.prior for row in own.resolved if row.source == "call"}
    frame = design.frame.assign(**{name: np.asarray(values) for name, values in columns.items()})
    wider = replace(design, formula=replace(design.formula, common=common), frame=frame)
    return rebuilt(wider, called or own.preset)


def rebuilt(design: Design, priors) -> Model:
    """The model of a design's formula and table, made anew: what a changed formula or table takes."""
    return Model(**arguments(design, priors))


def arguments(design: Design, priors) -> dict:
    """What :func:`rebuilt` gives to :class:`poolwise.Model`; it can go to another process, where the model is made."""
    frame, weights = design.frame, None if design.frequency else design.weights_column
    if design.outcome.trials is not None and len(design.formula.response_columns) == 1:
        # Shares, whose trials came by weights=.
        weights = free_name("trials", design)
        frame = frame.assign(**{weights: design.outcome.trials})
    formulas = [design.formula.canonical, *(own.formula.canonical for own in design.further)]
    return {
        "formula": formulas if design.further else formulas[0],
        "data": frame,
        "family": design.family.name,
        "priors": priors,
        "link": design.family.link,
        "weights": weights,
        "covariances": design.covariances,
        "trusted": design.formula.trusted,
    }


def free_name(name: str, design: Design) -> str:
    """The name, or the name with underscores where a column of the table has it."""
    while name in design.frame.columns:
        name += "_"
    return name


def row_weights(design: Design) -> Array:
    """How often each row counts (n,): its trials, its frequency weight, or 1."""
    if design.outcome.trials is not None:
        return np.asarray(design.outcome.trials, dtype=np.float64)
    return design.weights if design.frequency and design.weights is not None else np.ones(design.n)


def quiet_fit(model: Model, **options) -> FrequentistFit | GLMMFit:
    """A frequentist fit whose caller says whether it converged."""
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, UncentredSlopeWarning, OtherFormWarning):
            warnings.simplefilter("ignore", kind)
        return model.fit_frequentist(**options)


def quiet_draws(model: Model, **options) -> BayesFit:
    """A Bayesian fit without progress, whose caller says whether it converged."""
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, UncentredSlopeWarning, OtherFormWarning):
            warnings.simplefilter("ignore", kind)
        return model.fit(progress=False, **options)

"""Cross-validation of families without sufficient statistics: every fit is made anew without the held-out rows."""

import warnings
from dataclasses import replace

import numpy as np

from poolwise.algebra.basis import dependent_columns
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.compare.crossval import Refit, Rows
from poolwise.errors import FitError
from poolwise.fit.bayes import Sampling
from poolwise.fit.whitened import WhitenedSampler
from poolwise.result.bayes import BayesFit
from poolwise.result.glmm import fit_glmm
from poolwise.result.no_pooling import plain_basis
from poolwise.result.no_pooling_glm import predict_models, separate_models
from poolwise.result.posterior import whitened_tree
from poolwise.spec.design import Design, row_subset
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.specification import Specification


def likelihood_refit(design: Design) -> Refit:
    """Maximum likelihood, with the groups of the design or, without factors, by complete pooling.

    A group without training rows is predicted by the mean over the population of groups. Where the training rows do not
    identify every common effect, or no fit can be made, the predictions are NaN.
    """

    def refit(held: Rows) -> Array:
        kept, nothing = row_subset(design, ~held), np.full(int(held.sum()), np.nan)
        if not identified(kept):
            return nothing
        try:
            fit = fit_glmm(kept)
        except FitError:
            return nothing
        return fit.predict(design.frame[held].reset_index(drop=True))["estimate"].to_numpy()

    return refit


def separate_refit(design: Design, factor: GroupingFactor) -> Refit:
    """No pooling: each group's own model of its training rows."""
    basis = replace(plain_basis(design), y_shift=0.0, y_scale=1.0)

    def refit(held: Rows) -> Array:
        solution = separate_models(design, factor, basis, ~held)
        eta = design.offset[held] + predict_models(solution, basis, design.X[held], factor.codes[held])
        return INVERSE[design.family.link](eta)

    return refit


def whitened_refit(design: Design, specification: Specification, settings: Sampling) -> Refit:
    """The posterior mean; the numbers of the priors stay those of all rows.

    A group without training rows is drawn from the population.
    """

    def refit(held: Rows) -> Array:
        kept = row_subset(design, ~held)
        if not identified(kept):
            return np.full(int(held.sum()), np.nan)
        sampler = WhitenedSampler(kept, specification.priors, centred=specification.centred)
        x, stats = sampler.sample(settings)
        tree = whitened_tree(kept, sampler.constrain(x, settings.cores), stats, settings)
        with warnings.catch_warnings():
            # Short chains are enough for a mean.
            warnings.simplefilter("ignore")
            fit = BayesFit(kept, tree, specification.resolved, settings, "whitened form")
        return fit.predict_draws(design.frame[held].reset_index(drop=True)).mean(axis=0)

    return refit


def identified(design: Design) -> bool:
    """Whether the rows identify every common effect."""
    return not dependent_columns(design.X, design.intercept)

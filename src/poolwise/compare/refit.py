"""Cross-validation of families without sufficient statistics: every fit is made anew without the held-out rows."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.basis import dependent_columns
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.compare.crossval import Refit, Rows
from poolwise.compare.held_density import density_of_counts
from poolwise.errors import FitError
from poolwise.fit.bayes import Sampling
from poolwise.fit.whitened import WhitenedSampler
from poolwise.result.bayes import BayesFit
from poolwise.result.glmm import fit_glmm
from poolwise.result.no_pooling import plain_basis
from poolwise.result.no_pooling_glm import predict_models, separate_models
from poolwise.result.posterior import whitened_tree
from poolwise.spec.counted_design import CountedDesign
from poolwise.spec.design import Design, codes_of_cells, row_subset
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.specification import Specification


def likelihood_refit(design: Design) -> Refit:
    """Maximum likelihood, with the groups of the design or, without factors, by complete pooling.

    A group without training rows is predicted by the mean over the population of groups. Where the training rows do not
    identify every common effect, or no fit can be made, the predictions are NaN.
    """

    def refit(held: Rows) -> Array:
        kept, nothing = without(design, held), np.full(int(held.sum()), np.nan)
        if not identified(kept):
            return nothing
        try:
            fit = fit_glmm(kept)
        except FitError:
            return nothing
        return fit.predict(_frame(design, held))["estimate"].to_numpy()

    return refit


def separate_refit(design: Design, factor: GroupingFactor) -> Refit:
    """No pooling: each group's own model of its training rows."""
    cells, codes = design.cells, codes_of_cells(design, factor)
    basis = replace(plain_basis(cells), y_shift=0.0, y_scale=1.0)

    def refit(held: Rows) -> Array:
        solution, at = separate_models(without(design, held), factor, basis), cells_of_held(design, held)
        eta = cells.offset[at] + predict_models(solution, basis, cells.X[at], codes[at])
        return INVERSE[design.family.link](eta)

    return refit


def whitened_refit(
    design: Design, specification: Specification, settings: Sampling, densities: Array | None = None
) -> Refit:
    """The posterior mean; the numbers of the priors stay those of all rows.

    A group without training rows is drawn from the population. Where there are counts in place of rows, ``densities``
    (parts,) is filled with the log predictive densities of the parts that were held out.
    """

    def refit(held: Rows) -> Array:
        kept = without(design, held)
        if not identified(kept):
            return np.full(int(held.sum()), np.nan)
        sampler = WhitenedSampler(kept, specification.priors, centred=specification.centred)
        x, stats = sampler.sample(settings)
        tree = whitened_tree(kept, sampler.constrain(x, settings.cores), stats, settings)
        with warnings.catch_warnings():
            # Short chains are enough for a mean.
            warnings.simplefilter("ignore")
            fit = BayesFit(kept, tree, specification.resolved, settings, "whitened form")
        means = fit.predict_draws(_frame(design, held))
        if densities is not None and isinstance(design, CountedDesign):
            densities[held] = density_of_counts(design, means, held)
        return means.mean(axis=0)

    return refit


def without(design: Design, held: Rows) -> Design:
    """The design of all rows, or parts of counts, but those held out."""
    return design.without(held) if isinstance(design, CountedDesign) else row_subset(design, ~held)


def cells_of_held(design: Design, held: Rows) -> NDArray[np.int64]:
    """Positions of the held-out rows, or of the cells of held-out parts of counts, in ``design.cells``."""
    return design.source.cell_of_part[held] if isinstance(design, CountedDesign) else np.flatnonzero(held)


def _frame(design: Design, held: Rows) -> pd.DataFrame:
    return design.cells.frame.iloc[cells_of_held(design, held)].reset_index(drop=True)


def identified(design: Design) -> bool:
    """Whether the rows identify every common effect."""
    return not dependent_columns(design.cells.X, design.intercept)

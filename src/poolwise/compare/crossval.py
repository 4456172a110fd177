"""Cross-validation: by subtraction, training statistics being those of all rows minus the held-out ones.

:mod:`poolwise.compare.refit` fits families anew that have no such statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.conditional import conditional_moments, effects_from_normals
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.profiled import profile
from poolwise.compare.held_density import held_densities, posterior_blocks
from poolwise.compile.collapsed import Draws
from poolwise.fit.bayes import CollapsedSampler, Sampling
from poolwise.fit.reml import Optimum, optimise
from poolwise.result import scores
from poolwise.result.no_pooling import coefficients_of, plain_basis, predict_rows, regressions
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted_design import CountedDesign
from poolwise.spec.design import Design, codes_of_cells, row_subset
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.residual_sums import Term, residual, terms_of
from poolwise.spec.rowless import RowlessFactor
from poolwise.spec.sufficient import Sufficient, sufficient

Rows = NDArray[np.bool_]
# From held-out rows, or parts of counts, to their predictions by a fit on all others; NaN where it can say nothing.
# Where there are sums in place of rows, from held-out parts of the sums to the sum of squared errors of each.
Refit = Callable[[Rows], Array]
# From training statistics to b (p,) and the effects (J, q), in the coordinates of the algebra.
Solve = Callable[[CrossProducts], tuple[Array, Array]]


# A direction of the common effects with less than this share of its information over all rows is not identified.
IDENTIFIED = 1e-9


@dataclass(frozen=True)
class Scores:
    """Held-out error of one fit.

    Parameters
    ----------
    rmse : float
        Root mean squared error over the rows that were scored; NaN if there are none.
    rows : int
        How many rows that is.
    brier, log_loss : float
        Of single trials, where the response is binary or counts them; NaN otherwise.
    """

    rmse: float
    rows: int
    brier: float = float("nan")
    log_loss: float = float("nan")


def row_folds(codes: NDArray[np.int64], k: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row, 0 to k - 1: every group's rows are spread over the folds as evenly as can be."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(codes))
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    folds = np.empty(len(codes), dtype=np.int64)
    # Dealing out the rows group after group keeps the folds equal in size too.
    folds[order] = np.arange(len(codes)) % k
    return folds


def group_folds(codes: NDArray[np.int64], J: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row for leaving groups out: one group a fold, or ``limit`` sets of groups where there are more."""
    if limit >= J:
        return codes
    of_group = np.random.default_rng(seed).permutation(J) % limit
    return of_group[codes]


def group_codes(design: Design, factor: GroupingFactor) -> NDArray[np.int64]:
    """Group of each row, or of each part where there are sums or counts in place of rows."""
    if isinstance(factor, RowlessFactor):
        return factor.cell_codes[factor.data.cell_of_part]
    if isinstance(design, CountedDesign):
        return codes_of_cells(design, factor)[design.source.cell_of_part]
    return factor.codes


def cross_validate(design: Design, refit: Refit, folds: NDArray[np.int64], scored: Rows) -> Scores:
    """Errors of held-out rows, on the scale of the response.

    Parameters
    ----------
    design : Design
        The rows, or the parts of sums or counts.
    refit : callable
        From held-out rows to predictions.
    folds : ndarray of int (n,)
        Fold of each row.
    scored : ndarray of bool (n,)
        Rows that count, the same for every fit compared.

    Returns
    -------
    Scores
    """
    if design.collapsed is not None:
        return _scores_of_sums(design.collapsed, refit, folds, scored)
    predictions = np.full(len(folds), np.nan)
    for fold in np.unique(folds):
        held = folds == fold
        predictions[held] = refit(held)
    if isinstance(design, CountedDesign):
        return _scores_of_counts(design, predictions[scored], scored)
    residuals = (design.outcome.scaled - predictions)[scored]
    if not len(residuals) or np.isnan(residuals).any():
        return Scores(float("nan"), int(np.isfinite(residuals).sum()))
    rmse = float(np.sqrt(np.mean(residuals**2)))
    if design.family.holds not in scores.BINARY:
        return Scores(rmse, len(residuals))
    held, fitted = row_subset(design, scored), predictions[scored]
    return Scores(rmse, len(residuals), scores.brier(held, fitted), scores.log_loss(held, fitted))


def _scores_of_counts(design: CountedDesign, fitted: Array, scored: Rows) -> Scores:
    own = design.source.parts.subset(scored)
    known = np.isfinite(fitted)
    if not len(fitted) or not known.all():
        return Scores(float("nan"), int(own.rows[known].sum()))
    rmse = float(np.sqrt(own.squares_about(fitted).sum() / own.n))
    if design.family.holds not in scores.BINARY:
        return Scores(rmse, own.n)
    trials = own.y, own.trials, np.ones(len(own.y))
    return Scores(rmse, own.n, scores.brier_of_trials(*trials, fitted), scores.log_loss_of_trials(*trials, fitted))


def _scores_of_sums(data: CollapsedData, refit: Refit, folds: NDArray[np.int64], scored: Rows) -> Scores:
    squares = np.full(len(folds), np.nan)
    for fold in np.unique(folds):
        held = folds == fold
        squares[held] = refit(held)
    rows = data.parts.rows[scored]
    if not len(rows) or np.isnan(squares[scored]).any():
        return Scores(float("nan"), int(rows[np.isfinite(squares[scored])].sum()))
    return Scores(float(np.sqrt(squares[scored].sum() / rows.sum())), int(rows.sum()))


def rows_of_known_groups(codes: NDArray[np.int64], folds: NDArray[np.int64]) -> Rows:
    """Rows whose group has at least one row in another fold."""
    J, k = int(codes.max()) + 1, int(folds.max()) + 1
    counts = np.zeros((J, k), dtype=np.int64)
    np.add.at(counts, (codes, folds), 1)
    return counts.sum(axis=1)[codes] > counts[codes, folds]


def collapsed_refit(
    design: Design, everything: Sufficient, solve: Solve, prior_precision: Array | None = None
) -> Refit:
    """Refit by subtracting the held-out rows' statistics.

    A group without training rows has empty statistics, so its effects are solved as 0, their mean in the population.
    Where the training rows (and the priors, of precision (p, p) in the coordinates of the algebra) do not identify
    every coefficient, such as that of a level only held-out rows have, the predictions are NaN.
    """
    basis = everything.basis

    def refit(held: Rows) -> Array:
        stats = everything.stats - sufficient(design, held, basis).stats
        information = stats.XtX if prior_precision is None else stats.XtX + prior_precision
        # Over all rows X'X is n times the identity: what is left of a direction shows by its eigenvalue.
        if stats.p and np.linalg.eigvalsh(information).min() < IDENTIFIED * everything.stats.n:
            return np.full(int(held.sum()), np.nan)
        b, effects = solve(stats)
        if design.collapsed is not None:
            offset, matrix = basis.to_coefficients
            by_group = [effects @ basis.to_effects.T] if design.factors else []
            return _squares(design.collapsed, terms_of(design, offset + matrix @ b, by_group), held)
        factor = design.factors[0] if design.factors else None
        nothing = np.zeros((int(held.sum()), 0))
        Q, Z, _ = basis.rows(design.X[held], nothing if factor is None else factor.Z[held], design.y[held])
        mean = Q @ b
        if factor is not None:
            mean = mean + np.einsum("nk,nk->n", Z, effects[factor.codes[held]])
        return design.offset[held] + basis.y_shift + basis.y_scale * mean

    return refit


def _squares(data: CollapsedData, terms: list[Term], held: Rows) -> Array:
    """Sum of squared errors of each held-out part."""
    return residual(data, terms).squares(data.parts.plain.subset(held), data.cell_of_part[held])


def complete_refit(design: Design) -> Refit:
    """Complete pooling: least squares without groups."""
    alone = design.without_groups
    everything = sufficient(alone)
    return collapsed_refit(
        alone, everything, lambda stats: (profile(stats, np.zeros((0, 0)), reml=True).b, np.zeros((0, 0)))
    )


def no_pooling_refit(design: Design, factor: GroupingFactor) -> Refit:
    """No pooling: each group's own regression on its training rows."""
    basis = plain_basis(design)

    def refit(held: Rows) -> Array:
        solution = regressions(design, factor, basis, ~held)
        if isinstance(factor, RowlessFactor):
            data, coefficients = factor.data, coefficients_of(solution, basis)[factor.cell_codes]
            return _squares(data, [(data.evaluator.x, coefficients)], held)
        return design.offset[held] + predict_rows(solution, basis, design.X[held], factor.codes[held])

    return refit


def reml_refit(design: Design, start: Optimum) -> Refit:
    """Partial pooling by REML, started at the optimum of all rows."""
    everything = sufficient(design)
    structure = everything.structure
    # A start on the boundary would stay there: the criterion is stationary at 0.
    inside = np.where(np.eye(structure.q, dtype=bool), np.maximum(start.Lambda, 0.05), start.Lambda)

    def solve(stats: CrossProducts) -> tuple[Array, Array]:
        optimum = optimise(stats, structure, reml=True, start=inside)
        at = optimum.at
        return at.b, conditional_moments(stats, at.b, optimum.Lambda * np.sqrt(at.s), at.s)[0]

    return collapsed_refit(design, everything, solve)


def bayes_refit(design: Design, sampler: CollapsedSampler, settings: Sampling, densities: Array | None = None) -> Refit:
    """Partial pooling by the posterior mean; the priors and coordinates stay those of all rows.

    Where there are sums in place of rows, ``densities`` (parts,) is filled with the log predictive densities of the
    parts that were held out.
    """
    model = sampler.model
    latest: list[tuple[Draws, CrossProducts]] = []

    def solve(stats: CrossProducts) -> tuple[Array, Array]:
        draws, _ = sampler.sample(settings, stats)
        latest[:] = [(draws, stats)]
        means = np.zeros((len(draws.s), model.stats.J, model.stats.q))
        # Standard normals of zero leave the conditional mean: no noise is added to the posterior mean.
        b, T = np.ascontiguousarray(draws.b), np.ascontiguousarray(draws.T)
        effects_from_normals(b, T, draws.s, stats.ZtZ, stats.ZtX, stats.Zty, means)
        return draws.b.mean(axis=0), means.mean(axis=0)

    refit = collapsed_refit(design, sampler.sufficient, solve, model.reference.precision)
    if densities is None:
        return refit

    def noted(held: Rows) -> Array:
        latest.clear()
        squares = refit(held)
        for draws, stats in latest:
            blocks = posterior_blocks(draws, stats, sampler.sufficient.basis, settings.seed)
            densities[held] = held_densities(design, blocks, held)
        return squares

    return noted

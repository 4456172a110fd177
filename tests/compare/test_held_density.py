"""Log predictive densities of held-out sums, against those of the rows under the same draws.

Tolerance 1e-9 relative to the sum: both add the same squares, one row by row, one from means and scatters.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from test_pooling_sums import DESIGNS, FOLDS, SEED, table

import poolwise as pw
from poolwise.compare import crossval
from poolwise.compare.held_density import AT_ONCE, elpd_of_parts, held_densities, part_densities, posterior_blocks
from poolwise.data.folds import fold_of_rows
from poolwise.fit.bayes import Sampling
from poolwise.spec.sufficient import sufficient

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")


def both(name: str):
    formula, options = DESIGNS[name]
    rows = table()
    data = pw.collapse(rows, formula, folds=FOLDS, seed=SEED, batch=130, **options)
    return pw.Model(formula, rows, **options).design, pw.Model(formula, data, **options)


def density_of_rows(design, common, effects, sigma):
    """Log density of each row, which counts as often as its frequency weight says, under each draw (S, n)."""
    factor = design.factors[0]
    mean = common @ design.X.T + design.offset + np.einsum("nq,snq->sn", factor.Z, effects[:, factor.codes])
    w = np.ones(design.n) if design.weights is None or design.frequency else design.weights
    times = design.weights if design.frequency else 1.0
    return times * norm.logpdf(design.y, mean, sigma[:, None] / np.sqrt(w))


@pytest.mark.parametrize("name", DESIGNS)
def test_densities_of_parts_are_those_of_their_rows(name):
    rows, model = both(name)
    design, rng = model.design, np.random.default_rng(5)
    data, factor = design.collapsed, rows.factors[0]
    common, effects = rng.normal(size=(7, rows.X.shape[1])), rng.normal(size=(7, factor.J, factor.Z.shape[1]))
    sigma = rng.uniform(0.3, 3, 7)
    expected = density_of_rows(rows, common, effects, sigma)
    if not rows.frequency and rows.weights is not None:
        expected = expected - 0.5 * np.log(rows.weights)
    fold = fold_of_rows(np.arange(rows.n), FOLDS, SEED)
    assert factor.labels == design.factors[0].labels
    for k in range(FOLDS):
        held = data.fold_of_part == k
        found = part_densities(design, common, effects, sigma, held)
        groups = crossval.group_codes(design, design.factors[0])[held]
        for at, group in enumerate(groups):
            own = (fold == k) & (factor.codes == group)
            np.testing.assert_allclose(found[:, at], expected[:, own].sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("name", ["weights", "frequencies", "factor"])
def test_elpd_of_folds_is_that_of_the_rows_under_the_same_draws(name):
    rows, model = both(name)
    design, settings = model.design, Sampling(draws=AT_ONCE + 10, tune=200, chains=1, seed=3, progress=False)
    data, sampler = design.collapsed, model.sampler
    densities, elpd = np.full(len(data.parts.rows), np.nan), 0.0
    refit = crossval.bayes_refit(design, sampler, settings, densities)
    fold, codes = fold_of_rows(np.arange(rows.n), FOLDS, SEED), rows.factors[0].codes
    for k in range(FOLDS):
        held = data.fold_of_part == k
        refit(held)
        stats = sampler.sufficient.stats - sufficient(design, held, sampler.sufficient.basis).stats
        draws, _ = sampler.sample(settings, stats)
        blocks = posterior_blocks(draws, stats, sampler.sufficient.basis, settings.seed)
        common, effects, sigma = (np.concatenate(part) for part in zip(*blocks, strict=True))
        np.testing.assert_allclose(common, draws.coefficients, rtol=1e-9, atol=1e-9)
        own = density_of_rows(rows, common, effects, sigma)
        for group in np.unique(codes[fold == k]):
            each = own[:, (fold == k) & (codes == group)].sum(axis=1)
            elpd += logsumexp(each) - np.log(len(each))
    assert elpd_of_parts(design, densities) == pytest.approx(elpd, rel=1e-9)


def test_a_group_without_training_rows_is_drawn_from_the_population():
    # One group held out whole: the density is that of its rows with effects integrated out, by many draws.
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(20), 6)
    rows = pd.DataFrame({"g": g, "y": rng.normal(size=20)[g] + rng.normal(size=120)})
    model = pw.Model("y ~ 1 + (1 | g)", pw.collapse(rows, "y ~ 1 + (1 | g)"))
    design, sampler = model.design, model.sampler
    settings = Sampling(draws=4000, tune=500, chains=2, seed=3, progress=False)
    held = np.arange(20) == 4
    stats = sampler.sufficient.stats - sufficient(design, held, sampler.sufficient.basis).stats
    draws, _ = sampler.sample(settings, stats)
    found = held_densities(design, posterior_blocks(draws, stats, sampler.sufficient.basis, 1), held)
    y = rows["y"].to_numpy()[g == 4]
    tau, sigma, mu = draws.group_factor[:, 0, 0], draws.sigma, draws.coefficients[:, 0]
    # Multivariate normal of equal correlation, by its two eigenvalues.
    n, mean = len(y), y.mean()
    within, between = sigma**2, sigma**2 + n * tau**2
    log = -0.5 * (n * np.log(2 * np.pi) + (n - 1) * np.log(within) + np.log(between))
    log -= 0.5 * (((y - mean) ** 2).sum() / within + n * (mean - mu) ** 2 / between)
    # 8,000 draws of an effect: the Monte Carlo error of the log is about 0.02.
    assert found[0] == pytest.approx(logsumexp(log) - np.log(len(log)), abs=0.1)

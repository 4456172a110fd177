"""Reweighted conclusions are those of a fit of its own; densities of draws are the kernel's."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

import poolwise as pw
from poolwise.algebra.dense import log_marginal as dense
from poolwise.algebra.marginal import log_marginal
from poolwise.compare.priors import _quantities, weighted_quantiles
from poolwise.compile.collapsed import log_posterior
from poolwise.result.log_prior import log_prior

FORMULA = "bounce_time ~ std_age + (std_age | county)"
PRESETS = ["brms", "gelman_half_t", "pc", "few_groups", "rstanarm", "article_2020_lmm"]
MCSE_LIMIT = 4.0


@pytest.fixture(scope="module")
def model():
    return pw.Model(FORMULA, pw.load_dataset("bounce_rates"))


@pytest.fixture(scope="module")
def compared(model):
    return pw.compare_priors(model, PRESETS, draws=2000)


def test_every_reweighted_row_agrees_with_its_own_refit(model, compared):
    reweighted = [name for name in PRESETS if compared.methods.loc[name, "method"] == "reweighted"]
    assert len(reweighted) >= 3
    for name in reweighted:
        ess = float(compared.methods.loc[name, "ess"])
        fit = model.with_priors(name).fit(draws=4000, seed=9, progress=False, target_accept=0.98)
        own = compared.table[compared.table["preset"] == name].set_index("quantity")
        for quantity, draws in _quantities(fit).items():
            if quantity.startswith("pooling"):
                continue
            chains = draws.reshape(4, -1)
            effective = float(array_stats.ess(chains, chain_axis=0, draw_axis=1))
            # Draws of the base fit are as good as independent; weights leave ess of them.
            mcse = draws.std() * np.sqrt(1 / effective + 1 / min(ess, 4000))
            assert abs(own.loc[quantity, "estimate"] - draws.mean()) < MCSE_LIMIT * mcse, (name, quantity)


OTHERS = {
    "several factors": (("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"), ["brms", "pc", "rstanarm"]),
    "another family": (("p(incidence, size) ~ period + (1 | herd)", "cbpp", "binomial"), ["brms", "pc"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_reweighted_too(name):
    """Several grouping factors, sampled by importance, and a family whose effects NUTS samples."""
    (formula, data, *family), presets = OTHERS[name]
    model = pw.Model(formula, pw.load_dataset(data), *family)
    compared = pw.compare_priors(model, presets, draws=1500)
    assert list(compared.methods["method"]) == ["fitted", *["reweighted"] * len(presets)]
    for preset in presets:
        own = compared.table[compared.table["preset"] == preset].set_index("quantity")
        fit = model.with_priors(preset).fit(draws=1500, seed=9, progress=False)
        there = _quantities(fit)
        assert list(own.index) == list(there)
        for quantity, draws in there.items():
            if quantity.startswith("pooling"):
                # Of 500 draws, whose Monte Carlo error is below 0.02 each.
                assert own.loc[quantity, "estimate"] == pytest.approx(np.nanmean(draws), abs=0.06)
                continue
            chains = draws.reshape(4, -1)
            effective = float(array_stats.ess(chains, chain_axis=0, draw_axis=1))
            # The base fit's draws have about this effective size too; weights leave that share of it.
            kept = effective * float(compared.methods.loc[preset, "ess"]) / len(draws)
            mcse = draws.std() * np.sqrt(1 / effective + 1 / kept)
            assert abs(own.loc[quantity, "estimate"] - draws.mean()) < MCSE_LIMIT * mcse, (preset, quantity)


@pytest.mark.filterwarnings("ignore::poolwise.errors.ConvergenceWarning")  # a prior at odds with the data diverges
def test_what_cannot_be_reweighted_is_refitted(model):
    """Slopes known to three digits have no draws in common with the default's; the other prior has latents."""
    exact = pw.load_preset("weakly_informative").override({"std_age": pw.Prior("Normal", mu=30, sigma=0.001)})
    methods = pw.compare_priors(model, [exact, "r2d2m2"]).methods
    assert list(methods["method"]) == ["fitted", "refitted", "refitted"]
    assert methods["pareto_k"].iloc[1] > 0.7 and np.isnan(methods["pareto_k"].iloc[2])


def test_the_shift_is_shown(compared):
    assert compared.methods["method"].iloc[0] == "fitted"
    shift = compared.table.set_index(["preset", "quantity"])["shift"]
    assert shift["article_2020_lmm", "std_age"] > 0.5
    assert abs(shift["gelman_half_t", "std_age"]) < 0.1
    assert list(compared.wide().columns) == ["weakly_informative", *PRESETS]
    assert "reweighted" in repr(compared) and "<table" in compared._repr_html_()


@pytest.mark.filterwarnings("ignore::poolwise.errors.ConvergenceWarning")  # 20 draws give a tree of the right shape
@pytest.mark.parametrize("preset", ["gelman_half_t", "pc", "boundary_avoiding", "few_groups"])
def test_the_ratio_of_densities_is_that_of_the_kernel(model, preset):
    """These presets have the default's coefficient priors, so the sampler's coordinates mean the same parameters."""
    other = model.with_priors(preset)
    fit = model.fit(draws=20, chains=2, seed=1, progress=False, tune=200)
    one, two = model.sampler, other.sampler
    x = np.random.default_rng(2).normal(0, 0.5, (40, one.model.size))
    kernel = [
        [log_posterior(point, sampler.pack(sampler.model), np.zeros(len(point))) for point in x]
        for sampler in (one, two)
    ]
    from poolwise.result.bayes import BayesFit
    from poolwise.result.posterior import collapsed_tree

    draws = one.model.constrain(x)
    stats = fit.data["sample_stats"].to_dataset()
    tree = collapsed_tree(fit.design, draws, one.effects(draws, fit.settings), stats, fit.settings)
    at = BayesFit(fit.design, tree, fit.resolved_priors, fit.settings, "")
    densities = []
    for each in (model, other):
        parts, volume = log_prior(at, each.specification.resolved)
        densities.append(np.sum([*parts.values(), volume], axis=0))
    difference = np.subtract(*densities) - np.subtract(*kernel)
    np.testing.assert_allclose(difference, difference[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore::poolwise.errors.ConvergenceWarning")  # 50 draws give a table of the right shape
def test_a_family_without_a_laplace_approximation_has_no_pooling_factor():
    rng = np.random.default_rng(0)
    data = {"y": rng.standard_t(4, 40), "x": rng.normal(size=40), "g": list("abcde") * 8}
    compared = pw.compare_priors(pw.Model("y ~ x + (1 | g)", data, "t"), ["pc"], draws=50, tune=100)
    assert list(compared.wide().index) == ["Intercept", "x", "1|g_sigma", "sigma", "nu"]


def test_the_marginal_likelihood_is_that_of_the_dense_formula(model):
    stats = model.sufficient.stats
    rng = np.random.default_rng(3)
    b, T, s = rng.normal(size=(3, stats.p)), np.tril(rng.normal(size=(3, 2, 2))), rng.uniform(0.2, 2, 3)
    X, Z, y = model.sufficient.basis.rows(model.design.X, model.design.factors[0].Z, model.design.y)
    codes = model.design.factors[0].codes
    expected = [dense(X, Z, y, codes, b[d], T[d], s[d]) for d in range(3)]
    np.testing.assert_allclose(log_marginal(stats, b, T, s), expected, rtol=1e-9)


def test_weighted_quantiles():
    values, weights = np.arange(1000.0), np.full(1000, 1e-3)
    assert weighted_quantiles(values, weights, [0.5])[0] == pytest.approx(499.5)
    doubled = np.repeat([1e-3 / 1.5, 2e-3 / 1.5], 500)
    assert weighted_quantiles(values, doubled, [0.5])[0] == pytest.approx(625, abs=1)


def test_sensitivity_names_the_prior_that_decides(model):
    conflicted = model.with_priors("article_2020_lmm").fit(seed=1, progress=False).sensitivity()
    calm = model.fit(seed=1, progress=False).sensitivity()
    assert conflicted.loc["std_age", "diagnosis"] == "potential prior-data conflict"
    assert conflicted.loc["std_age", "common_effects"] > 0.1
    assert (calm.loc[["std_age", "Intercept", "sigma"], "diagnosis"] == "\N{CHECK MARK}").all()
    assert "pooling factor of std_age|county" in calm.index


def test_presets_must_be_a_list(model):
    with pytest.raises(pw.PoolwiseError, match="must be a list of presets"):
        pw.compare_priors(model, "brms")

"""The posterior agrees with brms under the same priors, for every parameter and every group-specific effect."""

import os
import signal
import threading

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

import poolwise as pw
from conftest import REFERENCE, reference
from poolwise import names

# Standard errors of the difference that are allowed. 40 numbers a model: 4 happens by chance once in 400 models.
MCSE_LIMIT = 4.0
LMM, FOUNDATIONS = "article_2020_lmm", "article_2020_foundations"

MODELS = {
    "bounce__slope": ("bounce_rates", "bounce_time ~ std_age + (1 + std_age | county)", LMM),
    "bounce__slope_foundations": ("bounce_rates", "bounce_time ~ std_age + (1 + std_age | county)", FOUNDATIONS),
    "bounce__rint": ("bounce_rates", "bounce_time ~ std_age + (1 | county)", LMM),
    "bounce__complete": ("bounce_rates", "bounce_time ~ std_age", LMM),
    "sleepstudy__slope": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", "brms"),
    "Dyestuff2__rint": ("dyestuff2", "Yield ~ 1 + (1 | Batch)", "brms"),
    "cbpp__rint": ("cbpp", "p(incidence, size) ~ period + (1 | herd)", "brms", "binomial"),
    "grouseticks__three": (
        "grouseticks",
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "brms",
        "poisson",
    ),
    "radon__slope": ("radon", "log_radon ~ floor + log_uranium + (1 + floor | county)", "brms"),
}


def table(data: str) -> pd.DataFrame:
    """A bundled table, or one that stands beside its reference."""
    if data != "grouseticks":
        return pw.load_dataset(data)
    factors = dict.fromkeys(["INDEX", "BROOD", "LOCATION", "YEAR"], str)
    return pd.read_csv(REFERENCE / "grouseticks.csv", dtype=factors)


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    data, formula, priors, *family = MODELS[request.param]
    model = pw.Model(formula, table(data), *family or ["gaussian"], priors)
    return model.fit(draws=5000, seed=7, progress=False), reference(f"{request.param}.brms")


def our_draws(fit, name: str) -> np.ndarray:
    """Draws (chain, draw) of a parameter under its brms name."""
    posterior = fit.data["posterior"]
    if name == "sigma":
        return posterior["sigma"].to_numpy()
    kind, _, rest = name.partition("_")
    if kind == "b" and rest not in posterior:
        # A level of a factor, written without brackets.
        term = next(str(term) for term in posterior if rest.startswith(str(term)))
        return posterior[term].sel({names.term_dim(term): rest.removeprefix(term)}).to_numpy()
    if kind == "b":
        return posterior[rest].to_numpy()
    factor, *effects = rest.split("__")
    if kind == "sd":
        return posterior[names.group_sd(effects[0], factor)].to_numpy()
    first, second = names.correlation_dims(factor)
    return posterior[names.correlation(factor)].sel({first: effects[0], second: effects[1]}).to_numpy()


def quantile_mcse(draws: np.ndarray, probability: float) -> float:
    return float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="quantile", prob=probability))


def test_parameters(pair):
    fit, brms = pair
    assert fit.converged
    for name, theirs in brms["params"].items():
        draws = our_draws(fit, name)
        ess = array_stats.ess(draws, chain_axis=0, draw_axis=1)
        mcse = np.hypot(theirs["mcse_mean"], draws.std() / np.sqrt(ess))
        assert abs(draws.mean() - theirs["mean"]) < MCSE_LIMIT * mcse, name
        ours = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="sd"))
        assert abs(draws.std() - theirs["sd"]) < MCSE_LIMIT * np.hypot(theirs["mcse_sd"], ours), name
        for label, probability in (("q5", 0.05), ("q95", 0.95)):
            ours = quantile_mcse(draws, probability)
            # brms states no error of its quantiles; with fewer effective draws it is ours times the root of the ratio.
            theirs_mcse = ours * np.sqrt(ess / theirs["ess_tail"])
            difference = abs(np.quantile(draws, probability) - theirs[label])
            assert difference < MCSE_LIMIT * np.hypot(ours, theirs_mcse), (name, label)


def test_group_specific_effects(pair):
    fit, brms = pair
    for factor in fit.design.factors:
        effects = fit.effects(factor)
        ess = brms["settings"]["chains"] * brms["settings"]["post_warmup"] / 4
        for name, mean, sd in zip(*(brms["group_effects"][key] for key in ("name", "mean", "sd")), strict=True):
            if not name.startswith(f"r_{factor.name}["):
                continue
            group, effect = name.split("[")[1].rstrip("]").rsplit(",", 1)
            draws = effects[:, factor.labels.index(group.replace(".", " ")), factor.effects.index(effect)]
            ours = array_stats.ess(draws.reshape(fit.settings.chains, -1), chain_axis=0, draw_axis=1)
            # brms's draws of an effect are autocorrelated; a quarter of them is taken as effective.
            mcse = np.hypot(sd / np.sqrt(ess), draws.std() / np.sqrt(ours))
            assert abs(draws.mean() - mean) < MCSE_LIMIT * mcse, name


def test_coefficients_by_group(bounce):
    fit = pw.Model(MODELS["bounce__slope"][1], bounce, priors=LMM).fit(draws=5000, seed=3, progress=False)
    coef = fit.coef().set_index(["group", "term"])
    theirs = reference("bounce__slope.brms")["group_coef"]["county"]
    for term, column in theirs.items():
        for k, county in enumerate(column["level"]):
            ours = coef.loc[(county, term)]
            tolerance = MCSE_LIMIT * column["sd"][k] / np.sqrt(3000)
            assert ours["estimate"] == pytest.approx(column["mean"][k], abs=tolerance)
            # A 2.5 % quantile's standard error is about three times that of the mean.
            assert ours["lower"] == pytest.approx(column["q2.5"][k], abs=3 * tolerance)
            assert ours["upper"] == pytest.approx(column["q97.5"][k], abs=3 * tolerance)


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_the_same_seed_gives_the_same_draws(bounce):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    one, two = (model.fit(draws=200, tune=300, seed=5, progress=False) for _ in range(2))
    assert one.data["posterior"].to_dataset().identical(two.data["posterior"].to_dataset())
    other = model.fit(draws=200, tune=300, seed=6, progress=False)
    assert not one.data["posterior"].to_dataset().equals(other.data["posterior"].to_dataset())


def test_loo_agrees_with_brms(bounce):
    fit = pw.Model(MODELS["bounce__slope"][1], bounce, priors=LMM).fit(seed=2, progress=False)
    theirs = reference("bounce__slope.brms")["loo"]
    # Monte Carlo error of elpd_loo at 4,000 draws is about 0.1 for each fit.
    assert fit.loo().elpd == pytest.approx(theirs["elpd_loo"], abs=0.6)


def test_a_short_run_says_that_it_has_not_converged(bounce):
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    with pytest.warns(pw.ConvergenceWarning) as caught:
        fit = model.fit(draws=20, tune=20, chains=2, seed=1, progress=False)
    assert any("effective sample size" in str(warning.message) for warning in caught)
    assert not fit.converged
    assert "!" in repr(fit)


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_an_interrupted_run_returns_what_there_is_and_says_so(bounce):
    # A shell's background job is born with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", bounce)
    # Compiled before: an interrupt of the compiler would be another story.
    model.fit(seed=1, cores=2, progress=False)
    threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.warns(pw.PartialRunWarning, match=r"interrupted: \d of 4 chains with \d+ of 5000000 draws"):
        fit = model.fit(draws=5_000_000, tune=200, seed=1, cores=2, progress=False)
    signal.signal(signal.SIGINT, before)
    assert 4 <= fit.settings.draws < 5_000_000
    assert fit.data["posterior"].sizes["draw"] == fit.settings.draws
    assert len(fit.coef()) == 16

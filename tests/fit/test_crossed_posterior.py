"""The collapsed posterior of several factors: brms, the whitened form, the dense density, and what it refuses.

Draws of two samplers are compared by their means: each may be off by its Monte Carlo standard error, and 4 of the
difference's are allowed, which in the 60 comparisons below one in 250 runs would exceed; seeds are fixed.
"""

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy.stats import multivariate_normal

import poolwise as pw
from conftest import reference
from poolwise import names
from poolwise.algebra.theta import correlation_factor
from poolwise.fit import crossed
from poolwise.fit.bayes import Sampling
from poolwise.fit.crossed import CrossedSampler, is_affordable
from poolwise.spec.crossed import crossed_sufficient

MCSE_LIMIT = 4.0
PENICILLIN, PASTES = "diameter ~ 1 + (1 | plate) + (1 | sample)", "strength ~ 1 + (1 | batch/cask)"


def mean_and_error(draws):
    """Mean and its Monte Carlo standard error, of (chain, draw)."""
    return draws.mean(), draws.std() / np.sqrt(array_stats.ess(draws, chain_axis=0, draw_axis=1))


def agree(one, two, effects=3):
    """Both fits have the same means of all parameters, and of the first effects of each variable."""
    for name in one.posterior.data_vars:
        a, b = (fit.posterior[name].to_numpy().reshape(4, fit.settings.draws, -1) for fit in (one, two))
        for k in range(min(a.shape[2], effects)):
            if np.ptp(a[:, :, k]) < 1e-9:
                continue
            mean, error = mean_and_error(a[:, :, k])
            other, other_error = mean_and_error(b[:, :, k])
            assert abs(mean - other) < MCSE_LIMIT * np.hypot(error, other_error), (name, k)


@pytest.fixture(scope="module")
def slopes():
    """Two crossed factors, correlated slopes of a predictor far from zero."""
    rng = np.random.default_rng(3)
    n = 240
    g, h, x = rng.integers(0, 12, n), rng.integers(0, 7, n), rng.normal(size=n)
    u, v = rng.normal(size=(12, 2)), rng.normal(size=7)
    y = 1 + x + u[g, 0] + 0.7 * u[g, 1] * x + 0.5 * v[h] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x + 3, "g": g.astype(str), "h": h.astype(str)})


@pytest.mark.parametrize(
    ("formula", "data", "file"),
    [(PENICILLIN, "penicillin", "Penicillin__crossed.brms"), (PASTES, "pastes", "Pastes__nested.brms")],
)
def test_brms_has_the_same_posterior(formula, data, file):
    model = pw.Model(formula, pw.load_dataset(data), priors="brms")
    fit = model.fit(draws=2000, seed=2, form="collapsed", progress=False)
    brms = reference(file)["params"]
    ours = {"b_Intercept": "Intercept", "sigma": "sigma"}
    ours |= {f"sd_{f.name}__Intercept": names.group_sd("Intercept", f.name) for f in model.design.factors}
    for theirs, name in ours.items():
        mean, error = mean_and_error(fit.posterior[name].to_numpy())
        assert abs(mean - brms[theirs]["mean"]) < MCSE_LIMIT * np.hypot(error, brms[theirs]["mcse_mean"]), theirs


@pytest.mark.parametrize(("formula", "data"), [(PENICILLIN, "penicillin"), (PASTES, "pastes")])
def test_the_whitened_form_has_the_same_posterior(formula, data):
    model = pw.Model(formula, pw.load_dataset(data))
    agree(*(model.fit(draws=1000, seed=4, form=form, progress=False) for form in ("collapsed", "whitened")))


@pytest.mark.parametrize("priors", ["weakly_informative", "brms"])
def test_group_intercepts_at_the_mean_or_at_zero(slopes, priors):
    model = pw.Model("y ~ x + (x | g) + (1 | h)", slopes, priors=priors)
    assert model.specification.centred == (priors != "brms")
    agree(*(model.fit(draws=1000, seed=5, form=form, progress=False) for form in ("collapsed", "whitened")))


# Of 780 effects a few have an R-hat above 1.01 by chance in so short a run; the comparison counts effective draws.
@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
@pytest.mark.slow
def test_a_part_of_insteval_agrees_with_the_whitened_form():
    data = pw.load_dataset("insteval")
    part = data[data["s"].isin(data["s"].unique()[:80])]
    model = pw.Model("y ~ service + (1 | s) + (1 | d) + (1 | dept:service)", part)
    agree(*(model.fit(draws=500, seed=1, form=form, progress=False) for form in ("collapsed", "whitened")))


@pytest.mark.parametrize("centred", [True, False])
def test_the_density_is_the_dense_one(slopes, centred):
    """Over sds, a correlation and sigma, normal priors throughout, up to a constant: differences between points."""
    priors = {"Intercept": pw.Prior("Normal", mu=1, sigma=3), "x": pw.Prior("Normal", mu=0, sigma=2)}
    priors |= {"sigma": pw.Prior("HalfNormal", sigma=2)}
    model = pw.Model("y ~ x + (x | g) + (1 | h)", slopes, priors=priors)
    design = model.design
    sampler = CrossedSampler(design, crossed_sufficient(design, centred=centred), model.specification.priors)
    posterior, rng = sampler.model, np.random.default_rng(6)
    x_mean = slopes["x"].mean()
    X = design.X - np.array([0.0, x_mean])
    codes = [factor.codes for factor in design.factors]
    Z = design.factors[0].Z - np.array([0.0, x_mean * centred])
    G, H = np.eye(12)[codes[0]], np.eye(7)[codes[1]]
    sd_priors = [model.specification.priors[name] for factor in design.factors for name in factor.sd_names]
    eta = model.specification.priors[names.correlation("g")].params["eta"]

    def dense(at):
        sd, sigma = posterior.sd * np.exp(at[:3]), posterior.sigma * np.exp(at[4])
        rho = np.tanh(at[3])
        L = correlation_factor(np.array([rho]), 2) * sd[:2, None]
        full = (G[:, :, None] * Z[:, None, :]).reshape(len(X), -1)
        V = full @ np.kron(np.eye(12), L @ L.T) @ full.T + sd[2] ** 2 * H @ H.T
        V += sigma**2 * np.eye(len(X)) + X @ np.diag([9.0, 4.0]) @ X.T
        value = multivariate_normal.logpdf(design.y, X @ np.array([1.0, 0.0]), V)
        for prior, number in zip([*sd_priors, priors["sigma"]], [*sd, sigma], strict=True):
            value += _log_density(prior, number) + np.log(number)
        # LKJ(eta) of a correlation, and the derivative of tanh.
        return value + eta * np.log1p(-(rho**2))

    points = rng.normal(size=(4, 5)) * 0.5
    ours = np.array([posterior.log_density(at)[0] for at in points])
    expected = np.array([dense(at) for at in points])
    # The dense density has ten digits of numbers near 500.
    np.testing.assert_allclose(ours - ours[0], expected - expected[0], atol=1e-6)
    value, gradient = posterior.with_gradient(points[0])
    assert value == pytest.approx(ours[0])
    for k in range(5):
        away = np.eye(5)[k] * 1e-5
        difference = posterior.log_density(points[0] + away)[0] - posterior.log_density(points[0] - away)[0]
        assert gradient[k] == pytest.approx(difference / 2e-5, abs=1e-4)


def _log_density(prior, number):
    from poolwise.priors.density import prior_code, prior_logpdf

    kind, *rest = prior_code(prior.distribution, prior.params)
    return prior_logpdf(int(kind), *rest, number)[0]


def _pastes(intercept, form="collapsed", draws=1000):
    model = pw.Model(PASTES, pw.load_dataset("pastes"), priors={"Intercept": intercept})
    return model.fit(draws=draws, seed=7, form=form, progress=False)


def test_a_prior_that_is_not_normal_is_exact():
    """It pulls the intercept by more than a posterior sd; a stand-in left uncorrected would show."""
    laplace = pw.Prior("Laplace", mu=58, b=0.5)
    agree(_pastes(laplace), _pastes(laplace, "whitened"))


def test_a_bounded_prior_truncates():
    """Under a uniform prior the posterior is that under a flat one, given that the intercept is within the bounds."""
    uniform, flat = _pastes(pw.Prior("Uniform", lower=59, upper=60.5)), _pastes(pw.Prior("Flat"), draws=2000)
    within = (flat.posterior["Intercept"] > 59) & (flat.posterior["Intercept"] < 60.5)
    assert uniform.posterior["Intercept"].min() > 59 and uniform.posterior["Intercept"].max() < 60.5
    for name in ("Intercept", "sigma", "1|batch_sigma", "1|batch:cask_sigma"):
        expected = flat.posterior[name].to_numpy()[within.to_numpy()]
        mean, error = mean_and_error(uniform.posterior[name].to_numpy())
        assert abs(mean - expected.mean()) < MCSE_LIMIT * np.hypot(error, expected.std() / np.sqrt(len(expected))), name


def test_the_fit_says_how_it_went(tmp_path):
    model = pw.Model(PENICILLIN, pw.load_dataset("penicillin"))
    with pytest.warns(pw.ConvergenceWarning, match="effective sample size is 200, below 400"):
        fit = model.fit(draws=50, seed=1, form="collapsed", progress=False, cores=1)
    assert "independent draws" in fit.form and "Pareto k" in fit.form and not fit.converged
    longer = model.fit(draws=150, seed=1, form="collapsed", progress=False)
    assert longer.converged, longer.convergence
    stats = longer.data["sample_stats"]
    assert not stats["diverging"].any() and stats["proposal"].shape == (4, 150)
    effective = 600**2 / (np.unique(stats["proposal"], return_counts=True)[1] ** 2).sum()
    assert longer.convergence.ess == pytest.approx(effective) and effective > 570
    again = pw.load_fit(longer.save(tmp_path / "fit.nc"))
    assert again.convergence.pareto_k == longer.convergence.pareto_k < 0.7
    assert str(again.convergence) == str(longer.convergence)


def test_threads_change_nothing():
    sampler = _sampler(PENICILLIN, "penicillin")
    one, two = (sampler.sample(Sampling(50, 0, 4, 3, cores, progress=False))[0] for cores in (1, 2))
    np.testing.assert_array_equal(one.parameters.sigma, two.parameters.sigma)
    for a, b in zip(one.effects, two.effects, strict=True):
        np.testing.assert_array_equal(a, b)


def _sampler(formula, data):
    model = pw.Model(formula, pw.load_dataset(data))
    return CrossedSampler(model.design, crossed_sufficient(model.design), model.specification.priors)


def test_weights_not_to_be_trusted_are_refused(monkeypatch):
    monkeypatch.setattr(crossed, "K_LIMIT", -10.0)
    model = pw.Model(PENICILLIN, pw.load_dataset("penicillin"))
    with pytest.warns(pw.OtherFormWarning, match="importance, which this posterior does not allow: Pareto k"):
        fit = model.fit(draws=500, tune=500, seed=1, form="collapsed", progress=False)
    assert fit.form.startswith("whitened form") and "the collapsed form refused: Pareto k" in fit.form


def test_auto_takes_the_collapsed_form_unless_a_draw_is_dear(monkeypatch):
    model = pw.Model(PASTES, pw.load_dataset("pastes"))
    fit, again = (model.fit(draws=100, seed=1, progress=False) for _ in range(2))
    assert fit.form.startswith("collapsed form, independent draws")
    for name, draws in fit.posterior.items():
        np.testing.assert_array_equal(draws, again.posterior[name], err_msg=str(name))
    assert is_affordable(model.design)
    # The smaller factor, batch, has ten effects.
    monkeypatch.setattr(crossed, "MOST_COLUMNS", 9)
    assert not is_affordable(model.design)
    assert model.fit(seed=1, progress=False).form.startswith("whitened form")


def test_precision_weights_of_several_factors_are_served(slopes):
    weighted = slopes.assign(w=np.where(slopes["x"] > 3, 1.0, 4.0))
    fit = pw.Model("y ~ 1 + (1 | g) + (1 | h)", weighted, weights="w").fit(draws=200, seed=1, progress=False)
    assert fit.form.startswith("collapsed form, independent draws")


def test_a_joint_prior_is_refused_by_name():
    model = pw.Model(PENICILLIN, pw.load_dataset("penicillin"), priors="r2d2m2")
    with pytest.raises(pw.PoolwiseError, match="a joint prior ties its variances together"):
        model.fit(form="collapsed", progress=False)


FIXED = {"Intercept": pw.Prior("Normal", mu=0, sigma=5), "sigma": pw.Prior("HalfNormal", sigma=2)}
FIXED |= {f"1|{name}_sigma": pw.Prior("HalfNormal", sigma=2) for name in "gh"}


def _draws(model):
    drawn = model.fit(draws=150, seed=5, form="collapsed", progress=False).posterior
    return {str(name): values.to_numpy() for name, values in drawn.items()}


def test_an_offset_is_taken_from_the_response(slopes):
    """The default priors look at the response as it is, so they are fixed here; the arithmetic differs by rounding."""
    moved = slopes.assign(o=np.sin(slopes["x"]), y=slopes["y"] + np.sin(slopes["x"]))
    with_offset = _draws(pw.Model("y ~ 1 + (1 | g) + (1 | h) + offset(o)", moved, priors=FIXED))
    for name, plain in _draws(pw.Model("y ~ 1 + (1 | g) + (1 | h)", slopes, priors=FIXED)).items():
        np.testing.assert_allclose(with_offset[name], plain, rtol=1e-5, atol=1e-5, err_msg=name)


def test_frequency_weights_are_repeated_rows(slopes):
    times = 1 + np.arange(len(slopes)) % 3
    weighted = pw.Model("weighted(y, w) ~ 1 + (1 | g) + (1 | h)", slopes.assign(w=times), priors=FIXED)
    repeated = _draws(pw.Model("y ~ 1 + (1 | g) + (1 | h)", slopes.loc[slopes.index.repeat(times)], priors=FIXED))
    for name, draws in _draws(weighted).items():
        np.testing.assert_allclose(draws, repeated[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_results_serve_what_results_of_nuts_do():
    model = pw.Model(PASTES, pw.load_dataset("pastes"))
    fit = model.fit(draws=300, seed=1, progress=False)
    assert list(fit.summary().index) == ["Intercept", "sigma", "1|batch_sigma", "1|batch:cask_sigma"]
    assert len(fit.coef()) == 10 and len(fit.predict()) == 60
    # lme4's REML residual sd is 0.823; fitted values are closer than that by the effects they spend.
    assert 0.4 < fit.rmse() < 0.823
    assert np.isfinite(fit.add_log_likelihood().data["log_likelihood"]["strength"]).all()
    table = pw.compare_priors(model, ["brms"], draws=200, progress=False).table
    assert set(table["preset"]) == {"weakly_informative", "brms"}

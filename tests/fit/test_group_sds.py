"""Group sds that follow what describes the group, ``gr(g, sd=~ z)``: density, limits, calibration, errors.

Tolerances: log densities of the same formula in the same precision differ by rounding only, 1e-8 of a number of a few
hundred. Ranks of a calibrated posterior are uniform, so that their chi-square statistic in five bins exceeds 23.5 once
in 10,000; the mean squared z-score of 30 ranks is near 1.
"""

import warnings

import numpy as np
import nutpie
import pandas as pd
import pytensor
import pytest
from scipy import stats

import poolwise as pw

TOLERANCE = 1e-8
CHI_SQUARE = 23.5
FORMULA = "y ~ x + (1 | gr(hospital, sd=~ log_n))"
PRIORS = {
    "Intercept": pw.Prior("Normal", mu=0, sigma=1),
    "x": pw.Prior("Normal", mu=0, sigma=1),
    "1|hospital_sigma": pw.Prior("HalfNormal", sigma=1),
    "1|hospital_logsd_log_n": pw.Prior("Normal", mu=0, sigma=0.5),
    "sigma": pw.Prior("HalfNormal", sigma=1),
}


def hospitals(J: int = 20, seed: int = 1) -> pd.DataFrame:
    """Rows of hospitals whose sizes spread as those of :func:`poolwise.hospital_mortality` do, at a fifth of them."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(np.exp(rng.normal(1.6, 1.0, J)), 2, 40).astype(int)
    codes = np.repeat(np.arange(J), sizes)
    x = rng.normal(size=len(codes))
    y = 0.3 * x + rng.normal(size=J)[codes] + rng.normal(size=len(codes))
    return pd.DataFrame({"y": y, "x": x, "hospital": codes, "log_n": np.log(sizes)[codes]})


def test_the_density_is_the_textbooks():
    data = hospitals()
    model = pw.Model("y ~ x + (1 + x | gr(hospital, sd=~ log_n))", data, priors="brms").with_priors(
        {
            "Intercept": PRIORS["Intercept"],
            "x": PRIORS["x"],
            "sigma": PRIORS["sigma"],
            "1|hospital_sigma": PRIORS["1|hospital_sigma"],
            "x|hospital_sigma": PRIORS["1|hospital_sigma"],
            "1|hospital_logsd_log_n": PRIORS["1|hospital_logsd_log_n"],
            "x|hospital_logsd_log_n": PRIORS["1|hospital_logsd_log_n"],
            "corr|hospital": pw.Prior("LKJ", eta=2),
        }
    )
    from poolwise.compile.generative import generative_model

    # Intercepts at predictors of zero: the textbook's.
    priors = model.specification.priors
    compiled = generative_model(model.design, priors, centred=False)
    J = model.design.factors[0].J
    rng = np.random.default_rng(2)
    density = compiled.compile_logp(jacobian=False)
    z, r, b, sd, gamma, sigma = rng.normal(size=(J, 2)), -0.4, [0.2, 0.7], [0.8, 0.3], [-0.6, 0.4], 0.9
    point = {
        "Intercept_centred": b[0] + b[1] * data["x"].mean(),
        "x": b[1],
        "1|hospital_sigma_log__": np.log(sd[0]),
        "x|hospital_sigma_log__": np.log(sd[1]),
        "1|hospital_logsd_log_n": gamma[0],
        "x|hospital_logsd_log_n": gamma[1],
        "corr|hospital_partial_logodds__": np.log([(1 + r) / (1 - r)]),
        "hospital__z": z,
        "sigma_log__": np.log(sigma),
    }
    start = compiled.initial_point()
    assert set(point) == set(start)
    found = float(
        density({name: np.asarray(value, dtype=float).reshape(start[name].shape) for name, value in point.items()})
    )
    w = data.groupby("hospital")["log_n"].first().to_numpy()
    w = w - w.mean()
    codes, x = data["hospital"].to_numpy(), data["x"].to_numpy()
    effects = np.empty((J, 2))
    for j in range(J):
        own = np.diag(np.array(sd) * np.exp(np.array(gamma) * w[j]))
        effects[j] = own @ np.linalg.cholesky([[1, r], [r, 1]]) @ z[j]
    mean = b[0] + b[1] * x + effects[codes, 0] + effects[codes, 1] * x
    expected = stats.norm.logpdf(data["y"], mean, sigma).sum() + stats.norm.logpdf(z).sum()
    expected += stats.norm.logpdf([point["Intercept_centred"], b[1]]).sum() + stats.norm.logpdf(gamma, 0, 0.5).sum()
    expected += stats.halfnorm.logpdf([*sd, sigma]).sum() + stats.beta.logpdf((1 + r) / 2, 2, 2)
    assert abs(found - expected) < TOLERANCE * abs(expected)


def test_coefficients_of_zero_give_the_plain_model():
    data = hospitals()
    plain = pw.Model("y ~ x + (1 | hospital)", data).pymc
    rich = pw.Model(FORMULA, data).pymc
    rng = np.random.default_rng(3)
    point = {name: rng.normal(size=value.shape) for name, value in plain.initial_point().items()}
    gamma = pw.Model(FORMULA, data).specification.priors["1|hospital_logsd_log_n"]
    both = {**point, "1|hospital_logsd_log_n": np.array(0.0)}
    extra = stats.norm.logpdf(0, 0, gamma.params["sigma"])
    expected = plain.compile_logp()(point)
    assert abs(rich.compile_logp()(both) - extra - expected) < TOLERANCE * abs(expected)


def test_the_default_prior_follows_the_covariate():
    data = hospitals()
    table = pw.Model(FORMULA, data).priors.set_index("parameter")
    sd = data.groupby("hospital")["log_n"].first().std()
    assert table.loc["1|hospital_logsd_log_n", "distribution"] == str(pw.Prior("Normal", mu=0.0, sigma=0.5 / sd))
    assert table.loc["1|hospital_logsd_log_n", "source"] == "default of gr(sd=)"
    hundred = pw.Model(FORMULA, data.assign(log_n=100 * data["log_n"])).specification.priors
    assert hundred["1|hospital_logsd_log_n"].params["sigma"] == pytest.approx(0.005 / sd, rel=1e-12)


@pytest.fixture(scope="module")
def fit():
    model = pw.Model(FORMULA, hospitals(), priors=PRIORS)
    with pytest.warns(pw.ConvergenceWarning):
        # Short: what is checked holds draw by draw.
        return model.fit(draws=100, tune=200, chains=2, seed=1, progress=False)


def test_the_form_is_named_and_its_parameters(fit):
    assert fit.form == (
        "generative form, effects sampled by NUTS (hospital non-centred), as the group sds follow covariates, "
        "gr(..., sd=~ ...)"
    )
    assert "1|hospital_logsd_log_n" in fit.summary().index
    assert "1|hospital_logsd_log_n" in fit.credible_intervals()["parameter"].tolist()


def test_a_new_group_has_the_sd_of_its_covariates(fit):
    new = pd.DataFrame({"x": [0.0, 0.0], "hospital": ["new", "other"], "log_n": [0.5, 3.0]})
    drawn = fit.predict_draws(new, seed=4) - fit.coefficients[:, :1]
    sd, gamma = fit._draws("1|hospital_sigma"), fit._draws("1|hospital_logsd_log_n")
    mean = hospitals().groupby("hospital")["log_n"].first().mean()
    for k, value in enumerate(new["log_n"]):
        z = drawn[:, k] / (sd * np.exp(gamma * (value - mean)))
        assert stats.kstest(z, "norm").pvalue > 1e-4
    with pytest.raises(pw.PoolwiseError, match="no column 'log_n', which the sd of a new group follows"):
        fit.predict(new.drop(columns="log_n"))
    # The typical group, and a known one, need no covariate.
    assert np.isfinite(fit.predict(new.drop(columns="log_n"), groups="population_mean")["estimate"]).all()


def test_a_saved_fit_predicts_as_before(fit, tmp_path):
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(groups="integrated"), fit.predict(groups="integrated"))
    with warnings.catch_warnings():
        # The run is short.
        warnings.simplefilter("ignore", UserWarning)
        assert np.isfinite(fit.loo().elpd)


def test_what_needs_one_covariance_says_so(fit):
    model = pw.Model(FORMULA, hospitals(), priors=PRIORS)
    factor = fit.design.factors[0]
    refusing = (model.fit_frequentist, model.prior_implies, fit.sensitivity, fit.variance, fit.logo)
    for refused in (
        *refusing,
        lambda: fit.factor_draws(factor),
        lambda: pw.checks.mixed_predictive(fit, factor, np.zeros(factor.J, dtype=int)),
    ):
        with pytest.raises(pw.PoolwiseError, match=r"one covariance for all groups of 'hospital'"):
            refused()
    for form in ("collapsed", "centred", "whitened"):
        with pytest.raises(pw.PoolwiseError, match=r"leave form out, or use 'generative'"):
            model.fit(form=form)


@pytest.mark.parametrize(
    ("grouping", "message"),
    [
        ("gr(hospital, sd=~ x)", r"'x' differs within 20 of the 20 groups of 'hospital': '0', '1', .* and 15 more"),
        ("gr(hospital, sd=~ log_n + I(2 * log_n))", "do not tell their coefficients apart"),
        ("gr(hospital, sd=~ 0 + log_n)", "needs covariates beside its constant"),
        ("gr(hospital, sd=~ 1)", "needs covariates beside its constant"),
        ("gr(hospital, sd=~ log_n, sd=~ log_n)", "sd= is given twice"),
        ("gr(hospital, id=log_n)", "has no argument 'id'"),
        ("gr(hospital, log_n)", "unexpected 'log_n'"),
        ("gr(hospital, sd=log_n)", "the sd is a regression"),
        ("gr(hospital, sd=~ y)", "the response 'y' also stands on the right"),
        ("gr(hospital, sd=~ missing)", "no column 'missing'"),
        ("gr(hospital, sd=~ log_n)) + (0 + x | hospital", "have different groupings"),
        ("hospital/gr(x)", "cannot stand here"),
    ],
)
def test_bad_input(grouping, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(f"y ~ 1 + (1 | {grouping})", hospitals())


def test_the_canonical_formula_reads_back():
    formula = pw.Model("y ~ 1 + (x || gr(hospital, sd=~log_n))", hospitals()).design.formula
    assert formula.canonical == "y ~ 1 + (1 + x || gr(hospital, sd=~1 + log_n))"
    assert pw.Model(formula.canonical, hospitals()).design.formula == formula
    assert pw.Model("y ~ 1 + (1 | gr(hospital))", hospitals()).design.formula.blocks[0].factor == "hospital"


def ranks(simulations: int, draws: int = 200, thin: int = 5, J: int = 20) -> pd.DataFrame:
    """Ranks of the truth, drawn from the priors by numpy, among thinned posterior draws; one compiled model for all."""
    data = hospitals(J)
    model = pw.Model(FORMULA, data, priors=PRIORS)
    pymc, shared = model.pymc, pytensor.shared(data["y"].to_numpy(), name="observed")
    response = pymc.observed_RVs[0]
    pymc.values_to_rvs.pop(pymc.rvs_to_values[response])
    pymc.rvs_to_values[response] = shared
    pymc.values_to_rvs[shared] = response
    compiled = nutpie.compile_pymc_model(pymc)
    codes, x = data["hospital"].to_numpy(), data["x"].to_numpy()
    w = data.groupby("hospital")["log_n"].first().to_numpy()
    w = w - w.mean()
    found = []
    for s in range(simulations):
        rng = np.random.default_rng([11, s])
        at_mean, slope, gamma = rng.normal(0, [1, 1, 0.5])
        sd, sigma = np.abs(rng.normal(size=2))
        u = sd * np.exp(gamma * w) * rng.normal(size=J)
        y = at_mean + slope * (x - x.mean()) + u[codes] + sigma * rng.normal(size=len(x))
        trace = nutpie.sample(
            compiled.with_data(observed=y), draws=draws * thin, tune=500, chains=1, cores=1, seed=s, progress_bar=False
        )
        truth = {"Intercept_centred": at_mean, "x": slope, "sigma": sigma}
        truth |= {"1|hospital_sigma": sd, "1|hospital_logsd_log_n": gamma}
        sample = trace["posterior"]
        found.append({name: int((sample[name].to_numpy()[0, ::thin] < value).sum()) for name, value in truth.items()})
    return pd.DataFrame(found) / draws


@pytest.mark.slow
def test_posteriors_are_calibrated():
    share = ranks(30)
    for name in share:
        counts = np.histogram(share[name], np.linspace(0, 1, 6))[0]
        assert stats.chisquare(counts).statistic < CHI_SQUARE, name

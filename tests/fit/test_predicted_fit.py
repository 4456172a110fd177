"""Models with a formula for sigma: posterior, predictions, files, calibration, errors.

Tolerances: predictions are recomputed by hand from the same draws, 1e-10. Ranks of a calibrated posterior are uniform:
their chi-square statistic in five bins exceeds 23.5 once in 10,000.
"""

import warnings

import bambi as bmb
import numpy as np
import nutpie
import pandas as pd
import pytensor
import pytest
from scipy import stats

import poolwise as pw

FORMULAS = ["y ~ x + (1 | g)", "sigma ~ x + (1 | g)"]
CHI_SQUARE = 23.5


def rows(seed: int = 1, n: int = 300, J: int = 15) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = rng.permutation(np.arange(n) % J), rng.normal(size=n)
    sigma = np.exp(0.3 + 0.6 * x + 0.4 * rng.normal(size=J)[g])
    y = 1 + 0.5 * x + rng.normal(size=J)[g] + sigma * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{j}" for j in g], "w": rng.uniform(0.5, 2, n), "sigma": x})


@pytest.fixture(scope="module")
def fit():
    with warnings.catch_warnings():
        # Short: what is checked holds draw by draw, and for the recovery in units of the posterior's own sd.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model(FORMULAS, rows()).fit(draws=400, tune=500, chains=2, seed=1, progress=False)


def test_the_truth_is_recovered(fit):
    table = fit.summary()
    truth = {"x": 0.5, "sigma_Intercept": 0.3, "sigma_x": 0.6, "sigma_1|g_sigma": 0.4, "1|g_sigma": 1.0}
    z = [(table.loc[name, "mean"] - value) / table.loc[name, "sd"] for name, value in truth.items()]
    assert np.abs(z).max() < 3.5
    assert fit.form.endswith("as sigma has a formula of its own")
    assert {"sigma_x", "sigma_1|g_sigma"} <= set(fit.credible_intervals()["parameter"])


def test_predictions_have_the_sigma_of_their_row(fit, tmp_path):
    data = rows().head(5)
    draw = fit.data["posterior"]
    flat = {name: draw[name].to_numpy().reshape(800, -1) for name in draw.data_vars}
    levels = list(draw["g__factor_dim"].to_numpy())
    where = [levels.index(label) for label in data["g"]]
    x = data["x"].to_numpy()
    sigma = np.exp(flat["sigma_Intercept"] + flat["sigma_x"] * x + flat["sigma_1|g"][:, where])
    mean = flat["Intercept"] + flat["x"] * x + flat["1|g"][:, where]
    np.testing.assert_allclose(fit.predict_draws(data, kind="sigma"), sigma, rtol=1e-10)
    np.testing.assert_allclose(fit.predict_draws(data), mean, atol=1e-10)
    noise = (fit.predict_draws(data, kind="response", seed=4) - mean) / sigma
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    whole = rows()
    density = fit.add_log_likelihood().data["log_likelihood"]["y"].to_numpy().reshape(800, -1)
    np.testing.assert_allclose(density[:, :5], stats.norm.logpdf(whole["y"].head(5).to_numpy(), mean, sigma), rtol=1e-8)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(data, kind="sigma"), fit.predict(data, kind="sigma"))


def test_an_integrated_sigma_lies_in_its_own_interval(fit):
    table = fit.predict(rows().head(5), kind="sigma", groups="integrated")
    assert table["estimate"].between(table["lower"], table["upper"]).all()
    # A new group's log sigma is normal: its mean is exp(mu + sd^2 / 2), over the draws.
    x = rows()["x"].head(5).to_numpy()
    mu = fit._draws("sigma_Intercept")[:, None] + fit._draws("sigma_x")[:, None] * x
    expected = np.exp(mu + fit._draws("sigma_1|g_sigma")[:, None] ** 2 / 2).mean(axis=0)
    # 800 draws, each with one new effect of log sd 0.4: MCSE about 2 %; four of them.
    np.testing.assert_allclose(table["estimate"], expected, rtol=0.08)


def test_a_new_group_draws_both_effects_apart(fit):
    new = pd.DataFrame({"x": [0.0], "g": ["new"]})
    mean = fit.predict_draws(new, seed=2)[:, 0] - fit._draws("Intercept")
    log_sigma = np.log(fit.predict_draws(new, seed=2, kind="sigma")[:, 0]) - fit._draws("sigma_Intercept")
    one, other = mean / fit._draws("1|g_sigma"), log_sigma / fit._draws("sigma_1|g_sigma")
    assert stats.kstest(one, "norm").pvalue > 1e-4
    assert stats.kstest(other, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_what_takes_one_sigma_says_so(fit):
    model = pw.Model(FORMULAS, rows())
    for refused in (
        model.fit_frequentist,
        model.prior_implies,
        fit.sensitivity,
        fit.variance,
        fit.logo,
        lambda: fit.sigma,
        lambda: fit.sigma_draws,
        lambda: fit.family_draws,
        lambda: pw.audit_shrinkage(fit),
        lambda: pw.checks.between_within(fit),
        lambda: pw.checks.mixed_predictive(fit, fit.design.factors[0], np.zeros(15, dtype=int)),
        lambda: pw.compare_priors(model, ["brms"], progress=False),
        lambda: pw.compare_pooling(FORMULAS, rows(), progress=False),
        lambda: model.with_priors("horseshoe"),
    ):
        with pytest.raises(pw.PoolwiseError, match=r"one sigma for all rows|sigma has a formula of its own|Gaussian"):
            refused()
    assert not [found for found in fit.check() if found.code == "check_failed" and "error of poolwise" in found.advice]


def test_priors_and_names():
    data = rows()
    model = pw.Model(bmb.Formula(*FORMULAS), data, priors={"sigma_x": pw.Prior("Normal", mu=0, sigma=0.3)})
    priors = model.specification.priors
    assert priors["sigma_x"].params["sigma"] == 0.3
    assert priors["sigma_Intercept"].params["mu"] == pytest.approx(np.log(data["y"].std()))
    # In another unit of y the same prior stands at the log of that unit.
    other = pw.Model(FORMULAS, data.assign(y=1000 * data["y"])).specification.priors
    gap = other["sigma_Intercept"].params["mu"] - priors["sigma_Intercept"].params["mu"]
    assert gap == pytest.approx(np.log(1000))
    # A predictor of the response that is called like a coefficient of sigma has a stated alias.
    clash = pw.Model(["y ~ sigma_x + (1 | g)", "sigma ~ x"], data.rename(columns={"w": "sigma_x"})).design
    assert clash.coefficient_names == ("Intercept", "sigma_x_predictor")
    assert "sigma ~ 1 + x + (1 | g)  (log link)" in repr(model)


def test_precision_weights_divide_the_variance_of_the_row():
    model = pw.Model(["y ~ 1", "sigma ~ x"], rows(), weights="w").pymc
    point = model.initial_point()
    data = rows()
    sigma = np.exp(float(point["sigma_Intercept_centred"]) + point["sigma_x"] * (data["x"] - data["x"].mean()))
    mean = float(point["Intercept_centred"])
    expected = stats.norm.logpdf(data["y"], mean, sigma / np.sqrt(data["w"])).sum()
    assert model.compile_logp(vars=list(model.observed_RVs))(point) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("formulas", "message"),
    [
        (["y ~ x", "sgma ~ x"], "did you mean 'sigma'"),
        (["y ~ x", "alpha ~ x"], "left of '~' of a further formula stands a parameter of family 'gaussian'"),
        (["y ~ x", "sigma ~ x", "sigma ~ w"], "two formulas predict 'sigma'"),
        (["y ~ x", "sigma ~ missing"], "no column 'missing'"),
        (["y ~ x", "sigma ~ x + "], "ends too early"),
        (["y ~ x", "weighted(sigma, w) ~ x"], "weights stand in the formula of the response only"),
        (["y ~ x", "~ x"], "nothing stands left"),
        (["y ~ x", "sigma ~ x + I(2 * x)"], "not identified"),
        ([], "the list of formulas is empty"),
        (["y ~ x", 3], "a formula is a text"),
    ],
)
def test_bad_input(formulas, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(formulas, rows())


def test_thresholds_and_families_without_parameters_are_refused():
    data = rows().assign(level=pd.Categorical(np.arange(300) % 3, ordered=True), event=np.arange(300) % 2)
    with pytest.raises(pw.PoolwiseError, match="is a vector, one number between two levels"):
        pw.Model(["level ~ x", "threshold ~ x"], data, "cumulative")
    with pytest.raises(pw.PoolwiseError, match="family 'bernoulli' has none"):
        pw.Model(["event ~ x", "sigma ~ x"], data, "bernoulli")


def test_calibrated():
    """Truths drawn from the priors by numpy rank uniformly among posterior draws; one compiled model for all."""
    data, n_sim, kept = rows(3, n=60, J=6), 60, 100
    half = pw.Prior("HalfNormal", sigma=1)
    one = pw.Prior("Normal", mu=0, sigma=1)
    priors = {"Intercept": one, "x": one, "1|g_sigma": half, "sigma_Intercept": one, "sigma_x": one}
    model = pw.Model(["y ~ x + (1 | g)", "sigma ~ x"], data, priors=priors)
    pymc, shared = model.pymc, pytensor.shared(data["y"].to_numpy(), name="observed")
    response = pymc.observed_RVs[0]
    pymc.values_to_rvs.pop(pymc.rvs_to_values[response])
    pymc.rvs_to_values[response] = shared
    pymc.values_to_rvs[shared] = response
    compiled = nutpie.compile_pymc_model(pymc)
    codes, centred = data["g"].str[1:].astype(int).to_numpy(), (data["x"] - data["x"].mean()).to_numpy()
    found = []
    for s in range(n_sim):
        rng = np.random.default_rng([5, s])
        a, b, la, lb = rng.normal(size=4)
        sd = abs(rng.normal())
        sigma = np.exp(la + lb * centred)
        y = a + b * centred + sd * rng.normal(size=6)[codes] + sigma * rng.normal(size=60)
        trace = nutpie.sample(
            compiled.with_data(observed=y), draws=5 * kept, tune=400, chains=1, cores=1, seed=s, progress_bar=False
        )["posterior"]
        truth = {"x": b, "sigma_Intercept_centred": la, "sigma_x": lb, "1|g_sigma": sd}
        found.append({name: (trace[name].to_numpy()[0, ::5] < value).mean() for name, value in truth.items()})
    for name, ranks in pd.DataFrame(found).items():
        counts = np.histogram(ranks, bins=5, range=(0, 1 + 1e-9))[0]
        assert stats.chisquare(counts).statistic < CHI_SQUARE, name


def test_the_specification_is_bambis():
    peer = pw.Model(FORMULAS, rows(), priors={"sigma_x": pw.Prior("Normal", mu=0, sigma=0.3)}).spec
    assert peer.formula.main == "y ~ 1 + x" and peer.formula.additionals == ("sigma ~ 1 + x",)
    peer.build()
    assert peer.parameters["sigma"].terms["x"].prior.args["sigma"] == 0.3

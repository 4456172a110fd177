"""Categorical responses: the density is Bambi's, probabilities are the softmax, the truth is recovered.

Both densities are evaluated at the same coefficients; 1e-8 relative leaves room for rounding only.
"""

import warnings

import bambi as bmb
import numpy as np
import pandas as pd
import pytest

import poolwise as pw

LEVELS = ["low", "mid", "high"]


def rows(seed: int = 1, n: int = 400, J: int = 10) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = rng.permutation(np.arange(n) % J), rng.normal(size=n)
    u = rng.normal(size=(J, 2)) * [0.8, 0.3]
    eta = np.column_stack([np.zeros(n), 0.5 + 0.7 * x + u[g, 0], -0.3 - 0.6 * x + u[g, 1]])
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return pd.DataFrame({"y": pd.Categorical.from_codes(y, LEVELS), "x": x, "g": [f"g{j}" for j in g], "f": g % 3 > 0})


def test_the_density_of_the_response_is_bambis():
    data = rows()
    ours = pw.Model("y ~ x + f", data, "categorical").pymc
    table = pd.DataFrame({"y": pd.Categorical(data["y"].cat.codes), "x": data["x"], "f": data["f"].astype(float)})
    peer = bmb.Model("y ~ x + f", table, family="categorical")
    peer.build()
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=2) for name in ("Intercept", "x", "f")}

    def density(model, found):
        point = {variable.name: np.asarray(found(variable.name)) for variable in model.value_vars}
        return model.compile_logp(vars=list(model.observed_RVs), mode="FAST_COMPILE")(point)

    def own(name):
        base, label = name.removesuffix("]").split("[")
        return values[base.removesuffix("_centred")][LEVELS.index(label.removesuffix("]_centred")) - 1]

    names = [variable.name for variable in ours.value_vars]
    bambis = density(peer.backend.model, lambda name: values[name])
    assert density(ours, own) == pytest.approx(bambis, rel=1e-8), names


@pytest.fixture(scope="module")
def fit():
    with warnings.catch_warnings():
        # Short: what is checked holds draw by draw, and for the recovery in units of the posterior's own sd.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model("y ~ x + (1 | g)", rows(), "categorical").fit(
            draws=300, tune=400, chains=2, seed=1, progress=False
        )


def test_the_truth_is_recovered_and_probabilities_are_the_softmax(fit, tmp_path):
    posterior = fit.data["posterior"].to_dataset()
    x = posterior["x"]
    assert x.dims[2:] == ("y_reduced_dim",) and x["y_reduced_dim"].to_numpy().tolist() == LEVELS[1:]
    z = (x.mean(("chain", "draw")).to_numpy() - [0.7, -0.6]) / x.std(("chain", "draw")).to_numpy()
    assert np.abs(z).max() < 3.5
    data = rows().head(4)
    table = fit.predict(data)
    assert table["category"].tolist() == LEVELS * 4
    np.testing.assert_allclose(table["estimate"].to_numpy().reshape(4, 3).sum(axis=1), 1.0, atol=1e-12)
    levels = posterior["g__factor_dim"].to_numpy().tolist()
    where = [levels.index(label) for label in data["g"]]
    effects = (
        posterior["1|g"].transpose("chain", "draw", "g__factor_dim", "y_reduced_dim").to_numpy().reshape(600, 10, 2)
    )
    b0, b1 = (posterior[name].to_numpy().reshape(600, 2) for name in ("Intercept", "x"))
    eta = b0[:, None] + b1[:, None] * data["x"].to_numpy()[:, None] + effects[:, where]
    e = np.exp(np.concatenate([np.zeros((600, 4, 1)), eta], axis=2))
    expected = (e / e.sum(axis=2, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(table["estimate"].to_numpy().reshape(4, 3), expected, rtol=1e-8)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(data), table)


def test_the_log_likelihood_is_that_of_the_probabilities(fit):
    drawn = fit.add_log_likelihood().data["log_likelihood"]["y"].to_numpy().reshape(600, -1)
    data = rows()
    table = fit.predict(data)["estimate"].to_numpy().reshape(-1, 3)
    own = table[np.arange(len(data)), data["y"].cat.codes]
    np.testing.assert_allclose(np.exp(drawn).mean(axis=0), own, rtol=1e-6)
    with warnings.catch_warnings():
        # The run is short.
        warnings.simplefilter("ignore", UserWarning)
        assert np.isfinite(fit.loo().elpd)


def test_replications_are_categories(fit):
    drawn = fit.predict_draws(rows(), kind="response", seed=2)
    shares = [(drawn == value).mean() for value in np.unique(drawn)]
    observed = rows()["y"].value_counts(normalize=True)[LEVELS].to_numpy()
    np.testing.assert_allclose(shares, observed, atol=0.05)


def test_what_takes_one_linear_predictor_says_so(fit):
    model = pw.Model("y ~ x + (1 | g)", rows(), "categorical")
    calls = {
        "frequentist": model.fit_frequentist,
        "implies": model.prior_implies,
        "sensitivity": fit.sensitivity,
        "variance": fit.variance,
        "logo": fit.logo,
        "audit": lambda: pw.audit_shrinkage(fit),
        "between": lambda: pw.checks.between_within(fit),
        "study": lambda: pw.compare_pooling("y ~ x + (1 | g)", rows(), "categorical", progress=False),
        "presets": lambda: pw.compare_priors(model, ["brms"], progress=False),
        "rates": lambda: pw.standardised_rates(fit),
        "pit": lambda: pw.checks.loo_pit_values(fit),
    }
    for name, refused in calls.items():
        with pytest.raises(pw.PoolwiseError):
            refused()
            pytest.fail(name)
    assert not [found for found in fit.check() if found.code == "check_failed" and "error of poolwise" in found.advice]
    assert "categorical" in repr(model) and repr(fit) and len(fit.coef()) == 2 * 10 * 2


@pytest.mark.parametrize(
    ("change", "formula", "message"),
    [
        (lambda data: data.assign(y=data["x"]), "y ~ x", "categor|level|label"),
        (lambda data: data.assign(y="one"), "y ~ x", "nothing to model|one"),
        (lambda data: data, "y ~ x + offset(x)", "offset"),
        (lambda data: data, ["y ~ x", "sigma ~ x"], "family 'categorical'"),
    ],
)
def test_bad_input(change, formula, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(formula, change(rows()), "categorical")


def test_smooth_functions_of_a_categorical_response(tmp_path):
    data = rows(n=120)
    model = pw.Model("y ~ hsgp(x, by=f, m=5, c=1.5)", data.assign(f=np.where(data["f"], "u", "v")), "categorical")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        fit = model.fit(60, 120, 2, seed=1, progress=False)
    smooth = model.design.linear[0].smooths[0]
    weights, intercept = (
        fit.posterior[name].transpose("chain", "draw", ...).to_numpy()
        for name in ("hsgp(x, by=f, m=5, c=1.5)_weights", "Intercept")
    )
    eta = np.einsum("nm,dmk->dnk", smooth.basis, weights.reshape(120, -1, 2)) + intercept.reshape(120, 1, 2)
    odds = np.exp(np.concatenate([np.zeros_like(eta[..., :1]), eta], axis=2))
    np.testing.assert_allclose(fit.predict_draws(), odds / odds.sum(axis=2, keepdims=True), rtol=1e-10)
    assert "hsgp(x, by=f, m=5, c=1.5)_ell[high]" in fit.summary().index
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.predict_draws(), fit.predict_draws())

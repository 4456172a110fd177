"""Counts by category: the density is Bambi's, expectations and log-likelihood are those of the draws by hand.

Densities are evaluated at the same coefficients; 1e-8 relative leaves room for rounding only.
"""

import warnings

import bambi as bmb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw

LABELS = ["a", "b", "d"]
FORMULA = "c(a, b, d) ~ x + (1 | g)"
FAMILIES = ["multinomial", "dirichlet_multinomial"]


def rows(seed: int = 1, n: int = 120, J: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = rng.permutation(np.arange(n) % J), rng.normal(size=n)
    eta = np.column_stack([np.zeros(n), 0.5 + 0.7 * x + 0.6 * rng.normal(size=J)[g], -0.3 - 0.6 * x])
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    counts = rng.multinomial(rng.integers(3, 30, n), p)
    return pd.DataFrame({**dict(zip(LABELS, counts.T, strict=True)), "x": x, "g": [f"g{j}" for j in g]})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_density_of_the_response_is_bambis(family):
    data = rows()
    ours = pw.Model("c(a, b, d) ~ x", data, family)
    # Bambi asks pandas for text columns in a way that warns.
    peer = bmb.Model("counts(a, b, d) ~ x", data.drop(columns="g"), family=family)
    peer.build()
    labels = [own.category for own in ours.design.linear]
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=len(labels)) for name in ("Intercept", "x")}

    def density(model, found):
        point = {variable.name: np.asarray(found(variable.name)) for variable in model.value_vars}
        return model.compile_logp(vars=list(model.observed_RVs), mode="FAST_COMPILE")(point)

    def own(name):
        base, label = name.removesuffix("_centred").removesuffix("]").split("[")
        return values[base][labels.index(label)]

    assert density(ours.pymc, own) == pytest.approx(density(peer.backend.model, lambda name: values[name]), rel=1e-8)
    assert labels == (LABELS[1:] if family == "multinomial" else LABELS)


@pytest.fixture(scope="module", params=FAMILIES)
def fit(request):
    with warnings.catch_warnings():
        # Short: what is checked holds draw by draw, and for the recovery in units of the posterior's own sd.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model(FORMULA, rows(), request.param).fit(draws=200, tune=300, chains=2, seed=1, progress=False)


def linear(fit, data) -> np.ndarray:
    """Linear predictors (400, rows, 3) by hand, zero for a reference."""
    posterior = fit.data["posterior"].to_dataset()
    dim = str(posterior["x"].dims[-1])
    levels = posterior["g__factor_dim"].to_numpy().tolist()
    effects = posterior["1|g"].transpose("chain", "draw", "g__factor_dim", dim).to_numpy().reshape(400, 8, -1)
    b0, b1 = (posterior[name].to_numpy().reshape(400, 1, -1) for name in ("Intercept", "x"))
    eta = b0 + b1 * data["x"].to_numpy()[:, None] + effects[:, [levels.index(label) for label in data["g"]]]
    return np.concatenate([np.zeros((400, len(data), 3 - eta.shape[2])), eta], axis=2)


def test_the_shares_are_those_of_the_draws(fit, tmp_path):
    data = rows().head(4)
    e = np.exp(linear(fit, data))
    table = fit.predict(data)
    assert table["category"].tolist() == LABELS * 4
    np.testing.assert_allclose(
        table["estimate"].to_numpy().reshape(4, 3), (e / e.sum(axis=2, keepdims=True)).mean(axis=0), rtol=1e-8
    )
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(data), table)
    # The truth of the second category's slope against the first.
    slope = fit.data["posterior"]["x"]
    against = slope[..., -2] - (slope[..., 0] if slope.shape[-1] == 3 else 0.0)
    assert abs(float(against.mean()) - 0.7) < 3.5 * float(against.std())


def test_the_log_likelihood_is_scipys(fit):
    data = rows()
    counts, eta = data[LABELS].to_numpy(), linear(fit, data)
    ours = fit.add_log_likelihood().data["log_likelihood"]["c(a, b, d)"].to_numpy().reshape(400, -1)
    for d, i in ((0, 0), (17, 5), (399, 119)):
        e = np.exp(eta[d, i])
        if fit.design.family.name == "multinomial":
            expected = stats.multinomial.logpmf(counts[i], counts[i].sum(), e / e.sum())
        else:
            expected = stats.dirichlet_multinomial.logpmf(counts[i], e, counts[i].sum())
        assert ours[d, i] == pytest.approx(expected, rel=1e-8)
    assert np.isfinite(fit.loo().elpd)


def test_replications_have_the_totals_of_their_rows(fit):
    data = rows()
    drawn = fit.predict_draws(data, kind="response", seed=2)
    assert drawn.shape == (400, 120, 3)
    totals = data[LABELS].sum(axis=1).to_numpy()
    np.testing.assert_array_equal(drawn.sum(axis=2), np.broadcast_to(totals, (400, 120)))
    shares = drawn.sum(axis=(0, 1)) / drawn.sum()
    np.testing.assert_allclose(shares, data[LABELS].sum() / totals.sum(), atol=0.03)
    table = fit.predict(data.head(2).assign(a=100, b=0, d=0), kind="response")
    np.testing.assert_allclose(table.groupby("row")["estimate"].sum(), 100)


def test_what_takes_one_number_a_row_says_so(fit, tmp_path):
    model = pw.Model(FORMULA, rows(), fit.design.family.name)
    for refused in (
        model.fit_frequentist,
        fit.variance,
        fit.logo,
        lambda: pw.checks.loo_pit_values(fit),
        fit.plot_posterior_predictive,
        lambda: pw.compare_pooling(FORMULA, rows(), fit.design.family.name, progress=False),
        lambda: pw.collapse(rows(), FORMULA),
    ):
        with pytest.raises(pw.PoolwiseError):
            refused()
    assert fit.report(tmp_path / "fit.html").stat().st_size > 10_000
    assert not [found for found in fit.check() if found.code == "check_failed" and "error of poolwise" in found.advice]


@pytest.mark.parametrize(
    ("formula", "change", "message"),
    [
        ("a ~ x", {}, r"write c\(first, second"),
        ("c(a, a) ~ x", {}, "counts a twice"),
        ("c(a, b) ~ x", {"a": -1}, "not whole numbers from 0 in 120 rows"),
        ("c(a, b) ~ x", {"a": 0.5}, "not whole numbers from 0"),
        ("c(a, b) ~ x", {"a": 0, "b": 0}, "no count in any category|nothing to model|constant"),
        ("c(a, b, d) ~ x + offset(x)", {}, "offset"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_bad_input(family, formula, change, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(formula, rows().assign(**change), family)


def test_bambis_name_of_the_response_is_read():
    model = pw.Model("counts(a, b, d) ~ x", rows().drop(columns="g"), "multinomial")
    assert model.design.categories == tuple(LABELS)
    assert model.spec.family.name == "multinomial"


def test_counts_of_categories_are_for_their_families():
    with pytest.raises(pw.PoolwiseError, match="use family='multinomial'"):
        pw.Model("c(a, b) ~ x", rows(), "poisson")

"""Rows that belong to several groups, ``mm(g1, g2)``: density, agreement of the forms, predictions, errors.

Tolerances: the collapsed density and the dense n x n one are the same formula, 1e-8 of a number of some hundreds. Two
sets of draws agree within 4 Monte Carlo standard errors of their difference; seeds are fixed.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import poolwise as pw
from poolwise.algebra.marginal import log_marginal
from poolwise.spec.exchange import exchangeable

TOLERANCE = 1e-8
MCSE = 4.0
J = 10
FORMULA = "y ~ x + (1 | mm(first, second, weights=c(w1, w2)))"


def pupils(seed: int = 1, n: int = 60) -> pd.DataFrame:
    """Pupils of one or two schools, with the time in each; the second school of some is their first."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, J, n), rng.integers(0, J, n)
    second[: n // 4] = first[: n // 4]
    time = rng.uniform(0, 3, (n, 2)) + 0.01
    share = time / time.sum(axis=1, keepdims=True)
    u, x = rng.normal(size=J), rng.normal(size=n)
    y = 1 + 0.5 * x + share[:, 0] * u[first] + share[:, 1] * u[second] + 0.6 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "first": first, "second": second, "w1": time[:, 0], "w2": time[:, 1]})


def memberships(table: pd.DataFrame, levels: list, weights: tuple[str, ...] = ("w1", "w2")) -> np.ndarray:
    """Dense (n, J) matrix of the weights of each row in each group."""
    W = np.zeros((len(table), len(levels)))
    shares = table[list(weights)].to_numpy() if weights else np.ones((len(table), 2))
    shares = shares / shares.sum(axis=1, keepdims=True)
    for m, column in enumerate(("first", "second")):
        for i, label in enumerate(table[column]):
            W[i, levels.index(label)] += shares[i, m]
    return W


@pytest.mark.parametrize(
    ("block", "weights"),
    [
        ("(1 | mm(first, second, weights=c(w1, w2)))", ("w1", "w2")),
        ("(1 | mm(first, second))", ()),
        ("(0 + x | mm(first, second))", ()),
    ],
)
def test_the_density_is_the_dense_one(block, weights):
    table = pupils()
    model = pw.Model(f"y ~ x + {block}", table)
    twin = exchangeable(model.design).sufficient
    basis, b, sd, sigma = twin.basis, np.array([0.4, 0.7]), 0.8, 0.5
    offset, matrix = basis.to_coefficients
    value = log_marginal(
        twin.stats,
        np.linalg.solve(matrix, b - offset)[None],
        np.linalg.solve(basis.to_effects, np.array([[sd]]))[None],
        np.array([(sigma / basis.y_scale) ** 2]),
    )
    found = float(np.asarray(value).item()) - len(table) * np.log(basis.y_scale)
    W = memberships(table, list(model.design.factors[0].levels), weights)
    if block.startswith("(0 + x"):
        W = W * table[["x"]].to_numpy()
    V = sd**2 * W @ W.T + sigma**2 * np.eye(len(table))
    expected = stats.multivariate_normal.logpdf(table["y"], b[0] + b[1] * table["x"], V)
    assert abs(found - expected) < TOLERANCE * abs(expected)


@pytest.fixture(scope="module")
def fit():
    return pw.Model(FORMULA, pupils(2)).fit(seed=1, progress=False)


def test_the_two_forms_are_one_posterior(fit):
    assert fit.form.startswith("collapsed form")
    with warnings.catch_warnings():
        # A short run; its MCSE says how short.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        other = pw.Model(FORMULA, pupils(2)).fit(seed=2, progress=False, form="generative")
    one, two = fit.summary(effects=True), other.summary(effects=True)
    assert set(one.index) == set(two.index)
    gap = (one["mean"] - two["mean"]).abs() / np.hypot(one["mcse_mean"], two["mcse_mean"])
    assert gap.max() < MCSE, gap.idxmax()


def test_predictions_weigh_the_memberships(fit, tmp_path):
    table = pupils(2)
    effects, levels = fit.effects(fit.design.factors[0])[:, :, 0], list(fit.design.factors[0].levels)
    W = memberships(table, levels)
    expected = fit.coefficients @ np.stack([np.ones(len(table)), table["x"]]) + effects @ W.T
    np.testing.assert_allclose(fit.predict_draws(table), expected, atol=1e-10)
    np.testing.assert_allclose(fit.fitted, expected.mean(axis=0), atol=1e-10)
    # A new school beside a known one: its effect is drawn, weighed.
    new = table.head(1).assign(first=3, second=99)
    share = (new["w2"] / (new["w1"] + new["w2"])).item()
    drawn = fit.predict_draws(new, seed=3)[:, 0] - fit.coefficients @ np.array([1.0, new["x"].item()])
    drawn = (drawn - (1 - share) * effects[:, levels.index(3)]) / (share * fit._draws("1|mm(first, second)_sigma"))
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    # The same new school twice is one school.
    same = new.assign(first=99)
    drawn = fit.predict_draws(same, seed=3)[:, 0] - fit.coefficients @ np.array([1.0, new["x"].item()])
    assert stats.kstest(drawn / fit._draws("1|mm(first, second)_sigma"), "norm").pvalue > 1e-4
    frame = fit.predict(new)
    assert frame.loc[0, "groups"] == "new" and frame["groups[mm(first, second)]"].item() == "new: population_draw"
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.predict(new), frame)


def test_two_memberships_in_one_group_are_one():
    table = pupils(3).assign(second=lambda frame: frame["first"])
    twice = exchangeable(pw.Model("y ~ x + (1 | mm(first, second))", table).design).sufficient.stats
    once = pw.Model("y ~ x + (1 | first)", table).sufficient.stats
    # The same groups up to their order, and to the sign of what belongs to each.
    np.testing.assert_allclose(np.sort(twice.ZtZ[:, 0, 0]), np.sort(once.ZtZ[:, 0, 0]), rtol=1e-10)
    np.testing.assert_allclose(np.sort(np.abs(twice.Zty[:, 0])), np.sort(np.abs(once.Zty[:, 0])), rtol=1e-8)


def test_labels_are_joined_over_the_columns():
    table = pupils(4)
    table["first"] = table["first"].map(lambda k: f"s{k}")
    table["second"] = pd.Categorical(table["second"].map(lambda k: f"s{k}"))
    table.loc[table["second"] == "s3", "second"] = "s4"
    factor = pw.Model("y ~ x + (1 | mm(first, second))", table).design.factors[0]
    assert factor.labels == [f"s{k}" for k in range(J)]
    assert factor.sizes.sum() == (2 * len(table) - (table["first"] == table["second"].astype(str)).sum())


def test_correlated_effects_and_families_sample_explicitly():
    table = pupils(5)
    model = pw.Model("y ~ x + (x | mm(first, second)) + (1 | cohort)", table.assign(cohort=np.arange(len(table)) % 5))
    with pytest.warns(pw.ConvergenceWarning):
        fit = model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    assert "rows belong to several groups" in fit.form
    assert "corr|mm(first, second)" in fit.data["posterior"]
    assert np.isfinite(fit.predict(groups="integrated")["lower"]).all()


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        ("mm(first)", "two or more different columns"),
        ("mm(first, first)", "two or more different columns"),
        ("mm(first, second, weights=w1)", "unexpected 'w1' as weights"),
        ("mm(first, second, weights=c(w1))", "2 memberships and 1 weights"),
        ("mm(first, second, weights=c(w1, x))", "must be 0 or above and not all 0; .* rows have others"),
        ("mm(first, other)", "no column 'other'"),
        ("mm(first, second)/x", "close the bracket"),
        ("first/mm(second, x)", r"mm\(...\) cannot stand here"),
        ("mm(first, y)", "the response 'y' also stands on the right"),
        ("mm(first, gone)", "misses its value|misses 1 value|missing"),
        ("mm(one, two)", "name one group only"),
        ("mm(first, second)) + (0 + x | mm(first, second, weights=c(w1, w2))", "have different groupings"),
        ("mm(first, second)) + (1 + x | mm(first, second)", "both hold an intercept"),
    ],
)
def test_bad_input(membership, message):
    table = pupils().assign(gone=1.0, one=1, two=1)
    table.loc[3, "gone"] = np.nan
    with pytest.raises(pw.PoolwiseError, match=message):
        pw.Model(f"y ~ 1 + (1 | {membership})", table)


def test_what_needs_one_group_a_row_says_so(fit):
    model = pw.Model(FORMULA, pupils(2))
    for refused in (
        model.fit_frequentist,
        model.prior_implies,
        fit.sensitivity,
        fit.variance,
        fit.logo,
        lambda: pw.audit_shrinkage(fit),
        lambda: pw.checks.between_within(fit),
        lambda: pw.standardised_rates(fit),
        lambda: pw.compare_priors(model, ["brms"], progress=False),
    ):
        with pytest.raises(pw.PoolwiseError, match=r"mm\(\) puts a row into several of them|Gaussian"):
            refused()
    assert not [found for found in fit.check() if found.code == "check_failed" and "error of poolwise" in found.advice]


def test_names_with_commas_sample_in_the_generative_form():
    table = pupils().rename(columns={"first": "a,b"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        fit = pw.Model("y ~ x + (1 | `a,b`)", table).fit(
            draws=20, tune=20, chains=1, seed=1, progress=False, form="generative"
        )
    assert "1|a,b" in fit.data["posterior"]

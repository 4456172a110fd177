"""Comparisons, slopes and marginal means against coefficients, hand computation from the same draws, and Bambi.

What is linear is exact: 1e-8. A central difference with a step of 1e-4 sd is within 1e-6 of the slope.
"""

import warnings

import bambi as bmb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, ndtri

import poolwise as pw


def rows(seed: int = 1, n: int = 240, J: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x, f = rng.permutation(np.arange(n) % J), rng.normal(size=n), rng.integers(0, 3, n)
    u = rng.normal(size=(J, 2)) * [0.8, 0.4]
    eta = 0.3 + 0.7 * x + np.array([0.0, 0.5, -0.5])[f] + u[g, 0] + u[g, 1] * x
    return pd.DataFrame(
        {
            "y": eta + rng.normal(size=n),
            "b": (rng.random(n) < expit(eta)).astype(int),
            "x": x,
            "w": np.exp(rng.normal(size=n)),
            "f": pd.Categorical(np.array(["low", "mid", "top"])[f]),
            "g": [f"g{j}" for j in g],
        }
    )


def short(*arguments, **options):
    with warnings.catch_warnings():
        # Short: what is checked holds draw by draw.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model(*arguments, **options).fit(draws=300, tune=400, chains=2, seed=1, progress=False)


@pytest.fixture(scope="module")
def gaussian():
    return short("y ~ x + f + (x | g)", rows())


@pytest.fixture(scope="module")
def bernoulli():
    return short("b ~ x * f + (x | g)", rows(), "bernoulli")


def test_what_is_linear_is_the_coefficient(gaussian):
    slope = gaussian._draws("x")
    expected = [slope.mean(), *np.quantile(slope, [0.025, 0.975])]
    found = gaussian.slopes("x", groups="population_mean")[["estimate", "lower", "upper"]]
    np.testing.assert_allclose(found.to_numpy()[0], expected, rtol=1e-6)
    found = gaussian.comparisons("x", contrast=2, groups="population_mean", level=0.8)
    np.testing.assert_allclose(found["lower"], 2 * np.quantile(slope, 0.1), rtol=1e-8)
    assert found["contrast"].tolist() == ["+2"] and found["variable"].tolist() == ["x"]
    f = gaussian._draws("f")  # mid and top against low
    found = gaussian.comparisons("f", contrast="pairwise")
    assert found["contrast"].tolist() == ["mid - low", "top - low", "top - mid"]
    np.testing.assert_allclose(found["estimate"], [*f.mean(axis=0), (f[:, 1] - f[:, 0]).mean()], rtol=1e-8)
    found = gaussian.comparisons("f", contrast="sequential")
    assert found["contrast"].tolist() == ["mid - low", "top - mid"]
    assert gaussian.comparisons("f", contrast=("top", "low"))["contrast"].tolist() == ["low - top"]


def test_groups_have_their_own_slopes(gaussian):
    found = gaussian.slopes("x", by="g").set_index("g")
    coef = gaussian.coef().query("term == 'x'").set_index("group")
    np.testing.assert_allclose(
        found.loc[coef.index, ["estimate", "lower", "upper"]], coef[["estimate", "lower", "upper"]], rtol=1e-5
    )
    by_row = gaussian.slopes("x", by="row")
    assert by_row["row"].tolist() == list(range(240))
    np.testing.assert_allclose(by_row["estimate"], found.loc[rows()["g"], "estimate"], rtol=1e-5)


def test_both_versions_of_a_row_have_the_same_drawn_effects(gaussian):
    # One new row: the difference is b_x + u_x, whose variance is that of the slope and of the slopes between groups.
    new = rows().head(1).assign(g="new")
    slope, sd = gaussian._draws("x"), gaussian._draws("x|g_sigma")
    for groups in ("population_draw", "integrated"):
        found = gaussian.comparisons("x", new, groups=groups)
        width = float(found["upper"].iloc[0] - found["lower"].iloc[0])
        expected = 2 * ndtri(0.975) * np.sqrt(slope.var() + (sd**2).mean())
        # 600 draws: the quantiles' Monte Carlo error is about 8 % of the width; three of them.
        assert width == pytest.approx(expected, rel=0.24), groups


@pytest.mark.parametrize("comparison", ["difference", "ratio", "lift", "log_odds"])
def test_probabilities_by_hand(bernoulli, comparison):
    data = rows()
    low, high = (
        bernoulli.predict_draws(data.assign(f=pd.Categorical([level] * 240, ["low", "mid", "top"]))).mean(axis=1)
        for level in ("low", "top")
    )
    compare = {
        "difference": high - low,
        "ratio": high / low,
        "lift": high / low - 1,
        "log_odds": logit(high) - logit(low),
    }[comparison]
    found = bernoulli.comparisons("f", contrast=("low", "top"), comparison=comparison)
    np.testing.assert_allclose(found["estimate"], compare.mean(), rtol=1e-10)
    np.testing.assert_allclose(found["upper"], np.quantile(compare, 0.975), rtol=1e-10)


def test_a_slope_of_probabilities_by_hand(bernoulli):
    data = rows()
    p = bernoulli.predict_draws(data)
    levels = list(bernoulli.design.factors[0].labels)
    b, interaction = bernoulli._draws("x"), bernoulli._draws("x:f")
    f = data["f"].cat.codes.to_numpy()
    on_link = b[:, None] + np.where(f > 0, interaction[:, np.maximum(f - 1, 0)], 0.0)
    on_link = on_link + bernoulli._draws("x|g")[:, [levels.index(label) for label in data["g"]]]
    expected = (p * (1 - p) * on_link).mean(axis=1)
    found = bernoulli.slopes("x")
    np.testing.assert_allclose(found["estimate"], expected.mean(), rtol=1e-6)
    np.testing.assert_allclose(found["lower"], np.quantile(expected, 0.025), rtol=1e-4)
    np.testing.assert_allclose(bernoulli.slopes("x", scale="link")["estimate"], on_link.mean(), rtol=1e-6)


def test_marginal_means(gaussian):
    means = gaussian.marginal_means("f")
    np.testing.assert_allclose(np.diff(means["estimate"]), gaussian.comparisons("f", contrast="sequential")["estimate"])
    balanced = gaussian.marginal_means(["f"], over="balanced")
    b = [gaussian._draws(name) for name in ("Intercept", "x", "f")]
    expected = b[0] + b[1] * rows()["x"].mean()
    np.testing.assert_allclose(balanced["estimate"], expected.mean() + np.r_[0, b[2].mean(axis=0)], rtol=1e-8)
    grid = gaussian.marginal_means({"f": ["low", "top"], "x": [0.0, 1.0]}, groups="population_mean")
    assert grid[["f", "x"]].to_numpy().tolist() == [["low", 0.0], ["low", 1.0], ["top", 0.0], ["top", 1.0]]
    assert gaussian.marginal_means("x")["x"].tolist() == np.quantile(rows()["x"], [0.25, 0.5, 0.75]).tolist()


def test_transformations_and_averages_of_rows_that_count_twice():
    data = rows()
    fit = short("weighted(y, n) ~ log(w) + (1 | g)", data.assign(n=1 + (data["x"] > 0)))
    found = fit.comparisons("w", contrast=(1.0, np.e))
    np.testing.assert_allclose(found["estimate"], fit._draws("log(w)").mean(), rtol=1e-8)
    slopes = fit._draws("log(w)")[:, None] / data["w"].to_numpy()
    weights = 1 + (data["x"] > 0)
    np.testing.assert_allclose(fit.slopes("w")["estimate"], np.average(slopes.mean(axis=0), weights=weights), rtol=1e-4)


def test_frequentist_fits_have_the_delta_method():
    linear = pw.Model("y ~ x + f + (x | g)", rows()).fit_frequentist()
    found = linear.comparisons("f").iloc[0]
    se = linear.se["f[mid]"]
    np.testing.assert_allclose(found["estimate"], linear.fixef["f[mid]"], rtol=1e-8)
    np.testing.assert_allclose(found["upper"] - found["estimate"], ndtri(0.975) * se, rtol=1e-6)
    glmm = pw.Model("b ~ x + f + (1 | g)", rows(), "bernoulli").fit_frequentist()
    b, V = glmm.fixef.to_numpy(), glmm.vcov.to_numpy()
    X = glmm.design.X
    p = expit(X @ b)
    # The gradient of the average slope mean(p (1 - p)) b_x.
    own = p * (1 - p)
    gradient = b[1] * ((own * (1 - 2 * p))[:, None] * X).mean(axis=0)
    gradient[1] += own.mean()
    found = glmm.slopes("x").iloc[0]
    np.testing.assert_allclose(found["estimate"], own.mean() * b[1], rtol=1e-6)
    np.testing.assert_allclose(
        found["upper"] - found["estimate"], ndtri(0.975) * np.sqrt(gradient @ V @ gradient), rtol=1e-4
    )
    with pytest.raises(pw.PoolwiseError, match=r"compares the typical group.*Model\.fit\(\) has all modes"):
        glmm.slopes("x", groups="observed")


def test_categories_have_a_row_each():
    data = rows().assign(c=lambda d: pd.Categorical(d["f"].astype(str)))
    fit = short("c ~ x + (1 | g)", data.drop(columns="f"), "categorical")
    found = fit.comparisons("x", contrast=(-1, 1))
    assert found["category"].tolist() == ["low", "mid", "top"]
    # Probabilities of all categories add to one.
    assert found["estimate"].sum() == pytest.approx(0.0, abs=1e-12)
    assert fit.slopes("x", by="g")["category"].tolist() == ["low", "mid", "top"] * 12


@pytest.mark.slow
def test_bambis_comparisons_and_slopes_are_ours():
    data = rows(n=400).drop(columns="g")
    fit = pw.Model("b ~ x * f", data, "bernoulli").fit(seed=1, progress=False)
    with warnings.catch_warnings():
        # Bambi asks pandas for text columns in a way that warns.
        warnings.simplefilter("ignore")
        peer = bmb.Model("b ~ x * f", data, family="bernoulli", priors={"common": bmb.Prior("Normal", mu=0, sigma=1.5)})
        idata = peer.fit(draws=1000, chains=4, random_seed=1, progressbar=False)
        theirs = bmb.interpret.comparisons(peer, idata, contrast={"f": ["low", "top"]}, average_by="all")
        slope = bmb.interpret.slopes(peer, idata, wrt="x", average_by="all")
    ours = fit.comparisons("f", contrast=("low", "top"))
    # Other priors, weak beside 400 rows: a fifth of a posterior sd.
    sd = float(ours["upper"].iloc[0] - ours["lower"].iloc[0]) / (2 * ndtri(0.975))
    table = theirs if isinstance(theirs, pd.DataFrame) else theirs.summary
    assert float(ours["estimate"].iloc[0]) == pytest.approx(float(table["estimate"].iloc[0]), abs=0.2 * sd)
    table = slope if isinstance(slope, pd.DataFrame) else slope.summary
    # Bambi's slopes are at the mean of the predictor, ours at each row's own value.
    ours = fit.slopes("x", data.assign(x=data["x"].mean()))
    sd = float(ours["upper"].iloc[0] - ours["lower"].iloc[0]) / (2 * ndtri(0.975))
    assert float(ours["estimate"].iloc[0]) == pytest.approx(float(table["estimate"].iloc[0]), abs=0.2 * sd)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit.comparisons("z"), "'z' is no predictor of the model.*x"),
        (lambda fit: fit.comparisons("y"), "'y' is no predictor"),
        (lambda fit: fit.slopes("f"), "has levels, no slope"),
        (lambda fit: fit.comparisons("f", contrast="helmert"), "'reference', 'pairwise', 'sequential'"),
        (lambda fit: fit.comparisons("f", contrast=("low", "hi")), "'hi' is no level of 'f'"),
        (lambda fit: fit.comparisons("x", contrast="sdd"), "'sd', 'iqr', 'minmax'"),
        (lambda fit: fit.comparisons("x", contrast=0), "step of 0"),
        (lambda fit: fit.comparisons("x", contrast=np.nan), "finite"),
        (lambda fit: fit.comparisons("x", comparison="odds"), "no comparison 'odds'"),
        (lambda fit: fit.comparisons("x", by="h"), "by= names 'h'"),
        (lambda fit: fit.comparisons("x", kind="response"), "expected values"),
        (lambda fit: fit.comparisons("x", kind="alpha"), "kind must be"),
        (lambda fit: fit.comparisons("x", scale="odds"), "scale must be"),
        (lambda fit: fit.comparisons("x", level=95), "level must lie"),
        (lambda fit: fit.comparisons("x", rows().head(0)), "no rows"),
        (lambda fit: fit.comparisons("x", rows().drop(columns="x")), "no column 'x'"),
        (lambda fit: fit.comparisons("x", rows().assign(g="new"), groups="observed"), "needs groups that were"),
        (lambda fit: fit.marginal_means("f", over="grid"), "over must be"),
        (lambda fit: fit.marginal_means({"f": ["hi"]}), "'f' needs one value at least, of its levels low, mid, top"),
        (lambda fit: fit.marginal_means("f", rows(), over="balanced"), "leave data= out"),
    ],
)
def test_wrong_calls_are_said(gaussian, call, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        call(gaussian)

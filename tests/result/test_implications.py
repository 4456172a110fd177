"""What a prior implies, against closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit, logit

import poolwise as pw
from poolwise.errors import ArgumentError
from poolwise.priors.draw import draw_prior
from poolwise.result.implications import share_beyond


def row(table, quantity, about):
    return table[(table["quantity"] == quantity) & (table["about"] == about)].iloc[0]


def test_pooling_factors_follow_the_quantiles_of_the_ratio():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"), priors="rstanarm")
    found = model.prior_implies(draws=40_000, seed=1)
    # Under rstanarm's prior sd / sigma is exponential with mean 1, and the factor is 1 / (1 + n (sd / sigma)^2).
    one = row(found.table, "pooling factor of 1|Batch", "n = 5")
    for column, probability in (("lower", 0.95), ("estimate", 0.5), ("upper", 0.05)):
        ratio = -np.log(1 - probability)
        # Errors of a quantile of 40,000 draws.
        assert one[column] == pytest.approx(1 / (1 + 5 * ratio**2), rel=0.05)
    icc = row(found.table, "intraclass correlation", "Batch")
    assert icc["estimate"] == pytest.approx(np.log(2) ** 2 / (1 + np.log(2) ** 2), rel=0.05)
    assert "pooling factor of 1|Batch" in repr(found)


def test_icc_beta_implies_its_own_icc():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"), priors="icc_beta")
    icc = row(model.prior_implies(draws=40_000, seed=2).table, "intraclass correlation", "Batch")
    # Quantiles of Beta(2, 8).
    assert icc["estimate"] == pytest.approx(0.1796, rel=0.02)
    assert (icc["lower"], icc["upper"]) == (pytest.approx(0.0410, rel=0.05), pytest.approx(0.4291, rel=0.02))


def test_a_shift_of_the_predictor_implies_the_same():
    data = pw.load_dataset("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    tables = [
        pw.Model(formula, data.assign(Days=data["Days"] + shift)).prior_implies(seed=3).table for shift in (0, 2000)
    ]
    np.testing.assert_allclose(tables[0]["estimate"], tables[1]["estimate"], rtol=1e-6)


@pytest.mark.parametrize("preset", ["r2d2m2", "horseshoe", "pc", "boundary_avoiding", "article_2020_diffuse"])
def test_every_proper_preset_has_implications(preset):
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors=preset)
    assert np.isfinite(model.prior_implies(seed=1).table[["estimate", "lower", "upper"]]).all(axis=None)


def test_improper_priors_imply_nothing():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors="flat")
    with pytest.raises(pw.PoolwiseError, match="are improper \\(flat\\)"):
        model.prior_implies()


# Around a base rate of 0.15 on the logit scale: shares of groups with p < .01 or p > .9, to two digits.
LOGIT = {
    "brms": (pw.Prior("HalfStudentT", nu=3, sigma=2.5), lambda s: 2 * stats.t.pdf(s, 3, 0, 2.5), 0.19),
    "bambi": (pw.Prior("HalfNormal", sigma=2.5), stats.halfnorm(0, 2.5).pdf, 0.14),
    "bambi at year 2000": (pw.Prior("HalfNormal", sigma=697.9), stats.halfnorm(0, 697.9).pdf, 0.98),
    "half-normal(1)": (pw.Prior("HalfNormal", sigma=1), stats.halfnorm().pdf, 0.015),
    "exponential(1)": (pw.Prior("Exponential", lam=1), stats.expon().pdf, 0.04),
    "half-normal(.5)": (pw.Prior("HalfNormal", sigma=0.5), stats.halfnorm(0, 0.5).pdf, 0.001),
}


@pytest.mark.parametrize("name", LOGIT)
def test_shares_of_extreme_groups_on_the_logit_scale(name):
    prior, density, published = LOGIT[name]
    low, high = logit([0.01, 0.9]) - logit(0.15)

    def tails(s):
        return density(s) * (stats.norm.cdf(low / s) + stats.norm.sf(high / s))

    exact = quad(tails, 0, np.inf, limit=500)[0]
    assert exact == pytest.approx(published, abs=0.005)
    rng = np.random.default_rng(4)
    share = share_beyond(logit(0.15), draw_prior(prior, 200_000, rng), rng, expit, 0.01, 0.9)
    # Four standard errors of a share of 200,000 draws.
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 200_000))


def fixed(value: float) -> pw.Prior:
    """A prior that hardly leaves one value, so that what it implies can be worked out by hand."""
    return pw.Prior("LogNormal", mu=np.log(value), sigma=1e-9)


def unequal(shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(6)
    g = np.repeat(list("abcdefg"), [3, 4, 6, 8, 10, 20, 40])
    return pd.DataFrame({"g": g, "x": rng.normal(shift, 2, len(g)), "y": rng.normal(size=len(g))})


# A correlation of LKJ(1e12) is 0 to 1e-6, and a coefficient is within 1e-9 of its mean.
EXACT = 1e-4
FIXED = {
    "x": pw.Prior("Normal", mu=0.7, sigma=1e-9),
    "1|g_sigma": fixed(1.5),
    "x|g_sigma": fixed(0.4),
    "corr|g": pw.Prior("LKJ", eta=1e12),
    "sigma": fixed(2.0),
}


@pytest.mark.parametrize("at", ["mean", "zero"])
def test_every_quantity_by_hand(at):
    data = unequal(shift=3.0)
    preset = replace(pw.load_preset("weakly_informative").override(FIXED), group_intercept_at=at)
    found = pw.Model("y ~ x + (x | g)", data, priors=preset).prior_implies(draws=200, seed=1).table
    x, g = data["x"], data.groupby("g")["x"]
    within = ((x - g.transform("mean")) ** 2).sum() / (len(x) - 7)
    # Where the group intercepts' sd stands at zero, groups differ more where the rows are.
    spread = 1.5**2 + (0.4**2 * x.mean() ** 2 if at == "zero" else 0.0)
    groups = spread + 0.4**2 * x.var(ddof=0)
    common = 0.7**2 * x.var(ddof=0)
    total = common + groups + 4
    expected = {
        ("sd of group means", "g, units of y"): np.sqrt(spread),
        ("intraclass correlation", "g"): groups / (groups + 4),
        ("R2 of the common part", "share of the variance"): common / total,
        ("sd of the response", "units of y"): np.sqrt(total),
        ("sd of the response", "over the data's"): np.sqrt(total) / data["y"].std(),
    }
    for n in (3, 6, 8, 10, 40):
        expected["pooling factor of 1|g", f"n = {n}"] = (4 / n) / (4 / n + spread)
        noise = 4 / ((n - 1) * within)
        expected["pooling factor of x|g", f"n = {n}"] = noise / (noise + 0.4**2)
    own = found.set_index(["quantity", "about"])
    # The quartiles of seven sizes fall between them: whichever neighbour is taken.
    for key, value in expected.items():
        if key in own.index or key[0][:7] != "pooling":
            assert own.loc[key, "estimate"] == pytest.approx(value, rel=EXACT), key
    sizes = {key[1] for key in own.index if key[0] == "pooling factor of 1|g"}
    assert {"n = 3", "n = 8", "n = 40"} <= sizes and len(sizes) == 5


def test_weights_count_rows_or_divide_the_variance():
    data = unequal().assign(w=2.0)
    override = {"1|g_sigma": fixed(1.5), "sigma": fixed(2.0)}
    plain, precise, repeated = (
        pw.Model(formula, data, priors=override, **options).prior_implies(draws=200, seed=1).table
        for formula, options in (
            ("y ~ x + (1 | g)", {}),
            ("y ~ x + (1 | g)", {"weights": "w"}),
            ("weighted(y, w) ~ x + (1 | g)", {}),
        )
    )
    pooling = [table[table["quantity"] == "pooling factor of 1|g"] for table in (plain, precise, repeated)]
    assert pooling[0]["about"].tolist() == pooling[1]["about"].tolist()
    assert pooling[2]["about"].tolist()[0] == "n = 6" and pooling[0]["about"].tolist()[0] == "n = 3"
    # Twice the precision is as good as twice the rows.
    np.testing.assert_allclose(pooling[1]["estimate"], pooling[2]["estimate"], rtol=EXACT)
    icc = [row(table, "intraclass correlation", "g")["estimate"] for table in (plain, precise, repeated)]
    np.testing.assert_allclose(icc, [2.25 / 6.25, 2.25 / 4.25, 2.25 / 6.25], rtol=EXACT)


def test_slopes_without_intercepts_use_the_whole_square():
    data = unequal(shift=1.0)
    override = {"x|g_sigma": fixed(0.4), "sigma": fixed(2.0)}
    found = pw.Model("y ~ x + (0 + x | g)", data, priors=override).prior_implies(draws=200, seed=1)
    noise = 4 / (10 * (data["x"] ** 2).mean())
    assert found.pooling([10])["estimate"][0] == pytest.approx(noise / (noise + 0.16), rel=EXACT)


def test_one_row_says_nothing_of_a_slope():
    found = pw.Model("y ~ x + (x | g)", unequal()).prior_implies(draws=200, seed=1)
    table = found.pooling([1, 2]).set_index(["effect", "n"])
    assert table.loc[("x|g", 1)].tolist() == [1.0, 1.0, 1.0]
    assert table.loc[("x|g", 2), "estimate"] < 1 and table.loc[("1|g", 1), "estimate"] < 1
    with pytest.raises(pw.PoolwiseError, match=r"sizes must be numbers of rows in a group.*got \[0\]"):
        found.pooling([0])


def test_flat_slopes_leave_the_groups_to_be_judged():
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors="brms")
    found = model.prior_implies(seed=1)
    assert found.left_out == ("Days",)
    assert not set(found.table["quantity"]) & {"R2 of the common part", "sd of the response"}
    assert np.isfinite(found.table[["estimate", "lower", "upper"]]).all(axis=None)
    assert "left out, as the priors of 'Days' are improper" in repr(found) and "left out" in found._repr_html_()
    with pytest.raises(pw.PoolwiseError, match="the priors of 'Days' are improper"):
        pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy"), priors="brms").prior_implies()


def test_without_groups_there_is_nothing_to_pool():
    found = pw.Model("Reaction ~ Days", pw.load_dataset("sleepstudy")).prior_implies(seed=1)
    assert set(found.table["quantity"]) == {"R2 of the common part", "sd of the response"}
    assert "pooling" not in repr(found)


def test_the_interval_widens_with_its_level_and_the_seed_repeats():
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    narrow, wide, again = (model.prior_implies(seed=1, level=level).table for level in (0.5, 0.9, 0.9))
    pd.testing.assert_frame_equal(wide, again)
    assert (wide["upper"] - wide["lower"] > narrow["upper"] - narrow["lower"]).all()


@pytest.mark.parametrize("draws", [0, 99, 1000.0, True])
def test_the_number_of_draws_is_checked(draws):
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    with pytest.raises(pw.PoolwiseError, match="draws must be a whole number of at least 100"):
        model.prior_implies(draws=draws)


def test_names_are_escaped_in_html():
    data = unequal().rename(columns={"g": "<b>"})
    html = pw.Model("y ~ x + (1 | `<b>`)", data).prior_implies(draws=200, seed=1)._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_a_family_without_a_residual_variance_is_refused_by_name():
    model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), family="binomial")
    with pytest.raises(ArgumentError, match="'binomial' does not have"):
        model.prior_implies()

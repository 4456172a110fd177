"""What a prior implies, against closed forms."""

import numpy as np
import pytest
from scipy.special import expit

import poolwise as pw
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
    with pytest.raises(pw.PoolwiseError, match="it is improper"):
        model.prior_implies()


# Around a base rate of 0.15 on the logit scale: shares of groups with p < .01 or p > .9.
LOGIT = {
    "brms": (pw.Prior("HalfStudentT", nu=3, sigma=2.5), 0.19),
    "half-normal(1)": (pw.Prior("HalfNormal", sigma=1), 0.015),
    "exponential(1)": (pw.Prior("Exponential", lam=1), 0.04),
    "half-normal(.5)": (pw.Prior("HalfNormal", sigma=0.5), 0.001),
}


@pytest.mark.parametrize("name", LOGIT)
def test_shares_of_extreme_groups_on_the_logit_scale(name):
    prior, expected = LOGIT[name]
    rng = np.random.default_rng(4)
    sds = draw_prior(prior, 200_000, rng)
    share = share_beyond(np.log(0.15 / 0.85), sds, rng, expit, 0.01, 0.9)
    assert share == pytest.approx(expected, abs=0.012)

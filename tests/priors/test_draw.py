"""Draws of priors against scipy's quantiles, and of joint priors against what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from poolwise.errors import PriorError
from poolwise.priors.draw import draw_joint, draw_prior
from poolwise.priors.joint import DECOV, HORSESHOE, ICC_BETA, R2D2M2, JointSet
from poolwise.priors.prior import Prior

SIZE = 20_000
KNOWN = [
    (Prior("Normal", mu=2, sigma=3), stats.norm(2, 3)),
    (Prior("StudentT", nu=3, mu=1, sigma=2), stats.t(3, 1, 2)),
    (Prior("Cauchy", alpha=1, beta=2), stats.cauchy(1, 2)),
    (Prior("Laplace", mu=1, b=2), stats.laplace(1, 2)),
    (Prior("Logistic", mu=1, s=2), stats.logistic(1, 2)),
    (Prior("SkewNormal", mu=1, sigma=2, alpha=3), stats.skewnorm(3, 1, 2)),
    (Prior("Gumbel", mu=1, beta=2), stats.gumbel_r(1, 2)),
    (Prior("HalfNormal", sigma=2), stats.halfnorm(0, 2)),
    (Prior("HalfCauchy", beta=2), stats.halfcauchy(0, 2)),
    (Prior("Exponential", lam=2), stats.expon(0, 0.5)),
    (Prior("PC", u=2, alpha=0.05), stats.expon(0, -2 / math.log(0.05))),
    (Prior("Gamma", alpha=2, beta=3), stats.gamma(2, scale=1 / 3)),
    (Prior("InverseGamma", alpha=2, beta=3), stats.invgamma(2, scale=3)),
    (Prior("LogNormal", mu=1, sigma=0.5), stats.lognorm(0.5, scale=math.e)),
    (Prior("Weibull", alpha=2, beta=3), stats.weibull_min(2, scale=3)),
    (Prior("ChiSquared", nu=3), stats.chi2(3)),
    (Prior("Uniform", lower=1, upper=3), stats.uniform(1, 2)),
]
# A true null is rejected once in ten thousand seeds; the seeds are fixed.
P_VALUE = 1e-4


@pytest.mark.parametrize(("prior", "expected"), KNOWN, ids=lambda value: getattr(value, "distribution", ""))
def test_draws_have_the_distribution(prior, expected):
    drawn = draw_prior(prior, SIZE, np.random.default_rng(1))
    assert stats.kstest(drawn, expected.cdf).pvalue > P_VALUE


def test_half_t_and_root_of_inverse_gamma():
    rng = np.random.default_rng(2)
    half_t = draw_prior(Prior("HalfStudentT", nu=3, sigma=2), SIZE, rng)
    assert stats.kstest(half_t, lambda x: 2 * stats.t(3, 0, 2).cdf(x) - 1).pvalue > P_VALUE
    root = draw_prior(Prior("SqrtInverseGamma", alpha=2, beta=3), SIZE, rng)
    assert stats.kstest(root**2, stats.invgamma(2, scale=3).cdf).pvalue > P_VALUE


@pytest.mark.parametrize("name", ["Flat", "HalfFlat", "JeffreysScale"])
def test_nothing_is_drawn_from_an_improper_prior(name):
    with pytest.raises(PriorError, match="improper"):
        draw_prior(Prior(name), 10, np.random.default_rng(0))


# Probabilities of METHODS on the scale of the response's sd: P(sd < .1), median, 95 % quantile, P(sd > 2).
IMPLIED = {
    "half-Cauchy": (Prior("HalfCauchy", beta=1), 0.06, 1.0, 12.7, 0.30),
    "half-t of brms": (Prior("HalfStudentT", nu=3, sigma=1), 0.07, 0.77, 3.2, 0.14),
    "half-normal": (Prior("HalfNormal", sigma=0.5), 0.16, 0.34, 0.98, 0.0),
    "PC .05": (Prior("PC", u=1, alpha=0.05), 0.26, 0.23, 1.0, 0.0),
    "PC .01": (Prior("PC", u=1, alpha=0.01), 0.37, 0.15, 0.65, 0.0),
    "gamma": (Prior("Gamma", alpha=2, beta=2), 0.02, 0.84, 2.4, 0.09),
}


@pytest.mark.parametrize("name", IMPLIED)
def test_what_group_sd_priors_imply(name):
    prior, small, median, high, large = IMPLIED[name]
    drawn = draw_prior(prior, 200_000, np.random.default_rng(3))
    # The published figures have two digits, the draws an error of 0.001 in probability.
    assert np.mean(drawn < 0.1) == pytest.approx(small, abs=0.0065)
    assert np.median(drawn) == pytest.approx(median, abs=0.0065)
    assert np.quantile(drawn, 0.95) == pytest.approx(high, rel=0.03)
    assert np.mean(drawn > 2) == pytest.approx(large, abs=0.0065)


def test_joint_draws():
    rng, sigma = np.random.default_rng(4), np.full(SIZE, 1.5)
    _, sds, _ = draw_joint(JointSet(DECOV, (1.0, 1.0, 1.0), sds=((0, 1.0),)), sigma, rng, SIZE)
    assert stats.kstest(sds[:, 0], stats.expon(0, 1.5).cdf).pvalue > P_VALUE
    _, sds, residual = draw_joint(JointSet(ICC_BETA, (2.0, 8.0, 3.0, 1.0), sds=((0, 1.0),)), None, rng, SIZE)
    icc = sds[:, 0] ** 2 / (sds[:, 0] ** 2 + residual**2)
    assert stats.kstest(icc, stats.beta(2, 8).cdf).pvalue > P_VALUE
    one = JointSet(R2D2M2, (1.0, 1.0, 0.5), coefficients=((0, 2.0),), sds=((0, 1.0), (1, 3.0)))
    b, sds, _ = draw_joint(one, sigma, rng, SIZE)
    # Each term's share of the explained over residual variance has the same expectation, whatever its scale.
    ratio = np.median(np.abs(sds[:, 1] * 3.0)) / np.median(np.abs(sds[:, 0]))
    assert ratio == pytest.approx(1, abs=0.1)
    assert abs(b.mean()) < 5 * b.std() / math.sqrt(SIZE)
    one = JointSet(HORSESHOE, (1.0, 0.1, 2.0, 4.0), coefficients=((0, 1.0), (1, 5.0)))
    b, _, _ = draw_joint(one, sigma, rng, SIZE)
    assert np.quantile(np.abs(b[:, 0]), 0.9) / np.quantile(np.abs(b[:, 1]), 0.9) == pytest.approx(5, rel=0.2)

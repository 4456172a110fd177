"""Row densities are scipy's, their slopes difference quotients, and the information the variance of the slope.

Values to 1e-9 relative; quotients with a step of 1e-5 to 3e-6 (their own error). Where scipy takes one minus a
probability its digits are lost, so the ordinal reference takes differences in the tail where both are small.
"""

import numpy as np
import pytest
import scipy.stats as st
from scipy.special import digamma, expit, gamma, polygamma

from poolwise.algebra import likelihoods as lk
from poolwise.algebra.likelihoods import constants, own_density, prepare, row_density

INVERSE = {
    lk.LOGIT: (expit, lambda x: expit(-x)),
    lk.PROBIT: (st.norm.cdf, st.norm.sf),
    lk.CLOGLOG: (lambda x: -np.expm1(-np.exp(x)), lambda x: np.exp(-np.exp(x))),
}


def ordinal(y, eta, thresholds, link):
    cdf, sf = INVERSE[link]
    edges = np.concatenate([[-np.inf], np.asarray(thresholds) - eta, [np.inf]])
    low, high = edges[int(y)], edges[int(y) + 1]
    return np.log(sf(low) - sf(high) if low > 0 else cdf(high) - cdf(low))


CASES = {
    "poisson": (lk.POISSON, lk.LOG, [0.0, 3.0, 40.0], [], lambda y, e, o: st.poisson.logpmf(y, np.exp(e))),
    "negative binomial": (
        lk.NEGATIVE_BINOMIAL,
        lk.LOG,
        [0.0, 3.0],
        [1.7],
        lambda y, e, o: st.nbinom.logpmf(y, o[0], o[0] / (o[0] + np.exp(e))),
    ),
    "gamma": (lk.GAMMA, lk.LOG, [1.3], [1.7], lambda y, e, o: st.gamma.logpdf(y, o[0], scale=np.exp(e) / o[0])),
    "exponential": (lk.EXPONENTIAL, lk.LOG, [1.3], [], lambda y, e, o: st.expon.logpdf(y, scale=np.exp(e))),
    "weibull": (
        lk.WEIBULL,
        lk.LOG,
        [1.3],
        [1.7],
        lambda y, e, o: st.weibull_min.logpdf(y, o[0], scale=np.exp(e) / gamma(1 + 1 / o[0])),
    ),
    "beta": (
        lk.BETA,
        lk.LOGIT,
        [0.3],
        [3.3],
        lambda y, e, o: st.beta.logpdf(y, expit(e) * o[0], expit(-e) * o[0]),
    ),
    "student": (lk.STUDENT, lk.IDENTITY, [1.3], [0.7, 4.0], lambda y, e, o: st.t.logpdf(y, o[1], e, o[0])),
    "normal": (lk.NORMAL, lk.IDENTITY, [1.3], [0.7], lambda y, e, o: st.norm.logpdf(y, e, o[0])),
}
for name, link in (("logit", lk.LOGIT), ("probit", lk.PROBIT), ("cloglog", lk.CLOGLOG)):
    CASES[f"binomial {name}"] = (
        lk.BINOMIAL,
        link,
        [0.0, 2.0, 5.0],
        [],
        lambda y, e, o, link=link: st.binom.logpmf(y, 5, INVERSE[link][0](e)),
    )
    CASES[f"cumulative {name}"] = (
        lk.CUMULATIVE,
        link,
        [0.0, 1.0, 2.0, 3.0],
        [-1.0, 0.5, 1.2],
        lambda y, e, o, link=link: ordinal(y, e, o, link),
    )


def whole(code, link, y, eta, own):
    """Value with every term, slope, information, and slopes by the family's own parameters."""
    beside = {lk.BINOMIAL: 5.0, lk.POISSON: 1.0}.get(code, np.log(y) if y > 0 else 0.0)
    extended, bar = np.append(own, 0.0), np.zeros(len(own) + 1)
    prepare(code, extended)
    value, slope, information = row_density(code, link, y, beside, eta, extended, bar, 1.0, True)
    value += own_density(code, extended, bar, np.array([y]), np.ones(1))
    trials = np.array([5.0 if code == lk.BINOMIAL else 1.0])
    return value + constants(code, np.array([y]), trials)[0], slope, information, bar[: len(own)]


@pytest.mark.parametrize("eta", [-2.0, 0.3, 1.5])
@pytest.mark.parametrize("case", CASES)
def test_density_and_slopes(case, eta):
    code, link, responses, own, density = CASES[case]
    step = 1e-5
    for y in responses:
        value, slope, information, bar = whole(code, link, y, eta, own)
        assert value == pytest.approx(float(density(y, eta, own)), rel=1e-9)
        quotient = (density(y, eta + step, own) - density(y, eta - step, own)) / (2 * step)
        assert slope == pytest.approx(float(quotient), rel=3e-6, abs=3e-6)
        assert information > 0
        for k in range(len(own)):
            high, low = list(own), list(own)
            high[k] += step
            low[k] -= step
            quotient = (density(y, eta, high) - density(y, eta, low)) / (2 * step)
            assert bar[k] == pytest.approx(float(quotient), rel=3e-6, abs=3e-6)


@pytest.mark.parametrize("case", [name for name in CASES if name.split()[0] in ("binomial", "cumulative", "poisson")])
def test_information_is_the_variance_of_the_slope(case):
    code, link, _, own, density = CASES[case]
    support = {lk.BINOMIAL: 6, lk.CUMULATIVE: 4, lk.POISSON: 200}[code]
    found = [whole(code, link, float(y), 0.4, own) for y in range(support)]
    chances = np.exp([density(float(y), 0.4, own) for y in range(support)])
    assert found[0][2] == pytest.approx(sum(p * one[1] ** 2 for p, one in zip(chances, found, strict=True)), rel=1e-8)


@pytest.mark.parametrize("eta", [-800.0, -40.0, 40.0, 800.0])
@pytest.mark.parametrize("link", INVERSE)
def test_far_predictors_stay_finite(link, eta):
    for y in (0.0, 5.0):
        value, slope, _ = row_density(lk.BINOMIAL, link, y, 5.0, eta, np.zeros(1), np.zeros(1), 1.0, True)
        assert not np.isnan(value) and not np.isnan(slope)


def test_digamma():
    x = np.array([1e-3, 0.1, 0.5, 1.0, 3.0, 9.9, 10.0, 100.0, 1e5])
    np.testing.assert_allclose([lk.digamma(value) for value in x], digamma(x), rtol=1e-12)


@pytest.mark.parametrize(("eta", "total"), [(0.2, 3.3), (-1.5, 0.8), (1.0, 40.0)])
def test_the_information_of_a_beta_response_is_the_variance_of_its_slope(eta, total):
    # Ferrari & Cribari-Neto (2004), eq. 7; the kernel takes trigamma as a slope of digamma, good to 1e-6.
    mean = expit(eta)
    own = np.array([total, 0.0])
    prepare(lk.BETA, own)
    found = row_density(lk.BETA, lk.LOGIT, 0.3, np.log(0.3), eta, own, np.zeros(2), 1.0, True)[2]
    expected = (polygamma(1, mean * total) + polygamma(1, (1 - mean) * total)) * (total * mean * (1 - mean)) ** 2
    assert found == pytest.approx(expected, rel=1e-6)

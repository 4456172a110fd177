"""The kernel's densities are scipy's, constants included, and their slopes are those of the densities."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from poolwise.priors.density import prior_code, prior_logpdf
from poolwise.priors.distributions import CORRELATION, DISTRIBUTIONS, JOINT

# Two evaluations of one formula in double precision, with lgamma and log1p of large arguments.
RTOL = ATOL = 1e-9
# Central differences with a relative step of 1e-6: truncation about 1e-12, rounding about 1e-10 of the log density.
DIFFERENCE_RTOL = DIFFERENCE_ATOL = 1e-5

SCIPY = {
    "Normal": lambda mu, sigma: stats.norm(mu, sigma),
    "StudentT": lambda nu, mu, sigma: stats.t(nu, mu, sigma),
    "Cauchy": lambda alpha, beta: stats.cauchy(alpha, beta),
    "Laplace": lambda mu, b: stats.laplace(mu, b),
    "HalfNormal": lambda sigma: stats.halfnorm(0, sigma),
    "HalfCauchy": lambda beta: stats.halfcauchy(0, beta),
    "Exponential": lambda lam: stats.expon(0, 1 / lam),
    "PC": lambda u, alpha: stats.expon(0, -u / math.log(alpha)),
    "Gamma": lambda alpha, beta: stats.gamma(alpha, scale=1 / beta),
    "InverseGamma": lambda alpha, beta: stats.invgamma(alpha, scale=beta),
    "LogNormal": lambda mu, sigma: stats.lognorm(sigma, scale=math.exp(mu)),
    "Uniform": lambda lower, upper: stats.uniform(lower, upper - lower),
}
CLOSED = [name for name, known in DISTRIBUTIONS.items() if known.closed and known.support not in (CORRELATION, JOINT)]
PROPER = [name for name in CLOSED if name not in ("Flat", "HalfFlat", "JeffreysScale")]

# The first call loads or compiles the kernel, which no example should be timed by.
prior_logpdf(*prior_code("Flat", {}), 0.0)

real = st.floats(-50, 50)
positive = st.floats(0.05, 20)


@st.composite
def priors(draw, names=tuple(CLOSED)):
    """Name and arguments of a prior."""
    name = draw(st.sampled_from(names))
    if name == "Uniform":
        lower = draw(real)
        return name, {"lower": lower, "upper": lower + draw(positive)}
    domains = DISTRIBUTIONS[name].arguments
    values = {"positive": positive, "share": st.floats(0.01, 0.99), "real": real}
    return name, {key: draw(values[domain]) for key, domain in domains.items()}


def logpdf(name, params, x):
    return prior_logpdf(*prior_code(name, params), float(x))


@given(priors(names=tuple(SCIPY)), real)
def test_log_density_is_that_of_scipy(prior, x):
    name, params = prior
    x = abs(x) + 0.01 if DISTRIBUTIONS[name].support == "positive" else x
    # scipy takes the log of the Laplace density, which is subnormal from exp(-700) on.
    assume(name != "Laplace" or abs(x - params["mu"]) < 600 * params["b"])
    np.testing.assert_allclose(logpdf(name, params, x)[0], SCIPY[name](**params).logpdf(x), rtol=RTOL, atol=ATOL)


@given(positive, positive, st.floats(0, 50))
def test_half_student_t_has_twice_the_density(nu, sigma, x):
    expected = stats.t(nu, 0, sigma).logpdf(x) + math.log(2)
    np.testing.assert_allclose(logpdf("HalfStudentT", {"nu": nu, "sigma": sigma}, x)[0], expected, rtol=RTOL, atol=ATOL)


@given(positive, positive, st.floats(0.1, 20))
def test_sqrt_inverse_gamma_is_inverse_gamma_on_the_variance(alpha, beta, x):
    expected = stats.invgamma(alpha, scale=beta).logpdf(x**2) + math.log(2 * x)
    params = {"alpha": alpha, "beta": beta}
    np.testing.assert_allclose(logpdf("SqrtInverseGamma", params, x)[0], expected, rtol=RTOL, atol=ATOL)


def test_improper_densities():
    assert logpdf("Flat", {}, -3) == (0.0, 0.0)
    assert logpdf("HalfFlat", {}, 3) == (0.0, 0.0)
    assert logpdf("JeffreysScale", {}, 4) == (-math.log(4), -0.25)


@given(priors(), st.floats(0.05, 0.95))
def test_slope_is_the_difference_quotient(prior, share):
    name, params = prior
    if name == "Uniform":
        x = params["lower"] + share * (params["upper"] - params["lower"])
    else:
        # Off every centre, where Laplace has its kink.
        centre = params.get("mu", params.get("alpha", 0.0)) if DISTRIBUTIONS[name].support == "real" else 0.0
        x = centre + 0.1 + 5 * share
        if DISTRIBUTIONS[name].support == "unit":
            x = 0.05 + 0.9 * share
    step = 1e-6 * max(abs(x), 0.1)
    if name == "Uniform" and not params["lower"] < x - step < x + step < params["upper"]:
        return
    high, low = logpdf(name, params, x + step)[0], logpdf(name, params, x - step)[0]
    slope = logpdf(name, params, x)[1]
    # What rounding of the log densities alone can do to the quotient.
    noise = 1e-14 * max(abs(high), abs(low), 1.0) / step
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=DIFFERENCE_RTOL, atol=DIFFERENCE_ATOL + noise)


@given(priors(names=tuple(name for name in CLOSED if DISTRIBUTIONS[name].support == "positive")))
def test_nothing_below_zero(prior):
    assert logpdf(*prior, -0.5) == (-math.inf, 0.0)


def test_nothing_outside_an_interval():
    params = {"lower": -1.0, "upper": 2.0}
    assert logpdf("Uniform", params, -1.001) == (-math.inf, 0.0)
    assert logpdf("Uniform", params, 2.001) == (-math.inf, 0.0)
    assert logpdf("Uniform", params, 0) == (-math.log(3), 0.0)


@pytest.mark.parametrize("name", PROPER)
def test_proper_densities_integrate_to_one(name):
    params = {key: 1.5 if domain == "positive" else 0.3 for key, domain in DISTRIBUTIONS[name].arguments.items()}
    if name == "Uniform":
        params = {"lower": -1.0, "upper": 2.0}
    # x = sinh(v) reaches 1e12 either way, which leaves less than 1e-6 of the Cauchy's tails out. An odd number of
    # points puts one at 0 only for densities on the whole line.
    v = np.linspace(-28, 28, 400_001)
    x = np.sinh(v)
    density = np.exp([logpdf(name, params, value)[0] for value in x])
    np.testing.assert_allclose(np.trapezoid(density * np.cosh(v), v), 1, atol=2e-4)


def test_every_closed_distribution_has_a_code():
    for name in CLOSED:
        params = dict.fromkeys(DISTRIBUTIONS[name].arguments, 0.9) | ({"upper": 2.0} if name == "Uniform" else {})
        assert math.isfinite(logpdf(name, params, 0.8 if DISTRIBUTIONS[name].support == "unit" else 1.5)[0])


def test_what_is_not_closed_has_none():
    with pytest.raises(ValueError, match="Gumbel is not of the closed set"):
        prior_code("Gumbel", {"mu": 0.0, "beta": 1.0})

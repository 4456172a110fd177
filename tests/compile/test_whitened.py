"""The whitened form is the generative model in other coordinates: same density, right gradient, same posterior.

Densities are compared by their differences between random points, less the log Jacobian of the map, which is
measured by finite differences; gradients against central differences of the value (1e-6 relative).
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.compile.whitened import log_posterior
from poolwise.fit.whitened import WhitenedSampler

N = 60


def table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, h = np.arange(N) % 7, rng.integers(0, 4, N)
    x = rng.normal(3, 1, N)
    eta = 0.3 * (x - 3) + rng.normal(0, 0.7, 7)[g] + rng.normal(0, 0.4, 4)[h]
    mean = np.exp(eta)
    return pd.DataFrame(
        {
            "x": x,
            "g": g.astype(str),
            "h": h.astype(str),
            "n": rng.integers(3, 9, N),
            "event": rng.random(N) < 1 / (1 + np.exp(-eta)),
            "successes": rng.binomial(3, 1 / (1 + np.exp(-eta))),
            "count": rng.poisson(mean),
            "time": rng.gamma(2.0, mean / 2),
            "share": np.clip(rng.beta(2 * mean, 2.0), 0.01, 0.99),
            "real": eta + rng.standard_t(4, N),
            "level": np.digitize(eta + rng.logistic(0, 1, N), [-1.0, 0.2, 1.0]),
        }
    )


MODELS = [
    ("event ~ x + (1|g)", "bernoulli", None),
    ("event ~ x + (x|g) + (1|h)", "bernoulli", "probit"),
    ("p(successes, n) ~ x + (x|g)", "binomial", "cloglog"),
    ("count ~ x + (x||g) + (1|h)", "poisson", None),
    ("count ~ x + (x|g) + offset(log(n))", "negativebinomial", None),
    ("time ~ x + (x|g)", "gamma", "log"),
    ("time ~ x + (1|g:h) + (1|g)", "weibull", None),
    ("time ~ 0 + x + (1|g)", "exponential", None),
    ("share ~ x + (1|g)", "beta", None),
    ("real ~ x + (x|g)", "t", None),
    ("real ~ x + (x|g) + (1|h)", "gaussian", None),
    ("level ~ x + (x|g)", "cumulative", None),
    ("level ~ x + (1|g) + (1|h)", "cumulative", "probit"),
    ("weighted(count, n) ~ x + (1|g)", "poisson", None),
]


def sampler(formula: str, family: str, link: str | None, priors=None) -> tuple[pw.Model, WhitenedSampler]:
    model = pw.Model(formula, table(), family=family, link=link, priors=priors)
    return model, WhitenedSampler(model.design, model.specification.priors, centred=model.specification.centred)


@pytest.mark.parametrize(("formula", "family", "link"), MODELS)
def test_gradient_is_that_of_the_value(formula, family, link):
    _, whitened = sampler(formula, family, link)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = rng.normal(0, 0.7, whitened.model.size)
        gradient, nothing = np.empty_like(x), np.empty_like(x)
        assert np.isfinite(log_posterior(x, whitened.packed, gradient))
        step = 1e-5
        for k, direction in enumerate(np.eye(len(x))):
            up = log_posterior(x + step * direction, whitened.packed, nothing)
            down = log_posterior(x - step * direction, whitened.packed, nothing)
            assert gradient[k] == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-6)

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


def sampler(formula: str, family: str, link: str | None, priors=None, **options) -> tuple[pw.Model, WhitenedSampler]:
    model = pw.Model(formula, table(), family, priors, link=link)
    centred = model.specification.centred
    return model, WhitenedSampler(model.design, model.specification.priors, centred=centred, **options)


@pytest.mark.parametrize("blockwise", [False, True])
@pytest.mark.parametrize(("formula", "family", "link"), MODELS)
def test_gradient_is_that_of_the_value(formula, family, link, blockwise):
    _, whitened = sampler(formula, family, link, blockwise=blockwise)
    check_gradient(whitened)


def check_gradient(whitened: WhitenedSampler) -> None:
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


@pytest.mark.parametrize("priors", ["rstanarm", "horseshoe"])
@pytest.mark.parametrize(
    ("formula", "family"),
    [("count ~ x + (x|g)", "negativebinomial"), ("level ~ x + (x|g)", "cumulative"), ("real ~ x + (x|g) + (1|h)", "t")],
)
def test_gradient_under_joint_priors(formula, family, priors):
    check_gradient(sampler(formula, family, None, priors)[1])


# Models of one effect a group, whose map to the generative model's coordinates is written out below.
@pytest.mark.parametrize(
    ("formula", "family", "link"),
    [
        ("event ~ x + (1|g) + (1|h)", "bernoulli", None),
        ("p(successes, n) ~ x + (1|g)", "binomial", "probit"),
        ("count ~ x + (1|g) + offset(log(n))", "negativebinomial", None),
        ("count ~ x + (1|h) + (1|g)", "poisson", None),
        ("time ~ x + (1|g)", "weibull", None),
        ("share ~ x + (1|g)", "beta", None),
        ("real ~ x + (1|g)", "t", None),
        ("level ~ x + (1|g)", "cumulative", "cloglog"),
    ],
)
def test_density_is_the_generative_models(formula, family, link):
    model, whitened = sampler(formula, family, link)
    _, blockwise = sampler(formula, family, link, blockwise=True)
    logp = model.pymc.compile_logp(mode="FAST_COMPILE")
    x_mean = model.design.X[:, -1].mean()

    def coordinates(whitened: WhitenedSampler, x: np.ndarray) -> dict[str, np.ndarray]:
        """Values of the generative model's own unconstrained variables."""
        draws = whitened.constrain(x[None], 1)
        b = draws.coefficients[0]
        found = {"x": b[-1]}
        if family != "cumulative":
            found["Intercept_centred"] = b[0] + b[1] * x_mean
        for name, value in draws.own.items():
            if name == "threshold":
                steps = np.log(np.diff(value[0]))
                found["threshold_ordered__"] = np.concatenate([value[0][:1], steps])
            else:
                found[f"{name}_log__"] = np.log(value[0])
        for factor in model.design.factors:
            sd = draws.sds[factor.name][0, 0]
            found[f"1|{factor.name}_sigma_log__"] = np.log(sd)
            found[f"{factor.name}__z"] = draws.effects[factor.name][0] / sd
        return found

    def flat(form, x):
        found = coordinates(form, x)
        return np.concatenate([np.ravel(found[name]) for name in sorted(found)])

    rng, gaps = np.random.default_rng(2), []
    for form in (whitened, whitened, blockwise, blockwise):
        x = rng.normal(0, 0.5, form.model.size)
        step = 1e-5
        jacobian = np.column_stack(
            [(flat(form, x + step * e) - flat(form, x - step * e)) / (2 * step) for e in np.eye(form.model.size)]
        )
        _, logdet = np.linalg.slogdet(jacobian)
        own = log_posterior(x, form.packed, np.empty_like(x))
        gaps.append(own - float(logp(coordinates(form, x))) - logdet)
    # The constants agree too.
    np.testing.assert_allclose(gaps, 0.0, atol=1e-6 * (1 + abs(own)))

"""Weights of smooth functions in coordinates that follow their kernels: the generative density, without its funnel.

Densities are compared less the log Jacobian of the map, by finite differences; gradients against central differences
(1e-6 relative). Posteriors are compared within four Monte Carlo standard errors of each mean.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.compile.smooths import spectral_density
from poolwise.compile.whitened import log_posterior
from poolwise.fit.whitened import WhitenedSampler, serves
from poolwise.priors.joint import LEAST_LOG, log_spectral
from poolwise.spec.smooth import KERNELS

N = 60


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g, x, z = np.arange(N) % 6, np.linspace(0, 9, N), rng.normal(2, 1, N)
    eta = np.sin(x) + 0.3 * z + rng.normal(0, 0.5, 6)[g]
    frame = pd.DataFrame({"x": x, "z": z, "g": g.astype(str), "h": np.where(np.arange(N) % 2, "a", "b")})
    frame["real"], frame["count"] = eta + rng.normal(0, 0.4, N), rng.poisson(np.exp(eta))
    frame["event"], frame["level"] = rng.random(N) < 1 / (1 + np.exp(-eta)), np.digitize(eta, [-0.5, 0.5, 1.5])
    return frame


MODELS = {
    "alone": ("real ~ hsgp(x, m=6, c=1.5)", "gaussian"),
    "Matern, groups": ('real ~ z + hsgp(x, m=5, c=1.5, cov="Matern52") + (1 | g)', "gaussian"),
    "levels of one kernel": ("real ~ z + hsgp(x, m=4, c=1.5, by=h) + (1 | g)", "gaussian"),
    "levels of their own": ('count ~ hsgp(x, m=4, c=1.5, by=h, share_cov=False, cov="Matern32") + (1 | g)', "poisson"),
    "two terms": ("event ~ hsgp(x, m=4, c=1.5) + hsgp(z, m=3, c=2, drop_first=True) + (1 | g)", "bernoulli"),
    "a plane": ("count ~ hsgp(x, z, m=3, c=1.5) + (1 | g)", "negativebinomial"),
    "levels of a response": ("level ~ z + hsgp(x, m=4, c=1.5) + (1 | g)", "cumulative"),
}


def made(name: str) -> tuple[pw.Model, WhitenedSampler]:
    formula, family = MODELS[name]
    model = pw.Model(formula, table(), family)
    assert serves(model.design, model.specification.priors) == ""
    return model, WhitenedSampler(model.design, model.specification.priors, centred=model.specification.centred)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_that_of_the_value(name):
    _, sampler = made(name)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = rng.normal(0, 0.6, sampler.model.size)
        gradient, nothing = np.empty_like(x), np.empty_like(x)
        assert np.isfinite(log_posterior(x, sampler.packed, gradient))
        for k, direction in enumerate(np.eye(len(x)) * 1e-5):
            up = log_posterior(x + direction, sampler.packed, nothing)
            down = log_posterior(x - direction, sampler.packed, nothing)
            assert gradient[k] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_density_is_the_generative_models(name):
    model, sampler = made(name)
    design, logp = model.design, model.pymc.compile_logp(mode="FAST_COMPILE")
    middle = np.concatenate([design.X.mean(axis=0), *(own.basis.mean(axis=0) for own in design.smooths)])

    def coordinates(x: np.ndarray) -> dict[str, np.ndarray]:
        """Values of the generative model's own unconstrained variables."""
        draws = sampler.constrain(x[None], 1)
        b, found = draws.coefficients[0], {}
        weights = [draws.smooths[own.called("weights")].ravel() for own in design.smooths]
        if "z" in design.coefficient_names:
            found["z"] = b[-1]
        if design.intercept >= 0:
            others = np.concatenate([[0.0], b[1:], *weights])
            found["Intercept_centred"] = b[0] + middle @ others
        for own, value in draws.own.items():
            if own == "threshold":
                found["threshold_ordered__"] = np.concatenate([value[0][:1], np.log(np.diff(value[0]))])
            else:
                found[f"{own}_log__"] = np.log(value[0])
        for factor in design.factors:
            sd = draws.sds[factor.name][0, 0]
            found |= {
                f"1|{factor.name}_sigma_log__": np.log(sd),
                f"{factor.name}__z": draws.effects[factor.name][0] / sd,
            }
        for smooth in design.smooths:
            sds, lengths = (np.atleast_1d(draws.smooths[smooth.called(kind)][0]) for kind in ("sigma", "ell"))
            for names, values in ((smooth.sd_names, sds), (smooth.length_names, lengths)):
                found |= {f"{own}_log__": np.log(value) for own, value in zip(names, values, strict=True)}
            roots = [
                np.sqrt(spectral_density(smooth.kernel, smooth.frequencies * smooth.unit, sd, length).eval())
                for sd, length in zip(sds, lengths, strict=True)
            ]
            weight = draws.smooths[smooth.called("weights")][0]
            root = roots[0] if not smooth.levels else np.column_stack(roots)
            raw = next(own for own in model.pymc.named_vars if own.endswith("weights_raw") and smooth_of(own, smooth))
            found[raw] = weight / root
        return found

    def flat(x: np.ndarray) -> np.ndarray:
        found = coordinates(x)
        return np.concatenate([np.ravel(found[own]) for own in sorted(found)])

    rng = np.random.default_rng(2)
    for _ in range(2):
        x = rng.normal(0, 0.5, sampler.model.size)
        steps = np.eye(len(x)) * 1e-5
        jacobian = np.column_stack([(flat(x + step) - flat(x - step)) / 2e-5 for step in steps])
        own = log_posterior(x, sampler.packed, np.empty_like(x))
        # The constants agree too.
        assert own == pytest.approx(
            float(logp(coordinates(x))) + np.linalg.slogdet(jacobian)[1], abs=1e-6 * (1 + abs(own))
        )


def smooth_of(variable: str, smooth) -> bool:
    return variable.replace(",", "").startswith(smooth.term.replace(",", ""))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 2])
def test_spectral_density_and_its_derivatives(kernel, d):
    df = {"ExpQuad": 0.0, "Matern32": 3.0, "Matern52": 5.0}[kernel]
    omega = np.linspace(0.5, 6, 4 * d).reshape(4, d)
    expected = np.log(spectral_density(kernel, omega, 1.7, 0.4).eval())
    logs = np.log(1.7), np.log(0.4)
    for square, density in zip((omega**2).sum(axis=1), expected, strict=True):
        value, by_sd, by_length = log_spectral(df, d, square, *logs)
        assert value == pytest.approx(density, rel=1e-12)
        step = 1e-6
        up, down = (log_spectral(df, d, square, logs[0], logs[1] + side)[0] for side in (step, -step))
        assert (by_sd, by_length) == (2.0, pytest.approx((up - down) / (2 * step), rel=1e-6))
    assert log_spectral(0.0, 1, 1e9, *logs) == (LEAST_LOG, 0.0, 0.0)


def test_a_function_that_is_well_known_has_no_funnel():
    """The generative form has 4 divergences and 330 effective draws of 4,000 here, and takes six times as long."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 10, 200)
    data = pd.DataFrame({"x": x, "y": np.sin(x) + rng.normal(0, 0.3, 200)})
    fit = pw.Model("y ~ hsgp(x, m=20, c=1.5)", data).fit(seed=1, progress=False)
    assert fit.form.startswith("whitened") and "kernels of smooth functions" in fit.form
    assert fit.convergence.divergences == 0 and fit.convergence.rhat < 1.01 and fit.convergence.ess > 1000
    new = pd.DataFrame({"x": [2.0, 5.0, 8.0]})
    found = fit.predict(new)
    assert (np.abs(found["estimate"] - np.sin(new["x"])) < 0.25).all()


def test_a_function_that_is_nearly_a_line_does_not_diverge():
    """One to three of 4,000 draws did where steps aimed at an acceptance of 0.8."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), rng.integers(5, 12, 12))
    data = pd.DataFrame({"g": g.astype(str), "x": rng.normal(size=len(g))})
    slope = 1 + 0.5 * rng.normal(size=12)[g]
    data["y"] = rng.normal(size=12)[g] + data["x"] * slope + rng.normal(size=len(g))
    fit = pw.Model("y ~ hsgp(x, m=10, c=1.5) + (1 | g)", data).fit(seed=1, progress=False)
    assert fit.convergence.divergences <= 1 and fit.convergence.ess > 1000


@pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
@pytest.mark.parametrize("name", ["levels of their own", "Matern, groups"])
def test_the_posterior_is_the_generative_forms(name):
    formula, family = MODELS[name]
    model = pw.Model(formula, table(), family)
    whitened = model.fit(draws=1000, seed=1, progress=False)
    generative = model.fit(draws=1500, seed=2, progress=False, form="generative", target_accept=0.97)
    one, two = whitened.data["posterior"].to_dataset(), generative.data["posterior"].to_dataset()
    assert set(one) == set(two)
    for variable in one:
        assert one[variable].dims == two[variable].dims and one[variable].dtype == two[variable].dtype
        for dim in one[variable].dims[2:]:
            assert one[dim].to_numpy().tolist() == two[dim].to_numpy().tolist()
    a, b = whitened.summary(effects=True), generative.summary(effects=True)
    gap = (a["mean"] - b["mean"].reindex(a.index)) / np.hypot(a["mcse_mean"], b["mcse_mean"].reindex(a.index))
    # Of some thirty numbers the largest of so many normal ones is below 4 in 998 of 1,000.
    assert gap.abs().max() < 4


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("hsgp(x, m=4, c=1.5, centered=True)", "has centred weights"),
        ("hsgp(x, z, m=3, c=1.5, iso=False)", "has a length scale for each predictor"),
        ("hsgp(x, z, m=15, c=1.5)", "smooth functions have more than 200 columns"),
    ],
)
def test_what_goes_on_in_the_generative_form(term, said):
    model = pw.Model(f"real ~ {term}", table())
    assert said in serves(model.design, model.specification.priors)

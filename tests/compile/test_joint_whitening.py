"""Coordinates that follow the latents of a joint prior: the same density of the parameters, without the funnel."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.algebra import dense
from poolwise.compile import whitened
from poolwise.compile.collapsed import log_posterior
from poolwise.compile.whitened import fill_unknowns
from poolwise.fit.bayes import prior_codes, scalar_priors
from poolwise.fit.whitened import WhitenedSampler
from poolwise.priors.density import prior_logpdf
from poolwise.priors.joint import encode, joint_logpdf

# The numerical Jacobian is right to about 1e-8 an element, the dense form to ten digits of about 100.
ATOL = 1e-6

PRESETS = {
    "r2d2m2": pw.load_preset("r2d2m2"),
    "horseshoe": pw.load_preset("horseshoe"),
    "beside another prior": pw.load_preset("horseshoe").override({"x": pw.Prior("StudentT", nu=4, mu=1, sigma=2)}),
}


def few_rows() -> pd.DataFrame:
    """40 rows in 6 groups; the slope of x is weak, that of z nothing."""
    rng = np.random.default_rng(0)
    g = rng.integers(0, 6, 40)
    x, z = rng.normal(3, 1, 40), rng.normal(size=40)
    y = 1 + 0.2 * x + rng.normal(size=6)[g] + rng.normal(size=40)
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": g.astype(str)})


@pytest.mark.parametrize("name", PRESETS)
def test_the_gradient_is_the_derivative(name):
    model = pw.Model("y ~ x + z + (x | g)", few_rows(), priors=PRESETS[name])
    sampler = model.sampler
    packed = sampler.pack(sampler.model)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(0, 0.7, sampler.model.size)
        gradient, scratch = np.zeros_like(x), np.zeros_like(x)
        log_posterior(x, packed, gradient)
        for k, step in enumerate(np.eye(len(x)) * 1e-6):
            slope = (log_posterior(x + step, packed, scratch) - log_posterior(x - step, packed, scratch)) / 2e-6
            assert slope == pytest.approx(gradient[k], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_the_density_is_that_of_the_parameters(name):
    """log p(y | parameters) by its definition, plus log p(parameters), plus the log volume of the map from x."""
    model = pw.Model("y ~ x + z + (1 | g)", few_rows(), priors=PRESETS[name])
    sampler, design = model.sampler, model.design
    collapsed, (factor,) = sampler.model, design.factors
    codes = [prior_codes(one) for one in map(np.atleast_1d, scalar_priors(design, model.specification.priors))]

    def parameters(x):
        at = collapsed.constrain(x[None])
        sd = np.abs(at.group_factor[0, :, 0])
        return np.concatenate([at.coefficients[0], sd, at.sigma, x[len(x) - collapsed.n_latents :]])

    for seed in range(3):
        x = np.random.default_rng(seed).normal(0, 0.7, collapsed.size)
        there = parameters(x)
        coefficients, sd, sigma, latents = np.split(there, [3, 4, 5])
        expected = dense.log_marginal(
            design.X, factor.Z, design.y, factor.codes, coefficients, np.diag(sd), float(sigma[0]) ** 2
        )
        centred = coefficients.copy()
        centred[0] = design.X.mean(axis=0) @ coefficients
        for rows, numbers in zip(codes, (centred, sd, sigma), strict=True):
            expected += sum(
                prior_logpdf(int(row[0]), *row[1:], number)[0] for row, number in zip(rows, numbers, strict=True)
            )
        bars = np.zeros_like(centred), np.zeros_like(sd), np.zeros_like(latents)
        expected += joint_logpdf(encode(collapsed.joint), centred, sd, float(sigma[0]), latents, *bars)[0]
        steps = np.eye(len(x)) * 1e-5
        jacobian = np.array([(parameters(x + step) - parameters(x - step)) / 2e-5 for step in steps])
        expected += np.linalg.slogdet(jacobian)[1]
        value = log_posterior(x, sampler.pack(collapsed), np.zeros_like(x))
        assert value == pytest.approx(expected, abs=ATOL)


@pytest.mark.parametrize("preset", ["r2d2m2", "horseshoe"])
def test_slopes_that_are_hardly_identified_do_not_diverge(preset):
    """297 and 373 of 8,000 draws diverged where the coordinates did not follow the latents."""
    fit = pw.Model("y ~ x + z + (x | g)", few_rows(), priors=preset).fit(draws=2000, seed=1, progress=False)
    assert fit.convergence.divergences <= 8
    # 1,921 and more on the processors tried; the draws depend on how they round.
    assert fit.convergence.ess > 1000


# The form with explicit effects, of every family: there a factor that was made once does not follow the latents.

FAMILIES = {
    "gaussian, r2d2m2": ("y ~ x + z + (1 | g) + (1 | h)", "gaussian", "r2d2m2"),
    "bernoulli, horseshoe": ("b ~ x + z + (x | g)", "bernoulli", "horseshoe"),
    "cumulative, horseshoe": ("o ~ x + z + (1 | g)", "cumulative", "horseshoe"),
}


def of_family(name: str) -> tuple[WhitenedSampler, WhitenedSampler]:
    """Following the latents, and made once."""
    formula, family, preset = FAMILIES[name]
    data = few_rows()
    rng = np.random.default_rng(1)
    data = data.assign(h=list("pqrst") * 8, b=rng.integers(0, 2, 40), o=pd.Categorical(np.arange(40) % 3, ordered=True))
    specification = pw.Model(formula, data, family, priors=preset).specification
    one, two = (
        WhitenedSampler(specification.design, specification.priors, centred=True, blockwise=blockwise)
        for blockwise in (False, True)
    )
    return one, two


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_with_explicit_effects_is_the_derivative(name):
    sampler, _ = of_family(name)
    for seed in range(2):
        x = np.random.default_rng(seed).normal(0, 0.7, sampler.model.size)
        gradient, scratch = np.zeros_like(x), np.zeros_like(x)
        whitened.log_posterior(x, sampler.packed, gradient)
        for k, step in enumerate(np.eye(len(x)) * 1e-6):
            up, down = (whitened.log_posterior(x + h, sampler.packed, scratch) for h in (step, -step))
            assert (up - down) / 2e-6 == pytest.approx(gradient[k], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_coordinates_of_explicit_effects_do_not_change_the_density(name):
    """Both are linear in z; at one point of the parameters the densities differ by the volumes of the two maps."""
    samplers = of_family(name)
    N = samplers[0].model.pattern.size
    for seed in range(2):
        x = np.random.default_rng(seed).normal(0, 0.7, samplers[0].model.size)
        found, unknowns = [], np.zeros(0)
        for sampler in samplers:
            # z = 0 and the unit vectors.
            points = np.tile(x, (N + 1, 1))
            points[:, :N] = np.eye(N + 1, N, k=-1)
            images = np.empty((N + 1, N))
            fill_unknowns(points, sampler.packed, images)
            linear = (images[1:] - images[0]).T
            if not len(unknowns):
                unknowns = images[0] + linear @ x[:N]
            there = x.copy()
            there[:N] = np.linalg.solve(linear, unknowns - images[0])
            # The two references are one, so the rest of x is too.
            value = whitened.log_posterior(there, sampler.packed, np.zeros_like(x))
            found.append(value - np.linalg.slogdet(linear)[1])
        assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_several_factors_and_other_families_do_not_diverge_either():
    """217 to 270 of 4,000 draws diverged where the coordinates did not follow the latents."""
    rng = np.random.default_rng(0)
    g, h = rng.integers(0, 6, 60), rng.integers(0, 5, 60)
    x, z = rng.normal(3, 1, 60), rng.normal(size=60)
    eta = 0.2 * x - 0.6 + rng.normal(size=6)[g]
    data = {"y": 1 + eta + rng.normal(size=60), "b": (rng.random(60) < 1 / (1 + np.exp(-eta))).astype(int)}
    data |= {"x": x, "z": z, "g": g.astype(str), "h": h.astype(str)}
    for formula, family, preset in (
        ("y ~ x + z + (1 | g) + (1 | h)", "gaussian", "r2d2m2"),
        ("b ~ x + z + (1 | g)", "bernoulli", "horseshoe"),
    ):
        fit = pw.Model(formula, data, family, priors=preset).fit(seed=1, progress=False)
        assert fit.convergence.divergences <= 8, formula

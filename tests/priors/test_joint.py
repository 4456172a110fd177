"""Joint densities against scipy's densities of the independent pieces, by the numerical Jacobian of the map between."""

import numpy as np
import pytest
from scipy import stats

from poolwise.priors.joint import DECOV, HORSESHOE, ICC_BETA, R2D2M2, JointSet, encode, joint_logpdf

SETS = {
    "decov of one": [JointSet(DECOV, (1.0, 1.0, 1.0), sds=((0, 1.0),))],
    "decov of three": [JointSet(DECOV, (1.5, 2.0, 0.7), sds=((0, 1.0), (2, 1.0), (1, 1.0)))],
    "two decovs": [
        JointSet(DECOV, (1.0, 1.0, 2.0), sds=((0, 1.0), (1, 1.0))),
        JointSet(DECOV, (1.0, 1.5, 1.0), sds=((2, 1.0),))],
    "icc": [JointSet(ICC_BETA, (2.0, 8.0, 3.0, 1.7), sds=((1, 1.0),))],
    "icc of two": [JointSet(ICC_BETA, (2.0, 8.0, 3.0, 1.7), sds=((1, 1.0), (2, 1.0)))],
    "r2d2m2": [JointSet(R2D2M2, (1.0, 1.5, 0.5), coefficients=((1, 2.0), (2, 0.3)), sds=((0, 1.0), (1, 2.0)))],
    "horseshoe": [JointSet(HORSESHOE, (1.0, 0.2, 2.0, 4.0), coefficients=((1, 2.0), (2, 0.3)))],
}  # fmt: skip


def evaluate(sets, coefficient, sd, sigma, latent):
    bars = [np.zeros_like(coefficient), np.zeros_like(sd), np.zeros_like(latent)]
    value, slope = joint_logpdf(encode(sets), coefficient, sd, sigma, latent, *bars)
    return value, np.concatenate([*bars, [slope]])


def point(sets, seed):
    rng = np.random.default_rng(seed)
    latents = sum(len(one.centres) for one in sets)
    return (
        rng.normal(size=3),
        np.exp(rng.normal(0, 0.5, 3)),
        float(np.exp(rng.normal(0, 0.5))),
        rng.normal(0, 0.7, latents),
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_density(name, seed):
    sets = SETS[name]
    coefficient, sd, sigma, latent = point(sets, seed)
    flat = np.concatenate([coefficient, sd, latent, [sigma]])

    def value(x):
        return evaluate(sets, x[:3], x[3:6], x[-1], x[6:-1])[0]

    _, gradient = evaluate(sets, coefficient, sd, sigma, latent)
    for i in range(len(flat)):
        step = np.zeros_like(flat)
        step[i] = 1e-6
        # Central differences: truncation 1e-12, rounding 1e-10 of the density.
        assert (value(flat + step) - value(flat - step)) / 2e-6 == pytest.approx(gradient[i], rel=1e-6, abs=1e-7)


def log_jacobian(function, x):
    """Log absolute determinant of the derivative of a map, by central differences."""
    columns = []
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-6 * max(1.0, abs(x[i]))
        columns.append((function(x + step) - function(x - step)) / (2 * step[i]))
    return np.linalg.slogdet(np.array(columns).T)[1]


# The numerical Jacobian is right to about 1e-9 an element.
TOLERANCE = 1e-6


def shares(v, concentration):
    """Log Dirichlet density of the shares of v, by the first of them."""
    phi = v / v.sum()
    return stats.dirichlet.logpdf(phi, np.full(len(v), concentration)) if len(v) > 1 else 0.0


def to_total_and_shares(v):
    return np.concatenate([[v.sum()], (v / v.sum())[:-1]])


@pytest.mark.parametrize("name", ["decov of one", "decov of three", "two decovs"])
def test_decov(name):
    _, sd, sigma, latent = point(SETS[name], 5)
    expected = 0.0
    for one in SETS[name]:
        concentration, shape, scale = one.arguments
        own = sd[[position for position, _ in one.sds]]

        def pieces(sds):
            v = (sds / sigma) ** 2
            return np.concatenate([[np.sqrt(v.sum() / len(v))], (v / v.sum())[:-1]])

        tau = pieces(own)[0]
        expected += stats.gamma(shape, scale=scale).logpdf(tau) + shares((own / sigma) ** 2, concentration)
        expected += log_jacobian(pieces, own)
    assert evaluate(SETS[name], np.zeros(3), sd, sigma, latent)[0] == pytest.approx(expected, abs=TOLERANCE)


def test_decov_of_one_sd_is_exponential_in_units_of_sigma():
    value, _ = evaluate(SETS["decov of one"], np.zeros(3), np.array([1.3, 1.0, 1.0]), 0.6, np.zeros(0))
    assert value == pytest.approx(stats.expon(scale=0.6).logpdf(1.3), abs=1e-12)


@pytest.mark.parametrize("name", ["icc", "icc of two"])
def test_icc_beta(name):
    _, sd, sigma, latent = point(SETS[name], 6)
    (one,) = SETS[name]
    alpha, beta, nu, scale = one.arguments
    own = np.append(sd[[position for position, _ in one.sds]], sigma)

    def pieces(x):
        v = x**2
        groups = v[:-1]
        return np.concatenate([[np.sqrt(v.sum()), groups.sum() / v.sum()], (groups / groups.sum())[:-1]])

    total, icc = pieces(own)[:2]
    expected = stats.t(nu, 0, scale).logpdf(total) + np.log(2) + stats.beta(alpha, beta).logpdf(icc)
    expected += shares(own[:-1] ** 2, 1.0) + log_jacobian(pieces, own)
    assert evaluate(SETS[name], np.zeros(3), sd, sigma, latent)[0] == pytest.approx(expected, abs=TOLERANCE)


def test_r2d2m2():
    sets = SETS["r2d2m2"]
    coefficient, sd, sigma, latent = point(sets, 7)
    (one,) = sets
    alpha, beta, concentration = one.arguments
    scales = np.array([scale for _, scale in one.sds])

    def pieces(x):
        v = np.concatenate([np.exp(x[:2] + one.centres), (x[2:] * scales / sigma) ** 2])
        total = v.sum()
        return np.concatenate([[total / (1 + total)], (v / total)[:-1]])

    x = np.concatenate([latent, sd[:2]])
    v = np.concatenate([np.exp(latent + one.centres), (sd[:2] * scales / sigma) ** 2])
    expected = stats.beta(alpha, beta).logpdf(pieces(x)[0]) + shares(v, concentration) + log_jacobian(pieces, x)
    for w, (position, scale) in zip(v, one.coefficients, strict=False):
        expected += stats.norm(0, np.sqrt(w) * sigma / scale).logpdf(coefficient[position])
    assert evaluate(sets, coefficient, sd, sigma, latent)[0] == pytest.approx(expected, abs=TOLERANCE)


def test_horseshoe():
    sets = SETS["horseshoe"]
    coefficient, sd, sigma, latent = point(sets, 8)
    (one,) = sets
    df, global_scale, slab, slab_df = one.arguments
    local = np.exp(latent[:2])
    relative, c = np.exp(latent[2:] + np.array(one.centres[2:]))
    expected = (stats.t(df).logpdf(local) + np.log(2) + np.log(local)).sum()
    expected += stats.halfcauchy(0, global_scale).logpdf(relative) + np.log(relative)
    expected += stats.invgamma(slab_df / 2, scale=slab_df / 2 * slab**2).logpdf(c**2) + np.log(2 * c**2)
    a = (sigma * relative * local) ** 2
    spread = np.sqrt(a * c**2 / (a + c**2)) / np.array([scale for _, scale in one.coefficients])
    expected += stats.norm(0, spread).logpdf(coefficient[[1, 2]]).sum()
    assert evaluate(sets, coefficient, sd, sigma, latent)[0] == pytest.approx(expected, abs=1e-10)

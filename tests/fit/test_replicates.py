"""The compiled refit finds the ordinary optimum, boundaries included; responses are drawn as the model says."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.algebra.profiled import profile
from poolwise.fit.bootstrap import _Simulation, parametric_bootstrap
from poolwise.fit.reml import BOUNDARY_AVOIDING, SINGULAR_TOLERANCE, optimise, penalised
from poolwise.spec.crossed import crossed_sufficient

# Both are minima of one function; the criterion is flat there, so they agree far better than the parameters do.
CRITERION_ATOL = 1e-7

MODELS = {
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "sleepstudy": "Reaction ~ Days + (Days || Subject)",
    "dyestuff2": "Yield ~ 1 + (1 | Batch)",
}


def criterion(fit, Lambda, sums, power):
    Xty, yty, (Zty,) = sums
    stats = replace(fit.sufficient.stats, Xty=Xty, yty=yty, Zty=Zty)
    at = profile(stats, Lambda, reml=fit.reml)
    structure = fit.sufficient.structure
    theta = structure.theta(Lambda)
    return stats, penalised(at.criterion, structure.theta(at.gradient), theta, structure, power)[0]


@pytest.mark.parametrize("data", MODELS)
@pytest.mark.parametrize(("reml", "penalty"), [(True, None), (False, None), (True, "boundary_avoiding")])
def test_the_optimum_is_the_ordinary_one(data, reml, penalty):
    fit = pw.Model(MODELS[data], pw.load_dataset(data)).fit_frequentist(reml=reml, penalty=penalty)
    power = 0.0 if penalty is None else BOUNDARY_AVOIDING
    size = 30
    found = parametric_bootstrap(
        fit.design, fit.sufficient, fit.optimum, reml=reml, power=power, n_boot=size, seed=3, workers=1
    )
    assert found.converged.all()
    simulate = _Simulation(fit.design, fit.sufficient, fit.optimum)
    singular = []
    for r, seed in enumerate(np.random.SeedSequence(3).spawn(size)):
        sums = simulate(np.random.default_rng(seed))
        stats, value = criterion(fit, found.Lambda[r], sums, power)
        known = optimise(stats, fit.sufficient.structure, reml=reml, power=power)
        assert value == pytest.approx(criterion(fit, known.Lambda, sums, power)[1], abs=CRITERION_ATOL)
        at = profile(stats, found.Lambda[r], reml=reml)
        np.testing.assert_allclose(found.b[r], at.b, atol=1e-8)
        assert found.s[r] == pytest.approx(at.s, rel=1e-8)
        scale = fit.sufficient.basis.z_scale
        singular.append([np.any(np.diag(L) / scale < SINGULAR_TOLERANCE) for L in (found.Lambda[r], known.Lambda)])
    ours, theirs = np.mean(singular, axis=0)
    assert ours == theirs
    if data != "sleepstudy" and penalty is None:
        # Both kinds of replicate were seen.
        assert 0 < ours < 1


@pytest.mark.parametrize("kind", ["none", "precision", "frequency"])
def test_responses_have_the_models_moments(kind):
    rng = np.random.default_rng(5)
    n = 40
    frame = pd.DataFrame({"a": rng.integers(0, 5, n), "b": rng.integers(0, 4, n), "x": rng.normal(size=n)})
    frame["w"] = rng.integers(1, 4, n)
    frame["y"] = rng.normal(size=n) + rng.normal(size=5)[frame["a"]] + rng.normal(size=4)[frame["b"]]
    frame[["a", "b"]] = frame[["a", "b"]].astype(str)
    response = "weighted(y, w)" if kind == "frequency" else "y"
    model = pw.Model(f"{response} ~ x + (x | a) + (1 | b)", frame, weights="w" if kind == "precision" else None)
    fit = model.fit_frequentist()
    collapsed, at = crossed_sufficient(model.design), fit.optimum.at
    simulate = _Simulation(model.design, collapsed, fit.optimum)
    draws = 4000
    sums = [simulate(np.random.default_rng([7, r])) for r in range(draws)]
    flat = np.array([np.concatenate([Xty, [yty], *(Zty.ravel() for Zty in Ztys)]) for Xty, yty, Ztys in sums])
    Z = np.column_stack([factor.Z for factor in model.design.factors])
    X, Z, _ = collapsed.basis.rows(model.design.X, Z, model.design.y)
    weights = np.ones(n) if model.design.weights is None else model.design.weights
    columns, V, first = [X], np.diag(at.s / weights), 0
    for factor in model.design.factors:
        q = len(factor.effects)
        own = Z[:, first : first + q]
        wide = np.zeros((n, factor.J * q))
        for i, j in enumerate(factor.codes):
            wide[i, j * q : (j + 1) * q] = own[i]
        T = fit.optimum.Lambda[first : first + q, first : first + q] * np.sqrt(at.s)
        V += wide @ np.kron(np.eye(factor.J), T @ T.T) @ wide.T
        columns.append(wide)
        first += q
    whole = np.column_stack(columns)
    weighted = whole.T * weights
    mean, covariance = weighted @ X @ at.b, weighted @ V @ weighted.T
    squares = (X @ at.b) @ (weights * (X @ at.b)) + np.trace(V * weights)
    if kind == "frequency":
        squares += at.s * (weights.sum() - n)
    linear = np.delete(flat, X.shape[1], axis=1)
    # Means to 4.5 standard errors; variances, of relative standard error sqrt(2 / 4000) = 2.2 %, to 11 %.
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(linear.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(draws) + 1e-9)
    np.testing.assert_allclose(linear.var(axis=0)[sd > 1e-8], sd[sd > 1e-8] ** 2, rtol=0.11)
    yty = flat[:, X.shape[1]]
    assert abs(yty.mean() - squares) < 4.5 * yty.std() / np.sqrt(draws)


def test_workers_do_not_change_the_result():
    fit = pw.Model(MODELS["bounce_rates"], pw.load_dataset("bounce_rates")).fit_frequentist()
    one, two = (fit.bootstrap(60, seed=11, workers=workers, progress=False) for workers in (1, 2))
    pd.testing.assert_frame_equal(one.draws, two.draws)
    # More replicates extend the draws, they do not change them.
    pd.testing.assert_frame_equal(fit.bootstrap(80, seed=11, progress=False).draws.head(60), one.draws)

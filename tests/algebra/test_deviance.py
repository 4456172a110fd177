"""The deviance with sigma given and one linear restriction, against the n x n definition and difference quotients.

Tolerances: both sides are sums of about 100 terms of size 1 in double precision, 1e-9 relative; a central difference
with step 1e-5 is good to about 1e-8 of the criterion's third derivative.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.algebra.deviance import deviance
from poolwise.algebra.profiled import profile
from poolwise.spec.crossed import crossed_sufficient, split

RTOL = 1e-9
DIFFERENCE_RTOL, DIFFERENCE_ATOL = 1e-5, 1e-5


def model(weights=None, factors="(x | a)"):
    rng = np.random.default_rng(4)
    n = 60
    frame = pd.DataFrame({"a": rng.integers(0, 7, n), "b": rng.integers(0, 5, n), "x": rng.normal(size=n)})
    frame["w"] = rng.uniform(0.5, 2, n)
    frame["y"] = frame["x"] + rng.normal(size=7)[frame["a"]] + rng.normal(size=5)[frame["b"]] + rng.normal(size=n)
    frame[["a", "b"]] = frame[["a", "b"]].astype(str)
    return pw.Model(f"y ~ x + {factors}", frame, weights=weights)


CASES = [("(x | a)", None), ("(x || a)", "w"), ("(x | a) + (1 | b)", "w"), ("(1 | a) + (x | b)", None)]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    factors, weights = request.param
    m = model(weights, factors)
    several = len(m.design.factors) > 1
    collapsed = crossed_sufficient(m.design) if several else m.sufficient
    rng = np.random.default_rng(9)
    q = collapsed.structure.q
    Lambda = np.zeros((q, q))
    for row, column in collapsed.structure.positions:
        Lambda[row, column] = rng.normal() + 2 * (row == column)
    return m.design, collapsed, Lambda


def dense(design, collapsed, Lambda, s=None, *, reml=False, restriction=None):
    """Minus twice the log-likelihood by definition, b by the equations of restricted least squares."""
    Z = np.column_stack([factor.Z for factor in design.factors])
    X, Z, y = collapsed.basis.rows(design.X, Z, design.y - design.offset)
    V = np.diag(np.ones(design.n) if design.weights is None else 1 / design.weights)
    at = 0
    for factor, block in zip(design.factors, split(Z, design), strict=True):
        own = Lambda[at : at + block.shape[1], at : at + block.shape[1]]
        at += block.shape[1]
        V += (block @ own @ own.T @ block.T) * (factor.codes[:, None] == factor.codes)
    inverse = np.linalg.inv(V)
    A, c, p = X.T @ inverse @ X, X.T @ inverse @ y, X.shape[1]
    if restriction is None:
        b = np.linalg.solve(A, c)
    else:
        a, v = restriction
        system = np.block([[A, a[:, None]], [a[None], np.zeros((1, 1))]])
        b = np.linalg.solve(system, np.append(c, v))[:p]
    squares = (y - X @ b) @ inverse @ (y - X @ b)
    df = design.n - p if reml else design.n
    s = squares / df if s is None else s
    value = np.linalg.slogdet(V)[1] + df * np.log(2 * np.pi * s) + squares / s
    return value + (np.linalg.slogdet(A)[1] if reml else 0.0), b


OPTIONS = [
    {},
    {"s": 0.7},
    {"s": 0.7, "reml": True},
    {"restriction": (np.array([0.3, -1.2]), 0.4)},
    {"s": 0.5, "restriction": (np.array([0.0, 1.0]), -0.2)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "profiled")
def test_the_definition(case, options):
    design, collapsed, Lambda = case
    found = deviance(collapsed.stats, Lambda, **options)
    value, b = dense(design, collapsed, Lambda, **options)
    assert found.value == pytest.approx(value, rel=RTOL)
    np.testing.assert_allclose(found.b, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "profiled")
def test_derivatives_are_difference_quotients(case, options):
    _, collapsed, Lambda = case
    found, step = deviance(collapsed.stats, Lambda, **options), 1e-5
    for row, column in collapsed.structure.positions:
        moved = np.zeros_like(Lambda)
        moved[row, column] = step
        up, down = (deviance(collapsed.stats, Lambda + sign * moved, **options).value for sign in (1, -1))
        expected = pytest.approx((up - down) / (2 * step), rel=DIFFERENCE_RTOL, abs=DIFFERENCE_ATOL)
        assert found.gradient[row, column] == expected
    if "s" in options:
        up, down = (
            deviance(collapsed.stats, Lambda, **(options | {"s": options["s"] * np.exp(sign * step)})).value
            for sign in (1, -1)
        )
        assert found.by_log_s == pytest.approx((up - down) / (2 * step), rel=DIFFERENCE_RTOL, abs=DIFFERENCE_ATOL)
    else:
        assert found.by_log_s == 0


def test_the_whole_gradient_is_that_of_the_covariance(case):
    """2 G Lambda, above the diagonal too: turning Lambda by an orthogonal matrix turns it alike."""
    _, collapsed, Lambda = case
    gradient = deviance(collapsed.stats, Lambda, 0.7).gradient
    G = gradient @ np.linalg.inv(Lambda) / 2
    for start, size in zip(collapsed.structure.starts, collapsed.structure.sizes, strict=True):
        block = G[start : start + size, start : start + size]
        np.testing.assert_allclose(block, block.T, rtol=1e-8, atol=1e-9 * np.abs(G).max())


def test_profiled_it_is_the_criterion_of_the_fit():
    collapsed = model("w").sufficient
    Lambda = np.array([[0.8, 0.0], [-0.2, 0.5]])
    for reml in (True, False):
        ours, known = deviance(collapsed.stats, Lambda, reml=reml), profile(collapsed.stats, Lambda, reml=reml)
        assert ours.value == pytest.approx(known.criterion, rel=1e-12)
        np.testing.assert_allclose(np.tril(ours.gradient), known.gradient, rtol=1e-8, atol=1e-10)


def test_nothing_is_raised_where_it_cannot_be_evaluated():
    collapsed = model().sufficient
    found = deviance(collapsed.stats, np.eye(2), 0.0)
    assert np.isnan(found.value)

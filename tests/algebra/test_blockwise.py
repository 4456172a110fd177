"""A whitening of which only the blocks follow the group sds, against dense matrices."""

import numpy as np
import pytest
import scipy.sparse

import poolwise as pw
from poolwise.algebra import blockwise
from poolwise.algebra.cholesky import factorise
from poolwise.algebra.joint_mode import joint_mode
from poolwise.algebra.likelihoods import density_code
from poolwise.algebra.rows import make_rows
from poolwise.fit.whitened import WhitenedSampler

N, J = 80, (7, 4)


@pytest.fixture(scope="module")
def reference():
    """A Poisson model with (x|g) and (1|h), at its joint mode."""
    rng = np.random.default_rng(0)
    g, h, x = np.arange(N) % J[0], rng.integers(0, J[1], N), rng.normal(size=N)
    code, link = density_code("poisson", "log") or (0, 0)
    ones = np.ones(N)
    X, Z = np.column_stack([ones, x]), np.column_stack([ones, x])
    y = rng.poisson(np.exp(0.3 * x + rng.normal(0, 0.6, J[0])[g])).astype(float)
    rows = make_rows(code, link, y, None, None, np.zeros(N), X, [Z, ones[:, None]], [g, h], list(J))
    mode = joint_mode(rows, np.eye(2) * 0.1, np.zeros(2), [np.eye(2), np.eye(1)], np.zeros(0))
    return mode, rows


def dense(entries, pattern) -> np.ndarray:
    lower = scipy.sparse.csc_array(
        (entries, pattern.rows, pattern.starts), shape=(pattern.size, pattern.size)
    ).toarray()
    return lower + np.tril(lower, -1).T


def precision(mode, rows, scale: float) -> np.ndarray:
    """Prior precisions where the covariances of all effects are ``scale`` times those of the reference."""
    P = np.zeros((rows.unknowns, rows.unknowns))
    for place, covariance in zip(rows.factors, mode.covariances, strict=True):
        at = slice(place.first, place.first + place.J * place.q)
        P[at, at] = np.kron(np.eye(place.J), np.linalg.inv(scale * covariance))
    return P


def test_at_the_reference_it_is_the_laplace_approximation(reference):
    mode, rows = reference
    pattern, curvature, linear, between = blockwise.follow_blocks(mode, rows)
    D0 = dense(curvature, pattern) + precision(mode, rows, 1.0)
    # The map of z: C^-T F^-T.
    C = np.linalg.cholesky(D0)
    root = np.linalg.solve(C.T, np.linalg.inv(between.toarray()).T)
    H0 = dense(mode.curvature, mode.pattern) + precision(mode, rows, 1.0)
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(H0), atol=1e-10)
    np.testing.assert_allclose(np.linalg.solve(D0, linear), mode.unknowns, atol=1e-10)


def test_blocks_are_those_with_all_others_integrated_out(reference):
    """A block's precision at another prior of its own is exact: the others' are as they were."""
    mode, rows = reference
    pattern, curvature, _, _ = blockwise.follow_blocks(mode, rows)
    H = dense(mode.curvature, mode.pattern) + precision(mode, rows, 1.0)
    place = rows.factors[0]
    block = slice(place.first, place.first + place.q)
    other = np.linalg.inv(0.1 * mode.covariances[0])
    H[block, block] += other - np.linalg.inv(mode.covariances[0])
    D = dense(curvature, pattern)[block, block] + other
    np.testing.assert_allclose(np.linalg.inv(D), np.linalg.inv(H)[block, block], rtol=1e-9)


def test_the_blocks_factor_in_the_places_of_their_pattern(reference):
    mode, rows = reference
    pattern, curvature, _, _ = blockwise.follow_blocks(mode, rows)
    D = dense(curvature, pattern) + precision(mode, rows, 3.0)
    columns = np.repeat(np.arange(pattern.size), np.diff(pattern.starts))
    L = D[pattern.rows, columns]
    half = factorise(L, pattern.starts, pattern.targets, pattern.scattered)
    assert half == pytest.approx(0.5 * np.linalg.slogdet(D)[1], rel=1e-12)


def test_coupling_is_the_gap_between_known_and_integrated(reference):
    mode, rows = reference
    H = dense(mode.curvature, mode.pattern) + precision(mode, rows, 1.0)
    V = np.linalg.inv(H)
    expected = 0.0
    for place in rows.factors:
        for j in range(place.J):
            block = slice(place.first + j * place.q, place.first + (j + 1) * place.q)
            expected += np.linalg.slogdet(H[block, block])[1] + np.linalg.slogdet(V[block, block])[1]
    assert blockwise.coupling(mode, rows) == pytest.approx(expected / (J[0] * 2 + J[1]), rel=1e-9)


def test_crossed_factors_are_followed_block_by_block_and_nested_ones_whole():
    rng = np.random.default_rng(1)
    person, item = np.repeat(np.arange(80), 24), np.tile(np.arange(24), 80)
    y = rng.random(1920) < 1 / (1 + np.exp(-rng.normal(size=80)[person] - rng.normal(size=24)[item]))
    data = {"y": y.astype(int), "person": person.astype(str), "item": item.astype(str)}
    data["part"] = (person // 4).astype(str)
    said = {}
    for other in ("item", "part"):
        model = pw.Model(f"y ~ 1 + (1|person) + (1|{other})", data, "bernoulli")
        said[other] = WhitenedSampler(model.design, model.specification.priors, centred=True).said
    assert said["item"].endswith("block by block") and said["part"].endswith("at every value of the group sds")

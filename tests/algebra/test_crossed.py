"""Several grouping factors by block elimination equal the dense definition, at random designs and parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.algebra.conditional import conditional_moments
from poolwise.algebra.crossed import crossed_products
from poolwise.algebra.crossed_conditional import crossed_effects, crossed_moments, crossed_variances
from poolwise.algebra.crossed_profiled import profile_crossed
from poolwise.algebra.crossproducts import cross_products
from poolwise.algebra.profiled import profile
from poolwise.algebra.schur import dense_storage, sparse_storage
from poolwise.algebra.theta import BlockStructure

# The dense form inverts an n x n matrix with condition up to about 1e5: ten digits are left of sixteen.
DENSE_RTOL = 1e-8
# Central differences with step 1e-6 lose about half of the digits.
DIFFERENCE_RTOL = 1e-4


class Problem:
    """A random design with F factors and its dense matrices."""

    def __init__(self, rng, kind, F, blocks, n, p, weighted, *, sparse=False):
        self.groups, self.Js = self.assign(rng, kind, F, n)
        self.sizes = [tuple(blocks[f]) for f in range(F)]
        self.Zs = [rng.normal(size=(n, sum(sizes))) for sizes in self.sizes]
        for Z in self.Zs:
            Z[:, 0] = 1.0
            if Z.shape[1] > 1:
                # A dummy column: zeros must not spoil the pattern of a group.
                Z[:, 1] = rng.integers(0, 2, n)
        self.X = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])[:, :p]
        self.y = rng.normal(size=n)
        self.weights = rng.uniform(0.2, 3.0, n) if weighted else None
        self.structure = BlockStructure(tuple(size for sizes in self.sizes for size in sizes))
        self.theta = rng.normal(size=len(self.structure.positions))
        self.theta[self.structure.on_diagonal] = np.abs(self.theta[self.structure.on_diagonal])
        self.stats = crossed_products(self.X, self.Zs, self.y, self.groups, self.Js, self.weights)
        if sparse and self.stats.columns.Q:
            self.stats.__dict__["storage"] = sparse_storage(
                self.stats.between, self.stats.rest, self.stats.columns.within, np.inf
            )

    @staticmethod
    def assign(rng, kind, F, n):
        """Crossed at random, each factor nested in the one before it, or crossed with groups that rarely meet."""
        Js = rng.integers(1, 7, F)
        groups = [rng.integers(0, J, n) for J in Js]
        if kind == "nested":
            for f in range(1, F):
                cells, groups[f] = np.unique(groups[f - 1] * 7 + groups[f], return_inverse=True)
                Js[f] = len(cells)
        if kind == "partly":
            groups[1:] = [np.minimum((groups[0] + rng.integers(0, 2, n)) % J, J - 1) for J in Js[1:]]
        return groups, [int(J) for J in Js]

    @property
    def W_inverse(self):
        return np.diag(np.ones(len(self.y)) if self.weights is None else 1 / self.weights)

    def Z(self, f):
        """Dense (n, J_f q_f)."""
        Z, q = self.Zs[f], self.Zs[f].shape[1]
        full = np.zeros((len(self.y), self.Js[f] * q))
        for i, j in enumerate(self.groups[f]):
            full[i, j * q : (j + 1) * q] = Z[i]
        return full

    def parts(self, Lambda):
        """Dense Z, and Lambda Lambda' of all effects."""
        Z = np.column_stack([self.Z(f) for f in range(len(self.Zs))])
        blocks = [np.kron(np.eye(J), block) for J, block in zip(self.Js, self.stats.blocks(Lambda), strict=True)]
        full = np.zeros((Z.shape[1], Z.shape[1]))
        at = 0
        for block in blocks:
            full[at : at + len(block), at : at + len(block)] = block
            at += len(block)
        return Z, full @ full.T

    def dense(self, Lambda, *, reml):
        """Criterion, b, A and residual variance by the definition."""
        Z, covariance = self.parts(Lambda)
        V = self.W_inverse + Z @ covariance @ Z.T
        A = self.X.T @ np.linalg.solve(V, self.X)
        b = np.linalg.solve(A, self.X.T @ np.linalg.solve(V, self.y))
        residual = self.y - self.X @ b
        n, p = self.X.shape
        df = n - p if reml else n
        s = residual @ np.linalg.solve(V, residual) / df
        logdet = np.linalg.slogdet(V)[1] + (np.linalg.slogdet(A)[1] if reml and p else 0.0)
        return logdet + df * (1 + np.log(2 * np.pi * s)), b, A, s

    def dense_moments(self, b, Lambda, s):
        """Conditional mean and covariance of all effects by the definition, and the mean's slope on b."""
        Z, covariance = self.parts(Lambda)
        V = self.W_inverse + Z @ covariance @ Z.T
        gain = covariance @ Z.T @ np.linalg.inv(V)
        return gain @ (self.y - self.X @ b), s * (covariance - gain @ Z @ covariance), -gain @ self.X


@st.composite
def problems(draw, factors=(1, 2, 3)):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["crossed", "nested", "partly"]))
    F = draw(st.sampled_from(factors))
    blocks = [draw(st.sampled_from([(1,), (2,), (1, 1), (3,), (2, 1)])) for _ in range(F)]
    return Problem(
        rng,
        kind,
        F,
        blocks,
        draw(st.integers(8, 30)),
        draw(st.integers(0, 4)),
        draw(st.booleans()),
        sparse=draw(st.booleans()),
    )


@given(problems(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_profiled_criterion_is_the_dense_one(problem, reml):
    Lambda = problem.structure.factor(problem.theta)
    at = profile_crossed(problem.stats, Lambda, reml=reml)
    criterion, b, A, s = problem.dense(Lambda, reml=reml)
    assert at.criterion == pytest.approx(criterion, rel=DENSE_RTOL, abs=1e-7)
    np.testing.assert_allclose(at.b, b, rtol=DENSE_RTOL, atol=1e-8)
    np.testing.assert_allclose(at.A, A, rtol=DENSE_RTOL, atol=1e-8)
    assert at.s == pytest.approx(s, rel=DENSE_RTOL)


@given(problems(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_gradient_is_the_derivative(problem, reml, on_the_boundary):
    structure, theta = problem.structure, problem.theta.copy()
    if on_the_boundary:
        theta[np.flatnonzero(structure.on_diagonal)[:1]] = 0.0
    gradient = structure.theta(profile_crossed(problem.stats, structure.factor(theta), reml=reml).gradient)
    for k in range(len(theta)):
        h = np.zeros_like(theta)
        h[k] = 1e-6
        up = profile_crossed(problem.stats, structure.factor(theta + h), reml=reml).criterion
        down = profile_crossed(problem.stats, structure.factor(theta - h), reml=reml).criterion
        assert (up - down) / 2e-6 == pytest.approx(gradient[k], abs=DIFFERENCE_RTOL * (1 + np.abs(gradient).max()))


@given(problems())
@settings(deadline=None, max_examples=80)
def test_conditional_moments_are_the_dense_ones(problem):
    b, s = np.linspace(-1, 1, problem.X.shape[1]), 0.7
    Lambda = problem.structure.factor(problem.theta)
    moments = crossed_moments(problem.stats, b, Lambda * np.sqrt(s), s)
    mean, covariance, slope = problem.dense_moments(b, Lambda, s)
    np.testing.assert_allclose(np.concatenate([m.ravel() for m in moments.mean]), mean, rtol=1e-7, atol=1e-8)
    slopes = np.concatenate([np.vstack(m) for m in moments.slope])
    np.testing.assert_allclose(slopes, slope, rtol=1e-7, atol=1e-8)
    at = 0
    for blocks in moments.covariance:
        for block in blocks:
            q = len(block)
            np.testing.assert_allclose(block, covariance[at : at + q, at : at + q], rtol=1e-7, atol=1e-8)
            at += q


@given(problems(), st.data())
@settings(deadline=None, max_examples=60)
def test_variance_of_rows_is_the_dense_one(problem, data):
    """Old rows, pairs of groups that never met, and groups that were not in the data."""
    s, rng = 0.7, np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    Lambda = problem.structure.factor(problem.theta)
    groups = [np.concatenate([g, rng.integers(-1, J, 12)]) for g, J in zip(problem.groups, problem.Js, strict=True)]
    Zs = [np.vstack([Z, rng.normal(size=(12, Z.shape[1]))]) for Z in problem.Zs]
    ours = crossed_variances(problem.stats, Lambda * np.sqrt(s), s, Zs, groups)
    _, covariance, _ = problem.dense_moments(np.zeros(problem.X.shape[1]), Lambda, s)
    rows, new, at = np.zeros((len(ours), len(covariance))), np.zeros(len(ours)), 0
    for Z, group, J, block in zip(Zs, groups, problem.Js, problem.stats.blocks(Lambda), strict=True):
        q = Z.shape[1]
        for i, j in enumerate(group):
            if j < 0:
                new[i] += s * np.sum((Z[i] @ block) ** 2)
            else:
                rows[i, at + j * q : at + (j + 1) * q] = Z[i]
        at += J * q
    expected = new + np.einsum("nk,kl,nl->n", rows, covariance, rows)
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-8)


@given(problems((1,)), st.booleans())
@settings(deadline=None, max_examples=40)
def test_one_factor_is_the_algebra_of_one_factor(problem, reml):
    Lambda = problem.structure.factor(problem.theta)
    stats = cross_products(problem.X, problem.Zs[0], problem.y, problem.groups[0], problem.Js[0], problem.weights)
    ours, theirs = profile_crossed(problem.stats, Lambda, reml=reml), profile(stats, Lambda, reml=reml)
    assert ours.criterion == pytest.approx(theirs.criterion, rel=1e-11)
    np.testing.assert_allclose(ours.gradient, theirs.gradient, rtol=1e-8, atol=1e-9)
    moments = crossed_moments(problem.stats, ours.b, Lambda, 1.0)
    for ours_, theirs_ in zip(
        (moments.mean[0], moments.covariance[0], moments.slope[0]),
        conditional_moments(stats, ours.b, Lambda, 1.0),
        strict=True,
    ):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-8, atol=1e-9)


@given(problems((3,)), st.permutations([0, 1, 2]))
@settings(deadline=None, max_examples=40)
def test_the_order_of_factors_does_not_matter(problem, order):
    Lambda = problem.structure.factor(problem.theta)
    at = profile_crossed(problem.stats, Lambda, reml=True)
    pick = lambda items: [items[f] for f in order]  # noqa: E731
    stats = crossed_products(
        problem.X, pick(problem.Zs), problem.y, pick(problem.groups), pick(problem.Js), problem.weights
    )
    shuffled = np.zeros_like(Lambda)
    for to, block in zip(stats.blocks(shuffled), pick(problem.stats.blocks(Lambda)), strict=True):
        to[...] = block
    moved = profile_crossed(stats, shuffled, reml=True)
    assert moved.criterion == pytest.approx(at.criterion, rel=1e-10)
    gradients = zip(stats.blocks(moved.gradient), pick(problem.stats.blocks(at.gradient)), strict=True)
    for ours, theirs in gradients:
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["crossed", "nested", "partly"])
def test_drawn_effects_have_the_conditional_moments(kind):
    problem = Problem(np.random.default_rng(8), kind, 3, [(2,), (1,), (1, 1)], 20, 2, True)
    b, s, draws = np.array([0.3, -1.0]), 0.8, 8_000
    T = problem.structure.factor(problem.theta)
    drawn = crossed_effects(
        problem.stats,
        np.tile(b, (draws, 1)),
        np.tile(T, (draws, 1, 1)),
        np.full(draws, s),
        np.random.default_rng(9),
    )
    u = np.column_stack([effect.reshape(draws, -1) for effect in drawn])
    mean, covariance, _ = problem.dense_moments(b, T / np.sqrt(s), s)
    sd = np.sqrt(np.diag(covariance))
    # 5 standard errors of a mean, and of a covariance.
    assert np.all(np.abs(u.mean(axis=0) - mean) < 5 * sd / np.sqrt(draws))
    assert np.all(np.abs(np.cov(u.T) - covariance) < 5 * np.sqrt(2 / draws) * np.outer(sd, sd) + 1e-12)


def test_the_factor_with_most_effects_is_eliminated():
    rng = np.random.default_rng(0)
    groups = [rng.integers(0, 3, 40), rng.integers(0, 9, 40), rng.integers(0, 5, 40)]
    Zs = [np.ones((40, 1)), np.ones((40, 1)), rng.normal(size=(40, 2))]
    stats = crossed_products(np.ones((40, 1)), Zs, rng.normal(size=40), groups, [3, 9, 5])
    assert stats.eliminated == 2
    assert stats.columns.slices == (slice(0, 9), slice(9, 12))  # the larger one first
    # What is stored are the pairs of groups that meet, never groups times groups.
    meeting = sum(len({*zip(groups[2], groups[f], strict=True)}) for f in (0, 1))
    assert stats.between.data.shape == (meeting, 2, 1)


def test_an_index_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"group indices must lie in 0\.\.1"):
        crossed_products(
            np.ones((2, 1)), [np.ones((2, 1))] * 2, np.ones(2), [np.array([0, 1]), np.array([0, 2])], [2, 2]
        )


def nested(J: int):
    """Pupils in J classes of J / 8 schools, in 9 years: columns that hardly meet."""
    pupil = np.repeat(np.arange(5 * J), 2)
    groups = [pupil, pupil // 5 // 8, pupil // 5, np.arange(len(pupil)) % 9]
    Js = [5 * J, J // 8, J, 9]
    rng = np.random.default_rng(1)
    return crossed_products(
        np.ones((len(pupil), 1)), [np.ones((len(pupil), 1))] * 4, rng.normal(size=len(pupil)), groups, Js
    )


def test_nested_factors_are_sparse_and_crossed_ones_dense():
    stats = nested(400)
    assert stats.columns.slices[0] == slice(0, 400)
    # A class: itself, its school, nine years. A school: itself and years. Years: one another.
    assert stats.storage.entries == 400 * 11 + 50 * 10 + 45
    rng = np.random.default_rng(1)
    groups = [rng.integers(0, 500, 20_000), rng.integers(0, 400, 20_000)]
    Zs = [np.ones((20_000, 1))] * 2
    crossed = crossed_products(np.ones((20_000, 1)), Zs, rng.normal(size=20_000), groups, [500, 400])
    assert crossed.storage.pattern is None


@pytest.mark.parametrize("reml", [True, False])
def test_sparse_and_dense_agree(reml):
    stats, dense = nested(400), nested(400)
    dense.__dict__["storage"] = dense_storage(dense.columns.Q)
    Lambda = np.diag([0.5, 0.7, 0.3, 0.2])
    one, other = (profile_crossed(which, Lambda, reml=reml) for which in (stats, dense))
    # Sums of some thousand terms in another order.
    np.testing.assert_allclose(one.criterion, other.criterion, rtol=1e-12)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-9, atol=1e-9)

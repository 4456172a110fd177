"""The Laplace approximation of a generalised linear mixed model: modes, deviance and its exact gradient.

With eta = offset + X b + A u, A = Z Lambda and u spherical, the modes u maximise log f(y | eta) - |u|^2 / 2; then

    d(Lambda, b, own) = -2 log f(y | eta) + |u|^2 + log|M|,    M = I + A'W A

W the curvature of the rows at the modes. With s the score, l_i = a_i'M^-1 a_i, v = l dW/deta and c the solution of
(I + A'W_obs A) c = A'v, the modes moving with the parameters, the derivatives are, with r = v - 2 s - W_obs A c,

    by b        X'r
    by Lambda   sum over groups of Z'r u' + Z's c' + 2 Z'W Z Lambda M^-1        (its diagonal blocks, lower triangle)
    by own      sum of -2 dlogf + l dW + (A c) ds

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), and the vignette "Computational methods for mixed
models" of lme4 for the approximation; Kristensen, Nielsen, Berg, Skaug & Bell (2016), J. Stat. Softw. 70(5), equation
8, for the derivative of an approximation through its modes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.exponential import AtRows, ExponentialRows
from poolwise.algebra.sparse_rows import Factored, Integers, Inverse, Pattern, factorise

# Twice the fall in the deviance that one more Newton step would bring; the next step would square it.
DECREMENT = 1e-12
STEPS = 100


@dataclass(frozen=True, eq=False)
class LaplaceProblem:
    """Data of the approximation.

    Parameters
    ----------
    rows : ExponentialRows
        Responses and their family.
    X : ndarray (n, p)
        Common part.
    Z : ndarray (n, k)
        Group-specific part, the columns of all factors side by side.
    offset : ndarray (n,)
        Known part of the linear predictor.
    pattern : Pattern
        Groups of the rows.
    """

    rows: ExponentialRows
    X: Array
    Z: Array
    offset: Array
    pattern: Pattern

    @property
    def blocks(self) -> list[slice]:
        """Columns of Z of each factor."""
        ends = np.cumsum(self.pattern.widths)
        return [slice(int(end - q), int(end)) for end, q in zip(ends, self.pattern.widths, strict=True)]


@dataclass(frozen=True, eq=False)
class LaplacePoint:
    """The approximation at given parameters.

    Parameters
    ----------
    problem : LaplaceProblem
        Data.
    Lambda : ndarray (k, k)
        Factor of the group covariances, block diagonal over the factors.
    log_own : float
        Log of the family's own parameter.
    A, eta, u : ndarray (n, k), (n,), (size,)
        Rows of Z Lambda in the pattern's order, linear predictor, spherical modes.
    at : AtRows
        What the rows say there.
    expected : Factored
        M.
    reached : bool
        Whether the modes were found.
    """

    problem: LaplaceProblem
    Lambda: Array
    log_own: float
    A: Array
    eta: Array
    u: Array
    at: AtRows
    expected: Factored
    reached: bool

    @property
    def deviance(self) -> float:
        """Minus twice the approximate log-likelihood; infinite where the modes were not found."""
        value = -2 * float(self.at.logf.sum()) + float(self.u @ self.u) + self.expected.logdet
        return value if self.reached and np.isfinite(value) else np.inf

    @cached_property
    def observed(self) -> Factored:
        """I + A'W A with the observed information: minus the Hessian of the log density at the modes."""
        if self.at.observed is self.at.weight:
            return self.expected
        found = factorise(self.problem.pattern, self.A, self.at.observed)
        return found if np.isfinite(found.logdet) else self.expected

    @cached_property
    def inverse(self) -> Inverse:
        """Elements of M^-1."""
        return self.expected.inverse()

    def gradient(self) -> tuple[Array, Array, float]:
        """Derivatives of the deviance by Lambda (k, k; lower triangles of its blocks), b (p,) and log own parameter."""
        problem, at, A = self.problem, self.at, self.A
        pattern, blocks = problem.pattern, problem.blocks
        inverse_rows = self.inverse.times_rows(A)  # (n, k)
        leverage = np.einsum("nk,nk->n", A, inverse_rows)
        v = leverage * at.slope
        c = self.observed.solve(pattern.scatter(A, v))
        Ac = pattern.gather(A, c)
        r = v - 2 * at.score - at.observed * Ac
        back = np.empty_like(inverse_rows)
        back[:, pattern.order] = inverse_rows
        gradient = np.zeros_like(self.Lambda)
        us, cs = pattern.by_factor(self.u), pattern.by_factor(c)
        for where, u, own, codes in zip(blocks, us, cs, self.codes, strict=True):
            Z = problem.Z[:, where]
            total = (Z * r[:, None]).T @ u[codes] + (Z * at.score[:, None]).T @ own[codes]
            gradient[where, where] = np.tril(total + 2 * (Z * at.weight[:, None]).T @ back[:, where])
        by_own = 0.0
        if problem.rows.free:
            own_rows = problem.rows.by_own(self.eta, self.log_own, at)
            by_own = float((-2 * own_rows.logf + leverage * own_rows.weight + Ac * own_rows.score).sum())
        return gradient, problem.X.T @ r, by_own

    @property
    def codes(self) -> list[Integers]:
        """Group of each row, for each factor."""
        pattern, found, column = self.problem.pattern, [], 0
        starts = 0
        for f, (J, q) in enumerate(zip(pattern.Js, pattern.widths, strict=True)):
            if f == pattern.eliminated:
                found.append(pattern.codes)
            else:
                found.append((pattern.at[:, column] - starts) // q)
                starts += J * q
                column += q
        return found

    def information(self) -> Array:
        """X'W X - X'W A M^-1 A'W X, the information on b with the effects at their modes (lme4's RX'RX)."""
        X, w, pattern = self.problem.X, self.at.weight, self.problem.pattern
        WX = w[:, None] * X
        side = pattern.scatter(self.A, WX)
        return X.T @ WX - side.T @ self.expected.solve(side)

    def slopes(self) -> Array:
        """Derivative of the spherical modes by b, (size, p)."""
        side = self.problem.pattern.scatter(self.A, self.at.observed[:, None] * self.problem.X)
        return -self.observed.solve(side)


def laplace(
    problem: LaplaceProblem, Lambda: Array, b: Array, log_own: float = 0.0, start: Array | None = None
) -> LaplacePoint:
    """Find the modes by Newton's method, each step halved until the penalised deviance falls.

    Parameters
    ----------
    problem : LaplaceProblem
        Data.
    Lambda : ndarray (k, k)
        Factor of the group covariances.
    b : ndarray (p,)
        Common effects.
    log_own : float, default 0
        Log of the family's own parameter.
    start : ndarray (size,), optional
        Spherical effects to start from; zeros by default.

    Returns
    -------
    LaplacePoint
    """
    pattern, rows = problem.pattern, problem.rows
    A = np.ascontiguousarray((problem.Z @ Lambda)[:, pattern.order])
    base = problem.offset + problem.X @ b
    u = np.zeros(pattern.size) if start is None else start
    eta = base + pattern.gather(A, u)
    at = rows.at(eta, log_own)
    value = _penalised(at, u)
    if start is not None and not np.isfinite(value):
        return laplace(problem, Lambda, b, log_own)
    reached = False
    for _ in range(STEPS):
        if not np.isfinite(value):
            break
        # Newton's own curvature where the log density is concave, the expected one elsewhere.
        curvature = np.where(at.observed > 0, at.observed, at.expected)
        M = factorise(pattern, A, curvature)
        if not np.isfinite(M.logdet):
            break
        slope = pattern.scatter(A, at.score) - u
        step = M.solve(slope)
        decrement = float(step @ slope)
        if not np.isfinite(decrement):
            break
        size, eta_step = 1.0, pattern.gather(A, step)
        while True:
            trial_u, trial_eta = u + size * step, eta + size * eta_step
            trial = rows.at(trial_eta, log_own)
            moved = _penalised(trial, trial_u)
            # Rounding of the sum of the rows must not veto the last steps.
            if moved <= value + 1e-12 * (1 + abs(value)) or size < 1e-6:
                break
            size /= 2
        if size < 1e-6:
            reached = decrement < 1e-4
            break
        u, eta, at, value = trial_u, trial_eta, trial, moved
        if decrement < DECREMENT:
            reached = True
            break
    expected = factorise(pattern, A, at.weight)
    return LaplacePoint(problem, Lambda, log_own, A, eta, u, at, expected, reached)


def _penalised(at: AtRows, u: Array) -> float:
    return -2 * float(at.logf.sum()) + float(u @ u)

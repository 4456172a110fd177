"""The joint mode of group-specific effects and coefficients, and the curvature there: the Laplace approximation.

Fisher scoring with halved steps on the log likelihood plus the log priors of effects and coefficients.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), and lme4's PIRLS for the scoring; Dempster, Laird &
Rubin (1977) for the updates of the covariances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import scipy.optimize
import scipy.sparse

from poolwise.algebra.cholesky import Pattern, factor_pattern, factorise, reverse_factor, solve_lower, solve_upper
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.likelihoods import (
    CUMULATIVE,
    own_density,
    prepare,
    row_density,
)
from poolwise.algebra.rows import FactorPlace, Rows

STEPS = 100  # scoring steps to the mode, each of which may be halved as often
ROUNDS = 12  # updates of the covariances; the reference need only be near
TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class JointMode:
    """The mode and the quadratic approximation there.

    Parameters
    ----------
    unknowns : ndarray (N,)
        Effects and coefficients.
    pattern : Pattern
        Of the factor of the curvature plus the prior precisions.
    curvature, linear : ndarray (entries,), (N,)
        A and c: the log likelihood, and the coefficients' priors, are near -1/2 t'A t + c't.
    factor : ndarray (entries,)
        Of the curvature plus the prior precisions of effects under ``covariances``.
    covariances : list of ndarray (q_f, q_f)
        Of each factor's effects.
    own : ndarray
        The family's own parameters; thresholds less one of them, the anchor, which is minus the intercept.
    """

    unknowns: Array
    pattern: Pattern
    curvature: Array
    linear: Array
    factor: Array
    covariances: list[Array]
    own: Array


def joint_mode(
    rows: Rows,
    prior_precision: Array,
    prior_linear: Array,
    covariances: list[Array],
    own: Array,
    own_logpdf: Callable[[Array, Array], float] | None = None,
    blocks: list[Array] | None = None,
) -> JointMode:
    """Find the mode, with updates of the covariances and of the family's own parameters on the way.

    Parameters
    ----------
    rows : Rows
        The observations.
    prior_precision, prior_linear : ndarray (p, p), (p,)
        Of the coefficients: -1/2 b'P b + d'b.
    covariances : list of ndarray (q_f, q_f)
        Where the covariances of the effects begin.
    own : ndarray (k,)
        Where the family's own parameters begin, as in :class:`JointMode`.
    own_logpdf : callable, optional
        Log prior density of the family's own parameters; takes them and the coefficients.
    blocks : list of ndarray of bool (q_f, q_f), optional
        Which covariances are not zero; all by default.

    Returns
    -------
    JointMode
    """
    M = rows.matrix
    structure = abs(M.T) @ abs(M)
    structure.data[:] = 1.0
    structure = structure + scipy.sparse.eye_array(rows.unknowns)
    pattern = factor_pattern(scipy.sparse.csc_array(structure))
    problem = _Problem(rows, M.tocsc(), pattern, prior_precision, prior_linear)
    unknowns = np.zeros(rows.unknowns)
    for _ in range(ROUNDS):
        unknowns = problem.mode(unknowns, covariances, own)
        _, _, _, L = problem.factor(unknowns, covariances, own)
        spread = inverse_blocks(L, pattern, rows.factors)
        found = []
        for f, factor in enumerate(rows.factors):
            u = unknowns[factor.first : factor.first + factor.J * factor.q].reshape(factor.J, factor.q)
            covariance = (u.T @ u + spread[f].sum(axis=0)) / factor.J
            found.append(covariance if blocks is None else covariance * blocks[f])
        covariances = found
        if len(own):
            own = problem.update_own(unknowns, own, own_logpdf)
    unknowns = problem.mode(unknowns, covariances, own)
    curvature, gradient, _, L = problem.factor(unknowns, covariances, own)
    linear = gradient + _symmetric_product(curvature, pattern, unknowns)
    return JointMode(unknowns, pattern, curvature, linear, L, covariances, own)


class _Problem:
    """Value, gradient and curvature of the log likelihood and of the priors."""

    def __init__(self, rows: Rows, M, pattern: Pattern, prior_precision: Array, prior_linear: Array):
        self.rows, self.M, self.pattern = rows, M, pattern
        self.prior_precision, self.prior_linear = prior_precision, prior_linear
        self.Mt = M.T.tocsr()

    def row_values(self, unknowns: Array, own: Array) -> tuple[Array, Array, Array]:
        rows = self.rows
        eta = rows.offset + self.M @ unknowns
        return self._values(eta, own)[:3]

    def _values(self, eta: Array, own: Array) -> tuple[Array, Array, Array, float]:
        rows = self.rows
        extended = np.concatenate([own, [0.0]])
        return _row_values(
            rows.code, rows.link, rows.y, rows.trials, rows.weight, rows.distinct, rows.counts, eta, extended
        )

    def objective(self, unknowns: Array, covariances: list[Array], own: Array) -> float:
        b = unknowns[len(unknowns) - self.rows.p :]
        value = self.row_values(unknowns, own)[0].sum() - 0.5 * b @ self.prior_precision @ b + self.prior_linear @ b
        return float(value - 0.5 * unknowns @ self._effects_precision(unknowns, covariances))

    def _effects_precision(self, unknowns: Array, covariances: list[Array]) -> Array:
        found = np.zeros_like(unknowns)
        for factor, covariance in zip(self.rows.factors, covariances, strict=True):
            at = slice(factor.first, factor.first + factor.J * factor.q)
            u = unknowns[at].reshape(factor.J, factor.q)
            found[at] = np.linalg.solve(covariance, u.T).T.ravel()
        return found

    def factor(self, unknowns: Array, covariances: list[Array], own: Array) -> tuple[Array, Array, Array, Array]:
        """A, the gradient of likelihood and coefficients' priors, the gradient of all, and the factor of A + P."""
        _, slope, information = self.row_values(unknowns, own)
        N, p, pattern = len(unknowns), self.rows.p, self.pattern
        lower = scipy.sparse.tril(self.Mt @ (self.M * information[:, None]).tocsc()).tocoo()
        curvature = np.zeros(pattern.entries)
        curvature[pattern.place(lower.row.astype(np.int64), lower.col.astype(np.int64))] = lower.data
        below, left = np.tril_indices(p)
        curvature[pattern.place(N - p + below, N - p + left)] += self.prior_precision[below, left]
        gradient = self.Mt @ slope
        gradient[N - p :] += self.prior_linear - self.prior_precision @ unknowns[N - p :]
        L = curvature.copy()
        for factor, covariance in zip(self.rows.factors, covariances, strict=True):
            precision = np.linalg.inv(covariance)
            base = factor.first + factor.q * np.arange(factor.J)
            for i in range(factor.q):
                for k in range(i + 1):
                    L[pattern.place(base + i, base + k)] += precision[i, k]
        factorise(L, pattern.starts, pattern.targets, pattern.scattered)
        return curvature, gradient, gradient - self._effects_precision(unknowns, covariances), L

    def mode(self, unknowns: Array, covariances: list[Array], own: Array) -> Array:
        value = self.objective(unknowns, covariances, own)
        for _ in range(STEPS):
            _, _, gradient, L = self.factor(unknowns, covariances, own)
            step = gradient.copy()
            solve_lower(L, self.pattern.starts, self.pattern.rows, step)
            solve_upper(L, self.pattern.starts, self.pattern.rows, step)
            gain, length = float(gradient @ step), 1.0
            if not gain > TOLERANCE:
                break
            while length > 1e-10:
                there = self.objective(unknowns + length * step, covariances, own)
                if there >= value:
                    break
                length /= 2
            else:
                break
            unknowns, value = unknowns + length * step, there
        return unknowns

    def update_own(self, unknowns: Array, own: Array, own_logpdf: Callable[[Array, Array], float] | None) -> Array:
        """Maximise over the family's own parameters, on log scales, the unknowns held.

        Of thresholds it is the mode of their log steps: that of a level without answers would be at a step of 0.
        """
        rows = self.rows
        eta = rows.offset + self.M @ unknowns
        ordered = rows.code == CUMULATIVE
        start = np.log(np.diff(own)) if ordered else np.log(own)
        if not len(start):
            return own

        anchor, b = int(np.argmin(np.abs(own))), unknowns[len(unknowns) - rows.p :]

        def parameters(x: Array) -> Array:
            if not ordered:
                return np.exp(x)
            steps = np.concatenate([[0.0], np.cumsum(np.exp(x))])
            return steps - steps[anchor]

        def negative(x: Array) -> float:
            values = parameters(x)
            by_row, _, _, of_own = self._values(eta, values)
            total = by_row.sum() + of_own
            prior = own_logpdf(values, b) if own_logpdf is not None else 0.0
            return -float(total + prior + (x.sum() if ordered else 0.0))

        bounds = [(value - 2.0, value + 2.0) for value in start]
        return parameters(scipy.optimize.minimize(negative, start, bounds=bounds, method="L-BFGS-B").x)


@numba.njit(cache=True, nogil=True)
def _row_values(code, link, y, trials, weight, distinct, counts, eta, own):
    n = len(y)
    values, slopes, information, bar = np.empty(n), np.empty(n), np.empty(n), np.zeros(len(own))
    prepare(code, own)
    for i in range(n):
        value, slope, expected = row_density(code, link, y[i], trials[i], eta[i], own, bar, 0.0, True)
        values[i], slopes[i], information[i] = weight[i] * value, weight[i] * slope, weight[i] * expected
    return values, slopes, information, own_density(code, own, bar, distinct, counts)


def inverse_blocks(L: Array, pattern: Pattern, places: Sequence[FactorPlace]) -> list[Array]:
    """The groups' own blocks (J, q, q) of the inverse, from the derivative of the log determinant."""
    bar = np.zeros(pattern.entries)
    bar[pattern.starts[:-1]] = 2.0 / L[pattern.starts[:-1]]
    reverse_factor(L, bar, pattern.starts, pattern.targets, pattern.scattered)
    # An entry below the diagonal stands for the two it mirrors.
    below = np.ones(pattern.entries, dtype=bool)
    below[pattern.starts[:-1]] = False
    bar[below] /= 2.0
    return [own_blocks(bar, pattern, place) for place in places]


def own_blocks(entries: Array, pattern: Pattern, place: FactorPlace) -> Array:
    """The groups' own blocks (J, q, q) of a symmetric matrix kept in the places of the pattern."""
    blocks = np.zeros((place.J, place.q, place.q))
    base = place.first + place.q * np.arange(place.J)
    for i in range(place.q):
        for k in range(i + 1):
            blocks[:, i, k] = blocks[:, k, i] = entries[pattern.place(base + i, base + k)]
    return blocks


def _symmetric_product(entries: Array, pattern: Pattern, x: Array) -> Array:
    lower = scipy.sparse.csc_array((entries, pattern.rows, pattern.starts), shape=(pattern.size, pattern.size))
    return lower @ x + lower.T @ x - lower.diagonal() * x

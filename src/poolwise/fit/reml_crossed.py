"""REML and ML of several grouping factors: the bounded optimum of the profiled criterion, by its analytic gradient."""

from itertools import accumulate

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_profiled import profile_crossed
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.profiled import Profiled
from poolwise.algebra.schur import dense_storage
from poolwise.algebra.theta import BlockStructure
from poolwise.fit.boundary import leave_boundary
from poolwise.fit.memory import refuse_too_connected
from poolwise.fit.reml import GRADIENT_TOLERANCE, LOWEST, Optimum, _polish, optimise, penalised

# A start on the boundary would stay there, where the criterion is stationary; one far out is not worth its way back.
LEAST_START, LARGEST_START = 0.05, 10.0
# Newton steps cost two evaluations an element of theta: only where they promise a larger descent than this, which
# stands for 1e-5 standard errors of theta.
NEWTON_TOLERANCE = 1e-10
# Below this many columns a second BLAS thread saves little, and on a busy machine its spinning costs much.
SINGLE_THREAD = 4000


def optimise_crossed(
    stats: CrossedProducts, structure: BlockStructure, *, reml: bool, start: Array | None = None, power: float = 0.0
) -> Optimum:
    """Minimise the profiled criterion over theta of all factors, its diagonal elements bounded below by 0.

    Parameters
    ----------
    stats : CrossedProducts
        Sufficient statistics in the coordinates of a :class:`~poolwise.algebra.basis.Basis`.
    structure : BlockStructure
        Blocks of T, those of all factors one after the other.
    reml : bool
        Restricted or ordinary likelihood.
    start : ndarray (q, q), optional
        Lambda to start from; the optimum of each factor alone by default.
    power : float, default 0
        Of the penalty |Lambda|^power, as in :func:`poolwise.fit.reml.optimise`.

    Returns
    -------
    Optimum
        With Lambda block diagonal over the factors.

    Raises
    ------
    FitError
        If the Schur complement of the factors does not fit into the memory that is free.

    Notes
    -----
    From every bound that is reached a way back inside is looked for, see :mod:`poolwise.fit.boundary`.
    """
    refuse_too_connected(stats)
    with threadpool_limits(1 if stats.storage.work < dense_storage(SINGLE_THREAD).work else None):
        criterion = _Criterion(stats, structure, reml=reml, power=power)
        theta = structure.theta(_start(stats, structure, reml=reml) if start is None else start)
        theta, promised = _descend(theta, structure, criterion)
        for _ in range(2 * structure.q):
            # A penalty is infinite at the boundary: nothing stops there.
            inside = None if power else leave_boundary(theta, criterion(theta)[0], structure, criterion)
            if inside is None:
                break
            theta, promised = _descend(inside, structure, criterion)
        if promised > NEWTON_TOLERANCE:
            theta, _ = _polish(theta, structure, criterion)
        at, largest = criterion.profiled(theta), criterion.largest(theta)
    converged = bool(np.isfinite(at.criterion)) and largest < GRADIENT_TOLERANCE
    message = f"largest scaled projected gradient {largest:.1e} after {criterion.evaluations} evaluations"
    return Optimum(structure.factor(theta), at, converged, message, criterion.evaluations)


class _Criterion:
    """The criterion and its gradient as functions of theta; the last evaluation is kept, each is dear."""

    def __init__(self, stats: CrossedProducts, structure: BlockStructure, *, reml: bool, power: float):
        self.stats, self.structure, self.reml, self.power = stats, structure, reml, power
        self.evaluations = 0
        self._last: tuple[Array, Profiled] | None = None

    def profiled(self, theta: Array) -> Profiled:
        if self._last is None or not np.array_equal(self._last[0], theta):
            self.evaluations += 1
            at = profile_crossed(self.stats, self.structure.factor(theta), reml=self.reml)
            self._last = theta.copy(), at
        return self._last[1]

    def __call__(self, theta: Array) -> tuple[float, Array]:
        at = self.profiled(theta)
        if not np.isfinite(at.criterion):
            return 1e300, np.zeros_like(theta)
        return penalised(at.criterion, self.structure.theta(at.gradient), theta, self.structure, self.power)

    def scale(self, theta: Array) -> Array:
        """A step of each element that changes the criterion by about one, were its factor the only one.

        From the expected Hessian of minus twice the log-likelihood by a diagonal element, sum of
        (2 S_j lambda / (1 + lambda^2 S_j))^2 over the groups; in these units a first step of length one is sensible.
        """
        diagonal = np.maximum(np.diag(self.structure.factor(theta)), LEAST_START)
        steps, at = np.empty(len(diagonal)), 0
        for factor in self.stats.factors:
            own = slice(at, at + factor.q)
            S = np.einsum("jkk->jk", factor.ZtZ)
            steps[own] = 1 / np.sqrt(((2 * S * diagonal[own] / (1 + diagonal[own] ** 2 * S)) ** 2).sum(axis=0) + 1)
            at += factor.q
        return np.array([steps[row] for row, _ in self.structure.positions])

    def largest(self, theta: Array) -> float:
        """The largest element of the gradient in units of ``scale``, those aside that point out of a bound."""
        gradient = self(theta)[1] * self.scale(theta)
        free = ~(self.structure.on_diagonal & (theta <= 0) & (gradient >= 0))
        return float(np.abs(gradient[free]).max(initial=0.0))


def _descend(theta: Array, structure: BlockStructure, criterion: _Criterion) -> tuple[Array, float]:
    """Where L-BFGS-B stops, and the further descent that a Newton step with its Hessian promises."""
    scale, lowest = criterion.scale(theta), LOWEST if criterion.power else 0.0

    def scaled(x: Array) -> tuple[float, Array]:
        value, gradient = criterion(x * scale)
        return value, gradient * scale

    found = minimize(
        scaled,
        theta / scale,
        jac=True,
        method="L-BFGS-B",
        bounds=[(lowest if diagonal else None, None) for diagonal in structure.on_diagonal],
        options={"ftol": 1e-15, "gtol": 1e-5, "maxiter": 500, "maxls": 50},
    )
    slope = np.where(structure.on_diagonal & (found.x <= 0), 0.0, found.jac)
    return found.x * scale, float(slope @ found.hess_inv(slope)) / 2


def _start(stats: CrossedProducts, structure: BlockStructure, *, reml: bool) -> Array:
    """Lambda of each factor as if it were the only one: cheap, and near the optimum where factors are crossed."""
    Lambda = np.zeros((structure.q, structure.q))
    ends = list(accumulate(structure.sizes))
    for block, factor, end in zip(
        stats.blocks(Lambda), stats.factors, accumulate(f.q for f in stats.factors), strict=True
    ):
        first, last = ends.index(end - factor.q) + 1 if end > factor.q else 0, ends.index(end) + 1
        alone = optimise(factor, BlockStructure(structure.sizes[first:last]), reml=reml).Lambda
        usable = np.all(np.isfinite(alone)) and np.abs(alone).max() < LARGEST_START
        block[...] = alone if usable else np.eye(factor.q)
        np.fill_diagonal(block, np.maximum(np.diag(block), LEAST_START))
    return Lambda

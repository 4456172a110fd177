"""Profile likelihood of one parameter: the ML deviance minimised over all others, and where it crosses a level.

zeta(v) = sign(v - estimate) sqrt(D(v) - D_min), which is nearly linear and, far from a boundary, standard normal: the
interval of probability 1 - alpha holds the values with |zeta| below the normal quantile.

A parameter is held at its value by the coordinates: a group sd is the first element of the Cholesky factor of its
block's covariance once its effect stands first; the correlation of two effects is that of the first two rows; sigma is
given; a common effect is a linear restriction of the generalised least squares. The minimum is sought over the free
elements of the factor without bounds on the diagonal, in the signs of which the deviance is even.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1; Bates & Watts (1988), Nonlinear Regression
Analysis and Its Applications, chapter 6.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq, minimize

from poolwise.algebra.basis import Basis
from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.deviance import Deviance, deviance
from poolwise.algebra.theta import BlockStructure, lower_factor
from poolwise.spec.targets import COMMON, CORRELATION, GROUP_SD, RESIDUAL, Target, values

# A deviance this far below the optimum's says that the optimum was not one.
BELOW = 1e-4
# A start closer to 0 than this could stay there: the deviance is stationary where a diagonal element is 0.
LEAST_START = 0.05
# Values looked at between the estimate and a bound before the crossing is bracketed.
STEPS_TO_BOUND = 8
MOST_STEPS = 60
LARGE = 1e300
# log s is kept within this.
FARTHEST = 200.0


@dataclass
class Profiler:
    """The profile deviance of each parameter of one model.

    Parameters
    ----------
    stats : CrossProducts or CrossedProducts
        Sufficient statistics in the coordinates of ``basis``.
    basis : Basis
        The way to the units of the data.
    structure : BlockStructure
        Blocks of Lambda.
    Lambda : ndarray (q, q)
        At the ML optimum, in the coordinates of the algebra.
    """

    stats: CrossProducts | CrossedProducts
    basis: Basis
    structure: BlockStructure
    Lambda: Array
    optimum: Deviance = field(init=False)

    def __post_init__(self):
        self.optimum = deviance(self.stats, self.Lambda)
        self.offset, self.matrix = self.basis.to_coefficients
        self.from_effects = np.linalg.inv(self.basis.to_effects)

    def estimate(self, target: Target) -> float:
        """The ML estimate; NaN for a correlation with an sd of 0."""
        at = self.optimum
        return float(values([target], self.basis, at.b, self.Lambda, np.asarray(at.s))[0])

    def curve(self, target: Target) -> "Curve":
        """The profile deviance of one parameter as a function of its value."""
        held = {GROUP_SD: _HeldSd, CORRELATION: _HeldCorrelation}.get(target.kind, _HeldOutside)
        return Curve(self, target, held(self, target))


class _Held:
    """Free coordinates with one parameter held at a value."""

    lower, upper = -np.inf, np.inf

    def __init__(self, profiler: Profiler, target: Target):
        self.profiler, self.target, self.structure = profiler, target, profiler.structure
        self.explicit_s = False
        self.bounds: list[tuple[float | None, float | None]] | None = None

    def start(self) -> Array:
        raise NotImplementedError

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        raise NotImplementedError


class _HeldOutside(_Held):
    """A common effect or sigma: theta is free, in the coordinates of the algebra."""

    def start(self) -> Array:
        return self.structure.theta(_off_boundary(self.profiler.Lambda))

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        p = self.profiler
        Lambda = self.structure.factor(x)
        if self.target.kind == RESIDUAL:
            at = deviance(p.stats, Lambda, (value / p.basis.y_scale) ** 2)
        else:
            k = self.target.where[0]
            at = deviance(p.stats, Lambda, restriction=(p.matrix[k], value - p.offset[k]))
        return at.value, self.structure.theta(at.gradient)


class _HeldInBlock(_Held):
    """An sd or a correlation: its effects stand first in their block, x are the free elements of the new factor."""

    def __init__(self, profiler: Profiler, target: Target):
        super().__init__(profiler, target)
        order = list(range(self.structure.q))
        block = self.structure.block_of[target.where[0]]
        first = self.structure.starts[block]
        last = first + self.structure.sizes[block]
        rest = [k for k in range(first, last) if k not in target.where]
        order[first:last] = [*target.where, *rest]
        self.first = first
        # Effects in the units of the data, the order changed, to those of the algebra.
        self.to_algebra = profiler.from_effects[:, order]
        self.from_algebra = profiler.basis.to_effects[order]

    def _start_factor(self) -> Array:
        return lower_factor(self.from_algebra @ _off_boundary(self.profiler.Lambda))

    def _evaluate(self, relative: Array, s: float | None) -> tuple[Deviance, Array]:
        """Deviance and its derivative by the factor in the new order."""
        root = self.to_algebra @ relative
        Lambda = lower_factor(root)
        at = deviance(self.profiler.stats, Lambda, s)
        # root = Lambda Q' with Q orthogonal, and the derivative by any root is 2 G root.
        return at, self.to_algebra.T @ (at.gradient @ _rotation(Lambda, root))


class _HeldSd(_HeldInBlock):
    """x = the free elements of the relative factor, then log s."""

    lower = 0.0

    def __init__(self, profiler: Profiler, target: Target):
        super().__init__(profiler, target)
        self.free = [position for position in self.structure.positions if position != (self.first, self.first)]

    def start(self) -> Array:
        factor = self._start_factor()
        return np.array([*(factor[position] for position in self.free), np.log(self.profiler.optimum.s)])

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        # A line search may try any step; exp must not overflow.
        s = float(np.exp(np.clip(x[-1], -FARTHEST, FARTHEST)))
        relative = np.zeros((self.structure.q, self.structure.q))
        for position, element in zip(self.free, x[:-1], strict=True):
            relative[position] = element
        held = value / np.sqrt(s)
        relative[self.first, self.first] = held
        at, by_factor = self._evaluate(relative, s)
        by_log_s = at.by_log_s - by_factor[self.first, self.first] * held / 2
        return at.value, np.array([*(by_factor[position] for position in self.free), by_log_s])


class _HeldCorrelation(_HeldInBlock):
    """x = the two relative sds, not negative, then the free elements of the other rows."""

    lower, upper = -1.0, 1.0

    def __init__(self, profiler: Profiler, target: Target):
        super().__init__(profiler, target)
        f = self.first
        self.free = [pair for pair in self.structure.positions if pair not in ((f, f), (f + 1, f), (f + 1, f + 1))]
        self.bounds = [(0.0, None), (0.0, None), *([(None, None)] * len(self.free))]

    def start(self) -> Array:
        factor, f = self._start_factor(), self.first
        sds = np.sqrt((factor[f : f + 2] ** 2).sum(axis=1))
        return np.array([*sds, *(factor[position] for position in self.free)])

    def __call__(self, x: Array, value: float) -> tuple[float, Array]:
        f, left = self.first, np.sqrt(max(0.0, 1 - value**2))
        relative = np.zeros((self.structure.q, self.structure.q))
        relative[f, f], relative[f + 1, f], relative[f + 1, f + 1] = x[0], value * x[1], left * x[1]
        for position, element in zip(self.free, x[2:], strict=True):
            relative[position] = element
        at, by_factor = self._evaluate(relative, None)
        by_second = by_factor[f + 1, f] * value + by_factor[f + 1, f + 1] * left
        return at.value, np.array([by_factor[f, f], by_second, *(by_factor[position] for position in self.free)])


def _off_boundary(Lambda: Array) -> Array:
    moved = Lambda.copy()
    np.fill_diagonal(moved, np.maximum(np.diag(Lambda), LEAST_START))
    return moved


def _rotation(Lambda: Array, root: Array) -> Array:
    """Q' of root = Lambda Q', rows and columns orthonormal."""
    Q, R = np.linalg.qr(root.T)
    signs = np.where(np.diag(R) < 0, -1.0, 1.0)
    return (Q * signs).T


class Curve:
    """The profile deviance of one parameter.

    Parameters
    ----------
    profiler : Profiler
        The model.
    target : Target
        The parameter.
    held : callable
        The deviance and its gradient with the parameter held.

    Attributes
    ----------
    lower, upper : float
        Bounds of the parameter: 0 for sds, -1 and 1 for correlations.
    evaluations : dict of float to float
        The deviance at every value that was asked for, less the smallest.
    """

    def __init__(self, profiler: Profiler, target: Target, held: _Held):
        self.profiler, self.target, self.held = profiler, target, held
        self.lower, self.upper = held.lower, held.upper
        self.estimate = profiler.estimate(target)
        self.evaluations: dict[float, float] = {}
        self._solutions: dict[float, Array] = {}

    def excess(self, value: float) -> float:
        """Deviance with the parameter at this value and all others at their best, less the smallest deviance."""
        value = float(value)
        if value not in self.evaluations:
            starts = [self.held.start()]
            if self._solutions:
                near = self._solutions[min(self._solutions, key=lambda known: abs(known - value))]
                # The neighbour first; beside it the optimum's own coordinates, which no boundary holds.
                starts.insert(0, near)
            found = [self._descend(start, value) for start in starts]
            best = min(found, key=lambda pair: pair[0])
            self.evaluations[value], self._solutions[value] = best[0] - self.profiler.optimum.value, best[1]
        return self.evaluations[value]

    def _descend(self, start: Array, value: float) -> tuple[float, Array]:
        if not len(start):
            return self.held(start, value)[0], start

        def criterion(x: Array) -> tuple[float, Array]:
            at, gradient = self.held(x, value)
            return (at, gradient) if np.isfinite(at) and np.all(np.isfinite(gradient)) else (LARGE, np.zeros_like(x))

        options = {"ftol": 1e-14, "gtol": 1e-6, "maxiter": 500, "maxls": 50}
        found = minimize(criterion, start, jac=True, method="L-BFGS-B", bounds=self.held.bounds, options=options)
        return float(found.fun), found.x

    def zeta(self, value: float) -> float:
        """Signed root of :meth:`excess`."""
        side = 0.0 if np.isnan(self.estimate) else np.sign(value - self.estimate)
        return float(side * np.sqrt(max(self.excess(value), 0.0)))

    def limit(self, quantile: float, side: int) -> float:
        """Where zeta first reaches ``side * quantile``, side -1 or 1; the bound if it does not."""
        bound = self.lower if side < 0 else self.upper
        if np.isnan(self.estimate) or self.estimate == bound:
            # A correlation with an sd of 0 has the smallest deviance at every value.
            return bound

        def left(value: float) -> float:
            return float(np.sqrt(max(self.excess(value), 0.0))) - quantile

        inner, step = self.estimate, self._step() * quantile
        for _ in range(MOST_STEPS):
            outer = inner + side * step
            if side * (bound - outer) <= 0:
                for outer in np.linspace(inner, bound, STEPS_TO_BOUND + 1)[1:]:
                    if left(outer) >= 0:
                        return _root(left, inner, outer)
                    inner = outer
                return bound
            if self.target.kind == RESIDUAL:
                outer = max(outer, inner / 2)
            if left(outer) >= 0:
                return _root(left, inner, outer)
            # zeta is nearly a line through the estimate: aim a little beyond the crossing.
            reached = max(left(outer) + quantile, quantile / 4)
            step, inner = abs(outer - self.estimate) * max(1.1 * quantile / reached - 1, 0.1), outer
        return side * np.inf

    def _step(self) -> float:
        """A change of the parameter that raises the deviance by about one."""
        p = self.profiler
        if self.target.kind == COMMON:
            row = p.matrix[self.target.where[0]]
            return float(np.sqrt(p.optimum.s * row @ np.linalg.solve(p.optimum.A, row)))
        sigma = float(np.sqrt(p.optimum.s)) * p.basis.y_scale
        if self.target.kind == RESIDUAL:
            return sigma / np.sqrt(2 * p.stats.n)
        if self.target.kind == CORRELATION:
            return 0.2
        scale = sigma / (p.basis.z_scale[self.target.where[0]])
        return max(0.25 * self.estimate, 0.1 * scale)


def _root(left, inner: float, outer: float) -> float:
    return float(brentq(left, inner, outer, xtol=1e-7 * abs(outer - inner), rtol=1e-12))

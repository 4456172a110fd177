"""Profile likelihood of one parameter: the ML deviance minimised over all others, and where it crosses a level.

zeta(v) = sign(v - estimate) sqrt(D(v) - D_min), which is nearly linear and, far from a boundary, standard normal: the
interval of probability 1 - alpha holds the values with |zeta| below the normal quantile.

References
----------
Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1; Bates & Watts (1988), Nonlinear Regression
Analysis and Its Applications, chapter 6.
"""

import numpy as np
from scipy.optimize import brentq, minimize

from poolwise.algebra.crossproducts import Array
from poolwise.fit.held import Likelihood, hold
from poolwise.spec.targets import COMMON, CORRELATION, RESIDUAL, Target, values

# A deviance this far below the optimum's says that the optimum was not one.
BELOW = 1e-4
# Values looked at between the estimate and a bound before the crossing is bracketed, and steps outwards at most.
STEPS_TO_BOUND = 8
MOST_STEPS = 60
LARGE = 1e300


class Curve:
    """The profile deviance of one parameter.

    Parameters
    ----------
    likelihood : Likelihood
        The model at its ML optimum.
    target : Target
        The parameter.

    Attributes
    ----------
    estimate : float
        The ML estimate; NaN for a correlation with an sd of 0.
    lower, upper : float
        Bounds of the parameter: 0 for sds, -1 and 1 for correlations.
    evaluations : dict of float to float
        The deviance at every value that was asked for, less the smallest.
    """

    def __init__(self, likelihood: Likelihood, target: Target):
        self.likelihood, self.target, self.held = likelihood, target, hold(likelihood, target)
        self.lower, self.upper = self.held.lower, self.held.upper
        at = likelihood.optimum
        self.estimate = float(values([target], likelihood.basis, at.b, likelihood.Lambda, np.asarray(at.s))[0])
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
            self.evaluations[value], self._solutions[value] = best[0] - self.likelihood.optimum.value, best[1]
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
        p = self.likelihood
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

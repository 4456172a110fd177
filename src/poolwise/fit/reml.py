"""REML and ML of one grouping factor: the bounded optimum of the profiled criterion, by its analytic gradient."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.profiled import Profiled, profile
from poolwise.algebra.theta import BlockStructure
from poolwise.fit.boundary import leave_boundary

# Power of |Lambda| in the boundary-avoiding penalty, |Lambda Lambda'|^(3/4): the Wishart of q + 2.5 degrees of freedom
# and infinite scale, for one effect the gamma of shape 2.5 and rate 0 on its sd relative to sigma, as blme has it.
# Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013), Psychometrika 78, 685-709; Chung et al. (2015), JEBS 40, 136-157.
BOUNDARY_AVOIDING = 1.5
# Under a penalty the criterion is infinite at the boundary itself.
LOWEST = 1e-10
# The largest projected gradient, by theta, that still counts as a stationary point.
GRADIENT_TOLERANCE = 1e-3
# lme4's isSingular: a diagonal element of theta below this is on the boundary.
SINGULAR_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Optimum:
    """Where the criterion is smallest.

    Parameters
    ----------
    Lambda : ndarray (q, q)
        Relative factor in the coordinates of the algebra.
    at : Profiled
        Criterion and estimates there.
    converged : bool
        Whether the projected gradient vanishes.
    message : str
        What the optimiser did, in words.
    evaluations : int
        Evaluations of the criterion.
    """

    Lambda: Array
    at: Profiled
    converged: bool
    message: str
    evaluations: int


def optimise(
    stats: CrossProducts, structure: BlockStructure, *, reml: bool, start: Array | None = None, power: float = 0.0
) -> Optimum:
    """Minimise the profiled criterion over theta, its diagonal elements bounded below by 0.

    Parameters
    ----------
    stats : CrossProducts
        Sufficient statistics in the coordinates of a :class:`~poolwise.algebra.basis.Basis`.
    structure : BlockStructure
        Blocks of T.
    reml : bool
        Restricted or ordinary likelihood.
    start : ndarray (q, q), optional
        Lambda to start from; the identity by default.
    power : float, default 0
        Of the penalty |Lambda|^power on the likelihood, which keeps an estimate off the boundary; see
        :data:`BOUNDARY_AVOIDING`.

    Returns
    -------
    Optimum

    Notes
    -----
    The criterion is even in a diagonal element, so 0 is always stationary there: an optimiser that steps onto the
    bound stays. From every bound it reaches, a way back inside is looked for before the optimum is believed, see
    :mod:`poolwise.fit.boundary`.
    """
    if structure.q == 0:
        return Optimum(np.zeros((0, 0)), profile(stats, np.zeros((0, 0)), reml=reml), True, "closed form", 1)
    evaluations = 0

    def criterion(theta: Array) -> tuple[float, Array]:
        nonlocal evaluations
        evaluations += 1
        at = profile(stats, structure.factor(theta), reml=reml)
        if not np.isfinite(at.criterion):
            return 1e300, np.zeros_like(theta)
        return penalised(at.criterion, structure.theta(at.gradient), theta, structure, power)

    bounds = [(LOWEST if power else 0.0, None) if diagonal else (None, None) for diagonal in structure.on_diagonal]

    def descend(theta: Array):
        return minimize(
            criterion,
            theta,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500, "maxls": 50},
        )

    theta = structure.theta(np.eye(structure.q) if start is None else start)
    best = descend(theta)
    for _ in range(2 * structure.q):
        # A penalty is infinite at the boundary: nothing stops there.
        inside = None if power else leave_boundary(best.x, best.fun, structure, criterion)
        if inside is None:
            break
        best = descend(inside)
    theta, gradient = _polish(best.x, structure, criterion)
    at = profile(stats, structure.factor(theta), reml=reml)
    free = ~(structure.on_diagonal & (theta <= 0) & (gradient >= 0))
    largest = float(np.abs(gradient[free]).max(initial=0.0))
    converged = bool(np.isfinite(at.criterion)) and largest < GRADIENT_TOLERANCE
    message = f"largest projected gradient {largest:.1e} after {evaluations} evaluations"
    return Optimum(structure.factor(theta), at, converged, message, evaluations)


def penalised(
    value: float, gradient: Array, theta: Array, structure: BlockStructure, power: float
) -> tuple[float, Array]:
    """The criterion and its gradient by theta with the likelihood multiplied by |Lambda|^power."""
    if not power:
        return value, gradient
    diagonal, gradient = theta[structure.on_diagonal], gradient.copy()
    gradient[structure.on_diagonal] -= 2 * power / diagonal
    return value - 2 * power * float(np.log(diagonal).sum()), gradient


def _polish(theta: Array, structure: BlockStructure, criterion) -> tuple[Array, Array]:
    """Newton steps over the elements that are not at a bound, the Hessian by differences of the gradient."""
    value, gradient = criterion(theta)
    for _ in range(3):
        free = np.flatnonzero(~(structure.on_diagonal & (theta < 1e-8)))
        if not len(free) or np.abs(gradient[free]).max() < 1e-7:
            break
        hessian = np.empty((len(free), len(free)))
        for column, k in enumerate(free):
            h = 1e-5 * max(1.0, abs(theta[k]))
            up, down = theta.copy(), theta.copy()
            up[k] += h
            down[k] -= h
            hessian[:, column] = (criterion(up)[1] - criterion(down)[1])[free] / (2 * h)
        try:
            step = np.linalg.solve((hessian + hessian.T) / 2, gradient[free])
        except np.linalg.LinAlgError:
            break
        moved = theta.copy()
        moved[free] -= step
        if np.any(moved[structure.on_diagonal] < 0):
            break
        moved_value, moved_gradient = criterion(moved)
        # The criterion's own rounding error must not veto a step that shrinks the gradient.
        if (
            moved_value > value + 1e-10 * abs(value)
            or np.abs(moved_gradient[free]).max() > np.abs(gradient[free]).max()
        ):
            break
        theta, value, gradient = moved, moved_value, moved_gradient
    return theta, gradient

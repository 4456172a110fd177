"""Maximum likelihood of generalised linear mixed models, by the Laplace approximation of the likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.exponential import LOG_OWN
from poolwise.algebra.laplace import LaplacePoint, LaplaceProblem, laplace
from poolwise.algebra.quadrature import quadrature_deviance
from poolwise.algebra.separation import Separation, find_separation, separates, suspicious
from poolwise.algebra.theta import BlockStructure
from poolwise.fit.boundary import leave_boundary
from poolwise.fit.glm import fit_separately
from poolwise.fit.reml_crossed import SINGLE_THREAD

# Twice the further descent that a Newton step promises, in units of minus twice a log-likelihood.
CONVERGED = 1e-6
# Below this an element of the diagonal of theta may be a zero that the optimiser did not quite reach.
NEAR_ZERO = 1e-2
# Step of the differences of the gradient, in units of about a standard error.
STEP = 1e-3
# And of the differences of a criterion without an analytic gradient.
INNER_STEP = 1e-4
# Hessians that are worked out before an optimum is given up.
POLISHING = 6
# Smaller starts of the group sds that are tried where the first has no finite likelihood.
SHRINKING = 6


@dataclass(frozen=True, eq=False)
class LaplaceOptimum:
    """Where the deviance is smallest.

    Parameters
    ----------
    point : LaplacePoint
        Modes and deviance there.
    b : ndarray (p,)
        Common effects in the coordinates of the algebra.
    criterion : float
        Minus twice the approximate log-likelihood.
    covariance : ndarray (p, p)
        Of b, from the Hessian of the criterion over all parameters.
    from_hessian : bool
        Whether that Hessian was positive definite; else the covariance takes the group variances as known.
    separation : Separation or None
        Where b goes to infinity.
    converged : bool
        Whether the gradient vanishes and the Hessian has no negative eigenvalue.
    message : str
        What the optimiser did, in words.
    evaluations : int
        Evaluations of the criterion.
    """

    point: LaplacePoint
    b: Array
    criterion: float
    covariance: Array
    from_hessian: bool
    separation: Separation | None
    converged: bool
    message: str
    evaluations: int


class Criterion:
    """Deviance and gradient by one vector x: theta, whitened common effects, the scaled log of the own parameter.

    Parameters
    ----------
    problem : LaplaceProblem
        Data.
    structure : BlockStructure
        Blocks of Lambda.
    start : LaplacePoint
        Sets the scale of every coordinate.
    b : ndarray (p,)
        Common effects there.
    """

    def __init__(self, problem: LaplaceProblem, structure: BlockStructure, start: LaplacePoint, b: Array):
        self.problem, self.structure = problem, structure
        self.evaluations, self.u, self.b0 = 0, start.u, b
        self.steps = _theta_scale(problem, structure, start)
        information = start.information()
        # Separation leaves directions without information.
        values, vectors = np.linalg.eigh(information) if len(b) else (np.zeros(0), np.zeros((0, 0)))
        floor = 1e-8 * float(values.max(initial=1e-300))
        self.whiten = vectors / np.sqrt(np.maximum(values, floor))
        self.own_scale = float(np.sqrt(2 / problem.rows.weights.sum()))
        self._last: tuple[Array, LaplacePoint, tuple[float, Array]] | None = None

    @property
    def n_theta(self) -> int:
        """Elements of theta, the first of x."""
        return len(self.steps)

    @property
    def lower(self) -> Array:
        """Lower bounds of x."""
        own = [LOG_OWN[0] / self.own_scale] if self.problem.rows.free else []
        free = np.full(len(self.b0), -np.inf)
        return np.concatenate([np.where(self.structure.on_diagonal, 0.0, -np.inf), free, own])

    @property
    def upper(self) -> Array:
        """Upper bounds of x."""
        own = [LOG_OWN[1] / self.own_scale] if self.problem.rows.free else []
        return np.concatenate([np.full(self.n_theta + len(self.b0), np.inf), own])

    def x(self, theta: Array, log_own: float) -> Array:
        """The vector at theta, the starting common effects and an own parameter."""
        own = [log_own / self.own_scale] if self.problem.rows.free else []
        return np.concatenate([theta / self.steps, np.zeros(len(self.b0)), own])

    def parameters(self, x: Array) -> tuple[Array, Array, float]:
        """Lambda, b and the log of the own parameter."""
        m, p = self.n_theta, len(self.b0)
        own = float(x[-1]) * self.own_scale if self.problem.rows.free else 0.0
        return self.structure.factor(x[:m] * self.steps), self.b0 + self.whiten @ x[m : m + p], own

    def point(self, x: Array) -> LaplacePoint:
        """The approximation at x; started at the modes of the last one."""
        if self._last is None or not np.array_equal(self._last[0], x):
            self.evaluations += 1
            point = laplace(self.problem, *self.parameters(x), self.u)
            if np.isfinite(point.deviance):
                self.u = point.u
                Lambda, b, own = point.gradient()
                gradient = [self.structure.theta(Lambda) * self.steps, self.whiten.T @ b]
                gradient += [np.array([own * self.own_scale])] if self.problem.rows.free else []
                value = (point.deviance, np.concatenate(gradient))
            else:
                value = (1e300, np.zeros_like(x))
            self._last = x.copy(), point, value
        return self._last[1]

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Criterion and gradient at x."""
        self.point(x)
        assert self._last is not None  # just set
        return self._last[2]

    def hessian(self, x: Array) -> Array:
        """By central differences of the gradient."""
        H = np.empty((len(x), len(x)))
        for k in range(len(x)):
            step = np.zeros(len(x))
            step[k] = STEP
            H[k] = (self(x + step)[1] - self(x - step)[1]) / (2 * STEP)
        return (H + H.T) / 2


class QuadratureCriterion(Criterion):
    """The same by adaptive Gauss-Hermite quadrature, its gradient by differences.

    Parameters
    ----------
    problem, structure, start, b
        See :class:`Criterion`; one factor with one effect a group.
    nodes : int
        Nodes of the rule.
    """

    def __init__(self, problem: LaplaceProblem, structure: BlockStructure, start: LaplacePoint, b: Array, nodes: int):
        super().__init__(problem, structure, start, b)
        self.nodes = nodes

    def value(self, x: Array) -> float:
        """Minus twice the log-likelihood."""
        self.evaluations += 1
        point = laplace(self.problem, *self.parameters(x), self.u)
        return min(quadrature_deviance(point, self.nodes), 1e300)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Criterion and gradient at x."""
        steps = INNER_STEP * np.eye(len(x))
        gradient = [(self.value(x + step) - self.value(x - step)) / (2 * INNER_STEP) for step in steps]
        return self.value(x), np.array(gradient)


def optimise_laplace(problem: LaplaceProblem, structure: BlockStructure, nodes: int = 1) -> LaplaceOptimum:
    """Minimise the deviance over theta, the common effects and the family's own parameter together.

    Parameters
    ----------
    problem : LaplaceProblem
        Data, in the coordinates of a :class:`~poolwise.algebra.basis.Basis`.
    structure : BlockStructure
        Blocks of Lambda, those of all factors one after the other.
    nodes : int, default 1
        Nodes of adaptive Gauss-Hermite quadrature, for one factor with one effect a group; 1 is the Laplace
        approximation.

    Returns
    -------
    LaplaceOptimum

    Notes
    -----
    The diagonal of theta is bounded below by 0; from every bound that is reached a way back inside is looked for, see
    :mod:`poolwise.fit.boundary`.
    """
    with threadpool_limits(1 if problem.pattern.Q < SINGLE_THREAD else None):
        alone = fit_separately(problem.rows, problem.X, problem.offset)
        b, log_own = alone.coefficients[0], alone.log_own
        nothing = laplace(problem, np.zeros((structure.q, structure.q)), b, log_own)
        if not structure.q:
            said = "iteratively reweighted least squares"
            return LaplaceOptimum(
                nothing,
                b,
                nothing.deviance,
                alone.inverse[0],
                True,
                alone.separations.get(0),
                bool(alone.converged[0]),
                said,
                1,
            )
        Lambda = _first_Lambda(problem, structure, nothing)
        start = laplace(problem, Lambda, b, log_own)
        for _ in range(SHRINKING):
            if np.isfinite(start.deviance):
                break
            # Under the identity link large effects take means out of their range.
            Lambda = Lambda / 4
            start = laplace(problem, Lambda, b, log_own)
        criterion = Criterion(problem, structure, start, b)
        x = _descend(criterion.x(structure.theta(Lambda), log_own), criterion)
        if nodes > 1:
            criterion.point(x)
            finer = QuadratureCriterion(problem, structure, start, b, nodes)
            finer.u, finer.evaluations = criterion.u, criterion.evaluations
            criterion = finer
            x = _descend(x, criterion)
        for _ in range(2 * structure.q):
            inside = _leave(x, criterion)
            if inside is None:
                break
            x = _descend(inside, criterion)
        x, H, left = _polish(_to_bounds(x, criterion), criterion)
        point, value = criterion.point(x), criterion(x)[0]
        _, b, _ = criterion.parameters(x)
        separation = None
        if separates(problem.rows) and (alone.separations or suspicious(problem.rows, point.at.logf).any()):
            separation = find_separation(problem.rows, problem.X)
        covariance, from_hessian = _covariance(H, x, criterion, point)
    finite = bool(np.isfinite(point.deviance))
    said = f"a Newton step would lower the criterion by {left / 2:.1e}; {criterion.evaluations} evaluations"
    if not finite:
        said = f"link {problem.rows.link} takes means out of their range, and no modes of the effects were found"
    converged = finite and left < CONVERGED
    return LaplaceOptimum(point, b, value, covariance, from_hessian, separation, converged, said, criterion.evaluations)


def _first_Lambda(problem: LaplaceProblem, structure: BlockStructure, at: LaplacePoint) -> Array:
    """A diagonal Lambda under which groups of median size are pooled about half, whatever the scale of the link."""
    pattern, sizes = problem.pattern, []
    for where, codes, J in zip(problem.blocks, at.codes, pattern.Js, strict=True):
        for k in range(where.start, where.stop):
            information = np.bincount(codes, at.at.expected * problem.Z[:, k] ** 2, minlength=J)
            sizes.append(1 / np.sqrt(max(float(np.median(information[information > 0])), 1e-300)))
    return np.diag(sizes)


def _theta_scale(problem: LaplaceProblem, structure: BlockStructure, at: LaplacePoint) -> Array:
    """A step of each element of theta that changes the criterion by about one, were its factor the only one."""
    diagonal, steps = np.diag(at.Lambda), []
    for where, codes, J in zip(problem.blocks, at.codes, problem.pattern.Js, strict=True):
        for k in range(where.start, where.stop):
            S = np.bincount(codes, at.at.expected * problem.Z[:, k] ** 2, minlength=J)
            change = 2 * S * diagonal[k] / (1 + diagonal[k] ** 2 * S)
            steps.append(1 / np.sqrt((change**2).sum() + 1 / diagonal[k] ** 2))
    return np.array([steps[row] for row, _ in structure.positions])


def _descend(x: Array, criterion: Criterion) -> Array:
    found = minimize(
        criterion,
        x,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(criterion.lower, criterion.upper, strict=True)),
        options={"ftol": 1e-14, "gtol": 1e-4, "maxiter": 500, "maxls": 40},
    )
    return found.x


def _leave(x: Array, criterion: Criterion) -> Array | None:
    """A better point away from a bound of theta, the other parameters as they are; None if there is none."""
    m, structure = criterion.n_theta, criterion.structure

    def by_theta(theta: Array) -> tuple[float, Array]:
        value, gradient = criterion(np.concatenate([theta / criterion.steps, x[m:]]))
        return value, gradient[:m] / criterion.steps

    theta = leave_boundary(x[:m] * criterion.steps, criterion(x)[0], structure, by_theta)
    return None if theta is None else np.concatenate([theta / criterion.steps, x[m:]])


def _to_bounds(x: Array, criterion: Criterion) -> Array:
    """Elements that are almost at a bound set to it, where that is no worse."""
    diagonal = np.flatnonzero(criterion.structure.on_diagonal)
    for k in diagonal[(x[diagonal] > 0) & (x[diagonal] < NEAR_ZERO)]:
        moved = x.copy()
        moved[k] = 0.0
        if criterion(moved)[0] <= criterion(x)[0] + 1e-8:
            x = moved
    if criterion.problem.rows.family == "negativebinomial" and x[-1] > 0.5 * criterion.upper[-1]:
        # Counts without overdispersion: the criterion falls for ever, and ever less, towards the Poisson distribution.
        moved = np.append(x[:-1], criterion.upper[-1])
        if criterion(moved)[0] <= criterion(x)[0] + 1e-8:
            x = moved
    return x


def _polish(x: Array, criterion: Criterion) -> tuple[Array, Array, float]:
    """Newton steps within the bounds; also the Hessian, and twice what a further step promises."""
    value, gradient = criterion(x)
    lower, upper = criterion.lower, criterion.upper
    left, H = np.inf, np.eye(len(x))
    for _ in range(POLISHING):
        H = criterion.hessian(x)
        # An element of theta at 0 is stationary; leave_boundary has looked for a way inside.
        free = np.flatnonzero(~((lower == 0) & (x <= 0)) & (x < upper))
        values, vectors = np.linalg.eigh(H[np.ix_(free, free)])
        # Directions that the data do not bound, such as a separated coefficient, are left alone.
        usable = np.abs(values) > 1e-9 * max(float(np.abs(values).max(initial=0.0)), 1.0)
        moved_far = False
        for _ in range(3):
            along = vectors.T @ gradient[free]
            promised = float((along[usable] ** 2 / np.abs(values[usable])).sum())
            left = promised if values.min(initial=0.0) > -1e-4 else np.inf
            if promised < 1e-3 * CONVERGED:
                break
            step = np.zeros(len(x))
            step[free] = -vectors[:, usable] @ (along[usable] / np.abs(values[usable]))
            for size in (1.0, 0.3, 0.1, 0.01):
                moved = np.clip(x + size * step, lower, upper)
                moved_value, moved_gradient = criterion(moved)
                if moved_value <= value + 1e-11 * abs(value):
                    break
            else:
                break
            moved_far |= promised > 1e-3
            x, value, gradient = moved, moved_value, moved_gradient
        if left == np.inf and not moved_far:
            # A saddle: down along the direction that bends down.
            step = np.zeros(len(x))
            step[free] = vectors[:, 0]
            trials = [np.clip(x + size * step, lower, upper) for size in (1.0, -1.0, 0.3, -0.3, 0.1, -0.1)]
            best = min(trials, key=lambda trial: criterion(trial)[0])
            if criterion(best)[0] < value - 1e-9 * abs(value):
                x = _descend(best, criterion)
                (value, gradient), moved_far = criterion(x), True
        if not moved_far:
            break
    return x, H, left


def _covariance(H: Array, x: Array, criterion: Criterion, point: LaplacePoint) -> tuple[Array, bool]:
    """Twice the inverse Hessian, its part of b; where that is no covariance, the inverse information given theta."""
    m, p = criterion.n_theta, len(criterion.b0)
    if not p:
        return np.zeros((0, 0)), True
    # The criterion is even in an element of theta at 0: its mixed derivatives are zero.
    inside = ~((criterion.lower == 0) & (x <= 0)) & (x < criterion.upper)
    others = np.flatnonzero(inside & ~((np.arange(len(H)) >= m) & (np.arange(len(H)) < m + p)))
    own = slice(m, m + p)
    values, vectors = np.linalg.eigh(H[np.ix_(others, others)])
    usable = values > 1e-6 * max(float(values.max(initial=0.0)), 1e-300)
    side = vectors[:, usable].T @ H[others][:, own]
    schur = H[own, own] - side.T @ (side / values[usable][:, None])
    lowest = np.linalg.eigvalsh(schur)[0]
    if values.min(initial=0.0) > -1e-3 and lowest > 1e-7:
        return 2 * criterion.whiten @ np.linalg.inv(schur) @ criterion.whiten.T, True
    return np.linalg.pinv(point.information(), hermitian=True), False

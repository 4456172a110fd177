"""Away from the boundary: is a singular covariance a minimum among all covariances, or only along theta?

The criterion depends on the covariance C = Lambda Lambda' of a block. With G its gradient by C, a singular C is a
stationary point of the constrained problem only if G has no negative eigenvalue: else C + t^2 v v', v the eigenvector,
is better. The gradient by theta, the lower triangle of 2 G Lambda, is blind to that: at a diagonal element of 0 the
sign of what stands below it decides whether a step away from 0 helps, and C is the same for both signs.

References
----------
Boyd & Vandenberghe (2004), Convex Optimization, section 5.9.2, for the conditions over the positive semidefinite cone.
"""

from collections.abc import Callable

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import BlockStructure

# A descent smaller than this on the scale of the criterion (minus twice a log-likelihood) is no descent.
CRITERION_TOLERANCE = 1e-9
# A diagonal element below this may be on the boundary.
NEAR = 1e-3
# G is found a little inside, at C + INSIDE^2 I.
INSIDE = 1e-3
STEPS = (0.5, 0.1, 0.01, 1e-3)


def leave_boundary(
    theta: Array, value: float, structure: BlockStructure, criterion: Callable[[Array], tuple[float, Array]]
) -> Array | None:
    """A point with a smaller criterion, away from a boundary that was reached; None if there is none.

    Parameters
    ----------
    theta : ndarray
        Where an optimiser stopped.
    value : float
        The criterion there.
    structure : BlockStructure
        Blocks of Lambda.
    criterion : callable
        Criterion and its gradient by theta.

    Returns
    -------
    ndarray or None
    """
    Lambda = structure.factor(theta)
    blocks = [slice(at, at + size) for at, size in zip(structure.starts, structure.sizes, strict=True)]
    near = [where for where in blocks if np.any(np.diag(Lambda)[where] < NEAR)]
    if not near:
        return None
    inner = Lambda.copy()
    for where in near:
        inner[where, where] = _added(Lambda[where, where], INSIDE * np.eye(where.stop - where.start))
    by_theta = structure.factor(criterion(structure.theta(inner))[1])
    for where in near:
        lowest, vectors = np.linalg.eigh(_by_covariance(by_theta[where, where], inner[where, where]))
        if lowest[0] >= 0:
            continue
        for step in STEPS:
            moved = Lambda.copy()
            moved[where, where] = _added(Lambda[where, where], step * vectors[:, :1])
            if criterion(structure.theta(moved))[0] < value - CRITERION_TOLERANCE * max(1.0, abs(value)):
                return structure.theta(moved)
    return None


def _added(Lambda: Array, columns: Array) -> Array:
    """Lower-triangular factor, its diagonal not negative, of Lambda Lambda' + columns columns'."""
    R = np.linalg.qr(np.column_stack([Lambda, columns]).T, mode="r")
    return np.tril((R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]).T)


def _by_covariance(gradient: Array, Lambda: Array) -> Array:
    """The symmetric G of which 2 G Lambda has this lower triangle, column by column from the last."""
    q = len(Lambda)
    G = np.zeros((q, q))
    for column in range(q - 1, -1, -1):
        for row in range(q - 1, column - 1, -1):
            known = G[row, column + 1 :] @ Lambda[column + 1 :, column]
            G[row, column] = G[column, row] = (gradient[row, column] / 2 - known) / Lambda[column, column]
    return G

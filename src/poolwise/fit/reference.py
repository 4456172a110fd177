"""Where the sampler's coordinates are centred: the REML optimum, kept off the boundary."""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.compile.collapsed import Reference
from poolwise.fit.reml import optimise
from poolwise.spec.sufficient import Sufficient

# A group sd at its boundary is moved to this multiple of the standard error of a typical group's own estimate.
BOUNDARY_STEP = 0.5


def make_reference(sufficient: Sufficient, prior_mean: Array, prior_precision: Array) -> Reference:
    """Centre and scale of the unconstrained coordinates.

    The choice changes how well NUTS moves, never the posterior: the coordinates are an invertible map.

    Parameters
    ----------
    sufficient : Sufficient
        The collapsed design.
    prior_mean, prior_precision : ndarray (p,)
        Centre and precision of the coefficients' priors at centred predictors, precision 0 where a prior is flat.

    Returns
    -------
    Reference
    """
    basis, stats, structure = sufficient.basis, sufficient.stats, sufficient.structure
    enough = stats.n > stats.p + 1
    if enough:
        optimum = optimise(stats, structure, reml=True)
        enough = np.isfinite(optimum.at.criterion)
    if enough:
        Lambda, s = optimum.Lambda, optimum.at.s
    else:
        # Fewer rows than coefficients: only the priors identify the model, so the response's own scale must do.
        Lambda, s = np.eye(structure.q), 1.0
    relative = np.sqrt((Lambda**2).sum(axis=1))
    typical = np.einsum("jkk->k", stats.ZtZ) / max(stats.J, 1)
    floor = BOUNDARY_STEP / np.sqrt(np.maximum(typical, 1e-8)) if structure.q else np.zeros(0)
    relative_sd = np.maximum(relative, floor)
    offset, matrix = basis.to_centred
    precision = matrix.T @ (prior_precision[:, None] * matrix)
    linear = matrix.T @ (prior_precision * (prior_mean - offset))
    sigma = float(np.sqrt(s)) * basis.y_scale
    return Reference(precision, linear, relative_sd * np.sqrt(s) * basis.sd_scale, sigma)

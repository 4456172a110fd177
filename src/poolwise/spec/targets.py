"""The scalar parameters of a Gaussian model, one by one: what an interval can be asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolwise import names
from poolwise.algebra.basis import Basis
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.spec.design import Design

# A relative sd below this is 0: the likelihood changes by its square.
NOTHING = 1e-6
COMMON, GROUP_SD, CORRELATION, RESIDUAL = "common effect", "group sd", "correlation", "residual sd"


@dataclass(frozen=True)
class Target:
    """One scalar parameter.

    Parameters
    ----------
    name : str
        ``x``, ``x|g_sigma``, ``corr|g[Intercept, x]`` or ``sigma``, the names of a posterior's summary.
    kind : str
        One of ``COMMON``, ``GROUP_SD``, ``CORRELATION``, ``RESIDUAL``.
    where : tuple of int
        The column of X; the effect, or the two effects, among those of all factors one after the other.
    """

    name: str
    kind: str
    where: tuple[int, ...] = ()


def targets(design: Design) -> list[Target]:
    """Common effects, group sds and correlations factor by factor, sigma."""
    found = [Target(name, COMMON, (k,)) for k, name in enumerate(design.coefficient_names)]
    first = 0
    for factor in design.factors:
        found += [Target(name, GROUP_SD, (first + k,)) for k, name in enumerate(factor.sd_names)]
        found += [
            Target(
                f"{names.correlation(factor.name)}[{factor.effects[column]}, {factor.effects[row]}]",
                CORRELATION,
                (first + column, first + row),
            )
            for row, column in factor.structure.positions
            if row != column
        ]
        first += factor.structure.q
    return [*found, Target(names.SIGMA, RESIDUAL)]


def values(wanted: Sequence[Target], basis: Basis, b: Array, Lambda: Array, s: Array) -> Array:
    """Values of parameters in the units of the data, from fits in the coordinates of the algebra.

    Parameters
    ----------
    wanted : sequence of Target
        The parameters.
    basis : Basis
        The way to the units of the data.
    b, Lambda, s : ndarray (..., p), (..., q, q), (...)
        Common effects, relative factor of the group covariances, residual variance.

    Returns
    -------
    ndarray (..., len(wanted))
        NaN for a correlation with an sd of 0.
    """
    offset, matrix = basis.to_coefficients
    coefficients = offset + b @ matrix.T
    # An optimiser stops a rounding error short of 0, and what direction is left there means nothing.
    nothing = np.sqrt((Lambda**2).sum(axis=-1, keepdims=True)) < NOTHING
    Lambda = np.where(nothing, 0.0, Lambda)
    sds, correlation = sds_and_correlations(basis.to_effects @ Lambda * np.sqrt(s)[..., None, None])
    found = np.empty((*s.shape, len(wanted)))
    for column, target in enumerate(wanted):
        if target.kind == COMMON:
            found[..., column] = coefficients[..., target.where[0]]
        elif target.kind == GROUP_SD:
            found[..., column] = sds[..., target.where[0]]
        elif target.kind == CORRELATION:
            found[..., column] = np.clip(correlation[..., target.where[0], target.where[1]], -1.0, 1.0)
        else:
            found[..., column] = np.sqrt(s) * basis.y_scale
    return found

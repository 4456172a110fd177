"""Smooth functions in PyMC: their kernels' parameters, their weights, and what they add to the linear predictor."""

from collections.abc import Mapping
from math import gamma, pi, sqrt
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from poolwise import names
from poolwise.compile.pymc_priors import pymc_distribution
from poolwise.priors.prior import Prior
from poolwise.spec.smooth import MATERN, Smooth


def smooth_part(smooth: Smooth, priors: Mapping[str, Prior], model: pm.Model):
    """What one smooth term adds to each row (n,); registers its variables.

    Parameters
    ----------
    smooth : Smooth
    priors : mapping of str to Prior
        Resolved.
    model : pm.Model
        The model that is being made.
    """
    for dim, labels in smooth.coords.items():
        model.add_coord(dim, labels)
    by = (smooth.by_dim,) if smooth.levels and not smooth.shared else ()
    var = () if smooth.isotropic else (names.dimension(f"{smooth.name}_var"),)
    sd = _stacked(smooth.sd_names, smooth.called("sigma"), by, priors, model)
    length = _stacked(smooth.length_names, smooth.called("ell"), (*var, *by), priors, model)
    omega = smooth.frequencies * smooth.unit
    if not by:
        root = pt.sqrt(spectral_density(smooth.kernel, omega, sd, length))
        root = root[:, None] if smooth.levels else root
    else:
        of_level = [length[..., g] for g in range(len(smooth.levels))]
        root = pt.stack(
            [pt.sqrt(spectral_density(smooth.kernel, omega, sd[g], own)) for g, own in enumerate(of_level)], axis=1
        )
    if smooth.centred:
        weights = pm.Normal(
            smooth.called("weights"), sigma=pt.broadcast_to(root, smooth.shape), dims=smooth.weight_dims
        )
    else:
        z = pm.Normal(names.dimension(smooth.called("weights_raw")), shape=smooth.shape)
        weights = pm.Deterministic(smooth.called("weights"), z * root, dims=smooth.weight_dims)
    return pt.dot(pt.as_tensor(smooth.basis), weights.ravel())


def _stacked(parameters: list[str], name: str, dims: tuple[str, ...], priors: Mapping[str, Prior], model: pm.Model):
    """One variable, or several under one name."""
    made = [model.register_rv(pymc_distribution(priors[own]), own) for own in parameters]
    if not dims:
        return made[0]
    shape = [len(model.coords[dim] or ()) for dim in dims]
    return pm.Deterministic(name, pt.stack(made).reshape(shape), dims=dims)


def spectral_density(kernel: str, omega: np.ndarray, sd: Any, length: Any):
    """Spectral density (M,) of a kernel at frequencies (M, d).

    Parameters
    ----------
    kernel : str
        One of :data:`poolwise.spec.smooth.KERNELS`.
    omega : ndarray (M, d)
    sd : tensor
        Of the process.
    length : tensor, () or (d,)
        Length scale, of all dimensions or of each.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, section 4.2.1.
    """
    d = omega.shape[1]
    scales = pt.ones(d) * length
    square, volume = pt.dot(omega**2, scales**2), pt.prod(scales)
    if kernel not in MATERN:
        return sd**2 * sqrt(2 * pi) ** d * volume * pt.exp(-0.5 * square)
    nu = MATERN[kernel]
    constant = (4 * pi) ** (d / 2) * gamma((nu + d) / 2) * nu ** (nu / 2) / gamma(nu / 2)
    return sd**2 * constant * volume * (nu + square) ** (-(nu + d) / 2)

"""Densities of single rows under the posterior: what leave-one-out comparison is made of."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.leave_one_out import leave_one_out
from poolwise.algebra.theta import lower_factor
from poolwise.errors import FitError
from poolwise.result import tables
from poolwise.spec.design import Design
from poolwise.spec.sufficient import sufficient

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

# Above this many numbers the pointwise log-likelihood does not fit a laptop's memory comfortably.
LARGEST = 250_000_000


def fits_memory(fit: "BayesFit") -> bool:
    """Whether rows times draws stay within :data:`LARGEST`."""
    return fit.design.n * fit.settings.chains * fit.settings.draws <= LARGEST


def rowwise(fit: "BayesFit", value: Array) -> xr.Dataset:
    """Values (chains * draws, n) under the name of the response, dims chain, draw and row."""
    value = value.reshape(fit.settings.chains, fit.settings.draws, fit.design.n)
    dims = (names.CHAIN, names.DRAW, names.OBSERVATION)
    coords = {dim: np.arange(size) for dim, size in zip(dims, value.shape, strict=True)}
    return xr.Dataset({fit.design.response: (dims, value)}, coords=coords)


def log_likelihood(fit: "BayesFit") -> Array:
    """Log density of each row given all parameters and group-specific effects (chains * draws, n).

    Raises
    ------
    FitError
        If rows times draws would not fit memory comfortably.
    """
    _check_memory(fit)
    design = fit.design
    if not design.collapses:
        from poolwise.compile.likelihood import log_density

        own = fit.own_by_row()
        if design.weights is not None and not design.frequency:
            own = {**own, names.SIGMA: own[names.SIGMA] / np.sqrt(design.weights)}
        value = log_density(design, fit.linear_predictor(), own)
        return value * design.weights if design.frequency else value
    scale = fit.sigma_draws[:, None]
    if design.weights is not None and not design.frequency:
        scale = scale / np.sqrt(design.weights)
    value = -0.5 * ((design.y - fit.predict_draws()) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    return value * design.weights if design.frequency else value


def integrates_out(design: Design) -> bool:
    """Whether a left-out row has a density with the effects of its group integrated out."""
    return len(design.factors) <= 1 and design.exchangeable and not design.frequency and design.collapses


def left_out_rows(fit: "BayesFit") -> tuple[Array, Array]:
    """Log density of each row given all others and the parameters, effects integrated out, and the row standardised.

    Returns
    -------
    log_density, standardised : ndarray (chains * draws, n)

    Raises
    ------
    FitError
        If rows times draws would not fit memory comfortably.
    """
    _check_memory(fit)
    design, rows = fit.design, sufficient(fit.design)
    basis, factor = rows.basis, tables.choose_factor(fit.design, None)
    offset, matrix = basis.to_coefficients
    b = np.linalg.solve(matrix, (fit.coefficients - offset).T).T
    Z = np.zeros((design.n, 0)) if factor is None else factor.Z
    codes = np.zeros(design.n, dtype=np.int64) if factor is None else factor.codes
    T = np.zeros((len(b), 0, 0))
    if factor is not None:
        T = lower_factor(np.linalg.solve(basis.to_effects, fit.factor_draws(factor)))
    s = (fit.sigma_draws / basis.y_scale) ** 2
    X, Z, y = basis.rows(design.X, Z, design.y - design.offset)
    density, standardised = leave_one_out(rows.stats, b, T, s, X, Z, y, codes, design.weights)
    return density - np.log(basis.y_scale), standardised


def _check_memory(fit: "BayesFit") -> None:
    if fits_memory(fit):
        return
    draws = fit.settings.chains * fit.settings.draws
    raise FitError(
        f"the pointwise log-likelihood of {fit.design.n} rows under {draws} draws takes "
        f"{fit.design.n * draws * 8 / 1e9:.1f} GB; compare by k-fold cross-validation (compare_pooling) instead, or "
        "fit with fewer draws"
    )

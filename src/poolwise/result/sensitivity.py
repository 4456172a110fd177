"""Power-scaling: does a conclusion lean on the prior, on the data, or do the two disagree?"""

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.marginal import log_marginal
from poolwise.algebra.theta import lower_factor
from poolwise.errors import FitError
from poolwise.result import pointwise
from poolwise.result.log_prior import log_prior
from poolwise.result.pooling_factor import pooling_factor_draws
from poolwise.result.tables import Printed
from poolwise.spec.sufficient import sufficient

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

LIKELIHOOD = "likelihood"


def sensitivity(fit: "BayesFit") -> pd.DataFrame:
    """Power-scaling sensitivity of every parameter, and of the mean pooling factor of each effect.

    Each group of priors, and the likelihood with the group-specific effects integrated out, is raised to a power near
    1; the sensitivity is the rate at which the posterior of a parameter then moves.

    Parameters
    ----------
    fit : BayesFit
        Of a model with at most one grouping factor.

    Returns
    -------
    DataFrame
        Indexed by parameter; columns prior (all priors together), one a group of priors (common_effects, group_sds,
        correlations, residual_sd or joint), likelihood, and diagnosis in ArviZ's words. Above 0.05 counts.

    Raises
    ------
    FitError
        With several grouping factors.
    PriorError
        If a prior has no closed density.

    References
    ----------
    Kallioinen, Paananen, Buerkner & Vehtari (2024), Statistics and Computing 34, 57.
    """
    import arviz as az

    if len(fit.design.factors) > 1:
        raise FitError("power-scaling needs the likelihood without the group-specific effects, for one grouping factor")
    parts, _ = log_prior(fit, fit.resolved_priors)
    tree = _tree(fit, parts)
    with _quiet():
        everything = az.psense_summary(tree, round_to=6)
        found = pd.DataFrame({"prior": everything["prior"]})
        for name, density in parts.items():
            # A flat density does not change with its power.
            if np.ptp(density) < 1e-9:
                found[name] = 0.0
                continue
            own = az.psense(tree, group="prior", group_var_names=[name])
            found[name] = [float(own[str(variable)]) for variable in found.index]
    found[LIKELIHOOD], found["diagnosis"] = everything[LIKELIHOOD], everything["diagnosis"]
    return Printed(found)


def _tree(fit: "BayesFit", parts: dict[str, Array]) -> xr.DataTree:
    """Scalars of the posterior, the log prior by group, and the marginal likelihood as one observation."""
    design = fit.design
    values = dict(zip(design.coefficient_names, fit.coefficients.T, strict=True))
    for factor in design.factors:
        T = fit.factor_draws(factor)
        sd = np.sqrt((T**2).sum(axis=2))
        values |= dict(zip(factor.sd_names, sd.T, strict=True))
        correlation = np.einsum("dkl,dml->dkm", T, T) / (sd[:, :, None] * sd[:, None, :])
        values |= {
            f"{names.correlation(factor.name)}[{factor.effects[c]}, {factor.effects[r]}]": correlation[:, r, c]
            for r, c in factor.structure.positions
            if r != c
        }
        if not design.collapses:
            continue
        pooling = pooling_factor_draws(fit, np.arange(len(T))).mean(axis=1)
        values |= {
            f"pooling factor of {names.effect(effect, factor.name)}": pooling[:, k]
            for k, effect in enumerate(factor.effects)
        }
    for name, own in fit.family_draws.items():
        own = own.reshape(len(own), -1)
        labels = [name] if own.shape[1] == 1 else [f"{name}[{k}]" for k in range(own.shape[1])]
        values |= dict(zip(labels, own.T, strict=True))
    shape = (fit.settings.chains, fit.settings.draws)
    sample = (names.CHAIN, names.DRAW)

    def dataset(variables: dict[str, Array], *extra: str) -> xr.Dataset:
        return xr.Dataset(
            {name: ((*sample, *extra), value.reshape(*shape, *(1,) * len(extra))) for name, value in variables.items()},
            coords={dim: np.arange(size) for dim, size in zip(sample, shape, strict=True)},
        )

    likelihood = dataset({design.response: _log_likelihood(fit)}, names.OBSERVATION)
    groups = {"posterior": dataset(values), "log_prior": dataset(parts), "log_likelihood": likelihood}
    return xr.DataTree.from_dict(groups)


def _log_likelihood(fit: "BayesFit") -> Array:
    """Log p(y | b, T, sigma) of every draw, up to a constant; given the effects too where they do not integrate out."""
    if not fit.design.collapses:
        return pointwise.log_likelihood(fit).sum(axis=1)
    collapsed = sufficient(fit.design)
    basis = collapsed.basis
    offset, matrix = basis.to_coefficients
    b = np.linalg.solve(matrix, (fit.coefficients - offset).T).T
    T = np.zeros((len(b), 0, 0))
    for factor in fit.design.factors:
        T = lower_factor(np.linalg.solve(basis.to_effects, fit.factor_draws(factor)))
    return log_marginal(collapsed.stats, b, T, (fit.sigma_draws / basis.y_scale) ** 2)


@contextmanager
def _quiet():
    """ArviZ logs that there are potential issues; the table says which."""
    logger = logging.getLogger("arviz_stats")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

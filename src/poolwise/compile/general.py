"""The collapsed posterior as a pm.Model around the Op: any PyMC prior, the same unconstrained coordinates."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.theta import lkj_shapes
from poolwise.compile.collapsed import Collapsed
from poolwise.compile.op import statistics_inputs, whitened_marginal
from poolwise.compile.pymc_priors import pymc_distribution
from poolwise.priors.prior import Prior

PARTS = ("xi", "log_sd", "atanh_partial", "log_sigma")


def general_model(model: Collapsed, coefficients: Sequence[Prior], sds: Sequence[Prior], sigma: Prior) -> pm.Model:
    """PyMC model whose log density over the four parts of the unconstrained vector is the collapsed posterior.

    Parameters
    ----------
    model : Collapsed
        Statistics and coordinates.
    coefficients, sds, sigma
        Priors of the coefficients at centred predictors, of the group sds and of the residual sd.

    Returns
    -------
    pm.Model
        Free variables ``xi``, ``log_sd``, ``atanh_partial``, ``log_sigma``, all flat: the priors enter as potentials
        on the parameters a person sees, the transformations with their Jacobians.
    """
    stats, basis, structure, reference = model.stats, model.basis, model.structure, model.reference
    offset, matrix = basis.to_centred
    lengths = dict(zip(PARTS, (stats.p, structure.q, structure.n_correlations), strict=False))
    with pm.Model() as pymc_model:
        free = {name: pm.Flat(name, shape=length) for name, length in lengths.items() if length}
        tau = pm.Flat("log_sigma")
        residual_sd = reference.sigma * pt.exp(tau)
        terms: list[Any] = []
        terms.append(pm.logp(pymc_distribution(sigma), residual_sd) + pt.log(residual_sd))
        T = pt.zeros((structure.q, structure.q))
        if structure.q:
            sd = reference.sd * pt.exp(free["log_sd"])
            terms += [pm.logp(pymc_distribution(prior), sd[k]) + pt.log(sd[k]) for k, prior in enumerate(sds)]
            L, jacobian = _correlation_graph(model, free.get("atanh_partial"))
            terms.append(jacobian)
            T = (sd / basis.sd_scale)[:, None] * L
        s = (residual_sd / basis.y_scale) ** 2
        data = [pm.Data(f"statistic_{k}", value) for k, value in enumerate(statistics_inputs(stats))]
        xi = free["xi"] if stats.p else pt.zeros(0)
        likelihood, b = whitened_marginal(xi, T, s, [*data, reference.precision, reference.linear])
        coefficient = offset + pt.dot(matrix, b)
        terms += [pm.logp(pymc_distribution(prior), coefficient[k]) for k, prior in enumerate(coefficients)]
        _, logdet_matrix = np.linalg.slogdet(matrix)
        constant = logdet_matrix - stats.n * np.log(basis.y_scale)
        pm.Potential("log_posterior", likelihood + sum(terms) + constant)
    return pymc_model


def _correlation_graph(model: Collapsed, atanh_partial):
    """Cholesky factor of the correlations and the log density of their partial correlations, LKJ and tanh together."""
    q = model.structure.q
    entries: list[list[Any]] = [[pt.constant(0.0) for _ in range(q)] for _ in range(q)]
    shapes = lkj_shapes(model.structure.sizes, model.eta)
    log_density: Any = pt.constant(0.0)
    index = 0
    for start, size in zip(model.structure.starts, model.structure.sizes, strict=True):
        for row in range(size):
            left: Any = pt.constant(1.0)
            for column in range(row):
                z = pt.tanh(atanh_partial[index])
                entries[start + row][start + column] = z * pt.sqrt(left)
                beta = pm.Beta.dist(*[np.asarray(shapes[index])] * 2)
                # z = 2 v - 1 with v ~ Beta, and dz / dc = 1 - z^2.
                log_density += pm.logp(beta, (z + 1) / 2) - np.log(2.0) + pt.log1p(-(z**2))
                left = left * (1 - z**2)
                index += 1
            entries[start + row][start + row] = pt.sqrt(left)
    return pt.stack([pt.stack(row) for row in entries]), log_density


def compile_general(
    model: Collapsed,
    coefficients: Sequence[Prior],
    sds: Sequence[Prior],
    sigma: Prior,
    start: Callable[[int], Array],
) -> Any:
    """The general model compiled for nutpie, started as the direct door is."""
    import dataclasses

    import nutpie

    compiled: Any = nutpie.compile_pymc_model(general_model(model, coefficients, sds, sigma))
    return dataclasses.replace(compiled, initial_point_func=start)


def unconstrained(posterior: xr.Dataset) -> Array:
    """The unconstrained vectors (chain, draw, size) from the parts that were sampled."""
    parts = [posterior[name].to_numpy() for name in PARTS if name in posterior]
    return np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], axis=2)


def with_statistics(compiled: Any, stats: CrossProducts) -> Any:
    """The compiled model with other statistics of the same design, nothing compiled again."""
    values = statistics_inputs(stats)
    return compiled.with_data(**{f"statistic_{k}": value for k, value in enumerate(values)})

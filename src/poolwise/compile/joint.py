"""Joint priors as variables of a PyMC model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from poolwise import names
from poolwise.priors.joint import DECOV, ICC_BETA, R2D2M2, JointSet
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.joint import joint_sets


def joint_variables(design: Design, priors: Mapping[str, Prior], sigma: Any) -> dict[str, Any]:
    """The parameters under joint priors as PyMC expressions of the pieces that are drawn; inside a model's context.

    Parameters
    ----------
    design : Design
        Names.
    priors : mapping of str to Prior
        Resolved, by parameter.
    sigma : TensorVariable or None
        The residual sd; None where the joint prior itself makes it.

    Returns
    -------
    dict of str to TensorVariable
        By parameter; ``sigma`` among them where the joint prior makes it.
    """
    coefficient_names = list(design.coefficient_names)
    sd_names = [name for factor in design.factors for name in factor.sd_names]
    found: dict[str, Any] = {}
    for index, one in enumerate(joint_sets(design, priors)):
        own_sds = [sd_names[k] for k, _ in one.sds]
        a = [np.float64(value) for value in one.arguments]
        if one.kind == DECOV:
            tau = pm.Gamma(f"decov_{index}_tau", a[1], 1 / a[2])
            parts = _shares(f"decov_{index}_shares", len(own_sds), a[0])
            found |= {name: sigma * tau * pt.sqrt(len(own_sds) * parts[k]) for k, name in enumerate(own_sds)}
        elif one.kind == ICC_BETA:
            total, icc = pm.HalfStudentT("total_sd", nu=a[2], sigma=a[3]), pm.Beta("icc", a[0], a[1])
            parts = _shares("icc_shares", len(own_sds), np.float64(1.0))
            found[names.SIGMA] = total * pt.sqrt(1 - icc)
            found |= {name: total * pt.sqrt(icc * parts[k]) for k, name in enumerate(own_sds)}
        elif one.kind == R2D2M2:
            m, r2 = len(one.coefficients), pm.Beta("R2", a[0], a[1])
            parts = _shares("R2_shares", m + len(own_sds), a[2])
            spread = pt.sqrt(parts * r2 / (1 - r2)) * sigma / np.array([s for _, s in (*one.coefficients, *one.sds)])
            z: Any = pm.Normal("R2_z", 0.0, 1.0, shape=m) if m else None
            found |= {coefficient_names[at]: z[k] * spread[k] for k, (at, _) in enumerate(one.coefficients)}
            found |= {name: spread[m + k] for k, name in enumerate(own_sds)}
        else:
            found |= _horseshoe(one, coefficient_names, sigma, a)
    return found


def _shares(name: str, size: int, concentration: np.float64) -> Any:
    return pm.Dirichlet(name, np.full(size, concentration)) if size > 1 else pt.ones(1)


def _horseshoe(one: JointSet, coefficient_names: list[str], sigma: Any, a: list[np.float64]) -> dict[str, Any]:
    m = len(one.coefficients)
    local = pm.HalfStudentT("horseshoe_local", nu=a[0], sigma=np.float64(1.0), shape=m)
    tau = sigma * pm.HalfCauchy("horseshoe_global", a[1])
    slab = pm.InverseGamma("horseshoe_slab", a[3] / 2, a[3] / 2 * a[2] ** 2)
    variance = (tau * local) ** 2
    spread = pt.sqrt(variance * slab / (variance + slab)) / np.array([scale for _, scale in one.coefficients])
    z = pm.Normal("horseshoe_z", 0.0, 1.0, shape=m)
    return {coefficient_names[at]: z[k] * spread[k] for k, (at, _) in enumerate(one.coefficients)}

"""Adaptive Gauss-Hermite quadrature: the likelihood of one scalar effect of one grouping factor.

With mode u and curvature M of group j from the Laplace approximation, and nodes z and weights w of the Gauss-Hermite
rule,

    integral f(y_j | u) phi(u) du  =  M^(-1/2) pi^(-1/2) sum_k w_k exp(z_k^2) f(y_j | u_k) exp(-u_k^2 / 2),
    u_k = u + (2 / M)^(1/2) z_k

One node gives the Laplace approximation.

References
----------
Liu & Pierce (1994), Biometrika 81, 624-629. Pinheiro & Bates (1995), J. Comput. Graph. Stat. 4, 12-35.
"""

import numpy as np
from scipy.special import logsumexp

from poolwise.algebra.laplace import LaplacePoint


def quadrature_deviance(point: LaplacePoint, nodes: int) -> float:
    """Minus twice the log-likelihood at the parameters of a Laplace approximation.

    Parameters
    ----------
    point : LaplacePoint
        Of one factor with one effect a group.
    nodes : int
        Nodes of the rule.

    Returns
    -------
    float
    """
    if not np.isfinite(point.deviance):
        return np.inf
    problem, pattern = point.problem, point.problem.pattern
    z, w = np.polynomial.hermite.hermgauss(nodes)
    spread = point.expected.L_inverse[:, 0, 0]  # M^-1/2 of each group
    u = point.u[:, None] + np.sqrt(2) * spread[:, None] * z  # (J, nodes)
    base = point.eta - point.A[:, 0] * point.u[pattern.codes]
    terms = np.log(w) + z**2 - 0.5 * u**2  # (J, nodes)
    for k in range(nodes):
        logf = problem.rows.log_density(base + point.A[:, 0] * u[pattern.codes, k], point.log_own)
        terms[:, k] += np.bincount(pattern.codes, logf, minlength=pattern.J)
    return -2 * float((np.log(spread) - 0.5 * np.log(np.pi) + logsumexp(terms, axis=1)).sum())

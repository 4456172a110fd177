"""Satterthwaite's degrees of freedom of linear combinations of the common effects.

With v(psi) = l' Cov(b) l the variance of l'b as a function of the variance parameters psi = (theta, log sigma^2),
g its gradient and H the Hessian of the deviance (REML or ML, sigma explicit), psi has about the covariance 2 H^-1, so

    df = 2 v^2 / (g' 2 H^-1 g)

makes the first two moments of v those of a scaled chi-square. H comes from differences of the analytic gradient.

References
----------
Satterthwaite (1946), Biometrics Bulletin 2, 110-114; Giesbrecht & Burns (1985), Biometrics 41, 477-486; Kuznetsova,
Brockhoff & Christensen (2017), lmerTest, J. Stat. Softw. 82(13), section 2.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.deviance import deviance
from poolwise.algebra.theta import BlockStructure

STEP = 1e-4
# An eigenvalue of the Hessian below this share of the largest counts as zero: that direction is left out, as the
# variance of b does not change along it or the data do not determine it.
FLAT = 1e-8


@dataclass(frozen=True)
class Satterthwaite:
    """Degrees of freedom, and how well the Hessian behind them was determined.

    Parameters
    ----------
    df : ndarray (k,)
        One for each combination.
    flat : int
        Directions of the variance parameters that were left out.
    """

    df: Array
    flat: int


def satterthwaite(
    stats: CrossProducts | CrossedProducts,
    structure: BlockStructure,
    Lambda: Array,
    s: float,
    combinations: Array,
    *,
    reml: bool,
) -> Satterthwaite:
    """Degrees of freedom at an optimum.

    Parameters
    ----------
    stats : CrossProducts or CrossedProducts
        Sufficient statistics.
    structure : BlockStructure
        Blocks of Lambda.
    Lambda, s : ndarray (q, q), float
        The optimum.
    combinations : ndarray (k, p)
        The rows l, on the algebra's b.
    reml : bool
        Which likelihood was maximised.

    Returns
    -------
    Satterthwaite

    Notes
    -----
    At the boundary the deviance is even in a diagonal element of theta that is 0, and so is v: the element has no part
    in g, which is to say that a variance at its boundary is taken as known.
    """
    psi = np.array([*structure.theta(Lambda), np.log(s)])
    # The degrees of freedom do not depend on the units of a combination; fourth powers of these would overflow.
    combinations = combinations / np.linalg.norm(combinations, axis=1, keepdims=True)

    def evaluate(at: Array) -> tuple[Array, Array]:
        found = deviance(stats, structure.factor(at[:-1]), float(np.exp(at[-1])), reml=reml)
        variance = found.s * np.einsum("kp,pk->k", combinations, np.linalg.solve(found.A, combinations.T))
        return np.array([*structure.theta(found.gradient), found.by_log_s]), variance

    hessian, slopes = np.empty((len(psi), len(psi))), np.empty((len(psi), len(combinations)))
    with threadpool_limits(1):
        _, variance = evaluate(psi)
        for k in range(len(psi)):
            step = STEP * max(1.0, abs(psi[k])) * np.eye(len(psi))[k]
            (up, variance_up), (down, variance_down) = evaluate(psi + step), evaluate(psi - step)
            hessian[k], slopes[k] = (up - down) / (2 * step[k]), (variance_up - variance_down) / (2 * step[k])
    eigenvalues, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    used = eigenvalues > FLAT * eigenvalues.max()
    along = vectors[:, used].T @ slopes  # (directions, k)
    spread = 2 * (along**2 / eigenvalues[used, None]).sum(axis=0)
    with np.errstate(divide="ignore"):
        return Satterthwaite(2 * variance**2 / spread, int((~used).sum()))

"""Log density of each row given all others, at estimated variances, in closed form."""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.result.frequentist import FrequentistFit


def elpd_given_variances(fit: FrequentistFit) -> float:
    """Sum over rows of log p(y_i | y_-i) at the fit's variances, common and group-specific effects integrated out.

    With V the covariance of the rows and P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1, a row left out has the residual
    (P y)_i / P_ii and the variance 1 / P_ii.

    Parameters
    ----------
    fit : FrequentistFit
        With at most one grouping factor, without frequency weights.

    Returns
    -------
    float
        NaN where a row alone identifies a common effect.

    References
    ----------
    Dubrule (1983), Mathematical Geology 15(6), 687-699.
    """
    P_diagonal, Py = _projection(fit)
    if fit.design.frequency or P_diagonal.min() <= 1e-12 * P_diagonal.max():
        return float("nan")
    variance, residual = 1 / P_diagonal, Py / P_diagonal
    return float(-0.5 * (np.log(2 * np.pi * variance) + residual**2 / variance).sum())


def _projection(fit: FrequentistFit) -> tuple[Array, Array]:
    """The diagonal of P and P y."""
    design, s = fit.design, fit.sigma**2
    w = np.ones(design.n) if design.weights is None else design.weights
    X, y = design.X, design.y - design.offset
    inverse = w / s  # diagonal of V^-1, less what the groups share
    ViX, Viy = X * inverse[:, None], y * inverse
    if design.factors:
        (factor,), (T,) = design.factors, fit._group_factors
        A = factor.Z @ T
        M = np.tile(np.eye(A.shape[1]), (factor.J, 1, 1))
        np.add.at(M, factor.codes, np.einsum("nk,nl->nkl", A, A * inverse[:, None]))
        scaled = np.einsum("nkl,nl->nk", np.linalg.inv(M)[factor.codes], A * inverse[:, None])
        diagonal = inverse - np.einsum("nk,nk->n", scaled, A) * inverse
        for at, columns in enumerate((X, y[:, None])):
            sums = np.zeros((factor.J, A.shape[1], columns.shape[1]))
            np.add.at(sums, factor.codes, np.einsum("nk,np->nkp", A * inverse[:, None], columns))
            shared = np.einsum("nk,nkp->np", scaled, sums[factor.codes])
            if at == 0:
                ViX = ViX - shared
            else:
                Viy = Viy - shared[:, 0]
    else:
        diagonal = inverse
    if not X.shape[1]:
        return diagonal, Viy
    L = np.linalg.cholesky(X.T @ ViX)
    half = np.linalg.solve(L, ViX.T)  # (p, n)
    return diagonal - (half**2).sum(axis=0), Viy - half.T @ (half @ y)

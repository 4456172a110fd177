"""How well are whole groups predicted by the others? Leave-one-group-out, the group's effects integrated out.

For group j with S = Z'WZ, r = Z'W(y - X b), M = s I + T'S T and n_j rows,

    log p(y_j | b, T, s) = -1/2 [ n_j log 2pi + (n_j - q) log s - sum log w + log|M| + (e'We - r'T M^-1 T'r) / s ]

for a Gaussian response; for others adaptive quadrature over the effects (algebra/group_integral.py).

Draws of the posterior are reweighted by its inverse (Pareto-smoothed); where the weights are too unequal the model is
fitted again without the group.
"""

import warnings
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.diagnostics import ess_mean
from poolwise.algebra.group_integral import NODES, group_log_densities
from poolwise.algebra.likelihoods import GAMMA, WEIBULL, constants, density_code, names_of
from poolwise.algebra.theta import lower_factor
from poolwise.check.again import carried_priors, rebuilt
from poolwise.errors import ArgumentError, ConvergenceWarning
from poolwise.fit.importance import K_LIMIT, smoothed_weights
from poolwise.result.bayes import BayesFit
from poolwise.result.pointwise import fits_memory
from poolwise.result.tables import choose_factor
from poolwise.spec.design import Design
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.sufficient import sufficient


@dataclass(frozen=True, eq=False)
class LeaveGroupOut:
    """Expected log predictive density of whole groups.

    Parameters
    ----------
    table : DataFrame
        A row a group: group, n, elpd (natural log, of all rows of the group together), mcse (its Monte Carlo error),
        pareto_k, method ("importance" or "refit").
    factor : str
        The grouping factor.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> fit.logo().table.columns.tolist()
    ['group', 'n', 'elpd', 'mcse', 'pareto_k', 'method']
    """

    table: pd.DataFrame
    factor: str

    @property
    def elpd(self) -> float:
        """Sum over the groups."""
        return float(self.table["elpd"].sum())

    @property
    def se(self) -> float:
        """Standard error of the sum, from the spread between groups."""
        return float(self.table["elpd"].std(ddof=1) * np.sqrt(len(self.table)))

    def __repr__(self) -> str:
        refitted = int((self.table["method"] == "refit").sum())
        return (
            f"elpd {self.elpd:.1f} (standard error {self.se:.1f}) of {len(self.table)} groups of {self.factor}, each "
            f"left out whole, its rows predicted together; {refitted} by "
            f"refitting\n{self.table.to_string(index=False, float_format='%.3g')}"
        )

    def _repr_html_(self) -> str:
        head = escape(repr(self).split("\n")[0])
        return f"<p>{head}</p>{self.table.to_html(index=False, float_format='%.3g', escape=True)}"


def leave_group_out(fit: BayesFit, *, refit: bool = True) -> LeaveGroupOut:
    """Predict each group of a model with one grouping factor from all others.

    Parameters
    ----------
    fit : BayesFit
        Of one grouping factor: Gaussian with any effects, or up to three effects of a Bernoulli, binomial, Poisson,
        negative binomial, gamma (log link), exponential, Weibull, beta, t or cumulative response.
    refit : bool, default True
        Fit again without a group where Pareto k exceeds 0.7; otherwise its importance estimate stands, with its k.

    Returns
    -------
    LeaveGroupOut

    Raises
    ------
    ArgumentError
        For other models, or if rows times draws exceed memory.

    References
    ----------
    Merkle, Furr & Rabe-Hesketh (2019), Psychometrika 84, 802-829, for leaving groups out with effects integrated out;
    Vehtari, Simpson, Gelman, Yao & Gabry (2024), J. Machine Learning Research 25(72), for the smoothing.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> len(fit.logo().table)
    6
    """
    design = fit.design
    refuse_grouping(design, "leaving groups out")
    if why := _unserved(design):
        raise ArgumentError(
            f"logo() cannot integrate the effects of a group out: {why}; pw.compare_pooling(...) leaves groups out by "
            "refitting (rmse_new_groups)"
        )
    if not fits_memory(fit):
        raise ArgumentError("draws times rows exceed what fits in memory; fit with fewer draws")
    density = log_density_of_groups(fit, design)
    factor = choose_factor(design, None)
    assert factor is not None
    rows, chains = [], fit.posterior.sizes["chain"]
    for j, group in enumerate(factor.labels):
        elpd, mcse, k = _importance(density[:, j], chains)
        method = "importance"
        if k > K_LIMIT and refit and factor.J > 2:
            elpd, mcse = _refitted(fit, factor.codes == j, j)
            method = "refit"
        rows.append((group, int(factor.sizes[j]), elpd, mcse, k, method))
    return LeaveGroupOut(pd.DataFrame(rows, columns=["group", "n", "elpd", "mcse", "pareto_k", "method"]), factor.name)


def log_density_of_groups(fit: BayesFit, of: Design) -> Array:
    """Log density (D, J) of the rows of each group of a design given the parameters, its effects integrated out.

    ``of`` is the fit's own design, or that of the same formula with more rows.
    """
    return _gaussian(fit, of) if fit.design.collapses else _by_quadrature(fit, of)


def _unserved(design: Design) -> str:
    """Why the effects of a group are not integrated out; empty where they are."""
    if len(design.factors) != 1:
        return f"the model has {len(design.factors)} grouping factors, and one is needed"
    if design.collapses:
        return ""
    if density_code(design.family.name, design.family.link) is None:
        return f"family {design.family} is not of the quadrature's"
    if not design.outcome.plain or (design.weights is not None and not design.frequency):
        return "rows are censored, truncated, or have precisions of their own"
    q = len(design.factors[0].effects)
    return f"a group has {q} effects, and at most {max(NODES)} are served" if q not in NODES else ""


def _by_quadrature(fit: BayesFit, of: Design) -> Array:
    factor, family = fit.design.factors[0], fit.design.family
    found = density_code(family.name, family.link)
    assert found is not None
    code, link = found
    trials = np.ones(of.n) if of.outcome.trials is None else of.outcome.trials
    base = fit.coefficients @ fit.design.common.apply(of.frame).T + of.offset
    draws = [fit.family_draws[name].reshape(len(base), -1) for name in names_of(family.name)]
    return group_log_densities(
        code,
        link,
        of.y,
        np.log(of.y) if code in (GAMMA, WEIBULL) else trials,
        np.ones(of.n) if of.weights is None else of.weights,
        constants(code, of.y, trials),
        base,
        np.column_stack([*draws, np.zeros(len(base))]),
        factor.Z_of(of.frame),
        fit.factor_draws(factor),
        of.factors[0].codes,
        of.factors[0].J,
    )


def _gaussian(fit: BayesFit, of: Design) -> Array:
    here = sufficient(fit.design)
    basis, factor = here.basis, fit.design.factors[0]
    offset, matrix = basis.to_coefficients
    b = np.linalg.solve(matrix, (fit.coefficients - offset).T).T
    T = lower_factor(np.linalg.solve(basis.to_effects, fit.factor_draws(factor)))
    s = (fit.sigma_draws / basis.y_scale) ** 2
    group = of.factors[0]
    # What transformations learned stays with the rows they learned it from.
    X, Z, y = basis.rows(fit.design.common.apply(of.frame), factor.Z_of(of.frame), of.y - of.offset)
    weights = np.ones(of.n) if of.weights is None else of.weights
    codes, J, q = group.codes, group.J, Z.shape[1]
    counts = np.bincount(codes, weights if of.frequency else None, minlength=J)
    logs = np.zeros(J) if of.frequency else np.bincount(codes, np.log(weights), minlength=J)
    # Sums of squares by group about the mean coefficients: what the draws differ by is small, and little cancels.
    centre = b.mean(axis=0)
    columns = np.column_stack([X, Z, y - X @ centre])
    rows_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=J))[:-1])
    C = np.stack([columns[rows].T @ (weights[rows, None] * columns[rows]) for rows in rows_of])
    residual = np.column_stack([centre - b, np.zeros((len(b), q)), np.ones(len(b))])  # columns @ it = y - X b
    effects = slice(X.shape[1], X.shape[1] + q)
    S, r = C[:, effects, effects], np.einsum("jkl,dl->djk", C[:, effects], residual)
    rss = np.einsum("dk,jkl,dl->dj", residual, C, residual, optimize=True)
    M = s[:, None, None, None] * np.eye(q) + np.einsum("dki,jkl,dlm->djim", T, S, T, optimize=True)
    w = np.einsum("dki,djk->dji", T, r)
    quadratic = (w * np.linalg.solve(M, w[..., None])[..., 0]).sum(axis=2)
    logdet = np.linalg.slogdet(M)[1]
    value = counts * np.log(2 * np.pi) + (counts - q) * np.log(s)[:, None] - logs + logdet
    # The density is of y in its own units.
    return -0.5 * (value + (rss - quadratic) / s[:, None]) - counts * np.log(basis.y_scale)


def _importance(density: Array, chains: int) -> tuple[float, float, float]:
    """Log of the harmonic mean, smoothed; its Monte Carlo error; Pareto k."""
    raw = np.exp(density.min() - density)
    weights, k = smoothed_weights(-density, ess_mean(raw.reshape(chains, -1)) / len(raw))
    shift = density.max()
    terms = np.exp(density - shift)
    mean = float(weights @ terms)
    parts = weights * (terms - mean)
    error = float(np.sqrt((parts**2).sum() * len(parts) / ess_mean(parts.reshape(chains, -1))) / mean)
    return float(np.log(mean) + shift), error, k


def _refitted(fit: BayesFit, held: NDArray[np.bool_], j: int) -> tuple[float, float]:
    """Log predictive density of the held rows, by a fit of all others under the same priors."""
    settings, frame = fit.settings, fit.design.frame[~held].reset_index(drop=True)
    for column in fit.design.factors[0].columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].cat.remove_unused_categories()
    others = rebuilt(replace(fit.design, frame=frame), carried_priors(fit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        without = others.fit(
            settings.draws, settings.tune, settings.chains, settings.seed + j + 1, progress=False, cores=settings.cores
        )
    density = log_density_of_groups(without, fit.design)[:, j]
    shift = density.max()
    terms = np.exp(density - shift)
    effective = ess_mean(terms.reshape(without.posterior.sizes["chain"], -1))
    error = terms.std() / np.sqrt(effective) / terms.mean()
    return float(np.log(terms.mean()) + shift), float(error)

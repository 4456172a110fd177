"""Where the variance is, how much is pooled, and how much of it the prior decided.

References
----------
Gelman & Pardoe (2006), Technometrics 48(2), 241-251, for R2 and the pooling factor of each level; Nakagawa, Johnson &
Schielzeth (2017), J. R. Soc. Interface 14, 20170213, for residual variances on the scale of a link.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import FitError
from poolwise.result.pooling_factor import pooling_factor_draws
from poolwise.result.tables import check_level
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.prior_draws import improper_of, prior_draws

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

# Draws behind the pooling factors of the groups, and of the prior.
CHOSEN, PRIOR_DRAWS = 400, 4000
# Residual variance on the scale of the link, of a threshold that is crossed.
LATENT = {"logit": np.pi**2 / 3, "probit": 1.0, "cloglog": np.pi**2 / 6}
# Quantiles whose distance is two sds of a normal distribution.
ONE_SD = (0.158655, 0.841345)


@dataclass(frozen=True, eq=False)
class Variance:
    """Variance, pooling and learning of a Bayesian fit, by :func:`variance`.

    Parameters
    ----------
    levels : DataFrame
        A row a varying effect, and one for the rows of a Gaussian response: level, pooling (Gelman and Pardoe's
        factor: 1 complete pooling, 0 none), r2 with lower and upper (share of the level's variance that predictors at
        that level explain).
    groups : DataFrame
        Pooling factor of each group and varying effect: factor, group, term, n, pooling, lower, upper. Empty with
        several grouping factors.
    icc : DataFrame
        Share of the variance of the rows that lies between the groups of each factor: factor, estimate, lower, upper.
    contraction : DataFrame
        Of each group sd: parameter, prior and posterior sd, contraction. 1 is all learnt, 0 nothing.
    level : float
        Probability of the equal-tailed intervals.
    """

    levels: pd.DataFrame
    groups: pd.DataFrame
    icc: pd.DataFrame
    contraction: pd.DataFrame
    level: float

    def __repr__(self) -> str:
        shown = {
            "Pooling and R2 by level (Gelman & Pardoe 2006)": self.levels,
            "Intraclass correlation": self.icc,
            "Prior to posterior": self.contraction,
        }
        return "\n\n".join(
            f"{title}\n{table.to_string(index=False, float_format='%.3g', na_rep='-')}"
            for title, table in shown.items()
            if len(table)
        )

    def _repr_html_(self) -> str:
        shown = (self.levels, self.icc, self.contraction)
        return "".join(table.to_html(index=False, float_format="%.3g", na_rep="–") for table in shown if len(table))


def variance(fit: "BayesFit", level: float = 0.95, seed: int = 1) -> Variance:
    """Where the variance is, how much is pooled, and how much of it the prior decided.

    Parameters
    ----------
    fit : BayesFit
        With at least one grouping factor.
    level : float, default 0.95
        Probability of the equal-tailed intervals.
    seed : int, default 1
        Of the draws from the prior.

    Returns
    -------
    Variance

    Raises
    ------
    FitError
        For a fit without groups.

    Notes
    -----
    With errors eps_k of a level, k its groups (or rows), V the variance over k and E the mean over draws,

        pooling = 1 - V(E eps_k) / E V(eps_k),    R2 = 1 - E V(eps_k) / E V(theta_k),

    theta_k the errors plus what predictors constant within groups explain of the intercepts; at the level of rows, the
    response. The interval of R2 is of 1 - V(eps_k) / V(theta_k) over draws. Contraction: 1 minus the squared ratio of
    posterior to prior sd, an sd being half the distance of the 16 and 84 % quantiles, so that heavy tails have one; at
    the predictors' values where a posterior has the sd.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> found = variance(model.fit(seed=1, progress=False))
    >>> found.levels["level"].tolist()
    ['rows', 'Intercept | Subject', 'Days | Subject']
    """
    refuse_grouping(fit.design, "a pooling factor")
    if not fit.design.factors:
        raise FitError("this fit has no group-specific effects, so its variance has one level only")
    tails = [(1 - check_level(level)) / 2, (1 + level) / 2]
    groups = _groups(fit, tails) if len(fit.design.factors) == 1 else pd.DataFrame()
    return Variance(_levels(fit, tails), groups, _icc(fit, tails), contraction(fit, seed), level)


def contraction(fit: "BayesFit", seed: int = 1) -> pd.DataFrame:
    """How far the data narrowed each group sd: columns parameter, prior, posterior, contraction (NaN: improper)."""
    priors = {row.parameter: row.prior for row in fit.resolved_priors}
    centred = not any(row.at == "zero" for row in fit.resolved_priors)
    rng, without = np.random.default_rng(seed), improper_of(priors)
    drawn = prior_draws(fit.design, priors, PRIOR_DRAWS, rng, centred=centred, without=without)
    rows = []
    for factor, T in zip(fit.design.factors, drawn.group_factors, strict=True):
        before = _spread(np.sqrt((T**2).sum(axis=2)))
        after = _spread(np.sqrt((fit.factor_draws(factor) ** 2).sum(axis=2)))
        rows += list(zip(factor.sd_names, before, after, 1 - (after / before) ** 2, strict=True))
    return pd.DataFrame(rows, columns=["parameter", "prior", "posterior", "contraction"])


def _spread(draws: Array) -> Array:
    lower, upper = np.quantile(draws, ONE_SD, axis=0)
    return (upper - lower) / 2


def _levels(fit: "BayesFit", tails: list[float]) -> pd.DataFrame:
    design, rows = fit.design, []
    if design.collapses:
        rows.append(("rows", *_row_level(fit, tails)))
    for factor in design.factors:
        effects, explained = fit.effects(factor), _explained(design, factor, fit.coefficients)
        for k, effect in enumerate(factor.effects):
            eps = effects[:, :, k]
            theta = eps + explained if effect == names.INTERCEPT else eps
            spread, total = eps.var(axis=1, ddof=1), theta.var(axis=1, ddof=1)
            pooling = 1 - eps.mean(axis=0).var(ddof=1) / spread.mean()
            rows.append((f"{effect} | {factor.name}", pooling, *_r2(spread, total, tails)))
    return pd.DataFrame(rows, columns=["level", "pooling", "r2", "lower", "upper"])


def _r2(spread: Array, total: Array, tails: list[float]) -> tuple[float, float, float]:
    lower, upper = np.quantile(1 - spread / total, tails)
    return float(1 - spread.mean() / total.mean()), float(lower), float(upper)


def _row_level(fit: "BayesFit", tails: list[float]) -> tuple[float, float, float, float]:
    """Of the rows: V over rows by running sums, so that rows times draws need not fit memory."""
    design, y = fit.design, fit.design.y
    D, mean = len(fit.coefficients), np.empty(design.n)
    sums, squares = np.zeros(D), np.zeros(D)
    for block in fit._blocks(design.n):
        eps = y[block] - fit.linear_predictor(block=block)
        mean[block] = eps.mean(axis=0)
        sums += eps.sum(axis=1)
        squares += (eps**2).sum(axis=1)
    spread = (squares - sums**2 / design.n) / (design.n - 1)
    pooling = 1 - mean.var(ddof=1) / spread.mean()
    return pooling, *_r2(spread, np.full(D, y.var(ddof=1)), tails)


def _explained(design: Design, factor: GroupingFactor, coefficients: Array) -> Array:
    """What predictors that are constant within groups add to each group's level (D, J)."""
    first = np.unique(factor.codes, return_index=True)[1]
    own = np.zeros(design.X.shape[1], dtype=bool)
    for k in range(design.X.shape[1]):
        column = design.X[:, k]
        own[k] = k != design.intercept and np.array_equal(column, column[first][factor.codes])
    return coefficients[:, own] @ design.X[first][:, own].T


def _groups(fit: "BayesFit", tails: list[float]) -> pd.DataFrame:
    (factor,) = fit.design.factors
    chosen = np.linspace(0, len(fit.coefficients) - 1, min(CHOSEN, len(fit.coefficients))).astype(int)
    draws = pooling_factor_draws(fit, chosen)
    lower, upper = np.quantile(draws, tails, axis=0)
    q = len(factor.effects)
    return pd.DataFrame(
        {
            "factor": factor.name,
            "group": np.repeat(factor.labels, q),
            "term": np.tile(factor.effects, factor.J),
            "n": np.repeat(factor.sizes, q),
            "pooling": draws.mean(axis=0).ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
        }
    )


def _icc(fit: "BayesFit", tails: list[float]) -> pd.DataFrame:
    design = fit.design
    columns = ["factor", "estimate", "lower", "upper"]
    if design.collapses:
        precision = 1.0 if design.weights is None or design.frequency else design.weights
        residual = fit.sigma_draws**2 * float(np.mean(1 / np.asarray(precision)))
    elif design.family.holds in ("binary", "trials") and design.family.link in LATENT:
        residual = np.full(len(fit.coefficients), LATENT[design.family.link])
    else:
        return pd.DataFrame(columns=columns)
    parts = {}
    for factor in design.factors:
        T = fit.factor_draws(factor)
        parts[factor.name] = np.einsum("dkm,dlm,kl->d", T, T, factor.Z.T @ factor.Z / design.n, optimize=True)
    total = residual + np.sum(list(parts.values()), axis=0)
    rows = [(name, (part / total).mean(), *np.quantile(part / total, tails)) for name, part in parts.items()]
    return pd.DataFrame(rows, columns=columns)

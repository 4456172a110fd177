"""Mixed predictive check: responses replicated with new group effects from the population, compared by bin of groups.

With the effects of the fit a replication follows the data wherever the effects absorbed a misfit; effects drawn anew
from N(0, Sigma) say what the model expects of groups as such.

References
----------
Marshall & Spiegelhalter (2007), Bayesian Analysis 2(2), 409-444; Bayarri & Castellanos (2007), Statistical Science
22(3), 322-343.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.check.again import row_weights
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.simulate import simulate
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

REPLICATIONS = 500


def mixed_predictive(
    fit: FrequentistFit | GLMMFit | BayesFit,
    factor: GroupingFactor,
    which: NDArray[np.int64],
    *,
    replications: int = REPLICATIONS,
    level: float = 0.95,
    seed: int = 1,
) -> pd.DataFrame:
    """Mean response of each bin of groups, observed and replicated.

    Parameters
    ----------
    fit : FrequentistFit, GLMMFit or BayesFit
        Of a family with a frequentist fit. Without draws the parameters stand at their estimates.
    factor : GroupingFactor
        Whose effects are drawn anew; those of other factors are kept.
    which : ndarray of int (J,)
        Bin of each group.
    replications : int, default 500
    level : float, default 0.95
        Probability of the interval of the replications.
    seed : int, default 1

    Returns
    -------
    DataFrame
        Columns bin, observed, replicated (mean), lower, upper, p (two-sided); the last row, ``first - last``, is the
        difference between the first and the last bin, which leaves the overall level out.
    """
    rng, design = np.random.default_rng(seed), fit.design
    w, of_row, count = row_weights(design), which[factor.codes], int(which.max()) + 1
    weight = np.bincount(of_row, w, count)

    def means(scaled: Array) -> Array:
        found = np.bincount(of_row, w * scaled, count) / weight
        return np.append(found, found[0] - found[-1])

    observed = means(design.outcome.scaled)
    trials = design.outcome.trials
    drawn = []
    for eta, T, own in _states(fit, factor, replications):
        u = rng.standard_normal((factor.J, len(factor.effects))) @ T.T
        y = simulate(design.family, eta + np.einsum("nk,nk->n", factor.Z, u[factor.codes]), own, trials, rng)
        drawn.append(means(y if trials is None else y / trials))
    values = np.array(drawn)
    lower, upper = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    below, above = (values <= observed).mean(axis=0), (values >= observed).mean(axis=0)
    return pd.DataFrame(
        {
            "bin": [*map(str, range(1, count + 1)), "first - last"],
            "observed": observed,
            "replicated": values.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "p": np.minimum(2 * np.minimum(below, above), 1.0),
        }
    )


def _states(fit, factor: GroupingFactor, replications: int):
    """Linear predictor without the factor's effects, T, and the family's own parameter, a replication at a time."""
    design, place = fit.design, [one.name for one in fit.design.factors].index(factor.name)
    if isinstance(fit, BayesFit):
        chosen = np.linspace(0, len(fit.coefficients) - 1, replications).astype(int)
        T, b = fit.factor_draws(factor)[chosen], fit.coefficients[chosen]
        others = [(one, fit.effects(one)[chosen]) for one in design.factors if one.name != factor.name]
        own = _own_draws(fit)[chosen]
        for d in range(replications):
            eta = design.offset + design.X @ b[d]
            for one, effects in others:
                eta = eta + np.einsum("nk,nk->n", one.Z, effects[d][one.codes])
            yield eta, T[d], _by_row(design, own[d])
        return
    eta = design.offset + design.X @ fit.fixef.to_numpy()
    for one, modes in zip(design.factors, fit._modes, strict=True):
        if one.name != factor.name:
            eta = eta + np.einsum("nk,nk->n", one.Z, modes[one.codes])
    if isinstance(fit, GLMMFit):
        at = fit.predictor.problem.blocks[place]
        T = fit._T[at, at]
        own = float(fit.family_parameters.iloc[0]) if len(fit.family_parameters) else 1.0
    else:
        T, own = fit._group_factors[place], fit.sigma
    for _ in range(replications):
        yield eta, T, _by_row(design, own)


def _own_draws(fit: BayesFit) -> Array:
    if fit.design.family.gaussian:
        return fit.sigma_draws
    own = fit.family_draws
    return next(iter(own.values()))[:, 0] if own else np.ones(len(fit.coefficients))


def _by_row(design: Design, own: float):
    if design.family.gaussian and design.weights is not None:
        return own / np.sqrt(design.weights)
    return own

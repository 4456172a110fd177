"""The distribution of the response given the linear predictor, for every family, in PyMC.

Parameters have Bambi's names and meaning, so that a posterior of one reads as one of the other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from poolwise import names
from poolwise.spec.design import Design
from poolwise.spec.families import Family

_DISTRIBUTIONS = {
    "gaussian": pm.Normal,
    "bernoulli": pm.Bernoulli,
    "binomial": pm.Binomial,
    "beta_binomial": pm.BetaBinomial,
    "zero_inflated_binomial": pm.ZeroInflatedBinomial,
    "poisson": pm.Poisson,
    "negativebinomial": pm.NegativeBinomial,
    "zero_inflated_poisson": pm.ZeroInflatedPoisson,
    "zero_inflated_negativebinomial": pm.ZeroInflatedNegativeBinomial,
    "hurdle_poisson": pm.HurdlePoisson,
    "hurdle_negativebinomial": pm.HurdleNegativeBinomial,
    "gamma": pm.Gamma,
    "hurdle_gamma": pm.HurdleGamma,
    "weibull": pm.Weibull,
    "exponential": pm.Exponential,
    "wald": pm.Wald,
    "lognormal": pm.LogNormal,
    "hurdle_lognormal": pm.HurdleLogNormal,
    "t": pm.StudentT,
    "laplace": pm.Laplace,
    "asymmetriclaplace": pm.AsymmetricLaplace,
    "exgaussian": pm.ExGaussian,
    "beta": pm.Beta,
    "vonmises": pm.VonMises,
    "cumulative": pm.Categorical,
    "sratio": pm.Categorical,
    "categorical": pm.Categorical,
    "multinomial": pm.Multinomial,
    "dirichlet_multinomial": pm.DirichletMultinomial,
}

# What a response holds where it is a whole number.
WHOLE = ("binary", "trials", "count", "levels", "categories", "counts")


def inverse_link(link: str, eta: Any) -> Any:
    """Mean (or probability) of a linear predictor, symbolic."""
    match link:
        case "identity":
            return eta
        case "log":
            return pt.exp(eta)
        case "logit":
            return pt.sigmoid(eta)
        case "probit":
            return 0.5 * pt.erfc(-eta / np.sqrt(2.0))
        case "cloglog":
            return -pt.expm1(-pt.exp(eta))
        case "inverse":
            return 1 / eta
        case "inverse_squared":
            return 1 / pt.sqrt(eta)
    raise ValueError(link)


def distribution(family: Family, eta: Any, own: Mapping[str, Any], trials: Any = None) -> tuple[Any, dict[str, Any]]:
    """PyMC's distribution class and its arguments.

    Parameters
    ----------
    family : Family
        With its link.
    eta : tensor (..., n)
        Linear predictor, offset included; of a categorical response that of the reference, if there is one.
    own : mapping of str to tensor
        The family's further parameters, broadcastable against ``eta``; ``threshold`` (..., K - 1); of a categorical
        response the linear predictors of the other categories, in order.
    trials : ndarray (n,), optional
        Of a binomial response; totals of counts by category.

    Returns
    -------
    class, dict
    """
    chosen, link = _DISTRIBUTIONS[family.name], family.link
    if family.name in ("bernoulli", "binomial") and link == "logit":
        # The log of a probability that rounds to 0 or 1 is lost; the log odds keep it.
        return chosen, {"logit_p": eta} | ({} if trials is None else {"n": trials})
    if family.name in ("cumulative", "sratio"):
        return chosen, {"p": ordinal_probabilities(family, eta, own["threshold"])}
    if family.categorical:
        total = {} if trials is None else {"n": trials}
        if not family.has_reference:
            return chosen, total | {family.parent: pt.exp(pt.stack(list(own.values()), axis=-1))}
        return chosen, total | {family.parent: pt.special.softmax(pt.stack([eta, *own.values()], axis=-1), axis=-1)}
    mean = inverse_link(link, eta)
    given = dict(own)
    if trials is not None:
        given["n"] = trials
    match family.name:
        case "beta" | "beta_binomial":
            kappa = given.pop("kappa")
            given |= {"alpha": mean * kappa, "beta": (1 - mean) * kappa}
        case "gamma" | "hurdle_gamma":
            shape = given.pop("alpha")
            given |= {"alpha": shape, "beta": shape / mean}
        case "weibull":
            given["beta"] = mean / pt.exp(pt.gammaln(1 + 1 / given["alpha"]))
        case "exponential":
            given["lam"] = 1 / mean
        case _:
            given[family.parent] = mean
    return chosen, given


def ordinal_probabilities(family: Family, eta: Any, threshold: Any) -> Any:
    """Probability of each level (..., n, K): of a cumulative or a stopping-ratio model.

    References
    ----------
    Buerkner & Vuorre (2019), Advances in Methods and Practices in Psychological Science 2(1), 77-101.
    """
    below = inverse_link(family.link, threshold - pt.shape_padright(eta))  # (..., n, K - 1)
    first, last = below[..., :1], 1 - below[..., -1:]
    if family.name == "cumulative":
        return pt.concatenate([first, below[..., 1:] - below[..., :-1], last], axis=-1)
    passed = pt.cumprod(1 - below, axis=-1)
    return pt.concatenate([first, below[..., 1:] * passed[..., :-1], passed[..., -1:]], axis=-1)


def trials_of_rows(design: Design) -> np.ndarray | None:
    """Trials of a binomial response, totals of counts by category; None of any other."""
    return design.outcome.trials if design.outcome.counts is None else design.outcome.y


def observe(design: Design, eta: Any, own: Mapping[str, Any], scale: Any = None) -> None:
    """Add the observed response to the PyMC model on the stack.

    Parameters
    ----------
    design : Design
        Response, weights, censoring, bounds.
    eta : tensor (n,)
        Linear predictor.
    own : mapping of str to tensor
        The family's further parameters.
    scale : tensor, optional
        In place of sigma, where rows have precisions of their own.
    """
    outcome, family, name = design.outcome, design.family, design.response
    own = dict(own) if scale is None else {**own, names.SIGMA: scale}
    observed: Any = outcome.observed
    if family.holds in WHOLE:
        observed = observed.astype(np.int64)
    trials = trials_of_rows(design)
    chosen, given = distribution(family, eta, own, None if trials is None else trials.astype(np.int64))
    dims: Any = names.OBSERVATION
    if outcome.levels is not None:
        pm.Deterministic(family.parent, given["p"])
    elif outcome.categories is not None:
        pm.Deterministic(family.parent, given[family.parent], dims=(dims, names.term_dim(name)))
    else:
        pm.Deterministic(family.parent, inverse_link(family.link, eta), dims=dims)
    if outcome.status is not None:
        lower = np.where(outcome.status == -1, observed, -np.inf)
        upper = np.where(outcome.status == 1, observed, np.inf)
        _counted(design, pm.Censored, chosen.dist(**given), lower=lower, upper=upper)
    elif outcome.bounds is not None:
        low, high = (None if np.isinf(bound).all() else bound for bound in outcome.bounds)
        _counted(design, pm.Truncated, chosen.dist(**given), lower=low, upper=high)
    elif design.weights is not None and design.frequency:
        density = pt.as_tensor(design.weights) * pm.logp(chosen.dist(**given), observed)
        pm.Potential(name, density.sum())
    else:
        if outcome.counts is not None:
            dims = (dims, names.term_dim(name))
        chosen(name, **given, observed=observed, dims=dims)


def _counted(design: Design, wrapper: Any, *arguments: Any, **bounds: Any) -> None:
    """A censored or truncated response, a row of weight w counting as w rows."""
    y = design.outcome.y
    if design.weights is None or not design.frequency:
        # Precisions stand in the scale already.
        wrapper(design.response, *arguments, **bounds, observed=y, dims=names.OBSERVATION)
    else:
        density = pt.as_tensor(design.weights) * pm.logp(wrapper.dist(*arguments, **bounds), y)
        pm.Potential(design.response, density.sum())


def log_density(design: Design, eta: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log density of the observed response under draws of its linear predictor.

    Parameters
    ----------
    design : Design
        Response, censoring and bounds; weights do not count.
    eta : ndarray (D, n)
        Linear predictor.
    own : mapping of str to ndarray
        The family's further parameters, (D, 1); ``threshold`` (D, 1, K - 1).

    Returns
    -------
    ndarray (D, n)
    """
    observed = design.outcome.observed
    variable = _response_variable(design, eta, own, trials_of_rows(design))
    # (D, n): a response for all draws, or one for each; counts by category (D, n, K).
    shape = eta.shape if design.outcome.counts is None else (*eta.shape, observed.shape[-1])
    y = np.broadcast_to(observed.astype(np.int64) if design.family.holds in WHOLE else observed, shape)
    return pm.logp(variable, pt.as_tensor(y)).eval(mode="FAST_COMPILE")


def draw_response(
    design: Design, eta: np.ndarray, own: Mapping[str, np.ndarray], trials: np.ndarray | None, seed: int
) -> np.ndarray:
    """Replications of the response under draws of its linear predictor; arguments as :func:`log_density` has them.

    A truncated response is drawn within its bounds only where they are the same in every row; a censored one is drawn
    as it was before it was censored.
    """
    variable = _response_variable(design, eta, own, trials, censored=False)
    drawn = pm.draw(variable, random_seed=seed, mode="FAST_COMPILE").astype(np.float64)
    return drawn + 1 if design.outcome.levels is not None else drawn


def _response_variable(design: Design, eta: Any, own: Any, trials: Any, *, censored: bool = True) -> Any:
    outcome = design.outcome
    trials = None if trials is None else np.broadcast_to(trials.astype(np.int64), eta.shape)
    chosen, given = distribution(design.family, pt.as_tensor(eta), {k: pt.as_tensor(v) for k, v in own.items()}, trials)
    variable = chosen.dist(**given)
    if outcome.status is not None and censored:
        lower = np.where(outcome.status == -1, outcome.y, -np.inf)
        upper = np.where(outcome.status == 1, outcome.y, np.inf)
        return pm.Censored.dist(variable, lower=lower, upper=upper)
    if outcome.bounds is not None:
        bounds = [bound if censored else bound[:1] for bound in outcome.bounds]
        low, high = (None if np.isinf(bound).all() else bound for bound in bounds)
        return pm.Truncated.dist(variable, lower=low, upper=high, shape=eta.shape)
    return variable

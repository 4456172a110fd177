"""Parameters drawn from a model's priors, and responses from them: where simulation-based calibration begins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.errors import ArgumentError, PriorError
from poolwise.model import Model
from poolwise.priors.distributions import IMPROPER
from poolwise.result.bayes import BayesFit
from poolwise.spec.design import Design
from poolwise.spec.prior_draws import prior_draws


@dataclass(frozen=True, eq=False)
class Parameters:
    """Draws (D, ...) of all that a response depends on, in the units of the data.

    Parameters
    ----------
    coefficients : ndarray (D, p)
        Intercept at predictors of zero.
    group_factors : tuple of ndarray (D, q, q)
        A root of the covariance of each factor's effects, intercepts at zero.
    effects : tuple of ndarray (D, J, q)
        Of each factor.
    own : mapping of str to ndarray (D,) or (D, K - 1)
        The family's further parameters.
    """

    coefficients: Array
    group_factors: tuple[Array, ...]
    effects: tuple[Array, ...]
    own: Mapping[str, Array]

    def chosen(self, r: int) -> "Parameters":
        """One draw."""
        one = slice(r, r + 1)
        return Parameters(
            self.coefficients[one],
            tuple(T[one] for T in self.group_factors),
            tuple(u[one] for u in self.effects),
            {name: value[one] for name, value in self.own.items()},
        )

    def linear_predictor(self, design: Design) -> Array:
        """Offset included, (D, n)."""
        eta = design.offset + self.coefficients @ design.X.T
        for factor, u in zip(design.factors, self.effects, strict=True):
            eta += np.einsum("nk,dnk->dn", factor.Z, u[:, factor.codes])
        return eta

    def by_row(self, design: Design) -> dict[str, Array]:
        """The family's parameters as they broadcast against the linear predictor; sigma by each row's precision."""
        own = {name: value[:, None] for name, value in self.own.items()}
        if design.weights is not None and "sigma" in own:
            own["sigma"] = own["sigma"] / np.sqrt(design.weights)
        return own

    def quantities(self, design: Design) -> dict[str, Array]:
        """Each scalar parameter (D,) by name, and the effects of the first group of each factor."""
        found = dict(zip(design.coefficient_names, self.coefficients.T, strict=True))
        for factor, T, u in zip(design.factors, self.group_factors, self.effects, strict=True):
            sds, correlations = sds_and_correlations(T)
            found |= dict(zip(factor.sd_names, sds.T, strict=True))
            for row, column in factor.structure.positions:
                if row != column:
                    name = f"corr|{factor.name}[{factor.effects[column]}, {factor.effects[row]}]"
                    found[name] = correlations[:, row, column]
            for k, effect in enumerate(factor.effects):
                found[f"{effect}|{factor.name}[{factor.labels[0]}]"] = u[:, 0, k]
        for name, value in self.own.items():
            if value.ndim == 1:
                found[name] = value
            else:
                found |= {f"{name}[{k}]": column for k, column in enumerate(value.T)}
        return found


def drawn_parameters(model: Model, count: int, rng: np.random.Generator) -> Parameters:
    """Independent draws from the priors.

    Raises
    ------
    PriorError
        If a prior is improper.
    """
    design, specification = model.design, model.specification
    improper = [name for name, prior in specification.priors.items() if prior.distribution in IMPROPER]
    if improper:
        raise PriorError(
            f"nothing can be drawn from the improper priors of {', '.join(map(repr, improper))}, and calibration is "
            "over the prior; choose a proper preset such as 'weakly_informative', or override those priors"
        )
    drawn = prior_draws(design, specification.priors, count, rng, centred=specification.centred)
    coefficients = drawn.coefficients.copy()
    if design.intercept >= 0:
        slopes = np.arange(coefficients.shape[1]) != design.intercept
        coefficients[:, design.intercept] -= coefficients[:, slopes] @ design.X.mean(axis=0)[slopes]
    effects = tuple(
        np.einsum("dkl,djl->djk", T, rng.standard_normal((count, factor.J, len(factor.effects))))
        for factor, T in zip(design.factors, drawn.group_factors, strict=True)
    )
    return Parameters(coefficients, drawn.group_factors, effects, drawn.own)


def drawn_responses(design: Design, parameters: Parameters, seed: int) -> Array:
    """A response (D, n) under each draw of the parameters, by PyMC's generators, not by the densities of the fit.

    Raises
    ------
    ArgumentError
        For rows that stand for several, and censored or truncated ones.
    PriorError
        If a response cannot be drawn: it is too large for the computer, or its mean is outside the link.
    """
    from poolwise.compile.likelihood import draw_response

    if design.frequency or not design.outcome.plain:
        raise ArgumentError("responses with frequency weights, censored or truncated ones cannot be simulated here")
    eta = parameters.linear_predictor(design)
    try:
        y = draw_response(design, eta, parameters.by_row(design), design.outcome.trials, seed)
    except ValueError as error:
        y, said = np.array([np.nan]), f": {error}"
    else:
        said = ""
    if not np.isfinite(y).all():
        raise PriorError(
            f"the priors allow responses that cannot be drawn (linear predictors from {eta.min():.3g} to "
            f"{eta.max():.3g}){said}; choose narrower priors, for instance of the intercept and the group sds"
        )
    return y - 1 if design.outcome.levels is not None else y


def posterior_parameters(fit: BayesFit, thin: int) -> Parameters:
    """Every ``thin``-th draw of a posterior."""
    chosen = slice(thin - 1, None, thin)
    return Parameters(
        fit.coefficients[chosen],
        tuple(fit.factor_draws(factor)[chosen] for factor in fit.design.factors),
        tuple(fit.effects(factor)[chosen] for factor in fit.design.factors),
        {name: value[chosen, 0] for name, value in fit.family_draws.items()},
    )


def log_likelihoods(design: Design, parameters: list[Parameters], responses: Array) -> Array:
    """Log likelihood (S, D) of each response (S, n) under D draws of its parameters, given the effects."""
    from poolwise.compile.likelihood import log_density

    eta = np.concatenate([one.linear_predictor(design) for one in parameters])
    rows = [one.by_row(design) for one in parameters]
    own = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    counts = [len(one.coefficients) for one in parameters]
    # One evaluation for all of them: the response of each draw stands in its row.
    y = np.repeat(responses, counts, axis=0)
    whole = replace(design, outcome=replace(design.outcome, y=y))
    return log_density(whole, eta, own).sum(axis=1).reshape(len(parameters), -1)

"""Exponential dispersion families given the linear predictor: log density, score and curvature of every row.

With mu(eta) the inverse link, V the variance function and phi the dispersion,

    score      s = (y - mu) mu' / (phi V)
    expected   w = mu'^2 / (phi V)                                    (Fisher's information of a row)
    observed   -ds/deta = w - (y - mu) (mu'' / V - mu'^2 V' / V^2) / phi

all three times the number of trials, or the weight, of the row. They are the same under the canonical link.

References
----------
McCullagh & Nelder (1989), Generalized Linear Models, 2nd edition, sections 2.2 and 2.5.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, log_expit, log_ndtr, ndtr, polygamma, xlogy

Array = NDArray[np.float64]

CANONICAL = {"binomial": "logit", "poisson": "log", "gamma": "inverse", "wald": "inverse_squared"}
# Beyond these limits of the linear predictor a probability, a mean or its square is no number any more.
LIMITS = {"logit": (-500.0, 500.0), "probit": (-35.0, 35.0), "cloglog": (-500.0, 6.0), "log": (-300.0, 300.0)}


@dataclass(frozen=True)
class AtRows:
    """What the rows say at a linear predictor.

    Parameters
    ----------
    logf : ndarray (n,)
        Log density, constants included; -inf where the mean is outside its range.
    score, expected, observed : ndarray (n,)
        Its first derivative by eta, and minus the second, expected and as observed.
    weight, slope : ndarray (n,)
        The curvature that the Laplace approximation uses, and its derivative by eta.
    """

    logf: Array
    score: Array
    expected: Array
    observed: Array
    weight: Array
    slope: Array


@dataclass(frozen=True)
class ByAuxiliary:
    """Derivatives by the log of the family's own parameter: log density, score and ``weight`` of every row."""

    logf: Array
    score: Array
    weight: Array


@dataclass(frozen=True, eq=False)
class ExponentialRows:
    """The responses of an exponential dispersion family.

    Parameters
    ----------
    family : str
        binomial, poisson, negativebinomial, gamma, wald or gaussian.
    link : str
        See :mod:`poolwise.algebra.links`.
    y : ndarray (n,)
        Responses; successes of a binomial one.
    trials : ndarray (n,)
        Trials of a binomial response; ones otherwise.
    weights : ndarray (n,)
        A row of weight w counts as w equal rows.
    free : bool
        Whether the family has a parameter of its own that is estimated: alpha of a negative binomial (variance
        mu + mu^2 / alpha), the shape alpha of a gamma, lam of a wald, sigma of a gaussian response.
    fixed : ndarray (n,), optional
        The terms of the log density at weight 1 that no parameter moves, of binomial and poisson responses that stand
        for rows added up; that of one row by default.
    """

    family: str
    link: str
    y: Array
    trials: Array
    weights: Array
    free: bool
    fixed: Array | None = None

    @property
    def canonical(self) -> bool:
        """Whether expected and observed information are the same."""
        return CANONICAL.get(self.family) == self.link

    @property
    def observed_curvature(self) -> bool:
        """Whether the Laplace approximation uses the observed information where it differs from the expected one.

        lme4 uses the expected one; but its criterion for a gamma response does not scale the effects by the
        dispersion, so there the approximation is the textbook's, with the observed one, where that is never negative.
        """
        return self.family == "gamma" and self.link == "log"

    def subset(self, rows: NDArray) -> "ExponentialRows":
        """Only these rows."""
        fixed = None if self.fixed is None else self.fixed[rows]
        return replace(self, y=self.y[rows], trials=self.trials[rows], weights=self.weights[rows], fixed=fixed)

    def log_density(self, eta: Array, log_own: float) -> Array:
        """Log density of every row (..., n), constants included; ``log_own`` is the log of the own parameter."""
        eta, own, y = self._clipped(eta), np.exp(log_own), self.y
        if self.family == "binomial":
            fixed = _log_choose(self.trials, y) if self.fixed is None else self.fixed
            return self.weights * (self._binomial(eta) + fixed)
        mu = _mean(self.link, eta)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            match self.family:
                case "poisson":
                    value = xlogy(y, mu) - mu + (-gammaln(y + 1) if self.fixed is None else self.fixed)
                case "negativebinomial":
                    value = gammaln(y + own) - gammaln(own) - gammaln(y + 1) - own * np.log1p(mu / own)
                    value = value + xlogy(y, mu / (own + mu))
                case "gamma":
                    value = own * np.log(own / mu) - gammaln(own) + (own - 1) * np.log(y) - own * y / mu
                case "wald":
                    value = 0.5 * np.log(own / (2 * np.pi * y**3)) - own * (y / mu - 1) ** 2 / (2 * y)
                case _:
                    value = -0.5 * np.log(2 * np.pi) - log_own - 0.5 * ((y - mu) / own) ** 2
        if self.family != "gaussian":
            value = np.where(mu > 0, value, -np.inf)
        return self.weights * value

    def _clipped(self, eta: Array) -> Array:
        limits = LIMITS.get(self.link)
        return eta if limits is None else np.clip(eta, *limits)

    def _binomial(self, eta: Array) -> Array:
        y, failures = self.y, self.trials - self.y
        match self.link:
            case "logit":
                return y * log_expit(eta) + failures * log_expit(-eta)
            case "probit":
                return y * log_ndtr(eta) + failures * log_ndtr(-eta)
            case "cloglog":
                hazard = np.exp(eta)
                return y * np.log(-np.expm1(-hazard)) - failures * hazard
        inside = (eta > 0) & (eta < 1)
        p = np.where(inside, eta, 0.5)
        return np.where(inside, y * np.log(p) + failures * np.log1p(-p), -np.inf)

    def at(self, eta: Array, log_own: float) -> AtRows:
        """Log density, score and curvature at a linear predictor (n,)."""
        logf = self.log_density(eta, log_own)
        eta, scale = self._clipped(eta), self.weights * self.trials
        mu, first, second = _derivatives(self.link, eta)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            V, V1 = self._variance(eta, mu, log_own)
            ratio = first / V
            residual = self.weights * (self.y - self.trials * mu)
            score, expected = residual * ratio, scale * first * ratio
            bend = second / V - ratio**2 * V1
            observed = expected if self.canonical else expected - residual * bend
            # The derivative of mu'^2 / V is mu' (2 mu'' / V - mu'^2 V' / V^2).
            slope = scale * first * (second / V + bend)
        if self.observed_curvature:
            return AtRows(logf, score, expected, observed, observed, -observed)
        return AtRows(logf, score, expected, observed, expected, slope)

    def by_own(self, eta: Array, log_own: float, at: AtRows) -> ByAuxiliary:
        """Derivatives by the log of the own parameter."""
        eta, own, y = self._clipped(eta), np.exp(log_own), self.y
        mu = _mean(self.link, eta)
        match self.family:
            case "negativebinomial":
                logf = own * (digamma(y + own) - digamma(own) - np.log1p(mu / own) + (mu - y) / (own + mu))
                factor: Array | float = mu / (own + mu)
            case "gamma":
                logf = own * (log_own + 1 - digamma(own) + np.log(y / mu) - y / mu)
                factor = 1.0
            case "wald":
                logf = 0.5 - own * (y / mu - 1) ** 2 / (2 * y)
                factor = 1.0
            case _:
                logf = ((y - mu) / own) ** 2 - 1
                factor = -2.0
        return ByAuxiliary(self.weights * logf, factor * at.score, factor * at.weight)

    def _variance(self, eta: Array, mu: Array, log_own: float) -> tuple[Array, Array]:
        """Phi V and phi V' at the mean."""
        own = np.exp(log_own)
        match self.family:
            case "binomial":
                # 1 - mu loses all its digits where mu is near 1.
                rest = {"logit": expit(-eta), "probit": ndtr(-eta), "cloglog": np.exp(-np.exp(np.minimum(eta, 6.0)))}
                q = rest[self.link] if self.link in rest else 1 - mu
                return mu * q, q - mu
            case "poisson":
                return mu, np.ones_like(mu)
            case "negativebinomial":
                return mu + mu**2 / own, 1 + 2 * mu / own
            case "gamma":
                return mu**2 / own, 2 * mu / own
            case "wald":
                return mu**3 / own, 3 * mu**2 / own
        return np.full_like(mu, own**2), np.zeros_like(mu)

    def start(self) -> Array:
        """A mean of every row that is inside its range, from the response alone."""
        if self.family == "binomial":
            return (self.y + 0.5) / (self.trials + 1)
        if self.family in ("poisson", "negativebinomial"):
            return self.y + 0.1 + 0.1 * float(np.mean(self.y))
        if self.family == "gaussian" and self.link != "identity":
            return np.maximum(self.y, 0.1 * float(np.abs(self.y).mean()) + 1e-300)
        return self.y

    def best_own(self, eta: Array, log_own: float) -> float:
        """The log of the own parameter that makes these rows likeliest at a linear predictor; Newton, safeguarded."""
        if not self.free:
            return log_own
        mu, weights = _mean(self.link, self._clipped(eta)), self.weights
        total = float(weights.sum())
        if self.family == "gaussian":
            return 0.5 * float(np.log(weights @ (self.y - mu) ** 2 / total))
        if self.family == "wald":
            return -float(np.log(weights @ ((self.y / mu - 1) ** 2 / self.y) / total))
        for _ in range(100):
            own = np.exp(log_own)
            if self.family == "gamma":
                gradient = float(weights @ (log_own + 1 - digamma(own) + np.log(self.y / mu) - self.y / mu))
                curvature = total * float(1 - own * polygamma(1, own))
            else:
                gradient = float(
                    weights @ (digamma(self.y + own) - digamma(own) - np.log1p(mu / own) + (mu - self.y) / (own + mu))
                )
                curvature = own * float(
                    weights
                    @ (
                        polygamma(1, self.y + own)
                        - polygamma(1, own)
                        + mu / own / (own + mu)
                        - (mu - self.y) / (own + mu) ** 2
                    )
                )
            # The derivative by log_own is own times the gradient; at a maximum the curvature is negative.
            step = float(np.sign(gradient)) if curvature >= 0 else -gradient / (curvature + 1e-300)
            step = float(np.clip(step, -1.0, 1.0))
            log_own = float(np.clip(log_own + step, *LOG_OWN))
            if abs(step) < 1e-10 or log_own in LOG_OWN:
                break
        return log_own


# Counts without overdispersion send alpha to infinity: from here on the negative binomial is the Poisson distribution.
LOG_OWN = (-12.0, 12.0)


def _log_choose(n: Array, y: Array) -> Array:
    return gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)


def _mean(link: str, eta: Array) -> Array:
    return _derivatives(link, eta)[0]


def _derivatives(link: str, eta: Array) -> tuple[Array, Array, Array]:
    """Mu and its first two derivatives by eta."""
    match link:
        case "identity":
            return eta, np.ones_like(eta), np.zeros_like(eta)
        case "log":
            mu = np.exp(eta)
            return mu, mu, mu
        case "logit":
            mu, q = expit(eta), expit(-eta)
            return mu, mu * q, mu * q * (q - mu)
        case "probit":
            density = np.exp(-0.5 * eta**2) / np.sqrt(2 * np.pi)
            return ndtr(eta), density, -eta * density
        case "cloglog":
            hazard = np.exp(eta)
            first = hazard * np.exp(-hazard)
            return -np.expm1(-hazard), first, first * (1 - hazard)
    with np.errstate(divide="ignore", invalid="ignore"):
        if link == "inverse":
            return 1 / eta, -1 / eta**2, 2 / eta**3
        return eta**-0.5, -0.5 * eta**-1.5, 0.75 * eta**-2.5

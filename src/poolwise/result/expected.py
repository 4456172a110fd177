"""Expected responses of rows, with what a fit does not know: draws of a posterior, or the delta method."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.errors import ArgumentError, DataError, shown
from poolwise.result import tables
from poolwise.result.group_modes import POPULATION_MEAN, Groups, check_seed, group_modes

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit
    from poolwise.result.frequentist import FrequentistFit
    from poolwise.result.glmm import GLMMFit

# Steps of the delta method in standard errors.
DELTA_STEP = 1e-3


class Expected:
    """Expected responses of rows under draws of the posterior, or under common effects a step apart."""

    def __init__(
        self,
        fit: "BayesFit | FrequentistFit | GLMMFit",
        groups: Groups,
        kind: str,
        scale: str,
        level: float,
        seed: int,
    ):
        self.fit, self.groups, self.kind, self.scale, self.seed = fit, groups, kind, scale, check_seed(seed)
        self.tail = (1 - tables.check_level(level)) / 2
        self.sampled = hasattr(fit, "predict_draws")
        self.categories = fit.design.categories
        if kind == "response":
            raise ArgumentError("comparisons are of expected values; kind='mean', or a parameter with a formula")
        if scale not in ("response", "link"):
            raise ArgumentError(f"scale must be 'response' or 'link'; got {shown(scale)}")
        if scale == "link" and (self.categories is not None or kind != "mean"):
            raise ArgumentError("scale='link' is of the mean of a response that has one linear predictor")
        if not self.sampled:
            self._prepare()

    def _prepare(self) -> None:
        fit: Any = self.fit
        if self.kind != "mean":
            raise ArgumentError(f"this fit has the mean only; got kind={shown(self.kind)}")
        asked = {mode for mode in group_modes(fit.design, self.groups).values() if mode is not None}
        if asked - {POPULATION_MEAN}:
            raise ArgumentError(
                f"a frequentist fit compares the typical group, groups='population_mean'; got {shown(self.groups)}. "
                "Model.fit() has all modes, with the uncertainty of the groups"
            )
        b, self.covariance = fit.fixef.to_numpy(), fit.vcov.to_numpy()
        if not (np.isfinite(b).all() and np.isfinite(self.covariance).all()):
            raise DataError("a common effect of this fit is infinite (separation): there is nothing finite to compare")
        self.steps = DELTA_STEP * np.where((se := np.sqrt(np.diag(self.covariance))) > 0, se, 1.0)
        shifts = np.diag(self.steps)
        self.coefficients = np.concatenate([b[None], b + shifts, b - shifts])

    def blocks(self, n: int) -> list[slice]:
        """Rows that are held in memory at a time."""
        return self.fit._blocks(n) if self.sampled else [slice(0, n)]  # type: ignore[union-attr]

    def __call__(self, frame: pd.DataFrame, block: slice) -> Array:
        """Expected responses (S, rows) or (S, rows, K)."""
        fit: Any = self.fit
        if self.sampled:
            how = dict(groups=self.groups, seed=self.seed, block=block)
            if self.scale == "link":
                return fit.linear_predictor(frame, **how)
            return fit.predict_draws(frame, kind=self.kind, **how)
        part = frame.iloc[block].reset_index(drop=True)
        eta = self.coefficients @ fit.design.common.apply(part).T + fit.design.offset_of(part)
        return eta if self.scale == "link" else INVERSE[fit.design.family.link](eta)

    def summary(self, values: Array) -> Array:
        """Estimate, lower and upper (3, ...) of values (S, ...)."""
        if self.sampled:
            return np.stack([values.mean(axis=0), *np.quantile(values, [self.tail, 1 - self.tail], axis=0)])
        p = len(self.steps)
        slope = (values[1 : p + 1] - values[p + 1 :]) / (2 * self.steps.reshape(-1, *[1] * (values.ndim - 1)))
        variance = np.einsum("k...,kl,l...->...", slope, self.covariance, slope)
        half = ndtri(1 - self.tail) * np.sqrt(np.maximum(variance, 0.0))
        return np.stack([values[0], values[0] - half, values[0] + half])

"""What frequentist fits of every family share: information criteria, and the tables made of modes and variances."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.result import tables
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

VARCORR = ["factor", "var1", "var2", "vcov", "sdcor"]
VarianceRow = tuple[str, str | None, str | None, float, float]


class LikelihoodFit:
    """A model at the optimum of its likelihood."""

    design: Design
    criterion: float
    intervals: tuple[str, ...]
    _matrix: Array
    _cov_b: Array
    if TYPE_CHECKING:

        @property
        def fixef(self) -> pd.Series:
            """Common effects."""

        @property
        def n_parameters(self) -> int:
            """Number of free parameters."""

        @cached_property
        def _modes(self) -> list[Array]:
            """Conditional modes (J, q) of the effects, by factor."""

        @cached_property
        def _conditional(self) -> list[Array]:
            """Their covariances (J, q, q), common effects and variances taken as known."""

        @cached_property
        def _slopes(self) -> list[Array]:
            """Derivatives (J, q, p) of the modes by the algebra's b."""

        @property
        def _group_factors(self) -> list[Array]:
            """T (q, q) of each factor in the units of the data."""

    @property
    def factor(self) -> GroupingFactor | None:
        """The first grouping factor, None under complete pooling."""
        return self.design.factors[0] if self.design.factors else None

    @property
    def loglik(self) -> float:
        """Log-likelihood with all constants, restricted under REML: minus half the criterion."""
        return -self.criterion / 2

    @property
    def aic(self) -> float:
        """Akaike's criterion of the likelihood, restricted under REML."""
        return self.criterion + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with log of the number of rows."""
        return self.criterion + np.log(self.design.n) * self.n_parameters

    def _frames(self, values: list[Array]) -> dict[str, pd.DataFrame]:
        """Values (J, q) by factor, as frames of groups by effects."""
        if not self.design.factors:
            raise AttributeError("this fit has no group-specific effects: its formula has no (... | group) block")
        return {
            factor.name: pd.DataFrame(
                value, index=pd.Index(factor.labels, name=factor.name), columns=list(factor.effects)
            )
            for factor, value in zip(self.design.factors, values, strict=True)
        }

    def _sds(self) -> list[Array]:
        return [np.sqrt(np.einsum("jkk->jk", block)) for block in self._conditional]

    def _variances(self) -> list[VarianceRow]:
        """Rows of varcorr, those of the groups: sds, then covariances, factor by factor."""
        rows: list[VarianceRow] = []
        for factor, T in zip(self.design.factors, self._group_factors, strict=True):
            (sds, correlation), covariance, effects = sds_and_correlations(T), T @ T.T, factor.effects
            rows += [(factor.name, e, None, float(sd**2), float(sd)) for e, sd in zip(effects, sds, strict=True)]
            rows += [
                (factor.name, effects[c], effects[r], float(covariance[r, c]), float(correlation[r, c]))
                for r, c in factor.structure.positions
                if r != c
            ]
        return rows

    def _quantile(self, level: float) -> float:
        return float(ndtri((1 + level) / 2))

    def _coef(self, interval: str, level: float) -> pd.DataFrame:
        """The table of coef()."""
        conditional = tables.check_interval(interval, self.intervals) == "conditional"
        quantile, found = self._quantile(tables.check_level(level)), []
        for f, factor in enumerate(self.design.factors or (None,)):
            estimate, se, terms = self._coefficients(f, factor, conditional=conditional)
            lower, upper = estimate - quantile * se, estimate + quantile * se
            found.append(tables.coefficient_frame(factor, terms, estimate, lower, upper, self.design.n))
        return pd.concat(found, ignore_index=True)

    def _coef_se(self, interval: str) -> dict[str, pd.DataFrame]:
        """The tables of coef_se() by factor; of all rows, under no name, without groups."""
        conditional = tables.check_interval(interval, self.intervals) == "conditional"
        found = {}
        for f, factor in enumerate(self.design.factors or (None,)):
            _, se, terms = self._coefficients(f, factor, conditional=conditional)
            labels, name = (["all"], None) if factor is None else (factor.labels, factor.name)
            found[name or ""] = pd.DataFrame(se, index=pd.Index(labels, name=name), columns=terms)
        return found

    def _coefficients(
        self, f: int, factor: GroupingFactor | None, *, conditional: bool
    ) -> tuple[Array, Array, list[str]]:
        """Estimates and standard errors (J, terms) of one factor's groups, and the terms."""
        common = list(self.design.coefficient_names)
        terms = common if factor is None else tables.coefficient_terms(self.design, factor)
        J = 1 if factor is None else factor.J
        estimate, variance = np.zeros((J, len(terms))), np.zeros((J, len(terms)))
        # Derivative of each coefficient by b, the common part first.
        h = np.zeros((J, len(terms), len(common)))
        estimate[:, : len(common)] = self.fixef.to_numpy()
        h[:, : len(common)] = self._matrix
        for k, effect in enumerate(factor.effects if factor is not None else ()):
            at = terms.index(effect)
            estimate[:, at] += self._modes[f][:, k]
            h[:, at] += self._slopes[f][:, k]
            variance[:, at] = self._conditional[f][:, k, k]
        if not conditional:
            variance += np.einsum("jta,ab,jtb->jt", h, self._cov_b, h)
        return estimate, np.sqrt(np.maximum(variance, 0.0)), terms

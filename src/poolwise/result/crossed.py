"""The frequentist fit of several grouping factors: what differs from one factor."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from poolwise.algebra.crossed_conditional import CrossedMoments, crossed_moments, crossed_variances
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.fit.reml import Optimum
from poolwise.result import tables
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.group_modes import GroupRows
from poolwise.spec.crossed import CrossedSufficient
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor


class CrossedFit(FrequentistFit):
    """A linear mixed model of several grouping factors at its REML or ML optimum.

    Parameters
    ----------
    design : Design
        The rows.
    collapsed : CrossedSufficient
        Their collapsed form.
    optimum : Optimum
        From :func:`poolwise.fit.reml_crossed.optimise_crossed`.
    reml : bool
        Restricted or ordinary likelihood.
    penalty : str, optional
        Penalty on the likelihood.

    Notes
    -----
    As :class:`~poolwise.result.frequentist.FrequentistFit`, but ``ranef``, ``ranef_sd`` and ``coef_se`` are dicts of
    frames by factor, and ``theta`` has the elements of all factors in the order of the formula.
    """

    def __init__(
        self, design: Design, collapsed: CrossedSufficient, optimum: Optimum, *, reml: bool, penalty: str | None = None
    ):
        # The parent reads from the collapsed form what both kinds have: basis, structure, and the numbers n and p.
        super().__init__(design, collapsed, optimum, reml=reml, penalty=penalty)  # type: ignore[arg-type]
        self.collapsed = collapsed
        # From the effects of the algebra to those in the units of the data, by factor.
        self._to_effects = collapsed.stats.blocks(collapsed.basis.to_effects)

    @property
    def _T(self) -> Array:
        """Factor of the group covariances in the coordinates of the algebra."""
        return self.optimum.Lambda * np.sqrt(self.optimum.at.s)

    @cached_property
    def _by_factor(self) -> CrossedMoments:
        """Conditional moments of the effects in the units of the data; slopes on the algebra's b."""
        at = self.optimum.at
        moments, to_effects = crossed_moments(self.collapsed.stats, at.b, self._T, at.s), self._to_effects
        return CrossedMoments(
            [mean @ C.T for mean, C in zip(moments.mean, to_effects, strict=True)],
            [C @ covariance @ C.T for covariance, C in zip(moments.covariance, to_effects, strict=True)],
            [C @ slope for slope, C in zip(moments.slope, to_effects, strict=True)],
        )

    def _frames(self, values: list[Array]) -> dict[str, pd.DataFrame]:
        return {
            factor.name: pd.DataFrame(
                value, index=pd.Index(factor.labels, name=factor.name), columns=list(factor.effects)
            )
            for factor, value in zip(self.design.factors, values, strict=True)
        }

    @property
    def ranef(self) -> dict[str, pd.DataFrame]:
        """Conditional modes of the group-specific effects, groups by effects, by factor."""
        return self._frames(self._by_factor.mean)

    @property
    def ranef_sd(self) -> dict[str, pd.DataFrame]:
        """Conditional sds of the group-specific effects, common effects and variances taken as known, by factor."""
        return self._frames([np.sqrt(np.einsum("jkk->jk", block)) for block in self._by_factor.covariance])

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances and residual variance; columns factor, var1, var2, vcov, sdcor, as lme4's table."""
        rows: list[tuple[str, str | None, str | None, float, float]] = []
        for factor, block in zip(self.design.factors, self._group_factors, strict=True):
            (sds, correlation), covariance, effects = sds_and_correlations(block), block @ block.T, factor.effects
            rows += [(factor.name, e, None, sd**2, sd) for e, sd in zip(effects, sds, strict=True)]
            rows += [
                (factor.name, effects[c], effects[r], covariance[r, c], correlation[r, c])
                for r, c in factor.structure.positions
                if r != c
            ]
        rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        return pd.DataFrame(rows, columns=["factor", "var1", "var2", "vcov", "sdcor"])

    @property
    def _modes(self) -> list[Array]:
        return self._by_factor.mean

    @property
    def _group_factors(self) -> list[Array]:
        return self.collapsed.stats.blocks(self.collapsed.structure.factor(self.theta) * self.sigma)

    def _group_uncertainty(self, rows: Sequence[GroupRows]) -> tuple[Array | float, Array | float]:
        slopes: Array | float = 0.0
        for row, slope in zip(rows, self._by_factor.slope, strict=True):
            # A new group has no data, so its mode does not move with b.
            slope = np.concatenate([slope, np.zeros_like(slope[:1])])
            slopes = slopes + np.einsum("nk,nkp->np", row.Z, slope[row.codes])
        in_algebra = [row.Z @ C for row, C in zip(rows, self._to_effects, strict=True)]
        codes = [row.codes for row in rows]
        return slopes, crossed_variances(self.collapsed.stats, self._T, self.optimum.at.s, in_algebra, codes)

    def coef(self, interval: str = "total", level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group of each factor: common plus that factor's group-specific effects.

        Parameters
        ----------
        interval : {"total", "conditional"}
            Kind of interval, see the notes of :class:`~poolwise.result.frequentist.FrequentistFit`.
        level : float, default 0.95
            Probability of the interval; normal quantiles.

        Returns
        -------
        DataFrame
            Columns factor, group, term, estimate, lower, upper, n.
        """
        tables.check_interval(interval, self.intervals)
        quantile = self._quantile(tables.check_level(level))
        found = []
        for f, factor in enumerate(self.design.factors):
            estimate, se, terms = self._coefficients_of(f, factor, conditional=interval == "conditional")
            half = quantile * se
            found.append(
                tables.coefficient_frame(factor, terms, estimate, estimate - half, estimate + half, self.design.n)
            )
        return pd.concat(found, ignore_index=True)

    def coef_se(self, interval: str = "total") -> dict[str, pd.DataFrame]:
        """Standard errors behind the intervals of :meth:`coef`, groups by terms, by factor."""
        tables.check_interval(interval, self.intervals)
        found = {}
        for f, factor in enumerate(self.design.factors):
            _, se, terms = self._coefficients_of(f, factor, conditional=interval == "conditional")
            found[factor.name] = pd.DataFrame(se, index=pd.Index(factor.labels, name=factor.name), columns=terms)
        return found

    def _coefficients_of(self, f: int, factor: GroupingFactor, *, conditional: bool) -> tuple[Array, Array, list[str]]:
        """Estimates and standard errors (J, terms) of one factor's groups, and the terms."""
        common, moments = list(self.design.coefficient_names), self._by_factor
        terms = tables.coefficient_terms(self.design, factor)
        estimate, variance = np.zeros((factor.J, len(terms))), np.zeros((factor.J, len(terms)))
        # Derivative of each coefficient by b, the common part first.
        h = np.zeros((factor.J, len(terms), len(common)))
        estimate[:, : len(common)] = self.fixef.to_numpy()
        h[:, : len(common)] = self._matrix
        for k, effect in enumerate(factor.effects):
            at = terms.index(effect)
            estimate[:, at] += moments.mean[f][:, k]
            h[:, at] += moments.slope[f][:, k]
            variance[:, at] = moments.covariance[f][:, k, k]
        if not conditional:
            variance += np.einsum("jta,ab,jtb->jt", h, self._cov_b, h)
        return estimate, np.sqrt(variance), terms

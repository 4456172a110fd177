"""The frequentist fit of several grouping factors: what differs from one factor."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from poolwise.algebra.crossed_conditional import CrossedMoments, crossed_moments, crossed_variances
from poolwise.algebra.crossproducts import Array
from poolwise.fit.reml import Optimum
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.group_modes import GroupRows
from poolwise.spec.crossed import CrossedSufficient
from poolwise.spec.design import Design


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

    @property
    def ranef(self) -> dict[str, pd.DataFrame]:
        """Conditional modes of the group-specific effects, groups by effects, by factor."""
        return self._frames(self._modes)

    @property
    def ranef_sd(self) -> dict[str, pd.DataFrame]:
        """Conditional sds of the group-specific effects, common effects and variances taken as known, by factor."""
        return self._frames(self._sds())

    @cached_property
    def _modes(self) -> list[Array]:
        return self._by_factor.mean

    @cached_property
    def _conditional(self) -> list[Array]:
        return self._by_factor.covariance

    @cached_property
    def _slopes(self) -> list[Array]:
        return self._by_factor.slope

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
        return self._coef(interval, level)

    def coef_se(self, interval: str = "total") -> dict[str, pd.DataFrame]:
        """Standard errors behind the intervals of :meth:`coef`, groups by terms, by factor."""
        return self._coef_se(interval)

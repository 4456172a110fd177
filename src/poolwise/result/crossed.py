"""The frequentist fit of several grouping factors: what differs from one factor."""

from functools import cached_property

import numpy as np
import pandas as pd

from poolwise.algebra.crossed_conditional import CrossedMoments, crossed_moments, crossed_variances
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.data.intake import as_frame
from poolwise.fit.reml import Optimum
from poolwise.result import tables
from poolwise.result.frequentist import FrequentistFit
from poolwise.spec.crossed import CrossedSufficient
from poolwise.spec.design import Design, GroupingFactor


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
        T = self.collapsed.structure.factor(self.theta) * self.sigma
        for factor, block in zip(self.design.factors, self.collapsed.stats.blocks(T), strict=True):
            (sds, correlation), covariance, effects = sds_and_correlations(block), block @ block.T, factor.effects
            rows += [(factor.name, e, None, sd**2, sd) for e, sd in zip(effects, sds, strict=True)]
            rows += [
                (factor.name, effects[c], effects[r], covariance[r, c], correlation[r, c])
                for r, c in factor.structure.positions
                if r != c
            ]
        rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        return pd.DataFrame(rows, columns=["factor", "var1", "var2", "vcov", "sdcor"])

    def _own_groups(self):
        return [factor.codes for factor in self.design.factors], [factor.Z for factor in self.design.factors]

    def _mean(self, X: Array, offset: Array, codes, Z) -> Array:
        mean = offset + X @ self.fixef.to_numpy()
        for effects, group, columns in zip(self._by_factor.mean, codes, Z, strict=True):
            # A group that was not seen, -1, has the effects 0 of the last row.
            effects = np.vstack([effects, np.zeros((1, effects.shape[1]))])
            mean = mean + np.einsum("nk,nk->n", columns, effects[group])
        return mean

    def predict(self, data=None, *, level: float = 0.95) -> pd.DataFrame:
        """Mean of the response for new rows, with its interval.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and the grouping factors; the data of the fit by default.
        level : float, default 0.95
            Probability of the interval; variances taken as known. It includes the uncertainty of the common effects
            and of the effects of all factors together; a new group has the effect 0, its mode without data, and adds
            the spread of its factor's groups.

        Returns
        -------
        DataFrame
            Columns estimate, lower, upper, in the units of the response, and groups: "observed", or "new" where a
            group of any factor is new.
        """
        frame = self.design.frame if data is None else as_frame(data)
        X, offset = self.design.common.apply(frame), self.design.offset_of(frame)
        codes = [factor.codes_of(frame) for factor in self.design.factors]
        Z = [factor.Z_of(frame) for factor in self.design.factors]
        h = X @ self._matrix
        for slope, group, columns in zip(self._by_factor.slope, codes, Z, strict=True):
            # A new group has no data, so its mode does not move with b.
            slope = np.concatenate([slope, np.zeros_like(slope[:1])])
            h = h + np.einsum("nk,nkp->np", columns, slope[group])
        in_algebra = [columns @ C for columns, C in zip(Z, self._to_effects, strict=True)]
        variance = crossed_variances(self.collapsed.stats, self._T, self.optimum.at.s, in_algebra, codes)
        mean = self._mean(X, offset, codes, Z)
        half = self._quantile(tables.check_level(level)) * np.sqrt(
            variance + np.einsum("np,pr,nr->n", h, self._cov_b, h)
        )
        known = np.all([group >= 0 for group in codes], axis=0)
        return tables.prediction_frame(mean, mean - half, mean + half, known)

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

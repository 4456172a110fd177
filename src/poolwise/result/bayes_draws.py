"""Draws of a posterior as arrays: coefficients, effects, group covariances, the family's parameters."""

from functools import cached_property

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.fit.bayes import Sampling
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.smooth import Smooth


class BayesDraws:
    """A design and the draws of its parameters, chain and draw flattened into the first axis."""

    design: Design
    data: xr.DataTree
    settings: Sampling

    @cached_property
    def coefficients(self) -> Array:
        """Draws of the common effects (chains * draws, p), original scale, in the order of ``fixef``."""
        return self.coefficients_of(self.design)

    def coefficients_of(self, design: Design) -> Array:
        """The same of one formula, which may be that of a further parameter.

        :meta private:
        """
        parts = []
        for term, where, levels in design.common.terms:
            value = self._draws(design.variable(term, where))
            parts.append(value[:, None] if levels is None else value)
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.settings.chains * self.settings.draws, 0))

    def _draws(self, variable: str) -> Array:
        """Values of a variable, or of its part of one category, with chain and draw flattened into the first axis."""
        value = self._variable(variable).transpose(names.CHAIN, names.DRAW, ...).to_numpy()
        return value.reshape(-1, *value.shape[2:])

    def _variable(self, variable: str) -> xr.DataArray:
        posterior = self.data["posterior"].to_dataset()
        if variable in posterior:
            return posterior[variable]
        # The variables x[b] and x[c] of two categories are one, x, in the posterior.
        dim = self.design.category_dim
        for own in self.design.linear:
            for base in (str(name) for name, value in posterior.data_vars.items() if dim in value.dims):
                if names.in_category(base, names.variable(own.category)) == variable:
                    return posterior[base].sel({dim: own.category})
        raise KeyError(variable)

    def smooth_part(self, smooth: Smooth, basis: Array) -> Array:
        """Draws (chains * draws, m) of a smooth function at the rows of a basis (m, ...).

        :meta private:
        """
        weights = self._draws(smooth.called("weights"))
        return weights.reshape(len(weights), -1) @ basis.T

    def effects(self, factor: GroupingFactor) -> Array:
        """Draws of the group-specific effects (chains * draws, J, q).

        :meta private:
        """
        parts = []
        for term in factor.terms:
            value = self._draws(factor.effect_name(term.name))
            parts.append(value[:, :, None] if term.levels is None else value)
        return np.concatenate(parts, axis=2)

    @property
    def family_draws(self) -> dict[str, Array]:
        """Draws of the family's own parameters, (chains * draws, 1), or (chains * draws, 1, K - 1) for thresholds.

        Raises
        ------
        FitError
            If one of them has a formula of its own, so that each row has another.
        """
        if self.design.predicted:
            refuse_grouping(self.design, "this")
        return self._constant_draws

    @property
    def _constant_draws(self) -> dict[str, Array]:
        return {own.name: self._draws(own.name)[:, None] for own in self.design.constant_auxiliaries}

    @property
    def sigma_draws(self) -> Array:
        """Draws of the residual standard deviation (chains * draws,).

        Raises
        ------
        FitError
            If it has a formula of its own.
        """
        if names.SIGMA in {own.family.name for own in self.design.predicted}:
            refuse_grouping(self.design, "this")
        return self._draws(names.SIGMA)

    def factor_draws(self, factor: GroupingFactor) -> Array:
        """Draws of T (D, q, q) in the units of the data, the covariance T T' of every group.

        Raises
        ------
        FitError
            With ``gr(g, ...)``, where the groups do not share one covariance, or are related to one another.

        :meta private:
        """
        refuse_grouping(self.design, "this")
        return self._factors_by_kind(factor)[:, 0]

    def _factors_by_kind(self, factor: GroupingFactor) -> Array:
        """T (D, K, q, q) by kind of group, K = 1 without ``gr(g, by=z)``; shared, not to be written into.

        With ``gr(g, sd=~ z)`` that of a group whose covariates stand at their means.
        """
        key = factor.correlation_name
        if key not in self._factors:
            self._factors[key] = self._factor_of(factor)
        return self._factors[key]

    @cached_property
    def _factors(self) -> dict[str, Array]:
        return {}

    def _factor_of(self, factor: GroupingFactor) -> Array:
        kinds = 1 if factor.kinds is None else len(factor.kinds.labels)
        sds = []
        for term in factor.terms:
            value = self._draws(factor.group_sd_name(term.name))
            sds.append(value.reshape(len(value), kinds, -1))
        sd = np.concatenate(sds, axis=2)
        q = sd.shape[2]
        if not factor.structure.n_correlations:
            return np.einsum("djk,kl->djkl", sd, np.eye(q))
        correlation = self._draws(factor.correlation_name).reshape(len(sd), kinds, q, q)
        # A correlation of exactly +-1 in floating point has no Cholesky factor; the jitter is below its rounding.
        return sd[..., None] * np.linalg.cholesky(correlation + 1e-12 * np.eye(q))

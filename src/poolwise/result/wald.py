"""Wald intervals and tests of a maximum-likelihood fit."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.errors import ArgumentError, UnknownNameError, near_names
from poolwise.result import tables
from poolwise.spec.targets import COMMON, GROUP_SD, RESIDUAL, Target, targets

if TYPE_CHECKING:
    from poolwise.spec.design import Design


class WaldInference:
    """Methods of a fit that concern its parameters."""

    design: "Design"
    family_parameters: pd.Series
    _T: Array

    if TYPE_CHECKING:

        @property
        def fixef(self) -> pd.Series:
            """Common effects."""

        @property
        def se(self) -> pd.Series:
            """Their standard errors."""

    @cached_property
    def _targets(self) -> list[Target]:
        """Common effects, group sds and correlations; the family's own parameter in the residual sd's place."""
        own = [Target(name, RESIDUAL) for name in self.family_parameters.index]
        return [target for target in targets(self.design) if target.kind != RESIDUAL] + own

    @cached_property
    def _estimates(self) -> pd.Series:
        sds, correlation = sds_and_correlations(self._T)
        found = {}
        for target in self._targets:
            if target.kind == COMMON:
                found[target.name] = float(self.fixef.iloc[target.where[0]])
            elif target.kind == GROUP_SD:
                found[target.name] = float(sds[target.where[0]])
            elif target.kind == RESIDUAL:
                found[target.name] = float(self.family_parameters[target.name])
            else:
                found[target.name] = float(correlation[target.where])
        return pd.Series(found, dtype=float)

    def confint(
        self, method: str = "wald", level: float = 0.95, *, parameters: str | Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Confidence intervals of the common effects, on the scale of the link.

        Parameters
        ----------
        method : {"wald"}
            Estimate plus and minus a normal quantile times the standard error; NaN for an infinite effect, and for
            variance parameters, whose estimates are far from normal.
        level : float, default 0.95
        parameters : str or sequence of str, optional
            Names as in the column ``parameter``; all by default.

        Returns
        -------
        DataFrame
            Columns parameter, estimate, lower, upper.

        Raises
        ------
        ArgumentError
            For another method, or a level that is not between 0 and 1.
        UnknownNameError
            If there is no such parameter.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.confint().loc[0, ["lower", "upper"]].astype(float).round(2).tolist()
        [-1.85, -0.94]
        """
        if method != "wald":
            raise ArgumentError(
                f"method must be 'wald' for family {self.design.family}, profile and bootstrap intervals are for "
                f"Gaussian models; got {method!r}"
            )
        half = float(ndtri((1 + tables.check_level(level)) / 2)) * self.se
        labels = list(self._estimates.index) if parameters is None else parameters
        labels = [labels] if isinstance(labels, str) else list(labels)
        for name in labels:
            if name not in self._estimates:
                raise UnknownNameError(
                    f"no parameter {name!r} in this fit; {near_names(name, list(self._estimates.index), 20)}"
                )
        lower, upper = (self.fixef - half).reindex(labels), (self.fixef + half).reindex(labels)
        table = tables.interval_frame(labels, self._estimates[labels], lower, upper)
        table.attrs = {"method": method}
        return table

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """The common effects with normal tests of their being 0.

        Parameters
        ----------
        level : float, default 0.95
            Probability of the intervals.

        Returns
        -------
        DataFrame
            One row a common effect; columns estimate, se, z, p (two-sided), lower, upper; NaN for an infinite effect.

        Raises
        ------
        ArgumentError
            If level is not between 0 and 1.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.summary().columns.tolist()
        ['estimate', 'se', 'z', 'p', 'lower', 'upper']
        """
        half = float(ndtri((1 + tables.check_level(level)) / 2)) * self.se
        z = (self.fixef / self.se).where(np.isfinite(self.fixef))
        columns = {"estimate": self.fixef, "se": self.se, "z": z, "p": 2 * ndtr(-z.abs())}
        return tables.Printed({**columns, "lower": self.fixef - half, "upper": self.fixef + half})

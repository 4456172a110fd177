"""No pooling: one least-squares regression a group, with one residual standard deviation for all of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from poolwise.algebra.basis import Basis
from poolwise.algebra.crossproducts import Array, cross_products
from poolwise.algebra.separate import SeparateRegressions, separate_regressions
from poolwise.data.intake import as_frame
from poolwise.errors import ArgumentError
from poolwise.result import tables
from poolwise.result.group_modes import OBSERVED, Groups, codes_for, record
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.residual_sums import rmse_of_sums
from poolwise.spec.sufficient import basis_of, coordinates


class NoPoolingFit:
    """A regression of the common terms in each group alone.

    Parameters
    ----------
    design : Design
        The rows.
    factor : GroupingFactor
        The groups.

    Attributes
    ----------
    sigma : float
        Residual standard deviation pooled over the groups, on n minus all identified coefficients degrees of freedom,
        as lme4's lmList.

    Notes
    -----
    A coefficient that the rows of a group do not identify is NaN in :meth:`coef` and listed in :attr:`unidentified`:
    too few rows, a predictor that is constant there, and with it the intercept, which stands where that predictor is
    zero. Predictions of that group have its level all the same.

    Examples
    --------
    >>> import poolwise as pw
    >>> study = pw.compare_pooling(
    ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
    ... )
    >>> alone = study.none
    >>> round(alone.sigma, 2)
    25.59
    """

    intervals = ("separate",)
    converged = True
    is_singular = False

    def __init__(self, design: Design, factor: GroupingFactor):
        self.design, self.factor = design, factor
        self._basis = plain_basis(design)
        self._solution = regressions(design, factor, self._basis)
        identified = int((~self._solution.aliased).sum())
        self.df = design.n - identified
        rss = float(self._solution.rss.sum())
        self.sigma = float(np.sqrt(rss / self.df)) * self._basis.y_scale if self.df > 0 else float("nan")

    @cached_property
    def _undetermined(self) -> NDArray[np.bool_]:
        return self._solution.undetermined(self._basis.to_coefficients[1])

    @property
    def unidentified(self) -> pd.DataFrame:
        """Coefficients that a group's rows do not identify; columns group, term, n."""
        return listed(self.design, self.factor, self._undetermined)

    @property
    def fitted(self) -> Array:
        """Fitted values (n,)."""
        return self.design.offset + predict_rows(self._solution, self._basis, self.design.X, self.factor.codes)

    @property
    def residuals(self) -> Array:
        """Response minus fitted values (n,)."""
        return self.design.y - self.fitted

    def rmse(self) -> float:
        """Root mean squared residual, in sample.

        Returns
        -------
        float
            Units of the response.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> alone = study.none
        >>> round(alone.rmse(), 2)
        22.89
        """
        if (data := self.design.collapsed) is not None:
            coefficients = coefficients_of(self._solution, self._basis)[self.factor.cell_codes]  # type: ignore[attr-defined]
            return rmse_of_sums(self.design, [(data.evaluator.x, coefficients)])
        return tables.root_mean_square(self.residuals, self.design.weights if self.design.frequency else None)

    def predict(self, data: Any = None, *, groups: Groups = None, level: float = 0.95) -> pd.DataFrame:
        """Mean of the response for new rows by the group's own regression.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and the grouping factor; the data of the fit by default.
        groups : {"observed"}, optional
            Makes a group that was not in the data an error. There is no population here to draw from.
        level : float, default 0.95
            Probability of the t interval of the mean.

        Returns
        -------
        DataFrame
            Columns estimate, lower, upper, groups and ``groups[factor]``; NaN for a new group, of which nothing is
            known without pooling.

        Raises
        ------
        ArgumentError
            For groups other than those observed: there is no population of them.
        DataError
            For rows that lack a column, or with ``"observed"`` a new group.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> alone = study.none
        >>> alone.predict().shape
        (180, 5)
        """
        frame = self.design.frame if data is None else as_frame(data)
        mode = no_population(self.factor, groups)
        X, codes = self.design.common.apply(frame), codes_for(self.factor, frame, mode)
        mean = self.design.offset_of(frame) + predict_rows(self._solution, self._basis, X, codes)
        inverse = np.concatenate([self._solution.inverse, np.full_like(self._solution.inverse[:1], np.nan)])
        rows = self._basis.by_b(X)
        variance = np.einsum("np,npr,nr->n", rows, inverse[codes], rows)
        half = self._t(level) * self.sigma / self._basis.y_scale * np.sqrt(variance)
        done = record(self.factor, frame, codes, mode, None)
        return tables.prediction_frame(mean, mean - half, mean + half, codes >= 0, [done])

    def _t(self, level: float) -> float:
        level = tables.check_level(level)
        return float(stdtrit(self.df, (1 + level) / 2)) if self.df > 0 else float("nan")

    def coef(self, interval: str = "separate", level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group's own regression with t intervals.

        Parameters
        ----------
        interval : {"separate"}
            The only kind: the group's own least-squares interval.
        level : float, default 0.95

        Returns
        -------
        DataFrame
            Columns factor, group, term, estimate, lower, upper, n.

        Raises
        ------
        ArgumentError
            If this fit has no such interval, or level is not between 0 and 1.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> alone = study.none
        >>> alone.coef()["estimate"].head(2).round(1).tolist()
        [244.2, 21.8]
        """
        tables.check_interval(interval, self.intervals)
        estimate, se = self._estimates()
        half = self._t(level) * se
        terms = list(self.design.coefficient_names)
        return tables.coefficient_frame(self.factor, terms, estimate, estimate - half, estimate + half, self.design.n)

    def _estimates(self) -> tuple[Array, Array]:
        offset, matrix = self._basis.to_coefficients
        estimate = offset + self._solution.coefficients @ matrix.T
        variance = (
            np.einsum("ta,jab,tb->jt", matrix, self._solution.inverse, matrix) * (self.sigma / self._basis.y_scale) ** 2
        )
        estimate[self._undetermined] = np.nan
        return estimate, np.sqrt(np.where(self._undetermined, np.nan, np.maximum(variance, 0)))

    def __repr__(self) -> str:
        missing = self.unidentified
        note = "" if missing.empty else f"\n{len(missing)} coefficients are not identified by their group's rows"
        return (
            f"No pooling: {self.factor.J} regressions by {self.factor.name} of {self.design.formula.text}\n"
            f"residual standard deviation {self.sigma:.4f} on {self.df} degrees of freedom{note}"
        )


def no_population(factor: GroupingFactor, groups: Groups) -> str | None:
    """The mode of the groups: observed, or none."""
    mode = groups.get(factor.name) if isinstance(groups, Mapping) else groups
    if mode not in (None, OBSERVED):
        raise ArgumentError(
            f"without pooling there is no population of groups, so groups must be None or 'observed'; got {mode!r}"
        )
    return mode


def listed(design: Design, factor: GroupingFactor, which: NDArray[np.bool_]) -> pd.DataFrame:
    """Some coefficients, which (J, p), as a table of group, term and rows n of the group."""
    j, k = np.nonzero(which)
    labels, sizes = np.array(factor.labels, dtype=object), factor.sizes
    terms = np.array(design.coefficient_names, dtype=object)
    return pd.DataFrame({"group": labels[j], "term": terms[k], "n": sizes[j]})


def plain_basis(design: Design) -> Basis:
    """Columns centred and scaled but not rotated, so that a coefficient not identified in a group keeps its name."""
    basis = basis_of(design.without_groups)
    # X centred is Q R with Q'Q = n I, so the columns of R have the root mean squares of those of X.
    return replace(basis, R=np.diag(np.sqrt((basis.R**2).sum(axis=0))))


def regressions(
    design: Design, factor: GroupingFactor, basis: Basis, rows: NDArray[np.bool_] | None = None
) -> SeparateRegressions:
    """Least squares in every group, over all rows or those chosen."""
    X, _, y, codes, weights = coordinates(design, basis, rows)
    stats = cross_products(np.zeros((len(y), 0)), X, y, codes, factor.J, weights, frequency=design.frequency)
    w = np.ones(len(y)) if weights is None else weights
    yty = np.bincount(codes, weights=w * y**2, minlength=factor.J)
    return separate_regressions(stats.ZtZ, stats.Zty, yty)


def coefficients_of(solution: SeparateRegressions, basis: Basis) -> Array:
    """Coefficients (J, p) on the scale of the data; NaN where the group has no rows."""
    offset, matrix = basis.to_coefficients
    coefficients = offset + solution.coefficients @ matrix.T
    coefficients[solution.aliased.all(axis=1)] = np.nan
    return coefficients


def predict_rows(solution: SeparateRegressions, basis: Basis, X: Array, codes: NDArray[np.int64]) -> Array:
    """Predictions by the group's own regression; NaN where the group has no rows or is unknown."""
    known = np.vstack([coefficients_of(solution, basis), np.full(X.shape[1], np.nan)])
    return np.einsum("np,np->n", X, known[codes])

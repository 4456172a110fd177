"""No pooling for families other than the Gaussian: one generalised linear model a group."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.data.intake import as_frame
from poolwise.fit.glm import SeparateModels, fit_separately
from poolwise.result import scores, tables
from poolwise.result.glmm import own_parameters
from poolwise.result.glmm_predict import mean_interval
from poolwise.result.group_modes import Groups, codes_for, record
from poolwise.result.no_pooling import listed, no_population, plain_basis
from poolwise.spec.design import Design, codes_of_cells
from poolwise.spec.exponential import exponential_rows
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.rowless import refuse_rows


class NoPoolingGLM(scores.Scored):
    """A generalised linear model of the common terms in each group alone, by maximum likelihood.

    Parameters
    ----------
    design : Design
        The rows.
    factor : GroupingFactor
        The groups.

    Attributes
    ----------
    family_parameters : Series
        The family's own parameter, common to all groups; empty where it has none.

    Notes
    -----
    Coefficients and their intervals are on the scale of the link. One that the rows of a group do not identify is NaN
    in :meth:`coef` and listed in :attr:`unidentified`, as :class:`.NoPoolingFit` has it. One that is infinite, because
    its group's responses are perfectly predicted (no events, all counts 0 ...), is +-inf without an interval, and
    listed in :attr:`separated`; predictions then have their limits.

    Examples
    --------
    >>> import poolwise as pw
    >>> table = pw.load_dataset("cbpp")
    >>> design = pw.Model("p(incidence, size) ~ period + (1 | herd)", table, "binomial").design
    >>> fit = NoPoolingGLM(design, design.factors[0])
    >>> fit.separated.query("group == '1'")["term"].tolist()
    ['period[4]']
    """

    intervals = ("separate",)
    is_singular = False

    def __init__(self, design: Design, factor: GroupingFactor):
        self.design, self.factor = design, factor
        self._basis = replace(plain_basis(design.cells), y_shift=0.0, y_scale=1.0)
        self._solution = separate_models(design, factor, self._basis)
        self.family_parameters = own_parameters(design.family, self._solution.log_own)

    @cached_property
    def _limits(self) -> Array:
        """Limits (J, p) of coefficients without a finite estimate, 0 for the others."""
        _, matrix = self._basis.to_coefficients
        found = np.zeros(self._solution.coefficients.shape)
        for j, separation in self._solution.separations.items():
            found[j] = separation.limits(matrix)
        return found

    @cached_property
    def _undetermined(self) -> NDArray[np.bool_]:
        return self._solution.columns.undetermined(self._basis.to_coefficients[1])

    @property
    def converged(self) -> bool:
        """Whether every group's model was fitted."""
        return bool(self._solution.converged.all())

    @property
    def unidentified(self) -> pd.DataFrame:
        """Coefficients that a group's rows do not identify; columns group, term, n."""
        return listed(self.design, self.factor, self._undetermined)

    @property
    def separated(self) -> pd.DataFrame:
        """Coefficients without a finite estimate; columns group, term, n."""
        return listed(self.design, self.factor, self._limits != 0)

    @property
    def failed(self) -> list[str]:
        """Groups whose model could not be fitted for another reason; their coefficients are NaN."""
        return [label for label, good in zip(self.factor.labels, self._solution.converged, strict=True) if not good]

    @property
    def loglik(self) -> float:
        """Log-likelihood of all groups together."""
        return float(self._solution.loglik.sum())

    @property
    def fitted(self) -> Array:
        """Mean of the response (n,), the probability of a binomial one; NaN where a group's model failed."""
        if self.design.counted is not None:
            refuse_rows("the predictors of each row")
        return self._means

    @property
    def _means(self) -> Array:
        """The same of each row, or of each cell where rows were added up."""
        cells = self.design.cells
        codes = codes_of_cells(self.design, self.factor)
        return INVERSE[self.design.family.link](self._eta(cells.X, cells.offset, codes))

    def _eta(self, X: Array, offset: Array, codes: NDArray[np.int64]) -> Array:
        return offset + predict_models(self._solution, self._basis, X, codes)

    @property
    def residuals(self) -> Array:
        """Response (shares of the trials of a binomial one) minus fitted values (n,)."""
        return self.design.outcome.scaled - self.fitted

    def rmse(self) -> float:
        """Root mean squared residual in sample, on the scale of the response; of shares for a binomial one.

        Returns
        -------
        float
            Units of the response.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "p(incidence, size) ~ period + (1 | herd)",
        ...     pw.load_dataset("cbpp"),
        ...     "binomial",
        ...     folds=2,
        ...     new_group_folds=2,
        ...     seed=1,
        ...     progress=False,
        ... )
        >>> alone = study.none
        >>> round(alone.rmse(), 3)
        0.0
        """
        return scores.rmse(self.design, self._means)

    def predict(self, data: Any = None, *, groups: Groups = None, level: float = 0.95) -> pd.DataFrame:
        """Mean of the response for new rows by the group's own model.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and the grouping factor; the data of the fit by default.
        groups : {"observed"}, optional
            Makes a group that was not in the data an error. There is no population here to draw from.
        level : float, default 0.95
            Probability of the interval, normal on the scale of the link.

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
        ...     "p(incidence, size) ~ period + (1 | herd)",
        ...     pw.load_dataset("cbpp"),
        ...     "binomial",
        ...     folds=2,
        ...     new_group_folds=2,
        ...     seed=1,
        ...     progress=False,
        ... )
        >>> alone = study.none
        >>> alone.predict().shape
        (56, 5)
        """
        frame = self.design.frame if data is None else as_frame(data)
        mode = no_population(self.factor, groups)
        X, codes = self.design.common.apply(frame), codes_for(self.factor, frame, mode)
        eta = self._eta(X, self.design.offset_of(frame), codes)
        inverse = np.concatenate([self._solution.inverse, np.full_like(self._solution.inverse[:1], np.nan)])
        rows = self._basis.by_b(X)
        variance = np.maximum(np.einsum("np,npr,nr->n", rows, inverse[codes], rows), 0.0)
        # Of a separated group the limit is known, its uncertainty is not.
        variance[np.isin(codes, list(self._solution.separations))] = np.nan
        half = ndtri((1 + tables.check_level(level)) / 2) * np.sqrt(variance)
        lower, upper = mean_interval(self.design.family.link, eta - half, eta + half)
        done = record(self.factor, frame, codes, mode, None)
        return tables.prediction_frame(INVERSE[self.design.family.link](eta), lower, upper, codes >= 0, [done])

    def coef(self, interval: str = "separate", level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group's own model with Wald intervals, on the scale of the link.

        Parameters
        ----------
        interval : {"separate"}
            The only kind.
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
        ...     "p(incidence, size) ~ period + (1 | herd)",
        ...     pw.load_dataset("cbpp"),
        ...     "binomial",
        ...     folds=2,
        ...     new_group_folds=2,
        ...     seed=1,
        ...     progress=False,
        ... )
        >>> alone = study.none
        >>> alone.coef().columns.tolist()
        ['factor', 'group', 'term', 'estimate', 'lower', 'upper', 'n']
        """
        tables.check_interval(interval, self.intervals)
        _, matrix = self._basis.to_coefficients
        estimate = self._solution.coefficients @ matrix.T
        variance = np.einsum("ta,jab,tb->jt", matrix, self._solution.inverse, matrix)
        undefined = self._undetermined | ~self._solution.converged[:, None]
        estimate[undefined] = np.nan
        estimate = np.where(self._limits != 0, self._limits, estimate)
        se = np.sqrt(np.where(undefined | (self._limits != 0), np.nan, np.maximum(variance, 0.0)))
        half = float(ndtri((1 + tables.check_level(level)) / 2)) * se
        terms = list(self.design.coefficient_names)
        return tables.coefficient_frame(self.factor, terms, estimate, estimate - half, estimate + half, self.design.n)

    def __repr__(self) -> str:
        lines = [
            f"No pooling: {self.factor.J} generalised linear models by {self.factor.name} of "
            f"{self.design.formula.text}",
            f"family {self.design.family.name}, link {self.design.family.link}"
            + "".join(f", {name} {value:.4g}" for name, value in self.family_parameters.items())
            + f"; log-likelihood {self.loglik:.4f}",
        ]
        if not self.unidentified.empty:
            lines.append(f"{len(self.unidentified)} coefficients are not identified by their group's rows")
        if not self.separated.empty:
            groups = self.separated["group"].drop_duplicates()
            first = ", ".join(groups[:5]) + (f" and {len(groups) - 5} more" if len(groups) > 5 else "")
            lines.append(f"separation in {len(groups)} groups, whose estimates are not finite: {first}")
        if self.failed:
            lines.append(f"not fitted: {', '.join(self.failed)}")
        return "\n".join(lines)


def separate_models(design: Design, factor: GroupingFactor, basis: Any) -> SeparateModels:
    """Generalised linear models of every group."""
    cells = design.cells
    X, _, _ = basis.rows(cells.X, np.zeros((cells.n, 0)), np.zeros(cells.n))
    return fit_separately(exponential_rows(design), X, cells.offset, codes_of_cells(design, factor), factor.J)


def predict_models(solution: SeparateModels, basis: Any, X: Array, codes: NDArray[np.int64]) -> Array:
    """Linear predictors, offset aside, by the group's own model; NaN where the group has none or is unknown."""
    _, matrix = basis.to_coefficients
    coefficients = solution.coefficients @ matrix.T  # (J, p)
    coefficients[solution.aliased.all(axis=1) | ~solution.converged] = np.nan
    known = np.vstack([coefficients, np.full(X.shape[1], np.nan)])
    return np.einsum("np,np->n", X, known[codes])

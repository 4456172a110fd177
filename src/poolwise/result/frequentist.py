"""Frequentist fits: REML or ML for partial pooling, least squares for complete pooling.

Long for its docstrings: one class with the protocol that all fits share.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from poolwise.algebra.conditional import conditional_moments
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import BlockStructure, lower_factor
from poolwise.data.intake import as_frame
from poolwise.fit.reml import SINGULAR_TOLERANCE, Optimum
from poolwise.result import tables
from poolwise.result.checked import Checked
from poolwise.result.comparisons import Compared
from poolwise.result.group_modes import GroupRows, Groups, check_kind, check_seed, group_modes, group_rows
from poolwise.result.inference import Inference
from poolwise.result.likelihood_fit import VARCORR, LikelihoodFit
from poolwise.spec.design import Design
from poolwise.spec.residual_sums import rmse_of_sums, terms_of
from poolwise.spec.sufficient import Sufficient


class FrequentistFit(LikelihoodFit, Inference, Compared, Checked):
    """A linear mixed model at its REML or ML optimum, or a linear regression where there are no groups.

    Parameters
    ----------
    design : Design
        The rows.
    sufficient : Sufficient
        Their collapsed form.
    optimum : Optimum
        From :func:`poolwise.fit.reml.optimise`.
    reml : bool
        Restricted or ordinary likelihood.
    penalty : str, optional
        Penalty on the likelihood; ``criterion`` is without it.

    Attributes
    ----------
    theta : ndarray
        Relative factor of the group covariance, lme4's order and scale.
    sigma : float
        Residual standard deviation, units of the response.
    criterion : float
        REML criterion, or minus twice the log-likelihood, on the scale of the data, as lme4 reports it.
    converged : bool
        Whether the projected gradient vanishes at the optimum.

    Notes
    -----
    Three kinds of interval answer three questions. ``"conditional"`` takes the common effects and variances as known
    and shows the spread of the group-specific part alone; ``"total"`` adds the joint uncertainty of the common
    effects (Henderson 1975); neither knows the uncertainty of the variances, which ``"bayes"`` of a Bayesian fit has.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1). Henderson (1975), Biometrics 31, 423-447.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
    >>> fit.varcorr["sdcor"].round(2).tolist()
    [24.74, 5.92, 0.07, 25.59]
    >>> fit.is_singular, round(fit.criterion, 2)
    (False, 1743.63)
    """

    intervals = ("total", "conditional")

    def __init__(
        self, design: Design, sufficient: Sufficient, optimum: Optimum, *, reml: bool, penalty: str | None = None
    ):
        basis, stats = sufficient.basis, sufficient.stats
        self.design, self.sufficient, self.optimum, self.reml = design, sufficient, optimum, reml
        self.penalty = penalty
        self.converged, self.message = optimum.converged, optimum.message
        at = optimum.at
        self.sigma = float(np.sqrt(at.s) * basis.y_scale)
        # Intercepts at zero, as lme4 reports them.
        to_zero = lower_factor(basis.to_effects @ optimum.Lambda) / basis.y_scale
        self.theta = sufficient.structure.theta(to_zero)
        degrees = stats.n - stats.p if reml else stats.n
        # Back to the units of the data: each degree of freedom brings log(y_scale^2), log|X'V^-1 X| brings log|R|^2.
        units = 2 * degrees * np.log(basis.y_scale)
        if reml and stats.p:
            units += 2 * np.log(np.abs(np.diag(basis.R))).sum()
        self.criterion = float(at.criterion + units)
        self._offset, self._matrix = basis.to_coefficients
        self._cov_b = at.s * np.linalg.inv(at.A) if stats.p else np.zeros((0, 0))

    @property
    def structure(self) -> BlockStructure:
        """Blocks of the group covariances, those of all factors one after the other."""
        return self.sufficient.structure

    @property
    def method(self) -> str:
        """How it was fitted: REML, ML or least squares, penalised or not."""
        if self.factor is None:
            return "least squares"
        likelihood = "REML" if self.reml else "ML"
        return likelihood if self.penalty is None else f"{likelihood} with the {self.penalty.replace('_', '-')} penalty"

    @property
    def fixef(self) -> pd.Series:
        """Common effects on the original scale, under Bambi's names."""
        return pd.Series(self._offset + self._matrix @ self.optimum.at.b, index=list(self.design.coefficient_names))

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the common effects."""
        labels = list(self.design.coefficient_names)
        return pd.DataFrame(self._matrix @ self._cov_b @ self._matrix.T, index=labels, columns=labels)

    @property
    def se(self) -> pd.Series:
        """Standard errors of the common effects."""
        return pd.Series(np.sqrt(np.diag(self.vcov)), index=list(self.design.coefficient_names))

    def se_of(self, row: Array) -> float:
        """Standard error of a combination (p,) of the common effects, such as the mean at one row of X.

        :meta private:
        """
        h = self.sufficient.basis.by_b(row[None])[0]
        return float(np.sqrt(h @ self._cov_b @ h))

    @cached_property
    def _algebra_moments(self) -> tuple[Array, Array, Array]:
        """Conditional mean, covariance and slope on b of the effects, in the coordinates of the algebra."""
        at = self.optimum.at
        return conditional_moments(self.sufficient.stats, at.b, self.optimum.Lambda * np.sqrt(at.s), at.s)

    @cached_property
    def _moments(self) -> tuple[Array, Array, Array]:
        """Conditional mean, covariance and slope on the algebra's b of the effects, in the units of the data."""
        to_effects = self.sufficient.basis.to_effects
        mean, covariance, slope = self._algebra_moments
        return mean @ to_effects.T, to_effects @ covariance @ to_effects.T, to_effects @ slope

    @cached_property
    def _modes(self) -> list[Array]:
        return [self._moments[0]] if self.design.factors else []

    @cached_property
    def _conditional(self) -> list[Array]:
        return [self._moments[1]] if self.design.factors else []

    @cached_property
    def _slopes(self) -> list[Array]:
        return [self._moments[2]] if self.design.factors else []

    @property
    def _group_factors(self) -> list[Array]:
        return [self.sufficient.structure.factor(self.theta) * self.sigma] if self.design.factors else []

    @property
    def ranef(self) -> pd.DataFrame:
        """Conditional modes of the group-specific effects, groups by effects."""
        return _only(self._frames(self._modes))

    @property
    def ranef_sd(self) -> pd.DataFrame:
        """Conditional sds of the group-specific effects, common effects and variances taken as known."""
        return _only(self._frames(self._sds()))

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variances, covariances and residual variance; columns factor, var1, var2, vcov, sdcor, as lme4's table."""
        residual = ("Residual", None, None, self.sigma**2, self.sigma)
        return pd.DataFrame([*self._variances(), residual], columns=VARCORR)

    @property
    def n_parameters(self) -> int:
        """Common effects, elements of theta and sigma."""
        return len(self.design.coefficient_names) + len(self.theta) + 1

    @property
    def is_singular(self) -> bool:
        """Whether a diagonal element of theta is on its boundary 0 (lme4's definition, tolerance 1e-4).

        Judged with the intercepts at the means of their block's predictors, so that a distant mean feigns nothing.
        """
        theta = np.diag(self.optimum.Lambda) / self.sufficient.basis.z_scale
        return bool(np.any(theta < SINGULAR_TOLERANCE))

    @property
    def fitted(self) -> Array:
        """Fitted values, group-specific effects included (n,)."""
        mean = self.design.offset + self.design.X @ self.fixef.to_numpy()
        for factor, effects in zip(self.design.factors, self._modes, strict=True):
            mean = mean + np.einsum("nk,nk->n", factor.Z, effects[factor.codes])
        return mean

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
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> round(fit.rmse(), 2)
        23.44
        """
        if self.design.collapsed is not None:
            return rmse_of_sums(self.design, terms_of(self.design, self.fixef.to_numpy(), self._modes))
        return tables.root_mean_square(self.residuals, self.design.weights if self.design.frequency else None)

    def predict(
        self, data: Any = None, *, groups: Groups = None, kind: str = "mean", level: float = 0.95, seed: int = 0
    ) -> pd.DataFrame:
        """Mean of the response for new rows, with its interval.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and grouping factors, the latter left out at will where groups is
            ``"population_mean"`` or ``"integrated"``; the data of the fit by default.
        groups : {"observed", "population_draw", "population_mean", "integrated"} or dict by factor, optional
            What a row's group stands for. ``"observed"``: the effects of that group; a group that was not in the data
            is an error. ``"population_draw"``: effects drawn from N(0, Sigma), once a label, and then taken as known: a
            new group as it might come. ``"population_mean"``: effects of zero, the typical group (lme4's ``re.form =
            NA``). ``"integrated"``: a group of the population whose effects are not known: the mean of the typical
            group, the spread of the groups in the interval. By default a group that was seen is observed and a new one
            integrated.
        kind : {"mean", "response"}
            Whether the interval is of the mean of the response, or of a response, residual noise included (at weight 1,
            or at that of the column of precision weights, where ``data`` has it).
        level : float, default 0.95
            Probability of the interval; variances taken as known. It has the uncertainty of the common effects and of
            the effects of observed groups together.
        seed : int, default 0
            Of the population draws.

        Returns
        -------
        DataFrame
            Columns estimate, lower, upper, in the units of the response; groups: "observed", or "new" where a group of
            any factor was not in the data; and ``groups[factor]``, what was done with each row's group.

        Raises
        ------
        DataError
            If the mode is observed and a group was not, which is named.

        Warns
        -----
        PoolwiseWarning
            If nothing is said of groups and the label of a new one nearly is that of a known one.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> new = pw.load_dataset("sleepstudy").head(2).assign(Subject="new")
        >>> fit.predict(new)["estimate"].round(1).tolist()
        [251.4, 261.9]
        """
        level, frame = tables.check_level(level), self.design.frame if data is None else as_frame(data)
        modes, kind, seed = group_modes(self.design, groups), check_kind(kind), check_seed(seed)
        X, offset = self.design.common.apply(frame), self.design.offset_of(frame)
        rows = [
            group_rows(factor, frame, modes[factor.name], T, seed)
            for factor, T in zip(self.design.factors, self._group_factors, strict=True)
        ]
        slopes, variance = self._group_uncertainty(rows)
        # Not X @ fixef: with a predictor far from zero the intercept at zero would cost digits.
        by_b, basis = self.sufficient.basis.by_b(X), self.sufficient.basis
        h = by_b + slopes
        mean = offset + basis.y_shift + by_b @ self.optimum.at.b + self._group_means(rows)
        variance = variance + np.einsum("np,pr,nr->n", h, self._cov_b, h)
        if kind == "response":
            variance = variance + self.sigma**2 / self._new_weights(frame)
        half = self._quantile(level) * np.sqrt(variance)
        known = np.all([np.ones(len(frame), dtype=bool), *(row.known for row in rows)], axis=0)
        return tables.prediction_frame(mean, mean - half, mean + half, known, [row.record for row in rows])

    def _new_weights(self, frame: pd.DataFrame) -> Array:
        column = self.design.weights_column
        if column is None or self.design.frequency or column not in frame:
            return np.ones(len(frame))
        return frame[column].to_numpy(dtype=np.float64)

    def _group_means(self, rows: Sequence[GroupRows]) -> Array | float:
        """Group-specific part of the mean of each row; a group that was not seen, -1, has effects of 0."""
        total: Array | float = 0.0
        for row, mean in zip(rows, self._modes, strict=True):
            effects = np.vstack([mean, np.zeros_like(mean[:1])])
            total = total + row.drawn + np.einsum("nk,nk->n", row.Z, effects[row.codes])
        return total

    def _group_uncertainty(self, rows: Sequence[GroupRows]) -> tuple[Array | float, Array | float]:
        """Derivative of each row's group-specific part by the algebra's b, and its variance given b."""
        if not rows:
            return 0.0, 0.0
        (row,), T = rows, self.optimum.Lambda * np.sqrt(self.optimum.at.s)
        _, cov, slope = self._algebra_moments
        Z = row.Z @ self.sufficient.basis.to_effects
        # A new group stands in the last place: no data, so the population's covariance and no slope on b.
        cov = np.concatenate([cov, (T @ T.T)[None]])
        slope = np.concatenate([slope, np.zeros_like(slope[:1])])
        slopes = np.einsum("nk,nkp->np", Z, slope[row.codes])
        return slopes, np.einsum("nk,nkl,nl->n", Z, cov[row.codes], Z)

    def coef(self, interval: str = "total", level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group, common plus group-specific effects.

        Parameters
        ----------
        interval : {"total", "conditional"}
            Kind of interval, see the notes of the class.
        level : float, default 0.95
            Probability of the interval; normal quantiles (t for a regression without groups).

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
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.coef("conditional").head(2)["estimate"].round(1).tolist()
        [253.7, 19.7]
        """
        return self._coef(interval, level)

    def _quantile(self, level: float) -> float:
        if self.factor is not None:
            return super()._quantile(level)
        return float(stdtrit(self.sufficient.stats.n - self.sufficient.stats.p, (1 + level) / 2))

    def coef_se(self, interval: str = "total") -> pd.DataFrame:
        """Standard errors behind the intervals of :meth:`coef`, groups by terms.

        Parameters
        ----------
        interval : {"total", "conditional"}
            Kind of interval, see the notes of the class.

        Returns
        -------
        DataFrame (J, terms)
            Units of the coefficients.

        Raises
        ------
        ArgumentError
            If this fit has no such interval.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.coef_se().shape
        (18, 2)
        """
        return _only(self._coef_se(interval))

    def __repr__(self) -> str:
        state = "" if self.converged else f"\nNOT CONVERGED: {self.message}"
        singular = (
            "\nsingular: a group standard deviation or correlation is at its boundary" if self.is_singular else ""
        )
        common = pd.DataFrame({"estimate": self.fixef, "se": self.se})
        parts = [
            f"Fit by {self.method} of {self.design.formula.text}",
            f"criterion {self.criterion:.4f}, AIC {self.aic:.2f}, n {self.design.n}{singular}{state}",
            f"Common effects\n{common.to_string(float_format='%.4f')}",
        ]
        if self.factor is not None:
            shown = self.varcorr.fillna("")[["factor", "var1", "var2", "sdcor"]]
            parts.append(f"Standard deviations and correlations\n{shown.to_string(index=False, float_format='%.4f')}")
        else:
            parts.append(f"Residual standard deviation {self.sigma:.4f}")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        from html import escape

        common = pd.DataFrame({"estimate": self.fixef, "se": self.se})
        return (
            f"<p>{escape(repr(self).splitlines()[0])}<br>{escape(repr(self).splitlines()[1])}</p>"
            f"{common.to_html(float_format='%.4f')}"
            f"{self.varcorr.fillna('').to_html(index=False, float_format='%.4f')}"
        )


def _only(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    (frame,) = frames.values()
    return frame

"""The frequentist fit of a generalised linear (mixed) model.

Long for its docstrings: one class with the protocol that all fits share.
"""

import warnings
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.exponential import LOG_OWN
from poolwise.algebra.links import INVERSE
from poolwise.algebra.theta import lower_factor
from poolwise.errors import ArgumentError, ConvergenceWarning, FitError
from poolwise.fit.laplace import LaplaceOptimum, optimise_laplace
from poolwise.fit.reml import SINGULAR_TOLERANCE
from poolwise.result import scores
from poolwise.result.checked import Checked
from poolwise.result.comparisons import Compared
from poolwise.result.glmm_predict import predict
from poolwise.result.group_modes import Groups
from poolwise.result.likelihood_fit import VARCORR, LikelihoodFit
from poolwise.result.wald import WaldInference
from poolwise.spec.design import Design
from poolwise.spec.exponential import LinearPredictor, has_own, linear_predictor
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.families import Family
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.rowless import refuse_rows

# Beyond this many nodes the weights of the rule are too small for floating point.
MOST_NODES = 100
# A deviance this small is a perfect fit of all rows.
PERFECT = 1e-3


class GLMMFit(LikelihoodFit, WaldInference, scores.Scored, Compared, Checked):
    """A generalised linear mixed model at its maximum likelihood, or a generalised linear model without groups.

    Parameters
    ----------
    design : Design
        The rows.
    predictor : LinearPredictor
        The same in the coordinates of the algebra.
    optimum : LaplaceOptimum
        From :func:`poolwise.fit.laplace.optimise_laplace`.
    n_quadrature : int, default 1
        Nodes of adaptive Gauss-Hermite quadrature; 1 is the Laplace approximation.

    Attributes
    ----------
    theta : ndarray
        Factor of the group covariances on the scale of the link, in lme4's order, the factors in the formula's.
    criterion : float
        Minus twice the log-likelihood, constants included.
    converged : bool
        Whether the gradient vanishes at the optimum; ``message`` says how nearly.
    family_parameters : Series
        The family's own parameter, if it has one: ``alpha`` of a negative binomial (variance mu + mu^2 / alpha, R's
        theta), the shape ``alpha`` of a gamma, ``lam`` of a wald, ``sigma`` of a gaussian response.
    separated : tuple of str
        Common effects whose estimate is infinite, because they predict the response perfectly. They are +-inf in
        ``fixef`` (NaN where not even the sign is determined), without standard error.

    Notes
    -----
    Coefficients, group-specific effects and their intervals are on the scale of the link; ``fitted``, ``predict`` and
    the errors on that of the response. With one grouping factor ``ranef``, ``ranef_sd`` and ``coef_se`` are frames,
    with several they are dicts of frames by factor.

    Kinds of interval as for :class:`~poolwise.result.frequentist.FrequentistFit`: ``"conditional"`` takes the common
    effects and variances as known, ``"total"`` adds the uncertainty of the common effects, and as far as they move with
    them that of the variances; ``"bayes"`` of a Bayesian fit has all of it.

    REML is not defined for these families. The Laplace approximation is lme4's, with the expected information of the
    rows (for a gamma response under a log link the observed one). Standard errors come from the Hessian of the
    criterion over all parameters.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1). Liu & Pierce (1994), Biometrika 81, 624-629.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
    >>> fit = model.fit_frequentist()
    >>> round(fit.loglik, 3), fit.theta.round(3).tolist()
    (-92.026, [0.642])
    >>> model.fit_frequentist(n_quadrature=9).theta.round(4).tolist()
    [0.6475]
    """

    intervals = ("total", "conditional")
    reml = False
    penalty = None
    # theta is on the scale of the link itself, not relative to a residual standard deviation.
    sigma = 1.0

    def __init__(self, design: Design, predictor: LinearPredictor, optimum: LaplaceOptimum, *, n_quadrature: int = 1):
        self.design, self.predictor, self.optimum, self.n_quadrature = design, predictor, optimum, n_quadrature
        self.converged, self.message, self.criterion = optimum.converged, optimum.message, optimum.criterion
        self.structure = predictor.structure
        self._T = lower_factor(predictor.basis.to_effects @ optimum.point.Lambda)
        self.theta = self.structure.theta(self._T)
        _, self._matrix = predictor.basis.to_coefficients
        self._cov_b = optimum.covariance
        self.family_parameters = own_parameters(design.family, optimum.point.log_own)
        self._limits = np.zeros(len(design.coefficient_names))
        if optimum.separation is not None:
            self._limits = optimum.separation.limits(self._matrix)
        self.separated = tuple(np.array(design.coefficient_names, dtype=object)[self._limits != 0])

    @property
    def method(self) -> str:
        """How it was fitted."""
        if self.factor is None:
            return "maximum likelihood"
        if self.n_quadrature > 1:
            return f"maximum likelihood (adaptive Gauss-Hermite quadrature, {self.n_quadrature} nodes)"
        return "maximum likelihood (Laplace approximation)"

    @cached_property
    def _b(self) -> Array:
        """Common effects as the predictions use them: large where they are infinite."""
        return self._matrix @ self.optimum.b

    @property
    def fixef(self) -> pd.Series:
        """Common effects on the scale of the link, under Bambi's names; +-inf under separation."""
        value = np.where(self._limits != 0, self._limits, self._b)
        return pd.Series(value, index=list(self.design.coefficient_names))

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the common effects; NaN for infinite ones."""
        value, labels = self._matrix @ self.optimum.covariance @ self._matrix.T, list(self.design.coefficient_names)
        infinite = self._limits != 0
        value[infinite], value[:, infinite] = np.nan, np.nan
        return pd.DataFrame(value, index=labels, columns=labels)

    @property
    def se(self) -> pd.Series:
        """Standard errors of the common effects."""
        return pd.Series(np.sqrt(np.diag(self.vcov)), index=list(self.design.coefficient_names))

    def se_of(self, row: Array) -> float:
        """Standard error of a combination (p,) of the common effects, such as the link's mean at one row of X.

        :meta private:
        """
        h = self.predictor.basis.by_b(row[None])[0]
        return float(np.sqrt(h @ self.optimum.covariance @ h))

    @cached_property
    def _to_units(self) -> list[Array]:
        """From spherical effects to those in the units of the data, (q_f, q_f) by factor."""
        whole = self.predictor.basis.to_effects @ self.optimum.point.Lambda
        return [whole[where, where] for where in self.predictor.problem.blocks][: len(self.design.factors)]

    @cached_property
    def _modes(self) -> list[Array]:
        spherical = self.predictor.problem.pattern.by_factor(self.optimum.point.u)
        return [u @ C.T for u, C in zip(spherical, self._to_units, strict=False)]

    @cached_property
    def _conditional(self) -> list[Array]:
        """Conditional covariances (J, q, q) by factor."""
        return [C @ M @ C.T for M, C in zip(self.optimum.point.inverse.blocks(), self._to_units, strict=False)]

    @cached_property
    def _spherical_slopes(self) -> Array:
        return self.optimum.point.slopes()

    @cached_property
    def _slopes(self) -> list[Array]:
        """Derivatives (J, q, p) of the modes by the algebra's b, by factor."""
        spherical = self.predictor.problem.pattern.by_factor(self._spherical_slopes)
        return [C @ slope for slope, C in zip(spherical, self._to_units, strict=False)]

    @property
    def _group_factors(self) -> list[Array]:
        blocks = self.predictor.problem.blocks[: len(self.design.factors)]
        return [self._T[where, where] for where in blocks]

    @property
    def ranef(self) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Conditional modes of the group-specific effects, groups by effects; by factor where there are several."""
        return _one_or_all(self._frames(self._modes))

    @property
    def ranef_sd(self) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Conditional sds of the group-specific effects, common effects and variances taken as known."""
        return _one_or_all(self._frames(self._sds()))

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variances and covariances on the scale of the link; columns factor, var1, var2, vcov, sdcor, as lme4's."""
        return pd.DataFrame(self._variances(), columns=VARCORR)

    @property
    def n_parameters(self) -> int:
        """Common effects, elements of theta, and the family's own parameter."""
        return len(self._b) + len(self.theta) + len(self.family_parameters)

    @property
    def is_singular(self) -> bool:
        """Whether a diagonal element of theta is on its boundary 0 (lme4's definition, tolerance 1e-4).

        Judged with the intercepts at the means of their block's predictors, so that a distant mean feigns nothing.
        """
        theta = np.diag(self.optimum.point.Lambda) / self.predictor.basis.z_scale
        return bool(np.any(theta < SINGULAR_TOLERANCE))

    @property
    def fitted(self) -> Array:
        """Mean of the response, group-specific effects included (n,); the probability of a binomial one."""
        if self.design.counted is not None:
            refuse_rows("the predictors of each row")
        return self._means

    @property
    def _means(self) -> Array:
        """The same of each row, or of each cell where rows were added up."""
        return INVERSE[self.design.family.link](self.optimum.point.eta)

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
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> round(fit.rmse(), 3)
        0.099
        """
        return scores.rmse(self.design, self._means)

    def predict(
        self, data: Any = None, *, groups: Groups = None, kind: str = "mean", level: float = 0.95, seed: int = 0
    ) -> pd.DataFrame:
        """Mean of the response for new rows, or the response itself, with its interval.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and grouping factors, the latter left out at will where groups is
            ``"population_mean"`` or ``"integrated"``; the data of the fit by default.
        groups : {"observed", "population_draw", "population_mean", "integrated"} or dict by factor, optional
            What a row's group stands for, as for :class:`~poolwise.result.frequentist.FrequentistFit`: its effects at
            their modes; effects drawn from N(0, Sigma) once a label; effects of zero, the typical group (lme4's
            ``re.form = NA``, and its ``allow.new.levels``); or the mean over the groups of the population, with their
            spread in the interval. By default a group that was seen is observed and a new one integrated.
        kind : {"mean", "response"}
            The mean of the response (of a binomial one, the probability), or the response itself (of a binomial one,
            successes in the trials of the row).
        level : float, default 0.95
            Probability of the interval; variances taken as known. It includes the uncertainty of the common effects
            and of the effects of observed groups, normal on the scale of the link.
        seed : int, default 0
            Of the population draws, and of those behind the interval of a response.

        Returns
        -------
        DataFrame
            Columns estimate, lower, upper; groups: "observed", or "new" where a group of any factor was not in the
            data; and ``groups[factor]``, what was done with each row's group.

        Raises
        ------
        DataError
            If the mode is observed and a group was not, which is named.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.predict(groups="population_mean")["estimate"].head(2).round(3).tolist()
        [0.198, 0.084]
        """
        return predict(self, data, groups=groups, kind=kind, level=level, seed=seed)

    def coef(self, interval: str = "total", level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group, common plus group-specific effects, on the scale of the link.

        Parameters
        ----------
        interval : {"total", "conditional"}
            Kind of interval, see the notes of the class.
        level : float, default 0.95
            Probability of the interval; normal quantiles.

        Returns
        -------
        DataFrame
            Columns factor, group, term, estimate, lower, upper, n; an infinite estimate has no interval (NaN).

        Raises
        ------
        ArgumentError
            If this fit has no such interval, or level is not between 0 and 1.
        UnknownNameError
            If there is no such grouping factor.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.coef()["estimate"].head(2).round(2).tolist()
        [-0.81, -0.99]
        """
        return self._coef(interval, level)

    def coef_se(self, interval: str = "total") -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Standard errors behind the intervals of :meth:`coef`, groups by terms.

        Parameters
        ----------
        interval : {"total", "conditional"}
            Kind of interval, see the notes of the class.

        Returns
        -------
        DataFrame (J, terms), or dict of these by grouping factor
            On the scale of the link.

        Raises
        ------
        ArgumentError
            If this fit has no such interval.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.coef_se().shape
        (15, 4)
        """
        return _one_or_all(self._coef_se(interval))

    def _coefficients(
        self, f: int, factor: GroupingFactor | None, *, conditional: bool
    ) -> tuple[Array, Array, list[str]]:
        estimate, se, terms = super()._coefficients(f, factor, conditional=conditional)
        se[:, [terms.index(term) for term in self.separated]] = np.nan
        return estimate, se, terms

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the fit, in words: separation, an optimum that was not reached."""
        found = []
        if self.separated:
            listed = ", ".join(map(repr, self.separated))
            found.append(
                f"separation: {listed} {'has' if len(self.separated) == 1 else 'have'} no finite estimate, because "
                "the response is perfectly predicted in that direction (estimates +-inf, no standard errors). "
                "Model.fit() gives finite ones under its priors; or leave the term out or join its levels"
            )
        if not self.converged:
            found.append(
                f"not converged: {self.message}. Centre and scale the predictors, simplify the group-specific effects, "
                "or use Model.fit()"
            )
        if self.factor is not None and not self.optimum.from_hessian and not self.separated:
            found.append(
                "the Hessian at the optimum is not positive definite; standard errors take the group variances as known"
            )
        if np.isinf(self.family_parameters).any():
            found.append(
                "no overdispersion: alpha is infinite, where the negative binomial is the Poisson distribution; use "
                "family='poisson'"
            )
        return tuple(found)

    def warn_about_problems(self) -> "GLMMFit":
        """Warn once about each of :attr:`problems`; returns the fit.

        Returns
        -------
        GLMMFit

        Warns
        -----
        ConvergenceWarning
            Once for each problem.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("p(incidence, size) ~ period + (1 | herd)", pw.load_dataset("cbpp"), "binomial")
        >>> fit = model.fit_frequentist()
        >>> fit.warn_about_problems() is fit
        True
        """
        for problem in self.problems:
            warnings.warn(problem, ConvergenceWarning, stacklevel=3)
        return self

    def _head(self) -> list[str]:
        lines = [
            f"Fit by {self.method} of {self.design.formula.text}",
            f"family {self.design.family.name}, link {self.design.family.link}"
            + "".join(f", {name} {value:.4g}" for name, value in self.family_parameters.items()),
            f"log-likelihood {self.loglik:.4f}, AIC {self.aic:.2f}, n {self.design.n} "
            "(maximum likelihood; REML is not defined for this family)",
        ]
        if self.is_singular:
            lines.append("singular: a group standard deviation or correlation is at its boundary")
        return lines + [problem[0].upper() + problem[1:] for problem in self.problems]

    def _common(self) -> pd.DataFrame:
        return pd.DataFrame({"estimate": self.fixef, "se": self.se})

    def __repr__(self) -> str:
        parts = ["\n".join(self._head()), f"Common effects\n{self._common().to_string(float_format='%.4f')}"]
        if self.factor is not None:
            shown = self.varcorr.fillna("")[["factor", "var1", "var2", "sdcor"]]
            parts.append(f"Standard deviations and correlations\n{shown.to_string(index=False, float_format='%.4f')}")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        head = "<br>".join(map(escape, self._head()))
        groups = self.varcorr.fillna("").to_html(index=False, float_format="%.4f") if self.factor is not None else ""
        return f"<p>{head}</p>{self._common().to_html(float_format='%.4f')}{groups}"


def fit_glmm(design: Design, n_quadrature: int = 1) -> GLMMFit:
    """Fit a design by maximum likelihood.

    Parameters
    ----------
    design : Design
        Of a family in :data:`poolwise.spec.exponential.KINDS`, with any number of grouping factors.
    n_quadrature : int, default 1
        Nodes of adaptive Gauss-Hermite quadrature; 1 is the Laplace approximation.

    Returns
    -------
    GLMMFit

    Raises
    ------
    ArgumentError
        If quadrature is asked for where it is not available.
    FitError
        For a model that is not served or not identified.
    """
    refuse_grouping(design, "the frequentist fit")
    if not isinstance(n_quadrature, int) or isinstance(n_quadrature, bool) or not 1 <= n_quadrature <= MOST_NODES:
        raise ArgumentError(f"n_quadrature must be a whole number from 1 to {MOST_NODES}; got {n_quadrature!r}")
    effects = sum(len(factor.effects) for factor in design.factors)
    if n_quadrature > 1 and effects != 1:
        raise ArgumentError(
            f"n_quadrature > 1 is for one grouping factor with one effect, such as (1 | g); this model has {effects} "
            f"effects in {len(design.factors)} grouping factors. Leave it out for the Laplace approximation"
        )
    predictor = linear_predictor(design)
    rows, p = predictor.problem.rows, len(design.coefficient_names)
    if design.n < p + len(predictor.structure.positions) + rows.free:
        raise FitError(
            f"{design.n} rows cannot estimate {p} common effects and {len(predictor.structure.positions)} parameters "
            "of group covariances; leave out terms, or use Model.fit(), where the priors identify them"
        )
    for factor in design.factors:
        if design.family.holds in ("binary", "trials") and design.n == factor.J and (rows.trials == 1).all():
            raise FitError(
                f"every row is a group of its own of {factor.name!r}, and its response is a single trial: the spread "
                "of such effects is not identified. Leave the block out, or use Model.fit(), where its prior decides"
            )
    fit = GLMMFit(
        design,
        predictor,
        optimise_laplace(predictor.problem, predictor.structure, n_quadrature),
        n_quadrature=n_quadrature,
    )
    if fit.separated and design.factors and fit.criterion < PERFECT:
        raise FitError(
            f"separation: the common effects ({', '.join(map(repr, fit.separated))}) predict every response perfectly, "
            "so neither they nor the group standard deviations have finite estimates. Model.fit() gives finite ones "
            "under its priors; or leave the term out or join its levels"
        )
    return fit


def _one_or_all(frames: dict[str, pd.DataFrame]) -> pd.DataFrame | dict[str, pd.DataFrame]:
    return frames if len(frames) > 1 else next(iter(frames.values()))


def own_parameters(family: Family, log_own: float) -> pd.Series:
    """The family's own parameter by name, infinite at its upper bound; empty where it has none."""
    free = has_own(family)
    value = float(np.exp(log_own)) if log_own < LOG_OWN[1] else np.inf
    return pd.Series([value] * free, index=[own.name for own in family.auxiliaries][:free], dtype=float)

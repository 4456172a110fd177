"""Inference about the parameters of a frequentist fit: intervals, profiles, bootstrap, tests."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from warnings import warn

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtr, stdtrit
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossed import CrossedProducts
from poolwise.errors import ArgumentError, ConvergenceWarning, UnknownNameError, near_names
from poolwise.fit.held import Likelihood
from poolwise.fit.profile import BELOW, Curve
from poolwise.fit.reml import Optimum, optimise
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.fit.satterthwaite import satterthwaite
from poolwise.result import tables
from poolwise.result.bootstrap import Bootstrap, bootstrap
from poolwise.result.rlrt import RLRT, rlrt
from poolwise.spec.targets import Target, targets, values
from poolwise.workers import Client

if TYPE_CHECKING:
    from poolwise.spec.design import Design

METHODS = ("wald", "profile", "bootstrap")


class Inference:
    """Methods of the frequentist fits that concern their parameters."""

    design: "Design"
    sufficient: Any
    optimum: Optimum
    reml: bool
    penalty: str | None

    if TYPE_CHECKING:

        @property
        def is_singular(self) -> bool:
            """Whether a variance is at its boundary."""
            ...

        @property
        def fixef(self) -> pd.Series:
            """Common effects."""
            ...

        @property
        def se(self) -> pd.Series:
            """Their standard errors."""

    @cached_property
    def _targets(self) -> list[Target]:
        return targets(self.design)

    @cached_property
    def _estimates(self) -> pd.Series:
        at, basis = self.optimum.at, self.sufficient.basis
        found = values(self._targets, basis, at.b, self.optimum.Lambda, np.asarray(at.s))
        return pd.Series(found, index=[target.name for target in self._targets])

    def _chosen(self, parameters: str | Sequence[str] | None) -> list[Target]:
        if parameters is None:
            return self._targets
        wanted = [parameters] if isinstance(parameters, str) else list(parameters)
        known = {target.name: target for target in self._targets}
        for name in wanted:
            if name not in known:
                raise UnknownNameError(f"no parameter {name!r} in this fit; {near_names(name, known, 20)}")
        return [known[name] for name in wanted]

    def _optimise(self, *, reml: bool) -> Optimum:
        """The optimum of a likelihood, without penalty."""
        stats, structure = self.sufficient.stats, self.sufficient.structure
        if isinstance(stats, CrossedProducts):
            return optimise_crossed(stats, structure, reml=reml)
        with threadpool_limits(1):
            return optimise(stats, structure, reml=reml)

    @cached_property
    def _likelihood(self) -> Likelihood:
        if self.penalty is not None:
            raise ArgumentError(
                f"this fit has the penalty {self.penalty!r}, and a profile is of the likelihood without it; "
                "fit without penalty=, or use method='bootstrap', which repeats the penalty"
            )
        optimum = self._optimise(reml=False) if self.reml else self.optimum
        basis, structure = self.sufficient.basis, self.sufficient.structure
        return Likelihood(self.sufficient.stats, basis, structure, optimum.Lambda)

    def confint(
        self,
        method: str = "wald",
        level: float = 0.95,
        *,
        parameters: str | Sequence[str] | None = None,
        df: str = "normal",
        n_boot: int = 1000,
        seed: int | None = None,
        workers: int | None = None,
        progress: bool = True,
        client: Client | None = None,
    ) -> pd.DataFrame:
        """Confidence intervals of common effects, group sds, correlations and sigma.

        Parameters
        ----------
        method : {"wald", "profile", "bootstrap"}
            Wald: estimate plus and minus a quantile times the standard error, NaN for variance parameters, whose
            estimates are far from normal. Profile: the values whose profile likelihood is not too small; of the ML
            fit, also where this one is by REML, as lme4 does. Bootstrap: percentiles of refits to simulated responses.
        level : float, default 0.95
        parameters : str or sequence of str, optional
            Names as in the column ``parameter``; all by default.
        df : {"normal", "satterthwaite"}
            Quantiles of the Wald intervals: normal, or t with Satterthwaite's degrees of freedom. (A regression
            without groups has t and its residual degrees of freedom either way.)
        n_boot, seed, workers, progress, client
            Of the bootstrap, see :meth:`bootstrap`.

        Returns
        -------
        DataFrame
            Columns parameter, estimate, lower, upper; the estimates are this fit's. ``attrs`` holds the method and,
            of a bootstrap, its seed and the shares of singular and converged refits.

        Raises
        ------
        ArgumentError
            For another method, or a level that is not between 0 and 1.
        UnknownNameError
            If there is no such parameter.

        Warns
        -----
        ConvergenceWarning
            If a profile went below the optimum, or refits did not come to rest.

        Notes
        -----
        R's names beside ours: ``.sig01`` or ``sd_(Intercept)|g`` is ``1|g_sigma``, ``sd_x|g`` is ``x|g_sigma``,
        ``cor_x.(Intercept)|g`` is ``corr|g[Intercept, x]``, ``.sigma`` is ``sigma``, ``(Intercept)`` is ``Intercept``.
        A profile interval ends at 0 or at -1 or 1 where the profile does not rise enough before that bound.

        References
        ----------
        Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit_frequentist()
        >>> fit.confint("profile").round(2).values.tolist()[1]
        ['1|Batch_sigma', 42.0, 12.2, 84.06]
        """
        if method not in METHODS:
            raise ArgumentError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
        level, chosen = tables.check_level(level), self._chosen(parameters)
        labels = [target.name for target in chosen]
        if method == "bootstrap":
            whole = self.bootstrap(n_boot, seed=seed, workers=workers, progress=progress, client=client).confint(level)
            table = whole.set_index("parameter").loc[labels].reset_index()
            table.attrs = whole.attrs
            return table
        lower, upper = self._wald(level, df) if method == "wald" else self._profile_limits(chosen, level)
        table = tables.interval_frame(labels, self._estimates[labels], lower.reindex(labels), upper.reindex(labels))
        table.attrs = {"method": method}
        return table

    def _wald(self, level: float, df: str) -> tuple[pd.Series, pd.Series]:
        if df not in ("normal", "satterthwaite"):
            raise ArgumentError(f"df must be 'normal' or 'satterthwaite'; got {df!r}")
        by_t = df == "satterthwaite" or not self.design.factors
        half = self.se * (stdtrit(self.df, (1 + level) / 2) if by_t else ndtri((1 + level) / 2))
        return self.fixef - half, self.fixef + half

    def _profile_limits(self, chosen: list[Target], level: float) -> tuple[pd.Series, pd.Series]:
        quantile = float(ndtri((1 + level) / 2))
        found = {}
        with threadpool_limits(1):
            for target in chosen:
                curve = Curve(self._likelihood, target)
                found[target.name] = curve.limit(quantile, -1), curve.limit(quantile, 1)
                _warn_if_below(curve)
        table = pd.DataFrame(found, index=["lower", "upper"]).T
        return table["lower"], table["upper"]

    def profile(self, parameter: str, *, level: float = 0.99, points: int = 25) -> pd.DataFrame:
        """Profile likelihood of one parameter, to look at or to plot.

        Parameters
        ----------
        parameter : str
            A name as in :meth:`confint`.
        level : float, default 0.99
            The values span the profile interval of this probability.
        points : int, default 25
            Values, equally spaced, beside the estimate itself.

        Returns
        -------
        DataFrame
            Columns parameter, value, deviance (minus twice the log-likelihood, all other parameters at their best,
            less its smallest value) and zeta, its signed root, a straight line where the likelihood is a parabola.

        Raises
        ------
        ArgumentError
            If points is below 2, or level is not between 0 and 1.
        UnknownNameError
            If there is no such parameter.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.profile("sigma", points=4).shape
        (5, 4)
        """
        if not isinstance(points, int | np.integer) or points < 2:
            raise ArgumentError(f"points must be a whole number of at least 2; got {points!r}")
        (target,) = self._chosen(parameter)
        quantile = float(ndtri((1 + tables.check_level(level)) / 2))
        with threadpool_limits(1):
            curve = Curve(self._likelihood, target)
            at = np.linspace(curve.limit(quantile, -1), curve.limit(quantile, 1), points)
            if np.isfinite(curve.estimate):
                at = np.unique([*at, curve.estimate])
            zeta = np.array([curve.zeta(value) for value in at])
        _warn_if_below(curve)
        return pd.DataFrame({"parameter": parameter, "value": at, "deviance": zeta**2, "zeta": zeta})

    def bootstrap(
        self,
        n_boot: int = 1000,
        *,
        seed: int | None = None,
        workers: int | None = None,
        progress: bool = True,
        client: Client | None = None,
    ) -> Bootstrap:
        """Parametric bootstrap: responses simulated from this fit, each fitted in the same way.

        Parameters
        ----------
        n_boot : int, default 1000
            Number of replicates.
        seed : int, optional
            Each replicate's generator is spawned from it; drawn and kept in the result by default.
        workers : int, optional
            Threads; all cores by default. The result does not depend on it.
        progress : bool, default True
            Show progress.
        client : dask.distributed.Client, optional
            Runs the replicates on its workers, in place of threads here; anything with ``submit(function, ...)`` will
            do. The result is the same.

        Returns
        -------
        Bootstrap
            With ``draws``, ``confint()``, and the share of singular refits.

        References
        ----------
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, sections 6.5 and 13.3.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> boot = fit.bootstrap(20, seed=1, progress=False)
        >>> boot.draws.shape
        (20, 6)
        """
        return bootstrap(self, n_boot, seed=seed, workers=workers, progress=progress, client=client)

    @cached_property
    def df(self) -> pd.Series:
        """Degrees of freedom of the common effects: Satterthwaite's, or n - p without groups.

        References
        ----------
        Kuznetsova, Brockhoff & Christensen (2017), J. Stat. Softw. 82(13), section 2.
        """
        stats, labels = self.sufficient.stats, list(self.design.coefficient_names)
        if not self.design.factors:
            return pd.Series(float(stats.n - stats.p), index=labels)
        _, matrix = self.sufficient.basis.to_coefficients
        found = satterthwaite(
            stats, self.sufficient.structure, self.optimum.Lambda, self.optimum.at.s, matrix, reml=self.reml
        )
        return pd.Series(found.df, index=labels)

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """The common effects with t tests on Satterthwaite's degrees of freedom.

        Parameters
        ----------
        level : float, default 0.95
            Probability of the intervals.

        Returns
        -------
        DataFrame
            One row a common effect; columns estimate, se, df, t, p (two-sided, of the effect being 0), lower, upper,
            note. The note of a singular fit says that a variance at its boundary counts as known, so that df may be
            far too large.

        Raises
        ------
        ArgumentError
            If level is not between 0 and 1.

        References
        ----------
        Kuznetsova, Brockhoff & Christensen (2017), J. Stat. Softw. 82(13), section 2.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.summary()[["estimate", "df", "t"]].round(2).loc["Days"].tolist()
        [10.47, 17.0, 6.77]
        """
        t = self.fixef / self.se
        half = self.se * stdtrit(self.df, (1 + tables.check_level(level)) / 2)
        note = "singular: boundary variance taken as known" if self.is_singular else ""
        return tables.Printed(
            {
                "estimate": self.fixef,
                "se": self.se,
                "df": self.df,
                "t": t,
                "p": 2 * stdtr(self.df, -t.abs()),
                "lower": self.fixef - half,
                "upper": self.fixef + half,
                "note": note,
            }
        )

    def rlrt(self, parameter: str | None = None, *, n_sim: int = 10_000, seed: int | None = None) -> RLRT:
        """Exact restricted likelihood-ratio test of one group standard deviation being zero.

        Parameters
        ----------
        parameter : str, optional
            The group sd, for instance ``"1|county_sigma"``; the only one by default. It must not be correlated with
            others: ``(x || g)``, not ``(x | g)``.
        n_sim : int, default 10,000
            Draws from the null distribution.
        seed : int, optional
            Of the draws; drawn and kept in the result by default.

        Returns
        -------
        RLRT
            Statistic and p value, of the REML fit without penalty whatever this fit is. With other variance
            components the null distribution is that of the model without them, a good approximation.

        Raises
        ------
        ArgumentError
            If there are several group sds and none is named, or the one named is correlated with others.
        FitError
            With more than 5,000 groups.

        References
        ----------
        Crainiceanu & Ruppert (2004), J. R. Statist. Soc. B 66, 165-185; Greven, Crainiceanu, Kuechenhoff & Peters
        (2008), J. Comput. Graph. Stat. 17, 870-891.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit_frequentist()
        >>> round(fit.rlrt(seed=1).statistic, 3)
        6.369
        """
        return rlrt(self, parameter, n_sim=n_sim, seed=seed)


def _warn_if_below(curve: Curve) -> None:
    lowest = min(curve.evaluations.values(), default=0.0)
    if lowest < -BELOW:
        warn(
            f"the profile of {curve.target.name!r} found a deviance {-lowest:.2g} below the optimum's: the fit is not "
            "at the largest likelihood, and the profile is measured from too high a point",
            ConvergenceWarning,
            stacklevel=4,
        )

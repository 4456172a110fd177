"""The pooling study: fits of one question side by side, their table, findings, pictures and report.

Long for its docstrings: most methods are doors to modules of their own.
"""

import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from poolwise.check.between_within import between_within
from poolwise.check.few_rows import too_few_rows
from poolwise.check.finding import Finding, Findings
from poolwise.check.likelihood import not_maximised, separation
from poolwise.check.loo import unreliable_elpd
from poolwise.check.priors import prior_findings
from poolwise.check.sampling import not_converged
from poolwise.check.singular import singular_fit
from poolwise.check.vanishing import vanishing_intervals
from poolwise.compare.shrinkage import shrinkage_table
from poolwise.errors import ArgumentError, RowsNeededError
from poolwise.model import Model
from poolwise.result import scores
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM
from poolwise.result.pointwise import fits_memory
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.rowless import refuse_rows

COMPLETE, NONE, REML, SIMPLER, BAYES = "complete", "none", "partial_reml", "partial_reml_intercept", "partial_bayes"
LAPLACE, LAPLACE_SIMPLER = "partial_laplace", "partial_laplace_intercept"
LABELS = {
    COMPLETE: "complete pooling (least squares)",
    NONE: "no pooling (least squares a group)",
    REML: "partial pooling (REML)",
    SIMPLER: "partial pooling (REML, intercepts only)",
    BAYES: "partial pooling (Bayesian)",
}
# Families other than the Gaussian.
LIKELIHOOD_LABELS = {
    COMPLETE: "complete pooling (maximum likelihood)",
    NONE: "no pooling (maximum likelihood a group)",
    LAPLACE: "partial pooling (Laplace)",
    LAPLACE_SIMPLER: "partial pooling (Laplace, intercepts only)",
    BAYES: "partial pooling (Bayesian)",
}
Fit = FrequentistFit | NoPoolingFit | GLMMFit | NoPoolingGLM | BayesFit


class PoolingStudy:
    """What pooling did: fits of one formula by :func:`compare_pooling`.

    Parameters
    ----------
    model : Model
        The partial-pooling model.
    fits : dict of str to fit
        By name: complete, none, partial_reml, partial_bayes, and partial_reml_intercept where partial_reml is singular;
        of families other than the Gaussian partial_laplace and partial_laplace_intercept.
    scores : DataFrame
        Held-out errors, one row a fit: rmse_kfold, rmse_new_groups, of binary responses and trials also the Brier score
        and the log loss.
    folds : str
        How they were made, in words.

    Attributes
    ----------
    elpd : float
        Expected log predictive density of the Bayesian fit; NaN where rows times draws exceed memory, and from sums.
    findings : Findings
        What failed silently, with evidence and advice; empty when nothing did.
    left_out : list of str
        What needs rows, and was left out because there are sums in their place.

    Examples
    --------
    >>> import poolwise as pw
    >>> study = pw.compare_pooling(
    ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
    ... )
    >>> study.table["rmse"].round(1).tolist()
    [47.4, 22.9, 23.4, 23.3]
    """

    def __init__(self, model: Model, fits: dict[str, Fit], scores: pd.DataFrame, folds: str):
        self.model, self.fits, self.scores, self.folds = model, fits, scores, folds
        self.left_out: list[str] = []
        partial, bayes, none = self.partial, self.bayes, self.none
        found = [*not_converged(bayes), *singular_fit(partial), *vanishing_intervals(partial, bayes)]
        found += too_few_rows(none)
        found += self._of_rows("between_within", lambda: between_within(partial))
        if isinstance(partial, GLMMFit) and isinstance(none, NoPoolingGLM) and isinstance(self.complete, GLMMFit):
            found += [*separation(self.complete, none, partial), *not_maximised(none, partial)]
        found += prior_findings(model.specification, partial)
        self.elpd = float("nan")
        found += self._of_rows("elpd", self._set_elpd)
        self.findings = Findings(found)

    def _set_elpd(self) -> list[Finding]:
        if self.model.design.source is not None:
            refuse_rows("the response of each row")
        if not fits_memory(self.bayes):
            return []
        with warnings.catch_warnings():
            # What the warning says stands in the finding, with the rows.
            warnings.simplefilter("ignore", UserWarning)
            loo = self.bayes.loo(pointwise=True)
        self.elpd = float(loo.elpd)
        return unreliable_elpd(loo)

    def _of_rows(self, name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
        """What a check finds; nothing, and its name noted, where it needs rows and there are sums."""
        try:
            return check()
        except RowsNeededError:
            self.left_out.append(name)
            return []

    @property
    def partial(self) -> FrequentistFit | GLMMFit:
        """The frequentist partial-pooling fit: by REML, or by the Laplace approximation."""
        return self.fits[REML if REML in self.fits else LAPLACE]  # type: ignore[return-value]

    @property
    def reml(self) -> FrequentistFit:
        """The partial-pooling fit by REML, of a Gaussian response."""
        if REML not in self.fits:
            raise AttributeError("REML is for Gaussian responses; this study has a fit by Laplace, study.laplace")
        return self.fits[REML]  # type: ignore[return-value]

    @property
    def laplace(self) -> GLMMFit:
        """The partial-pooling fit by the Laplace approximation, of a family other than the Gaussian."""
        if LAPLACE not in self.fits:
            raise AttributeError("this study is of a Gaussian response, and has a fit by REML, study.reml")
        return self.fits[LAPLACE]  # type: ignore[return-value]

    @property
    def bayes(self) -> BayesFit:
        """The Bayesian partial-pooling fit."""
        return self.fits[BAYES]  # type: ignore[return-value]

    @property
    def none(self) -> NoPoolingFit | NoPoolingGLM:
        """One regression a group."""
        return self.fits[NONE]  # type: ignore[return-value]

    @property
    def complete(self) -> FrequentistFit | GLMMFit:
        """One regression, groups ignored."""
        return self.fits[COMPLETE]  # type: ignore[return-value]

    @property
    def factor(self) -> GroupingFactor:
        """The grouping factor."""
        return self.model.design.factors[0]

    @property
    def table(self) -> pd.DataFrame:
        """One row a fit: errors in sample and held out, elpd, mean width of the 95 % intervals, singular or not.

        rmse_kfold is of rows of known groups, rmse_new_groups of groups left out whole. elpd (PSIS-LOO) is defined for
        the Bayesian fit only. From sums with folds there is elpd_kfold in its place: the log predictive density of the
        rows that each group has in a fold, taken together, summed over groups and folds; another number than elpd.
        width_<term> is the mean width of the groups' intervals: total for REML and Laplace, the posterior's for Bayes,
        the regressions' own otherwise; of infinite estimates, NaN, the mean does without. Errors are on the scale of
        the response (shares of the trials, probabilities, counts), widths on that of the link. Of binary responses and
        trials there are also brier and log_loss, the mean over single trials.
        """
        rows = []
        for name, fit in self.fits.items():
            row = {
                "fit": name,
                "rmse": fit.rmse(),
                **_of_trials(fit),
                **self.scores.loc[name].to_dict(),
                "elpd": self.elpd if name == BAYES else np.nan,
            }
            coef = fit.coef()
            for term in self.factor.effects:
                part = coef[coef["term"] == term]
                row[f"width_{term}"] = float((part["upper"] - part["lower"]).mean()) if len(part) else np.nan
            rows.append({**row, "singular": bool(fit.is_singular)})
        return pd.DataFrame(rows).set_index("fit")

    def coef(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficients of each group under every fit and every kind of interval, long.

        Parameters
        ----------
        level : float, default 0.95

        Returns
        -------
        DataFrame
            Columns fit, interval, factor, group, term, estimate, lower, upper, n.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> study.coef().shape
        (146, 9)
        """
        parts = []
        for name, fit in self.fits.items():
            for kind in fit.intervals:
                table = fit.coef(kind, level)
                table.insert(0, "interval", "separate" if name == COMPLETE else kind)
                table.insert(0, "fit", name)
                if name != COMPLETE or kind == "total":
                    parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def shrinkage(self) -> pd.DataFrame:
        """Between which estimates each group stands, and its pooling factor.

        Returns
        -------
        DataFrame
            Columns group, term, n, no_pooling, complete_pooling, partial_reml (or partial_laplace), partial_bayes,
            lower, upper, pooling_factor (1 complete, 0 none); on the scale of the link.

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> bool(study.shrinkage()["pooling_factor"].between(0, 1).all())
        True
        """
        name = "partial_reml" if REML in self.fits else "partial_laplace"
        return shrinkage_table(self.none.coef(), self.complete.fixef, self.partial, self.bayes, name)

    def plot_estimates(self, **options: Any):
        """Estimates and intervals of every group under every fit; see :func:`poolwise.plots.plot_estimates`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_estimates` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_estimates()
        """
        from poolwise.plot.estimates import plot_estimates

        return plot_estimates(self, **options)

    def plot_lines(self, **options: Any):
        """Each group's rows and regression lines; see :func:`poolwise.plots.plot_lines`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_lines` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_lines()
        """
        from poolwise.plot.lines import plot_lines

        return plot_lines(self, **options)

    def plot_arrows(self):
        """How far each group is pulled, two effects at a time; see :func:`poolwise.plots.plot_arrows`.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_arrows()
        """
        from poolwise.plot.arrows import plot_arrows

        return plot_arrows(self)

    def plot_forest(self, **options: Any):
        """A term's coefficients, a panel a fit; see :func:`poolwise.plots.plot_forest`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_forest` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_forest()
        """
        from poolwise.plot.forest import plot_forest

        return plot_forest(self, **options)

    def plot_sizes(self, **options: Any):
        """Estimates, intervals and widths against group size; see :func:`poolwise.plots.plot_sizes`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_sizes` has them.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_sizes()
        """
        from poolwise.plot.sizes import plot_sizes

        return plot_sizes(self, **options)

    def plot_scores(self):
        """Errors in sample and held out, and elpd, as dots; see :func:`poolwise.plots.plot_scores`.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_scores()
        """
        from poolwise.plot.scores import plot_scores

        return plot_scores(self)

    def plot_group_sds(self):
        """Profile likelihood beside the posterior of each group sd; see :func:`poolwise.plots.plot_group_sds`.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> figure = study.plot_group_sds()
        """
        from poolwise.plot.group_sd import plot_group_sds

        return plot_group_sds(self)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file about the study; see :func:`poolwise.write_report`.

        Parameters
        ----------
        path : str or Path
            Where to; the folder must exist.

        Returns
        -------
        Path
            Of the file.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> with TemporaryDirectory() as folder:
        ...     size = study.report(Path(folder) / "study.html").stat().st_size
        >>> size > 10_000
        True
        """
        from poolwise.report.write import write_report

        return write_report(self, path)

    def animate(self, path: str | Path, predictor: str | None = None) -> Path:
        """Write the groups' lines moving from complete to no to partial pooling.

        Parameters
        ----------
        path : str or Path
            Ending in ``.gif``, or in ``.html``: a page with a slider that needs nothing else.
        predictor : str, optional
            A numeric column; by default the first that the formula uses.

        Returns
        -------
        Path

        Raises
        ------
        ArgumentError
            For another ending, or where there is no numeric predictor.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> with TemporaryDirectory() as folder:
        ...     written = study.animate(Path(folder) / "lines.html").exists()
        >>> written
        True
        """
        from poolwise.plot.animation import write_gif
        from poolwise.report.motion import write_slider

        writers = {".gif": write_gif, ".html": write_slider}
        ending = Path(path).suffix.lower()
        if ending not in writers:
            raise ArgumentError(f"an animation is written as .gif or .html; got {str(path)!r}")
        return writers[ending](self, path, predictor)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables as CSV, the findings as text and the posterior as NetCDF; returns the files.

        Parameters
        ----------
        folder : str or Path
            Where to; made where it is not there.

        Returns
        -------
        list of Path
            The files.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import poolwise as pw
        >>> study = pw.compare_pooling(
        ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
        ... )
        >>> with TemporaryDirectory() as folder:
        ...     files = [path.name for path in study.save(folder)]
        >>> files
        ['table.csv', 'coef.csv', 'shrinkage.csv', 'findings.txt', 'posterior.nc']
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"table": self.table.reset_index(), "coef": self.coef(), "shrinkage": self.shrinkage()}
        files = []
        for name, table in tables.items():
            files.append(folder / f"{name}.csv")
            table.to_csv(files[-1], index=False)
        files.append(folder / "findings.txt")
        files[-1].write_text(repr(self.findings) + "\n", encoding="utf-8")
        files.append(self.bayes.save(folder / "posterior.nc"))
        return files

    def _head(self) -> str:
        sizes = self.factor.sizes
        return (
            f"Pooling study of {self.model.design.formula.text}\n"
            f"{self.model.design.n} rows in {self.factor.J} groups of {self.factor.name} "
            f"({sizes.min()} to {sizes.max()} rows); priors {self.model.specification.preset.name}; {self.folds}"
            + (f"\n{self.without_rows}" if self.left_out else "")
        )

    @property
    def without_rows(self) -> str:
        """What is not here because it needs rows, in words; empty where there are rows."""
        if not self.left_out:
            return ""
        return f"From sums of rows; left out, because it needs the rows: {', '.join(self.left_out)}."

    def _shown(self) -> pd.DataFrame:
        table = self.table.rename(index=self.labels).rename_axis(None)
        for old, new in (("rmse", "RMSE"), ("brier", "Brier"), ("log_loss", "log loss")):
            added = {"": "", "_kfold": " k-fold", "_new_groups": " new groups"}
            table = table.rename(columns={old + key: new + said for key, said in added.items()})
        return table.rename(columns={"elpd_kfold": "elpd k-fold"})

    @property
    def labels(self) -> dict[str, str]:
        """The fits in words, by name."""
        return LABELS if REML in self.fits else LIKELIHOOD_LABELS

    def __repr__(self) -> str:
        table = self._shown().to_string(float_format="%.4g", na_rep="-")
        columns = (
            "RMSE in sample, of held-out rows of known groups (k-fold) and of groups left out whole;\n"
            "elpd by PSIS-LOO; width: mean 95 % interval of the groups' coefficients; -: not defined\n"
            "(without pooling nothing is known of a new group; a fold may hold all rows of a level)."
        )
        if "elpd_kfold" in self.scores:
            columns += (
                "\nelpd k-fold: log density of the rows of a group in a fold together (of counts, of a cell);"
                "\nnot comparable with PSIS-LOO."
            )
        if LAPLACE in self.fits:
            columns += "\nErrors are on the scale of the response, widths on that of the link."
        return f"{self._head()}\n\n{table}\n\n{columns}\n\n{self.findings!r}"

    def _repr_html_(self) -> str:
        head = "<br>".join(map(escape, self._head().splitlines()))
        table = self._shown().to_html(float_format="%.4g", na_rep="–", escape=True)
        return f"<p>{head}</p>{table}{self.findings._repr_html_()}"


def _of_trials(fit: Fit) -> dict[str, float]:
    if not isinstance(fit, scores.Scored) or fit.design.family.holds not in scores.BINARY:
        return {}
    return {"brier": fit.brier(), "log_loss": fit.log_loss()}

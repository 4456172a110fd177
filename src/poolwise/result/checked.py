"""The doors from a fit to the checks and the report, which stand in layers above."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from poolwise.check.finding import Findings
    from poolwise.check.held_out import KFold
    from poolwise.check.settings import CheckSettings
    from poolwise.result.bayes import BayesFit
    from poolwise.workers import Client


class Checked:
    """A fit that can be checked and reported."""

    def check(self: Any, settings: "CheckSettings | None" = None) -> "Findings":
        """Run every check that suits this fit; see :func:`poolwise.checks.check`.

        Parameters
        ----------
        settings : CheckSettings, optional
            Thresholds, and what findings do.

        Returns
        -------
        Findings
            The most severe first.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.check().codes
        []
        """
        from poolwise.check.run import check

        return check(self, settings)

    def report(self: Any, path: "str | Path") -> "Path":
        """Write one self-contained HTML file about the fit; see :func:`poolwise.write_report`.

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
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> with TemporaryDirectory() as folder:
        ...     size = fit.report(Path(folder) / "fit.html").stat().st_size
        >>> size > 10_000
        True
        """
        from poolwise.report.write import write_report

        return write_report(self, path)

    def plot_estimates(self: Any, **options: Any) -> "Figure":
        """Estimates and intervals of every group; see :func:`poolwise.plots.plot_estimates`.

        Parameters
        ----------
        **options
            As :func:`poolwise.plots.plot_estimates` has them: level, and factor where there are several.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ArgumentError
            For a fit without groups.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> figure = fit.plot_estimates()
        """
        from poolwise.plot.estimates import plot_estimates

        return plot_estimates(self, **options)


class Continued:
    """A posterior that more draws are added to."""

    def extend(self: Any, draws: int = 1000, *, progress: bool = True, cores: int | None = None) -> "BayesFit":
        """Continue every chain with more draws; see :func:`poolwise.resume` for runs that were stopped.

        Fresh chains, warmed up anew, make them; each is put behind a chain of this fit. Their seed is the first 63 bits
        of ``numpy.random.SeedSequence(seed, spawn_key=(n,))``, seed that of the fit and n its number of draws over
        all chains, so that the same fit is always extended alike.

        Parameters
        ----------
        draws : int, default 1000
            More draws a chain.
        progress : bool, default True
            Show progress.
        cores : int, optional
            Chains side by side; those of the fit by default.

        Returns
        -------
        BayesFit
            With the draws of this fit, which does not change, and the new ones behind them; R-hat, effective sizes and
            divergences are over all of them.

        Raises
        ------
        FitError
            If independent draws cannot be added, as their importance weights are not to be trusted.

        Warns
        -----
        ConvergenceWarning
            If R-hat, effective sample sizes or divergences of all draws are beyond their limits.
        PartialRunWarning
            If the run was interrupted: every chain has the draws made until then.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> longer = model.fit(seed=1, progress=False).extend(500, progress=False)
        >>> longer.posterior.sizes["draw"]
        1500
        """
        from poolwise.continuing import extend

        return extend(self, draws, progress=progress, cores=cores)


class CrossValidated:
    """A posterior that is refitted to parts of its rows."""

    def kfold(
        self: Any,
        k: int = 10,
        *,
        by: str = "rows",
        seed: int | None = None,
        workers: int = 1,
        client: "Client | None" = None,
    ) -> "KFold":
        """Predict each fold of rows, or of groups, from a refit to the others; see :func:`poolwise.checks.kfold`.

        Parameters
        ----------
        k : int, default 10
            Number of folds.
        by : str, default "rows"
            "rows", or the grouping factor whose groups are left out whole.
        seed : int, optional
            Of the folds and refits.
        workers : int, default 1
            Processes side by side; they do not change the result.
        client : dask.distributed.Client, optional
            Runs the refits on its workers; anything with ``submit(function, ...)`` will do. The result is the same.

        Returns
        -------
        KFold
            ``elpd``, ``se``, ``table``, ``difference(other)``.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> held = fit.kfold(2, by="Subject", seed=1)
        >>> held.table.shape
        (180, 3)
        """
        from poolwise.check.held_out import kfold

        return kfold(self, k, by=by, seed=seed, workers=workers, client=client)

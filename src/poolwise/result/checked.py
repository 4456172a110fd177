"""The door from a fit to the checks, which stand in a layer above."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolwise.check.finding import Findings
    from poolwise.check.held_out import KFold
    from poolwise.check.settings import CheckSettings


class Checked:
    """A fit that can be checked."""

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
        """
        from poolwise.check.run import check

        return check(self, settings)


class CrossValidated:
    """A posterior that is refitted to parts of its rows."""

    def kfold(self: Any, k: int = 10, *, by: str = "rows", seed: int | None = None) -> "KFold":
        """Predict each fold of rows, or of groups, from a refit to the others; see :func:`poolwise.checks.kfold`.

        Parameters
        ----------
        k : int, default 10
            Number of folds.
        by : str, default "rows"
            "rows", or the grouping factor whose groups are left out whole.
        seed : int, optional
            Of the folds and refits.

        Returns
        -------
        KFold
            ``elpd``, ``se``, ``table``, ``difference(other)``.
        """
        from poolwise.check.held_out import kfold

        return kfold(self, k, by=by, seed=seed)

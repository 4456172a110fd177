"""The door from a fit to the checks, which stand in a layer above."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolwise.check.finding import Findings
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

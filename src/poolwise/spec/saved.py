"""The door from sums and counts to their file."""

from pathlib import Path
from typing import Any


class Saved:
    """Sums or counts in place of rows, which a file can hold."""

    def save(self: Any, path: str | Path) -> Path:
        """Write the sums or counts, no rows, to one small file; :func:`poolwise.load_collapsed` reads it.

        Parameters
        ----------
        path : str or Path
            An existing file is replaced once the new one is complete.

        Returns
        -------
        Path

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import poolwise as pw
        >>> sums = pw.collapse(pw.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)")
        >>> with TemporaryDirectory() as folder:
        ...     again = pw.load_collapsed(sums.save(Path(folder) / "sleep.sums"))
        >>> again.n == sums.n
        True
        """
        from poolwise.spec.collapsed_file import save_collapsed

        return save_collapsed(self, path)

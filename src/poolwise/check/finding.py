"""What every check returns."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Severity = Literal["note", "warning", "serious"]
_ORDER = {"serious": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """Something a check noticed, with its evidence and advice.

    Parameters
    ----------
    code : str
        Stable name, for instance ``singular_fit``.
    severity : {"note", "warning", "serious"}
        How much it matters.
    title : str
        One sentence with the numbers.
    value, threshold : float
        What was measured, and beyond what it counts.
    meaning : str
        What it means for the conclusions.
    advice : str
        What to do.
    reference : str
        Where this is explained.
    table : DataFrame
        The evidence.
    figure : DataFrame
        What :meth:`plot` draws; without rows where a finding has no picture.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
    >>> finding = pw.checks.singular_fit(model.fit_frequentist())[0]
    >>> finding.code, finding.severity
    ('singular_fit', 'serious')
    """

    code: str
    severity: Severity
    title: str
    value: float
    threshold: float
    meaning: str
    advice: str
    reference: str
    table: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)
    figure: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    @property
    def section(self) -> str:
        """Where the documentation says what to do next: the page and its section."""
        return f"docs/howto/findings.md#{self.code}"

    def plot(self) -> "Figure":
        """Draw the finding's figure; see :func:`poolwise.plots.plot_finding`.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ArgumentError
            For a finding without a picture.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> found = pw.checks.vanishing_intervals(model.fit_frequentist(), fit)
        >>> figure = found[0].plot()
        """
        from poolwise.plot.finding import plot_finding

        return plot_finding(self)

    def __str__(self) -> str:
        parts = [f"{self.severity.upper()}  {self.code}: {self.title}"]
        said = {"means": self.meaning, "do": self.advice, "see": self.reference, "next": self.section}
        for label, text in said.items():
            parts.append(fill(text, 110, initial_indent=f"  {label:<6} ", subsequent_indent=" " * 9))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        return (
            f"<p><b>{escape(self.code)}</b> ({escape(self.severity)}): {escape(self.title)}<br>"
            f"{escape(self.meaning)}<br><i>{escape(self.advice)}</i><br>"
            f"<small>{escape(self.reference)}; {escape(self.section)}</small></p>"
        )


class Findings(list[Finding]):
    """A list of findings that reads well; the most severe first.

    Parameters
    ----------
    findings : iterable of Finding
    not_applicable : iterable of str
        Checks that were not run because they need a frequentist fit, which the model does not have.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
    >>> findings = model.fit_frequentist().check()
    >>> findings.codes
    ['singular_fit']
    >>> findings.frame.columns.tolist()
    ['code', 'severity', 'title', 'value', 'threshold', 'advice']
    """

    def __init__(self, findings: Iterable[Finding] = (), not_applicable: Iterable[str] = ()):
        super().__init__(sorted(findings, key=lambda finding: _ORDER[finding.severity]))
        self.not_applicable = tuple(not_applicable)

    @property
    def codes(self) -> list[str]:
        """The codes, in order."""
        return [finding.code for finding in self]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a finding: code, severity, title, value, threshold, advice."""
        columns = ["code", "severity", "title", "value", "threshold", "advice"]
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in self], columns=columns)

    @property
    def not_applicable_in_words(self) -> str:
        """One line about the checks that were not run; empty where all were."""
        if not self.not_applicable:
            return ""
        return f"Not applicable here: {', '.join(self.not_applicable)} (the model has no frequentist fit)."

    def __repr__(self) -> str:
        said = "\n\n".join(map(str, self)) if self else "No findings."
        return said + (f"\n{self.not_applicable_in_words}" if self.not_applicable else "")

    def _repr_html_(self) -> str:
        said = "".join(finding._repr_html_() for finding in self) or "<p>No findings.</p>"
        return said + (f"<p>{escape(self.not_applicable_in_words)}</p>" if self.not_applicable else "")

"""From sections to one file, whole or not at all."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from poolwise import __version__
from poolwise.compare.study import PoolingStudy
from poolwise.data.whole_file import check_place, write_whole
from poolwise.errors import ArgumentError
from poolwise.report.blocks import Section
from poolwise.report.frequentist import frequentist_sections
from poolwise.report.sections import fit_sections
from poolwise.report.study import study_sections
from poolwise.report.text import shown
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit


def write_report(source: PoolingStudy | BayesFit | FrequentistFit | GLMMFit, path: str | Path) -> Path:
    """Write a study or a fit as one HTML file that needs nothing else.

    Parameters
    ----------
    source : PoolingStudy, BayesFit, FrequentistFit or GLMMFit
    path : str or Path
        Where to; the folder must exist. An existing file is replaced once the new one is complete.

    Returns
    -------
    Path

    Raises
    ------
    ArgumentError
        For something else than a study or a fit.
    StoreError
        If it cannot be written; an earlier file is then untouched.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import poolwise as pw
    >>> study = pw.compare_pooling(
    ...     "Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), seed=1, progress=False
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     size = pw.write_report(study, Path(folder) / "study.html").stat().st_size
    >>> size > 10_000
    True
    """
    check_place(path, "the report")
    if isinstance(source, PoolingStudy):
        formula, sections = source.model.design.formula.text, study_sections(source)
        title = "Pooling study"
    elif isinstance(source, BayesFit):
        formula, sections = source.design.formula.text, fit_sections(source)
        title = "Bayesian fit"
    elif isinstance(source, FrequentistFit | GLMMFit):
        formula, sections = source.design.formula.text, frequentist_sections(source)
        title = "Frequentist fit"
    else:
        raise ArgumentError(f"a report is of a pooling study or of a fit; got {type(source).__name__}")
    return write_page(path, f"{title} of {shown(formula, 200)}", sections)


def write_page(path: str | Path, title: str, sections: list[Section]) -> Path:
    """Write sections as one page, whole or not at all; see :func:`write_report`."""
    return write_whole(path, render(title, sections).encode("utf-8", errors="replace"), "the report")


def render(title: str, sections: list[Section]) -> str:
    """The page: everything inline, and a security policy that allows nothing else."""
    environment = _environment()
    style, script = _asset("style.css"), _asset("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        sections=sections,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=__version__,
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("poolwise", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

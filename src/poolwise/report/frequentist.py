"""The sections about a frequentist fit: question, findings, data, model, estimates, effects, methods, versions."""

import platform
from typing import Any

import pandas as pd

from poolwise.report import sections as about
from poolwise.report.blocks import Facts, Items, Section, Text
from poolwise.report.mathematics import model_equations
from poolwise.report.methods import PACKAGES, REFERENCES, design_in_words, rows_used, version_of
from poolwise.report.tables import Table
from poolwise.report.text import shown
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit

# Rows up to which each parameter's likelihood is profiled: some tens of refits.
PROFILED_ROWS = 20_000
FIT = {"log-likelihood": "loglik", "AIC": "aic", "BIC": "bic"}
VARCORR = "Standard deviations between groups and of the residuals, and the correlations of effects."
HEADS = {"var1": "effect", "var2": "with", "vcov": "variance or covariance", "sdcor": "sd or correlation"}


def frequentist_sections(fit: FrequentistFit | GLMMFit) -> list[Section]:
    """The report of one frequentist fit.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit

    Returns
    -------
    list of Section
    """
    places = about.group_places(fit.design)
    found = [
        about.question(fit),
        about.findings_section(fit.check()),
        about.data_by_group(fit, places),
        Section("model", "The model in mathematics", [model_equations(fit.design, ())]),
        _estimates(fit),
    ]
    if fit.design.factors:
        found.append(_groups(fit, places))
    return [*found, _methods(fit), _versions(fit)]


def _estimates(fit: FrequentistFit | GLMMFit) -> Section:
    blocks: list[Any] = [Text(f"Fitted by {fit.method}.")]
    if fit.is_singular:
        blocks.append(
            Text(
                "The fit is singular: a standard deviation between groups is estimated as zero, or a correlation as "
                "one. Conditional intervals of the groups then say nothing of what is unknown."
            )
        )
    facts = [(name, f"{getattr(fit, key):,.2f}") for name, key in FIT.items()]
    blocks.append(Facts((*facts, ("RMSE in sample", f"{fit.rmse():.4g}"))))
    heads = {"se": "standard error", "lower": "lower 95 %", "upper": "upper 95 %", "parameter": "effect"}

    def common():
        table = fit.summary().rename_axis("parameter").reset_index()
        if "note" in table and not table["note"].any():
            table = table.drop(columns="note")
        return Table("common", "Common effects.", table, heads)

    blocks.append(about.attempt(common))
    if fit.design.factors:
        blocks.append(Table("varcorr", VARCORR, fit.varcorr.fillna(""), HEADS))
    if isinstance(fit, FrequentistFit) and fit.design.factors and fit.design.n <= PROFILED_ROWS:

        def profiled():
            caption = "Profile-likelihood intervals, of common effects and variance parameters alike."
            return Table("profile", caption, fit.confint("profile"), heads | {"parameter": "parameter"})

        blocks.append(about.attempt(profiled))
    return Section("estimates", "Estimates", blocks)


def _groups(fit: FrequentistFit | GLMMFit, places: dict[str, int]) -> Section:
    def table(factor: str) -> Table:
        own = coefficients[coefficients["factor"] == factor].drop(columns="factor")
        caption = (
            f"Coefficients of each group of {shown(factor, 40)}, common plus group-specific effects; the intervals "
            "are total ones, of both."
        )
        first = places if factor == fit.design.factors[0].name else {}
        return Table(f"coef_{about.file_name(factor)}", caption, own, about.ESTIMATES, "group", first)

    coefficients: pd.DataFrame = fit.coef()
    return Section("groups", "Coefficients by group", [table(factor.name) for factor in fit.design.factors])


def _methods(fit: FrequentistFit | GLMMFit) -> Section:
    design = fit.design
    text = (
        f"{design_in_words(design, 'a mixed-effects model')} It was fitted by {fit.method} (Bates et al. 2015). "
        "Intervals of the groups' coefficients are total ones, of common and group-specific effects together "
        "(Henderson 1975). "
        f"Computations used poolwise {version_of('poolwise')} and Python {platform.python_version()}."
    )
    return Section("methods", "Methods, with citations", [Text(text), Items((REFERENCES["lme4"], REFERENCES["total"]))])


def _versions(fit: FrequentistFit | GLMMFit) -> Section:
    facts = [("rows used", rows_used(fit.design)), *((name, version_of(name)) for name in PACKAGES)]
    return Section("versions", "Versions", [Facts((*facts, ("Python", platform.python_version())))])

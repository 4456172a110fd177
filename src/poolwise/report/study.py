"""The report of a study: the fits side by side, what pooling did, and all that concerns its posterior."""

from typing import Any

import pandas as pd

from poolwise.compare.study import PoolingStudy
from poolwise.plot.arrows import plot_arrows
from poolwise.plot.forest import plot_forest
from poolwise.plot.group_sd import plot_group_sds
from poolwise.plot.lines import plot_lines
from poolwise.plot.pooling_factor import plot_pooling
from poolwise.plot.scores import plot_scores
from poolwise.plot.sizes import plot_sizes
from poolwise.report import sections as about
from poolwise.report.blocks import Downloads, Section, Text, chart
from poolwise.report.intervals import interval_marks
from poolwise.report.motion import motion
from poolwise.report.tables import Table
from poolwise.report.text import shown
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM

HEADS = {
    "rmse": "RMSE",
    "rmse_kfold": "RMSE k-fold",
    "elpd_kfold": "elpd k-fold",
    "rmse_new_groups": "RMSE new groups",
    "brier": "Brier",
    "log_loss": "log loss",
    "brier_kfold": "Brier k-fold",
    "brier_new_groups": "Brier new groups",
    "log_loss_kfold": "log loss k-fold",
    "log_loss_new_groups": "log loss new groups",
    "no_pooling": "no pooling",
    "complete_pooling": "complete pooling",
    "partial_reml": "REML",
    "partial_laplace": "Laplace",
    "partial_bayes": "Bayesian",
    "pooling_factor": "pooling factor",
    "lower": "lower 95 %",
    "upper": "upper 95 %",
}


def study_sections(study: PoolingStudy) -> list[Section]:
    """The report of a pooling study.

    Parameters
    ----------
    study : PoolingStudy

    Returns
    -------
    list of Section
    """
    fit, places = study.bayes, about.group_places(study.model.design)
    return [
        about.question(fit, study.model),
        about.findings_section(study.findings),
        _data(study, places),
        about.model_section(fit),
        about.priors_section(fit),
        about.convergence_section(fit),
        _fits(study),
        _shrinkage(study, places),
        _intervals(study, places),
        about.predictive_section(fit, about.calibration(fit)),
        _sensitivity(study),
        about.methods_section(fit, study),
        about.versions_section(fit),
    ]


def _groups(study: PoolingStudy) -> str:
    return f"{study.factor.J:,} groups of {shown(study.factor.name, 40)}"


def _data(study: PoolingStudy, places: dict[str, int]) -> Section:
    section = about.data_by_group(study.bayes, places)
    alt = f"Rows and regression lines of the {_groups(study)}, a panel a group, under complete, no and partial pooling."
    caption = "Dotted: one line for all. Dashed: a line a group. Solid, with its 95 % interval: partial pooling."
    lines = chart(lambda: plot_lines(study), alt, caption)
    moving = about.attempt(lambda: motion(study, places))
    return Section(section.name, section.title, [*section.blocks, lines, moving])


def _fits(study: PoolingStudy) -> Section:
    labels = study.labels
    table = study.table.reset_index()
    table["fit"] = [labels[name] for name in table["fit"]]
    widths = {
        name: f"width {shown(name.removeprefix('width_'), 40)}" for name in table if str(name).startswith("width_")
    }
    caption = (
        "Errors in sample, of held-out rows of known groups and of groups left out whole; elpd by PSIS-LOO; mean width "
        "of the groups' 95 % intervals. A dash: not defined."
    )
    common = pd.DataFrame(
        {
            "effect": list(study.bayes.fixef.index),
            **{
                labels[name]: fit.fixef.reindex(study.bayes.fixef.index).to_numpy()
                for name, fit in study.fits.items()
                if not isinstance(fit, NoPoolingFit | NoPoolingGLM)
            },
        }
    )
    forest = (
        f"Coefficients of the {_groups(study)}, a panel a fit: complete pooling, no pooling, partial pooling by "
        f"{'REML' if study.model.design.collapses else 'Laplace'} and Bayesian."
    )
    dots = "Errors of every fit as dots: in sample, of held-out rows of known groups and of held-out groups."
    reading = "Dotted: complete pooling. Under partial pooling thick bars are conditional, thin ones total intervals."
    blocks: list[Any] = [
        chart(lambda: plot_forest(study), forest, reading),
        chart(lambda: plot_scores(study), dots, "Lower errors are better; elpd is defined for the Bayesian fit only."),
        Table("fits", caption, table, HEADS | widths),
        Text(f"Held out: {study.folds}. {study.without_rows}"),
        Table("common_effects", "Common effects under each fit (no pooling has none).", common),
    ]
    return Section("fits", "The fits side by side", blocks)


def _shrinkage(study: PoolingStudy, places: dict[str, int]) -> Section:
    blocks: list[Any] = []
    if len(study.factor.effects) > 1:
        alt = f"Arrows from own estimates to partial-pooling ones, {_groups(study)}, with the population's ellipses."
        caption = (
            "Arrows go from no pooling to partial pooling; the ellipses hold half and nine tenths of the population."
        )
        blocks.append(chart(lambda: plot_arrows(study), alt, caption))
    alt = f"Pooling factor of the {_groups(study)} against their number of rows, a panel a varying effect."
    caption = "Small groups borrow more; bars are 95 % intervals of the factor."
    blocks.append(chart(lambda: plot_pooling(study.bayes), alt, caption))
    caption = "Where each group stands between no pooling and complete pooling; pooling factor 1 is complete, 0 none."
    table = study.shrinkage().sort_values(["term", "n"], ascending=[True, False], kind="stable")
    blocks.append(Table("shrinkage", caption, table.reset_index(drop=True), HEADS, "group", places))
    return Section("shrinkage", "Shrinkage", blocks)


def _intervals(study: PoolingStudy, places: dict[str, int]) -> Section:
    coef = study.coef()
    blocks: list[Any] = [
        Text(
            "Three kinds of interval answer three questions: conditional intervals take the common effects and the "
            "variances as known, total ones add the uncertainty of the common effects, Bayesian ones that of the "
            "variances too. Without pooling each group has the interval of its own regression."
        )
    ]
    for number, effect in enumerate(study.factor.effects):
        complete = study.complete.fixef.get(effect)
        blocks.append(interval_marks(coef, effect, number + 1, complete, places))
    alt = f"Estimates and intervals of the {_groups(study)} against their number of rows, a column a kind of interval."
    caption = "Where conditional intervals vanish, total and Bayesian ones say what the data leave open."
    blocks.append(chart(lambda: plot_sizes(study), alt, caption))
    widths = coef[coef["term"].isin(study.factor.effects)].assign(width=coef["upper"] - coef["lower"])
    table = widths.groupby(["term", "fit", "interval"], sort=False)["width"].agg(["mean", "min", "max"]).reset_index()
    table["fit"] = [study.labels[name] for name in table["fit"]]
    heads = {"mean": "mean width", "min": "narrowest", "max": "widest"}
    blocks.append(Table("interval_widths", "Width of the 95 % intervals of the groups' coefficients.", table, heads))
    everything = Table("coef", "All coefficients.", coef.drop(columns="factor"), HEADS)
    blocks.append(Downloads("All coefficients under every fit and kind of interval", everything))
    return Section("intervals", "Intervals of the groups", blocks)


def _sensitivity(study: PoolingStudy) -> Section:
    section = about.sensitivity_section(study.bayes)
    if not study.model.design.collapses:
        return section
    alt = "Profile likelihood, prior and posterior of each standard deviation between groups, with the REML estimate."
    caption = "Where the likelihood holds zero, REML may land there; the posterior weighs all values."
    sds = chart(lambda: plot_group_sds(study), alt, caption)
    return Section(section.name, section.title, [*section.blocks, sds])

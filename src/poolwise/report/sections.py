"""The sections about one posterior: question, data, model, priors, convergence, checks, sensitivity, methods."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.check.finding import Findings
from poolwise.check.predictive import predictive_statistics
from poolwise.errors import PoolwiseError
from poolwise.plot.coverage import plot_coverage
from poolwise.plot.pooling_factor import plot_pooling
from poolwise.plot.predictive import plot_posterior_predictive
from poolwise.plot.updating import plot_prior_to_posterior
from poolwise.report.blocks import Advice, Facts, Items, Section, Text, chart, why
from poolwise.report.mathematics import model_equations
from poolwise.report.methods import paragraph, sampling_in_words, versions
from poolwise.report.tables import Table
from poolwise.report.text import shown
from poolwise.result.bayes import BayesFit
from poolwise.result.convergence import ESS_PER_CHAIN, RHAT_LIMIT
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.variance import contraction
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.parameters import structure_note

Fitted = BayesFit | FrequentistFit | GLMMFit
ESTIMATES = {"estimate": "estimate", "lower": "lower 95 %", "upper": "upper 95 %"}
EVIDENCE_ROWS = 200


def question(fit: Fitted, model=None) -> Section:
    """What was asked, of which rows."""
    design = fit.design
    link = design.family.link
    pairs = [
        ("response", design.formula.response),
        ("family", f"{design.family.name}, {link} link"),
        ("rows", f"{design.n:,}"),
    ]
    for factor in design.factors:
        sizes = factor.sizes
        pairs.append(
            (
                f"groups of {shown(factor.name, 40)}",
                f"{factor.J:,}, of {sizes.min():,} to {sizes.max():,} rows (median {np.median(sizes):g}); "
                f"effects {structure_note(factor)}",
            )
        )
    if design.weights_column:
        pairs.append(("frequency weights" if design.frequency else "precision weights", design.weights_column))
    if model is not None:
        table = model.specification.table
        pairs.append(("rows dropped", table.dropped_in_words or "none"))
        pairs += [("note", note) for note in table.notes]
    pairs += [("alias", f"the term {term!r} is called {alias!r}") for term, alias in design.aliases.items()]
    pairs = [(name, shown(value, 400)) for name, value in pairs]
    blocks = [
        *[Text(shown(one.formula.text, 2000), formula=True) for one in (design, *design.predicted)],
        *[Text(f"As understood: {shown(one.formula.canonical, 2000)}") for one in (design, *design.predicted)],
        Facts(tuple(pairs)),
    ]
    return Section("question", "Question and formula", blocks)


def data_by_group(fit: Fitted, places: dict[str, int]) -> Section:
    """Rows, mean and spread of the response in each group."""
    blocks: list[Any] = []
    design = fit.design
    for factor in design.factors:
        name = shown(factor.name, 40)
        caption = f"The response, {shown(design.formula.response)}, in the groups of {name}, the largest first."
        own = places if factor is design.factors[0] else {}

        def table(factor=factor, caption=caption, own=own):
            return Table(f"data_{file_name(factor.name)}", caption, group_table(design, factor), {}, "group", own)

        blocks.append(attempt(table))
    if not blocks:
        blocks.append(Text("The model has no groups."))
    return Section("data", "Data by group", blocks)


def group_table(design: Design, factor: GroupingFactor) -> pd.DataFrame:
    """A row a group: rows, mean, sd, smallest and largest response, shares of the trials where there are trials."""
    # A row of several groups counts in each.
    member = np.ones((design.n, 1), dtype=bool) if factor.members is None else factor.members.weights > 0
    row, place = np.nonzero(member)
    y = pd.Series(design.outcome.scaled[row]).groupby(factor.codes.reshape(design.n, -1)[row, place])
    found = y.agg(["size", "mean", "std", "min", "max"]).reindex(range(factor.J))
    found.columns = ["n", "mean", "sd", "smallest", "largest"]
    found.insert(0, "group", factor.labels)
    return found.sort_values("n", ascending=False, kind="stable").reset_index(drop=True)


def model_section(fit: BayesFit) -> Section:
    """The model in mathematics."""
    return Section("model", "The model in mathematics", [model_equations(fit.design, fit.resolved_priors)])


def priors_section(fit: BayesFit) -> Section:
    """Each prior with its numbers and where they come from."""
    heads = {"rule": "numbers from the data", "at": "predictors at"}
    caption = "The priors as they were used; a rule says how numbers followed from the data."
    table = fit.priors.assign(role=fit.priors["role"].str.replace("_", " "))
    return Section("priors", "Priors and their sources", [Table("priors", caption, table, heads)])


def convergence_section(fit: BayesFit) -> Section:
    """Whether to read on."""
    found = fit.convergence
    blocks: list[Any] = [Text(str(found).splitlines()[0].removesuffix(":") + ".")]
    if found.problems:
        blocks.append(Items(tuple(found.problems)))
    else:
        blocks.append(
            Text(
                f"No measure is beyond its limit: R-hat {RHAT_LIMIT}, effective sample size {ESS_PER_CHAIN} a chain, "
                "no divergence (Vehtari et al. 2021)."
            )
        )
    blocks.append(Text(f"How it was sampled: {sampling_in_words(fit)}."))
    table = fit.summary().rename_axis("parameter").reset_index()
    heads = {
        "eti95_lb": "lower 95 %",
        "eti95_ub": "upper 95 %",
        "r_hat": "R-hat",
        "ess_bulk": "bulk ESS",
        "ess_tail": "tail ESS",
    }
    blocks.append(Table("summary", "The parameters: posterior, Monte Carlo errors and convergence.", table, heads))
    return Section("convergence", "Convergence", blocks)


def findings_section(findings: Findings) -> Section:
    """What failed silently, the most severe first."""
    if not findings:
        said = f"No check found anything. {findings.not_applicable_in_words}".strip()
        return Section("findings", "Findings", [Text(said)])
    blocks: list[Advice | Text] = []
    for number, one in enumerate(findings):
        evidence = None
        if len(one.table):
            table = one.table if isinstance(one.table.index, pd.RangeIndex) else one.table.reset_index()
            table = table.set_axis([str(name) for name in table.columns], axis="columns").head(EVIDENCE_ROWS)
            evidence = Table(f"finding_{number + 1}_{one.code}", f"Evidence of {one.code}.", table)
        blocks.append(Advice(one, evidence))
    if findings.not_applicable:
        blocks.append(Text(findings.not_applicable_in_words))
    return Section("findings", "Findings, the most severe first", blocks)


def predictive_section(fit: BayesFit, more: list[Any] | None = None) -> Section:
    """Data drawn from the posterior beside the data."""
    blocks: list[Any] = []

    def statistics():
        table = predictive_statistics(fit).reset_index()
        if table.empty:
            return Text(
                "A response of two values, categories or levels has no statistic that the model was not fitted to."
            )
        table["statistic"] = table["statistic"].str.replace("_", " ")
        caption = "Statistics of the data among those of data drawn from the posterior; p near 0 says that they differ."
        return Table(
            "predictive",
            caption,
            table,
            {"replicated": "replicated (median)", "lower": "lower 95 %", "upper": "upper 95 %"},
        )

    name = shown(fit.design.formula.response)
    alt = f"Distribution of {name} in the data and in 50 data sets drawn from the posterior."
    caption = "Black: the data. Where they leave the bundle of replications, the family cannot make them."
    blocks.append(chart(lambda: plot_posterior_predictive(fit), alt, caption))
    blocks.append(attempt(statistics))
    return Section("predictive", "Predictive checks", [*blocks, *(more or [])])


def calibration(fit: BayesFit) -> list[Any]:
    """Calibration by group size, where there are groups."""
    if not fit.design.factors:
        return []
    name = shown(fit.design.factors[0].name, 40)
    alt = f"Share of left-out rows inside predictive intervals, by the size of their group of {name}."
    caption = "Calibrated predictions stand on the dashed lines; bars are 95 % intervals of the shares."
    return [chart(lambda: plot_coverage(fit), alt, caption)]


def sensitivity_section(fit: BayesFit) -> Section:
    """Which conclusions lean on the prior."""

    def scaled():
        table = fit.sensitivity().rename_axis("parameter").reset_index()
        table = table.rename(columns=lambda name: name.replace("_", " "))
        caption = (
            "Power-scaling sensitivity: above 0.05, a parameter moves when a group of priors, or the likelihood, does. "
            "A potential conflict is a place to look, common with few groups; priors that the data exclude are among "
            "the findings."
        )
        return Table("sensitivity", caption, table)

    def learnt():
        caption = "How far the data narrowed each standard deviation between groups: 1 is all learnt, 0 nothing."
        return Table("contraction", caption, contraction(fit))

    blocks = [attempt(scaled)]
    if fit.design.factors:
        blocks.append(attempt(learnt))
        alt = "Prior and posterior density of each standard deviation between groups, and of the residual one."
        caption = "Prior (grey) to posterior: where the two are alike, the data said nothing."
        blocks.append(chart(lambda: plot_prior_to_posterior(fit), alt, caption))
    return Section("sensitivity", "Sensitivity to priors", blocks)


def methods_section(fit: BayesFit, study=None) -> Section:
    """Ready for a paper."""
    text, references = paragraph(fit, study)
    return Section("methods", "Methods, with citations", [Text(text), Items(tuple(references))])


def versions_section(fit: BayesFit) -> Section:
    """What it takes to see the same numbers again."""
    return Section("versions", "Versions and seed", [Facts(tuple(versions(fit)))])


def fit_sections(fit: BayesFit) -> list[Section]:
    """The report of one Bayesian fit.

    Parameters
    ----------
    fit : BayesFit

    Returns
    -------
    list of Section
    """
    places = group_places(fit.design)
    coefficients: list[Any] = []
    for factor in fit.design.factors:
        own = fit.coef(factor=factor.name).drop(columns="factor")
        caption = f"Coefficients of each group of {shown(factor.name, 40)}, common plus group-specific effects."
        first = places if factor is fit.design.factors[0] else {}
        coefficients.append(Table(f"coef_{file_name(factor.name)}", caption, own, ESTIMATES, "group", first))
    groups = [Section("groups", "Coefficients by group", coefficients)] if coefficients else []
    if len(fit.design.factors) == 1:
        groups.append(pooling_section(fit, places))
    return [
        question(fit),
        findings_section(fit.check()),
        data_by_group(fit, places),
        model_section(fit),
        priors_section(fit),
        convergence_section(fit),
        *groups,
        predictive_section(fit, calibration(fit)),
        sensitivity_section(fit),
        methods_section(fit),
        versions_section(fit),
    ]


def pooling_section(fit: BayesFit, places: dict[str, int]) -> Section:
    """How much each group borrows."""

    def table():
        caption = "Pooling factor of each group: 1 is complete pooling, 0 none."
        return Table("pooling", caption, fit.variance().groups.drop(columns="factor"), {}, "group", places)

    alt = "Pooling factor of each group against its number of rows, a panel a varying effect."
    caption = "Small groups borrow more; bars are 95 % intervals of the factor."
    return Section("shrinkage", "Shrinkage", [chart(lambda: plot_pooling(fit), alt, caption), attempt(table)])


def attempt(make: Callable[[], Any]) -> Any:
    """A block, or a sentence that says why it is not there."""
    try:
        with warnings.catch_warnings():
            # What ArviZ warns of, weights that are unreliable, stands among the findings.
            warnings.simplefilter("ignore", UserWarning)
            return make()
    except PoolwiseError as error:
        return Text(f"Not available here: {why(error)}.")


def group_places(design: Design) -> dict[str, int]:
    """Place of each group of the first factor, the same all over the page."""
    return {} if not design.factors else {label: place for place, label in enumerate(design.factors[0].labels)}


def file_name(name: str) -> str:
    """A name for a file: letters and digits."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:40]


def effect_title(effect: str) -> str:
    """A varying effect in words."""
    return "intercepts" if effect == names.INTERCEPT else f"slopes of {shown(effect, 60)}"

"""Does a slope between groups differ from the slope within them: Simpson's paradox, confounding at the level of groups?

A predictor that varies within groups and between them has two slopes. A model with one coefficient gives an average
of the two, complete pooling mostly the one between. Mundlak's device lets them differ: with the group means as a
further predictor,

    y_ij = a + w x_ij + c xbar_j + ...,

w is the slope within, w + c the slope between, and c, the contextual effect, is zero where one coefficient will do.

References
----------
Mundlak (1978), Econometrica 46(1), 69-85; Bell & Jones (2015), Political Science Research and Methods 3(1), 133-153;
Li & Redden (2015), BMC Medical Research Methodology 15, 38, for degrees of freedom between groups; Davison & Hinkley
(1997), Bootstrap Methods and their Application, section 4.4, for the studentised bootstrap.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from poolwise.algebra.basis import dependent_columns
from poolwise.algebra.profiled import profile
from poolwise.check.again import Source, free_name, model_of, quiet_fit, row_weights, with_columns
from poolwise.check.finding import Finding
from poolwise.errors import ArgumentError
from poolwise.fit.bootstrap import parametric_bootstrap
from poolwise.fit.reml import optimise
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit, fit_glmm
from poolwise.result.tables import choose_factor
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.sufficient import sufficient

# Two-sided probability at which the contextual effects count, divided by the number of predictors tested (Bonferroni).
ALPHA = 0.05
# A share of a predictor's variance, between or within, below this is rounding.
VARIES = 1e-8
# With varying slopes and few groups the plug-in standard error is too small: below this p, and above the next, it is
# held against replicates of the fit.
DOUBTFUL, CLEAR, REPLICATES = 0.1, 1e-4, 1000
COLUMNS = [
    *("factor", "term", "complete_pooling", "within", "between"),
    *("contextual", "se", "df", "p", "p_rows", "se_within"),
]


def between_within(
    source: Source, factor: str | None = None, *, alpha: float = ALPHA, complete_pooling: bool = True
) -> list[Finding]:
    """One finding where slopes between groups and within groups differ.

    Parameters
    ----------
    source : Model, FrequentistFit, GLMMFit or BayesFit
        The model in question; it is fitted by REML (or the Laplace approximation) with the group means added.
    factor : str, optional
        Grouping factor; the first by default.
    alpha : float, default 0.05
        Two-sided probability at which a difference counts, over all predictors together.
    complete_pooling : bool, default True
        Whether complete pooling is among the fits in question, as in a pooling study, so that a note says where its
        slope misleads although that of partial pooling does not. ``fit.check()``, about one fit, asks without.

    Returns
    -------
    list of Finding
        Empty or one, code ``between_within``, its table by ``slopes_between_within``. Severity ``warning`` where
        the contextual effect shows beyond what groups that differ at random explain (``serious`` if the signs are
        opposite). ``note`` where it shows only beyond the noise of rows and the complete-pooling slope lies outside
        the interval, of probability 1 - alpha, of the slope within: partial pooling is right then, complete pooling
        is not.

    Raises
    ------
    ArgumentError
        If alpha is not between 0 and 1.
    UnknownNameError
        If there is no such grouping factor.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
    >>> [(finding.code, finding.severity) for finding in between_within(model)]
    [('between_within', 'note')]
    >>> between_within(model, complete_pooling=False)
    []
    """
    if not 0 < alpha < 1:
        raise ArgumentError(f"alpha must lie strictly between 0 and 1, for instance 0.05; got {alpha!r}")
    table = slopes_between_within(source, factor)
    level = alpha / max(len(table), 1)
    contextual = bool((table["p"] < level).any())
    column = "p" if contextual else "p_rows"
    differing = table[table["p"] < level] if contextual or not complete_pooling else table[_misleads(table, level)]
    if differing.empty:
        return []
    row = differing.loc[differing[column].idxmin()]
    opposite = row["within"] * row["between"] < 0
    recipe = "; ".join(table.attrs["recipe"][term] for term in differing["term"])
    separate = f"separate the two with the group means: {recipe}, then {table.attrs['formula']}."
    mixed = (
        f"Groups with a higher mean of {row['term']} differ in level, and complete pooling mixes that with what a "
        f"change of {row['term']} within a group does. "
    )
    if contextual:
        signs = "Here even the signs are opposite. " if opposite else ""
        meaning = (
            f"{mixed}{signs}Partial pooling with one coefficient mixes them too, the more the fewer rows a group has."
        )
        advice = f"{separate[0].upper()}{separate[1:]}"
    else:
        meaning = (
            f"These groups differ in level along their means of {row['term']}, by more than the noise of their rows. "
            f"Among {row['df'] + len(table) + 1} groups that differ at random this happens by chance "
            f"(p = {row['p']:.2f}): it says nothing against partial pooling, but the complete-pooling slope mixes it "
            f"with the slope within and lies outside that one's {100 * (1 - level):.4g} % interval; a prior centred "
            "there would pull the slopes within towards it."
        )
        advice = f"Do not report complete pooling; to {separate}"
    return [
        Finding(
            code="between_within",
            severity=("serious" if opposite else "warning") if contextual else "note",
            title=(
                f"the slope of {row['term']} is {row['between']:.3g} between the groups of {row['factor']} but "
                f"{row['within']:.3g} within them (complete pooling {row['complete_pooling']:.3g})"
            ),
            value=float(row[column]),
            threshold=level,
            meaning=meaning,
            advice=advice,
            reference="Mundlak (1978), Econometrica 46, 69-85; Bell & Jones (2015), PSRM 3, 133-153.",
            table=table,
        )
    ]


def slopes_between_within(source: Source, factor: str | None = None) -> pd.DataFrame:
    """Slopes between groups and within them, of every predictor that varies at both levels.

    Parameters
    ----------
    source : Model, FrequentistFit, GLMMFit or BayesFit
        The model in question.
    factor : str, optional
        Grouping factor; the first by default.

    Returns
    -------
    DataFrame
        A row a column of the common part; columns factor, term, complete_pooling (the coefficient without groups),
        within, between, contextual (between minus within), se and df of the contextual effect, its two-sided p,
        p_rows, the same without groups, whose only noise is that of the rows, and se_within, of the slope within.
        ``attrs``: ``recipe``, how to make each column of group means, ``formula``, the one with all of them, and
        ``converged``, whether its fit did.

    Raises
    ------
    UnknownNameError
        If there is no such grouping factor.
    FitError
        For groups that are no independent draws, ``gr()`` and ``mm()``.

    Notes
    -----
    p is of a t statistic with J - k - 1 degrees of freedom, J groups and k group means: the contextual effect is
    estimated from the J groups however many rows they have. Where slopes vary too, a p below 0.1 is at least that of a
    parametric bootstrap of the statistic (1,000 replicates, seed 1). Predictors whose group means the other columns
    determine are left out.
    """
    model = model_of(source)
    refuse_grouping(model.design, "a slope between and within groups")
    chosen = choose_factor(model.design, factor)
    terms = [] if chosen is None else _both_levels(model.design, chosen)
    if chosen is None or not terms or len(terms) + 1 >= chosen.J:
        return pd.DataFrame(columns=COLUMNS)
    design = model.design
    means = {name: _group_means(design, chosen, design.X[:, k]) for k, name in terms}
    columns = {name: free_name(f"{_plain(name)}_mean", design) for _, name in terms}
    wider = with_columns(model, {columns[name]: values for name, values in means.items()})
    fit = quiet_fit(wider)
    fixef, complete, df = fit.fixef, _complete_pooling(design).fixef, chosen.J - len(terms) - 1
    pooled, rows_df = _complete_pooling(wider.design), design.n - wider.design.X.shape[1]
    rows = []
    for k, name in terms:
        within, contextual = fixef.iloc[k], fixef[columns[name]]
        se = fit.se[columns[name]]
        p = _two_sided(contextual, se, df)
        if chosen.structure.q > 1 and CLEAR < p < DOUBTFUL and type(fit) is FrequentistFit:
            p = max(p, _studentised(fit, columns[name], contextual / se))
        p_rows = _two_sided(pooled.fixef[columns[name]], pooled.se[columns[name]], rows_df)
        both = (complete.iloc[k], within, within + contextual, contextual)
        rows.append((chosen.name, name, *both, se, df, p, p_rows, fit.se.iloc[k]))
    table = pd.DataFrame(rows, columns=COLUMNS)
    by = chosen.columns[0] if len(chosen.columns) == 1 else list(chosen.columns)
    weighted = bool((row_weights(design) != 1).any())
    table.attrs = {
        "recipe": {
            name: f"data[{columns[name]!r}] = data.groupby({by!r})[{name!r}].transform('mean')"
            if name in design.frame.columns and not weighted
            else f"{columns[name]!r}, the mean of {name} in each group of {chosen.name}"
            + (" (rows by their weights or trials)" if weighted else "")
            for _, name in terms
        },
        "formula": wider.design.formula.canonical,
        "converged": fit.converged,
    }
    return table


def _misleads(table: pd.DataFrame, level: float) -> "pd.Series[bool]":
    """Slopes that complete pooling mixes, by more than the noise of rows, to outside the interval of the one within."""
    away = (table["complete_pooling"] - table["within"]).abs()
    return (table["p_rows"] < level) & (away > ndtri(1 - level / 2) * table["se_within"])


def _both_levels(design: Design, factor: GroupingFactor) -> list[tuple[int, str]]:
    """Columns of X that vary within groups and between them, whose means are not determined by other columns."""
    found, X, w = [], design.X, row_weights(design)
    means = np.zeros((design.n, 0))
    for k, name in enumerate(design.coefficient_names):
        x = X[:, k] - np.average(X[:, k], weights=w)
        mean = _group_means(design, factor, x)
        total = np.average(x**2, weights=w)
        if not total > 0 or not VARIES < np.average(mean**2, weights=w) / total < 1 - VARIES:
            continue
        joined = np.column_stack([X, means, mean])
        if joined.shape[1] - 1 in dependent_columns(joined, design.intercept):
            continue
        means = np.column_stack([means, mean])
        found.append((k, name))
    return found


def _group_means(design: Design, factor: GroupingFactor, x: NDArray[np.float64]) -> NDArray[np.float64]:
    w = row_weights(design)
    sums = np.bincount(factor.codes, w * x, factor.J) / np.bincount(factor.codes, w, factor.J)
    return sums[factor.codes]


def _complete_pooling(design: Design) -> FrequentistFit | GLMMFit:
    alone = replace(design, factors=())
    if not design.collapses:
        return fit_glmm(alone)
    collapsed = sufficient(alone)
    return FrequentistFit(alone, collapsed, optimise(collapsed.stats, collapsed.structure, reml=True), reml=True)


def _two_sided(estimate: float, se: float, df: float) -> float:
    return float(2 * stdtr(df, -abs(estimate) / se)) if se > 0 else float("nan")


def _studentised(fit: FrequentistFit, name: str, t: float) -> float:
    """Two-sided p of a common effect's t statistic among those of replicates, each about the fit it comes from."""
    row = (fit.fixef.index == name).astype(float)
    h, stats = fit.sufficient.basis.by_b(row[None])[0], fit.sufficient.stats
    drawn = parametric_bootstrap(
        fit.design, fit.sufficient, fit.optimum, reml=True, power=0.0, n_boot=REPLICATES, seed=1
    )
    variance = np.array(
        [
            s * h @ np.linalg.solve(profile(stats, Lambda, reml=True).A, h)
            for Lambda, s in zip(drawn.Lambda, drawn.s, strict=True)
        ]
    )
    replicated = (drawn.b - fit.optimum.at.b) @ h / np.sqrt(variance)
    return float((1 + (np.abs(replicated) >= abs(t)).sum()) / (1 + len(replicated)))


def _plain(name: str) -> str:
    """A name for a column of the table from the name of a coefficient."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name).strip("_")

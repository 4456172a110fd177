"""Is the shrinkage undue: do the groups' levels depend on their size, or on another of their properties?

Partial pooling draws a group's effect towards one common mean, small groups the most. Where small groups differ in
level, they are drawn to where they do not belong, and no residual shows it: the effects absorb the misfit.

Long for its docstrings: the audit is one sequence of steps that share the model with and without the covariate.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from poolwise import names
from poolwise.algebra.basis import dependent_columns
from poolwise.algebra.crossproducts import Array
from poolwise.check.again import Source, free_name, model_of, quiet_draws, quiet_fit, row_weights, with_columns
from poolwise.check.finding import Finding
from poolwise.check.leave_group_out import leave_group_out
from poolwise.check.mixed import mixed_predictive
from poolwise.errors import ArgumentError, DataError, FitError
from poolwise.model import Model
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.pointwise import fits_memory
from poolwise.result.tables import choose_factor, choose_seed
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping

# Two-sided probability at which the coefficient of the covariate counts.
ALPHA = 0.05
# Bins of groups in the calibration table, and in the mixed predictive check.
FIFTHS, THIRDS = 5, 3
# Level of the intervals, and of the interval of a group's effect that flags it where it excludes 0.
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class ShrinkageAudit:
    """What :func:`audit_shrinkage` found.

    Parameters
    ----------
    covariate : str
        What the groups' levels are held against.
    coefficient : DataFrame
        Coefficient of the covariate by the likelihood ratio and by the posterior: estimate, lower, upper, p (two-sided;
        of the posterior twice the smaller probability of a sign).
    comparison : DataFrame
        The model as it is and with the covariate: AIC, sd of the group intercepts, elpd of left-out rows and of groups
        left out whole, their differences and the errors of these.
    calibration : DataFrame
        A row a fifth of the groups in the order of the covariate: groups, median covariate, observed mean, predicted
        by the model as it is and with the covariate, share of groups flagged low and high.
    mixed : DataFrame
        Mixed predictive check, see :func:`~poolwise.check.mixed.mixed_predictive`.
    formula, recipe : str
        The formula with the covariate, and how to make its column.
    alpha : float
        Threshold of p.
    notes : tuple of str
        What could not be done, and why.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(100), "binomial")
    >>> audit = pw.audit_shrinkage(model, bayes=False)
    >>> audit.covariate
    'log_n'
    >>> audit.recipe
    "'log_n' is the log of the sum of the trials of each 'hospital'"
    """

    covariate: str
    coefficient: pd.DataFrame
    comparison: pd.DataFrame
    calibration: pd.DataFrame
    mixed: pd.DataFrame
    formula: str
    recipe: str
    alpha: float
    notes: tuple[str, ...]

    @property
    def figure(self) -> pd.DataFrame:
        """The calibration table, long: bin, covariate, kind, value."""
        kinds = [kind for kind in ("observed", "predicted", "predicted_with") if kind in self.calibration]
        return self.calibration.melt(["bin", "covariate"], kinds, var_name="kind")

    @property
    def findings(self) -> list[Finding]:
        """Empty or one, code ``undue_shrinkage``: the likelihood ratio of the covariate decides."""
        if self.coefficient.empty or not self.coefficient["p"].iloc[0] < self.alpha:
            return []
        slope, first, last = self.coefficient.iloc[0], self.calibration.iloc[0], self.calibration.iloc[-1]
        worst = max((first, last), key=lambda row: abs(row["observed"] - row["predicted"]))
        end = "lowest" if worst is first else "highest"
        return [
            Finding(
                code="undue_shrinkage",
                severity="serious",
                title=(
                    f"the groups' levels change by {slope['estimate']:.3g} per unit of {self.covariate} "
                    f"(p = {slope['p']:.2g}); in the fifth with the {end} {self.covariate} the model predicts "
                    f"{worst['predicted']:.3g} where {worst['observed']:.3g} was observed"
                ),
                value=float(slope["p"]),
                threshold=self.alpha,
                meaning=(
                    "All groups are drawn to one mean, and those with few rows almost wholly, although their level "
                    "differs. Their estimates are biased, the group sd is inflated, and hardly any of them is flagged."
                ),
                advice=f"Let the mean depend on it: {self.recipe}, then {self.formula}.",
                reference=(
                    "George, Rockova, Rosenbaum, Satopaa & Silber (2017), J. Am. Stat. Assoc. 112, 933-947; "
                    "Silber et al. (2010), Health Serv. Res. 45, 1148-1167."
                ),
                table=self.calibration,
                figure=self.figure,
            )
        ]

    def __repr__(self) -> str:
        shown = {
            f"Coefficient of {self.covariate}": self.coefficient,
            "Models": self.comparison,
            "Calibration by fifths of the groups": self.calibration,
            "Mixed predictive check (new group effects from the population)": self.mixed,
        }
        parts = [
            f"{title}\n{table.to_string(index=False, float_format='%.4g', na_rep='-')}"
            for title, table in shown.items()
            if len(table)
        ]
        said = [f"Suggested: {self.recipe}, then {self.formula}"] if self.findings else []
        return "\n\n".join([f"Audit of the shrinkage against {self.covariate}", *parts, *said, *self.notes])

    def _repr_html_(self) -> str:
        shown = (self.coefficient, self.comparison, self.calibration, self.mixed)
        html = "".join(table.to_html(index=False, float_format="%.4g", na_rep="–") for table in shown if len(table))
        return f"<p>Audit of the shrinkage against {escape(self.covariate)}</p>{html}"


def audit_shrinkage(
    source: Source,
    covariate: str | pd.Series | Mapping[Any, Any] | None = None,
    *,
    factor: str | None = None,
    bayes: bool = True,
    alpha: float = ALPHA,
    draws: int = 500,
    seed: int | None = 1,
) -> ShrinkageAudit:
    """Hold the groups' levels against their size, or against another property of theirs.

    Parameters
    ----------
    source : Model or fit
        Gaussian, or of a family with a frequentist fit.
    covariate : str, Series or mapping, optional
        A number a group: a column of the model's table that is constant within groups, or values by the group's label.
        The logarithm of the group's size by default (of its trials, or the sum of its frequency weights).
    factor : str, optional
        Grouping factor; the first by default.
    bayes : bool, default True
        Whether the model is also sampled as it is and with the covariate, for the posterior of its coefficient, the
        difference in elpd, and a mixed predictive check that knows the uncertainty of the parameters. Without, all is
        made from maximum likelihood, in a fraction of a second.
    alpha : float, default 0.05
        Two-sided probability at which the likelihood ratio counts; it decides, the rest explains.
    draws : int, default 500
        Of each of four chains.
    seed : int, optional

    Returns
    -------
    ShrinkageAudit

    Raises
    ------
    ArgumentError, DataError, FitError
        For a covariate that is not one number a group, and models without groups.

    Notes
    -----
    The likelihood ratio compares fits by maximum likelihood (Laplace); its signed root is referred to t with J - 2
    degrees of freedom, the coefficient resting on J groups. A group is flagged where the 95 % interval of its effect
    excludes 0.

    References
    ----------
    George, Rockova, Rosenbaum, Satopaa & Silber (2017), J. Am. Stat. Assoc. 112(519), 933-947; Marshall & Spiegelhalter
    (2007), Bayesian Analysis 2(2), 409-444, for mixed predictive checks.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(100), "binomial")
    >>> audit = pw.audit_shrinkage(model, bayes=False)
    >>> [finding.code for finding in audit.findings], audit.formula
    (['undue_shrinkage'], 'p(died, patients) ~ 1 + risk + log_n + (1 | hospital)')
    """
    if not 0 < alpha < 1:
        raise ArgumentError(f"alpha must lie strictly between 0 and 1, for instance 0.05; got {alpha!r}")
    model, seed = model_of(source), choose_seed(seed)
    design = model.design
    refuse_grouping(design, "the audit of shrinkage")
    chosen = choose_factor(design, factor)
    if chosen is None:
        raise FitError("this model has no group-specific effects, so nothing is shrunk")
    name, values, recipe = _covariate(design, chosen, covariate)
    notes: list[str] = []
    base = quiet_fit(model, **({"reml": False} if design.collapses else {}))
    wider = _wider(model, chosen, name, values, notes)
    other = None if wider is None else quiet_fit(wider, **({"reml": False} if design.collapses else {}))
    fits: dict[str, FrequentistFit | GLMMFit | BayesFit | None] = {"as it is": base, f"with {name}": other}
    sampled: dict[str, BayesFit] = {}
    if bayes:
        options = {"draws": draws, "tune": 1000, "seed": seed}
        sampled["as it is"] = source if isinstance(source, BayesFit) else quiet_draws(model, **options)
        if wider is not None:
            sampled[f"with {name}"] = quiet_draws(wider, **options)
    made = [*fits.items(), *sampled.items()]
    unsettled = {label for label, fit in made if fit is not None and not fit.converged}
    notes += [f"A fit {label} did not converge: read none of its numbers." for label in sorted(unsettled)]
    coefficient = pd.DataFrame(columns=["by", "estimate", "lower", "upper", "p"])
    if other is not None and wider is not None:
        column = wider.design.coefficient_names[-1]
        coefficient = pd.DataFrame([_likelihood_row(base, other, column, chosen.J), *_posterior_row(sampled, column)])
    shown = sampled.get("as it is", base)
    calibration = _calibration(design, chosen, values, base, other, shown)
    return ShrinkageAudit(
        name,
        coefficient,
        _comparison({label: fit for label, fit in fits.items() if fit is not None}, sampled, chosen),
        calibration,
        mixed_predictive(shown, chosen, bins(values, THIRDS), seed=seed),
        "" if wider is None else wider.design.formula.canonical,
        recipe,
        alpha,
        tuple(notes),
    )


def group_sizes(design: Design, factor: GroupingFactor) -> Array:
    """Rows of each group, its trials, or the sum of its frequency weights (J,)."""
    return np.bincount(factor.codes, row_weights(design), factor.J)


def bins(values: Array, count: int) -> NDArray[np.int64]:
    """Bin of each group, 0 to count - 1 at most, by quantiles of its value; equal values stay together."""
    ranks = pd.Series(values).rank(method="average", pct=True).to_numpy()
    found = np.minimum((ranks * count - 1e-9).astype(int), count - 1)
    return np.unique(found, return_inverse=True)[1]


def _covariate(design: Design, factor: GroupingFactor, given: Any) -> tuple[str, Array, str]:
    """Name, values by group, and how to make the column."""
    if given is None:
        column = free_name("log_n" if "log_n" not in design.frame else f"log_n_{factor.name}", design)
        label = factor.columns[0] if len(factor.columns) == 1 else list(factor.columns)
        size = "the sum of the trials" if design.outcome.trials is not None else "the number of rows"
        return column, np.log(group_sizes(design, factor)), f"{column!r} is the log of {size} of each {label!r}"
    if isinstance(given, str):
        if given not in design.frame.columns:
            raise DataError(
                f"the model's table has no column {given!r} (it keeps the columns of the formula); hand over the "
                f"values by group, for instance data.groupby({factor.columns[0]!r})[{given!r}].first()"
            )
        by = design.frame[given].groupby(factor.codes)
        if by.nunique().max() > 1:
            raise DataError(f"the column {given!r} differs within groups of {factor.name!r}: it is not the group's")
        name, series, recipe = given, by.first(), f"{given!r} is in the table"
    else:
        table = pd.Series(given)
        table.index = table.index.map(str)
        missing = [label for label in factor.labels if label not in table.index]
        if missing or not table.index.is_unique:
            raise DataError(f"covariate= needs one number for each group of {factor.name!r}; not for {missing[:3]}")
        name = str(table.name) if table.name else "covariate"
        name, series = free_name(name, design), table[factor.labels]
        recipe = f"{name!r} is the covariate of each group of {factor.name}"
    try:
        values = series.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise DataError(f"the covariate {name!r} must be finite numbers, one a group; recode categories as 0 and 1")
    return name, values, recipe


def _wider(model: Model, factor: GroupingFactor, name: str, values: Array, notes: list[str]) -> Model | None:
    rows, X = values[factor.codes], model.design.X
    with_it = np.column_stack([X, rows])
    if X.shape[1] in dependent_columns(with_it, model.design.intercept):
        same = np.ptp(values) == 0
        why = "is the same for all groups" if same else "is a combination of the model's common effects already"
        notes.append(f"{name} {why}: no coefficient to estimate.")
        return None
    if factor.J < 4:
        notes.append(f"{factor.J} groups cannot tell a dependence on {name} from chance.")
        return None
    return with_columns(model, {free_name(name, model.design) if name in model.design.frame else name: rows})


def _likelihood_row(base: Any, other: Any, column: str, J: int) -> dict[str, Any]:
    estimate, se = float(other.fixef[column]), float(other.se[column])
    ratio = max(base.criterion - other.criterion, 0.0)
    p = float(2 * stdtr(J - 2, -np.sqrt(ratio)))
    half = ndtri((1 + LEVEL) / 2) * se
    return {"by": "likelihood ratio", "estimate": estimate, "lower": estimate - half, "upper": estimate + half, "p": p}


def _posterior_row(sampled: dict[str, BayesFit], column: str) -> list[dict[str, Any]]:
    if len(sampled) < 2:
        return []
    draws = list(sampled.values())[1].coefficients[:, -1]
    lower, upper = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    p = 2 * min((draws > 0).mean(), (draws < 0).mean())
    return [{"by": "posterior", "estimate": draws.mean(), "lower": lower, "upper": upper, "p": float(p)}]


def _comparison(fits: Mapping[str, Any], sampled: dict[str, BayesFit], factor: GroupingFactor) -> pd.DataFrame:
    rows = []
    for label, fit in fits.items():
        own = fit.varcorr
        sd = own[(own["factor"] == factor.name) & own["var2"].isna()]["sdcor"].iloc[0]
        rows.append({"model": label, "aic": fit.aic, f"sd({factor.effects[0]} | {factor.name})": sd})
    for name, measure in (("elpd", _elpd), ("elpd_groups", _elpd_of_groups)):
        pointwise = {row["model"]: measure(sampled[row["model"]]) for row in rows if row["model"] in sampled}
        for row in rows:
            values, before = pointwise.get(row["model"]), pointwise.get("as it is")
            if values is None:
                continue
            row[name] = values.sum()
            if row["model"] != "as it is" and before is not None:
                difference = values - before
                row[f"{name}_difference"] = difference.sum()
                row[f"{name}_se"] = np.sqrt(len(difference) * difference.var())
    return pd.DataFrame(rows)


def _elpd(fit: BayesFit) -> Array | None:
    """Log predictive density of each row, left out."""
    if not fits_memory(fit):
        return None
    with warnings.catch_warnings():
        # Rows with a high Pareto k are the finding unreliable_elpd.
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(fit.loo(pointwise=True).elpd_i)


def _elpd_of_groups(fit: BayesFit) -> Array | None:
    """Log predictive density of each group, left out whole; importance estimates, which a comparison can stand on."""
    try:
        return leave_group_out(fit, refit=False).table["elpd"].to_numpy()
    except ArgumentError:
        return None


def _calibration(
    design: Design, factor: GroupingFactor, values: Array, base: Any, other: Any, shown: Any
) -> pd.DataFrame:
    which, w = bins(values, FIFTHS), row_weights(design)
    of_row, count = which[factor.codes], int(which.max()) + 1
    weight = np.bincount(of_row, w, count)

    def mean(rows: Array) -> Array:
        return np.bincount(of_row, w * rows, count) / weight

    table = {
        "bin": np.arange(1, count + 1),
        "groups": np.bincount(which, minlength=count),
        "covariate": [float(np.median(values[which == k])) for k in range(count)],
        "observed": mean(design.outcome.scaled),
        "predicted": mean(base.fitted),
    }
    if other is not None:
        table["predicted_with"] = mean(other.fitted)
    flagged = _flagged(shown, factor)
    if flagged is not None:
        low, high = flagged
        table["flagged_low"] = [float(low[which == k].mean()) for k in range(count)]
        table["flagged_high"] = [float(high[which == k].mean()) for k in range(count)]
    return pd.DataFrame(table)


def _flagged(fit: Any, factor: GroupingFactor) -> tuple[Array, Array] | None:
    """Groups whose intercept's effect is below, or above, 0 by its 95 % interval."""
    if names.INTERCEPT not in factor.effects:
        return None
    k = factor.effects.index(names.INTERCEPT)
    if isinstance(fit, BayesFit):
        lower, upper = np.quantile(fit.effects(factor)[:, :, k], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    else:
        mode, sd = (
            (table if isinstance(table, pd.DataFrame) else table[factor.name]).to_numpy()[:, k]
            for table in (fit.ranef, fit.ranef_sd)
        )
        lower, upper = mode - ndtri((1 + LEVEL) / 2) * sd, mode + ndtri((1 + LEVEL) / 2) * sd
    return upper < 0, lower > 0

"""Has the likelihood a maximum, and was it found?"""

import pandas as pd

from poolwise.check.finding import Finding, Severity
from poolwise.result.glmm import GLMMFit
from poolwise.result.no_pooling_glm import NoPoolingGLM

ADVICE = (
    "Read the Bayesian estimates: under proper priors every coefficient has a finite posterior. Or leave out the term, "
    "or join its levels."
)


def separation(complete: GLMMFit, none: NoPoolingGLM, partial: GLMMFit) -> list[Finding]:
    """One finding for each kind of pooling whose likelihood has no maximum, because it predicts responses perfectly.

    Parameters
    ----------
    complete, partial : GLMMFit
        Without and with groups.
    none : NoPoolingGLM
        One model a group.

    Returns
    -------
    list of Finding
        Code ``separation``.
    """
    found = []
    for label, fit in (("complete pooling", complete), ("partial pooling", partial)):
        if fit.separated:
            found.append(
                _finding(
                    f"{label}: no finite estimate of {', '.join(fit.separated)}, which predict the response perfectly",
                    "serious",
                    float(len(fit.separated)),
                    pd.DataFrame({"term": fit.separated, "estimate": fit.fixef[list(fit.separated)].to_numpy()}),
                )
            )
    table = none.separated
    if not table.empty:
        groups = table["group"].drop_duplicates()
        shown = ", ".join(map(str, groups[:5])) + (f" and {len(groups) - 5} more" if len(groups) > 5 else "")
        found.append(
            _finding(
                f"no pooling: {len(groups)} of {none.factor.J} groups have no finite estimates of their own: {shown}",
                "note",
                float(len(groups)),
                table,
            )
        )
    return found


def _finding(title: str, severity: Severity, value: float, table: pd.DataFrame) -> Finding:
    return Finding(
        code="separation",
        severity=severity,
        title=title,
        value=value,
        threshold=0.0,
        meaning=(
            "Along these coefficients the likelihood rises for ever: a program that stops somewhere on the way reports "
            "a large number with a larger standard error. Here they are +-inf without an interval, and predictions "
            "have their limits, probabilities of 0 or 1 and counts of 0."
        ),
        advice=ADVICE,
        reference="Albert & Anderson (1984), Biometrika 71, 1-10; Gelman et al. (2008), Ann. Appl. Stat. 2, 1360-1383.",
        table=table,
    )


def not_maximised(none: NoPoolingGLM, partial: GLMMFit) -> list[Finding]:
    """One finding where the optimiser of the partial-pooling fit, or that of a group's own model, did not converge.

    Parameters
    ----------
    none : NoPoolingGLM
        One model a group.
    partial : GLMMFit
        The partial-pooling fit.

    Returns
    -------
    list of Finding
        Empty or one, code ``not_maximised``.
    """
    if partial.converged and none.converged:
        return []
    said = [] if partial.converged else [f"partial pooling: {partial.message}"]
    if none.failed:
        said.append(f"no pooling: {', '.join(none.failed[:5])}" + (" and more" if len(none.failed) > 5 else ""))
    return [
        Finding(
            code="not_maximised",
            severity="serious",
            title=f"the likelihood was not maximised ({'; '.join(said)})",
            value=float(len(none.failed) + (not partial.converged)),
            threshold=0.0,
            meaning="The estimates are where the optimiser stopped; those of a group that was not fitted are NaN.",
            advice="Centre and scale the predictors, simplify the group-specific effects, or read the Bayesian fit.",
            reference="Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1).",
            table=pd.DataFrame({"group": none.failed}),
        )
    ]

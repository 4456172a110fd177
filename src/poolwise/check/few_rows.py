"""Groups whose rows cannot carry a regression of their own."""

from collections.abc import Sequence

from poolwise import names
from poolwise.check.finding import Finding
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM


def too_few_rows(fit: NoPoolingFit | NoPoolingGLM) -> list[Finding]:
    """One finding that names the groups without a regression of their own.

    Parameters
    ----------
    fit : NoPoolingFit or NoPoolingGLM
        One regression a group.

    Returns
    -------
    list of Finding
        Empty or one, code ``too_few_rows``.
    """
    missing = fit.unidentified
    if missing.empty:
        return []
    groups = list(missing["group"].drop_duplicates())
    counts = missing["term"].value_counts()
    missed = [str(term) for term in counts.index[counts == fit.factor.J] if term != names.INTERCEPT]
    if missed:
        title = f"no group has a regression of its own: their rows do not identify {', '.join(missed)}"
    else:
        title = f"{len(groups)} of {fit.factor.J} groups have no complete regression of their own: {_first(groups)}"
    return [
        Finding(
            code="too_few_rows",
            severity="note",
            title=title,
            value=float(len(groups)),
            threshold=0.0,
            meaning=(
                "Too few rows, or a predictor that is constant within the group: the coefficients in the table are not "
                "identified without pooling and stand as NaN. So does the intercept, the level where that predictor is "
                "zero, unless it is zero in the group. Predictions of these groups have their own level all the same."
            ),
            advice="Partial pooling estimates them from all groups together; read those rows of coef() instead.",
            reference="Gelman & Hill (2007), section 12.2.",
            table=missing,
        )
    ]


def _first(groups: Sequence[object]) -> str:
    return ", ".join(map(str, groups[:5])) + (f" and {len(groups) - 5} more" if len(groups) > 5 else "")

"""Do prior and data disagree about a common effect, or does the prior alone decide it?"""

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.check.finding import Finding
from poolwise.check.prior_evidence import Evidence
from poolwise.check.prior_scale import centre_and_spread
from poolwise.priors.resolve import ResolvedPrior

# If the prior were true, estimates would be this many joint standard errors away once in twenty times. The default
# preset's slopes, sd 2.5 sd_y / sd_x about 0, cannot come near: no estimate exceeds sd_y / sd_x by much.
CONFLICT = 2.0
# With a prior this many times narrower than the standard error, 16/17 of the posterior's precision is the prior's.
DOMINATES = 4.0


def prior_conflict(row: ResolvedPrior, values: Array, seen: Evidence) -> list[Finding]:
    """A prior of a common effect that its REML estimate contradicts, both uncertainties counted.

    Parameters
    ----------
    row : ResolvedPrior
        Of an intercept or a slope; nothing is said of others.
    values : ndarray (D,)
        Draws from it.
    seen : Evidence
        Estimate and standard error.

    Returns
    -------
    list of Finding
        Empty or one, code ``prior_conflict``.
    """
    if np.isnan(seen.se):
        return []
    centre, spread = centre_and_spread(values)
    distance = abs(centre - seen.estimate) / float(np.hypot(spread, seen.error))
    if distance <= CONFLICT:
        return []
    return [
        Finding(
            code="prior_conflict",
            severity="serious",
            title=(
                f"prior of {row.parameter!r}, {row.prior}, and data ({seen}) are {distance:.2g} joint standard errors "
                "apart"
            ),
            value=distance,
            threshold=CONFLICT,
            meaning=(
                "The posterior is a compromise that neither the prior nor the data support, and its interval does not "
                "show the disagreement. With varying effects it moves the estimate of every group."
            ),
            advice=(
                "Ask where the prior comes from (a pooled regression of the same data counts them twice, and may be "
                "confounded), and compare: pw.compare_priors(model, ['weakly_informative'])."
            ),
            reference="Evans & Moshonov (2006), Bayesian Analysis 1(4), 893-914.",
        )
    ]


def prior_dominates(row: ResolvedPrior, values: Array, seen: Evidence) -> list[Finding]:
    """A prior of a common effect so much narrower than the data's standard error that the posterior is the prior.

    Returns
    -------
    list of Finding
        Empty or one, code ``prior_dominates``.
    """
    if np.isnan(seen.se):
        return []
    _, spread = centre_and_spread(values)
    times = seen.error / spread
    if times <= DOMINATES:
        return []
    return [
        Finding(
            code="prior_dominates",
            severity="note",
            title=(
                f"prior of {row.parameter!r}, {row.prior}, is {times:.2g} times narrower than what the data tell "
                f"({seen})"
            ),
            value=times,
            threshold=DOMINATES,
            meaning="The posterior of this parameter is its prior; the data hardly add to it.",
            advice="Right where the prior is knowledge from elsewhere: say so where you report it. Else widen it.",
            reference="Kallioinen, Paananen, Buerkner & Vehtari (2024), Statistics and Computing 34, 57.",
        )
    ]

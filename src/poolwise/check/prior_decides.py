"""Did the data say anything of a group sd, or does its posterior repeat its prior?"""

from poolwise.check.finding import Finding
from poolwise.result.bayes import BayesFit
from poolwise.result.variance import contraction

# Below this contraction more than half of the prior variance of a group sd is left.
CONTRACTION = 0.5


def prior_decides(fit: BayesFit, *, least: float = CONTRACTION, seed: int = 1) -> list[Finding]:
    """One finding where the posterior of a group sd is hardly narrower than its prior.

    Parameters
    ----------
    fit : BayesFit
    least : float, default 0.5
        Smallest contraction that does not count, 1 minus the squared ratio of posterior to prior sd.
    seed : int, default 1
        Of the draws from the prior.

    Returns
    -------
    list of Finding
        Empty or one, code ``prior_decides``.
    """
    if not fit.design.factors:
        return []
    table = contraction(fit, seed)
    weak = table[table["contraction"] < least]
    if weak.empty:
        return []
    row = weak.loc[weak["contraction"].idxmin()]
    return [
        Finding(
            code="prior_decides",
            severity="warning",
            title=(
                f"the prior decides {', '.join(weak['parameter'])}: the posterior sd of {row['parameter']} is "
                f"{row['posterior']:.3g}, under the prior {row['prior']:.3g} (contraction {row['contraction']:.2f})"
            ),
            value=float(row["contraction"]),
            threshold=least,
            meaning=(
                "The data hardly narrowed this standard deviation. How strongly the groups are pooled, and how wide "
                "the intervals of their effects are, follows from the choice of its prior."
            ),
            advice=(
                "Say so; compare presets with pw.compare_priors, and take the prior from what is known of such groups. "
                "More groups would help, more rows in the same groups hardly."
            ),
            reference="Gelman (2006), Bayesian Analysis 1(3), 515-534.",
            table=table,
        )
    ]

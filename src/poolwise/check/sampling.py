"""Has the sampler converged?"""

from poolwise.check.finding import Finding
from poolwise.result.bayes import BayesFit
from poolwise.result.convergence import RHAT_LIMIT


def not_converged(fit: BayesFit) -> list[Finding]:
    """One finding with everything the convergence measures say.

    Parameters
    ----------
    fit : BayesFit

    Returns
    -------
    list of Finding
        Empty or one, code ``not_converged``.
    """
    problems = fit.convergence.problems
    if not problems:
        return []
    return [
        Finding(
            code="not_converged",
            severity="serious",
            title=problems[0].split(":")[0].split(";")[0],
            value=fit.convergence.rhat,
            threshold=RHAT_LIMIT,
            meaning="The draws do not represent the posterior yet: no number of this fit should be read.",
            advice=". ".join(problems) + ".",
            reference="Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16(2), 667-718.",
            table=fit.convergence.table,
        )
    ]

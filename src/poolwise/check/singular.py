"""Is the frequentist fit singular: a group standard deviation at zero, or a correlation at plus or minus one?"""

from poolwise.algebra.theta import sds_and_correlations
from poolwise.check.finding import Finding
from poolwise.fit.reml import SINGULAR_TOLERANCE
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit


def singular_fit(fit: FrequentistFit | GLMMFit) -> list[Finding]:
    """One finding where the estimate of the group covariance is on the boundary of what is possible.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit
        A partial-pooling fit by REML or ML.

    Returns
    -------
    list of Finding
        Empty or one, code ``singular_fit``.
    """
    if fit.factor is None or not fit.is_singular:
        return []
    structure = fit.structure
    smallest = float(fit.theta[structure.on_diagonal].min())
    sds, correlation = sds_and_correlations(structure.factor(fit.theta) * fit.sigma)
    several = len(fit.design.factors) > 1
    effects = [f"{e} | {f.name}" if several else e for f in fit.design.factors for e in f.effects]
    said = [f"sd({effect}) = 0" for effect, sd in zip(effects, sds, strict=True) if sd < 1e-4 * fit.sigma]
    said += [
        f"correlation({effects[c]}, {effects[r]}) = {correlation[r, c]:+.2f}"
        for r, c in structure.positions
        if r != c and abs(correlation[r, c]) > 1 - 1e-4
    ]
    return [
        Finding(
            code="singular_fit",
            severity="serious",
            title=f"the {fit.method} fit is singular: {', '.join(said) or 'rank-deficient covariance'}",
            value=smallest,
            threshold=SINGULAR_TOLERANCE,
            meaning=(
                "The likelihood is highest where some variation between groups does not exist at all. That is a point "
                "estimate at the edge of what is possible, not evidence that the variation is zero: every interval "
                "that takes it as known (conditional standard deviations, predictions) is too narrow."
            ),
            advice=(
                "Keep the term and fit it with proper priors on the group sds: Model.fit() under a weakly informative "
                "preset keeps the sds off the boundary and carries their uncertainty. If only the mean effects matter, "
                "compare with the simpler model without the term (in the table of the study) or with (x || g)."
            ),
            reference=(
                "Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 2; "
                "Chung et al. (2013), Psychometrika 78, 685-709."
            ),
            table=fit.varcorr,
        )
    ]

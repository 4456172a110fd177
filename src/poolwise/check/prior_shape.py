"""Do the families of the priors fit the number of groups, and the formula?"""

from scipy.stats import beta

from poolwise import names
from poolwise.algebra.theta import lkj_shapes
from poolwise.check.finding import Finding
from poolwise.priors.distributions import GROUP_SDS
from poolwise.priors.resolve import ResolvedPrior
from poolwise.spec.design import Design
from poolwise.spec.specification import Specification

# With so few groups a half-Cauchy's tail, 6 % beyond ten of its scales, is not overruled by the data.
FEW_GROUPS = 8
# With fewer groups than this the sd under a flat prior has a posterior without a mean, or none.
FLAT_GROUPS = 4
# A correlation this close to one is practically singular; a prior may give it this probability.
EXTREME, SHARE = 0.9, 0.05


def heavy_tail(row: ResolvedPrior, design: Design) -> list[Finding]:
    """A half-Cauchy (or heavier half-t) on the sd of few groups.

    Returns
    -------
    list of Finding
        Empty or one, code ``heavy_tail_few_groups``.
    """
    heavy = row.prior.distribution == "HalfCauchy" or (
        row.prior.distribution == "HalfStudentT" and row.prior.params["nu"] <= 1
    )
    if not heavy or not row.role.startswith("group_sd"):
        return []
    factor = next(factor for factor in design.factors if row.parameter in factor.sd_names)
    if factor.J > FEW_GROUPS:
        return []
    return [
        Finding(
            code="heavy_tail_few_groups",
            severity="warning",
            title=f"{row.prior} on {row.parameter!r} with {factor.J} groups of {factor.name!r}",
            value=float(factor.J),
            threshold=float(FEW_GROUPS),
            meaning=(
                "So few groups do not overrule the tail of a half-Cauchy, 6 % of which lies beyond ten of its scales: "
                "the upper end of the group sd's interval is then the prior's, and the sampler may diverge."
            ),
            advice="Use a half-normal, an exponential or a half-t with 4 degrees of freedom: preset 'few_groups', say.",
            reference="Gelman (2006), Bayesian Analysis 1(3), 515-534.",
        )
    ]


def flat_sd(row: ResolvedPrior, design: Design) -> list[Finding]:
    """A flat prior on the sd of fewer than four groups.

    Returns
    -------
    list of Finding
        Empty or one, code ``flat_few_groups``.
    """
    if row.prior.distribution != "HalfFlat" or row.role not in GROUP_SDS:
        return []
    factor = next(factor for factor in design.factors if row.parameter in factor.sd_names)
    if factor.J >= FLAT_GROUPS:
        return []
    return [
        Finding(
            code="flat_few_groups",
            severity="warning",
            title=f"{row.prior} on {row.parameter!r} with {factor.J} groups of {factor.name!r}",
            value=float(factor.J),
            threshold=float(FLAT_GROUPS),
            meaning=(
                "Beside a flat prior of its mean, the posterior of the sd of J groups falls as sd^-(J - 1): with two "
                "groups there is none, with three it has no mean. What the sampler returns is then how far it went."
            ),
            advice="Use a proper prior: preset 'few_groups', or pw.Prior('HalfNormal', ...) on this sd.",
            reference="Gelman (2006), Bayesian Analysis 1(3), 515-534.",
        )
    ]


def lkj_one(row: ResolvedPrior, design: Design) -> list[Finding]:
    """An LKJ prior that gives a correlation near plus or minus one much probability: LKJ(1) of two effects.

    Returns
    -------
    list of Finding
        Empty or one, code ``lkj_one``.
    """
    if row.role != "group_correlation":
        return []
    factors = (factor for own in (*design.linear, *design.further) for factor in own.factors)
    factor = next(factor for factor in factors if factor.correlation_name == row.parameter)
    size = min(size for size in factor.structure.sizes if size > 1)
    shape = float(lkj_shapes([size], [row.prior.params["eta"]])[0])
    share = 2 * float(beta.cdf((1 - EXTREME) / 2, shape, shape))
    if share <= SHARE:
        return []
    return [
        Finding(
            code="lkj_one",
            severity="note",
            title=f"{row.prior} on {row.parameter!r}: {share:.1%} of a correlation's prior lies beyond -0.9 and 0.9",
            value=share,
            threshold=SHARE,
            meaning="With few groups the data cannot rule such correlations out: the posterior reaches to -1 and 1.",
            advice="LKJ(2) keeps 1.45 % there; take it unless correlations near one are plausible.",
            reference="Lewandowski, Kurowicka & Joe (2009), J. Multivariate Analysis 100, 1989-2001.",
        )
    ]


def intercept_without(specification: Specification) -> list[Finding]:
    """A preset whose own override gives the intercept a prior, while the formula has no intercept.

    In a dict of the call such a prior is an error; the role [intercept], which every preset has, is not asked.

    Returns
    -------
    list of Finding
        Empty or one, code ``intercept_prior_without_intercept``.
    """
    prior = specification.preset.overrides.get(names.INTERCEPT)
    if prior is None or specification.design.intercept >= 0:
        return []
    return [
        Finding(
            code="intercept_prior_without_intercept",
            severity="warning",
            title=f"the prior of the intercept, {prior}, is not used: {specification.formula.text!r} has no intercept",
            value=1.0,
            threshold=0.0,
            meaning=(
                "Without an intercept nothing is centred: the coefficients stand at predictors of zero, and those of a "
                "factor are the means of its levels, under the prior of slopes, which is centred at zero."
            ),
            advice="Take 0 + (or - 1) out of the formula, or give the levels' coefficients priors of their own.",
            reference="Buerkner (2017), J. Stat. Softw. 80(1): priors of the intercept at centred predictors.",
        )
    ]

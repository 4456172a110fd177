"""Do the priors fit the data's units, the number of groups, and the data themselves?"""

import math

import numpy as np

from poolwise import names
from poolwise.check.finding import Finding
from poolwise.check.uncentred import uncentred_slope
from poolwise.priors.draw import draw_prior
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior
from poolwise.priors.scale import within_group_sd
from poolwise.result.frequentist import FrequentistFit
from poolwise.spec.specification import Specification

# A scale this many times the data's own, or less than its inverse, is a matter of units.
ORDERS = 100.0
# Prior and estimate this many of their joint standard errors apart are in conflict.
CONFLICT = 2.0
# With so few groups a half-Cauchy's tail, 6 % beyond ten of its scales, is not overruled by the data.
FEW_GROUPS = 8
# Draws that place the quantiles of a prior; their error is a few per cent, the threshold is a factor of 100.
DRAWS = 2000


def prior_findings(specification: Specification, reml: FrequentistFit | None = None) -> list[Finding]:
    """Pitfalls of the resolved priors.

    Parameters
    ----------
    specification : Specification
        Design and priors.
    reml : FrequentistFit, optional
        Of the same model: with it, priors in conflict with the data are found too.

    Returns
    -------
    list of Finding
        Codes ``prior_scale``, ``prior_conflict``, ``heavy_tail_few_groups``, ``gamma_for_mode``, ``lkj_one``,
        ``uncentred_slope``; empty where nothing is amiss.
    """
    found = uncentred_slope(specification.design, centred=specification.centred)
    natural = _natural_scales(specification)
    for row in specification.resolved:
        if row.parameter in natural:
            found += _scale(row, natural[row.parameter], specification)
        found += _heavy_tail(row, specification)
        found += _gamma_for_mode(row, natural.get(row.parameter))
        found += _lkj_one(row)
    if reml is not None:
        found += _conflicts(specification, reml)
    return found


def _natural_scales(specification: Specification) -> dict[str, float]:
    """The size that each parameter could have by the data's units."""
    design = specification.design
    sd_y = float(np.std(design.y - design.offset, ddof=1))
    found = {names.SIGMA: sd_y}
    for k, name in enumerate(design.coefficient_names):
        sd = float(np.std(design.X[:, k], ddof=1))
        if k != design.intercept and sd > 0:
            found[name] = sd_y / sd
    for factor in design.factors:
        for k, (effect, name) in enumerate(zip(factor.effects, factor.sd_names, strict=True)):
            within = 1.0 if effect == names.INTERCEPT else within_group_sd(factor.Z[:, k], factor.codes)
            found[name] = sd_y / within if within > 0 else sd_y
    return found


def _spread(prior: Prior) -> tuple[float, float] | None:
    """Median and 97.5 % quantile of the absolute value; None for improper and joint priors."""
    if prior.support in ("joint", "correlation") or prior.distribution in ("Flat", "HalfFlat", "JeffreysScale"):
        return None
    values = np.abs(draw_prior(prior, DRAWS, np.random.default_rng(0)))
    return float(np.median(values)), float(np.quantile(values, 0.975))


def _scale(row: ResolvedPrior, natural: float, specification: Specification) -> list[Finding]:
    spread = _spread(row.prior)
    if spread is None:
        return []
    middle, most = spread
    wide, narrow = middle / natural, natural / most
    if max(wide, narrow) <= ORDERS:
        return []
    how = "wider" if wide > ORDERS else "narrower"
    return [
        Finding(
            code="prior_scale",
            severity="serious",
            title=f"prior of {row.parameter!r}, {row.prior}: {max(wide, narrow):.3g} x {how} than the data's scale",
            value=max(wide, narrow),
            threshold=ORDERS,
            meaning=(
                f"By the units of the data {row.parameter!r} is of the order of {natural:.3g}. A prior so far from it "
                "was usually written for other units."
            ),
            advice=f"Check the units of {specification.design.response!r} and predictors, or let a rule set the scale.",
            reference="Gelman, Simpson & Betancourt (2017), Entropy 19, 555.",
        )
    ]


def _heavy_tail(row: ResolvedPrior, specification: Specification) -> list[Finding]:
    heavy = row.prior.distribution == "HalfCauchy" or (
        row.prior.distribution == "HalfStudentT" and row.prior.params["nu"] <= 1
    )
    if not heavy or not row.role.startswith("group_sd"):
        return []
    factor = next(factor for factor in specification.design.factors if row.parameter in factor.sd_names)
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


def _gamma_for_mode(row: ResolvedPrior, natural: float | None) -> list[Finding]:
    if row.prior.distribution != "Gamma" or not row.role.startswith("group_sd") or natural is None:
        return []
    mean = row.prior.params["alpha"] / row.prior.params["beta"]
    if mean <= 10 * natural:
        return []
    return [
        Finding(
            code="gamma_for_mode",
            severity="serious",
            title=f"{row.prior} on {row.parameter!r} has a mean of {mean:.3g}, {mean / natural:.3g} x the data's scale",
            value=mean / natural,
            threshold=10.0,
            meaning="A gamma with a rate near zero keeps a mode off the boundary; as a prior to sample it is absurd.",
            advice="Use preset 'boundary_avoiding', or fit_frequentist(penalty='boundary_avoiding').",
            reference="Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013), Psychometrika 78(4), 685-709.",
        )
    ]


def _lkj_one(row: ResolvedPrior) -> list[Finding]:
    if row.role != "group_correlation" or row.prior.params["eta"] > 1:
        return []
    return [
        Finding(
            code="lkj_one",
            severity="note",
            title=f"{row.prior} on {row.parameter!r}: a tenth of a single correlation's prior lies beyond -0.9 and 0.9",
            value=float(row.prior.params["eta"]),
            threshold=1.0,
            meaning="LKJ(1) is flat over correlation matrices; with few groups the posterior then reaches to -1 and 1.",
            advice="LKJ(2) keeps 1.5 % beyond 0.9; take it unless correlations near one are plausible.",
            reference="Lewandowski, Kurowicka & Joe (2009), J. Multivariate Analysis 100, 1989-2001.",
        )
    ]


def _conflicts(specification: Specification, reml: FrequentistFit) -> list[Finding]:
    """Priors of slopes that the REML estimate contradicts, both uncertainties counted.

    Slopes only: at the intercept, centred or not, the estimate's uncertainty is mostly the group sds', which have
    priors of their own.
    """
    found = []
    for row in specification.resolved:
        if row.role != "slope" or "sigma" not in row.prior.params or "mu" not in row.prior.params:
            continue
        centre, scale = row.prior.params["mu"], row.prior.params["sigma"]
        estimate, se = float(reml.fixef[row.parameter]), float(reml.se[row.parameter])
        distance = abs(centre - estimate) / math.hypot(scale, se)
        if distance <= CONFLICT:
            continue
        found.append(
            Finding(
                code="prior_conflict",
                severity="serious",
                title=f"prior of {row.parameter!r}, {row.prior}, and data ({estimate:.3g}, se {se:.2g}) disagree",
                value=distance,
                threshold=CONFLICT,
                meaning=(
                    f"They are {distance:.2g} joint standard errors apart: the posterior is a compromise that neither "
                    "the prior nor the data support, and its interval does not show the disagreement."
                ),
                advice="Ask where the prior comes from; compare with the default, pw.compare_priors(model, [...]).",
                reference="Evans & Moshonov (2006), Bayesian Analysis 1(4), 893-914.",
            )
        )
    return found

"""Are the scales of the priors those of the data: units, and priors that were written for a mode or another scale?"""

from collections.abc import Mapping

import numpy as np

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.check.finding import Finding
from poolwise.check.prior_evidence import Evidence
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior
from poolwise.priors.scale import within_group_sd
from poolwise.spec.design import Design
from poolwise.spec.families import UNITLESS
from poolwise.spec.parameters import facts_of
from poolwise.spec.rowless import WithoutRows

# A common effect's prior this many times wider than the data's own scale, or narrower, is a matter of units.
ORDERS = 100.0
# The median of an sd cannot reasonably be this many times the sd of all of the response.
SD_MEDIAN = 10.0
# The prior rules out what lies beyond this quantile; a narrow prior what lies beyond this many of its sds.
FORBIDS, FORBIDS_SDS = 0.99, 2.0
# The shape of the gamma density that keeps a mode off zero is 2, or 2.5 (blme); others were meant otherwise.
GAMMA_SHAPES = (1.5, 3.0)
# On a log scale one sd of this size is a factor of 150, and a location this many sds away is another quantity's.
LOG_SPREAD, LOG_DISTANCE = 5.0, 3.0
UNITS = "Gelman, Simpson & Betancourt (2017), Entropy 19, 555: a prior can only be judged with its likelihood."


def natural_scales(design: Design) -> dict[str, float]:
    """The size each parameter could have by the data's units: sd_y for an intercept or sd, sd_y / sd_x for a slope.

    The sd of a predictor of a group-specific slope is that within groups; that of a two-valued one counts as at least a
    quarter of its range, so that a rare indicator is not taken for another unit.
    """
    if isinstance(design, WithoutRows):
        return _natural_of_facts(design)
    sd_y = float(np.std(design.y - design.offset, ddof=1))
    found = {names.SIGMA: sd_y}
    if design.family.link in UNITLESS:
        # One unit of log odds, or of a log, is a large effect whatever the units of the response.
        sd_y = 1.0
    for k, name in enumerate(design.coefficient_names):
        column = design.X[:, k]
        low, high = float(column.min()), float(column.max())
        sd = float(np.std(column, ddof=1))
        if np.all((column == low) | (column == high)):
            sd = max(sd, (high - low) / 4)
        found[name] = sd_y if k == design.intercept or sd == 0 else sd_y / sd
    for factor in design.factors:
        for k, name in zip(factor.sd_columns, factor.sd_names, strict=True):
            within = (
                1.0 if factor.effects[k] == names.INTERCEPT else within_group_sd(factor.Z[:, k], factor.views[0].codes)
            )
            found[name] = sd_y / within if within > 0 else sd_y
    return found


def _natural_of_facts(design: Design) -> dict[str, float]:
    """The same where there are sums or counts in place of rows."""
    facts = facts_of(design)
    sd_y = (facts.response or facts).sd_y
    found = {names.SIGMA: sd_y} if design.family.has_sigma else {}
    if design.family.link in UNITLESS:
        sd_y = 1.0
    for name in design.coefficient_names:
        column = facts.columns.get(name)
        sd = 0.0 if column is None else column.sd
        if column is not None and column.binary:
            sd = max(sd, (column.high - column.low) / 4)
        found[name] = sd_y if sd == 0 else sd_y / sd
    for name, effect in facts.effects.items():
        within = 1.0 if effect.intercept else effect.sd_within
        found[name] = sd_y / within if within > 0 else sd_y
    return found


def prior_scale(
    row: ResolvedPrior, values: Array, natural: Mapping[str, float], seen: Evidence | None
) -> list[Finding]:
    """A prior wider or narrower than the data's units by orders of magnitude, or that forbids what the data show.

    Parameters
    ----------
    row : ResolvedPrior
    values : ndarray (D,)
        Draws from it.
    natural : mapping of str to float
        From :func:`natural_scales`.
    seen : Evidence, optional
        What the data say without the prior.

    Returns
    -------
    list of Finding
        Empty or one, code ``prior_scale``.
    """
    scale = natural[row.parameter]
    if row.role in ("intercept", "slope"):
        return _effect_scale(row, values, scale, seen)
    middle, most = (float(q) for q in np.quantile(values, [0.5, FORBIDS]))
    if middle > SD_MEDIAN * scale:
        return [_finding(row, f"its median {middle:.3g} is", middle / scale, SD_MEDIAN, "wider", scale)]
    if scale / most > ORDERS:
        return [_finding(row, f"99 % of it lies below {most:.3g},", scale / most, ORDERS, "narrower", scale)]
    if seen is None or most >= seen.least:
        return []
    return [
        Finding(
            code="prior_scale",
            severity="serious",
            title=(
                f"prior of {row.parameter!r}, {row.prior}: 99 % of it lies below {most:.3g}, REML says "
                f"{seen.estimate:.3g}, at least {seen.least:.3g}"
            ),
            value=seen.least / most,
            threshold=1.0,
            meaning=(
                "The prior forbids the spread that the data show: the posterior stands between them, and what the "
                "prior does not let groups or residuals explain goes elsewhere."
            ),
            advice="Check the units of the prior, or let a rule set its scale, as the default preset does.",
            reference=UNITS,
        )
    ]


def _effect_scale(row: ResolvedPrior, values: Array, scale: float, seen: Evidence | None) -> list[Finding]:
    centre, spread = centre_and_spread(values)
    if spread > ORDERS * scale:
        return [_finding(row, f"its sd {spread:.3g} is", spread / scale, ORDERS, "wider", scale)]
    where = "" if seen is None else f"the estimate is {seen.estimate:.3g};"
    # Narrow where the estimate is does no harm: then somebody knew.
    away = seen is None or abs(centre - seen.estimate) > FORBIDS_SDS * spread
    if spread < scale / ORDERS and away:
        return [_finding(row, f"{where} its sd {spread:.3g} is".strip(), scale / spread, ORDERS, "narrower", scale)]
    return []


def _finding(row: ResolvedPrior, what: str, times: float, threshold: float, how: str, scale: float) -> Finding:
    than = f"{times:.3g} times {'' if how == 'wider' else 'below '}the data's scale, {scale:.3g}"
    return Finding(
        code="prior_scale",
        severity="serious",
        title=f"prior of {row.parameter!r}, {row.prior}: {what} {than}",
        value=times,
        threshold=threshold,
        meaning=(
            f"By the units of the data {row.parameter!r} is of the order of {scale:.3g}. A prior that much {how} was "
            "usually written for other units, milliseconds for seconds, say, or made by a rule that went astray."
        ),
        advice="Check the units of the response and of the predictors, or let a rule set the scale.",
        reference=UNITS,
    )


def centre_and_spread(values: Array) -> tuple[float, float]:
    """Median of draws, and half the width of their central 95 % over 1.96: for a normal prior mean and sd."""
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return float(middle), float(high - low) / (2 * 1.959964)


def gamma_for_mode(row: ResolvedPrior, natural: Mapping[str, float]) -> list[Finding]:
    """Gamma(2, rate near 0) on a group sd, which keeps a mode off zero and is absurd as a distribution."""
    if row.prior.distribution != "Gamma" or not row.role.startswith("group_sd"):
        return []
    alpha, beta = row.prior.params["alpha"], row.prior.params["beta"]
    times = alpha / beta / natural[row.parameter]
    if not GAMMA_SHAPES[0] <= alpha <= GAMMA_SHAPES[1] or times <= SD_MEDIAN:
        return []
    return [
        Finding(
            code="gamma_for_mode",
            severity="serious",
            title=f"{row.prior} on {row.parameter!r}: mean {alpha / beta:.3g}, {times:.3g} times the data's scale",
            value=times,
            threshold=SD_MEDIAN,
            meaning=(
                "A gamma density with a rate near zero keeps a posterior mode off the boundary and hardly moves it "
                "elsewhere. As a distribution to sample it says that groups differ by far more than the response does."
            ),
            advice="Use preset 'boundary_avoiding', or fit_frequentist(penalty='boundary_avoiding').",
            reference="Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013), Psychometrika 78(4), 685-709.",
        )
    ]


def response_scale_on_log(
    parameter: str, prior: Prior, values: Array, scale: str = "log", typical: float | None = None
) -> list[Finding]:
    """A prior of a parameter on the log scale, such as an intercept or group sd of log sigma, in response units.

    Parameters
    ----------
    parameter : str
        Name.
    prior : Prior
        Resolved.
    values : ndarray (D,)
        Draws from it.
    scale : {"log", "response"}, default "log"
        Scale of the parameter; nothing is found on the response scale.
    typical : float, optional
        Where a location should be: log of the response's sd for the intercept of log sigma.

    Returns
    -------
    list of Finding
        Empty or one, code ``response_scale_on_log``.
    """
    if scale != "log":
        return []
    centre, spread = centre_and_spread(values)
    # A scale parameter is as wide as its median, a location as its sd.
    wide = centre if prior.fits("positive") else spread
    distance = 0.0 if typical is None or prior.fits("positive") else abs(centre - typical) / spread
    if wide <= LOG_SPREAD and distance <= LOG_DISTANCE:
        return []
    too_wide = wide > LOG_SPREAD
    said = (
        f"spreads over {wide:.3g} on the log scale, a factor of {np.exp(min(wide, 700.0)):.2g}"
        if too_wide
        else f"stands {distance:.3g} of its sds from {typical:.3g}, the log of the data's scale"
    )
    return [
        Finding(
            code="response_scale_on_log",
            severity="serious",
            title=f"prior of {parameter!r}, {prior}, {said}",
            value=wide if too_wide else distance,
            threshold=LOG_SPREAD if too_wide else LOG_DISTANCE,
            meaning=(
                "The parameter acts on a logarithm, where 1 is a factor of 2.7. The prior was written in units of the "
                "response, or for a response of unit scale."
            ),
            advice="Use Normal(log(sd_y), 1) for the intercept of log sigma and HalfNormal(0.5) for its group sd, say.",
            reference="Buerkner (2018), The R Journal 10(1), 395-411: distributional models.",
        )
    ]

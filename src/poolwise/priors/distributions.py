"""The distributions that a prior may name, with their arguments and supports."""

from collections.abc import Mapping
from dataclasses import dataclass

REAL, POSITIVE, UNIT, INTERVAL = "real", "positive", "unit", "interval"
CORRELATION, JOINT = "correlation", "joint"


@dataclass(frozen=True)
class Distribution:
    """A distribution of the allow-list.

    Parameters
    ----------
    arguments : dict of str to str
        Name of each argument, as PyMC names it, and its domain: ``real``, ``positive`` or ``share`` (between 0 and 1).
    support : str
        real, positive, unit (between 0 and 1), interval (between its arguments), correlation (matrices) or joint
        (several parameters).
    closed : bool
        Whether poolwise's own kernel evaluates its density; otherwise PyMC does.
    """

    arguments: Mapping[str, str]
    support: str
    closed: bool = True


DISTRIBUTIONS: dict[str, Distribution] = {
    "Flat": Distribution({}, REAL),
    "Normal": Distribution({"mu": "real", "sigma": "positive"}, REAL),
    "StudentT": Distribution({"nu": "positive", "mu": "real", "sigma": "positive"}, REAL),
    "Cauchy": Distribution({"alpha": "real", "beta": "positive"}, REAL),
    "Laplace": Distribution({"mu": "real", "b": "positive"}, REAL),
    "Logistic": Distribution({"mu": "real", "s": "positive"}, REAL, closed=False),
    "SkewNormal": Distribution({"mu": "real", "sigma": "positive", "alpha": "real"}, REAL, closed=False),
    "Gumbel": Distribution({"mu": "real", "beta": "positive"}, REAL, closed=False),
    "HalfFlat": Distribution({}, POSITIVE),
    "JeffreysScale": Distribution({}, POSITIVE),
    "HalfNormal": Distribution({"sigma": "positive"}, POSITIVE),
    "HalfStudentT": Distribution({"nu": "positive", "sigma": "positive"}, POSITIVE),
    "HalfCauchy": Distribution({"beta": "positive"}, POSITIVE),
    "Exponential": Distribution({"lam": "positive"}, POSITIVE),
    "Gamma": Distribution({"alpha": "positive", "beta": "positive"}, POSITIVE),
    "InverseGamma": Distribution({"alpha": "positive", "beta": "positive"}, POSITIVE),
    "SqrtInverseGamma": Distribution({"alpha": "positive", "beta": "positive"}, POSITIVE),
    "LogNormal": Distribution({"mu": "real", "sigma": "positive"}, POSITIVE),
    "Weibull": Distribution({"alpha": "positive", "beta": "positive"}, POSITIVE, closed=False),
    "ChiSquared": Distribution({"nu": "positive"}, POSITIVE, closed=False),
    "Beta": Distribution({"alpha": "positive", "beta": "positive"}, UNIT),
    "Uniform": Distribution({"lower": "real", "upper": "real"}, INTERVAL),
    "PC": Distribution({"u": "positive", "alpha": "share"}, POSITIVE),
    "LKJ": Distribution({"eta": "positive"}, CORRELATION),
    "Decov": Distribution({"concentration": "positive", "shape": "positive", "scale": "positive"}, JOINT),
    "ICCBeta": Distribution({"alpha": "positive", "beta": "positive", "nu": "positive", "sigma": "positive"}, JOINT),
    "R2D2M2": Distribution({"mean_R2": "share", "prec_R2": "positive", "concentration": "positive"}, JOINT),
    "Horseshoe": Distribution(
        {"df": "positive", "expected_effects": "positive", "slab_scale": "positive", "slab_df": "positive"}, JOINT
    ),
}

# The roles whose parameters share a joint prior.
JOINT_ROLES = {
    "Decov": ("group_sd_intercept", "group_sd_slope"),
    "ICCBeta": ("group_sd_intercept", "residual_sd"),
    "R2D2M2": ("slope", "group_sd_intercept", "group_sd_slope"),
    "Horseshoe": ("slope",),
}

# Roles of group sds, and priors they may not have. The likelihood, effects integrated out, does not vanish as a group
# sd goes to zero, where the integral of 1 / sd diverges: no posterior. Gelman (2006), Bayesian Analysis 1(3), 515-534.
GROUP_SDS = ("group_sd_intercept", "group_sd_slope")
NO_GROUP_SD = ("JeffreysScale",)
NO_GROUP_SD_SAID = (
    "has no posterior: 1 / sd is improper at zero, which no data rule out for a group sd; use HalfNormal, HalfStudentT "
    "or HalfFlat (JeffreysScale is for the residual sd)"
)

# Improper: nothing can be drawn from them.
IMPROPER = ("Flat", "HalfFlat", "JeffreysScale")
# Not of PyMC, so models handed to PyMC or Bambi must write them out.
OWN = ("JeffreysScale", "SqrtInverseGamma", "PC", "LKJ", *JOINT_ROLES)


def in_closed_set(name: str) -> bool:
    """Whether poolwise's own kernel evaluates the density of this distribution."""
    return DISTRIBUTIONS[name].closed

"""The distributions that a prior may name, with their arguments and supports."""

from collections.abc import Mapping
from dataclasses import dataclass

REAL, POSITIVE, INTERVAL, CORRELATION = "real", "positive", "interval", "correlation"


@dataclass(frozen=True)
class Distribution:
    """A distribution of the allow-list.

    Parameters
    ----------
    arguments : dict of str to str
        Name of each argument, as PyMC names it, and its domain: ``real`` or ``positive``.
    support : str
        real, positive, interval (between its arguments) or correlation (matrices).
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
    "Uniform": Distribution({"lower": "real", "upper": "real"}, INTERVAL),
    "LKJ": Distribution({"eta": "positive"}, CORRELATION),
}

# Improper: nothing can be drawn from them.
IMPROPER = ("Flat", "HalfFlat", "JeffreysScale")
# Not of PyMC, so models handed to PyMC or Bambi must write them out.
OWN = ("JeffreysScale", "SqrtInverseGamma", "LKJ")


def in_closed_set(name: str) -> bool:
    """Whether poolwise's own kernel evaluates the density of this distribution."""
    return DISTRIBUTIONS[name].closed

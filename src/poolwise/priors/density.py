"""Log densities of the closed set of priors and their slopes, as one numba function of numbers."""

import math
from collections.abc import Mapping

import numba

from poolwise.priors.distributions import DISTRIBUTIONS, JOINT

# Codes of the kernel; a half distribution is its parent at mu = 0 with twice the density.
FLAT, NORMAL, STUDENT, LAPLACE, EXPONENTIAL, GAMMA, INVERSE_GAMMA, LOG_NORMAL, UNIFORM, JEFFREYS = range(10)
SQRT_INVERSE_GAMMA, BETA = 10, 11
HALF = 16  # added to the code of a parent that is folded at 0
_LOG_2PI = math.log(2 * math.pi)


def prior_code(distribution: str, params: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Code and up to three numbers of a prior of the closed set.

    Parameters
    ----------
    distribution : str
        Name.
    params : mapping of str to float
        Numbers only.

    Returns
    -------
    tuple of float
        (kind, p1, p2, p3) as :func:`prior_logpdf` takes them.
    """
    p = params
    match distribution:
        case "Flat":
            return (FLAT, 0.0, 0.0, 0.0)
        case "HalfFlat":
            return (UNIFORM, 0.0, math.inf, 0.0)
        case "Normal":
            return (NORMAL, p["mu"], p["sigma"], 0.0)
        case "HalfNormal":
            return (NORMAL + HALF, 0.0, p["sigma"], 0.0)
        case "StudentT":
            return (STUDENT, p["mu"], p["sigma"], p["nu"])
        case "HalfStudentT":
            return (STUDENT + HALF, 0.0, p["sigma"], p["nu"])
        case "Cauchy":
            return (STUDENT, p["alpha"], p["beta"], 1.0)
        case "HalfCauchy":
            return (STUDENT + HALF, 0.0, p["beta"], 1.0)
        case "Laplace":
            return (LAPLACE, p["mu"], p["b"], 0.0)
        case "Exponential":
            return (EXPONENTIAL, p["lam"], 0.0, 0.0)
        case "PC":
            # P(sd > u) = alpha, Simpson et al. (2017), Statistical Science 32, section 3.3.
            return (EXPONENTIAL, -math.log(p["alpha"]) / p["u"], 0.0, 0.0)
        case "Gamma":
            return (GAMMA, p["alpha"], p["beta"], 0.0)
        case "InverseGamma":
            return (INVERSE_GAMMA, p["alpha"], p["beta"], 0.0)
        case "SqrtInverseGamma":
            return (SQRT_INVERSE_GAMMA, p["alpha"], p["beta"], 0.0)
        case "LogNormal":
            return (LOG_NORMAL, p["mu"], p["sigma"], 0.0)
        case "Beta":
            return (BETA, p["alpha"], p["beta"], 0.0)
        case "Uniform":
            return (UNIFORM, p["lower"], p["upper"], 0.0)
        case "JeffreysScale":
            return (JEFFREYS, 0.0, 0.0, 0.0)
    if DISTRIBUTIONS[distribution].support == JOINT:
        # A factor of 1: the density of the set stands in priors/joint.py.
        return (FLAT, 0.0, 0.0, 0.0)
    raise ValueError(f"{distribution} is not of the closed set")


@numba.njit(cache=True, nogil=True)
def prior_logpdf(kind, p1, p2, p3, x):
    """Log density at x and its derivative by x; minus infinity and 0 outside the support.

    Improper priors have density 1 (Flat, HalfFlat) or 1 / x (JeffreysScale).
    """
    outside = (-math.inf, 0.0)
    folded = 0.0
    if kind >= HALF:
        kind -= HALF
        folded = math.log(2.0)
        if x < 0.0:
            return outside
    if kind == FLAT:
        return 0.0, 0.0
    if kind == NORMAL:
        z = (x - p1) / p2
        return folded - 0.5 * z * z - math.log(p2) - 0.5 * _LOG_2PI, -z / p2
    if kind == STUDENT:
        z = (x - p1) / p2
        constant = math.lgamma((p3 + 1) / 2) - math.lgamma(p3 / 2) - 0.5 * math.log(p3 * math.pi) - math.log(p2)
        return folded + constant - (p3 + 1) / 2 * math.log1p(z * z / p3), -(p3 + 1) * z / (p3 + z * z) / p2
    if kind == LAPLACE:
        z = (x - p1) / p2
        return -abs(z) - math.log(2 * p2), -math.copysign(1.0, z) / p2
    if kind == UNIFORM:
        if x < p1 or x > p2:
            return outside
        return (0.0 if math.isinf(p2) else -math.log(p2 - p1)), 0.0
    if x <= 0.0:
        if kind == EXPONENTIAL and x == 0.0:
            return math.log(p1), -p1
        return outside
    if kind == EXPONENTIAL:
        return math.log(p1) - p1 * x, -p1
    if kind == GAMMA:
        constant = p1 * math.log(p2) - math.lgamma(p1)
        return constant + (p1 - 1) * math.log(x) - p2 * x, (p1 - 1) / x - p2
    if kind == INVERSE_GAMMA:
        constant = p1 * math.log(p2) - math.lgamma(p1)
        return constant - (p1 + 1) * math.log(x) - p2 / x, -(p1 + 1) / x + p2 / (x * x)
    if kind == SQRT_INVERSE_GAMMA:
        # The variance v = x^2 is inverse-gamma; the density of x has the factor dv/dx = 2 x.
        v = x * x
        constant = p1 * math.log(p2) - math.lgamma(p1) + math.log(2.0)
        return constant - (2 * p1 + 1) * math.log(x) - p2 / v, -(2 * p1 + 1) / x + 2 * p2 / (v * x)
    if kind == LOG_NORMAL:
        z = (math.log(x) - p1) / p2
        return -0.5 * z * z - math.log(p2 * x) - 0.5 * _LOG_2PI, -(z / p2 + 1) / x
    if kind == BETA:
        if x >= 1.0:
            return outside
        constant = math.lgamma(p1 + p2) - math.lgamma(p1) - math.lgamma(p2)
        return constant + (p1 - 1) * math.log(x) + (p2 - 1) * math.log1p(-x), (p1 - 1) / x - (p2 - 1) / (1 - x)
    if kind == JEFFREYS:
        return -math.log(x), -1.0 / x
    return math.nan, math.nan

"""Log densities of the closed set of priors and their slopes, as one numba function of numbers."""

import math
from collections.abc import Mapping

import numba

from poolwise.priors.distributions import DISTRIBUTIONS, JOINT

# Codes of the kernel; a half distribution is its parent at mu = 0 with twice the density.
FLAT, NORMAL, STUDENT, LAPLACE, EXPONENTIAL, GAMMA, INVERSE_GAMMA, LOG_NORMAL, UNIFORM, JEFFREYS = range(10)
SQRT_INVERSE_GAMMA, BETA = 10, 11
WIDTH = 5  # numbers of a coded prior: its kind, three parameters, the log of its constant
HALF = 16  # added to the code of a parent that is folded at 0
_LOG_2PI = math.log(2 * math.pi)


def prior_code(distribution: str, params: Mapping[str, float]) -> tuple[float, float, float, float, float]:
    """Code, up to three numbers and the log of the normalising constant of a prior of the closed set.

    Parameters
    ----------
    distribution : str
        Name.
    params : mapping of str to float
        Numbers only.

    Returns
    -------
    tuple of float
        (kind, p1, p2, p3, constant) as :func:`prior_logpdf` takes them.
    """
    kind, *numbers = _kind_and_numbers(distribution, params)
    return (kind, *numbers, log_constant(kind, *numbers))


def _kind_and_numbers(distribution: str, p: Mapping[str, float]) -> tuple[int, float, float, float]:
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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_constant(kind, p1, p2, p3):
    """The part of a log density that is the same everywhere: its gamma functions and logs, once a model."""
    folded = 0.0
    if kind >= HALF:
        kind -= HALF
        folded = math.log(2.0)
    if kind in (NORMAL, LOG_NORMAL):
        return folded - math.log(p2) - 0.5 * _LOG_2PI
    if kind == STUDENT:
        return folded + math.lgamma((p3 + 1) / 2) - math.lgamma(p3 / 2) - 0.5 * math.log(p3 * math.pi) - math.log(p2)
    if kind == LAPLACE:
        return -math.log(2 * p2)
    if kind == UNIFORM:
        return 0.0 if math.isinf(p2) else -math.log(p2 - p1)
    if kind == EXPONENTIAL:
        return math.log(p1)
    if kind in (GAMMA, INVERSE_GAMMA):
        return p1 * math.log(p2) - math.lgamma(p1)
    if kind == SQRT_INVERSE_GAMMA:
        return p1 * math.log(p2) - math.lgamma(p1) + math.log(2.0)
    if kind == BETA:
        return math.lgamma(p1 + p2) - math.lgamma(p1) - math.lgamma(p2)
    return 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def prior_logpdf(kind, p1, p2, p3, constant, x):
    """Log density at x and its derivative by x; minus infinity and 0 outside the support.

    ``constant`` is what :func:`log_constant` returns for the numbers before it. Improper priors have density 1 (Flat,
    HalfFlat) or 1 / x (JeffreysScale).
    """
    outside = (-math.inf, 0.0)
    if kind >= HALF:
        kind -= HALF
        if x < 0.0:
            return outside
    if kind == FLAT:
        return 0.0, 0.0
    if kind == NORMAL:
        z = (x - p1) / p2
        return constant - 0.5 * z * z, -z / p2
    if kind == STUDENT:
        z = (x - p1) / p2
        return constant - (p3 + 1) / 2 * math.log1p(z * z / p3), -(p3 + 1) * z / (p3 + z * z) / p2
    if kind == LAPLACE:
        z = (x - p1) / p2
        return constant - abs(z), -math.copysign(1.0, z) / p2
    if kind == UNIFORM:
        if x < p1 or x > p2:
            return outside
        return constant, 0.0
    if x <= 0.0:
        if kind == EXPONENTIAL and x == 0.0:
            return constant, -p1
        return outside
    if kind == EXPONENTIAL:
        return constant - p1 * x, -p1
    if kind == GAMMA:
        return constant + (p1 - 1) * math.log(x) - p2 * x, (p1 - 1) / x - p2
    if kind == INVERSE_GAMMA:
        return constant - (p1 + 1) * math.log(x) - p2 / x, -(p1 + 1) / x + p2 / (x * x)
    if kind == SQRT_INVERSE_GAMMA:
        # The variance v = x^2 is inverse-gamma; the density of x has the factor dv/dx = 2 x.
        v = x * x
        return constant - (2 * p1 + 1) * math.log(x) - p2 / v, -(2 * p1 + 1) / x + 2 * p2 / (v * x)
    if kind == LOG_NORMAL:
        log_x = math.log(x)
        z = (log_x - p1) / p2
        return constant - 0.5 * z * z - log_x, -(z / p2 + 1) / x
    if kind == BETA:
        if x >= 1.0:
            return outside
        return constant + (p1 - 1) * math.log(x) + (p2 - 1) * math.log1p(-x), (p1 - 1) / x - (p2 - 1) / (1 - x)
    if kind == JEFFREYS:
        return -math.log(x), -1.0 / x
    return math.nan, math.nan

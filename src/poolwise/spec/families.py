"""The families of response distributions: their links, their further parameters, and what a response may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from poolwise.errors import UnknownNameError, near_names
from poolwise.priors.distributions import POSITIVE, REAL, UNIT
from poolwise.priors.prior import Prior

PROBABILITY = ("logit", "probit", "cloglog")
MEAN = ("identity", "log", "inverse")
RESIDUAL_SD = "residual_sd"
# Links under which a coefficient is a ratio or an odds ratio, whatever the units of the response.
UNITLESS = ("logit", "probit", "cloglog", "log")


@dataclass(frozen=True)
class Auxiliary:
    """A parameter of a family beside the one the formula predicts.

    Parameters
    ----------
    name : str
        As in Bambi: sigma, alpha, kappa, nu, psi, threshold.
    support : str
        real, positive or unit (between 0 and 1).
    prior : Prior or None
        Where no preset has one; None for sigma, whose role every preset has.
    ordered : bool
        Whether it is a vector of increasing numbers, one between two neighbouring levels (thresholds).
    vector : bool
        Whether it is a vector, one number between two levels.
    """

    name: str
    support: str
    prior: Prior | None = None
    ordered: bool = False
    vector: bool = False

    @property
    def role(self) -> str:
        """Role in a preset: the residual sd, or the parameter's own name in the preset's [family] table."""
        return RESIDUAL_SD if self.name == "sigma" else self.name


@dataclass(frozen=True)
class Family:
    """A family of response distributions.

    Parameters
    ----------
    name : str
        As in Bambi.
    parent : str
        The parameter that the formula predicts: ``mu`` or ``p``.
    link : str
        What is linear: identity, log, logit, probit, cloglog, inverse, inverse_squared.
    links : tuple of str
        The links there are.
    holds : str
        What the response holds: real, positive, unit, circle, count, binary, trials, nonnegative, levels,
        categories, or counts (of every category in a row).
    auxiliaries : tuple of Auxiliary
        Its further parameters.
    """

    name: str
    parent: str
    link: str
    links: tuple[str, ...]
    holds: str
    auxiliaries: tuple[Auxiliary, ...] = ()

    @property
    def gaussian(self) -> bool:
        """Whether group-specific effects can be integrated out in closed form."""
        return self.name == "gaussian" and self.link == "identity"

    @property
    def categorical(self) -> bool:
        """Whether each category of the response has a linear predictor of its own."""
        return self.holds in ("categories", "counts")

    @property
    def has_reference(self) -> bool:
        """Whether the first category has no linear predictor: the others are log odds against it."""
        return self.link == "softmax"

    @property
    def has_intercept(self) -> bool:
        """Whether the common part may have an intercept; thresholds take its place in ordinal families."""
        return not any(own.vector for own in self.auxiliaries)

    @property
    def has_sigma(self) -> bool:
        """Whether there is a residual standard deviation."""
        return any(own.name == "sigma" for own in self.auxiliaries)

    def __str__(self) -> str:
        return self.name if self.link == _FAMILIES[self.name].link else f"{self.name}(link={self.link!r})"


def _positive(name: str, prior: Prior) -> Auxiliary:
    return Auxiliary(name, POSITIVE, prior)


# Where no preset says otherwise: the defaults of Bambi for parameters without a natural unit.
_SIGMA = Auxiliary("sigma", POSITIVE)
_ALPHA = _positive("alpha", Prior("HalfCauchy", beta=1))
_KAPPA = _positive("kappa", Prior("HalfCauchy", beta=1))
_PSI = Auxiliary("psi", UNIT, Prior("Beta", alpha=2, beta=2))
_THRESHOLD = Auxiliary("threshold", REAL, Prior("StudentT", nu=3, mu=0, sigma=2.5), ordered=True, vector=True)
_STEP = replace(_THRESHOLD, ordered=False)

_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family("gaussian", "mu", "identity", MEAN, "real", (_SIGMA,)),
            Family("bernoulli", "p", "logit", (*PROBABILITY, "identity"), "binary"),
            Family("binomial", "p", "logit", (*PROBABILITY, "identity"), "trials"),
            Family("beta_binomial", "mu", "logit", PROBABILITY, "trials", (_KAPPA,)),
            Family("zero_inflated_binomial", "p", "logit", PROBABILITY, "trials", (_PSI,)),
            Family("poisson", "mu", "log", ("log", "identity"), "count"),
            Family("negativebinomial", "mu", "log", ("log", "identity", "cloglog"), "count", (_ALPHA,)),
            Family("zero_inflated_poisson", "mu", "log", ("log", "identity"), "count", (_PSI,)),
            Family(
                "zero_inflated_negativebinomial", "mu", "log", ("log", "identity", "cloglog"), "count", (_ALPHA, _PSI)
            ),
            Family("hurdle_poisson", "mu", "log", ("log", "identity"), "count", (_PSI,)),
            Family("hurdle_negativebinomial", "mu", "log", ("log", "identity", "cloglog"), "count", (_ALPHA, _PSI)),
            Family("gamma", "mu", "inverse", MEAN, "positive", (_ALPHA,)),
            Family("hurdle_gamma", "mu", "log", MEAN, "nonnegative", (_ALPHA, _PSI)),
            Family("weibull", "mu", "log", MEAN, "positive", (_ALPHA,)),
            Family("exponential", "mu", "log", MEAN, "positive"),
            Family(
                "wald",
                "mu",
                "inverse_squared",
                ("inverse_squared", *MEAN),
                "positive",
                (_positive("lam", Prior("HalfCauchy", beta=1)),),
            ),
            Family("lognormal", "mu", "identity", MEAN, "positive", (_SIGMA,)),
            Family("hurdle_lognormal", "mu", "identity", MEAN, "nonnegative", (_SIGMA, _PSI)),
            Family(
                "t",
                "mu",
                "identity",
                MEAN,
                "real",
                (_SIGMA, _positive("nu", Prior("Gamma", alpha=2, beta=0.1))),
            ),
            Family("laplace", "mu", "identity", MEAN, "real", (_positive("b", Prior("HalfNormal", sigma=1)),)),
            Family(
                "asymmetriclaplace",
                "mu",
                "identity",
                MEAN,
                "real",
                (_positive("b", Prior("HalfNormal", sigma=1)), _positive("kappa", Prior("HalfNormal", sigma=1))),
            ),
            Family(
                "exgaussian",
                "mu",
                "identity",
                MEAN,
                "real",
                (_SIGMA, _positive("nu", Prior("HalfNormal", sigma=1))),
            ),
            Family("beta", "mu", "logit", PROBABILITY, "unit", (_KAPPA,)),
            Family(
                "vonmises",
                "mu",
                "identity",
                ("identity",),
                "circle",
                (_positive("kappa", Prior("HalfNormal", sigma=1)),),
            ),
            Family("cumulative", "p", "logit", PROBABILITY, "levels", (_THRESHOLD,)),
            Family("sratio", "p", "logit", PROBABILITY, "levels", (_STEP,)),
            Family("categorical", "p", "softmax", ("softmax",), "categories"),
            Family("multinomial", "p", "softmax", ("softmax",), "counts"),
            Family("dirichlet_multinomial", "a", "log", ("log",), "counts"),
        )
    }
)
FAMILIES = tuple(_FAMILIES)
# Words of other programs, without spaces, underscores and capitals.
_ELSEWHERE = {
    "negbinomial": "negativebinomial",
    "negbin": "negativebinomial",
    "nbinom": "negativebinomial",
    "nbinom2": "negativebinomial",
    "zeroinflatednegbinomial": "zero_inflated_negativebinomial",
    "hurdlenegbinomial": "hurdle_negativebinomial",
    "ordinal": "cumulative",
    "ordered": "cumulative",
    "normal": "gaussian",
    "student": "t",
    "inversegaussian": "wald",
}
GAUSSIAN = _FAMILIES["gaussian"]


def family_of(name: str, link: str | None = None) -> Family:
    """A family by name, with its own link or another of its links.

    Parameters
    ----------
    name : str
        As in Bambi: ``"bernoulli"``, ``"poisson"``.
    link : str, optional
        The family's usual one by default.

    Returns
    -------
    Family

    Raises
    ------
    UnknownNameError
        For a family or link that is not there; lists the near ones.

    Examples
    --------
    >>> str(family_of("bernoulli", "probit"))
    "bernoulli(link='probit')"
    """
    if not isinstance(name, str) or name not in _FAMILIES:
        near = _ELSEWHERE.get(str(name).lower().replace("_", "").replace(" ", ""), str(name))
        raise UnknownNameError(f"family {name!r} is not available; {near_names(near, FAMILIES, len(FAMILIES))}")
    family = _FAMILIES[name]
    if link is None:
        return family
    if link not in family.links:
        raise UnknownNameError(f"family {name!r} has no link {link!r}; {near_names(str(link), family.links)}")
    return replace(family, link=link)

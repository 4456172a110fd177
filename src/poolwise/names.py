"""Every name that a posterior, a design or a table carries, once; Bambi's, so ArviZ users find what they know."""

from collections.abc import Hashable, Iterable, Sequence

INTERCEPT = "Intercept"
SIGMA = "sigma"
CHAIN, DRAW = "chain", "draw"
OBSERVATION = "__obs__"
# Ends the second dimension of a correlation matrix.
BIS = "__effect_bis"

# Columns of the tidy table of coefficients.
COEF_COLUMNS = ["factor", "group", "term", "estimate", "lower", "upper", "n"]


def variable(name: str) -> str:
    """The name without ``/``, which xarray keeps for paths, and without a leading ``~``, ArviZ's sign for "all but".

    A division slash and a tilde operator stand in their places.

    Examples
    --------
    >>> variable("km/h")
    'km∕h'
    """
    name = "\N{TILDE OPERATOR}" + name[1:] if name.startswith("~") else name
    return name.replace("/", "\N{DIVISION SLASH}")


def effect(term: str, factor: str) -> str:
    """Variable of a group-specific effect: ``1|county`` for the intercept, else ``std_age|county``."""
    return variable(f"{'1' if term == INTERCEPT else term}|{factor}")


def group_sd(term: str, factor: str) -> str:
    """Variable of a group standard deviation: ``1|county_sigma``."""
    return f"{effect(term, factor)}_sigma"


def log_sd(term: str, factor: str, covariate: str) -> str:
    """Variable of a coefficient of the log of a group sd: ``1|county_logsd_z``."""
    return f"{effect(term, factor)}_logsd_{variable(covariate)}"


def correlation(factor: str) -> str:
    """Variable of the correlations between the effects of a factor: ``corr|county``."""
    return variable(f"corr|{factor}")


def in_category(name: str, category: str) -> str:
    """A name in the linear predictor of one category of the response; the name itself without one.

    Examples
    --------
    >>> in_category("x", "low"), in_category("f[b]", "low"), in_category("x", "")
    ('x[low]', 'f[b, low]', 'x')
    """
    if not category:
        return name
    return f"{name[:-1]}, {category}]" if name.endswith("]") else f"{name}[{category}]"


def category_dim(response: str) -> str:
    """Dimension of the categories of a response after the first, which its effects have: ``y_reduced_dim``."""
    return dimension(f"{response}_reduced_dim")


def dimension(name: str) -> str:
    """A name that a dimension can have, without commas, at which the sampler splits lists of dimensions.

    Examples
    --------
    >>> dimension("mm(g1, g2)__factor_dim")
    'mm(g1 g2)__factor_dim'
    """
    return variable(name).replace(", ", " ").replace(",", " ")


def group_dim(factor: str) -> str:
    """Dimension of a factor's groups: ``county__factor_dim``."""
    return dimension(f"{factor}__factor_dim")


def kind_dim(factor: str) -> str:
    """Dimension of the kinds of a factor's groups: ``county__kind``."""
    return dimension(f"{factor}__kind")


def expression_dim(term: str) -> str:
    """Dimension of the columns of a categorical or spline term inside a block."""
    return dimension(f"{term}__expr_dim")


def term_dim(term: str) -> str:
    """Dimension of the columns of a categorical or spline common term."""
    return dimension(f"{term}_dim")


def correlation_dims(factor: str) -> tuple[str, str]:
    """Dimensions of the correlation matrix of a factor."""
    return dimension(f"{factor}__effect"), dimension(f"{factor}{BIS}")


def is_correlation(dims: Sequence[Hashable]) -> bool:
    """Whether a variable of these dimensions is a correlation matrix, or one a kind of group."""
    return bool(dims) and str(dims[-1]).endswith(BIS)


def cell_label(labels: Iterable[object]) -> str:
    """Label of a group of an interaction, ``a:b``; tuples keep the cells apart, never this text."""
    return ":".join(str(label) for label in labels)


def aliases(terms: Iterable[str], reserved: Iterable[str]) -> dict[str, str]:
    """Names for terms that would collide with parameters: a predictor called ``sigma`` becomes ``sigma_predictor``.

    Examples
    --------
    >>> aliases(["x", "sigma"], ["sigma", "Intercept"])
    {'sigma': 'sigma_predictor'}
    """
    terms = list(terms)
    taken = set(terms) | set(reserved)
    found = {}
    for term in terms:
        if term in set(reserved):
            alias = f"{term}_predictor"
            while alias in taken:
                alias += "_"
            taken.add(alias)
            found[term] = alias
    return found

"""What a prior implies before the data, on scales that people can judge."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.errors import ArgumentError
from poolwise.priors.scale import within_group_sd
from poolwise.result import tables
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.prior_draws import PriorDraws, improper_of, prior_draws
from poolwise.spec.specification import Specification

# Group sizes that are shown: smallest, quartiles, largest.
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Fewer draws cannot place the ends of an interval.
LEAST_DRAWS = 100
COLUMNS = ["quantity", "about", "estimate", "lower", "upper"]


@dataclass(frozen=True)
class VaryingEffect:
    """An effect that varies between groups, with what decides how much it is pooled.

    Parameters
    ----------
    name : str
        Of the effect, ``1|county`` or ``std_age|county``.
    parameter : str
        Of its standard deviation.
    factor, term : str
        Grouping factor, and ``Intercept`` or the predictor.
    sizes : tuple of int
        Group sizes that occur: smallest, quartiles, largest.
    ratio : ndarray (D,)
        Draws of sigma^2 over the effect's variance between groups; an intercept's at the predictors' means.
    information : float
        What a row of a group tells about the effect: 1 for an intercept, the predictor's variance for a slope, times
        the mean precision weight.
    lost : int
        Rows that tell nothing: 1 where the group's own intercept has to be estimated beside a slope.
    """

    name: str
    parameter: str
    factor: str
    term: str
    sizes: tuple[int, ...]
    ratio: Array
    information: float
    lost: int

    def pooling(self, n: float) -> Array:
        """Draws (D,) of the pooling factor in a group of n rows: 1 is complete pooling, 0 is none."""
        rows = (n - self.lost) * self.information
        return self.ratio / (rows + self.ratio) if rows > 0 else np.ones_like(self.ratio)


@dataclass(frozen=True)
class PriorImplications:
    """What :meth:`poolwise.Model.prior_implies` found.

    Parameters
    ----------
    table : DataFrame
        Columns quantity, about, estimate (prior median), lower, upper.
    level : float
        Probability of the equal-tailed interval.
    design : Design
        Of the model.
    drawn : PriorDraws
        The parameters.
    effects : tuple of VaryingEffect
        What varies between groups.
    correlation : mapping of str to ndarray (D,)
        Draws of the intraclass correlation by grouping factor.
    left_out : tuple of str
        Common effects with improper priors: nothing is said about what depends on them.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> implied = model.prior_implies(seed=1)
    >>> implied.table.columns.tolist()
    ['quantity', 'about', 'estimate', 'lower', 'upper']
    """

    table: pd.DataFrame
    level: float
    design: Design = field(repr=False)
    drawn: PriorDraws = field(repr=False)
    effects: tuple[VaryingEffect, ...] = field(default=(), repr=False)
    correlation: Mapping[str, Array] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()

    @property
    def sd_y(self) -> float:
        """The data's own sd of the response, offset taken off."""
        return _sd_y(self.design)

    def pooling(self, sizes: Iterable[float]) -> pd.DataFrame:
        """Pooling factors for group sizes of your own.

        Parameters
        ----------
        sizes : iterable of float
            Rows in a group.

        Returns
        -------
        DataFrame
            Columns effect, n, estimate, lower, upper.

        Raises
        ------
        ArgumentError
            For no sizes, or sizes that are not positive.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> implied = model.prior_implies(seed=1)
        >>> implied.pooling([2, 50]).shape
        (4, 5)
        """
        sizes = list(sizes)
        if not sizes or not all(np.isfinite(n) and n > 0 for n in sizes):
            raise ArgumentError(f"sizes must be numbers of rows in a group, such as [1, 10, 100]; got {sizes!r}")
        rows = [(one.name, n, *interval(one.pooling(n), self.level)) for one in self.effects for n in sizes]
        return pd.DataFrame(rows, columns=["effect", "n", "estimate", "lower", "upper"])

    def _head(self) -> str:
        low, high = f"{50 * (1 - self.level):g}", f"{50 * (1 + self.level):g}"
        return f"Before the data, the priors imply (median, {low} to {high} %):"

    def _foot(self) -> list[str]:
        said = ["pooling factor: 1 is complete pooling, 0 is none"] if self.effects else []
        if self.left_out:
            said.append(
                f"left out, as the priors of {', '.join(map(repr, self.left_out))} are improper: R2, the response"
            )
        return said

    def __repr__(self) -> str:
        wide = [max((len(str(value)) for value in self.table[column]), default=0) for column in COLUMNS[:2]]
        rows = [
            f"  {row.quantity:<{wide[0]}}  {row.about:<{wide[1]}} {row.estimate:8.3g}   "
            f"{row.lower:.3g} to {row.upper:.3g}"
            for row in self.table.itertuples(index=False)
        ]
        return "\n".join([self._head(), *rows, *(f"  ({text})" for text in self._foot())])

    def _repr_html_(self) -> str:
        foot = "".join(f"<small>{escape(text)}</small><br>" for text in self._foot())
        return f"<p>{escape(self._head())}</p>{self.table.to_html(index=False, float_format='%.3g')}{foot}"


def interval(values: Array, level: float) -> tuple[float, float, float]:
    """Median and ends of the equal-tailed interval."""
    tail = (1 - level) / 2
    middle, lower, upper = np.quantile(values, [0.5, tail, 1 - tail])
    return float(middle), float(lower), float(upper)


def prior_implications(specification: Specification, draws: int, seed: int | None, level: float) -> PriorImplications:
    """Push the priors forward to pooling factors, intraclass correlations, R2 and spreads.

    Parameters
    ----------
    specification : Specification
        Design and priors.
    draws : int
        Draws from the prior.
    seed : int or None
    level : float
        Probability of the intervals.

    Returns
    -------
    PriorImplications

    Raises
    ------
    ArgumentError
        For a family without a residual variance.
    PriorError
        If the prior of a group sd or of sigma is improper; without groups also that of a common effect.

    Notes
    -----
    Pooling factor of n rows: (sigma^2 / i) / (sigma^2 / i + sd^2), 1 being complete pooling. For an intercept i = n,
    its sd taken at the predictors' means; for a slope beside varying intercepts i = (n - 1) v, the expected sum of
    squares of its predictor in a group, v the pooled variance within groups; for a slope alone i = n times the
    predictor's mean square. ICC: variance of the group-specific part, averaged over the rows, over that plus sigma^2.
    R2: variance of the common part over the rows, over the variance of the response. Precision weights divide sigma^2;
    frequency weights count rows.

    References
    ----------
    Gelman & Pardoe (2006), Technometrics 48, 241-251. Gelman, Goodrich, Gabry & Vehtari (2019), American Statistician
    73, 307-309.
    """
    level = tables.check_level(level)
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < LEAST_DRAWS:
        raise ArgumentError(f"draws must be a whole number of at least {LEAST_DRAWS}; got {draws!r}")
    design, priors = specification.design, specification.priors
    if not design.family.has_sigma:
        raise ArgumentError(
            f"prior_implies sets the variance between groups against the residual variance, which family "
            f"{design.family.name!r} does not have; look at Model.prior_predictive() instead"
        )
    # Flat common effects, as brms has them, say nothing of the response, but the groups do not depend on them.
    flat = tuple(name for name in improper_of(priors) if design.factors and name in design.coefficient_names)
    drawn = prior_draws(
        design, priors, int(draws), np.random.default_rng(seed), centred=specification.centred, without=flat
    )
    rows: list[tuple[str, str, float, float, float]] = []

    def add(quantity: str, about: str, values: Array) -> None:
        rows.append((quantity, about, *interval(values, level)))

    counts, precision = _weights(design)
    residual = drawn.sigma**2 * float(np.average(1 / precision, weights=counts))
    effects: list[VaryingEffect] = []
    parts: dict[str, Array] = {}
    for factor, T in zip(design.factors, drawn.group_factors, strict=True):
        covariance = T @ T.swapaxes(-1, -2)
        at_mean = np.average(factor.Z, axis=0, weights=counts)
        spread = np.einsum("dkl,k,l->d", covariance, at_mean, at_mean)
        own = _varying_effects(factor, covariance, spread, drawn.sigma**2, counts, float(precision.mean()))
        for effect in own:
            for n in effect.sizes:
                add(f"pooling factor of {effect.name}", f"n = {n}", effect.pooling(n))
        effects += own
        second = (factor.Z * counts[:, None]).T @ factor.Z / counts.sum()
        parts[factor.name] = np.einsum("dkl,kl->d", covariance, second)
        add("sd of group means", f"{factor.name}, units of {design.response}", np.sqrt(spread))
    groups = np.sum(list(parts.values()), axis=0) if parts else np.zeros(int(draws))
    correlation = {name: part / (groups + residual) for name, part in parts.items()}
    for name, values in correlation.items():
        add("intraclass correlation", name, values)
    # What hangs on the intercept alone is not in the variance over the rows.
    if all(name == names.INTERCEPT for name in flat):
        moved = design.X - np.average(design.X, axis=0, weights=counts)
        b = np.where(np.isnan(drawn.coefficients), 0.0, drawn.coefficients)
        common = np.einsum("dp,pr,dr->d", b, (moved * counts[:, None]).T @ moved / counts.sum(), b)
        total = common + groups + residual
        if design.X.shape[1] > (design.intercept >= 0):
            add("R2 of the common part", "share of the variance", common / total)
        add("sd of the response", f"units of {design.response}", np.sqrt(total))
        add("sd of the response", "over the data's", np.sqrt(total) / _sd_y(design))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return PriorImplications(frame, level, design, drawn, tuple(effects), correlation, flat)


def _weights(design: Design) -> tuple[Array, Array]:
    """How many rows each row counts for, and its precision relative to sigma^2, (n,) each."""
    ones = np.ones(design.n)
    if design.weights is None:
        return ones, ones
    return (design.weights, ones) if design.frequency else (ones, design.weights)


def _sd_y(design: Design) -> float:
    counts, _ = _weights(design)
    y = design.y - design.offset
    return float(np.sqrt(counts @ (y - np.average(y, weights=counts)) ** 2 / (counts.sum() - 1)))


def _varying_effects(
    factor: GroupingFactor, covariance: Array, spread: Array, variance: Array, counts: Array, precision: float
) -> list[VaryingEffect]:
    rows = np.bincount(factor.codes, weights=counts, minlength=factor.J).round().astype(int)
    sizes = tuple(int(n) for n in np.unique(np.quantile(rows, QUANTILES, method="nearest")))
    beside = names.INTERCEPT in factor.effects
    found = []
    for k, (effect, parameter) in enumerate(zip(factor.effects, factor.sd_names, strict=True)):
        intercept = effect == names.INTERCEPT
        column = factor.Z[:, k]
        square = within_group_sd(column, factor.codes) ** 2 if beside else float(np.average(column**2, weights=counts))
        found.append(
            VaryingEffect(
                name=names.effect(effect, factor.name),
                parameter=parameter,
                factor=factor.name,
                term=effect,
                sizes=sizes,
                ratio=variance / (spread if intercept else covariance[:, k, k]),
                information=precision * (1.0 if intercept else square),
                lost=int(beside and not intercept),
            )
        )
    return found


def share_beyond(
    centre: float,
    sds: Array,
    rng: np.random.Generator,
    inverse_link: Callable[[Array], Array],
    low: float = 0.01,
    high: float = 0.99,
) -> float:
    """Share of group probabilities, or means, below ``low`` or above ``high``, one group drawn for each group sd.

    Parameters
    ----------
    centre : float
        The population's value on the link scale.
    sds : ndarray (D,)
        Draws of the group sd on the link scale.
    rng : numpy.random.Generator
    inverse_link : callable
        From the link scale to that of the response.
    low, high : float

    Returns
    -------
    float
    """
    values = inverse_link(centre + sds * rng.standard_normal(len(sds)))
    return float(np.mean((values < low) | (values > high)))

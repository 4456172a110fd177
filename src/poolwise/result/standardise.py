"""Rates of groups made comparable, directly or indirectly standardised, and their ranks: all on posterior draws.

With alpha_j all that belongs to group j (its effects, and the columns that describe it), x_i all else of row i, m the
mean of the response and w_i how often a row counts (trials, frequencies):

    direct     D_j = sum_i w_i m(x_i, alpha_j) / sum_i w_i                              over all rows of the reference
    indirect   I_j = rate * sum_{i in j} w_i m(x_i, alpha_j) / sum_{i in j} w_i m(x_i, typical)

The direct rate is monotone in alpha_j, and every group is asked about the same rows. The indirect one averages over
another set of rows in each group: two groups with the same alpha get different rates wherever the link is not linear in
the log, and the order of the rates need not be that of the alphas.

Long for its docstrings: two definitions of a rate and the ranks of either are one idea.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.data.intake import as_frame
from poolwise.errors import ArgumentError, DataError, FitError, UnknownNameError, near_names
from poolwise.result import tables
from poolwise.result.expectation import mean_of
from poolwise.result.group_modes import POPULATION_MEAN
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.response import trials_of

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit
    from poolwise.spec.design import Design

DIRECT, INDIRECT = METHODS = ("direct", "indirect")
# Linear predictors held at a time, about 100 MB, and those of a whole call, some minutes.
BLOCK_NUMBERS = 10_000_000
MOST_NUMBERS = 20_000_000_000


@dataclass(frozen=True, eq=False)
class StandardisedRates:
    """Draws of the standardised rate of every group.

    Parameters
    ----------
    draws : ndarray (D, J)
        On the scale of the response's mean: a probability, a count, the response's units.
    factor : GroupingFactor
        Whose groups they are.
    method : {"direct", "indirect"}
        How they were standardised.
    group_columns : tuple of str
        Columns that were taken to describe the group rather than its rows.
    observed, expected : ndarray (J,)
        Mean of each group's own rows, and, of indirect rates, the posterior mean of what a typical group would have.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model(
    ...     "p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(hospitals=20), "binomial"
    ... )
    >>> fit = model.fit(seed=1, progress=False)
    >>> pw.standardised_rates(fit).draws.shape
    (4000, 20)
    """

    draws: Array
    factor: GroupingFactor
    method: str
    group_columns: tuple[str, ...]
    observed: Array
    expected: Array | None = None

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """The rates with equal-tailed intervals.

        Parameters
        ----------
        level : float, default 0.95
            Probability of the interval.

        Returns
        -------
        DataFrame
            Columns group, n (rows), observed, expected (indirect only), estimate (posterior mean), lower, upper.

        Raises
        ------
        ArgumentError
            If level is not between 0 and 1.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model(
        ...     "p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(hospitals=20), "binomial"
        ... )
        >>> fit = model.fit(seed=1, progress=False)
        >>> pw.standardised_rates(fit, method="indirect").table(0.9).columns.tolist()
        ['group', 'n', 'observed', 'expected', 'estimate', 'lower', 'upper']
        """
        tail = (1 - tables.check_level(level)) / 2
        lower, upper = np.quantile(self.draws, [tail, 1 - tail], axis=0)
        columns = {"group": self.factor.labels, "n": self.factor.sizes, "observed": self.observed}
        if self.expected is not None:
            columns["expected"] = self.expected
        return pd.DataFrame(columns | {"estimate": self.draws.mean(axis=0), "lower": lower, "upper": upper})

    def ranks(self, worst: str = "highest", share: float = 0.1, level: float = 0.95) -> pd.DataFrame:
        """Ranks of the groups, see :func:`rank_groups`.

        Parameters
        ----------
        worst : {"highest", "lowest"}, default "highest"
            Which rates are bad: rank J is the worst group.
        share : float, default 0.1
            Of the groups that count as the worst.
        level : float, default 0.95
            Probability of the rank interval.

        Returns
        -------
        DataFrame
            Columns group, n, rate, rank, median, lower, upper, p_worst.

        Raises
        ------
        ArgumentError
            If ``share`` or ``level`` is not between 0 and 1, or ``worst`` is another word.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model(
        ...     "p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(hospitals=20), "binomial"
        ... )
        >>> fit = model.fit(seed=1, progress=False)
        >>> round(float(pw.standardised_rates(fit).ranks()["p_worst"].sum()), 6)
        2.0
        """
        if worst not in ("highest", "lowest"):
            raise ArgumentError(f"worst must be 'highest' or 'lowest'; got {worst!r}")
        if not 0 < share < 1:
            raise ArgumentError(f"share must lie strictly between 0 and 1, for instance 0.1; got {share!r}")
        tail = (1 - tables.check_level(level)) / 2
        signed = self.draws if worst == "highest" else -self.draws
        ranks = np.argsort(np.argsort(signed, axis=1, kind="stable"), axis=1) + 1
        J = self.factor.J
        lower, median, upper = np.quantile(ranks, [tail, 0.5, 1 - tail], axis=0, method="inverted_cdf")
        return pd.DataFrame(
            {
                "group": self.factor.labels,
                "n": self.factor.sizes,
                "rate": self.draws.mean(axis=0),
                "rank": ranks.mean(axis=0),
                "median": median.astype(int),
                "lower": lower.astype(int),
                "upper": upper.astype(int),
                "p_worst": (ranks > J - max(1, round(share * J))).mean(axis=0),
            }
        )

    def __repr__(self) -> str:
        described = ", ".join(self.group_columns) or "none"
        table = self.table()
        shown = table if len(table) <= 20 else pd.concat([table.head(10), table.tail(10)])
        return (
            f"Rates of {self.factor.J} groups of {self.factor.name}, {self.method} standardisation, {len(self.draws)} "
            f"draws; columns that describe the group: {described}\n{shown.to_string(index=False, float_format='%.4g')}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self).splitlines()[0])}</p>{self.table().to_html(index=False, float_format='%.4g')}"


def standardised_rates(
    fit: "BayesFit",
    factor: str | None = None,
    method: str = "direct",
    *,
    reference: Any = None,
    group_columns: Sequence[str] | None = None,
) -> StandardisedRates:
    """Rates of the groups of a factor, their mixes of rows adjusted for.

    Parameters
    ----------
    fit : BayesFit
        Of any family; only those of a positive mean have indirect rates.
    factor : str, optional
        Grouping factor; the first by default.
    method : {"direct", "indirect"}, default "direct"
        Direct: the mean of the response if all rows of the reference were in the group; rates of groups compare.
        Indirect: the group's own rows, as they fare there over how they would fare in a typical group, times the
        overall rate; each rate answers for the group's own rows, and two of them do not compare.
    reference : DataFrame, optional
        Rows to standardise to, with the trials of a binomial response; the data of the fit by default.
    group_columns : sequence of str, optional
        Predictors that describe the group (its size, its staff, its region) rather than its rows: they stay with the
        group, and a typical group has them averaged over the data's rows on the scale of the linear predictor.
        Otherwise quality that they carry would be adjusted away. By default those that are constant in every group.

    Returns
    -------
    StandardisedRates

    Notes
    -----
    Rows keep the groups they have in other factors; groups of a factor nested in this one stand at their mean.

    Raises
    ------
    ArgumentError, FitError
        For a fit without draws, an indirect rate without a positive mean, data with one row a group where
        ``group_columns`` has to be stated, or more numbers than some minutes can serve.

    References
    ----------
    George, Rockova, Rosenbaum, Satopaa & Silber (2017), J. Am. Stat. Assoc. 112(519), 933-947, for direct
    standardisation of hospitals; Roessler, Schmitt & Schoffer (2021), PLoS ONE 16(9), e0257003, for what indirect
    rates lack; Ash et al. (2012), the COPSS-CMS white paper, for the indirect ones in use.

    Examples
    --------
    >>> import poolwise as pw
    >>> data = pw.hospital_mortality(hospitals=20)
    >>> model = pw.Model("p(died, patients) ~ risk + (1 | hospital)", data, family="binomial")
    >>> rates = standardised_rates(model.fit(seed=1, progress=False))
    >>> list(rates.table().columns)
    ['group', 'n', 'observed', 'estimate', 'lower', 'upper']
    """
    if method not in METHODS:
        raise ArgumentError(f"method must be 'direct' or 'indirect'; got {method!r}")
    if not hasattr(fit, "linear_predictor"):
        raise ArgumentError(
            f"standardised rates are made from draws of a posterior, which {type(fit).__name__} does not have; "
            "use Model.fit()"
        )
    design = fit.design
    if design.family.categorical:
        refuse_grouping(design, "the rate of a group")
    chosen = tables.choose_factor(design, factor)
    if chosen is not None and chosen.members is not None:
        refuse_grouping(design, "the rate of a group")
    if chosen is None:
        raise FitError("this fit has no grouping factor, so there are no groups to standardise")
    if method == INDIRECT and design.family.holds in ("real", "circle"):
        raise ArgumentError(
            f"an indirect rate is a ratio of means, and those of family {design.family.name!r} may be negative; use "
            "method='direct'"
        )
    own = _group_columns(fit, chosen, group_columns)
    cells = _cells(fit, chosen, own, reference)
    if len(fit.coefficients) * len(cells.frame) * chosen.J > MOST_NUMBERS:
        raise FitError(
            f"{len(fit.coefficients)} draws of {len(cells.frame)} distinct rows in {chosen.J} groups take too long; "
            "give reference= with fewer rows, drawn at random or with counts as trials, or round the predictors"
        )
    observed = _by_group(design.outcome.scaled, design, chosen)
    if method == DIRECT:
        draws = _direct(fit, chosen, own, cells)
        return StandardisedRates(draws, chosen, method, own, observed)
    draws, expected = _indirect(fit, chosen, own, cells)
    return StandardisedRates(draws, chosen, method, own, observed, expected)


def rank_groups(
    fit: "BayesFit | StandardisedRates",
    factor: str | None = None,
    *,
    method: str = "direct",
    worst: str = "highest",
    share: float = 0.1,
    level: float = 0.95,
    reference: Any = None,
    group_columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Ranks of the groups by their standardised rates, with their uncertainty.

    Parameters
    ----------
    fit : BayesFit or StandardisedRates
        A fit is standardised first.
    factor, method, reference, group_columns
        As :func:`standardised_rates` has them.
    worst : {"highest", "lowest"}, default "highest"
        Which rates are bad: rank J is the worst group.
    share : float, default 0.1
        Of the groups that count as the worst: 0.1 for the worst decile.
    level : float, default 0.95
        Probability of the rank interval.

    Returns
    -------
    DataFrame
        Columns group, n, rate, rank (posterior mean of the rank, which minimises squared error), median, lower, upper
        (quantiles of the rank), p_worst (posterior probability to be among the worst share).

    References
    ----------
    Laird & Louis (1989), J. Educational Statistics 14(1), 29-46, for the expected rank; Goldstein & Spiegelhalter
    (1996), J. R. Stat. Soc. A 159(3), 385-443, for rank intervals; Lin, Louis, Paddock & Ridgeway (2006), Bayesian
    Analysis 1(4), 915-946, for the probability to be beyond a percentile.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model(
    ...     "p(died, patients) ~ risk + (1 | hospital)", pw.hospital_mortality(hospitals=20), "binomial"
    ... )
    >>> fit = model.fit(seed=1, progress=False)
    >>> round(float(pw.rank_groups(fit, share=0.1)["p_worst"].sum()), 6)
    2.0
    """
    if not isinstance(fit, StandardisedRates):
        fit = standardised_rates(fit, factor, method, reference=reference, group_columns=group_columns)
    return fit.ranks(worst, share, level)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Distinct rows of the reference without what belongs to the group, and how often each occurs in each group."""

    frame: pd.DataFrame
    counts: Array  # (J, cells): of the fit's own rows
    reference: Array  # (cells,)
    group_rows: pd.DataFrame  # (J rows): the group's label and its columns
    shares: Array  # (J,): of the fit's rows


def _group_columns(fit: "BayesFit", factor: GroupingFactor, stated: Sequence[str] | None) -> tuple[str, ...]:
    candidates = _other_columns(fit, factor)
    if stated is not None:
        for column in stated:
            if column not in candidates:
                raise UnknownNameError(f"group_columns names no predictor {column!r}; {near_names(column, candidates)}")
            if fit.design.frame.groupby(factor.codes)[column].nunique().max() > 1:
                raise DataError(
                    f"the column {column!r} differs within groups of {factor.name!r}: it is not the group's"
                )
        return tuple(stated)
    if fit.design.formula.predictors and factor.sizes.max() == 1:
        raise ArgumentError(
            f"with one row a group of {factor.name!r} every column is constant within groups; say which describe the "
            f"group rather than its rows with group_columns=, out of {', '.join(map(repr, candidates))} (or [])"
        )
    distinct = fit.design.frame.groupby(factor.codes)[candidates].nunique()
    return tuple(column for column in candidates if distinct[column].max() == 1)


def _other_columns(fit: "BayesFit", factor: GroupingFactor) -> list[str]:
    """Predictors and columns of other factors; a region is a column of the hospitals in it."""
    others = [column for other in fit.design.factors for column in other.columns]
    found = dict.fromkeys([*fit.design.formula.predictors, *others])
    return [column for column in found if column not in factor.columns]


def _modes(fit: "BayesFit", factor: GroupingFactor) -> dict[str, str]:
    """Other factors that share a column with this one stand at their mean: their groups cannot change places."""
    shared = [other.name for other in fit.design.factors if set(other.columns) & set(factor.columns)]
    return {name: POPULATION_MEAN for name in shared if name != factor.name}


def _weights(fit: "BayesFit", reference: pd.DataFrame | None = None) -> Array:
    """How often each row counts."""
    design = fit.design
    if reference is None:
        if design.outcome.trials is not None:
            return design.outcome.trials
        return design.weights if design.frequency and design.weights is not None else np.ones(design.n)
    if design.outcome.trials is not None:
        return trials_of(design.formula, reference)
    if design.frequency:
        return reference[design.weights_column].to_numpy(dtype=np.float64)
    return np.ones(len(reference))


def _by_group(values: Array, design: "Design", factor: GroupingFactor) -> Array:
    weights = np.ones(design.n) if design.outcome.trials is None else design.outcome.trials
    if design.frequency and design.weights is not None:
        weights = design.weights
    return np.bincount(factor.codes, weights * values, factor.J) / np.bincount(factor.codes, weights, factor.J)


def _cells(fit: "BayesFit", factor: GroupingFactor, own: tuple[str, ...], reference: Any) -> _Cells:
    design = fit.design
    frame = design.frame
    kept = [column for column in _other_columns(fit, factor) if column not in own]
    given = None if reference is None else as_frame(reference)
    missing = [] if given is None else [column for column in kept if column not in given.columns]
    if missing:
        raise DataError(f"reference= has no column {missing[0]!r}, which the model needs")
    parts = [frame[kept]] if given is None else [frame[kept], given[kept]]
    both = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    if kept:
        cell = both.groupby(kept, sort=False, observed=True, dropna=False).ngroup().to_numpy()
    else:
        cell = np.zeros(len(both), dtype=np.int64)
    first = np.unique(cell, return_index=True)[1]
    distinct = both.iloc[first].reset_index(drop=True)
    for column in kept:
        distinct[column] = distinct[column].astype(frame[column].dtype)
    weights, C = _weights(fit), len(distinct)
    counts = np.zeros((factor.J, C))
    np.add.at(counts, (factor.codes, cell[: design.n]), weights)
    total = counts.sum(axis=0)
    if given is not None:
        total = np.bincount(cell[design.n :], _weights(fit, given), C)
    start = np.unique(factor.codes, return_index=True)[1]
    group_rows = frame[[*factor.columns, *own]].iloc[start].reset_index(drop=True)
    return _Cells(distinct, counts, total, group_rows, counts.sum(axis=1) / counts.sum())


def _placed(cells: _Cells, groups: NDArray[np.int64], which: NDArray[np.int64]) -> pd.DataFrame:
    """Cells put into groups, row by row."""
    parts = [cells.frame.iloc[which].reset_index(drop=True), cells.group_rows.iloc[groups].reset_index(drop=True)]
    return pd.concat(parts, axis=1)


def _direct(fit: "BayesFit", factor: GroupingFactor, own: tuple[str, ...], cells: _Cells) -> Array:
    used = np.flatnonzero(cells.reference)
    weight = cells.reference[used] / cells.reference[used].sum()
    draws = np.empty((len(fit.coefficients), factor.J))
    step = max(1, BLOCK_NUMBERS // (len(draws) * len(used)))
    for start in range(0, factor.J, step):
        groups = np.arange(start, min(start + step, factor.J))
        frame = _placed(cells, np.repeat(groups, len(used)), np.tile(used, len(groups)))
        mean = mean_of(fit.design.family, fit.linear_predictor(frame, groups=_modes(fit, factor)), _own(fit))
        draws[:, groups] = mean.reshape(len(draws), len(groups), len(used)) @ weight
    return draws


def _indirect(fit: "BayesFit", factor: GroupingFactor, own: tuple[str, ...], cells: _Cells) -> tuple[Array, Array]:
    family, D = fit.design.family, len(fit.coefficients)
    typical = np.zeros((D, len(cells.frame)))
    everyone = np.arange(len(cells.frame))
    # Without columns of the group every group is typical once its effects are 0.
    for j in range(factor.J if own else 1):
        frame = _placed(cells, np.full(len(everyone), j), everyone)
        share = cells.shares[j] if own else 1.0
        typical += share * fit.linear_predictor(frame, groups=_modes(fit, factor) | {factor.name: POPULATION_MEAN})
    expected_mean = mean_of(family, typical, _own(fit))
    draws, expected = np.empty((D, factor.J)), np.empty(factor.J)
    rate = float(np.average(fit.design.outcome.scaled, weights=_weights(fit)))
    for j in range(factor.J):
        used = np.flatnonzero(cells.counts[j])
        weight = cells.counts[j, used] / cells.counts[j].sum()
        eta = fit.linear_predictor(_placed(cells, np.full(len(used), j), used), groups=_modes(fit, factor))
        below = expected_mean[:, used] @ weight
        draws[:, j] = rate * (mean_of(family, eta, _own(fit)) @ weight) / below
        expected[j] = below.mean()
    return draws, expected


def _own(fit: "BayesFit") -> dict[str, Array]:
    return {} if fit.design.family.gaussian else fit.family_draws

"""Comparisons, slopes and marginal means: what a predictor does to the response, on the scale of the response.

With mu_i(v) the expected response of row i with the predictor set to v, and avg over rows (all, or those of a value of
``by``), in each draw of the posterior:

    difference  avg mu(high) - avg mu(low)          ratio      avg mu(high) / avg mu(low)
    lift        ratio - 1                           log_odds   logit avg mu(high) - logit avg mu(low)
    slope       avg [mu(x + h) - mu(x - h)] / 2h

Frequentist fits have the typical group (effects of zero) and Wald intervals by the delta method: the derivative of the
quantity by the common effects, in central differences, around their covariance.

References
----------
Gelman & Pardoe (2007), Sociological Methodology 37, 23-51, for average predictive comparisons; Arel-Bundock, Greifer &
Heiss (2024), J. Stat. Softw. 111(9), for the terms.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from poolwise.algebra.crossproducts import Array
from poolwise.data.intake import as_frame
from poolwise.errors import ArgumentError, DataError, UnknownNameError, near_names, shown
from poolwise.result.expected import Expected
from poolwise.result.group_modes import POPULATION_MEAN, Groups
from poolwise.result.variables import changed, column_of, contrasts, levels_of, predictors
from poolwise.spec.design import Design

COMPARE: Mapping[str, Callable[[Array, Array], Array]] = {
    "difference": lambda high, low: high - low,
    "ratio": lambda high, low: high / low,
    "lift": lambda high, low: high / low - 1,
    "log_odds": lambda high, low: logit(high) - logit(low),
}
ROWS, BALANCED = "rows", "balanced"
ROW = "row"
# Rows of a balanced grid, at most.
MOST_ROWS = 100_000
# A slope's step in standard deviations of its predictor: the error of a central difference is of its square.
SLOPE_STEP = 1e-4


class Compared:
    """A fit whose predictors are compared."""

    def comparisons(
        self: Any,
        variable: str,
        data: Any = None,
        *,
        contrast: Any = None,
        comparison: str = "difference",
        by: str | Sequence[str] | None = None,
        groups: Groups = None,
        kind: str = "mean",
        scale: str = "response",
        level: float = 0.95,
        seed: int = 0,
    ) -> pd.DataFrame:
        """What changing a predictor does to the expected response, averaged over rows.

        Parameters
        ----------
        variable : str
            The predictor, by the name of its column.
        data : DataFrame, optional
            The rows to average over; the data of the fit by default, a row of frequency weight w counting as w.
        contrast : number, (low, high), or str, optional
            Of a number: a step from each row's own value (1 by default), two values, ``"sd"``, ``"iqr"`` or
            ``"minmax"``. Of levels: ``"reference"`` (each against the first, the default), ``"pairwise"``,
            ``"sequential"``, or two levels, ``(low, high)``.
        comparison : {"difference", "ratio", "lift", "log_odds"}
            Of the two averages.
        by : str or sequence of str, optional
            Columns within whose values to average; ``"row"`` for each row by itself; all rows together by default.
        groups : str or dict by factor, optional
            What a row's group stands for, as in :meth:`predict`; both versions of a row have the same group, drawn
            effects included. A frequentist fit has ``"population_mean"`` only.
        kind : {"mean"} or str
            The mean of the response, or a further parameter with a formula of its own, such as ``"sigma"``.
        scale : {"response", "link"}
            Of the mean: the response, or the linear predictor.
        level : float, default 0.95
            Probability of the interval.
        seed : int, default 0
            Of drawn effects.

        Returns
        -------
        DataFrame
            Columns variable, contrast, those of ``by``, category (of a categorical response), estimate, lower, upper.

        Raises
        ------
        UnknownNameError, ArgumentError
            For a predictor, level, contrast or comparison that is not there; says which there are.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.comparisons("Days", contrast=(0, 9))[["contrast", "estimate"]].round(1).to_numpy().tolist()
        [['9 - 0', 94.2]]
        """
        if comparison not in COMPARE:
            raise UnknownNameError(f"no comparison {shown(comparison)}; {near_names(str(comparison), COMPARE)}")
        frame, weights = _rows(self, data)
        mark = "-" if comparison in ("difference", "log_odds") else "/"
        values, found = Expected(self, groups, kind, scale, level, seed), []
        for one in contrasts(self.design, variable, frame, contrast, mark):
            versions = [changed(self.design, frame, variable, value) for value in (one.high, one.low)]
            table = _by(values, versions, COMPARE[comparison], frame, weights, by)
            table.insert(0, "contrast", one.label)
            found.append(table)
        return _named(pd.concat(found, ignore_index=True), variable)

    def slopes(
        self: Any,
        variable: str,
        data: Any = None,
        *,
        by: str | Sequence[str] | None = None,
        groups: Groups = None,
        kind: str = "mean",
        scale: str = "response",
        level: float = 0.95,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Slope of the expected response along a numeric predictor, averaged over rows.

        Parameters
        ----------
        variable : str
            A numeric predictor; the slope is at each row's own value.
        data, by, groups, kind, scale, level, seed
            As in :meth:`comparisons`.

        Returns
        -------
        DataFrame
            Columns variable, those of ``by``, category (of a categorical response), estimate, lower, upper; in units of
            the response (or the linear predictor) a unit of the predictor.

        Raises
        ------
        UnknownNameError, ArgumentError
            For a predictor, level or scale that is not there; says which there are.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> round(float(fit.slopes("Days")["estimate"].iloc[0]), 2)
        10.47
        """
        column = column_of(self.design, variable)
        if levels_of(column) is not None:
            raise ArgumentError(f"{variable!r} has levels, no slope; use comparisons({variable!r})")
        frame, weights = _rows(self, data)
        if variable not in frame.columns:
            raise DataError(f"the rows have no column {variable!r}")
        step = SLOPE_STEP * float(column.std()) or SLOPE_STEP
        now = frame[variable].to_numpy(dtype=float)
        high, low = now + step, now - step
        versions = [changed(self.design, frame, variable, value) for value in (high, low)]
        # What the two really differ by, rounding included.
        width = float(np.mean(high - low))
        values = Expected(self, groups, kind, scale, level, seed)
        return _named(_by(values, versions, lambda high, low: (high - low) / width, frame, weights, by), variable)

    def marginal_means(
        self: Any,
        variables: str | Sequence[str] | Mapping[str, Sequence[Any]],
        data: Any = None,
        *,
        over: str = ROWS,
        groups: Groups = None,
        kind: str = "mean",
        scale: str = "response",
        level: float = 0.95,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Expected response at values of some predictors, averaged over all others.

        Parameters
        ----------
        variables : str, sequence of str, or dict of values by name
            Predictors whose combinations have a row each: all levels, or of a number its quartiles; or the values
            given.
        data : DataFrame, optional
            The rows to average over; the data of the fit by default.
        over : {"rows", "balanced"}
            The other predictors: as they are in the rows, each row once with each value; or balanced, all combinations
            of levels counting alike and numbers at their means, of the typical group.
        groups, kind, scale, level, seed
            As in :meth:`comparisons`.

        Returns
        -------
        DataFrame
            A column a predictor, category (of a categorical response), estimate, lower, upper.

        Raises
        ------
        UnknownNameError, ArgumentError
            For a predictor, level or scale that is not there; says which there are.

        Examples
        --------
        >>> import poolwise as pw
        >>> fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit_frequentist()
        >>> fit.marginal_means({"Days": [0, 9]})["estimate"].round(1).tolist()
        [251.4, 345.6]
        """
        chosen = _values(self.design, variables)
        if over == BALANCED:
            if data is not None:
                raise ArgumentError("over='balanced' makes its own rows; leave data= out")
            groups = POPULATION_MEAN if groups is None else groups
            frame, weights = _balanced(self.design, list(chosen)), None
        elif over == ROWS:
            frame, weights = _rows(self, data)
        else:
            raise ArgumentError(f"over must be 'rows' or 'balanced'; got {shown(over)}")
        values, found = Expected(self, groups, kind, scale, level, seed), []
        for combination in product(*chosen.values()):
            version = frame
            for name, value in zip(chosen, combination, strict=True):
                version = changed(self.design, version, name, value)
            table = _by(values, [version], lambda mean: mean, frame, weights, None)
            for name, value in reversed(list(zip(chosen, combination, strict=True))):
                table.insert(0, name, [value] * len(table))
            found.append(table)
        return pd.concat(found, ignore_index=True)


def _rows(fit: Any, data: Any) -> tuple[pd.DataFrame, Array | None]:
    """The rows, and how often each counts."""
    if data is not None:
        return as_frame(data), None
    design = fit.design
    return design.frame, design.weights if design.frequency else None


def _by(
    values: Expected,
    versions: Sequence[pd.DataFrame],
    compare: Callable[..., Array],
    frame: pd.DataFrame,
    weights: Array | None,
    by: str | Sequence[str] | None,
) -> pd.DataFrame:
    """A table of what is compared, in each cell of rows."""
    n = len(frame)
    if n == 0:
        raise DataError("there are no rows to average over")
    if isinstance(by, str) and by == ROW and ROW not in frame.columns:
        parts = [
            values.summary(compare(*(values(version, block) for version in versions))) for block in values.blocks(n)
        ]
        return _table(values, np.concatenate(parts, axis=1), pd.DataFrame({ROW: np.arange(n)}))
    keys = [] if by is None else [by] if isinstance(by, str) else list(by)
    for name in keys:
        if name not in frame.columns:
            raise UnknownNameError(f"by= names {shown(name)}; {near_names(str(name), map(str, frame.columns))}")
    codes = frame.groupby(keys, observed=True, sort=True).ngroup().to_numpy() if keys else np.zeros(n, dtype=np.int64)
    cells = frame[keys].iloc[np.unique(codes, return_index=True)[1]].reset_index(drop=True)
    w = np.ones(n) if weights is None else weights
    share = w / np.bincount(codes, w)[codes]
    totals: list[Any] = [0.0] * len(versions)
    for block in values.blocks(n):
        member = np.zeros((len(cells), len(codes[block])))
        member[codes[block], np.arange(len(codes[block]))] = share[block]
        for k, version in enumerate(versions):
            totals[k] = totals[k] + np.einsum("cn,sn...->sc...", member, values(version, block))
    return _table(values, values.summary(compare(*totals)), cells)


def _table(values: Expected, found: Array, cells: pd.DataFrame) -> pd.DataFrame:
    """Cells with their estimates; a row a category where the response has them."""
    if values.categories is not None and found.ndim == 3:
        K = len(values.categories)
        table = cells.loc[cells.index.repeat(K)].reset_index(drop=True)
        table["category"] = np.tile(values.categories, len(cells))
    else:
        table = cells.copy()
    estimates = found.reshape(3, -1)
    if table.empty:
        table = pd.DataFrame(index=range(estimates.shape[1]))
    return table.assign(estimate=estimates[0], lower=estimates[1], upper=estimates[2])


def _named(table: pd.DataFrame, variable: str) -> pd.DataFrame:
    table.insert(0, "variable", variable)
    return table


def _values(design: Design, variables: Any) -> dict[str, list[Any]]:
    """Values by predictor."""
    if isinstance(variables, Mapping):
        given = {str(name): list(values) for name, values in variables.items()}
        for name in given:
            column_of(design, name)
    else:
        chosen = [variables] if isinstance(variables, str) else list(variables)
        given = {}
        for name in chosen:
            column = column_of(design, name)
            levels = levels_of(column)
            if levels is None:
                levels = list(dict.fromkeys(np.quantile(column.to_numpy(dtype=float), [0.25, 0.5, 0.75]).tolist()))
            given[name] = levels
    for name, values in given.items():
        levels = levels_of(design.frame[name])
        unknown = [value for value in values if levels is not None and value not in levels]
        if unknown or not values:
            raise ArgumentError(
                f"{name!r} needs one value at least, of its levels {', '.join(map(str, levels or []))}; "
                f"got {shown(values)}"
            )
    return given


def _balanced(design: Design, without: Sequence[str]) -> pd.DataFrame:
    """All combinations of the levels of the other predictors, numbers at their means; the first group stands in."""
    others = {name: levels_of(design.frame[name]) for name in predictors(design) if name not in without}
    grid = list(_combinations({name: levels for name, levels in others.items() if levels is not None}))
    frame = design.frame.iloc[[0] * len(grid)].reset_index(drop=True)
    for name, levels in others.items():
        value = float(design.frame[name].mean()) if levels is None else [row[name] for row in grid]
        frame = changed(design, frame, name, np.array(value, dtype=object) if levels is not None else value)
    return frame


def _combinations(levels: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    size = int(np.prod([len(own) for own in levels.values()], dtype=float))
    if size > MOST_ROWS:
        raise ArgumentError(f"a balanced grid of {', '.join(levels)} has {size:,} rows; average over='rows' instead")
    for row in product(*levels.values()):
        yield dict(zip(levels, row, strict=True))

"""Credible intervals of everything a fit knows: equal-tailed or of highest density, with direction and ROPE.

References
----------
Hyndman (1996), The American Statistician 50(2), 120-126, for highest density; Kruschke (2018), Advances in Methods and
Practices in Psychological Science 1(2), 270-280, for regions of practical equivalence; Makowski et al. (2019),
Frontiers in Psychology 10, 2767, for the probability of direction.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.theta import sds_and_correlations
from poolwise.errors import ArgumentError
from poolwise.result.tables import check_level, choose_factor

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

KINDS = ("eti", "hdi")


def credible_intervals(
    fit: "BayesFit",
    kind: str = "eti",
    level: float = 0.95,
    *,
    rope: tuple[float, float] | None = None,
    of: str = "parameters",
    factor: str | None = None,
) -> pd.DataFrame:
    """Credible intervals of the parameters, or of the groups' coefficients.

    Parameters
    ----------
    fit : BayesFit
    kind : {"eti", "hdi"}
        Equal-tailed, or the shortest interval that holds the probability: of one mode the highest density.
    level : float, default 0.95
        Probability of the interval.
    rope : (float, float), optional
        Region of practical equivalence, in the units of the parameter: adds the probability inside it.
    of : {"parameters", "groups"}
        Common effects, group sds, correlations and the family's parameters; or each group's coefficients, common plus
        group-specific effects.
    factor : str, optional
        Whose groups; the first grouping factor by default.

    Returns
    -------
    DataFrame
        Columns parameter (or factor, group, term), estimate (posterior mean), lower, upper, p_direction (probability of
        the commoner sign), and p_rope with ``rope``.

    Raises
    ------
    ArgumentError
        For another kind, or a region whose ends are not in order.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> table = credible_intervals(model.fit(seed=1, progress=False), "hdi", rope=(-5, 5))
    >>> table["parameter"].tolist()[:3], list(table.columns)[-2:]
    (['Intercept', 'Days', '1|Subject_sigma'], ['p_direction', 'p_rope'])
    """
    level = check_level(level)
    if kind not in KINDS:
        raise ArgumentError(f"kind must be 'eti' or 'hdi'; got {kind!r}")
    if of not in ("parameters", "groups"):
        raise ArgumentError(f"of must be 'parameters' or 'groups'; got {of!r}")
    if rope is not None and not (len(rope) == 2 and rope[0] < rope[1]):
        raise ArgumentError(f"rope must be two numbers in ascending order, such as (-0.1, 0.1); got {rope!r}")
    if of == "groups":
        rows, parts = [], []
        for design in fit.design.linear:
            chosen = choose_factor(design, factor)
            values, terms = fit._coefficient_draws(design, chosen)
            name, labels = ("", ["all"]) if chosen is None else (chosen.name, chosen.labels)
            rows += [(name, label, term) for label in labels for term in terms]
            parts.append(values.reshape(len(values), -1))
        head = dict(zip(("factor", "group", "term"), map(list, zip(*rows, strict=True)), strict=True))
        draws = np.concatenate(parts, axis=1)
    else:
        quantities = _parameters(fit)
        head, draws = {"parameter": list(quantities)}, np.column_stack(list(quantities.values()))
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.quantile(draws, tails, axis=0) if kind == "eti" else highest_density(draws, level)
    table = pd.DataFrame({**head, "estimate": draws.mean(axis=0), "lower": lower, "upper": upper})
    table["p_direction"] = np.maximum((draws > 0).mean(axis=0), (draws < 0).mean(axis=0))
    if rope is not None:
        table["p_rope"] = ((draws >= rope[0]) & (draws <= rope[1])).mean(axis=0)
    return table


def highest_density(draws: Array, level: float) -> tuple[Array, Array]:
    """Ends of the shortest intervals that hold a share of the draws (D, k), (k,) each."""
    ordered = np.sort(draws, axis=0)
    inside = min(int(np.ceil(level * len(ordered))), len(ordered) - 1)
    widths = ordered[inside:] - ordered[: len(ordered) - inside]
    start, column = widths.argmin(axis=0), np.arange(ordered.shape[1])
    return ordered[start, column], ordered[start + inside, column]


def _parameters(fit: "BayesFit") -> dict[str, Array]:
    """Draws (D,) of every scalar parameter, by the names of a summary."""
    found = dict(zip(fit.design.coefficient_names, fit.coefficients.T, strict=True))
    factors = list(fit.design.factors)
    for design in fit.design.predicted:
        found |= dict(zip(design.coefficient_names, fit.coefficients_of(design).T, strict=True))
        factors += design.factors
    for factor in factors:
        sds, correlations = sds_and_correlations(fit._factors_by_kind(factor))
        found |= dict(zip(factor.sd_names, sds.reshape(len(sds), -1).T, strict=True))
        found |= {name: fit._draws(name) for own in factor.log_sd_names for name in own}
        for kind, label in enumerate([""] if factor.kinds is None else [f"{one}, " for one in factor.kinds.labels]):
            for row, column in factor.structure.positions:
                if row != column:
                    inside = f"{label}{factor.effects[column]}, {factor.effects[row]}"
                    found[factor.correlation_label(inside)] = correlations[:, kind, row, column]
    for name, values in fit._constant_draws.items():
        flat = values.reshape(len(values), -1)
        found |= {name if flat.shape[1] == 1 else f"{name}[{k}]": flat[:, k] for k in range(flat.shape[1])}
    return found

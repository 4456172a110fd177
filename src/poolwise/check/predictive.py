"""Do data drawn from the posterior look like the data, in what no parameter was fitted to?"""

from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.check.again import model_of
from poolwise.check.finding import Finding
from poolwise.check.predictive_sums import group_counts, group_moments
from poolwise.errors import ArgumentError
from poolwise.result.bayes import BayesFit
from poolwise.result.pointwise import fits_memory
from poolwise.result.tables import choose_factor
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.rowless import RowlessDesign

Replications = Literal["posterior", "mixed", "prior"]
ALPHA = 0.01
PRIOR_DRAWS = 500
# Groups with fewer rows have no sd worth comparing.
ROWS_FOR_SD = 5


def predictive_statistics(
    fit: BayesFit, *, replications: Replications = "posterior", by: str | None = None, seed: int = 1
) -> pd.DataFrame:
    """Statistics of the data among those of replicated data.

    Parameters
    ----------
    fit : BayesFit
    replications : {"posterior", "mixed", "prior"}
        Drawn from the posterior; from the posterior with the effects of every group drawn anew from the population,
        which says what the model expects of groups as such; or from the prior (500 draws).
    by : str, optional
        A grouping factor: the statistics within each of its groups of 5 rows or more.
    seed : int, default 1
        Of the replications.

    Returns
    -------
    DataFrame
        Index statistic: skewness, median, smallest, largest, share_of_zeros (of counts), and spread_of_group_sds (of
        all rows, not of the prior): the sd of the log standard deviations of the residual rows within groups of 5 rows
        or more. With ``by`` the index is statistic and group, mean and sd are among the statistics, and a column n says
        its rows. Columns observed, replicated (median), lower, upper (95 %), p: the two-sided predictive probability.
        Empty for responses that have two values, categories or ordered levels. Of collapsed data spread_of_group_sds
        alone, and with ``by`` mean and sd (of the response without its offset), from their sampling distributions; of
        counted data with ``by`` the sum: events, successes, or counts.

    Raises
    ------
    RowsNeededError
        Of collapsed data, for replications of whole rows (mixed ones without ``by``, prior ones), and with precision
        weights.
    ArgumentError
        If draws times rows exceed memory, or for other replications or groups than there are.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6, 733-807; Gelman et al. (2013), Bayesian Data Analysis,
    section 6.3, for statistics unrelated to the parameters; Marshall & Spiegelhalter (2007), Bayesian Analysis 2(2),
    409-444, for mixed replications.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    >>> fit = model.fit(seed=1, progress=False)
    >>> list(predictive_statistics(fit).index[:3])
    ['skewness', 'median', 'smallest']
    >>> predictive_statistics(fit, replications="mixed", by="Batch").shape
    (36, 6)
    """
    if replications not in get_args(Replications):
        raise ArgumentError(f"replications must be 'posterior', 'mixed' or 'prior'; got {replications!r}")
    factor = None if by is None else choose_factor(fit.design, by)
    if factor is not None and factor.members is not None:
        raise ArgumentError(f"rows of {factor.name} are in several of its groups: no group has statistics of its own")
    if isinstance(fit.design, RowlessDesign) and replications == "posterior" and factor is None:
        return _of_sums(fit, seed)
    if isinstance(fit.design, RowlessDesign) and replications != "prior" and factor is not None:
        return _of_sums_by_group(fit, factor, replications == "mixed", seed)
    if fit.design.counted is not None and replications != "prior" and factor is not None:
        return _of_counts_by_group(fit, factor, replications == "mixed", seed)
    y = np.asarray(fit.design.y, dtype=float)
    if len(np.unique(y)) <= 2 or fit.design.categories is not None or fit.design.outcome.levels is not None:
        return _compared({}, {}).drop(columns="n")
    drawn = _replicated(fit, replications, seed)
    if factor is None:
        return _compared(statistics(fit, y[None], replications), statistics(fit, drawn, replications)).drop(columns="n")
    parts = {}
    for j in np.flatnonzero(factor.sizes >= ROWS_FOR_SD):
        rows = factor.codes == j
        seen, new = (_of_rows(part, counts=_counts(y)) | _moments(part) for part in (y[None, rows], drawn[:, rows]))
        parts[factor.labels[j]] = _compared(seen, new, n=int(rows.sum()))
    return _by_group(parts)


def _by_group(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return _compared({}, {})
    return pd.concat(parts, names=["group"]).reorder_levels(["statistic", "group"])


def _moments(drawn: Array) -> dict[str, Array]:
    return {"mean": drawn.mean(axis=1), "sd": drawn.std(axis=1)}


def _of_sums_by_group(fit: BayesFit, factor: GroupingFactor, mixed: bool, seed: int) -> pd.DataFrame:
    large = np.flatnonzero(factor.sizes >= ROWS_FOR_SD)
    seen, drawn = group_moments(fit, factor, large, seed, mixed=mixed)
    parts = {}
    for k, j in enumerate(large):
        own, other = ({"mean": mean[:, k], "sd": sd[:, k]} for mean, sd in (seen, drawn))
        parts[factor.labels[j]] = _compared(own, other, n=int(factor.sizes[j]))
    return _by_group(parts)


def _of_counts_by_group(fit: BayesFit, factor: GroupingFactor, mixed: bool, seed: int) -> pd.DataFrame:
    large = np.flatnonzero(factor.sizes >= ROWS_FOR_SD)
    seen, drawn = group_counts(fit, factor, large, seed, mixed=mixed)
    return _by_group(
        {
            factor.labels[j]: _compared({"sum": seen[:, k]}, {"sum": drawn[:, k]}, n=int(factor.sizes[j]))
            for k, j in enumerate(large)
        }
    )


def _of_sums(fit: BayesFit, seed: int) -> pd.DataFrame:
    sizes = fit.design.factors[0].sizes if fit.design.factors else np.zeros(0, dtype=np.int64)
    large = np.flatnonzero(sizes >= ROWS_FOR_SD)
    if len(large) <= 2:
        return _compared({}, {}).drop(columns="n")
    with np.errstate(divide="ignore"):
        moments = group_moments(fit, fit.design.factors[0], large, seed, residuals=True)
        seen, drawn = ({"spread_of_group_sds": np.log(sds).std(axis=1)} for _, sds in moments)
    return _compared(seen, drawn).drop(columns="n")


def _replicated(fit: BayesFit, replications: str, seed: int) -> Array:
    """Responses (D, n), counts of successes for trials."""
    if not fits_memory(fit):
        raise ArgumentError("draws times rows exceed what fits in memory; replicate a part: fit.predict_draws(rows)")
    if replications == "prior":
        drawn = model_of(fit).prior_predictive(PRIOR_DRAWS, seed)["prior_predictive"]
        (name,) = map(str, drawn.data_vars)
        return drawn[name].to_numpy().astype(float).reshape(-1, fit.design.n)
    return fit.predict_draws(groups="population_draw" if replications == "mixed" else None, kind="response", seed=seed)


def _compared(seen: dict[str, Array], drawn: dict[str, Array], n: int = 0) -> pd.DataFrame:
    rows = []
    for name, values in drawn.items():
        observed = float(seen[name][0])
        if not np.isfinite(observed):
            continue
        above, ties = float((values > observed).mean()), float((values == observed).mean())
        share = above + 0.5 * ties
        middle, lower, upper = np.nanquantile(values, [0.5, 0.025, 0.975])
        rows.append((name, n, observed, middle, lower, upper, 2 * min(share, 1 - share)))
    columns = ["statistic", "n", "observed", "replicated", "lower", "upper", "p"]
    return pd.DataFrame(rows, columns=columns).set_index("statistic")


def _counts(y: Array) -> bool:
    return bool(np.all(y == np.round(y)) and y.min() == 0)


def _of_rows(drawn: Array, *, counts: bool) -> dict[str, Array]:
    """Statistics (D,) of responses (D, n) that need nothing else."""
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1))
    found: dict[str, Array] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["skewness"] = (centred**3).mean(axis=1) / spread**3
    found["median"] = np.median(drawn, axis=1)
    found["smallest"], found["largest"] = drawn.min(axis=1), drawn.max(axis=1)
    if counts:
        found["share_of_zeros"] = (drawn == 0).mean(axis=1)
    return found


def statistics(fit: BayesFit, drawn: Array, replications: str = "posterior") -> dict[str, Array]:
    """Statistics (D,) of responses (D, n)."""
    found = _of_rows(drawn, counts=_counts(fit.design.y))
    if replications == "prior" or not fit.design.family.gaussian or not fit.design.factors:
        return found
    factor = fit.design.factors[0]
    large = np.flatnonzero(factor.sizes >= ROWS_FOR_SD)
    if factor.members is None and len(large) > 2:
        residual = drawn - fit.fitted
        sds = np.stack([residual[:, factor.codes == j].std(axis=1) for j in large], axis=1)
        with np.errstate(divide="ignore"):
            found["spread_of_group_sds"] = np.log(sds).std(axis=1)
    return found


def posterior_predictive(fit: BayesFit, *, alpha: float = ALPHA, seed: int = 1) -> list[Finding]:
    """One finding where a statistic of the data is far out among those of replicated data.

    Parameters
    ----------
    fit : BayesFit
    alpha : float, default 0.01
        Two-sided probability that counts, divided by the number of statistics.
    seed : int, default 1
        Of the replications.

    Returns
    -------
    list of Finding
        Empty or one, code ``posterior_predictive``.
    """
    table = predictive_statistics(fit, seed=seed)
    level = alpha / max(len(table), 1)
    # A probability of 0 among finitely many draws says no more than that it is below one of them.
    far = table[table["p"] < max(level, 1.0 / (fit.settings.chains * fit.settings.draws))]
    if far.empty:
        return []
    name = far["p"].idxmin()
    row = far.loc[name]
    distance = -ndtri(max(row["p"], 1e-12) / 2)
    return [
        Finding(
            code="posterior_predictive",
            severity="serious" if distance > 4 else "warning",
            title=(
                f"{str(name).replace('_', ' ')} of the data is {row['observed']:.3g}, of replicated data "
                f"{row['lower']:.3g} to {row['upper']:.3g} (p = {row['p']:.2g})"
            ),
            value=float(row["p"]),
            threshold=level,
            meaning=_MEANING[str(name)],
            advice=_ADVICE[str(name)],
            reference="Gelman, Meng & Stern (1996), Statistica Sinica 6, 733-807.",
            table=table.reset_index(),
            figure=table.reset_index(),
        )
    ]


_TAILS = "The family cannot make responses like the data's: intervals of predictions miss on one side."
_MEANING = {
    "skewness": _TAILS,
    "median": _TAILS,
    "smallest": "The data have a tail, or an outlier, that the family does not; it may carry the coefficients along.",
    "largest": "The data have a tail, or an outlier, that the family does not; it may carry the coefficients along.",
    "share_of_zeros": "Zeros arise in a way of their own, or the counts vary more than the family allows.",
    "spread_of_group_sds": "Groups differ in their noise: one sigma is too large for some, too small for others.",
}
_OUTLIER = "Look at these rows; family='t' gives them less weight, log(y) or family='gamma' suits a long right tail."
_SKEWED = "Transform the response (log, sqrt), or choose a skewed family: 'gamma', 'skewnormal'."
_ADVICE = {
    "skewness": _SKEWED,
    "median": _SKEWED,
    "smallest": _OUTLIER,
    "largest": _OUTLIER,
    "share_of_zeros": "Compare with family='negativebinomial', 'zero_inflated_poisson', 'hurdle_poisson' by loo().",
    "spread_of_group_sds": "Let sigma differ by group, or weight the rows (weights=).",
}

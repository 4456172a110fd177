"""Do data drawn from the posterior look like the data, in what no parameter was fitted to?"""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.check.finding import Finding
from poolwise.errors import ArgumentError
from poolwise.result.bayes import BayesFit
from poolwise.result.pointwise import fits_memory

ALPHA = 0.01
# Groups with fewer rows have no sd worth comparing.
ROWS_FOR_SD = 5


def predictive_statistics(fit: BayesFit, *, groups=None, seed: int = 1) -> pd.DataFrame:
    """Statistics of the data among those of replicated data.

    Parameters
    ----------
    fit : BayesFit
    groups : str or dict by factor, optional
        As in :meth:`poolwise.BayesFit.predict`: by default the groups that were seen; ``"population_draw"`` gives
        mixed replications, whose group effects are new draws from the population.
    seed : int, default 1
        Of the replications.

    Returns
    -------
    DataFrame
        Index statistic: skewness, smallest, largest, share_of_zeros (of counts), and spread_of_group_sds: the sd of
        the log standard deviations of the residual rows within groups of 5 rows or more. Columns observed,
        replicated (median), lower, upper (95 %), p: the two-sided posterior predictive probability.

    Raises
    ------
    ArgumentError
        If draws times rows exceed memory.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6, 733-807; Gelman et al. (2013), Bayesian Data Analysis,
    section 6.3, for statistics unrelated to the parameters.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    >>> list(predictive_statistics(model.fit(seed=1, progress=False)).index[:3])
    ['skewness', 'smallest', 'largest']
    """
    if not fits_memory(fit):
        raise ArgumentError("draws times rows exceed what fits in memory; replicate a part: fit.predict_draws(rows)")
    y = np.asarray(fit.design.y, dtype=float)
    drawn = fit.predict_draws(groups=groups, kind="response", seed=seed)
    seen, rows = statistics(fit, y[None]), []
    for name, values in statistics(fit, drawn).items():
        observed = float(seen[name][0])
        if not np.isfinite(observed):
            continue
        above, ties = float((values > observed).mean()), float((values == observed).mean())
        share = above + 0.5 * ties
        middle, lower, upper = np.quantile(values, [0.5, 0.025, 0.975])
        rows.append((name, observed, middle, lower, upper, 2 * min(share, 1 - share)))
    columns = ["statistic", "observed", "replicated", "lower", "upper", "p"]
    return pd.DataFrame(rows, columns=columns).set_index("statistic")


def statistics(fit: BayesFit, drawn: Array) -> dict[str, Array]:
    """Statistics (D,) of responses (D, n)."""
    found: dict[str, Array] = {}
    y = fit.design.y
    if len(np.unique(y)) <= 2 or fit.design.categories is not None:
        return found
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found["skewness"] = (centred**3).mean(axis=1) / spread**3
    found["smallest"], found["largest"] = drawn.min(axis=1), drawn.max(axis=1)
    if np.all(y == np.round(y)) and y.min() == 0:
        found["share_of_zeros"] = (drawn == 0).mean(axis=1)
    if fit.design.family.gaussian and fit.design.factors and fit.design.factors[0].members is None:
        factor = fit.design.factors[0]
        large = np.flatnonzero(factor.sizes >= ROWS_FOR_SD)
        residual = drawn - fit.fitted
        if len(large) > 2:
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
        )
    ]


_TAILS = "The family cannot make responses like the data's: intervals of predictions miss on one side."
_MEANING = {
    "skewness": _TAILS,
    "smallest": "The data have a tail, or an outlier, that the family does not; it may carry the coefficients along.",
    "largest": "The data have a tail, or an outlier, that the family does not; it may carry the coefficients along.",
    "share_of_zeros": "Zeros arise in a way of their own, or the counts vary more than the family allows.",
    "spread_of_group_sds": "Groups differ in their noise: one sigma is too large for some, too small for others.",
}
_OUTLIER = "Look at these rows; family='t' gives them less weight, log(y) or family='gamma' suits a long right tail."
_ADVICE = {
    "skewness": "Transform the response (log, sqrt), or choose a skewed family: 'gamma', 'skewnormal'.",
    "smallest": _OUTLIER,
    "largest": _OUTLIER,
    "share_of_zeros": "Compare with family='negativebinomial', 'zero_inflated_poisson', 'hurdle_poisson' by loo().",
    "spread_of_group_sds": "Let sigma differ by group, or weight the rows (weights=).",
}

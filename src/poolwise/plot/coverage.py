"""Calibration by group size: how often predictive intervals hold rows that were left out."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import betaincinv

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import bare, legend_below
from poolwise.result import pointwise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.bayes import BayesFit

LEVELS = {0.5: ("#0072B2", "o"), 0.8: ("#D55E00", "s"), 0.95: ("#009E73", "D")}
# Classes of group size, and rows at most: their PIT is smoothed one by one.
CLASSES, ROWS = 6, 4000


def coverage_frame(fit: "BayesFit", factor: str | None = None, seed: int = 1) -> pd.DataFrame:
    """The frame that is drawn: a row a class of group size and nominal level.

    Parameters
    ----------
    fit : BayesFit
    factor : str, optional
        Grouping factor; the first by default.
    seed : int, default 1
        Of the replications, and of ties where the response is discrete.

    Returns
    -------
    DataFrame
        Columns sizes (smallest and largest group of the class, in words), smallest, largest, groups, rows, level,
        covered (share of the rows in the central predictive interval of that level, each row left out by PSIS), lower
        and upper (95 % interval of the share, rows taken as independent).

    Raises
    ------
    ArgumentError
        For a model without groups, or if draws times rows exceed memory.

    References
    ----------
    Gelfand, Dey & Chang (1992), Bayesian Statistics 4, for the predictive probability; Vehtari, Gelman & Gabry (2017),
    Statistics and Computing 27, 1413-1432, for the smoothed weights; Jeffreys' interval of a share.
    """
    from poolwise.result.tables import choose_factor

    chosen = choose_factor(fit.design, factor)
    if chosen is None:
        raise ArgumentError("calibration by group size needs groups; the model has none")
    if chosen.members is not None:
        raise ArgumentError(
            f"calibration by group size takes each row in one group; those of {chosen.name} are in several"
        )
    rows, pit = left_out_probabilities(fit, seed)
    found = []
    for members in _classes(chosen.sizes):
        inside = np.isin(chosen.codes[rows], members)
        own, sizes = pit[inside], chosen.sizes[members]
        if not len(own):
            continue
        low, high = int(sizes.min()), int(sizes.max())
        said = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        for level in LEVELS:
            hits, total = int((np.abs(own - 0.5) <= level / 2).sum()), len(own)
            ends = betaincinv(hits + 0.5, total - hits + 0.5, [0.025, 0.975])
            found.append((said, low, high, len(members), total, level, hits / total, *ends))
    columns = ["sizes", "smallest", "largest", "groups", "rows", "level", "covered", "lower", "upper"]
    return pd.DataFrame(found, columns=columns)


def left_out_probabilities(fit: "BayesFit", seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and the probability below each row's response when it is left out (LOO-PIT)."""
    import arviz as az

    if not pointwise.fits_memory(fit):
        raise ArgumentError("draws times rows exceed what fits in memory: calibration by group size is left out")
    n = fit.design.n
    rows = np.unique(np.linspace(0, n - 1, min(n, ROWS)).astype(int))
    name = fit.design.response
    likelihood = pointwise.rowwise(fit, pointwise.log_likelihood(fit))
    drawn = pointwise.rowwise(fit, fit.predict_draws(kind="response", seed=seed))
    dim = str(likelihood[name].dims[-1])
    observed = xr.Dataset({name: (dim, np.asarray(fit.design.y, dtype=float))}, coords={dim: np.arange(n)})
    parts = {"log_likelihood": likelihood, "posterior_predictive": drawn, "observed_data": observed}
    tree = {key: value.isel({dim: rows}) for key, value in parts.items()}
    with warnings.catch_warnings():
        # Rows whose weights are unreliable are the finding unreliable_elpd.
        warnings.simplefilter("ignore", UserWarning)
        pit = az.loo_pit(xr.DataTree.from_dict({"posterior": fit.posterior, **tree}), random_state=seed)
    return rows, pit[name].to_numpy()


def _classes(sizes: np.ndarray) -> list[np.ndarray]:
    """Groups by class of size: as many groups in each as there can be, equal sizes together."""
    order = np.argsort(sizes, kind="stable")
    wanted = min(CLASSES, len(np.unique(sizes)))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, wanted + 1)[1:-1], method="higher"))
    place = np.searchsorted(edges, sizes[order], side="right")
    return [order[place == k] for k in np.unique(place)]


@legible
def plot_coverage(fit: "BayesFit", factor: str | None = None, seed: int = 1) -> "Figure":
    """Draw the share of left-out rows inside central predictive intervals, by the size of their group.

    Parameters
    ----------
    fit : BayesFit
    factor : str, optional
        Grouping factor; the first by default.
    seed : int, default 1
        Of the replications.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot. Calibrated predictions stand on the dashed lines.
    """
    from matplotlib.figure import Figure

    table = coverage_frame(fit, factor, seed)
    classes = table.drop_duplicates("smallest").sort_values("smallest")
    place = {size: k for k, size in enumerate(classes["smallest"])}
    figure = Figure(figsize=(max(4.8, 1.15 * len(classes) + 1.6), 4.2), layout="constrained")
    axis = figure.subplots()
    for shift, (level, (color, marker)) in zip((-0.12, 0.0, 0.12), LEVELS.items(), strict=True):
        own = table[table["level"] == level]
        x = own["smallest"].map(place) + shift
        axis.axhline(level, color=color, ls="--", lw=0.9)
        axis.vlines(x, own["lower"], own["upper"], color=color, lw=1.6)
        axis.plot(x, own["covered"], marker, color=color, mfc="white", ms=6, label=f"{level:.0%} intervals")
    labels = [
        f"{row.sizes}\n({row.groups:,} group{'s' * (row.groups > 1)},\n{row.rows:,} rows)"
        for row in classes.itertuples()
    ]
    axis.set_xticks(range(len(classes)), labels, fontsize=8)
    axis.set_xlim(-0.6, len(classes) - 0.4)
    axis.set_ylim(0, 1.03)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("rows in the group")
    axis.set_ylabel("rows inside, each left out")
    axis.set_title(f"Calibration of {plain(fit.design.formula.response, 36)} by group size", fontsize=11)
    bare(axis, "y")
    legend_below(figure, axis, 3)
    return figure

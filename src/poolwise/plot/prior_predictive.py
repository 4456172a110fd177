"""Data drawn from the prior beside the data: the response, and how far group means lie apart."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array
from poolwise.model import Model
from poolwise.plot.lettering import legible
from poolwise.plot.prior import POOLING, SD, _density, _plain, _plain_axis, _steps
from poolwise.result.tables import check_level

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

# Places at which the ECDF is worked out, unless the response has fewer values.
GRID = 100
# The ECDF is drawn between these quantiles of all that the prior draws, and over all of the data.
EDGES = (0.01, 0.99)
# More grouping factors than this are in the frame alone.
FACTORS_SHOWN = 3


def prior_predictive_frame(model: Model, drawn: "xr.DataTree", level: float = 0.9) -> pd.DataFrame:
    """The frame that is drawn.

    Parameters
    ----------
    model : Model
        For the groups.
    drawn : DataTree
        From :meth:`poolwise.Model.prior_predictive` of this model.
    level : float, default 0.9
        Probability of the intervals over the prior's draws.

    Returns
    -------
    DataFrame
        Columns panel, about, x, estimate, lower, upper, observed and beyond. For panel ``response`` x is a value of the
        response, estimate, lower and upper the median and the interval, over draws, of the share of rows at or below
        it, observed that of the data; a binomial response is the share of successes, an ordered one the number of the
        level. For panel ``group_means`` (about the grouping factor) x is the middle of a bin of the sd between the
        groups' means, lower and upper its ends, estimate the probability density there, observed the sd between the
        means of the data, and beyond the probability to the right of the last bin.

    Raises
    ------
    ArgumentError
        If level is not between 0 and 1.
    """
    tail = (1 - check_level(level)) / 2
    simulated, observed = _responses(model, drawn)
    low, high = np.quantile(simulated, EDGES)
    low, high = min(low, observed.min()), max(high, observed.max())
    values = np.unique(np.concatenate([observed, simulated[:10].ravel()]))
    values = values[(values >= low) & (values <= high)]
    grid = values if len(values) <= GRID else np.linspace(low, high, GRID)
    shares = np.array([np.searchsorted(np.sort(one), grid, side="right") / len(one) for one in simulated])
    ours = np.searchsorted(np.sort(observed), grid, side="right") / len(observed)
    response = model.design.response
    bounds = np.quantile(shares, [0.5, tail, 1 - tail], axis=0)
    rows = [("response", response, *numbers, 0.0) for numbers in zip(grid, *bounds, ours, strict=True)]
    for factor in model.design.factors:
        if factor.J < 2 or factor.members is not None:
            continue
        sds = _spread(simulated, factor.codes, factor.sizes)
        (own,) = _spread(observed[None], factor.codes, factor.sizes)
        last = max(float(np.quantile(sds, 1 - tail)), 1.2 * own)
        rows += [(*row[:-1], own, row[-1]) for row in _density("group_means", factor.name, sds, last)]
    return pd.DataFrame(rows, columns=["panel", "about", "x", "estimate", "lower", "upper", "observed", "beyond"])


def _responses(model: Model, drawn: "xr.DataTree") -> tuple[Array, Array]:
    """Responses drawn (D, n) and of the data (n,)."""
    (name,) = map(str, drawn["observed_data"].data_vars)
    simulated = drawn["prior_predictive"][name].to_numpy().astype(np.float64)
    simulated, observed = simulated.reshape(-1, model.design.n), drawn["observed_data"][name].to_numpy().astype(float)
    outcome = model.design.outcome
    if outcome.trials is not None:
        return simulated / outcome.trials, observed / outcome.trials
    # Levels are counted from 1, as people do.
    first = 0.0 if outcome.levels is None else 1.0
    return simulated + first, observed + first


def _spread(rows: Array, codes: NDArray[np.int64], sizes: NDArray[np.int64]) -> Array:
    """The sd between the means of the groups (D,), of responses (D, n)."""
    means = np.array([np.bincount(codes, weights=one, minlength=len(sizes)) for one in rows]) / sizes
    return means.std(axis=1, ddof=1)


@legible
def plot_prior_predictive(model: Model, drawn: "xr.DataTree", level: float = 0.9) -> "Figure":
    """Draw what data the prior expects beside the data: the response's ECDF, and the sd between group means.

    A prior that leaves the data at the edge of what it expects is at odds with them; one whose band is many times wider
    than the data says nothing. (ArviZ draws single replications of the same tree: ``az.plot_ppc_dist(drawn,
    group="prior_predictive", kind="ecdf")``.)

    Parameters
    ----------
    model : Model
        For the groups.
    drawn : DataTree
        From :meth:`poolwise.Model.prior_predictive` of this model.
    level : float, default 0.9
        Probability of the band.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    References
    ----------
    Gabry, Simpson, Vehtari, Betancourt & Gelman (2019), Visualization in Bayesian workflow, JRSS A 182(2), 389-402.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> figure = pw.plots.plot_prior_predictive(model, model.prior_predictive(200, seed=1))
    """
    from matplotlib.figure import Figure

    frame = prior_predictive_frame(model, drawn, level)
    panels = frame[frame["panel"] == "group_means"]
    factors = list(dict.fromkeys(panels["about"]))[:FACTORS_SHOWN]
    width = 4.6 + 3.2 * len(factors)
    figure = Figure(figsize=(width, 3.5), layout="constrained")
    axes = figure.subplots(1, 1 + len(factors), squeeze=False, width_ratios=[1.4] + [1.0] * len(factors))[0]
    _response_panel(axes[0], frame[frame["panel"] == "response"], model, level)
    for axis, factor in zip(axes[1:], factors, strict=True):
        _spread_panel(axis, panels[panels["about"] == factor], factor)
    title = f"Data that the prior of {_plain(model.design.formula.text)} expects, and the data"
    figure.suptitle(textwrap.fill(title, int(9 * width)), fontsize=12)
    return figure


def _response_panel(axis, table: pd.DataFrame, model: Model, level: float) -> None:
    # Few values are a response that counts: its ECDF is a staircase.
    how = {"step": "post"} if len(table) < GRID else {}
    style = {"drawstyle": "steps-post"} if how else {}
    axis.fill_between(
        table["x"], table["lower"], table["upper"], color=SD, alpha=0.25, lw=0, label=f"prior, {level:.0%} band", **how
    )
    axis.plot(table["x"], table["estimate"], color=SD, lw=1.5, ls="--", label="prior, median", **style)
    axis.plot(table["x"], table["observed"], color="black", lw=1.8, label="data", **style)
    axis.set_ylim(0, 1)
    axis.set_xlim(table["x"].iloc[0], table["x"].iloc[-1])
    axis.set_ylabel("share of rows at or below")
    outcome = model.design.outcome
    said = "share of successes" if outcome.trials is not None else "number of the level" if outcome.levels else ""
    axis.set_xlabel(_plain(model.design.response) + (f"\n({said})" if said else ""))
    axis.legend(fontsize=8, framealpha=0.8, edgecolor="none", loc="lower right")
    axis.grid(color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _spread_panel(axis, table: pd.DataFrame, factor: str) -> None:
    _steps(axis, table, POOLING, "-")
    own, last, beyond = float(table["observed"].iloc[0]), float(table["upper"].iloc[-1]), float(table["beyond"].iloc[0])
    axis.axvline(own, color="black", lw=1.5)
    axis.set_xlim(0, last)
    axis.text(
        0.98,
        0.97,
        f"data: {own:.3g}\n{beyond:.0%} of the prior beyond {last:.3g}",
        transform=axis.transAxes,
        ha="right",
        va="top",
        fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )
    axis.set_xlabel(f"sd between the means of {_plain(factor)}")
    axis.set_ylabel("prior density")
    _plain_axis(axis)

"""From prior to posterior of each standard deviation: what the data said."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import legend_below
from poolwise.spec.prior_draws import improper_of, prior_draws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.bayes import BayesFit

PRIOR, POSTERIOR = "#999999", "#0072B2"
BINS, POSTERIOR_BINS, PRIOR_DRAWS, COLUMNS, SHOWN = 40, 30, 20_000, 3, 9
# The panel reaches as far as the posterior, and as this quantile of the prior unless that is far beyond.
PRIOR_QUANTILE, POSTERIOR_QUANTILE, FARTHEST = 0.9, 0.999, 3.0


def prior_to_posterior_frame(fit: "BayesFit", seed: int = 1) -> pd.DataFrame:
    """The frame that is drawn: histograms of the prior and the posterior of each group sd, and of sigma.

    Parameters
    ----------
    fit : BayesFit
    seed : int, default 1
        Of the draws from the prior.

    Returns
    -------
    DataFrame
        Columns parameter, which (prior, posterior), lower, upper (ends of a bin), density, beyond: the share to the
        right of the panel. An improper prior has no rows.
    """
    design = fit.design
    posterior: dict[str, np.ndarray] = {}
    for factor in design.factors:
        sds = np.sqrt((fit.factor_draws(factor) ** 2).sum(axis=2))
        posterior |= dict(zip(factor.sd_names, sds.T, strict=True))
    if design.family.has_sigma:
        posterior[names.SIGMA] = np.asarray(fit.sigma_draws)
    prior = _prior_draws(fit, seed)
    rows = []
    for name, after in posterior.items():
        last, before = float(np.quantile(after, POSTERIOR_QUANTILE)), prior.get(name)
        if before is not None:
            last = max(last, min(float(np.quantile(before, PRIOR_QUANTILE)), FARTHEST * last))
        for which, values in (("prior", before), ("posterior", after)):
            if values is None:
                continue
            counts, ends = _histogram(values, which, last)
            density = counts / len(values) / np.diff(ends)
            beyond = float(np.mean(values > last))
            rows += [(name, which, *row, beyond) for row in zip(ends[:-1], ends[1:], density, strict=True)]
    return pd.DataFrame(rows, columns=["parameter", "which", "lower", "upper", "density", "beyond"])


def _histogram(values: np.ndarray, which: str, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and ends of bins: the prior's from 0 to ``last``, the posterior's where it is, both sharp at 0."""
    if which == "prior":
        return np.histogram(values, bins=BINS, range=(0.0, last))
    low, high = np.quantile(values, [1 - POSTERIOR_QUANTILE, POSTERIOR_QUANTILE])
    low = 0.0 if low < (high - low) / POSTERIOR_BINS else low
    return np.histogram(values, bins=POSTERIOR_BINS, range=(low, high))


def _prior_draws(fit: "BayesFit", seed: int) -> dict[str, np.ndarray]:
    """Draws of each sd from its prior, where that is proper."""
    priors = {row.parameter: row.prior for row in fit.resolved_priors}
    centred = not any(row.at == "zero" for row in fit.resolved_priors)
    without = improper_of(priors)
    drawn = prior_draws(fit.design, priors, PRIOR_DRAWS, np.random.default_rng(seed), centred=centred, without=without)
    found: dict[str, np.ndarray | None] = {}
    for factor, T in zip(fit.design.factors, drawn.group_factors, strict=True):
        sds = np.sqrt((T**2).sum(axis=2))
        found |= dict(zip(factor.sd_names, sds.T, strict=True))
    found[names.SIGMA] = drawn.parameters.get(names.SIGMA)
    return {name: values for name, values in found.items() if values is not None and np.isfinite(values).all()}


@legible
def plot_prior_to_posterior(fit: "BayesFit", seed: int = 1) -> "Figure":
    """Draw prior and posterior of each standard deviation, a panel each.

    Parameters
    ----------
    fit : BayesFit
    seed : int, default 1
        Of the draws from the prior.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    frame = prior_to_posterior_frame(fit, seed)
    everything = frame["parameter"].unique()
    shown = everything[:SHOWN]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.3 * columns + 0.4, 2.4 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, shown, strict=False):
        _panel(axis, frame[frame["parameter"] == name], name)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    left_out = "" if len(shown) == len(everything) else f" (first {len(shown)} of {len(everything)})"
    figure.suptitle(f"Standard deviations, from prior to posterior{left_out}", fontsize=12)
    legend_below(figure, axes[0], 2)
    return figure


def _panel(axis, table: pd.DataFrame, name: str) -> None:
    for which, color, style, filled in (("prior", PRIOR, "--", True), ("posterior", POSTERIOR, "-", False)):
        own = table[table["which"] == which]
        if own.empty:
            axis.plot([], [], color=color, ls=style, lw=1.4, label=which)
            axis.text(0.98, 0.95, "prior improper", transform=axis.transAxes, ha="right", va="top", fontsize=8)
            continue
        edges = np.append(own["lower"], own["upper"].iloc[-1])
        if filled:
            axis.stairs(own["density"], edges, color=color, alpha=0.3, fill=True)
        axis.stairs(own["density"], edges, color=color, ls=style, lw=1.4, label=which)
        if which == "prior" and own["beyond"].iloc[0] > 0.005:
            said = f"{own['beyond'].iloc[0]:.0%} of the prior\nbeyond"
            axis.text(0.98, 0.95, said, transform=axis.transAxes, ha="right", va="top", fontsize=8)
    axis.set_xlim(0, table["upper"].max())
    axis.set_ylim(bottom=0)
    axis.set_yticks([])
    axis.set_xlabel(plain(name, 36), fontsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)

"""What the likelihood and the posterior say of each group standard deviation, side by side."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import bare, legend_below
from poolwise.plot.updating import prior_to_posterior_frame
from poolwise.result.frequentist import FrequentistFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

CURVES = {
    "prior": dict(color="#777777", ls=":", lw=1.6, label="prior"),
    "posterior": dict(color="#009E73", ls="-", lw=2.0, label="posterior"),
    "likelihood": dict(color="#D55E00", ls="--", lw=1.8, label="profile likelihood"),
}
POINTS, COLUMNS, SHOWN = 41, 3, 6
# The profile is followed to the ends of the interval of this probability.
PROFILE_LEVEL = 0.999


def group_sd_frame(study: "PoolingStudy") -> pd.DataFrame:
    """The frame that is drawn: prior, posterior and profile likelihood of each group sd.

    Parameters
    ----------
    study : PoolingStudy
        Of a Gaussian response.

    Returns
    -------
    DataFrame
        Columns parameter, curve (prior, posterior, likelihood), x, height: the density, or the profile likelihood,
        relative to the largest of the posterior, or of the likelihood. The prior has the posterior's scale.

    Raises
    ------
    ArgumentError
        For a family other than the Gaussian, of which there is no profile.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1.
    """
    partial = study.partial
    if not isinstance(partial, FrequentistFit):
        raise ArgumentError("profile likelihoods are of Gaussian models; see plot_prior_to_posterior for the posterior")
    histograms = prior_to_posterior_frame(study.bayes)
    rows: list[tuple[str, str, float, float]] = []
    for name in study.factor.sd_names[:SHOWN]:
        own = histograms[histograms["parameter"] == name]
        top = float(own.loc[own["which"] == "posterior", "density"].max())
        for which in ("prior", "posterior"):
            part = own[own["which"] == which]
            middles = (part["lower"] + part["upper"]) / 2
            rows += [(name, which, x, density / top) for x, density in zip(middles, part["density"], strict=True)]
        profile = partial.profile(name, level=PROFILE_LEVEL, points=POINTS)
        height = np.exp(-0.5 * profile["deviance"])
        rows += [(name, "likelihood", x, y) for x, y in zip(profile["value"], height / height.max(), strict=True)]
    return pd.DataFrame(rows, columns=["parameter", "curve", "x", "height"])


@legible
def plot_group_sds(study: "PoolingStudy") -> "Figure":
    """Draw the profile likelihood of each group sd beside its posterior and its prior, with the REML estimate.

    Parameters
    ----------
    study : PoolingStudy
        Of a Gaussian response.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    frame = group_sd_frame(study)
    shown = list(frame["parameter"].unique())
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(3.9 * columns + 0.3, 5.4), 2.9 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    varcorr = study.reml.varcorr
    estimates = varcorr.loc[varcorr["var2"].isna() & (varcorr["factor"] == study.factor.name), "sdcor"].to_numpy()
    for axis, name, estimate in zip(axes, shown, estimates, strict=False):
        own = frame[frame["parameter"] == name]
        for curve, style in CURVES.items():
            part = own[own["curve"] == curve]
            axis.plot(part["x"], part["height"], **style)
        axis.plot(estimate, 0, "^", color="black", ms=8, clip_on=False, zorder=5, label="REML estimate")
        drawn = own[own["curve"] != "prior"]
        last = drawn.loc[drawn["height"] > 0.01, "x"].max()
        axis.set_xlim(-0.02 * last, 1.1 * last)
        axis.set_ylim(0, 1.05)
        axis.set_yticks([])
        axis.set_xlabel(plain(name, 40))
        bare(axis, "x")
        axis.spines["left"].set_visible(False)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    axes[0].set_ylabel("relative height")
    response = plain(study.model.design.formula.response, 36)
    figure.suptitle(f"Group standard deviations of {response}: likelihood and posterior", fontsize=12)
    legend_below(figure, axes[0], 4)
    return figure

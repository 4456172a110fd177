"""Data drawn from the posterior beside the data, by ArviZ."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.result import pointwise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.bayes import BayesFit

REPLICATIONS = 50
WHOLE_NUMBERS = ("count", "binary", "trials", "levels")


def predictive_tree(fit: "BayesFit", seed: int = 1) -> xr.DataTree:
    """What is drawn, as ArviZ takes it: groups posterior_predictive and observed_data.

    Parameters
    ----------
    fit : BayesFit
    seed : int, default 1
        Of the replications.

    Returns
    -------
    xarray.DataTree
        Responses that count are whole numbers.

    Raises
    ------
    ArgumentError
        If draws times rows exceed memory.
    """
    if not pointwise.fits_memory(fit):
        raise ArgumentError("draws times rows exceed what fits in memory; replicate a part: fit.predict_draws(rows)")
    drawn = pointwise.rowwise(fit, fit.predict_draws(kind="response", seed=seed))
    name, kind = fit.design.response, int if fit.design.family.holds in WHOLE_NUMBERS else float
    dim = str(drawn[name].dims[-1])
    # Levels are drawn as numbers from 1.
    own = fit.design.outcome.scaled if fit.design.family.holds == "levels" else fit.design.y
    observed = xr.Dataset({name: (dim, np.asarray(own).astype(kind))}, coords={dim: np.arange(fit.design.n)})
    return xr.DataTree.from_dict({"posterior_predictive": drawn.astype(kind), "observed_data": observed})


@legible
def plot_posterior_predictive(fit: "BayesFit", seed: int = 1) -> "Figure":
    """Draw the distribution of the response and of 50 replications, by :func:`arviz.plot_ppc_dist`.

    Parameters
    ----------
    fit : BayesFit
    seed : int, default 1
        Of the replications.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    import arviz as az
    import matplotlib.pyplot as plt

    tree = predictive_tree(fit, seed)
    kind = "ecdf" if fit.design.family.holds in WHOLE_NUMBERS else "kde"
    options = dict(kind=kind, num_samples=REPLICATIONS, visuals={"title": False})
    drawn = az.plot_ppc_dist(tree, backend="matplotlib", **options)
    figure = drawn.viz["figure"].item()
    plt.close(figure)
    figure.set_size_inches(7.2, 3.4)
    figure.axes[0].set_title(f"{plain(fit.design.formula.response)}: the data (black) and {REPLICATIONS} replications")
    return figure

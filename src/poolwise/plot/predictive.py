"""Data drawn from the posterior beside the data, by ArviZ."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.errors import ArgumentError
from poolwise.plot.lettering import legible, plain
from poolwise.result import pointwise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.result.bayes import BayesFit

Kind = Literal["distribution", "intervals", "loo_intervals", "rootogram", "calibration", "pit"]
REPLICATIONS = 50
# Rows whose intervals fit beside one another.
ROWS = 100
MANY_VALUES = ("real", "positive", "unit", "circle", "count", "trials", "nonnegative", "levels")
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
    if fit.design.outcome.counts is not None:
        raise ArgumentError(
            f"a row of {fit.design.response} is several counts, which no picture here draws; compare the counts of "
            "fit.predict_draws(kind='response') category by category"
        )
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
def plot_posterior_predictive(fit: "BayesFit", kind: Kind = "distribution", seed: int = 1) -> "Figure":
    """Draw the data beside data drawn from the posterior, by ArviZ.

    Parameters
    ----------
    fit : BayesFit
    kind : {"distribution", "intervals", "loo_intervals", "rootogram", "calibration", "pit"}
        - distribution: of the response and of 50 replications (:func:`arviz.plot_ppc_dist`);
        - intervals: 50 and 95 % of the replications of each row (:func:`arviz.plot_ppc_interval`), of 100 rows at most,
          in the order of their predictions; a binary response has no use for them;
        - loo_intervals: the same, each row left out (:func:`arviz.plot_loo_interval`);
        - rootogram: how often each count occurs, on a square-root scale (:func:`arviz.plot_ppc_rootogram`);
        - calibration: the share of successes (ArviZ's CEP) among rows of like prediction, with 95 % of replications
          (:func:`arviz.plot_ppc_pava`), of binary responses and ordered levels;
        - pit: how far :func:`poolwise.checks.loo_pit_values` are from uniform, and p of the test of Tesso and Vehtari
          (:func:`arviz.plot_ecdf_pit`).
    seed : int, default 1
        Of the replications.

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.

    Raises
    ------
    ArgumentError
        For a kind that there is not, or that the response is not of; if draws times rows exceed memory.
    """
    import matplotlib.pyplot as plt

    if kind not in _DRAW:
        raise ArgumentError(f"kind must be one of {', '.join(map(repr, _DRAW))}; got {kind!r}")
    draw, suits, title = _DRAW[kind]
    holds = fit.design.family.holds
    if suits and holds not in suits:
        said = "more than two values" if suits is MANY_VALUES else " or ".join(_RESPONSES[one] for one in suits)
        raise ArgumentError(
            f"kind={kind!r} is for a response of {said}; {fit.design.response} is not: try kind='distribution'"
        )
    with warnings.catch_warnings():
        # Rows whose weights are unreliable are the finding unreliable_elpd.
        warnings.simplefilter("ignore", UserWarning)
        figure = draw(fit, seed).viz["figure"].item()
    plt.close(figure)
    figure.set_layout_engine("constrained")
    figure.set_size_inches(max(7.2, 3.0 * len(figure.axes)), 3.4)
    said = f"{plain(fit.design.formula.response)}: {title}"
    if len(figure.axes) == 1:
        figure.axes[0].set_title(said)
    else:
        figure.suptitle(said)
    if kind in ("intervals", "loo_intervals"):
        figure.axes[0].set_xlabel("rows in the order of their predictions")
    return figure


def _distribution(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    kind = "ecdf" if fit.design.family.holds in WHOLE_NUMBERS else "kde"
    options = dict(kind=kind, num_samples=REPLICATIONS, visuals={"title": False})
    return az.plot_ppc_dist(predictive_tree(fit, seed), backend="matplotlib", **options)


def _intervals(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    return az.plot_ppc_interval(_few_rows(fit, predictive_tree(fit, seed)), backend="matplotlib", **_INTERVALS)


def _loo_intervals(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    tree = predictive_tree(fit, seed)
    tree["log_likelihood"] = pointwise.rowwise(fit, pointwise.log_likelihood(fit))
    tree["posterior"] = fit.posterior
    return az.plot_loo_interval(_few_rows(fit, tree), backend="matplotlib", **_INTERVALS)


def _few_rows(fit: "BayesFit", tree: xr.DataTree) -> xr.DataTree:
    """Rows in the order of their predictions, evenly chosen where there are many."""
    mean = fit.predict_draws().mean(axis=0)
    rows = np.argsort(mean, kind="stable")[np.unique(np.linspace(0, fit.design.n - 1, ROWS).astype(int))]
    chosen = {}
    for name, group in tree.children.items():
        own = group.to_dataset()
        dims = [dim for dim in own.dims if dim == names.OBSERVATION]
        chosen[name] = own.isel(dict.fromkeys(dims, rows)).assign_coords({dim: np.arange(len(rows)) for dim in dims})
    return xr.DataTree.from_dict(chosen)


def _rootogram(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    return az.plot_ppc_rootogram(predictive_tree(fit, seed), ci_prob=0.95, backend="matplotlib")


def _calibration(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    tree, levels = predictive_tree(fit, seed), fit.design.outcome.levels
    if levels is None:
        return az.plot_ppc_pava(tree, data_type="binary", ci_prob=0.95, backend="matplotlib")
    # ArviZ counts levels from 0.
    tree = tree.map_over_datasets(lambda own: own - 1)
    drawn = az.plot_ppc_pava(tree, data_type="ordinal", ci_prob=0.95, backend="matplotlib")
    for axis, label in zip(drawn.viz["figure"].item().axes, levels, strict=False):
        axis.set_title(f"at most {plain(label, 20)}")
    return drawn


def _pit(fit: "BayesFit", seed: int) -> Any:
    import arviz as az

    from poolwise.check.loo_pit import loo_pit_values

    values = xr.Dataset({fit.design.response: (("sample",), loo_pit_values(fit, seed=seed))})
    return az.plot_ecdf_pit(values, sample_dims="sample", backend="matplotlib")


_INTERVALS: dict[str, Any] = dict(ci_probs=(0.5, 0.95), visuals={"title": False})
_RESPONSES = {"count": "counts", "binary": "two values", "levels": "ordered levels"}
_DRAW: dict[str, tuple[Callable[["BayesFit", int], Any], tuple[str, ...], str]] = {
    "distribution": (_distribution, (), f"the data (black) and {REPLICATIONS} replications"),
    "intervals": (_intervals, MANY_VALUES, "rows and the intervals of their replications"),
    "loo_intervals": (_loo_intervals, MANY_VALUES, "rows and their intervals when left out"),
    "rootogram": (_rootogram, ("count",), "how often each count occurs, and 95 % of replications"),
    "calibration": (_calibration, ("binary", "levels"), "the share observed among rows of like prediction"),
    "pit": (_pit, (), "probabilities of left-out rows, less those of a uniform"),
}

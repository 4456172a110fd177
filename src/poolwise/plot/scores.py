"""The table of a study as a dot plot: errors in sample and held out, and elpd."""

from typing import TYPE_CHECKING

import pandas as pd

from poolwise.plot.lettering import legible, plain
from poolwise.plot.panels import bare, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poolwise.compare.study import PoolingStudy

MEASURES = {"rmse": "RMSE", "brier": "Brier score", "log_loss": "log loss"}
WHERE = {
    "": ("in sample", "o", "#777777", "white"),
    "_kfold": ("held-out rows of known groups", "s", "#0072B2", "#0072B2"),
    "_new_groups": ("held-out groups", "D", "#D55E00", "white"),
}


def scores_frame(study: "PoolingStudy") -> pd.DataFrame:
    """The frame that is drawn: a row a fit, measure and kind of error.

    Parameters
    ----------
    study : PoolingStudy

    Returns
    -------
    DataFrame
        Columns fit, label (in words), measure (RMSE, elpd, of binary responses and trials Brier score and log loss),
        where (in sample, held-out rows of known groups, held-out groups), value. Without what is not defined.
    """
    table = study.table
    rows = []
    for name in table.index:
        label = study.labels[name]
        for measure, said in MEASURES.items():
            for key, (where, *_) in WHERE.items():
                if measure + key in table:
                    rows.append((name, label, said, where, float(table.loc[name, measure + key])))
        rows.append((name, label, "elpd", WHERE["_kfold"][0], float(table.loc[name, "elpd"])))
    frame = pd.DataFrame(rows, columns=["fit", "label", "measure", "where", "value"])
    return frame.dropna(subset=["value"]).reset_index(drop=True)


@legible
def plot_scores(study: "PoolingStudy") -> "Figure":
    """Draw the errors of every fit, a panel a measure; lower errors and a higher elpd are better.

    Parameters
    ----------
    study : PoolingStudy

    Returns
    -------
    matplotlib Figure
        Not shown, not attached to pyplot.
    """
    from matplotlib.figure import Figure

    table = scores_frame(study)
    measures, fits = list(table["measure"].unique()), list(study.fits)
    place = {name: len(fits) - 1 - k for k, name in enumerate(fits)}
    figure = Figure(figsize=(3.1 + 3.0 * len(measures), 1.8 + 0.36 * len(fits)), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axis, measure in zip(axes, measures, strict=True):
        own = table[table["measure"] == measure]
        for (where, marker, color, fill), shift in zip(WHERE.values(), (0.14, 0.0, -0.14), strict=True):
            part = own[own["where"] == where]
            y = part["fit"].map(place).astype(float) + shift
            axis.plot(part["value"], y, marker, color=color, mfc=fill, ms=7, label=where)
        axis.set_xlabel(f"{measure}\n({'higher' if measure == 'elpd' else 'lower'} is better)")
        axis.margins(x=0.12, y=0.15)
        axis.locator_params(axis="x", nbins=4)
        bare(axis)
        if measure == "elpd":
            _elpd(axis, own)
    labels = [study.labels[name] for name in fits]
    axes[0].set_yticks([place[name] for name in fits], labels)
    figure.suptitle(f"How well each fit predicts {plain(study.model.design.formula.response)}", fontsize=12)
    legend_below(figure, axes[0], 3)
    return figure


def _elpd(axis, own: pd.DataFrame) -> None:
    """One number: it stands in the panel, for there is nothing beside it to compare with by eye."""
    value = float(own["value"].iloc[0])
    axis.set_xlim(value - 0.05 * abs(value) - 1, value + 0.05 * abs(value) + 1)
    axis.set_title(f"{value:.1f} (PSIS-LOO)", fontsize=9)

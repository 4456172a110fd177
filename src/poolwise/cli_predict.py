"""The command ``poolwise predict``: new rows of a CSV file, predicted by a saved fit."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from poolwise.cli_table import InputFile
from poolwise.errors import ArgumentError, DataError, PoolwiseWarning

if TYPE_CHECKING:
    from poolwise.result.bayes import BayesFit

DONE = 0
POSTERIOR = "posterior.nc"


def add_predict_command(commands) -> None:
    """Add ``predict`` to the program's commands."""
    predict = commands.add_parser("predict", help="predictions of new rows by a saved fit, with intervals")
    predict.add_argument("fit", help=f"{POSTERIOR} as `poolwise fit` wrote it, or its folder")
    predict.add_argument("data", help="CSV file with a header: the predictors, and the grouping columns")
    predict.add_argument(
        "--groups",
        action="append",
        metavar="[FACTOR=]WORD",
        help="what a row's group stands for: observed, population_draw, population_mean or integrated; may be given "
        "once a grouping factor (a group of the fit: observed; a new one: population_draw)",
    )
    predict.add_argument(
        "--kind",
        default="mean",
        help="mean, response, probability (of each level of an ordinal response), or a parameter with a formula of its "
        "own, such as sigma (mean)",
    )
    predict.add_argument("--level", type=float, default=0.95, help="probability of the intervals (0.95)")
    predict.add_argument("--seed", type=int, default=0, help="of drawn groups and of the noise (0)")
    predict.add_argument("--out", help="CSV file to write: the new rows with their predictions (they are printed)")
    predict.set_defaults(run=_predict)


def _predict(parsed: argparse.Namespace) -> int:
    import pandas as pd

    from poolwise.result.store import load_fit

    out = None if parsed.out is None else Path(parsed.out)
    if out is not None and not out.parent.is_dir():
        raise ArgumentError(f"there is no folder {str(out.parent)!r} to write {out.name!r} to")
    source, file = Path(parsed.fit), InputFile(parsed.data)
    fit = load_fit(source / POSTERIOR if (source / POSTERIOR).is_file() else source)
    asked = dict(groups=_modes(parsed.groups), kind=parsed.kind, level=parsed.level, seed=parsed.seed)
    with file.telling(), warnings.catch_warnings(record=True) as said_on_the_way:
        warnings.simplefilter("always", PoolwiseWarning)
        found = fit.predict(file.frame, **asked)
    for warning in said_on_the_way:
        print(f"poolwise: {warning.message}", file=sys.stderr)
    # Of categories and levels a row has several predictions, which name it.
    rows = file.frame if "row" not in found else file.frame.iloc[found.pop("row")].reset_index(drop=True)
    if twice := [name for name in found if name in rows]:
        raise DataError(f"{parsed.data!r} has a column {twice[0]!r}, as the predictions have; rename it")
    table = pd.concat([rows, found], axis=1)
    said = f"estimate and {100 * parsed.level:g} % interval of the {_kind_in_words(parsed.kind, fit)}"
    if out is None:
        print(f"{table.to_string(index=False, float_format='%.4g')}\n\nColumns: {said}")
    else:
        table.to_csv(out, index=False)
        print(f"Written: {out}, {len(table):,} rows; {said}")
    return DONE


def _kind_in_words(kind: str, fit: "BayesFit") -> str:
    """What the estimates are of, and which other kind may have been meant."""
    family = fit.design.family
    if kind == "mean" and family.holds == "levels":
        return "mean level, from 1; --kind probability for each level"
    if kind in ("mean", "probability") and (family.categorical or kind == "probability"):
        return f"probability of each {'category' if family.categorical else 'level'}"
    return {"response": "response of a single row", "mean": "mean; --kind response for a single row"}.get(kind, kind)


def _modes(given: list[str] | None) -> str | dict[str, str] | None:
    """The groups of :meth:`poolwise.BayesFit.predict`, from ``WORD`` or several ``FACTOR=WORD``."""
    if not given:
        return None
    if any("=" not in one for one in given):
        if len(given) > 1:
            raise ArgumentError(
                "--groups stands once for all grouping factors, or once for each as --groups FACTOR=WORD"
            )
        return given[0]
    pairs = [one.rpartition("=") for one in given]
    return {factor: mode for factor, _, mode in pairs}

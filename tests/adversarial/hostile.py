"""What a hostile case is: a table, a formula, and the one outcome that is right. Cases stand in ``cases_*.py``.

An outcome is an error in words, or numbers equal to those of another table of the same content without the
hostility (its twin), with the notice that the case needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

FORMULA = "y ~ x + (1|g)"
J, EACH = 8, 6


def table(**columns: object) -> pd.DataFrame:
    """A good table of 48 rows: y, two predictors, two crossed factors, a factor of three levels, weights, a count.

    The keywords replace or add columns.
    """
    rng = np.random.default_rng(20)
    n = J * EACH
    g = np.repeat(np.arange(J), EACH)
    h = np.tile(np.arange(EACH), J)
    x, z = rng.normal(size=(2, n))
    y = 2.0 + 0.5 * x - 0.3 * z + rng.normal(0, 0.8, J)[g] + rng.normal(0, 0.5, EACH)[h] + rng.normal(0, 0.6, n)
    frame = pd.DataFrame({"y": y, "x": x, "z": z, "g": np.array(list("abcdefgh"))[g], "h": np.array(list("pqrstu"))[h]})
    frame["f"] = np.array(["low", "mid", "top"])[np.arange(n) % 3]
    frame["w"] = 0.5 + rng.random(n)
    frame["count"] = rng.poisson(np.exp(0.5 + 0.4 * x))
    frame["event"] = (rng.random(n) < 1 / (1 + np.exp(-x))).astype(int)
    frame["trials"] = frame["event"] + rng.integers(1, 6, n)
    for name, values in columns.items():
        frame[name] = values
    return frame


def setting(column: str, value: object, *rows: int) -> pd.DataFrame:
    """The good table with some values replaced."""
    frame = table()
    values = frame[column].astype(object) if isinstance(value, str) else frame[column].astype(float)
    values.iloc[list(rows)] = value
    return frame.assign(**{column: values})


@dataclass(frozen=True)
class Case:
    """One hostile case.

    Parameters
    ----------
    name : str
        Unique.
    data : callable
        Makes the table.
    formula : str
        The formula.
    refused : tuple of str
        Words that must stand in the one PoolwiseError; empty where the case is valid.
    at : {"model", "reml", "fit"}
        Which call refuses.
    twin : (formula, callable) or None
        The same content without the hostility; the fits must agree.
    scale : mapping of str to (float, float)
        The case's common effect = shift + factor * that of the twin, by the case's name; "sd" for the group sds.
    rename : mapping of str to str
        From the case's names of terms to the twin's.
    says : tuple of str
        Words that must stand in the description of the model.
    warns : tuple of str
        Words of a warning that must be raised.
    options : mapping
        Further arguments of Model.
    rtol : float
        Of the comparison, relative to the standard error.
    csv : bool
        Whether a CSV file can hold the case, so that the command line meets it too.
    """

    name: str
    data: Callable[[], Any] = table
    formula: str = FORMULA
    refused: tuple[str, ...] = ()
    at: str = "model"
    twin: tuple[str, Callable[[], Any]] | None = None
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    rtol: float = 1e-5
    csv: bool = True

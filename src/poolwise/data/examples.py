"""Example data that ship with the package: offline, with source and licence."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from poolwise.errors import UnknownNameError, near_names

FOLDER = Path(__file__).parent / "datasets"


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    return tomllib.loads((FOLDER / "datasets.toml").read_text(encoding="utf-8"))


def datasets() -> pd.DataFrame:
    """What there is to load.

    Returns
    -------
    DataFrame
        Columns name, rows, groups (factor and number of groups), description, source, licence.

    Examples
    --------
    >>> datasets().set_index("name").loc["bounce_rates", "groups"]
    '8 county'
    """
    rows = []
    for name, entry in _catalogue().items():
        groups = ", ".join(f"{count} {factor}" for factor, count in entry["groups"].items())
        rows.append((name, entry["rows"], groups, entry["description"], entry["source"], entry["licence"]))
    return pd.DataFrame(rows, columns=["name", "rows", "groups", "description", "source", "licence"])


def load_dataset(name: str) -> pd.DataFrame:
    """An example data set.

    Parameters
    ----------
    name : str
        One of :func:`datasets`.

    Returns
    -------
    DataFrame
        Factors are categoricals of text, their levels in numeric order where all are numbers.

    Raises
    ------
    UnknownNameError
        Lists the names there are.

    Examples
    --------
    >>> load_dataset("dyestuff").groupby("Batch", observed=True)["Yield"].mean().round(1).to_dict()["A"]
    1505.0
    """
    if name not in _catalogue():
        raise UnknownNameError(f"no data set {name!r}; {near_names(name, _catalogue(), 20)}")
    entry = _catalogue()[name]
    factors = entry["factors"]
    plain, packed = FOLDER / f"{name}.csv", FOLDER / f"{name}.csv.gz"
    frame = pd.read_csv(plain if plain.exists() else packed, dtype=dict.fromkeys(factors, str))
    for factor in factors:
        found = frame[factor].unique().tolist()
        levels = entry.get("levels", {}).get(factor) or (
            sorted(found, key=int) if all(level.isdigit() for level in found) else sorted(found)
        )
        frame[factor] = pd.Categorical(frame[factor], levels, ordered=factor in entry.get("ordered", []))
    return frame

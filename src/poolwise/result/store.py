"""Saved fits: one NetCDF file with the draws, the rows and the recipe; checksums, no code, no pickle."""

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from poolwise.errors import PoolwiseError, StoreError
from poolwise.fit.bayes import Sampling
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior
from poolwise.result.bayes import BayesFit
from poolwise.spec.design import build_design
from poolwise.spec.families import family_of
from poolwise.spec.formula import parse_formula
from poolwise.spec.specification import checked_rows

FORMAT = 3
RECIPE = "poolwise_recipe"
CHECKSUMS = "poolwise_checksums"
ROWS = "rows"


def save_fit(fit: BayesFit, path: str | Path) -> Path:
    """Write a fit to a file, whole or not at all.

    Parameters
    ----------
    fit : BayesFit
        The fit.
    path : str or Path
        Where to; the folder must exist. An existing file is replaced once the new one is complete.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        If it cannot be written; an earlier file is then untouched.
    """
    path = Path(path)
    tree = fit.data.copy()
    rows, columns = _encode_rows(fit.design.frame)
    covariances = fit.design.covariances
    for position, table in enumerate(covariances.values()):
        rows[f"covariance_{position}"] = ((f"group_{position}", f"group_{position}_bis"), table.to_numpy())
    tree[ROWS] = xr.DataTree(rows)
    recipe = {
        "format": FORMAT,
        "poolwise": version("poolwise"),
        "formula": fit.design.formula.text,
        "canonical": fit.design.formula.canonical,
        "further": [own.formula.canonical for own in fit.design.further],
        "columns": columns,
        "covariances": [[name, list(table.index)] for name, table in covariances.items()],
        "family": fit.design.family.name,
        "link": fit.design.family.link,
        "weights": None if fit.design.frequency else fit.design.weights_column,
        "form": fit.form,
        "settings": fit.settings.__dict__,
        "priors": [
            [r.parameter, r.role, r.prior.distribution, dict(r.prior.params), r.rule, r.source, r.at]
            for r in fit.resolved_priors
        ],
    }
    tree.attrs[RECIPE] = json.dumps(recipe)
    tree.attrs[CHECKSUMS] = json.dumps(_checksums(tree))
    try:
        handle, temporary = tempfile.mkstemp(suffix=".nc", prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise StoreError(f"cannot write to the folder {str(path.parent)!r}: {error.strerror}") from error
    try:
        tree.to_netcdf(temporary, engine="h5netcdf")
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        _open(Path(temporary))
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise StoreError(f"the fit could not be written to {str(path)!r}: {error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def load_fit(path: str | Path, *, trusted: bool = False) -> BayesFit:
    """Read a fit that :meth:`BayesFit.save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    trusted : bool, default False
        Read a fit whose formula needed ``trusted=True``; only for files you wrote yourself.

    Returns
    -------
    BayesFit
        With its design, priors and settings; predictions and tables work as before.

    Raises
    ------
    StoreError
        If the file is not a poolwise fit, is truncated or was altered.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"there is no file {str(path)!r}")
    tree, recipe = _open(path)
    try:
        frame = _decode_rows(tree[ROWS].to_dataset(), recipe["columns"])
        formula = replace(parse_formula(recipe["canonical"], trusted=trusted), text=recipe["formula"])
        weights, family = recipe["weights"], family_of(recipe["family"], recipe["link"])
        further = tuple(parse_formula(text, trusted=trusted) for text in recipe.get("further", ()))
        table = checked_rows(frame, formula, further, family, weights)
        covariances = {
            name: pd.DataFrame(tree[ROWS][f"covariance_{k}"].to_numpy(), labels, labels)
            for k, (name, labels) in enumerate(recipe.get("covariances", ()))
        }
        design = build_design(formula, table, weights, family, covariances, further)
        priors = [
            ResolvedPrior(parameter, role, Prior(distribution, **params), rule, source, at)
            for parameter, role, distribution, params, rule, source, at in recipe["priors"]
        ]
        del tree[ROWS]
        tree.attrs = {}
        return BayesFit(design, tree, priors, Sampling(**recipe["settings"]), recipe["form"])
    except (KeyError, TypeError, ValueError, PoolwiseError) as error:
        raise StoreError(f"{str(path)!r} does not hold a complete poolwise fit: {error}") from error


def _open(path: Path) -> tuple[xr.DataTree, dict]:
    """The tree, in memory, and its recipe, after the checksums were compared."""
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load().copy()
    except Exception as error:  # h5py raises many kinds for what is not its format
        raise StoreError(
            f"{str(path)!r} is not a readable NetCDF file ({type(error).__name__}): it may be truncated"
        ) from error
    if RECIPE not in tree.attrs or CHECKSUMS not in tree.attrs:
        raise StoreError(f"{str(path)!r} was not written by poolwise: it has no recipe")
    recipe, expected = json.loads(tree.attrs[RECIPE]), json.loads(tree.attrs[CHECKSUMS])
    if recipe.get("format") != FORMAT:
        raise StoreError(f"{str(path)!r} has format {recipe.get('format')!r}, this version reads {FORMAT}")
    found = _checksums(tree)
    if found != expected:
        changed = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise StoreError(f"{str(path)!r} was altered or damaged: the checksum of {changed[0]!r} does not fit")
    return tree, recipe


def _checksums(tree: xr.DataTree) -> dict[str, str]:
    """SHA-256 of every variable's bytes and of the recipe."""
    found = {RECIPE: hashlib.sha256(tree.attrs[RECIPE].encode()).hexdigest()}
    for node in tree.subtree:
        for name, variable in node.dataset.data_vars.items():
            values = np.ascontiguousarray(variable.to_numpy())
            found[f"{node.path}/{name}"] = hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
    return found


def _encode_rows(frame: pd.DataFrame) -> tuple[xr.Dataset, list[dict]]:
    """Columns as numbers; the levels of a factor go into the recipe."""
    variables, columns = {}, []
    for position, name in enumerate(frame.columns):
        column = frame[name]
        note: dict = {"name": name, "levels": None, "ordered": False}
        values = column
        if not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.kind not in "iufb":
            values = column.astype("category")
        if isinstance(values.dtype, pd.CategoricalDtype):
            note["levels"] = [
                level.item() if isinstance(level, np.generic) else level for level in values.cat.categories
            ]
            note["ordered"] = bool(values.cat.ordered)
            note["categorical"] = isinstance(column.dtype, pd.CategoricalDtype)
            values = values.cat.codes
        note["bool"] = bool(values.dtype.kind == "b")
        variables[f"column_{position}"] = (
            "row",
            values.to_numpy().astype(np.int8) if note["bool"] else values.to_numpy(),
        )
        columns.append(note)
    return xr.Dataset(variables), columns


def _decode_rows(rows: xr.Dataset, columns: list[dict]) -> pd.DataFrame:
    frame = {}
    for position, note in enumerate(columns):
        values = rows[f"column_{position}"].to_numpy()
        if note["levels"] is not None:
            column = pd.Categorical.from_codes(values, note["levels"], ordered=note["ordered"])
            frame[note["name"]] = column if note["categorical"] else np.asarray(column)
        else:
            frame[note["name"]] = values.astype(bool) if note["bool"] else values
    return pd.DataFrame(frame)

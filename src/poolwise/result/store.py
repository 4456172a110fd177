"""Saved fits: one NetCDF file with the draws, the rows or their sums, and the recipe; checksums, no code, no pickle."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from poolwise.data.storage import is_url
from poolwise.data.whole_file import write_whole
from poolwise.errors import PoolwiseError, StoreError, shown
from poolwise.fit.bayes import Sampling
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior
from poolwise.result.bayes import BayesFit
from poolwise.result.stored import check_draws, check_recipe, refuse_inflated
from poolwise.spec.checked import checked_rows
from poolwise.spec.collapsed_file import decode_collapsed, encode_collapsed
from poolwise.spec.counted import CountedData
from poolwise.spec.counted_design import CountedDesign, counted_design
from poolwise.spec.counted_file import encode_counted
from poolwise.spec.design import Design, build_design
from poolwise.spec.families import family_of
from poolwise.spec.formula import parse_formula
from poolwise.spec.rowless import WithoutRows

# 4 ends with a digest of the whole file, 3 did not.
FORMAT, READABLE = 4, (3, 4)
RECIPE = "poolwise_recipe"
CHECKSUMS = "poolwise_checksums"
ROWS, SUMS, RESPONSE = "rows", "sums", "response"
# HDF5 does not read beyond its own end, so these bytes after it do not concern other programs.
TRAILER = b"poolwise-sha256:"
# What a recipe, or draws, that are not those of a fit may raise.
WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, PoolwiseError)


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
    content = encode_fit(fit.data.copy(), fit.design, fit.resolved_priors, fit.settings, fit.form)
    return write_whole(path, content, "the fit", verify=_open)


def encode_fit(
    tree: xr.DataTree, design: Design, priors: Sequence[ResolvedPrior], settings: Sampling, form: str
) -> bytes:
    """The content of a file that rebuilds the design and the priors of a fit exactly; the tree is added to.

    Parameters
    ----------
    tree : xarray.DataTree
        Draws and what belongs to them; it may be empty.
    design, priors, settings, form
        As :class:`BayesFit` has them.
    """
    recipe = {
        "format": FORMAT,
        "poolwise": version("poolwise"),
        **(_put_sums(tree, design) if isinstance(design, WithoutRows) else _put_rows(tree, design)),
        "form": form,
        "settings": settings.__dict__,
        "priors": [
            [r.parameter, r.role, r.prior.distribution, dict(r.prior.params), r.rule, r.source, r.at] for r in priors
        ],
    }
    tree.attrs[RECIPE] = json.dumps(recipe)
    tree.attrs[CHECKSUMS] = json.dumps(_checksums(tree))
    # Made in memory: on a full disk HDF5 itself would end the process.
    content = bytes(tree.to_netcdf(engine="h5netcdf"))
    return content + TRAILER + hashlib.sha256(content).hexdigest().encode()


def _put_rows(tree: xr.DataTree, design: Design) -> dict[str, Any]:
    """Add the rows of a design to the tree; returns its part of the recipe."""
    rows, columns = _encode_rows(design.frame)
    # Model.with_response has put it in place of what the formula makes of the columns.
    rows[RESPONSE] = ("row", design.y)
    covariances = design.covariances
    for position, table in enumerate(covariances.values()):
        rows[f"covariance_{position}"] = ((f"group_{position}", f"group_{position}_bis"), table.to_numpy())
    tree[ROWS] = xr.DataTree(rows)
    return {
        "formula": design.formula.text,
        "canonical": design.formula.canonical,
        "further": [own.formula.canonical for own in design.further],
        "columns": columns,
        "covariances": [[name, list(table.index)] for name, table in covariances.items()],
        "family": design.family.name,
        "link": design.family.link,
        "weights": None if design.frequency else design.weights_column,
    }


def _put_sums(tree: xr.DataTree, design: WithoutRows) -> dict[str, Any]:
    """Add sums, or counts, to the tree, as the bytes of their own file, which has the formula and is checked so."""
    recipe: dict[str, Any] = {"formula": design.formula.text, "canonical": design.formula.canonical}
    if isinstance(design, CountedDesign):
        content = encode_counted(design.source)
        recipe |= {"family": design.family.name, "link": design.family.link}
    else:
        assert design.collapsed is not None  # sums, where there are neither rows nor counts
        content = encode_collapsed(design.collapsed)
    tree[SUMS] = xr.DataTree(xr.Dataset({"file": ("byte", np.frombuffer(content, dtype=np.uint8))}))
    return recipe


def load_fit(path: str | Path, *, trusted: bool = False) -> BayesFit:
    """Read a fit that :meth:`BayesFit.save` wrote, or the draws that a run has made in its store.

    Parameters
    ----------
    path : str or Path
        The file, or the folder or URL that ``Model.fit(store=)`` filled.
    trusted : bool, default False
        Read a fit whose formula needed ``trusted=True``; only for files you wrote yourself.

    Returns
    -------
    BayesFit
        With its design, priors and settings; predictions and tables work as before. Of a store that is not complete
        the draws that every chain of it has, and :func:`poolwise.resume` goes on.

    Raises
    ------
    StoreError
        If the file or the store is not poolwise's, is truncated or was altered, or has no draws yet.

    Warns
    -----
    PartialRunWarning
        If the run of a store has not ended, or was killed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> fit = model.fit(seed=1, progress=False)
    >>> with TemporaryDirectory() as folder:
    ...     again = pw.load_fit(fit.save(Path(folder) / "fit.nc"))
    >>> again.fixef.equals(fit.fixef)
    True
    """
    if not isinstance(path, str | Path):
        raise StoreError(f"path must be a text or a Path; got {type(path).__name__}")
    if is_url(path) or Path(path).is_dir():
        from poolwise.result.stream import load_store

        return load_store(path, trusted=trusted)
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"there is no file {str(path)!r}")
    fit = BayesFit(*read_fit(path, trusted=trusted))
    try:
        check_draws(fit)
    except WRONG as error:
        raise _incomplete(path, error) from error
    return fit


def read_fit(path: Path, *, trusted: bool = False) -> tuple[Design, xr.DataTree, list[ResolvedPrior], Sampling, str]:
    """What :func:`encode_fit` wrote to a file, as :class:`BayesFit` takes it."""
    tree, recipe = _open(path)
    try:
        check_recipe(recipe, rows=SUMS not in tree.children)
        summed = SUMS in tree.children
        design = _sums_design(tree, recipe, path, trusted) if summed else _rows_design(tree, recipe, trusted)
        priors = [
            ResolvedPrior(parameter, role, Prior(distribution, **params), rule, source, at)
            for parameter, role, distribution, params, rule, source, at in recipe["priors"]
        ]
        tree.attrs = {}
        return design, tree, priors, Sampling(**recipe["settings"]), recipe["form"]
    except WRONG as error:
        raise _incomplete(path, error) from error


def _incomplete(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{str(path)!r} does not hold a complete poolwise fit: {str(error)[:300]}")


def _rows_design(tree: xr.DataTree, recipe: dict[str, Any], trusted: bool) -> Design:
    """The design of the rows, which leave the tree."""
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
    # Files of version 3 and early ones of version 4 have none.
    if RESPONSE in tree[ROWS].data_vars:
        design = design.with_response(np.asarray(tree[ROWS][RESPONSE], dtype=np.float64))
    del tree[ROWS]
    return design


def _sums_design(tree: xr.DataTree, recipe: dict[str, Any], path: Path, trusted: bool) -> Design:
    """The design of the sums, or counts, which leave the tree."""
    content = tree[SUMS]["file"].to_numpy().tobytes()
    del tree[SUMS]
    data = decode_collapsed(content, f"the sums in {str(path)!r}", trusted=trusted)
    if isinstance(data, CountedData):
        return counted_design(data, family_of(recipe["family"], recipe["link"]))[0]
    return data.design


def _open(path: Path) -> tuple[xr.DataTree, dict[str, Any]]:
    """The tree, in memory, and its recipe, after the checksums were compared."""
    sealed = _check_digest(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            refuse_inflated(opened, path.stat().st_size)
            tree = opened.load().copy()
    except StoreError as error:
        raise StoreError(f"{str(path)!r} was altered or damaged: {error}") from error
    except Exception as error:  # h5py raises many kinds for what is not its format
        raise StoreError(
            f"{str(path)!r} is not a readable NetCDF file ({type(error).__name__}): it may be truncated"
        ) from error
    if RECIPE not in tree.attrs or CHECKSUMS not in tree.attrs:
        raise StoreError(f"{str(path)!r} was not written by poolwise: it has no recipe")
    try:
        recipe, expected, found = json.loads(tree.attrs[RECIPE]), json.loads(tree.attrs[CHECKSUMS]), _checksums(tree)
        written = recipe.get("format")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{str(path)!r} was altered or damaged: its recipe cannot be read") from error
    if written not in READABLE:
        raise StoreError(f"{str(path)!r} has format {shown(written)}, this version reads {FORMAT}")
    if written == FORMAT and not sealed:
        raise StoreError(f"{str(path)!r} was altered or damaged: its end is missing, it may be truncated")
    if found != expected:
        changed = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise StoreError(f"{str(path)!r} was altered or damaged: the checksum of {changed[0]!r} does not fit")
    return tree, recipe


def _check_digest(path: Path) -> bool:
    """Whether the file carries a digest of itself; before anything else reads the bytes, it must fit."""
    length = len(TRAILER) + 2 * hashlib.sha256().digest_size
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < length:
            return False
        file.seek(max(0, size - length))
        trailer = file.read()
        if not trailer.startswith(TRAILER):
            return False
        file.seek(0)
        digest, left = hashlib.sha256(), size - length
        while left:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                break
            digest.update(piece)
            left -= len(piece)
    if digest.hexdigest().encode() != trailer.removeprefix(TRAILER):
        raise StoreError(f"{str(path)!r} was altered or damaged: its checksum does not fit")
    return True


def _checksums(tree: xr.DataTree) -> dict[str, str]:
    """SHA-256 of every variable's bytes and of the recipe."""
    found = {RECIPE: hashlib.sha256(tree.attrs[RECIPE].encode()).hexdigest()}
    for node in tree.subtree:
        for name, variable in node.dataset.data_vars.items():
            values = np.ascontiguousarray(variable.to_numpy())
            found[f"{node.path}/{name}"] = hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()
    return found


def _encode_rows(frame: pd.DataFrame) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Columns as numbers; the levels of a factor go into the recipe."""
    variables, columns = {}, []
    for position, name in enumerate(frame.columns):
        column = frame[name]
        note: dict[str, Any] = {"name": name, "levels": None, "ordered": False}
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


def _decode_rows(rows: xr.Dataset, columns: list[dict[str, Any]]) -> pd.DataFrame:
    frame = {}
    for position, note in enumerate(columns):
        values = rows[f"column_{position}"].to_numpy()
        if note["levels"] is not None:
            column = pd.Categorical.from_codes(values, note["levels"], ordered=note["ordered"])
            frame[note["name"]] = column if note["categorical"] else np.asarray(column)
        else:
            frame[note["name"]] = values.astype(bool) if note["bool"] else values
    return pd.DataFrame(frame)

"""Saved fits whose every digest fits and whose content a stranger wrote: refused in words, before memory is taken."""

import hashlib
import io
import json

import h5netcdf
import h5py
import pytest
from fuzzed import fit_file, sealed

import poolwise as pw
from poolwise.errors import StoreError
from poolwise.result.store import CHECKSUMS, RECIPE, TRAILER


def forged(path, change) -> None:
    """Write the fit with its recipe changed."""
    content, tree = fit_file()
    recipe, checksums = json.loads(tree.attrs[RECIPE]), json.loads(tree.attrs[CHECKSUMS])
    change(recipe)
    text = json.dumps(recipe)
    checksums[RECIPE] = hashlib.sha256(text.encode()).hexdigest()
    file = io.BytesIO(content[: content.rindex(TRAILER)])
    with h5py.File(file, "r+") as opened:
        opened.attrs[RECIPE], opened.attrs[CHECKSUMS] = text, json.dumps(checksums)
    path.write_bytes(sealed(file.getvalue()))


def put(*keys):
    """A change: the value at the keys before the last."""
    *path, last, value = keys

    def change(recipe):
        for key in path:
            recipe = recipe[key]
        recipe[last] = value

    return change


FORGED = {
    "no formula": (put("formula", None), "its formula cannot be None"),
    "a formula that is code": (put("canonical", "y ~ __import__('os')"), "'__import__'"),
    "another formula": (put("canonical", "y ~ 1 + x + (1 + x | g)"), "complete poolwise fit"),
    "a form that is a number": (put("form", 3), "its form cannot be 3"),
    "more draws than there are": (put("settings", "draws", 10**9), "2 chains of 1000000000 draws"),
    "draws beyond any integer": (put("settings", "draws", 2**70), "its settings"),
    "a seed that is text": (put("settings", "seed", "1"), "its settings"),
    "an unknown setting": (put("settings", "sampler", "x"), "complete poolwise fit"),
    "a column twice": (put("columns", 0, "name", "x"), "its columns"),
    "levels twice": (put("columns", 2, "levels", ["low", "low", "top"]), "complete poolwise fit"),
    "fewer levels than codes": (put("columns", 2, "levels", ["low"]), "complete poolwise fit"),
    "levels of lists": (put("columns", 2, "levels", [["low"], [], {}]), "its columns"),
    "a prior of no parameter": (put("priors", 0, 0, "other"), "a prior of 'other'"),
    "a prior that follows data": (put("priors", 0, 3, "sigma", {"rule": "sd_y"}), "its priors"),
    "a negative sd": (put("priors", 0, 3, "sigma", -1.0), "must be positive"),
    "a text that is no Unicode": (put("priors", 0, 4, "\ud800"), "no Unicode"),
    "a level that is no Unicode": (put("columns", 2, "levels", 0, "\ud800"), "no Unicode"),
    "priors that are a text": (put("priors", "Normal"), "its priors"),
    "an unknown family": (put("family", "gausian"), "gausian"),
    "a weight that is no column": (put("weights", "w"), "'w'"),
    "covariances of nothing": (put("covariances", [["A"]]), "its covariances"),
    "further formulas of code": (put("further", ["sigma ~ open(x)"]), "open"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_recipe_is_refused(name, tmp_path):
    change, words = FORGED[name]
    forged(tmp_path / "fit.nc", change)
    with pytest.raises(StoreError) as caught:
        pw.load_fit(tmp_path / "fit.nc")
    assert words in str(caught.value) and "fit.nc" in str(caught.value) and len(str(caught.value)) < 1000


def test_the_fit_itself_is_read(tmp_path):
    forged(tmp_path / "fit.nc", lambda recipe: None)
    assert len(pw.load_fit(tmp_path / "fit.nc").coef())


def test_a_small_file_of_large_arrays_is_refused_before_they_are_made(tmp_path):
    """HDF5 compresses, or writes nothing for an array of zeros: 400 GB in 60 kB."""
    file = io.BytesIO(fit_file()[0][: fit_file()[0].rindex(TRAILER)])
    with h5netcdf.File(file, "r+") as opened:
        opened["posterior"].dimensions["long"] = 50_000
        opened["posterior"].dimensions["wide"] = 1_000_000
        opened["posterior"].create_variable("large", ("long", "wide"), "f8", fillvalue=1.0)
    (tmp_path / "fit.nc").write_bytes(sealed(file.getvalue()))
    assert (tmp_path / "fit.nc").stat().st_size < 100_000
    with pytest.raises(StoreError, match="its arrays take 400 GB"):
        pw.load_fit(tmp_path / "fit.nc")

"""Saved fits of sums: the numbers come back bit for bit, no row is in the file, and hostile sums are refused.

Tables are compared exactly: what is read are the bytes that were written. Priors' data facts aside, nothing is computed
anew but the columns of new rows, which the same recipe evaluates.
"""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import poolwise as pw
from poolwise.errors import RowsNeededError, StoreError
from poolwise.result.store import CHECKSUMS, RECIPE, _checksums

N = 611
DESIGNS = {
    "weights": ("y ~ scale(x) + f + (x | g)", {"weights": "w"}),
    "frequencies": ("weighted(y, w) ~ x + (x || g)", {}),
    "two": ("y ~ bs(x, df=4) + (x | g) + (1 | h)", {}),
}


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    g, h, x = rng.integers(0, 13, N), rng.integers(0, 7, N), rng.normal(3, 1, N)
    y = 0.5 * rng.normal(size=13)[g] + 0.4 * rng.normal(size=7)[h] + 0.7 * x + rng.normal(size=N)
    f = rng.choice(["low", "mid", "top"], N)
    return pd.DataFrame({"y": y, "x": x, "f": f, "w": rng.integers(1, 4, N), "g": [f"g{k}" for k in g], "h": h})


def fitted(name: str):
    formula, options = DESIGNS[name]
    data = pw.collapse(rows(), formula, **options)
    return pw.Model(formula, data, **options).fit(draws=100, tune=200, chains=2, seed=1, progress=False)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
def test_a_loaded_fit_gives_the_same_numbers(name, tmp_path):
    fit = fitted(name)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.summary(), fit.summary(), check_exact=True)
    pd.testing.assert_frame_equal(again.ranef, fit.ranef, check_exact=True)
    pd.testing.assert_frame_equal(again.priors, fit.priors, check_exact=True)
    new = rows().iloc[[0, 40, 90]]
    for kind in ("mean", "response"):
        ours, theirs = (one.predict(new, kind=kind, seed=2) for one in (again, fit))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert [f.code for f in again.check()] == [f.code for f in fit.check()]
    assert again.design.collapsed.n == N and again.settings == fit.settings
    assert again.rmse() == fit.rmse()
    with pytest.raises(RowsNeededError):
        again.predict()
    # Saved once more it is the same fit.
    pd.testing.assert_frame_equal(
        pw.load_fit(again.save(tmp_path / "again.nc")).summary(), fit.summary(), check_exact=True
    )


@pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
def test_the_file_has_no_rows_and_hostile_sums_are_refused(tmp_path):
    path = fitted("weights").save(tmp_path / "fit.nc")
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        tree = opened.load().copy()
    for node in tree.subtree:
        for own in node.dataset.data_vars.values():
            assert N not in own.shape
            if own.dtype.kind == "f":
                assert not np.isin(rows()["x"], own.to_numpy()).any()
    # A stranger who repairs all checksums of the fit still meets those of the sums, and their checks.
    content = tree["sums"]["file"].to_numpy().copy()
    content[len(content) // 2] ^= 255
    tree["sums"] = xr.DataTree(xr.Dataset({"file": ("byte", content)}))
    refused(tree, tmp_path, "the sums in .* altered")
    tree["sums"] = xr.DataTree(xr.Dataset({"file": ("byte", np.frombuffer(b"rm -rf", dtype=np.uint8))}))
    refused(tree, tmp_path, "is no file of sums")
    del tree["sums"]
    refused(tree, tmp_path, "does not hold a complete poolwise fit")


def refused(tree: xr.DataTree, folder, match: str) -> None:
    tree = tree.copy()
    recipe = json.loads(tree.attrs[RECIPE])
    tree.attrs[RECIPE] = json.dumps(recipe | {"format": 3})
    tree.attrs[CHECKSUMS] = json.dumps(_checksums(tree))
    tree.to_netcdf(folder / "hostile.nc", engine="h5netcdf")
    with pytest.raises(StoreError, match=match):
        pw.load_fit(folder / "hostile.nc")

"""A saved fit comes back whole, or is refused in words."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import poolwise as pw
from poolwise.errors import StoreError


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    n = 120
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "f": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"]),
            "site / name": rng.choice(["A/1", "B|2", "ü", "d:4", "5", "six"], n),
        }
    )
    data["y"] = data["x"] + rng.normal(size=n)
    return pw.Model("y ~ x + f + (x | `site / name`)", data).fit(draws=300, chains=4, seed=1, progress=False)


def test_round_trip(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    again = pw.load_fit(path)
    assert again.data["posterior"].to_dataset().equals(fit.data["posterior"].to_dataset())
    assert again.data["sample_stats"].to_dataset().equals(fit.data["sample_stats"].to_dataset())
    pd.testing.assert_frame_equal(again.coef(), fit.coef())
    pd.testing.assert_frame_equal(again.priors, fit.priors)
    new = pd.DataFrame({"x": [0.0, 1.0], "f": ["mid", "high"], "site / name": ["A/1", "new"]})
    pd.testing.assert_frame_equal(again.predict(new, seed=3), fit.predict(new, seed=3))
    assert again.settings == fit.settings and again.form == fit.form


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_weights_that_are_a_predictor_too_come_back(tmp_path):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"w": rng.uniform(0.1, 5, 80), "g": np.repeat(list("abcdefgh"), 10)})
    data["y"] = data["w"] + rng.normal(size=80) / np.sqrt(data["w"])
    fit = pw.Model("y ~ w + (1 | g)", data, weights="w").fit(draws=200, seed=1, progress=False)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    assert again.design.weights is not None
    assert again.loo().elpd == pytest.approx(fit.loo().elpd)


def test_a_response_that_is_not_that_of_the_table_comes_back(fit, tmp_path):
    model = pw.Model("y ~ x + (1 | `site / name`)", fit.design.frame)
    y = 3 * model.design.y + 1
    other = model.with_response(y).fit(draws=300, chains=4, seed=1, progress=False)
    again = pw.load_fit(other.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.design.y, y)
    assert again.rmse() == other.rmse()
    np.testing.assert_array_equal(again.data["observed_data"]["y"], y)


def test_the_file_is_plain_netcdf_with_the_posterior(fit, tmp_path):
    with xr.open_datatree(fit.save(tmp_path / "fit.nc"), engine="h5netcdf") as tree:
        assert "sigma" in tree["posterior"].data_vars


def test_saving_again_replaces_whole(fit, tmp_path):
    path = tmp_path / "fit.nc"
    path.write_text("an older file")
    fit.save(path)
    assert pw.load_fit(path).rmse() == fit.rmse()
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


def test_a_folder_that_is_not_there(fit, tmp_path):
    with pytest.raises(StoreError, match="there is no folder"):
        fit.save(tmp_path / "no" / "fit.nc")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(fit, tmp_path, share):
    path = fit.save(tmp_path / "fit.nc")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError, match=r"truncated|checksum"):
        pw.load_fit(path)


def test_altered_draws_are_refused(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    content = bytearray(path.read_bytes())
    sigma = fit.data["posterior"]["sigma"].to_numpy()[0, :4].tobytes()
    at = bytes(content).find(sigma)
    assert at > 0
    content[at : at + 8] = np.array([123.0]).tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="checksum"):
        pw.load_fit(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95" * 50, b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.nc"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a readable NetCDF"):
        pw.load_fit(path)


def test_a_netcdf_file_of_somebody_else(tmp_path):
    path = tmp_path / "other.nc"
    xr.Dataset({"x": ("i", [1.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(StoreError, match="was not written by poolwise"):
        pw.load_fit(path)

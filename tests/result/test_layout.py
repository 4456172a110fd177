"""Variables go into records and come back, types and labels included."""

import numpy as np
import pytest
import xarray as xr

from poolwise.errors import StoreError
from poolwise.result.layout import Layout


@pytest.fixture
def draws():
    rng = np.random.default_rng(1)
    sample = ("chain", "draw")
    coords = {"chain": [0, 1], "draw": np.arange(5), "g__factor_dim": ["a / b", "ü"], "k": [1, 2, 3]}
    posterior = xr.Dataset(
        {
            "sigma": (sample, rng.normal(size=(2, 5))),
            "1|g": ((*sample, "g__factor_dim"), rng.normal(size=(2, 5, 2))),
            "both": ((*sample, "g__factor_dim", "k"), rng.normal(size=(2, 5, 2, 3))),
        },
        coords=coords,
    )
    stats = xr.Dataset(
        {"diverging": (sample, rng.random((2, 5)) < 0.5), "n_steps": (sample, np.arange(10, dtype="u8").reshape(2, 5))}
    )
    return posterior, stats


def test_round_trip(draws):
    layout = Layout.of(*draws)
    records = layout.records(*draws)
    assert records.shape == (2, 5, layout.width) == (2, 5, 1 + 2 + 6 + 2)
    for found, expected in zip(layout.datasets(records), draws, strict=True):
        xr.testing.assert_equal(found, expected)
        assert {name: found[name].dtype for name in found} == {name: expected[name].dtype for name in expected}


def test_json(draws):
    import json

    layout = Layout.of(*draws)
    assert Layout.from_json(json.loads(json.dumps(layout.as_json())), layout.width) == layout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"posterior": [["sigma", [], [], "object"]]}, "of type 'object'"),
        ({"posterior": [["sigma", ["k"], [-1], "float64"]]}, "a size -1"),
        ({"posterior": [["sigma", ["k"], [10**12], "float64"]]}, "a size 1000000000000"),
        ({"posterior": [["sigma", ["chain"], [2], "float64"]]}, "dimensions"),
        ({"posterior": [["a", ["k"], [2], "float64"], ["b", ["k"], [3], "float64"]]}, "two sizes of 'k'"),
        ({"coords": {"k": [1, 2]}}, "labels of 'k'"),
        ({"coords": {"g__factor_dim": [[1], {}]}}, "labels of"),
        ({"stats": []}, "records of 11 numbers"),
    ],
)
def test_a_layout_that_no_run_writes_is_refused(draws, change, said):
    layout = Layout.of(*draws)
    with pytest.raises(StoreError, match=said):
        Layout.from_json({**layout.as_json(), **change}, layout.width)

"""The picture of a calibration: its frame, and that it can be drawn."""

import numpy as np
import pandas as pd

import poolwise as pw
from poolwise.validate import Calibration


def made() -> Calibration:
    rng = np.random.default_rng(1)
    ranks = pd.DataFrame({"right": rng.integers(0, 101, 200), "wrong $": (101 * rng.random(200) ** 2).astype(int)})
    return Calibration(ranks, 100, "y ~ x", "collapsed form", 0, 0, 0.0, 1)


def test_the_frame_holds_the_ecdf_and_its_band():
    calibration = made()
    frame = pw.plots.calibration_frame(calibration)
    right = frame[frame["quantity"] == "right"]
    ranks = calibration.ranks["right"].to_numpy()
    ecdf = np.array([(ranks <= k).mean() for k in range(100)])
    assert np.allclose(right["difference"], ecdf - np.arange(1, 101) / 101)
    assert (right["lower"] < 0).all()
    assert (right["upper"] > 0).all()
    assert frame.groupby("quantity")["inside"].first().to_dict() == {"right": True, "wrong $": False}


def test_it_is_drawn_in_a_panel_a_quantity(tmp_path):
    figure = pw.plots.plot_calibration(made())
    assert [axis.get_title() for axis in figure.axes] == ["right", r"wrong \$"]
    figure.savefig(tmp_path / "calibration.png")

"""The moving lines: the frame passes through the three fits, and both files are what they say."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import poolwise as pw
from poolwise.plot.animation import STEPS
from poolwise.plot.lines import POINTS
from poolwise.report.motion import Panel


def test_the_frame_passes_through_the_three_fits(bounce_study):
    frame = pw.plots.animation_frame(bounce_study, steps=4)
    assert len(frame) == 9 * 8 * POINTS and frame["time"].unique().tolist() == [
        0,
        0.25,
        0.5,
        0.75,
        1,
        1.25,
        1.5,
        1.75,
        2,
    ]
    lines = pw.plots.lines_frame(bounce_study)
    for time, fit in ((0.0, "complete"), (1.0, "none"), (2.0, "partial_bayes")):
        now = frame.loc[frame["time"] == time, "y"].to_numpy()
        np.testing.assert_allclose(now, lines.loc[lines["fit"] == fit, "estimate"], rtol=1e-12)
    halfway = frame.loc[frame["time"] == 0.5, "y"].to_numpy()
    start, end = (frame.loc[frame["time"] == time, "y"].to_numpy() for time in (0.0, 1.0))
    np.testing.assert_allclose(halfway, (start + end) / 2, rtol=1e-12)
    assert frame.loc[frame["time"] == 1.75, "stage"].unique().tolist() == ["partial pooling (Bayesian)"]
    with pytest.raises(pw.PoolwiseError, match="steps must be"):
        pw.plots.animation_frame(bounce_study, steps=0)


def test_a_gif_has_a_picture_a_time_and_rests_at_the_stages(bounce_study, tmp_path):
    path = bounce_study.animate(tmp_path / "pooling.gif")
    assert path.stat().st_size < 1e6 and [one.name for one in tmp_path.iterdir()] == ["pooling.gif"]
    with Image.open(path) as gif:
        assert gif.n_frames == 2 * STEPS + 1 and gif.info["loop"] == 0
        seen, durations = [], []
        for k in (0, STEPS, 2 * STEPS):
            gif.seek(k)
            seen.append(np.asarray(gif.convert("RGB"), dtype=int))
            durations.append(gif.info["duration"])
    assert durations == [1200] * 3
    # The lines move: the pictures of the stages differ, in a small share of their pixels.
    for one, other in ((0, 1), (1, 2)):
        share = (np.abs(seen[one] - seen[other]).max(axis=2) > 60).mean()
        assert 0.0005 < share < 0.1


def test_a_page_with_a_slider_and_nothing_else(bounce_study, tmp_path):
    page = bounce_study.animate(tmp_path / "pooling.html").read_text(encoding="utf-8")
    assert page.count('class="stage moving"') == 8 and "default-src &#39;none&#39;" in page
    with pytest.raises(pw.PoolwiseError, match=r"as \.gif or \.html"):
        bounce_study.animate(tmp_path / "pooling.mp4")
    for ending in ("gif", "html"):
        with pytest.raises(pw.PoolwiseError, match="no folder"):
            bounce_study.animate(tmp_path / "nowhere" / f"pooling.{ending}")
        with pytest.raises(pw.PoolwiseError, match="no numeric predictor"):
            bounce_study.animate(tmp_path / f"pooling.{ending}", predictor="height")


def test_a_line_that_is_nowhere_is_not_drawn():
    panel = Panel(0, "g", 0.0, 0.0, "", (1.0, 2.0), ((5.0, 6.5), (float("nan"), float("nan")), (7.0, 8.0)))
    assert panel.path(0) == "M1.0 5.0L2.0 6.5" and panel.path(1) == ""
    assert panel.data == "1 2|5 6.5|nan nan|7 8"


def test_a_group_of_few_rows_and_strange_names(tmp_path):
    rng = np.random.default_rng(2)
    g = np.repeat(["two rows", "東京 $x$", "</svg><script>", "d"], [2, 6, 7, 8])
    data = pd.DataFrame({"g": g, "x": rng.normal(size=23), "w": rng.normal(size=23)})
    data["y"] = data["x"] + rng.normal(size=23)
    study = pw.compare_pooling("y ~ x + w + (x | g)", data, seed=1, folds=2, new_group_folds=2, progress=False)
    assert pw.plots.animation_frame(study, steps=2)["y"].notna().all()
    study.animate(tmp_path / "pooling.gif")
    page = study.animate(tmp_path / "pooling.html").read_text(encoding="utf-8")
    assert "</svg><script>" not in page

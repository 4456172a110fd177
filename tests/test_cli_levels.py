"""The order of the levels of an ordinal response of texts, on the command line."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.cli import DONE, NOT_CONVERGED, WRONG_INPUT, main


@pytest.fixture
def command(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=120)
    answer = np.array(["low", "mid", "very, very high"])[np.digitize(x + rng.logistic(size=120), [-0.5, 1])]
    pd.DataFrame({"answer": answer, "x": x}).to_csv(tmp_path / "data.csv", index=False)
    fast = ["--draws", "200", "--chains", "2", "--quiet", "--out", str(tmp_path / "fit")]
    return ["fit", str(tmp_path / "data.csv"), "answer ~ x", "--family", "cumulative", *fast]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "holds text (low, mid, very, very high) without an order; give it one: --levels LOW,...,HIGH"),
        (["--levels", "low,mid"], "--levels low,mid: 'very, very high' are levels of the file and not given"),
        (["--levels", "low,mdi,mid"], "'mdi' are no levels of the file"),
        (["--levels", "low,mid,mid"], "'mid' are given twice"),
        (["--levels", ""], "are levels of the file and not given; write each level of 'answer' once, the lowest first"),
    ],
)
def test_what_is_no_order_is_told(command, capsys, more, message):
    assert main([*command, *more]) == WRONG_INPUT
    assert message in capsys.readouterr().err


def test_the_order_is_the_one_given(command, tmp_path):
    slopes = []
    for levels in ('low, mid, "very, very high"', '"very, very high",mid,low'):
        assert main([*command, "--levels", levels]) in (DONE, NOT_CONVERGED)
        fit = pw.load_fit(tmp_path / "fit" / "posterior.nc")
        slopes.append(float(fit.fixef["x"]))
    assert fit.design.outcome.levels == ("very, very high", "mid", "low")
    assert slopes[0] > 0.3 and slopes[1] == pytest.approx(-slopes[0], abs=0.2)


def test_levels_are_of_ordinal_texts(tmp_path, bounce, capsys):
    bounce.to_csv(tmp_path / "data.csv", index=False)
    command = ["fit", str(tmp_path / "data.csv"), "bounce_time ~ std_age", "--levels", "a,b"]
    said = {"gaussian": "of --family cumulative or sratio; here it is 'gaussian'", "cumulative": "holds numbers"}
    for family, message in said.items():
        assert main([*command, "--family", family]) == WRONG_INPUT
        assert message in capsys.readouterr().err

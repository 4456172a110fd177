"""The command line: what it writes, what it says, how it exits."""

import pandas as pd
import pytest

from poolwise.cli import DONE, WRONG_INPUT, main

FAST = ["--draws", "200", "--chains", "2", "--quiet"]


@pytest.fixture
def csv(tmp_path, bounce):
    path = tmp_path / "data.csv"
    bounce.to_csv(path, index=False)
    return path


def test_compare_writes_tables_posterior_and_picture(csv, tmp_path, capsys):
    out = tmp_path / "out"
    formula = "bounce_time ~ std_age + (std_age | county)"
    # 400 draws are enough here: the exit code says whether the sampler converged, either is a finished run.
    code = main(["compare", str(csv), formula, "--out", str(out), "--draws", "500", "--quiet"])
    assert code == DONE
    said = capsys.readouterr()
    assert "complete pooling" in said.out and "singular_fit" in said.out and said.err == ""
    written = {path.name for path in out.iterdir()}
    assert written == {"table.csv", "coef.csv", "shrinkage.csv", "findings.txt", "posterior.nc", "estimates.png"}
    table = pd.read_csv(out / "table.csv", index_col="fit")
    assert table.loc["complete", "rmse"] == pytest.approx(14.091305)
    assert (out / "estimates.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("bounce_time ~ std_agee + (1 | county)", [], "std_age"),
        ("bounce_time ~ std_age + 1 | county", [], "(std_age + 1 | county)"),
        ("bounce_time ~ std_age", [], "needs one grouping factor"),
        ("bounce_time ~ std_age + (1 | county)", ["--priors", "weakly_informativ"], "weakly_informative"),
        ("bounce_time ~ std_age + (1 | county)", ["--priors", "nowhere/mine.toml"], "nowhere/mine.toml"),
    ],
)
def test_wrong_input_is_told_without_a_traceback(csv, tmp_path, capsys, formula, options, message):
    code = main(["compare", str(csv), formula, "--out", str(tmp_path / "out"), *FAST, *options])
    assert code == WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("poolwise: ") and message in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_missing_file(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "no.csv"), "y ~ x + (1 | g)"]) == WRONG_INPUT
    assert "there is no file" in capsys.readouterr().err


def test_missing_values_need_a_word(csv, tmp_path, capsys):
    data = pd.read_csv(csv)
    data.loc[[4, 17], "std_age"] = None
    data.to_csv(csv, index=False)
    formula = "bounce_time ~ std_age + (1 | county)"
    assert main(["compare", str(csv), formula, "--out", str(tmp_path / "out"), *FAST]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "'std_age' has 2 missing values" in said and "missing='drop'" in said


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as stopped:
        main(["compare"])
    assert stopped.value.code == 2

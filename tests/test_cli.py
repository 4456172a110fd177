"""The command line: what it writes, what it says, how it exits."""

import pandas as pd
import pytest

import poolwise as pw
from poolwise.cli import DONE, INTERRUPTED, NOT_CONVERGED, WRONG_INPUT, main

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


def test_compare_of_another_family(tmp_path, capsys):
    path, out = tmp_path / "cbpp.csv", tmp_path / "out"
    frame = pw.load_dataset("cbpp")
    # Few herds, few refits.
    frame[frame["herd"].isin(list("12345"))].to_csv(path, index=False)
    formula = "p(incidence, size) ~ 1 + (1 | herd)"
    arguments = ["compare", str(path), formula, "--family", "binomial", "--link", "probit", "--out", str(out), *FAST]
    # So few draws may not converge, which the exit code tells.
    assert main(arguments) in (DONE, NOT_CONVERGED)
    assert "partial pooling (Laplace)" in capsys.readouterr().out
    assert pd.read_csv(out / "table.csv", index_col="fit").loc["partial_laplace", "brier"] < 0.15


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


def test_fit_writes_summary_coefficients_priors_and_posterior(csv, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    formula = "bounce_time ~ std_age + (std_age | county)"
    arguments = ["fit", str(csv), formula, "--out", str(out), "--priors", "few_groups", "--draws", "500", "--quiet"]
    assert main(arguments) == DONE
    said = capsys.readouterr()
    assert f"Bayesian fit of {formula}" in said.out and "8 groups of county" in said.out and said.err == ""
    assert {path.name for path in out.iterdir()} == {"summary.csv", "coef.csv", "priors.csv", "posterior.nc"}
    fit = pw.load_fit(out / "posterior.nc")
    summary = pd.read_csv(out / "summary.csv", index_col="parameter")
    # CSV keeps every digit.
    assert summary.loc["std_age", "mean"] == pytest.approx(fit.fixef["std_age"], rel=1e-12)
    pd.testing.assert_frame_equal(pd.read_csv(out / "coef.csv"), fit.coef(), check_dtype=False)
    assert set(pd.read_csv(out / "priors.csv")["source"]) == {"preset 'few_groups'"}


def test_a_stored_fit_is_resumed(csv, tmp_path, capsys):
    formula, store = "bounce_time ~ std_age + (std_age | county)", str(tmp_path / "a run")
    arguments = ["fit", str(csv), formula, "--out", str(tmp_path / "out"), "--store", store, *FAST]
    assert main(arguments) in (DONE, NOT_CONVERGED)
    assert f"poolwise resume '{store}'" in capsys.readouterr().out
    first = pw.load_fit(store)
    assert pw.load_fit(tmp_path / "out" / "posterior.nc").posterior.equals(first.posterior)
    draws = first.settings.draws + 50
    code = main(["resume", store, "--out", str(tmp_path / "longer"), "--draws", str(draws), "--quiet"])
    assert code in (DONE, NOT_CONVERGED) and "Written: " in capsys.readouterr().out
    longer = pw.load_fit(tmp_path / "longer" / "posterior.nc")
    assert longer.posterior.sizes["draw"] == draws
    assert longer.posterior.isel(draw=slice(0, first.settings.draws)).equals(first.posterior)
    assert main(arguments) == WRONG_INPUT
    assert "holds a run already" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "nothing")]) == WRONG_INPUT
    assert "no store of a poolwise run" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(csv, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pw.Model, "fit", interrupted)
    arguments = ["fit", str(csv), "bounce_time ~ 1 + (1 | county)", "--out", str(tmp_path / "out"), *FAST]
    assert main([*arguments, "--store", str(tmp_path / "run")]) == INTERRUPTED
    assert capsys.readouterr().err == f"poolwise: interrupted; poolwise resume {tmp_path / 'run'} goes on\n"
    assert main(arguments) == INTERRUPTED
    assert capsys.readouterr().err == "poolwise: interrupted; nothing was written\n"


def test_fit_takes_formulas_that_compare_refuses(csv, tmp_path):
    formula = "bounce_time ~ std_age"
    assert main(["fit", str(csv), formula, "--out", str(tmp_path / "out"), "--draws", "500", "--quiet"]) == DONE
    assert set(pd.read_csv(tmp_path / "out" / "coef.csv")["term"]) == {"Intercept", "std_age"}


def test_fit_of_crossed_factors_lists_the_groups_of_each(tmp_path):
    pw.load_dataset("penicillin").to_csv(tmp_path / "data.csv", index=False)
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    code = main(["fit", str(tmp_path / "data.csv"), formula, "--out", str(tmp_path / "out"), *FAST])
    # 200 draws of 2 chains need not converge; either is a finished run.
    assert code in (DONE, NOT_CONVERGED)
    sizes = pd.read_csv(tmp_path / "out" / "coef.csv").groupby("factor").size()
    assert sizes.to_dict() == {"plate": 24, "sample": 6}


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("bounce_time ~ std_agee", [], "std_age"),
        ("bounce_time ~ std_age", ["--priors", "brm"], "did you mean 'brms'"),
        ("bounce_time ~ std_age", ["--draws", "0"], "draws must be"),
    ],
)
def test_fit_of_wrong_input_writes_nothing(csv, tmp_path, capsys, formula, options, message):
    assert main(["fit", str(csv), formula, "--out", str(tmp_path / "out"), *FAST, *options]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("poolwise: ") and message in said and said.count("\n") == 1
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


def test_report_writes_one_file_about_the_study_or_the_fit(csv, tmp_path, capsys):
    path = tmp_path / "report.html"
    formula = "bounce_time ~ std_age + (std_age | county)"
    assert main(["report", str(csv), formula, "--out", str(path), "--draws", "500", "--quiet"]) == DONE
    said = capsys.readouterr()
    assert str(path) in said.out and said.err == ""
    assert "Pooling study of" in path.read_text(encoding="utf-8")
    pw.load_dataset("penicillin").to_csv(csv, index=False)
    arguments = ["report", str(csv), "diameter ~ 1 + (1 | plate) + (1 | sample)", "--out", str(path), *FAST]
    assert main(arguments) in (DONE, NOT_CONVERGED)
    assert "Bayesian fit of" in path.read_text(encoding="utf-8")


def test_a_report_into_a_folder_that_is_not_there_is_refused_before_sampling(csv, tmp_path, capsys):
    path = tmp_path / "nowhere" / "report.html"
    assert main(["report", str(csv), "bounce_time ~ 1 + (1 | county)", "--out", str(path)]) == WRONG_INPUT
    assert "there is no folder" in capsys.readouterr().err


def test_the_demo_ends_with_the_report_and_says_where_it_is(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), *FAST]) in (DONE, NOT_CONVERGED)
    assert f"Report: {(tmp_path / 'report.html').resolve()}" in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 100_000

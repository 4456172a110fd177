"""The command line: what it writes, what it says, how it exits."""

import numpy as np
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
    assert said == (
        "poolwise: column 'std_age' has 2 missing values (rows 5, 18 of the data, lines 6, 19 of the file); "
        "drop them with --missing drop or fill them in\n"
    )


def test_lines_are_left_out_where_a_row_is_not_one(csv, tmp_path, capsys):
    data = pd.read_csv(csv)
    data["note"] = "two\nlines"
    data.loc[range(10), "std_age"] = None
    data.to_csv(csv, index=False)
    assert main(["fit", str(csv), "bounce_time ~ std_age", "--out", str(tmp_path / "out")]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "(rows 1, 2, 3, 4, 5 and 5 more of the data, counted from 1 without the header)" in said


def test_a_prior_of_one_parameter(csv, tmp_path, capsys):
    priors = ["--prior", "std_age = Normal(mu=1, sigma=0.5 x sd_y_over_sd_x)", "--prior", "sigma=HalfNormal(sigma=9)"]
    arguments = ["fit", str(csv), "bounce_time ~ std_age", "--out", str(tmp_path / "out"), "--priors", "few_groups"]
    assert main([*arguments, *FAST, *priors]) in (DONE, NOT_CONVERGED)
    table = pd.read_csv(tmp_path / "out" / "priors.csv", index_col="parameter")
    assert table.loc["sigma", "distribution"] == "HalfNormal(sigma=9)"
    assert table.loc["std_age", "rule"].startswith("sigma = 0.5 x sd_y_over_sd_x")
    assert table["source"].tolist()[0] == "preset 'few_groups'"


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("std_agee = Normal(mu=0, sigma=1)", "no parameter of the model, 'std_agee'; did you mean 'std_age'"),
        ("std_age = Normal(0, 1, 2)", "'Normal(0, 1, 2)': Normal takes mu, sigma"),
        ("std_age = Normal(sigma=1, 0)", "'0' has no name and follows one that has"),
        ("std_age = Normall(mu=0, sigma=1)", "did you mean 'Normal'"),
        ("std_age", "is not of the form"),
        ("std_age = Normal(mu=0, sigma=2 sd_y)", "neither a number nor a rule; a rule is written 'sigma=2.5 x sd_y'"),
        ("std_age = Normal(mu=0, sigma=__import__)", "neither a number nor a rule"),
    ],
)
def test_a_prior_that_is_none_is_told(csv, tmp_path, capsys, prior, message):
    arguments = ["fit", str(csv), "bounce_time ~ std_age", "--out", str(tmp_path / "out"), "--prior", prior]
    assert main([*arguments, *FAST]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_prior_of_a_name_with_spaces(csv, tmp_path):
    data = pd.read_csv(csv).rename(columns={"std_age": "my age"})
    data.to_csv(csv, index=False)
    arguments = ["fit", str(csv), "bounce_time ~ `my age`", "--out", str(tmp_path / "out"), *FAST]
    for prior in ("`my age`=Normal(0,1)", "my age = Normal(0, 1)"):
        assert main([*arguments, "--prior", prior]) in (DONE, NOT_CONVERGED)
        table = pd.read_csv(tmp_path / "out" / "priors.csv", index_col="parameter")
        assert table.loc["my age", "distribution"] == "Normal(mu=0, sigma=1)"


@pytest.fixture
def yes_and_no(csv):
    data = pd.read_csv(csv)
    data["slow"] = (data["bounce_time"] > data["bounce_time"].median()).map({True: "yes", False: "no"})
    data.to_csv(csv, index=False)
    return lambda response: ["fit", str(csv), f"{response} ~ std_age", "--family", "bernoulli", *FAST]


def test_a_response_of_yes_and_no_needs_to_know_the_event(yes_and_no, tmp_path, capsys):
    for response, message in (
        ("slow", "name the event in the formula, slow['yes'] ~ ..., with --family bernoulli"),
        ('slow["y"]', "slow['y'] is no label of the column 'slow'; Available: 'no', 'yes'."),
    ):
        assert main(yes_and_no(response)) == WRONG_INPUT
        assert message in capsys.readouterr().err
    slopes = {}
    for event in ("yes", "no"):
        arguments = [*yes_and_no(f'slow["{event}"]'), "--out", str(tmp_path / event)]
        assert main(arguments) in (DONE, NOT_CONVERGED)
        assert f"Note: slow is 1 where it is '{event}' (" in capsys.readouterr().out
        slopes[event] = pd.read_csv(tmp_path / event / "summary.csv", index_col="parameter").loc["std_age", "mean"]
    assert slopes["yes"] == pytest.approx(-slopes["no"], abs=0.05) and abs(slopes["yes"]) > 0.1


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    fit = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy")).fit(seed=1, progress=False)
    fit.save(folder / "posterior.nc")
    return folder, fit


def test_predict_writes_the_new_rows_with_their_predictions(saved, tmp_path, capsys):
    folder, fit = saved
    new = pd.DataFrame({"Days": [0, 5], "Subject": ["308", "new"]})
    new.to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", str(folder), str(tmp_path / "new.csv"), "--seed", "3", "--level", "0.5"]
    assert main([*arguments, "--kind", "response", "--out", str(tmp_path / "out.csv")]) == DONE
    assert "2 rows; estimate and 50 % interval of the response" in capsys.readouterr().out
    expected = pd.concat([new, fit.predict(new, kind="response", level=0.5, seed=3)], axis=1)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), expected, check_dtype=False)
    new.drop(columns="Subject").to_csv(tmp_path / "new.csv", index=False)
    assert main([*arguments, "--groups", "Subject=population_mean"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Days", "estimate", "lower", "upper", "groups", "groups[Subject]"]
    assert lines[-1] == "Columns: estimate and 50 % interval of the mean; --kind response for a single row"


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"Days": [1], "Subject": ["new"]}, ["--groups", "observed"], "Predict it with --groups 'Subject=integrated'"),
        ({"Days": [1, 2], "Subject": ["308", None]}, [], "misses its value in row 2 of the data, line 3 of the file"),
        (
            {"Days": [1], "Subject": ["308"], "lower": [1]},
            [],
            "has a column 'lower', as the predictions have; rename it",
        ),
        (
            {"Days": [1], "Subject": ["308"]},
            ["--groups", "a=observed", "--groups", "observed"],
            "once for each as --groups",
        ),
        ({"Days": [1], "Subject": ["308"]}, ["--kind", "sd"], "kind must be 'mean' or 'response'; got 'sd'"),
    ],
)
def test_predict_of_wrong_input(saved, tmp_path, capsys, table, options, message):
    pd.DataFrame(table).to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(saved[0] / "posterior.nc"), str(tmp_path / "new.csv"), *options]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_predict_of_categories_has_a_row_each(tmp_path, capsys):
    data = pd.DataFrame({"x": np.tile([0.0, 1.0, 2.0], 20), "y": np.resize(list("abcbca"), 60)})
    model = pw.Model("y ~ x", data, "categorical")
    model.fit(seed=1, progress=False).save(tmp_path / "posterior.nc")
    data.head(2).to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", str(tmp_path), str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv")]
    assert main(arguments) == DONE
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["category"].tolist() == list("abcabc") and found["x"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.groupby("x")["estimate"].sum().tolist() == pytest.approx([1, 1])


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

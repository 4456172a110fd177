"""``poolwise priors``: what it prints, what it writes, how it exits."""

from pathlib import Path

import pytest

from poolwise.cli import DONE, WRONG_INPUT, main
from poolwise.priors.presets import load_preset


def test_list_names_every_preset(capsys):
    assert main(["priors", "list"]) == DONE
    said = capsys.readouterr().out
    assert all(name in said for name in ("weakly_informative", "rstanarm", "r2d2m2", "few_groups"))


def test_show_prints_roles_and_rules(capsys):
    assert main(["priors", "show", "rstanarm"]) == DONE
    said = capsys.readouterr().out
    assert "Decov(concentration=1, shape=1, scale=1)" in said and "2.5 x sd_y" in said and "when not" in said
    assert main(["priors", "show", "rstanarn"]) == WRONG_INPUT
    assert "did you mean 'rstanarm'" in capsys.readouterr().err


@pytest.mark.parametrize("like", ["weakly_informative", "rstanarm", "horseshoe", "brms"])
def test_new_writes_a_valid_preset_that_check_accepts(like, tmp_path, capsys):
    assert main(["priors", "new", "mine", "--like", like, "--out", str(tmp_path)]) == DONE
    path = tmp_path / "mine.toml"
    assert load_preset(path).roles == load_preset(like).roles
    assert "# " in path.read_text()
    assert main(["priors", "check", str(path)]) == DONE
    assert "valid" in capsys.readouterr().out
    assert main(["priors", "new", "mine", "--out", str(tmp_path)]) == WRONG_INPUT
    assert "not overwritten" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../mine", "a/b", "1x", "", "brms", "a b", "x" * 80])
def test_new_refuses_names(name, tmp_path, capsys):
    assert main(["priors", "new", name, "--out", str(tmp_path)]) == WRONG_INPUT
    assert capsys.readouterr().err.startswith("poolwise: ")
    assert not list(tmp_path.iterdir())


def test_check_lists_the_problems(tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"\n[intercept]\ndistribution = "Normall"\n')
    assert main(["priors", "check", str(bad)]) == WRONG_INPUT
    said = capsys.readouterr().out
    assert "not valid" in said and "Normall" in said and "[slope]" in said


def test_check_says_that_a_name_is_taken(tmp_path, capsys):
    copy = tmp_path / "brms.toml"
    copy.write_text(Path(load_preset("brms").source).read_text())
    assert main(["priors", "check", str(copy)]) == DONE
    assert "the name is taken" in capsys.readouterr().out

"""``poolwise priors``: what it prints, what it writes, how it exits."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from poolwise.cli import DONE, WRONG_INPUT, main
from poolwise.priors import presets as module
from poolwise.priors.presets import CATALOGUE, PriorPreset, load_preset
from poolwise.priors.write import preset_text

SHIPPED = sorted(path.stem for path in CATALOGUE.glob("*.toml"))
DEFAULT = (CATALOGUE / "weakly_informative.toml").read_text(encoding="utf-8")


def written(folder: Path, name: str, text: str = DEFAULT) -> Path:
    """A file with the default preset's text under another name."""
    path = folder / f"{name}.toml"
    path.write_text(text.replace('name = "weakly_informative"', f'name = "{name}"'), encoding="utf-8")
    return path


def same_priors(one: PriorPreset, other: PriorPreset) -> bool:
    parts = ("roles", "overrides", "extras", "group_intercept_at", "references", "title", "when", "when_not")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


# list


@pytest.mark.parametrize("width", [50, 80, 200])
def test_list_has_a_line_a_preset_that_fits_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["priors", "list"]) == DONE
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "title", "from"]
    assert [line.split()[0] for line in lines] == SHIPPED
    assert all(len(line) <= width and line.endswith("poolwise") for line in lines)


def test_list_says_whose_a_preset_is_and_shows_what_is_not_valid(tmp_path, capsys, monkeypatch):
    written(tmp_path, "mine")
    written(tmp_path, "broken", "title = 3")
    monkeypatch.setenv("POOLWISE_PRIORS", os.pathsep.join([str(tmp_path), str(tmp_path)]))
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["priors", "list"]) == DONE
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["mine"].endswith("POOLWISE_PRIORS")
    assert f"not valid: poolwise priors check {tmp_path / 'broken.toml'}" in lines["broken"]


def test_a_reader_that_stops_early_is_no_error():
    code = "import sys; from poolwise.cli import main; sys.exit(main(['priors', 'list']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=600)) == (b"", DONE)
    process.stderr.close()


# show


def test_show_prints_roles_rules_and_references(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    assert main(["priors", "show", "rstanarm"]) == DONE
    said = capsys.readouterr().out
    assert all(len(line) <= 90 for line in said.splitlines())
    assert re.search(r"group_sd_intercept +Decov\(concentration=1, shape=1, scale=1\)\n", said)
    assert re.search(r"group_sd_slope +the same Decov, jointly\n", said)
    assert re.search(r"intercept +Normal\(mu=mean_y, sigma=2.5 x sd_y\)\n", said)
    assert re.search(r"\n  sd_y +standard deviation of the response\n", said)
    assert "when not  Rare indicators" in said and "predictors' zero" in said and "References\n  - Goodrich" in said


@pytest.mark.parametrize("name", SHIPPED)
def test_show_takes_every_preset_by_name_and_by_path(name, capsys):
    assert main(["priors", "show", name]) == DONE
    by_name = capsys.readouterr().out
    assert main(["priors", "show", str(CATALOGUE / f"{name}.toml")]) == DONE
    assert capsys.readouterr().out == by_name
    assert by_name.startswith(f"{name}: {load_preset(name).title}\n")


def test_show_prints_overrides(tmp_path, capsys):
    override = '\n[overrides."1|Subject_sigma"]\ndistribution = "HalfNormal"\nsigma = 50\n'
    assert main(["priors", "show", str(written(tmp_path, "mine", DEFAULT + override))]) == DONE
    assert re.search(r"overrides\.1\|Subject_sigma +HalfNormal\(sigma=50\)", capsys.readouterr().out)


def test_show_of_an_unknown_name_is_one_line(capsys):
    assert main(["priors", "show", "rstanarn"]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "did you mean 'rstanarm'" in said and said.count("\n") == 1


# check


def test_check_has_a_line_a_file_and_lists_every_problem(tmp_path, capsys):
    good = written(tmp_path, "good")
    bad = written(tmp_path, "bad", 'name = "bad"\n[intercept]\ndistribution = "Normall"\n')
    missing = tmp_path / "missing.toml"
    assert main(["priors", "check", str(good), str(bad), str(missing)]) == WRONG_INPUT
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{good}: valid", f"{bad}: not valid"]
    assert all(line.startswith("  - ") for line in lines[2:-1]) and len(lines) == 3 + 10
    assert "unknown distribution 'Normall'; did you mean 'Normal'" in "\n".join(lines)
    assert lines[-1] == f"{missing}: not valid; there is no preset file {str(missing)!r}"


def test_check_reports_a_wrong_distribution_and_a_wrong_rule_of_one_table(tmp_path, capsys):
    wrong = 'name = "bad"\n[slope]\ndistribution = "Normall"\nmu = "a"\nsigma = {rule = "sd_z"}\n'
    assert main(["priors", "check", str(written(tmp_path, "bad", wrong))]) == WRONG_INPUT
    said = capsys.readouterr().out
    assert "[slope] unknown distribution 'Normall'" in said
    assert "sigma: unknown rule 'sd_z'" in said and "[slope] Normall: mu" in said


def test_check_says_that_a_name_is_taken(tmp_path, capsys):
    copy = tmp_path / "brms.toml"
    copy.write_text(Path(load_preset("brms").source).read_text())
    assert main(["priors", "check", str(copy), str(CATALOGUE / "brms.toml")]) == DONE
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{copy}: valid; but its name is taken by {CATALOGUE / 'brms.toml'} (poolwise)")
    assert second == f"{CATALOGUE / 'brms.toml'}: valid"


def test_check_tells_of_the_files_before_it_tells_of_the_catalogue(tmp_path, capsys, monkeypatch):
    path = written(tmp_path, "brms")
    monkeypatch.setenv("POOLWISE_PRIORS", str(tmp_path))
    assert main(["priors", "check", str(path)]) == WRONG_INPUT
    said = capsys.readouterr()
    assert said.out == f"{path}: valid\n"
    assert said.err.startswith("poolwise: two presets are called 'brms': ") and said.err.count("\n") == 1


# new


@pytest.mark.parametrize("like", SHIPPED)
def test_new_writes_a_valid_preset_with_the_same_priors(like, tmp_path, capsys):
    assert main(["priors", "new", "mine", "--from", like, "--out", str(tmp_path)]) == DONE
    path = tmp_path / "mine.toml"
    said = capsys.readouterr().out
    assert f"poolwise priors check {path}" in said and "POOLWISE_PRIORS" in said
    assert same_priors(load_preset(path), load_preset(like))
    assert main(["priors", "check", str(path)]) == DONE
    assert capsys.readouterr().out == f"{path}: valid\n"


@pytest.mark.parametrize("like", SHIPPED)
def test_new_explains_every_key_and_table(like, tmp_path):
    lines = preset_text(load_preset(like), "mine").splitlines()
    assert max(map(len, lines)) <= 160
    for before, line in pairwise(lines):
        if line.startswith("[") or re.match(r"(name|title|description|when|when_not|references|version|group_)", line):
            assert before.startswith("# "), line


def test_new_keeps_overrides_links_families_and_odd_texts(tmp_path):
    tables = '\n[overrides."f[\\"b\\"]|g_sigma"]\ndistribution = "PC"\nu = 1e-7\nalpha = 0.05\n'
    tables += (
        "\n[link.inverse.slope]\ndistribution = 'Normal'\nmu = 0\nsigma = { rule = 'sd_y_over_sd_x', times = 1e20 }\n"
    )
    tables += "\n[family.t.nu]\ndistribution = 'Gamma'\nalpha = 2\nbeta = 0.1\n"
    text = DEFAULT.replace('title = "Weakly', 'title = "\\\\ \\"quoted\\" \\t µ Weakly') + tables
    text = text.replace("leaves the rest to the data.", 'says \\\\d ""\\"three\\"\\"\\" and ends in \\"')
    source = load_preset(written(tmp_path, "odd", text))
    copy = load_preset(written(tmp_path, "mine", preset_text(source, "mine")))
    assert same_priors(copy, source)
    assert (copy.description.strip(), source.overrides['f["b"]|g_sigma'].params["u"]) == (
        source.description.strip(),
        1e-7,
    )


@pytest.mark.parametrize(
    "name", ["../mine", "a/b", "a\\b", "1x", "", ".", "..", "a b", "x" * 80, "mine.toml", "é", "a\n"]
)
def test_new_refuses_what_is_no_plain_name(name, tmp_path, capsys):
    assert main(["priors", "new", name, "--out", str(tmp_path)]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("poolwise: a preset's name is a letter, then") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_new_refuses_a_name_of_the_catalogue(tmp_path, capsys):
    assert main(["priors", "new", "brms", "--out", str(tmp_path)]) == WRONG_INPUT
    assert "there is a preset 'brms' already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_new_overwrites_neither_a_file_nor_what_a_link_points_to(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("mine")
    (tmp_path / "linked.toml").symlink_to(tmp_path / "elsewhere")
    for name in ("mine", "linked"):
        assert main(["priors", "new", name, "--out", str(tmp_path)]) == WRONG_INPUT
        assert "is there already; it is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_text() == "mine" and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--from", "nothing"], "no prior preset 'nothing'"), (["--out", "nowhere"], "there is no folder 'nowhere'")],
)
def test_new_that_cannot_start(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["priors", "new", "mine", *options]) == WRONG_INPUT
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_commands_do_not_start_without_a_word():
    with pytest.raises(SystemExit) as stopped:
        main(["priors"])
    assert stopped.value.code == 2


def test_a_broken_entry_point_is_told_on_one_line(capsys, monkeypatch):
    monkeypatch.setattr(module, "_entry_points", lambda installed: [BrokenPoint()])
    assert main(["priors", "list"]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "'school'" in said and said.count("\n") == 1


class BrokenPoint:
    name, dist = "school", None

    def load(self):
        raise RuntimeError("not today\nnor tomorrow")

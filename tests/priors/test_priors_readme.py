"""What priors/README.md says of presets is so: its examples load, and nothing is left out."""

import re
import tomllib

import pytest

from poolwise.cli import main
from poolwise.errors import PriorError
from poolwise.priors.distributions import DISTRIBUTIONS, JOINT, JOINT_ROLES
from poolwise.priors.presets import CATALOGUE, load_preset
from poolwise.priors.read import LARGEST, LONGEST_LINE, ROLES
from poolwise.priors.scale import RULES

README = (CATALOGUE / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
ENTRY_POINT, WHOLE, JOINT_TABLE = EXAMPLES


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_preset_has_its_intent():
    table = README.split("| preset | intent |")[1].split("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")]
    assert sorted(named) == sorted(path.stem for path in CATALOGUE.glob("*.toml"))


def test_every_rule_and_every_distribution_is_explained():
    assert set(re.findall(r"`(\w+)`", section("Rules"))) == set(RULES)
    said = section("Distributions") + section("Joint priors")
    assert [name for name in DISTRIBUTIONS if not re.search(rf"\b{name}\b", said)] == []


@pytest.mark.parametrize("name", JOINT_ROLES)
def test_a_joint_prior_has_all_its_arguments_in_its_row(name):
    (row,) = [line for line in section("Joint priors").splitlines() if line.startswith(f"| `{name}`")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == set(DISTRIBUTIONS[name].arguments)
    assert DISTRIBUTIONS[name].support == JOINT


def test_the_worked_example_has_every_role_and_loads(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(WHOLE, encoding="utf-8")
    preset = load_preset(path)
    assert set(tomllib.loads(WHOLE)) >= set(ROLES) and set(preset.overrides) == {"Days"}
    # What it says is required is, and what it says is not is not.
    for key in tomllib.loads(WHOLE):
        content = re.sub(rf"(?ms)^\[{key}\b.*?(?=^\[|\Z)|^{key} = .*?$", "", WHOLE)
        assert content != WHOLE
        path.write_text(content, encoding="utf-8")
        if key in ("references", "version", "group_intercept_at", "overrides"):
            load_preset(path)
        else:
            with pytest.raises(PriorError, match=key):
                load_preset(path)


def test_the_joint_example_stands_in_place_of_the_tables_it_names(tmp_path):
    content = WHOLE
    for role in JOINT_ROLES["R2D2M2"]:
        content = re.sub(rf"(?ms)^\[{role}\].*?(?=^\[|\Z)", "", content)
    path = tmp_path / "mine.toml"
    path.write_text(content + JOINT_TABLE, encoding="utf-8")
    assert load_preset(path).roles["slope"].distribution == "R2D2M2"


def test_the_limits_are_those_of_the_reader():
    assert f"{LARGEST:,} bytes" in README and f"{LONGEST_LINE:,} characters" in README
    assert list(tomllib.loads(ENTRY_POINT)["project"]["entry-points"]) == ["poolwise.priors"]


def test_the_commands_are_there(capsys):
    commands = re.findall(r"^poolwise (priors \w+|\w+)", README, re.MULTILINE)
    assert commands == ["priors list", "priors show", "priors new", "priors check", "fit"]
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            main([*command.split(), "--help"])
        assert stopped.value.code == 0
    assert "--from" in capsys.readouterr().out

"""Files that are no presets: one clear error each, quickly, and nothing in them runs."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from poolwise.errors import PriorError
from poolwise.priors.presets import load_preset

VALID = Path(load_preset("weakly_informative").source).read_text()


def refused(path: Path) -> str:
    with pytest.raises(PriorError) as caught:
        load_preset(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    (tmp_path / "round.toml").symlink_to(tmp_path / "trip.toml")
    (tmp_path / "trip.toml").symlink_to(tmp_path / "round.toml")
    (tmp_path / "device.toml").symlink_to("/dev/zero")
    (tmp_path / "to_pipe.toml").symlink_to(tmp_path / "pipe.toml")
    names = ["pipe", "folder", "loop", "round", "device", "to_pipe", "missing", "../missing", "x" * 5000, "nul\0"]
    for name in names:
        path = tmp_path / f"{name}.toml"
        with pytest.raises(PriorError) as caught:
            load_preset(path)
        assert str(caught.value) == f"there is no preset file {str(path)!r}"


@pytest.mark.parametrize("name", ["..", "__import__('os')", "a b", "-mine", "1st", "x" * 62])
def test_names_that_are_no_names(name, tmp_path):
    path = tmp_path / f"{name}.toml"
    path.write_text(VALID.replace('"weakly_informative"', f'"{name}"', 1))
    assert f"name must be a letter, then letters, digits and underscores, at most 61; found {name!r}" in refused(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.toml"
    with open(path, "wb") as file:
        file.truncate(100_000_000)
    assert "has 100000000 bytes" in refused(path)


CHANGES = {
    "python object": ("eta = 2", "eta = !!python/object/apply:os.system [id]"),
    "import as text": ("eta = 2", 'eta = "__import__(\'os\').system(\'id\')"'),
    "a rule that is code": ('rule = "mean_y"', 'rule = "__import__"'),
    "a path as distribution": ('distribution = "LKJ"', 'distribution = "../../etc/passwd"'),
    "a method as distribution": ('distribution = "LKJ"', 'distribution = "__class__"'),
    "not a number": ("eta = 2", "eta = nan"),
    "infinite": ("eta = 2", "eta = inf"),
    "negative sd": ('sigma = { rule = "sd_y" }', "sigma = -1"),
    "zero sd": ('sigma = { rule = "sd_y" }', "sigma = 0"),
    "thousands of digits": ("eta = 2", f"eta = {'9' * 5000}"),
    "thousands of hexadecimal digits": ("eta = 2", f"eta = 0x{'f' * 1900}"),
    "thousands of digits as a title": ('title = "', f"version = 0x{'f' * 1900}\nreferences = 0x{'f' * 1900}\nold = \""),
    "thousands of digits as a name": ('"LKJ"', f"0x{'f' * 1900}"),
    "thousands of digits as a rule": ('"mean_y"', f"0x{'f' * 1900}"),
    "thousands of digits as a scale": ('lam = { rule = "one_over_sd_y" }', f"scale = 0x{'f' * 1900}"),
    "a date": ("eta = 2", "eta = 2020-01-01"),
    "a list": ("eta = 2", "eta = [2]"),
    "deep nesting": ("eta = 2", "eta = " + "[\n" * 3000 + "]\n" * 3000),
    "a key twice": ("eta = 2", "eta = 2\neta = 3"),
    "times as text": ("times = 2.5", 'times = "2.5"'),
    "an unknown key of a rule": ("times = 2.5", 'tims = 2.5'),
    "a deep inline table": ("eta = 2", f"eta = {'{a=' * 300}1{'}' * 300}"),
    "a deep table of a family": ("[residual_sd]", f"[family{'.a' * 990}]\nx = 1\n\n[residual_sd]"),
    "a deep table of a link": ("[residual_sd]", f"[link{'.a' * 990}]\nx = 1\n\n[residual_sd]"),
    "thousands of keys": ("[residual_sd]", "".join(f"k{i} = 1\n" for i in range(5000)) + "[residual_sd]"),
    "what a terminal obeys": ('title = "', 'title = "\\u001b[2J'),
    "what a terminal obeys, in a reference": ("references = [", 'references = ["\\u009b2J",'),
    "a negative sd that follows": ("times = 2.5 }\n\n[slope]", "times = -2.5 }\n\n[slope]"),
    "an unknown joint prior": ("[group_correlation]", '[joint]\ndistribution = "Decof"\n\n[group_correlation]'),
    "a joint prior beside its role": (
        "[group_correlation]",
        '[joint]\ndistribution = "Decov"\nconcentration = 1\nshape = 1\nscale = 1\n\n[group_correlation]',
    ),
    "a joint prior as a role": (
        'distribution = "LKJ"\neta = 2',
        'distribution = "Decov"\nconcentration = 1\nshape = 1\nscale = 1',
    ),
    "a joint prior as override": (
        "[residual_sd]",
        '[overrides.x]\ndistribution = "R2D2M2"\nmean_R2 = 0.5\nprec_R2 = 2\nconcentration = 1\n\n[residual_sd]',
    ),
    "another place of the intercepts": ("version = 1", 'version = 1\ngroup_intercept_at = "somewhere"'),
    "a share beyond one": (
        'distribution = "HalfNormal"\nsigma = { rule = "sd_y" }',
        'distribution = "PC"\nu = 1\nalpha = 2',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_preset_is_refused(name, tmp_path):
    old, new = CHANGES[name]
    assert old in VALID
    path = tmp_path / "weakly_informative.toml"
    path.write_text(VALID.replace(old, new, 1))
    before = set(sys.modules)
    # At most twenty problems of a few hundred characters.
    assert len(refused(path)) < 6000
    assert set(sys.modules) == before


# Ends at once, and tells, when anything but opening and reading happens after it stands.
GUARD = """
import sys
from pathlib import Path
from poolwise.errors import PriorError
from poolwise.priors.presets import load_preset
load_preset("brms")

def guard(event, arguments):
    if event in ("exec", "compile", "import", "os.system", "subprocess.Popen", "socket.connect", "os.exec"):
        print(event, arguments)
        sys.stdout.flush()
        os_exit(9)

from os import _exit as os_exit
files = sorted(Path(sys.argv[1]).rglob("*.toml"))
sys.addaudithook(guard)
for file in files:
    try:
        load_preset(file)
    except PriorError:
        pass
print(len(files))
"""
DUNDER = "__import__('os').system('id')"


def test_nothing_runs(tmp_path):
    texts = [VALID.replace(old, new, 1) for old, new in CHANGES.values()]
    for part in dict.fromkeys(part for line in VALID.splitlines() for part in line.split('"') if part.strip()):
        texts.append(VALID.replace(part, DUNDER, 1))
        texts.append(VALID.replace(part, "!!python/object/apply:os.system [id]", 1))
    for number, text in enumerate(texts):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "weakly_informative.toml").write_text(text)
    done = subprocess.run([sys.executable, "-c", GUARD, tmp_path], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == (f"{len(texts)}\n", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00" * 100, "is not valid TOML"),
        (b'name = "bad\x00"', "is not valid TOML"),
        (b"\xff\xfe" + VALID.encode("utf-16-le"), "is not UTF-8 text"),
        (VALID.encode("utf-16-be"), "is not valid TOML"),
        (b"", "name must be a text; found None"),
        (b"\xef\xbb\xbf" + VALID.encode(), "begins with a byte-order mark; save it as UTF-8 without one"),
        (b"name = '" + b"x" * 50_000 + b"'", "line 1 of the preset"),
        # Twelve seconds without the limit of a line: the parser takes the square of the parts.
        (b"a" + b".a" * 30_000 + b" = 1", "has 60005 characters; the most is 2000"),
    ],
)
def test_bytes_that_are_no_toml(content, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert message in refused(path)


def test_the_largest_file_of_dotted_keys_is_quick(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("".join(f"k{i}{'.a' * 990} = 1\n" for i in range(31)))
    assert "unknown key 'k0'" in refused(path)


VALUES = [
    "nan",
    "-inf",
    "true",
    "0",
    "-1",
    "1e999",
    "''",
    "'sd_y'",
    "[]",
    "[[1]]",
    "{}",
    "{ rule = 'sd_y' }",
    "1979-05-27",
]
VALUES += [
    "{ rule = ['sd_y'] }",
    "{ rule = 'sd_y', times = 'x' }",
    "{ distribution = 'Decov' }",
    "07:32:00",
    f"0x{'f' * 1900}",
]


CONTENT = tomllib.loads(VALID)
TABLES = [*CONTENT, "joint", "overrides", "link", "family"]
KEYS = [(table, key) for table in CONTENT if isinstance(CONTENT[table], dict) for key in CONTENT[table]]
KEYS += [("overrides", "x"), ("link", "log"), ("family", "t"), ("slope", "new"), ("slope", "self")]


def toml(value) -> str:
    """The value as TOML; a text that is an instance of Literal as it stands."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + " }"
    return value if isinstance(value, Literal) else json.dumps(value)


class Literal(str):
    """TOML."""


@pytest.mark.parametrize("value", VALUES)
def test_any_value_in_any_place_loads_or_is_refused(value, tmp_path):
    path = tmp_path / "weakly_informative.toml"
    changed = [CONTENT]
    changed += [{**CONTENT, table: Literal(value)} for table in TABLES]
    changed += [{**CONTENT, table: {**CONTENT.get(table, {}), key: Literal(value)}} for table, key in KEYS]
    outcomes = []
    for content in changed:
        path.write_text("\n".join(f"{key} = {toml(entry)}" for key, entry in content.items()))
        try:
            load_preset(path)
            outcomes.append("loaded")
        except PriorError as error:
            assert str(path) in str(error)
            outcomes.append("refused")
    assert outcomes[0] == "loaded" and outcomes.count("refused") > len(TABLES)

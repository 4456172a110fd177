"""Files that are no presets: one clear error each, quickly, and nothing in them runs."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    for name in ("pipe", "folder", "loop", "missing"):
        assert "there is no preset file" in refused(tmp_path / f"{name}.toml")


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
    "a date": ("eta = 2", "eta = 2020-01-01"),
    "a list": ("eta = 2", "eta = [2]"),
    "deep nesting": ("eta = 2", f"eta = {'[' * 3000}{']' * 3000}"),
    "a key twice": ("eta = 2", "eta = 2\neta = 3"),
    "times as text": ("times = 2.5", 'times = "2.5"'),
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
    assert len(refused(path)) < 2000
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "content", [b"\x00" * 100, b"\xff\xfe" + VALID.encode("utf-16-le"), b"", b"\xef\xbb\xbfname = 1"]
)
def test_bytes_that_are_no_toml(content, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    refused(path)


@given(st.binary(max_size=300))
def test_any_bytes_load_or_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    refused(path)


@given(st.integers(0, len(VALID)), st.integers(0, 40), st.text(max_size=20))
def test_any_change_of_a_valid_preset_loads_or_is_refused(tmp_path_factory, start, length, text):
    path = tmp_path_factory.getbasetemp() / "weakly_informative.toml"
    path.write_bytes((VALID[:start] + text + VALID[start + length :]).encode("utf-8", "surrogatepass"))
    try:
        load_preset(path)
    except PriorError as error:
        assert str(path) in str(error)

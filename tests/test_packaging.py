"""What is built from the sources: one version, and every file that the package reads."""

import re
import tomllib
from pathlib import Path

import poolwise as pw

ROOT = Path(__file__).parents[1]
CODE = {".py", ".nbi", ".nbc", ".pyc"}


def test_the_citation_has_the_version():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited is not None and cited.group(1) == pw.__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dynamic"] == ["version"]


def test_what_is_no_code_is_known():
    """A new kind of file is noticed here, and that it is in the wheel is checked by .ci/wheel."""
    found = {path.suffix for path in (ROOT / "src" / "poolwise").rglob("*") if path.is_file()} - CODE
    assert found == {".typed", ".csv", ".gz", ".toml", ".jinja", ".js", ".css"}
    assert {path.suffix for path in (ROOT / "priors").iterdir()} == {".toml", ".md"}


def test_every_runtime_dependency_has_a_lower_bound_and_a_pin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {}
    for text in project["project"]["dependencies"]:
        name, bound = re.split(r"(?=>=)", text.split(",")[0])
        names[name] = bound
    pins = dict(pin.split("==") for pin in project["tool"]["uv"]["constraint-dependencies"])
    assert set(names) <= set(pins)

    def numbers(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", version)]

    for name, bound in names.items():
        assert numbers(pins[name]) >= numbers(bound.removeprefix(">=")), name

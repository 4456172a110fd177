"""The code of the documentation runs, and every code of a finding has a section.

Blocks of a page marked ``python`` run from top to bottom in one namespace, in an empty folder, warnings being errors.
Notebooks have a test file of their own, docstrings run as doctests.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.settings import CODES
from poolwise.cli import main

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/**/*.md", "priors/*.md")
PAGES = sorted(path for place in PLACES for path in ROOT.glob(place) if "```python" in path.read_text())
# The landing page shows lines of README, which run there.
LANDING = ROOT / "docs" / "index.md"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def rows(seed: int, groups: str) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(list(groups), 10)
    x = rng.normal(size=len(g))
    y = x * rng.normal(1, 0.5, len(groups)).repeat(10) + rng.normal(0, 2, len(groups)).repeat(10)
    return pd.DataFrame({"y": y + rng.normal(size=len(g)), "x": x, "g": g})


def with_files(folder: Path) -> dict:
    """What the pages on sums take for given: files of rows, two sites' sums, rows in memory."""
    (folder / "visits").mkdir()
    formula = "y ~ x + (x | g)"
    for number, groups in enumerate(("abcdef", "ghijkl")):
        rows(number, groups).to_parquet(folder / "visits" / f"{number}.parquet")
    for number, site in enumerate(("basel", "graz")):
        pw.collapse(rows(number, "abcdef" if site == "basel" else "ghijkl"), formula).save(folder / f"{site}.sums")
    return {"own_rows": rows(2, "mnopqr"), "new_rows": rows(0, "abcdef")}


def with_preset(folder: Path) -> dict:
    """The file that the command of the page writes."""
    assert main(["priors", "new", "mine", "--from", "weakly_informative"]) == 0
    return {}


PREPARED = {"README.md": with_files, "docs/scale.md": with_files, "docs/howto/write_a_preset.md": with_preset}


def test_pages_are_found():
    assert len(PAGES) > 8 and all((ROOT / page).exists() for page in PREPARED)


@pytest.mark.parametrize("path", [page for page in PAGES if page != LANDING], ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare = PREPARED.get(path.relative_to(ROOT).as_posix())
    namespace = prepare(tmp_path) if prepare else {}
    for number, block in enumerate(blocks(path)):
        exec(compile(block, f"{path.name}, block {number}", "exec"), namespace)


def test_the_landing_page_shows_lines_of_the_readme():
    said = (ROOT / "README.md").read_text().splitlines()
    for line in "\n".join(blocks(LANDING)).splitlines():
        assert any(line.split("  #")[0] == other.split("  #")[0] for other in said), line


def public_functions() -> dict[str, object]:
    """Functions of poolwise, and of its modules, by the name a user writes."""
    found = {name: getattr(pw, name) for name in pw.__all__}
    for module in ("checks", "plots", "validate"):
        found |= {f"{module}.{name}": getattr(getattr(pw, module), name) for name in getattr(pw, module).__all__}
    return {name: one for name, one in found.items() if inspect.isfunction(one)}


def test_every_public_function_has_an_example_that_runs():
    """In its docstring, where it is not skipped, or in a page, whose code runs above."""
    run = "\n".join(block for page in PAGES for block in blocks(page))
    for name, function in public_functions().items():
        said = inspect.getdoc(function) or ""
        in_docstring = ">>>" in said and "+SKIP" not in said
        assert in_docstring or re.search(rf"\b{re.escape(name)}\(", run), name


def codes_of_checks() -> set[str]:
    """Every code that a check gives a finding, those of the studies too."""
    source = "\n".join(path.read_text() for path in (ROOT / "src/poolwise/check").glob("*.py"))
    return set(CODES) | set(re.findall(r'code="([a-z_]+)"', source))


def test_every_code_has_a_section_and_no_section_is_of_none():
    sections = re.findall(r"^### `([a-z_]+)`$", (ROOT / "docs/howto/findings.md").read_text(), re.MULTILINE)
    assert len(sections) == len(set(sections)) and set(sections) == codes_of_checks()


def test_links_that_leave_the_site_are_well_formed():
    """Offline, their form is all that can be checked."""
    for path in [path for place in (*PLACES, "notebooks/*") for path in ROOT.glob(place)]:
        for link in re.findall(r"\]\((\w+:[^)]*)\)", path.read_text()):
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s]*)?", link), f"{path.name}: {link}"

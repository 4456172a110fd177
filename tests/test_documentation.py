"""The documentation: its code runs, its site builds without a warning and asks nothing of a network.

Blocks of a page marked ``python`` run from top to bottom in one namespace, in an empty folder, warnings being errors.
Notebooks have a test file of their own, docstrings run as doctests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.settings import CODES
from poolwise.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for place in ("*.md", "docs/**/*.md", "priors/*.md") for path in ROOT.glob(place) if "```python" in path.read_text()
)
# The landing page shows lines of README, which run there.
LANDING = ROOT / "docs" / "index.md"
LONGEST_BLOCK = 120


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
    sys.modules["matplotlib.pyplot"].close("all") if "matplotlib.pyplot" in sys.modules else None


def test_the_landing_page_shows_lines_of_the_readme():
    said = (ROOT / "README.md").read_text().splitlines()
    for line in "\n".join(blocks(LANDING)).splitlines():
        assert any(line.split("  #")[0] == other.split("  #")[0] for other in said), line


def codes_of_checks() -> set[str]:
    """Every code that a check gives a finding, those of the studies too."""
    source = "\n".join(path.read_text() for path in (ROOT / "src/poolwise/check").glob("*.py"))
    return set(CODES) | set(re.findall(r'code="([a-z_]+)"', source))


def test_every_code_has_a_section_and_no_section_is_of_none():
    sections = re.findall(r"^### `([a-z_]+)`$", (ROOT / "docs/howto/findings.md").read_text(), re.MULTILINE)
    assert len(sections) == len(set(sections)) and set(sections) == codes_of_checks()


def test_links_that_leave_the_site_are_well_formed():
    """Offline, their form is all that can be checked."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("priors/*.md"), *ROOT.glob("notebooks/*")]:
        for link in re.findall(r"\]\((\w+:[^)]*)\)", path.read_text()):
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s]*)?", link), f"{path.name}: {link}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `docs/conf.py` says, from this source."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-nW", "-q", "-E", "--keep-going", "-c", "docs", ".", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_page_and_notebook(site):
    pages = {page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html")}
    for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb"), ROOT / "README.md", ROOT / "CHANGELOG.md"]:
        assert path.relative_to(ROOT).with_suffix("").as_posix() in pages
    findings = (site / "docs/howto/findings.html").read_text()
    for code in codes_of_checks():
        assert f'id="{code.replace("_", "-")}"' in findings


def test_the_reference_has_every_public_name(site):
    shown = set(re.findall(r'<dt class="sig[^"]*" id="([\w.]+)"', "".join(map(Path.read_text, site.rglob("*.html")))))
    public = {f"poolwise.{name}" for name in pw.__all__} | {f"poolwise.errors.{name}" for name in pw.__all__}
    missing = {
        name
        for name in pw.__all__
        if name not in ("__version__", "checks", "plots", "validate")
        and not {f"poolwise.{name}", f"poolwise.errors.{name}"} & shown
    }
    for module in ("checks", "plots", "validate"):
        missing |= {
            f"{module}.{name}"
            for name in getattr(pw, module).__all__
            if not {f"poolwise.{module}.{name}", f"poolwise.{name}"} & shown
        }
    assert not missing and public & shown
    for method in ("Model.fit", "BayesFit.predict", "BayesFit.check", "FrequentistFit.confint", "PoolingStudy.report"):
        assert f"poolwise.{method}" in shown


def test_pages_ask_nothing_of_a_network(site):
    """Scripts, styles, pictures and fonts come from the site itself."""
    asked = r'<(?:script|img|iframe|source|video|audio)[^>]*\ssrc="([^"]*)"|<link[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href="([^"]*)"'
    for page in site.rglob("*.html"):
        for found in re.findall(asked, page.read_text()):
            assert not re.match(r"(\w+:)?//", "".join(found)), f"{page.name}: {found}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import\s+|url\()['\"]?(https?:)?//", style.read_text()), style.name

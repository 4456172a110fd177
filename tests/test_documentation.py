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
    (folder / "orders").mkdir()
    orders(3).to_parquet(folder / "orders" / "0.parquet")
    return {"own_rows": rows(2, "mnopqr"), "new_rows": rows(0, "abcdef")}


def orders(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    campaign, region = rng.integers(0, 2, 600), rng.integers(0, 8, 600)
    bought = rng.random(600) < 1 / (1 + np.exp(0.5 - campaign * rng.normal(0.5, 0.4, 8)[region]))
    age = rng.choice(["young", "old"], 600)
    return pd.DataFrame({"bought": bought.astype(int), "campaign": campaign, "age_class": age, "region": region})


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


def own_methods(cls: type) -> dict[str, object]:
    """What a class of poolwise offers and its own layers do not keep to themselves."""
    inherited = [one for one in reversed(cls.__mro__) if one.__module__.startswith("poolwise")]
    found = {name: inspect.unwrap(getattr(cls, name)) for one in inherited for name in vars(one) if name[0] != "_"}
    return {name: one for name, one in found.items() if inspect.isfunction(one) or inspect.ismethod(one)}


def public_callables() -> dict[str, object]:
    """Functions, classes and methods of poolwise and of its modules, by the name a user writes."""
    found = {name: getattr(pw, name) for name in pw.__all__}
    for module in ("checks", "plots", "validate"):
        found |= {f"{module}.{name}": getattr(getattr(pw, module), name) for name in getattr(pw, module).__all__}
    # Errors and warnings are caught, not made.
    found = {name: one for name, one in found.items() if not (inspect.isclass(one) and issubclass(one, Exception))}
    for name, one in list(found.items()):
        if inspect.isclass(one):
            found |= {f"{name}.{method}": function for method, function in own_methods(one).items()}
    shown = {name: one for name, one in found.items() if ":meta private:" not in (inspect.getdoc(one) or "")}
    return {name: one for name, one in shown.items() if callable(one)}


def arguments_without_words(said: str, function) -> list[str]:
    """Parameters that the docstring's section does not name."""
    section = re.search(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?:\n\n\w+\n---|\Z)", said, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^(?! )([*\w, ]+?)(?: :.*)?$", section[1] if section else "", re.MULTILINE)
    named = {name.strip(" *") for line in lines for name in line.split(",")}
    return [name for name in inspect.signature(function).parameters if name not in {"self", "cls", *named}]


def may_raise(function) -> bool:
    """Whether a function itself refuses something: raises, or checks what every fit checks."""
    body = inspect.getsource(inspect.unwrap(function)).rpartition('"""')[2]
    return bool(re.search(r"\braise \w+Error|\bcheck_(level|interval)\(", body))


def test_every_public_callable_says_what_it_takes_and_returns_and_shows_an_example_that_runs():
    """Examples in docstrings run as doctests, those of pages above."""
    run = "\n".join(block for page in PAGES for block in blocks(page))
    lacking = []
    for name, one in public_callables().items():
        said = inspect.getdoc(one) or ""
        in_docstring = ">>>" in said and "+SKIP" not in said
        if not in_docstring and not re.search(rf"\b{re.escape(name)}\(", run):
            lacking.append(f"{name}: example")
        if not inspect.isclass(one):
            lacking += [f"{name}: {argument}" for argument in arguments_without_words(said, one)]
            if not re.search(r"^Returns\n---", said, re.MULTILINE):
                lacking.append(f"{name}: returns")
            if may_raise(one) and not re.search(r"^Raises\n---", said, re.MULTILINE):
                lacking.append(f"{name}: raises")
    assert not lacking


def codes_of_checks() -> set[str]:
    """Every code that a check gives a finding, those of the studies too."""
    source = "\n".join(path.read_text() for path in (ROOT / "src/poolwise/check").glob("*.py"))
    return set(CODES) | set(re.findall(r'code="([a-z_]+)"', source))


def test_every_code_has_a_section_and_no_section_is_of_none():
    sections = re.findall(r"^### `([a-z_]+)`$", (ROOT / "docs/howto/findings.md").read_text(), re.MULTILINE)
    assert len(sections) == len(set(sections)) and set(sections) == codes_of_checks()


def test_a_finding_names_its_section():
    model = pw.Model("bounce_time ~ std_age + (std_age | county)", pw.load_dataset("bounce_rates"))
    finding = pw.checks.singular_fit(model.fit_frequentist())[0]
    page, code = finding.section.split("#")
    assert f"### `{code}`" in (ROOT / page).read_text()
    assert finding.section in str(finding) and finding.section in finding._repr_html_()


def test_links_that_leave_the_site_are_well_formed():
    """Offline, their form is all that can be checked."""
    for path in [path for place in (*PLACES, "notebooks/*") for path in ROOT.glob(place)]:
        for link in re.findall(r"\]\((\w+:[^)]*)\)", path.read_text()):
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s]*)?", link), f"{path.name}: {link}"

"""Every notebook runs from top to bottom, its assertions hold, and it is stored without outputs."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "90"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    """As the site runs it, cell by cell in one namespace; a warning is an error here."""
    monkeypatch.syspath_prepend(str(path.parents[1] / "docs"))
    from _notebooks import as_markdown

    page = as_markdown(path.read_text(), path.stem)
    assert 'class="output"' in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_with_its_conclusion_and_holds_no_outputs(path):
    notebook = json.loads(path.read_text())
    assert "**Conclusion.**" in cells(path, "markdown")[0]
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    for link in [part.split(")")[0] for text in cells(path, "markdown") for part in text.split("](")[1:]]:
        assert link.startswith("http") or (path.parent / link).exists(), link

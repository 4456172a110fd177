"""Every notebook runs from top to bottom, its assertions hold, and it is stored without outputs."""

import ast
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
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """As a kernel would: cell by cell in one namespace; the last expression of a cell is shown in both ways."""
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__main__"}
    for number, source in enumerate(cells(path, "code")):
        tree = ast.parse(source.removesuffix(";"))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}, cell {number}", "exec"), namespace)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), f"{path.name}, cell {number}", "eval"), namespace)
            assert repr(shown)
            getattr(shown, "_repr_html_", str)()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_with_its_conclusion_and_holds_no_outputs(path):
    notebook = json.loads(path.read_text())
    assert "**Conclusion.**" in cells(path, "markdown")[0]
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    for link in [part.split(")")[0] for text in cells(path, "markdown") for part in text.split("](")[1:]]:
        assert link.startswith("http") or (path.parent / link).exists(), link

"""The house: an import goes down only, and each heavy library stays in its rooms."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "poolwise"
# From the top down. A module may import its own layer and those below.
LAYERS = [
    "cli",
    "cli_predict",
    "cli_table",
    "cli_priors",
    "report",
    "plot",
    "compare",
    "check",
    "validate",
    "continuing",
    "model",
    "sample",
    "result",
    "fit",
    "compile",
    "spec",
    "priors",
    "data",
    "algebra",
    "workers",
    "names",
    "errors",
    "kernel_cache",
]
# Methods that offer what a higher layer does, by an import inside the method.
DOORS = {
    ("compare/study.py", "plot"),
    ("compare/study.py", "report"),
    ("model.py", "check"),
    ("result/checked.py", "check"),
    ("result/checked.py", "continuing"),
    ("result/checked.py", "plot"),
    ("result/bayes.py", "check"),
    ("result/bayes.py", "plot"),
    ("result/checked.py", "report"),
    ("check/singularity.py", "plot"),
    ("check/finding.py", "plot"),
}
ROOMS = {
    "pymc": {"compile", "fit/generative.py"},
    "pytensor": {"compile"},
    "nutpie": {"compile", "fit"},
    "matplotlib": {"plot"},
    "PIL": {"plot"},
    "jinja2": {"report"},
    "bambi": {"spec/bambi.py"},
    "formulae": {"spec/evaluate.py"},
}
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def layer(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


def imports(module: str) -> set[str]:
    tree = ast.parse((SOURCE / module).read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("__init__.py", "__main__.py")])
def test_imports_go_down(module):
    below = LAYERS[LAYERS.index(layer(module)) :]
    for name in imports(module):
        parts = name.split(".")
        if parts[0] == "poolwise" and len(parts) > 1 and parts[1] in LAYERS:
            assert parts[1] in below or (module, parts[1]) in DOORS, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_in_their_rooms(module):
    for library in {name.split(".")[0] for name in imports(module)} & set(ROOMS):
        assert layer(module) in ROOMS[library] or module in ROOMS[library], f"{module} imports {library}"


def test_every_module_belongs_to_a_layer():
    assert {layer(module) for module in MODULES} - {"__init__", "__main__"} <= set(LAYERS)

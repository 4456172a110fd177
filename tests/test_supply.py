"""What poolwise brings onto a machine: pinned packages, no source that runs what it reads; asked without network."""

import ast
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "poolwise").rglob("*.py"))
# What reads code from data, starts another program, or speaks to a network.
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code", "codeop", "runpy"}
MODULES |= {
    "subprocess",
    "pty",
    "socket",
    "ssl",
    "http",
    "ftplib",
    "smtplib",
    "requests",
    "urllib3",
    "imp",
    "ctypes.util",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
METHODS = {"read_pickle", "to_pickle", "system", "popen", "spawnl", "spawnv", "execv", "execve", "execvp", "query"}
# By file: what it may do, because nothing that a stranger wrote reaches it.
ALLOWED = {
    # PyMC's graph of a likelihood, evaluated by PyTensor: no text.
    ("compile/likelihood.py", "eval"),
    # A task for workers that this process has started, or for the user's own cluster: never from a file.
    ("workers.py", "pickle"),
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    given = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"][
        "constraint-dependencies"
    ]
    return {canonical(name): version for name, version in (one.split("==") for one in given)}


def tree(root: str) -> dict[str, set[str]]:
    """The installed packages that one needs, directly or not, and who asks for them."""
    found: dict[str, set[str]] = {}
    todo = [(root, frozenset())]
    while todo:
        name, extras = todo.pop()
        for text in requires(name) or []:
            asked = Requirement(text)
            marks = [{"extra": extra} for extra in (extras or {""})]
            if asked.marker is not None and not any(asked.marker.evaluate(mark) for mark in marks):
                continue
            child = canonical(asked.name)
            if child not in found:
                todo.append((child, frozenset(asked.extras)))
            found.setdefault(child, set()).add(name)
    return found


def test_every_package_of_the_tree_is_pinned():
    """Those that poolwise needs, and what these need: a fresh machine gets what was tested."""
    needed = tree("poolwise")
    assert len(needed) > 30
    unpinned = {name: sorted(by) for name, by in needed.items() if name not in pins()}
    assert unpinned == {}


def test_what_is_installed_is_what_is_pinned():
    from importlib.metadata import version

    other = {}
    for name in tree("poolwise"):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed != pins()[name]:
            other[name] = installed
    assert other == {}


def hazards(source: str) -> set[tuple[int, str]]:
    """Line and name of what reads code from data, starts a program or speaks to a network."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {(node.lineno, one.name) for one in names if hazardous(one.name)}
            case ast.ImportFrom(module=str(module), names=names):
                dotted = [module, *(f"{module}.{one.name}" for one in names)]
                found |= {(node.lineno, name) for name in dotted if hazardous(name)}
                found |= {(node.lineno, one.name) for one in names if one.name in METHODS}
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                found.add((node.lineno, name))
            # re.compile and methods called compile make no code of a text of Python.
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS or name in ("eval", "exec"):
                found.add((node.lineno, name))
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[first, *_]):
                if not isinstance(first, ast.Constant | ast.JoinedStr | ast.Name | ast.Subscript | ast.Attribute):
                    found.add((node.lineno, "import_module"))
            case (
                ast.keyword(arg="allow_pickle", value=ast.Constant(value=True))
                | ast.keyword(arg="shell", value=ast.Constant(value=True))
            ):
                found.add((node.value.lineno, str(node.arg)))
    return found


def hazardous(name: str) -> bool:
    return name in MODULES or name.split(".")[0] in MODULES or name in ("urllib.request", "os.system", "os.popen")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "poolwise")))
def test_no_source_runs_what_it_reads(path):
    name = path.relative_to(ROOT / "src" / "poolwise").as_posix()
    assert {(line, what) for line, what in hazards(path.read_text("utf-8")) if (name, what) not in ALLOWED} == set()


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("from cloudpickle import loads", "cloudpickle"),
        ("import urllib.request", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("from os import system", "system"),
        ("import yaml\nyaml.load(x)", "yaml"),
        ("eval(x)", "eval"),
        ("frame.eval('a + b')", "eval"),
        ("frame.query(x)", "query"),
        ("os.system(x)", "system"),
        ("np.load(x, allow_pickle=True)", "allow_pickle"),
        ("pd.read_pickle(x)", "read_pickle"),
        ("def f():\n    from subprocess import run", "subprocess"),
        ("__import__(x)", "__import__"),
    ],
)
def test_each_hazard_would_be_seen(source, what):
    assert what in {name for _, name in hazards(source)}

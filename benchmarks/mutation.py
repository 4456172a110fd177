"""Mutants of algebra/: small wrong changes, and whether the tests notice, for docs/reliability.md.

    python benchmarks/mutation.py --sample 160 [--seed 20] [--only KEY ...] [--jit]

A mutant is one change of one expression: signs, products, comparisons, constants, conditions, updates left out, what
is returned negated. Docstrings, decorators, annotations and what `raise` says are left alone. A sample is drawn file by
file, in proportion to what can be changed, three at least. Each mutant is written to a copy of the source tree, where a
forked process runs the tests of tests/algebra whose imports reach the file, the nearest first, until one fails; kernels
run as plain Python, so that nothing is compiled. With --jit, and for files that no such test reaches, kernels are
compiled, and the tests that plain Python is too slow for run, with those of other folders. Out of time is noticed.
"""

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALGEBRA, TESTS = ROOT / "src/poolwise/algebra", ROOT / "tests"
FAR = 99
# Hundreds of thousands of draws, one at a time in plain Python.
SLOW = "not drawn_effects and not order_of_factors and not (test_crossed.py and gradient_is_the_derivative)"
# Tests of other folders that a file's numbers reach, by what it serves.
GLM = ["fit/test_glm.py", "result/test_glmm.py"]
WHITENED = ["compile/test_joint_whitening.py", "compile/test_whitened_form.py", "compile/test_families.py"]
SUMS = ["spec/test_collapse.py", "spec/test_collapse_refusals.py"]
REML = ["fit/test_reml.py", "compile/test_doors.py", "fit/test_bayes.py"]
CROSSED = ["fit/test_reml_crossed.py", "fit/test_crossed_posterior.py"]
SERVES = {
    "moments": SUMS, "basis": [*SUMS, *REML], "group_integral": ["check/test_leave_group_out.py"],
    "joint_mode": ["fit/test_importance.py", *GLM], "leave_one_out": ["check/test_loo_pit.py"], "separate": GLM,
    "likelihoods": WHITENED, "rows": WHITENED, "passes": WHITENED, "group_factor": WHITENED,
    "whitened": WHITENED, "laplace": GLM, "whitened_prior": WHITENED, "exponential": GLM, "links": GLM,
    "diagnostics": ["result/test_convergence_names.py"],
    "quadrature": GLM, "separation": GLM, "sparse_rows": GLM, "crossed": CROSSED, "crossed_conditional": CROSSED,
    "crossed_marginal": CROSSED, "crossed_profiled": CROSSED, "elimination": CROSSED, "schur": CROSSED,
}  # fmt: skip

SWAPS: dict[type, type] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
SWAPS |= {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
SWAPS |= {ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
NAMES = {"min": "max", "max": "min", "argmin": "argmax", "zeros": "ones", "sin": "cos", "exp": "log"}
Site = tuple[str, Callable[[], None]]


def sites(parent: ast.AST) -> Iterator[tuple[ast.AST, Site]]:
    """Every change that a syntax tree allows, in a fixed order."""
    for name, value in ast.iter_fields(parent):
        if name in ("decorator_list", "annotation", "returns"):
            continue
        for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not isinstance(node, ast.Raise | ast.JoinedStr):
                if hasattr(node, "lineno"):
                    yield from ((node, site) for site in changes(parent, name, place, node))
                yield from sites(node)


def changes(parent: ast.AST, name: str, place: int | None, node: ast.AST) -> Iterator[Site]:
    def put(new: ast.AST) -> Callable[[], None]:
        def apply() -> None:
            if place is None:
                setattr(parent, name, new)
            else:
                getattr(parent, name)[place] = new

        return apply

    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield type(op).__name__, lambda: setattr(node, "op", SWAPS[type(op)]())
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield type(op).__name__, lambda: setattr(node, "ops", [SWAPS[type(op)]()])
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield "unary", put(operand)
        case ast.Constant(value=bool(value)):
            yield "bool", lambda: setattr(node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield "constant", lambda: setattr(node, "value", value + 1)
        case ast.Name(id=called) if called in NAMES:
            yield called, lambda: setattr(node, "id", NAMES[called])
        case ast.Attribute(attr=called) if called in NAMES:
            yield called, lambda: setattr(node, "attr", NAMES[called])
    if isinstance(node, ast.AugAssign):
        yield "left out", put(ast.Pass())
    if isinstance(node, ast.If | ast.While):
        test = node.test
        yield "negated condition", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), test))
    if isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp | ast.Call | ast.Name):
        value = node.value
        yield "negated", lambda: setattr(node, "value", ast.UnaryOp(ast.USub(), value))


def keys_of(path: Path) -> list[str]:
    """Keys of every mutant of a file: its name, the line, the change, the number of the change."""
    tree = ast.parse(path.read_text())
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    every = enumerate(sites(tree))
    return [f"{path.name}:{node.lineno}:{what}:{k}" for k, (node, (what, _)) in every if id(node) not in texts]


def mutated(key: str) -> str:
    """The changed text of the file; of no change for the number -1, which all tests have to let live."""
    tree, number = ast.parse((ALGEBRA / key.split(":")[0]).read_text()), int(key.split(":")[-1])
    if number >= 0:
        list(sites(tree))[number][1][1]()
    return ast.unparse(ast.fix_missing_locations(tree))


def drawn(sample: int, seed: int) -> list[str]:
    """A sample of mutants, file by file."""
    rng, every = random.Random(seed), {path: keys_of(path) for path in sorted(ALGEBRA.glob("*.py"))}
    total = sum(map(len, every.values()))
    chosen = [rng.sample(keys, min(len(keys), max(3, round(sample * len(keys) / total)))) for keys in every.values()]
    print(f"{sum(map(len, chosen))} of {total} mutants of {len(every)} files", flush=True)
    # Those that have to be compiled come last.
    return sorted((key for keys in chosen for key in keys), key=lambda key: not tests_of(key.split(".")[0], jit=False))


@cache
def imports(path: Path) -> set[str]:
    """Modules of algebra/ that a file imports."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    dotted = [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]
    return {name.split(".")[2] for name in dotted if name.startswith("poolwise.algebra.")}


@cache
def users(module: str) -> dict[str, int]:
    """The modules of algebra/ that use one, directly or not, by the number of steps."""
    direct = {path.stem: imports(path) for path in ALGEBRA.glob("*.py")}
    steps, edge = {module: 0}, {module}
    while edge:
        edge = {name for name, used in direct.items() if used & edge and name not in steps}
        steps |= {name: max(steps.values()) + 1 for name in edge}
    return steps


def tests_of(module: str, jit: bool) -> list[str]:
    """Test files, those that import the module or its nearest users first."""
    steps = users(module)
    files = sorted(TESTS.glob("algebra/*.py"), key=lambda path: path.stat().st_size)
    nearest = {path: min([steps[name] for name in imports(path) if name in steps], default=FAR) for path in files}
    near = [path for path in sorted(files, key=nearest.__getitem__) if nearest[path] < FAR]
    return [*map(str, near), *(str(TESTS / one) for one in SERVES.get(module, REML) if jit)]


def tested(source: Path, tests: list[str], jit: bool, quick: bool, log: Path) -> int:
    """In a process of its own: pytest's exit code, 1 where a test failed and 2 where one cannot be imported."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(source.parent)
    sys.path.insert(0, str(source))
    import numba
    import pytest

    numba.config.DISABLE_JIT = not jit
    options = [
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-o",
        "addopts=",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--tb=line",
    ]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["-m", "not slow", "-k", SLOW] if quick else []
    return int(pytest.main([*options, f"--rootdir={ROOT}", *tests]))


def run(source: Path, tests: list[str], jit: bool, quick: bool, limit: float, log: Path) -> str:
    """The outcome of the tests in a forked process: killed, survived or out of time."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(tested(source, tests, jit, quick, log))
        finally:
            traceback.print_exc()
            os._exit(99)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return {0: "survived", 1: "killed", 2: "killed"}.get(os.waitstatus_to_exitcode(status), "crashed")
        time.sleep(0.05)
    os.killpg(pid, 9)
    os.waitpid(pid, 0)
    return "out of time"


def main() -> None:
    parser = argparse.ArgumentParser(description="Do the tests notice small wrong changes of algebra/?")
    parser.add_argument("--sample", type=int, default=160)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--tests", nargs="+", help="of the folder tests; these only")
    given = parser.parse_args()
    done = {json.loads(line)["key"] for line in given.out.read_text().splitlines()} if given.out.exists() else set()
    # Imported once, before the forks; each imports poolwise itself.
    for name in ("arviz", "bambi", "matplotlib.pyplot", "numba", "nutpie", "pymc", "pytest", "scipy.stats"):
        importlib.import_module(name)
    for key in given.only or drawn(given.sample, given.seed):
        if key in done:
            continue
        began, name = time.monotonic(), key.split(":")[0]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "src"
            shutil.copytree(ROOT / "src", source)
            shutil.copytree(ROOT / "priors", Path(folder) / "priors")
            path = source / "poolwise/algebra" / name
            # No compiled code that holds the right one; the old time, or the tests' own set-up deletes all of it.
            caches = [one for user in users(path.stem) for one in path.parent.glob(f"__pycache__/{user}.*")]
            for cache in [*caches, *source.glob("poolwise/compile/__pycache__/*.nb?")]:
                cache.unlink()
            stat, before = path.stat(), path.read_text().splitlines()[int(key.split(":")[1]) - 1].strip()
            path.write_text(mutated(key))
            os.utime(path, (stat.st_atime, stat.st_mtime))
            jit = given.jit or not (given.tests or tests_of(path.stem, jit=False))
            tests = [str(TESTS / one) for one in given.tests or ()] or tests_of(path.stem, jit)
            quick = not (jit or given.tests)
            outcome = run(source, tests, jit, quick, given.limit, Path(folder) / "log")
            said = " | ".join((Path(folder) / "log").read_text().strip().splitlines()[-3:])[-300:]
        took = round(time.monotonic() - began, 1)
        line = {"key": key, "outcome": outcome, "before": before, "jit": jit, "took": took, "said": said}
        with open(given.out, "a") as file:
            file.write(json.dumps(line) + "\n")
        print(outcome, key, before, f"{took} s", flush=True)


if __name__ == "__main__":
    main()

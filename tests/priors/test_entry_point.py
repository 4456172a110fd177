"""Another installed package offers presets by its entry point: both packages installed in a fresh environment."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import poolwise
from poolwise.priors.presets import load_preset

REPOSITORY = Path(poolwise.__file__).parents[2]
MODULE = """
from pathlib import Path

FOLDER = Path(__file__).parent / "presets"


def folder():
    return FOLDER


def broken():
    raise LookupError("no folder today")


def leave():
    raise SystemExit(3)
"""


def install(site: Path, name: str, version: str, entry_points: str) -> None:
    """What an installer adds beside a package's files: its metadata, with every file of the package on record."""
    package = name.replace("-", "_")
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text("tests\n")
    (info / "entry_points.txt").write_text(entry_points)
    files = [path for folder in (site / package, info) for path in folder.rglob("*") if path.is_file()]
    (info / "RECORD").write_text("".join(f"{path.relative_to(site).as_posix()},,\n" for path in files))


def install_poolwise(site: Path) -> None:
    """The wheel's files, from the tree as pyproject.toml tells the build backend, without its dependencies."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    leave_out = shutil.ignore_patterns("__pycache__")
    for package in wheel["packages"]:
        shutil.copytree(REPOSITORY / package, site / Path(package).name, ignore=leave_out)
    for source, target in wheel["force-include"].items():
        shutil.copytree(REPOSITORY / source, site / target, ignore=leave_out)
    scripts = "".join(f"{name} = {where}\n" for name, where in project["project"]["scripts"].items())
    install(site, "poolwise", poolwise.__version__, f"[console_scripts]\n{scripts}")


def install_theirs(site: Path, entry: str = "their_priors:folder", preset: str = "theirs") -> None:
    """A tiny package: a module that gives the folder, one preset as package data, the entry point."""
    (site / "their_priors" / "presets").mkdir(parents=True)
    (site / "their_priors" / "__init__.py").write_text(MODULE)
    text = Path(load_preset("weakly_informative").source).read_text(encoding="utf-8")
    text = text.replace('name = "weakly_informative"', f'name = "{preset}"')
    (site / "their_priors" / "presets" / f"{preset}.toml").write_text(text, encoding="utf-8")
    install(site, "their-priors", "1.0", f"[poolwise.priors]\nschool = {entry}\n")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a fresh environment with poolwise installed; only the libraries come from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    program = folder / ("bin/python" if os.name == "posix" else "Scripts/python.exe")
    site = Path(run(program, "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    install_poolwise(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    return program


def run(python: Path, code: str, theirs: Path | None = None) -> subprocess.CompletedProcess:
    """Run code in the environment, and with the other package's folder, as of ``pip install --target``, on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "POOLWISE"))}
    if theirs:
        environment["PYTHONPATH"] = str(theirs)
    # Isolated from the working directory, whose folders must not stand in for what is installed.
    return subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, timeout=600, env=environment)


FOUND = """
import poolwise as pw
from poolwise.priors.presets import CATALOGUE
table = pw.presets().set_index("name")
print(pw.__file__)
print(CATALOGUE)
print(table.loc["theirs", "source"])
print(pw.load_preset("theirs").roles["residual_sd"], len(table))
"""


def test_a_preset_of_an_installed_package_is_found(python, tmp_path):
    install_theirs(tmp_path)
    done = run(python, FOUND, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    own, catalogue, source, said = done.stdout.splitlines()
    site = Path(own).parents[1]
    assert site.is_relative_to(python.parents[1]) and Path(catalogue) == site / "poolwise" / "priors" / "catalogue"
    assert Path(source) == tmp_path / "their_priors" / "presets" / "theirs.toml"
    shipped = len(list((REPOSITORY / "priors").glob("*.toml")))
    assert said == f"Exponential(lam=one_over_sd_y) {shipped + 1}"


@pytest.mark.parametrize(
    ("entry", "preset", "message"),
    [
        ("not_there:folder", "theirs", "cannot be loaded: ModuleNotFoundError: No module named 'not_there'"),
        ("their_priors:nothing", "theirs", "cannot be loaded: AttributeError: module 'their_priors' has no attribute"),
        ("their_priors:broken", "theirs", "cannot be loaded: LookupError: no folder today"),
        ("their_priors:leave", "theirs", "cannot be loaded: SystemExit: 3"),
        ("their_priors:__doc__", "theirs", "cannot be loaded: TypeError"),
        ("their_priors:__name__", "theirs", "gives 'their_priors', not the absolute path of a folder"),
        ("their_priors:__file__", "theirs", "__init__.py', not the absolute path of a folder"),
        ("their_priors:folder", "brms", "two presets are called 'brms': "),
    ],
)
def test_a_broken_entry_point_is_one_clear_error(python, tmp_path, entry, preset, message):
    install_theirs(tmp_path, entry, preset)
    done = run(python, "from poolwise.cli import main; raise SystemExit(main(['priors', 'show', 'brms']))", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("poolwise: ") and done.stderr.count("\n") == 1
    assert message in done.stderr and "entry point 'school' of the package 'their-priors'" in done.stderr

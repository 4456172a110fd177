"""Another installed package offers presets by its entry point: a real wheel in a fresh environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import poolwise
from poolwise.priors.presets import load_preset

METADATA = "Metadata-Version: 2.1\nName: their-priors\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
MODULE = "from pathlib import Path\n\n\ndef folder():\n    return Path(__file__).parent / 'presets'\n"


def wheel(folder: Path, entry: str, preset: str) -> Path:
    """A wheel as a build backend makes it: a module, a preset as package data, and the entry point."""
    info = "their_priors-1.0.dist-info"
    files = {
        "their_priors/__init__.py": MODULE,
        f"their_priors/presets/{preset}.toml": own_preset(preset),
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": f"[poolwise.priors]\ntheirs = {entry}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = folder / "their_priors-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def own_preset(name: str) -> str:
    text = Path(load_preset("weakly_informative").source).read_text()
    return text.replace('name = "weakly_informative"', f'name = "{name}"')


def fresh_environment(folder: Path, package: Path) -> Path:
    """A virtual environment with the package unpacked in it, and this one's libraries and poolwise behind it."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(package) as archive:
        archive.extractall(site)
    behind = [Path(poolwise.__file__).parents[1], *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "behind.pth").write_text("\n".join(map(str, behind)))
    return folder / "bin" / "python"


def ask(python: Path, code: str) -> subprocess.CompletedProcess:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)


def test_a_preset_of_an_installed_package_is_found(tmp_path):
    python = fresh_environment(tmp_path / "env", wheel(tmp_path, "their_priors:folder", "theirs_weak"))
    code = (
        "import poolwise as pw; print('theirs_weak' in set(pw.presets()['name'])); "
        "print(pw.load_preset('theirs_weak').roles['residual_sd'])"
    )
    done = ask(python, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "Exponential(lam=one_over_sd_y)"]


@pytest.mark.parametrize(
    ("entry", "preset", "message"),
    [
        ("their_priors:nothing", "theirs_weak", "the entry point 'theirs' of poolwise.priors"),
        ("not_there:folder", "theirs_weak", "of the package 'their-priors', cannot be loaded: ModuleNotFoundError"),
        ("their_priors:__doc__", "theirs_weak", "cannot be loaded: TypeError"),
        ("their_priors:__name__", "theirs_weak", "not a folder"),
        ("their_priors:folder", "brms", "two presets are called 'brms'"),
    ],
)
def test_a_broken_entry_point_is_one_clear_error(tmp_path, entry, preset, message):
    python = fresh_environment(tmp_path / "env", wheel(tmp_path, entry, preset))
    done = ask(python, "from poolwise.cli import main; raise SystemExit(main(['priors', 'list']))")
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr

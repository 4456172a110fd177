"""Shared by all tests: results of other software, and the fits that several tests look at."""

import json
from pathlib import Path

import matplotlib
import pytest

import poolwise as pw

matplotlib.use("agg")

SOURCE = Path(pw.__file__).parent


def pytest_configure():
    """Delete numba's caches of an edited checkout: a kernel does not notice that one it calls has changed."""
    newest = max(
        path.stat().st_mtime
        for folder in ("algebra", "compile", "priors", "fit")
        for path in (SOURCE / folder).glob("*.py")
    )
    for cache in SOURCE.rglob("__pycache__/*.nbi"):
        if cache.exists() and cache.stat().st_mtime < newest:
            cache.unlink(missing_ok=True)


REFERENCE = Path(__file__).parent / "reference"


def reference(name: str) -> dict:
    """A result of lme4, brms or lm, see tests/reference/README.md."""
    return json.loads((REFERENCE / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def bounce():
    return pw.load_dataset("bounce_rates")


@pytest.fixture(scope="session")
def bounce_study(bounce):
    """The study of the main example; long chains, so that its numbers can be compared."""
    return pw.compare_pooling("bounce_time ~ std_age + (std_age | county)", bounce, seed=20, draws=2000, progress=False)

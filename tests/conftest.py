"""Shared by all tests: results of other software, and the fits that several tests look at."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

import poolwise as pw

matplotlib.use("agg")

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


# Names that would be code if a page believed them.
LONG = "long " * 2000
HOSTILE = [
    "<script>alert(1)</script>",
    "\"quoted\" & 'single'",
    "</style><img src=x onerror=alert(2)>",
    "{{ 7 * 7 }} {% raw %}",
    LONG,
    "東京都",
    "=cmd()|'x'",
    "a\u202eb\x07c\nd",
]
PREDICTOR = "x<img src=x onerror=alert(3)>"


@pytest.fixture(scope="session")
def hostile_study():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(len(HOSTILE)), np.arange(5, 5 + len(HOSTILE)))
    data = pd.DataFrame({"<b>g</b>": np.array(HOSTILE, dtype=object)[g], PREDICTOR: rng.normal(size=len(g))})
    data["y"] = data[PREDICTOR] + rng.normal(size=len(HOSTILE))[g] + rng.normal(size=len(g))
    formula = f"y ~ `{PREDICTOR}` + (`{PREDICTOR}` | `<b>g</b>`)"
    return pw.compare_pooling(formula, data, seed=1, draws=500, folds=2, new_group_folds=2, progress=False)


@pytest.fixture(scope="session")
def hostile_page(hostile_study, tmp_path_factory):
    return hostile_study.report(tmp_path_factory.mktemp("report") / "hostile.html")


@pytest.fixture(scope="session")
def bounce_page(bounce_study, tmp_path_factory):
    return bounce_study.report(tmp_path_factory.mktemp("report") / "bounce.html")


@pytest.fixture(scope="session")
def many_page(tmp_path_factory):
    rng = np.random.default_rng(1)
    J = 1200
    g = np.repeat(np.arange(J), 3)
    data = pd.DataFrame({"g": [f"school number {k}" for k in g], "y": rng.normal(size=J)[g] + rng.normal(size=3 * J)})
    options = dict(seed=1, draws=250, chains=2, folds=2, new_group_folds=2, progress=False)
    study = pw.compare_pooling("y ~ 1 + (1 | g)", data, **options)
    return study.report(tmp_path_factory.mktemp("report") / "many.html")

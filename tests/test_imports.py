"""Importing costs nothing until a name is used, and pure layers need no PyMC."""

import subprocess
import sys

import pytest

import poolwise as pw

HEAVY = ("pymc", "pytensor", "nutpie", "bambi", "arviz", "pandas", "matplotlib", "numba")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(filter(None, done.stdout.strip().split(",")))


def test_importing_poolwise_loads_nothing_heavy():
    assert loaded_after("import poolwise") == set()


@pytest.mark.parametrize(
    "module", ["poolwise.algebra.profiled", "poolwise.priors.presets", "poolwise.spec.formula", "poolwise.spec.design"]
)
def test_pure_layers_need_no_pymc(module):
    assert not loaded_after(f"import {module}") & {"pymc", "pytensor", "nutpie", "bambi", "matplotlib"}


def test_a_direct_fit_needs_neither_pymc_nor_matplotlib():
    statement = (
        "import poolwise as pw; "
        "pw.Model('Yield ~ 1 + (1 | Batch)', pw.load_dataset('dyestuff')).fit(seed=1, progress=False)"
    )
    assert not loaded_after(statement) & {"pymc", "pytensor", "bambi", "matplotlib"}


@pytest.mark.parametrize(
    "arguments",
    ["'list'", "'show', 'r2d2m2'", "'check', pw.load_preset('brms').source", "'new', 'mine', '--out', sys.argv[1]"],
)
def test_the_commands_on_priors_need_neither_a_sampler_nor_matplotlib(arguments, tmp_path):
    code = (
        f"import sys; import poolwise as pw; from poolwise.cli import main; assert main(['priors', {arguments}]) == 0"
    )
    code += f"; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    # pandas is the table of pw.presets().
    assert done.stdout.splitlines()[-1] in ("", "pandas")


@pytest.mark.parametrize("name", pw.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pw, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="poolwise has no 'modle'"):
        _ = pw.modle  # type: ignore[attr-defined]

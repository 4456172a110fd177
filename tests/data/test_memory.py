"""What does not fit into memory is refused before it is made, with its size and the way out."""

import re

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.data import memory
from poolwise.errors import DataError, FitError


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    n = 600
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 60, n), "h": rng.integers(0, 50, n)})
    frame["f"] = [f"level {k}" for k in rng.integers(0, 40, n)]
    frame["y"] = frame["x"] + rng.normal(size=60)[frame["g"]] + rng.normal(size=n)
    return frame


def leave(monkeypatch, size: float) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: size)


def test_what_the_system_says_is_plausible():
    assert 1e7 < memory.free_memory() < 1e14


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch, tmp_path):
    def missing(*args):
        raise OSError

    monkeypatch.setattr(memory.os, "sysconf", missing)
    assert memory.free_memory(tmp_path) == float("inf")


def machine(root, groups: str, **files: str):
    """A file system that says what memory is free: 8 GiB of the machine's, and these files of control groups."""
    said = {"proc/meminfo": "MemTotal: 9999999 kB\nMemAvailable: 8388608 kB\n", "proc/self/cgroup": groups, **files}
    for name, text in said.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(folder: str, most: str, used: int, cached: int, *, v1: bool = False) -> dict[str, str]:
    limit, use = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
    stat = f"{'total_' if v1 else ''}inactive_file {cached}"
    return {f"{folder}/{limit}": most, f"{folder}/{use}": f"{used}\n", f"{folder}/memory.stat": f"anon 7\n{stat}\n"}


def test_a_container_may_have_less_than_its_machine(tmp_path):
    files = group("sys/fs/cgroup", "1000000\n", 700_000, 200_000)
    assert memory.free_memory(machine(tmp_path, "0::/\n", **files)) == 500_000


def test_the_tightest_of_nested_groups_counts(tmp_path):
    outer = group("sys/fs/cgroup/batch", "900000\n", 300_000, 0)
    inner = group("sys/fs/cgroup/batch/job_3", "max\n", 300_000, 0)
    assert memory.free_memory(machine(tmp_path, "0::/batch/job_3\n", **outer, **inner)) == 600_000


def test_a_limit_of_the_older_control_groups(tmp_path):
    # Docker shows its own group as the top, and the path of the host.
    files = group("sys/fs/cgroup/memory", "2000000\n", 500_000, 100_000, v1=True)
    groups = "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n0::/docker/ab\n"
    assert memory.free_memory(machine(tmp_path, groups, **files)) == 1_600_000


def test_no_limit_leaves_what_the_machine_has(tmp_path):
    files = group("sys/fs/cgroup", "max\n", 700_000, 0)
    assert memory.free_memory(machine(tmp_path, "0::/\n", **files)) == 8_388_608 * 1024


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path):
    files = group("sys/fs/cgroup", "1000\n", 2000, 0)
    assert memory.free_memory(machine(tmp_path, "0::/\n", **files)) == 0


def test_columns_of_many_levels(table, monkeypatch):
    leave(monkeypatch, 300_000)
    said = "600 rows of 40 columns, of which 39 are of 'f', take at least 0.000384 GB of memory; 0.0003 GB are free"
    with pytest.raises(DataError, match=re.escape(said) + r".*groups, \(1 \| g\)"):
        pw.Model("y ~ x + f + (1 | g)", table)
    pw.Model("y ~ x + (1 | f)", table)


def test_columns_of_a_block_and_of_an_interaction(table, monkeypatch):
    leave(monkeypatch, 300_000)
    with pytest.raises(DataError, match="of which 39 are of 'f'"):
        pw.Model("y ~ x + (0 + f | g)", table)
    with pytest.raises(DataError, match="59 are of 'g'"):
        pw.Model("y ~ C(g) + (1 | h)", table)
    with pytest.raises(DataError, match="39 are of 'f:x'"):
        pw.Model("y ~ f:x + (1 | h)", table)


def test_crossed_factors(table, monkeypatch):
    model = pw.Model("y ~ x + (1 | g) + (1 | h)", table)
    expected = model.fit_frequentist().criterion
    leave(monkeypatch, 10_000)
    said = "numbers that tie 50 effects of crossed factors together take at least"
    with pytest.raises(FitError, match=said):
        pw.Model("y ~ x + (1 | g) + (1 | h)", table).fit_frequentist()
    leave(monkeypatch, 8 * 2 * 50**2)
    assert pw.Model("y ~ x + (1 | g) + (1 | h)", table).fit_frequentist().criterion == expected


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_draws_of_a_run_and_of_predictions(table, monkeypatch):
    model = pw.Model("y ~ x + (1 | g)", table)
    fit = model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    whole = fit.predict(table)
    leave(monkeypatch, 500_000)
    with pytest.raises(FitError, match=r"100 draws of 600 rows take at least .* Ask for a part of the rows"):
        fit.predict_draws(table)
    assert fit.predict_draws(table.head(20)).shape == (100, 20)
    leave(monkeypatch, 100_000)
    with pytest.raises(FitError, match=r"2 chains of 100 \+ 50 draws of 63 numbers .* Ask for fewer draws"):
        model.fit(draws=50, tune=100, chains=2, seed=1, progress=False)
    assert len(whole) == 600

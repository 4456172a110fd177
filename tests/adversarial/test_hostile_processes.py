"""Interrupted and killed runs of the command line: said so, and no process is left behind; memory of many groups."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hostile import FORMULA, table

import poolwise as pw


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def heed_interrupts() -> None:
    """In the child: a shell that starts tests in the background has interrupts ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def sampling(tmp_path):
    """A command line that samples for hours; its process after it has begun."""
    table().to_csv(tmp_path / "data.csv", index=False)
    command = [sys.executable, "-m", "poolwise.cli", "fit", str(tmp_path / "data.csv"), FORMULA, "--draws", "3000000"]
    process = subprocess.Popen(
        [*command, "--quiet", "--chains", "2", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
        text=True,
    )
    clock = os.sysconf("SC_CLK_TCK")
    began = time.monotonic()
    # Its two threads have used more processor time than the imports take: it samples.
    while time.monotonic() - began < 600 and process.poll() is None:
        with open(f"/proc/{process.pid}/stat") as stat:
            used = sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13])) / clock
        with open(f"/proc/{process.pid}/status") as status:
            threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
        if used > 6 and threads > 3:
            break
        time.sleep(0.2)
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        pipe.close()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_interrupted_command_says_so(sampling, tmp_path):
    sampling.send_signal(signal.SIGINT)
    _, err = sampling.communicate(timeout=600)
    # Either the draws made until then, flagged, or nothing: never a result that looks whole.
    if sampling.returncode == 130:
        assert "interrupted; nothing was written" in err and not (tmp_path / "out").exists()
    else:
        assert sampling.returncode in (0, 3) and "PartialRunWarning" in err
        assert pw.load_fit(tmp_path / "out" / "posterior.nc").settings.draws < 3_000_000
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_killed_command_leaves_no_process(sampling, tmp_path):
    below = children(sampling.pid)
    sampling.kill()
    sampling.wait(timeout=600)
    until = time.monotonic() + 600
    while any(os.path.exists(f"/proc/{pid}") for pid in below) and time.monotonic() < until:
        time.sleep(0.1)
    assert [pid for pid in below if os.path.exists(f"/proc/{pid}")] == []
    assert not (tmp_path / "out").exists()


MANY = """
import resource, sys
import numpy as np, pandas as pd
import poolwise as pw
rng = np.random.default_rng(1)
g = np.repeat(np.arange(10_000), 3)
data = pd.DataFrame({"y": rng.normal(size=30_000) + rng.normal(size=10_000)[g], "x": rng.normal(size=30_000), "g": g})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit = pw.Model("y ~ x + (x|g)", data).fit_frequentist()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, fit.varcorr["sdcor"].iloc[0])
"""


@pytest.mark.slow
def test_ten_thousand_groups_take_little_memory():
    run = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=600)
    megabytes, sd = map(float, run.stdout.split())
    assert megabytes < 500
    assert sd == pytest.approx(1.0, abs=0.1)


def test_other_processes_have_the_same_draws(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from hostile import *; import poolwise as pw, warnings;"
        "warnings.simplefilter('ignore');"
        "run = dict(draws=20, tune=50, chains=2, seed=5, progress=False);"
        "f = pw.Model(FORMULA, table()).fit(**run, cores=int(sys.argv[2]));"
        "print(f.data['posterior']['sigma'].to_numpy().tobytes().hex())"
    )
    here = os.path.dirname(__file__)
    runs = [subprocess.run([sys.executable, "-c", code, here, str(k)], capture_output=True, text=True) for k in (1, 2)]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout) > 600


STORED = """
import sys
import poolwise as pw
from poolwise.fit.trace import Feed
real = Feed.__call__
def told(self, trace):
    real(self, trace)
    # What has been handed on is on the disk: said only now.
    print(*(self._told.get(chain, 0) for chain in range(2)), flush=True)
Feed.__call__ = told
model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
model.fit(draws=int(sys.argv[2]), chains=2, seed=2, progress=False, store=sys.argv[1])
"""


def test_a_killed_run_loses_what_it_drew_since_its_last_look(tmp_path):
    # How far the looks are apart is measured in tests/fit/test_trace.py, by a clock that no other work disturbs.
    command = [sys.executable, "-c", STORED, str(tmp_path / "run"), "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = []
    while sum(sum(map(int, line.split())) > 0 for line in lines) < 3:
        lines.append(process.stdout.readline())
        assert lines[-1], "the run ended by itself"
    process.kill()
    lines += process.stdout.read().splitlines()
    process.stdout.close()
    process.wait(600)
    said = [line.split() for line in lines if len(line.split()) == 2]
    with pytest.warns(pw.PartialRunWarning, match="is not complete"):
        fit = pw.load_fit(tmp_path / "run")
    there = [int(count) for count in fit.form.split("(")[-1].split(" by")[0].split(", ")]
    # All of the last look, and of a next one that was under way when the kill came.
    assert all(found >= int(last) for found, last in zip(there, said[-1], strict=True))
    assert min(there) >= 4 and max(there) < 1_000_000
    assert fit.settings.draws == min(there) or fit.settings.chains == 1
    # What was killed is gone on with, here to a length that is soon reached.
    more = max(there) + 10
    resumed = pw.resume(tmp_path / "run", draws=more, progress=False)
    assert (resumed.settings.chains, resumed.settings.draws) == (2, more) and "resumed" in resumed.form
    n = fit.settings.draws
    if fit.settings.chains == 2:
        assert resumed.posterior["sigma"][:, :n].equals(fit.posterior["sigma"])
    assert pw.load_fit(tmp_path / "run").posterior.equals(resumed.posterior)


@pytest.mark.slow
def test_an_interrupted_run_with_a_store_is_flagged_and_resumed(tmp_path):
    code = STORED + ("import warnings\nloaded = pw.load_fit(sys.argv[1])\nprint('form', loaded.form, flush=True)\n")
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path / "run"), "1000000"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    while sum(map(int, (line := process.stdout.readline()).split())) == 0:
        assert line, "the run ended by itself"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0 and "Traceback" not in err
    assert err.count("PartialRunWarning") == 2 and "interrupted: " in err and "pw.resume(path) makes the others" in err
    assert "; not complete: " in out.splitlines()[-1]

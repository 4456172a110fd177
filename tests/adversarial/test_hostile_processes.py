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


@pytest.fixture
def sampling(tmp_path):
    """A command line that samples for hours; its process after it has begun."""
    table().to_csv(tmp_path / "data.csv", index=False)
    command = [sys.executable, "-m", "poolwise.cli", "fit", str(tmp_path / "data.csv"), FORMULA, "--draws", "3000000"]
    process = subprocess.Popen(
        [*command, "--quiet", "--chains", "2", "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    clock = os.sysconf("SC_CLK_TCK")
    began = time.monotonic()
    # Its two threads have used more processor time than the imports take: it samples.
    while time.monotonic() - began < 60 and process.poll() is None:
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
    _, err = sampling.communicate(timeout=120)
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
    sampling.wait(timeout=30)
    time.sleep(0.5)
    assert [pid for pid in below if os.path.exists(f"/proc/{pid}")] == []
    assert not (tmp_path / "out").exists()


MANY = """
import resource, sys
import numpy as np, pandas as pd
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
    run = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=300)
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

"""poolwise beside Bambi + nutpie: seconds, memory and effective draws, each measured in processes of their own.

Run twice and read the second run: the first fills numba's and PyTensor's caches.

    uv run python benchmarks/sampling.py [--quick]
"""

import argparse
import json
import resource
import subprocess
import sys
import time

DRAWS, TUNE, CHAINS = 1000, 1000, 4
CASES = ("sleepstudy", "bounce", "rows100k")


def load(case: str):
    """Formula and table of a case."""
    import numpy as np
    import pandas as pd

    if case == "rows100k":
        rng = np.random.default_rng(1)
        n, J = 100_000, 1000
        group = rng.integers(0, J, n)
        x = rng.normal(size=n)
        u = rng.normal(size=(J, 2)) * [1.0, 0.5]
        y = 2 + x + u[group, 0] + u[group, 1] * x + rng.normal(size=n)
        return "y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": np.char.add("g", group.astype(str))})
    from poolwise.data.examples import load_dataset

    if case == "sleepstudy":
        return "Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy")
    return "bounce_time ~ std_age + (std_age | county)", load_dataset("bounce_rates")


def ours(case: str, started: float) -> dict:
    """One poolwise fit, timed part by part."""
    import poolwise as pw

    formula, data = load(case)
    from poolwise.fit.nuts import nutpie_without_arviz
    from poolwise.model import Model  # noqa: F401

    nutpie_without_arviz()
    imported = time.perf_counter()
    model = pw.Model(formula, data)
    built = time.perf_counter()
    fit = model.fit(DRAWS, TUNE, CHAINS, seed=1, progress=False, cores=2)
    done = time.perf_counter()
    from poolwise.fit.bayes import Sampling

    sampler = model.sampler
    settings = Sampling(DRAWS, TUNE, CHAINS, 1, 2, progress=False)
    at = time.perf_counter()
    draws, _ = sampler.sample(settings)
    sampled = time.perf_counter()
    sampler.effects(draws, settings)
    effects = time.perf_counter()
    parts = {"import": imported - started, "build": built - imported, "compile": 0.0, "sample": sampled - at}
    parts |= {"effects": effects - sampled, "fit": done - imported, "process": done - started}
    return {**parts, **quality(fit.data)}


def theirs(case: str, started: float) -> dict:
    """One fit by Bambi + nutpie, compiled and sampled apart."""
    import bambi
    import nutpie

    formula, data = load(case)
    imported = time.perf_counter()
    model = bambi.Model(formula, data)
    model.build()
    built = time.perf_counter()
    compiled = nutpie.compile_pymc_model(model.backend.model)
    ready = time.perf_counter()
    tree = nutpie.sample(compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=2, seed=1, progress_bar=False)
    done = time.perf_counter()
    parts = {"import": imported - started, "build": built - imported, "compile": ready - built, "sample": done - ready}
    parts |= {"effects": 0.0, "fit": done - imported, "process": done - started}
    return {**parts, **quality(tree)}


def quality(tree) -> dict:
    """Peak memory before anything is measured, then smallest bulk ESS and largest R-hat over parameters and effects."""
    import numpy as np
    from arviz_stats.base import array_stats

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ess, rhat = [], []
    for name, variable in tree["posterior"].data_vars.items():
        if str(name).endswith("_offset") or "_log__" in str(name) or str(name) == "mu":
            continue
        flat = variable.to_numpy().reshape(CHAINS, DRAWS, -1)
        for k in range(flat.shape[2]):
            if np.ptp(flat[:, :, k]) > 1e-12:
                ess.append(float(array_stats.ess(flat[:, :, k], chain_axis=0, draw_axis=1)))
                rhat.append(float(array_stats.rhat(flat[:, :, k], chain_axis=0, draw_axis=1)))
    return {"peak_gb": peak, "ess": min(ess), "rhat": max(rhat)}


def run(who: str, case: str) -> dict:
    """One fit in a fresh process; ``process`` includes the interpreter's start."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--worker", who, case]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    result["wall"] = time.perf_counter() - started
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 100,000 rows")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.worker:
        who, case = parsed.worker
        print(json.dumps((ours if who == "poolwise" else theirs)(case, time.perf_counter())))
        return
    columns = ["import", "build", "compile", "sample", "effects", "fit", "process", "peak_gb", "ess", "rhat"]
    print(f"{'case':<11} {'program':<15}" + "".join(f"{c:>9}" for c in columns) + f"{'ess/s smp':>11}{'ess/s fit':>11}")
    for case in CASES[: 2 if parsed.quick else 3]:
        speed = {}
        for who in ("poolwise", "bambi + nutpie"):
            r = run(who, case)
            speed[who] = (r["ess"] / (r["sample"] + r["effects"]), r["ess"] / r["fit"], r["process"])
            numbers = "".join(f"{r[c]:>9.3f}" if c != "ess" else f"{r[c]:>9.0f}" for c in columns)
            print(f"{case:<11} {who:<15}{numbers}{speed[who][0]:>11.0f}{speed[who][1]:>11.1f}", flush=True)
        one, two = speed["poolwise"], speed["bambi + nutpie"]
        print(
            f"{'':<11} ratio: effective draws a second {one[0] / two[0]:.1f} x sampling, "
            f"{one[1] / two[1]:.0f} x whole fit; process {one[2] / two[2]:.0%} of the time\n"
        )


if __name__ == "__main__":
    main()

"""Several grouping factors: REML beside lme4's lmer, and the collapsed posterior; seconds, memory, Pareto k.

Each case runs in a process of its own, cores=2; lmer only where Rscript and lme4 are at hand. `--plot FILE` draws how
the cost of a draw grows. Read ratios within one run, and the second run: the first fills numba's caches.

    uv run python benchmarks/crossed.py [--plot FILE]

On 2 cores that other work shared: InstEval (73,421 rows; 2,972 + 1,128 + 28 groups) REML 0.6 s, lmer 14 s; posterior of
2,000 draws 42 to 64 s, 73 s of CPU, peak memory 0.56 GB, Pareto k -0.1, 2,000 effective draws. CPU ms a draw with all
effects, the search for the mode included: at 1,000 + 300 groups 3.5, 4.0, 12, 55 for 5, 20, 80, 320 thousand rows (it
grows with the square of the groups that a group meets); at 200 + 60 groups, which all meet soon, 4.0, 4.7, 5.1, 5.0 for
2, 20, 200, 800 thousand: beyond that rows cost nothing; at 50,000 rows 5.7, 8.0, 28 for 100, 300, 1,000 groups beside
1,000, and 8.0, 6.8, 9.4 for 1,000, 4,000, 16,000 beside 300 (picture: docs/crossed_cost.png). Nested, three measures of
20 pupils in each of 8 classes of 400 and of 2,000 schools (192 and 960 thousand rows, 67,600 and 338,000 effects): REML
0.9 and 7.2 s, lmer 4.2 and 29 s; peak memory 0.37 and 0.66 GB, data included.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMULA = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"
NESTED = "y ~ x + (1 | school) + (1 | room) + (1 | pupil)"
SCHOOLS = (400, 2000)
DRAWS, CHAINS, CORES = 500, 4, 2
# Rows at 1,000 + 300 groups, and groups of the larger and the smaller factor at 50,000 rows.
ROWS = (5_000, 20_000, 80_000, 320_000)
GROUPS = ((1000, 100), (1000, 300), (1000, 1000), (4000, 300), (16_000, 300))


def insteval() -> dict:
    """Model, REML and 2,000 posterior draws of InstEval, timed part by part."""
    import poolwise as pw

    data = pw.load_dataset("insteval")
    start = time.perf_counter()
    model = pw.Model(FORMULA, data)
    built = time.perf_counter()
    model.fit_frequentist()
    reml = time.perf_counter()
    fit = model.fit(DRAWS, chains=CHAINS, seed=1, progress=False, cores=CORES)
    done = time.perf_counter()
    return {
        "model_s": built - start,
        "reml_s": reml - built,
        "posterior_s": done - reml,
        "cpu_s": time.process_time(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "pareto_k": fit.convergence.pareto_k,
        "effective": fit.convergence.ess,
    }


def pupils(schools: int):
    """Three measures of each of twenty pupils in each of eight classes of a school."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(1)
    pupil = np.repeat(np.arange(schools * 160), 3)
    room, school, x = pupil // 20, pupil // 160, rng.normal(size=len(pupil))
    effects = rng.normal(size=schools)[school] + 0.7 * rng.normal(size=schools * 8)[room]
    y = 1 + 0.5 * x + effects + 0.9 * rng.normal(size=schools * 160)[pupil] + rng.normal(size=len(pupil))
    return pd.DataFrame({"y": y, "x": x, "school": school, "room": room, "pupil": pupil}).astype(
        dict.fromkeys(("school", "room", "pupil"), str)
    )


def nested(schools: int) -> dict:
    """REML of nested factors, seconds and memory."""
    import poolwise as pw

    model = pw.Model(NESTED, pupils(schools))
    start = time.perf_counter()
    model.fit_frequentist()
    return {
        "reml_s": time.perf_counter() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def lmer_seconds(data, formula: str, factors: tuple[str, ...]) -> float | None:
    """Seconds of lmer, or None without R."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.to_csv(path, index=False)
        script = (
            f'suppressMessages(library(lme4)); d <- read.csv("{path}"); '
            f"for (k in c({', '.join(map(repr, factors))})) d[[k]] <- factor(d[[k]]); "
            f"cat(system.time(lmer({formula}, d))[[3]])"
        )
        done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def draw_cost(n: int, large: int, small: int) -> dict:
    """CPU milliseconds of a draw of parameters and all effects at a simulated crossed design."""
    import numpy as np
    import pandas as pd

    import poolwise as pw
    from poolwise.fit.bayes import Sampling
    from poolwise.fit.crossed import CrossedSampler
    from poolwise.spec.crossed import crossed_sufficient

    rng = np.random.default_rng(1)
    g, h = rng.integers(0, large, n), rng.integers(0, small, n)
    y = rng.normal(size=large)[g] + 0.5 * rng.normal(size=small)[h] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "g": np.char.add("g", g.astype(str)), "h": np.char.add("h", h.astype(str))})
    model = pw.Model("y ~ 1 + (1 | g) + (1 | h)", data)
    sampler = CrossedSampler(model.design, crossed_sufficient(model.design), model.specification.priors)
    settings = Sampling(10, 0, 4, 1, CORES, progress=False)
    start = time.process_time()
    drawn, k = sampler.sample(settings)
    proposals = 0 if drawn is None else drawn.stats.attrs["proposals"]
    return {"ms": 1e3 * (time.process_time() - start) / max(proposals, 1), "k": k}


def measured(*arguments: str) -> dict:
    """A case in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--case", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def plot(rows: dict[int, float], groups: dict[tuple[int, int], float], file: str) -> None:
    """Milliseconds a draw against rows, and against groups."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", sharey=True)
    left.loglog(list(rows), list(rows.values()), "o-", color="C0")
    left.set(xlabel="rows, at 1,000 + 300 groups", ylabel="CPU ms a draw, all effects included")
    for fixed, marker, label in ((0, "o-", "smaller factor, beside 1,000"), (1, "s--", "larger factor, beside 300")):
        pairs = [pair for pair in groups if pair[fixed] == (1000, 300)[fixed]]
        right.loglog([pair[1 - fixed] for pair in pairs], [groups[pair] for pair in pairs], marker, label=label)
    right.set(xlabel="groups, at 50,000 rows")
    right.legend(frameon=False)
    left.set_ylim(1, 300)
    left.set_yticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    left.minorticks_off()
    right.minorticks_off()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        name, *numbers = given.case
        case = {"insteval": insteval, "nested": nested, "draw": draw_cost}[name]
        print(json.dumps(case(*map(int, numbers))))
        return
    for key, value in measured("insteval").items():
        print(f"InstEval {key:<12}{value:>10.2f}")
    import poolwise as pw

    lmer = lmer_seconds(pw.load_dataset("insteval"), FORMULA, ("s", "d", "dept", "service"))
    print(f"InstEval {'lmer_s':<12}{'-' if lmer is None else f'{lmer:.2f}':>10}")
    for schools in SCHOOLS:
        found = measured("nested", str(schools))
        lmer = lmer_seconds(pupils(schools), NESTED, ("school", "room", "pupil"))
        print(f"nested, {schools} schools: {found}, lmer {'-' if lmer is None else f'{lmer:.2f}'} s")
    rows = {n: measured("draw", str(n), "1000", "300")["ms"] for n in ROWS}
    groups = {pair: measured("draw", "50000", *map(str, pair))["ms"] for pair in GROUPS}
    for n, ms in rows.items():
        print(f"{n:>8} rows, 1000 + 300 groups: {ms:8.1f} ms a draw")
    for (large, small), ms in groups.items():
        print(f"   50000 rows, {large} + {small} groups: {ms:8.1f} ms a draw")
    if given.plot:
        plot(rows, groups, given.plot)


if __name__ == "__main__":
    main()

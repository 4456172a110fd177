"""fit_frequentist() beside lme4's lmer, median of repeated fits; lmer only where Rscript and lme4 are at hand.

uv run python benchmarks/reml.py
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import poolwise as pw
from poolwise.fit.reml import optimise

REPEATS = 30
CASES = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "bounce_rates": "bounce_time ~ std_age + (std_age | county)",
    "radon": "log_radon ~ floor + log_uranium + (floor | county)",
}


def median_ms(work) -> float:
    """Median milliseconds of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def lmer_ms(data: Path, formula: str, group: str) -> float | None:
    """Median milliseconds of lmer, or None without R."""
    if shutil.which("Rscript") is None:
        return None
    script = (
        f'suppressMessages(library(lme4)); d <- read.csv("{data}"); d${group} <- factor(d${group}); '
        # system.time resolves milliseconds: ten fits a reading.
        "t <- sapply(1:5, function(i) system.time(for (k in 1:10) suppressMessages("
        f"lmer({formula}, d)))[[3]] / 10); cat(median(t) * 1000)"
    )
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def main() -> None:
    print(f"{'case':<14}{'Model + fit':>14}{'fit_frequentist':>17}{'optimiser':>12}{'lmer':>10}   milliseconds")
    for name, formula in CASES.items():
        data = pw.load_dataset(name)
        whole = median_ms(lambda d=data, f=formula: pw.Model(f, d).fit_frequentist())
        model = pw.Model(formula, data)
        rows = model.sufficient
        core = median_ms(lambda r=rows: optimise(r.stats, r.structure, reml=True))
        alone = median_ms(model.fit_frequentist)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.csv"
            data.to_csv(path, index=False)
            lmer = lmer_ms(path, formula, model.design.factors[0].name)
        print(f"{name:<14}{whole:>14.1f}{alone:>17.1f}{core:>12.1f}{'-' if lmer is None else f'{lmer:.1f}':>10}")


if __name__ == "__main__":
    main()

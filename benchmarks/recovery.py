"""Recovery of known parameters by group count and rows a group, for docs/reliability.md.

    python benchmarks/recovery.py [data sets a cell] [--cells 3x2 8x5 ...] [--no-profile]

Truth: y = 1 + 0.5 x + u0 + u1 x + e, sds 1 and 0.5, correlation 0.3, sigma 1; x is N(0, 1), new in every data set. Each
data set is fitted by REML (intervals: Wald with Satterthwaite's degrees of freedom for common effects, profile for all)
and by Bayes under weakly_informative (posterior means, equal-tailed intervals of 2 chains of 500 draws).
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd

import poolwise as pw

FORMULA, LEVEL = "y ~ x + (x | g)", 0.95
TRUTH = {"Intercept": 1.0, "x": 0.5, "1|g_sigma": 1.0, "x|g_sigma": 0.5, "corr|g[Intercept, x]": 0.3, "sigma": 1.0}
GROUPS, ROWS = (3, 5, 8, 20, 100), (2, 5, 20)


def simulated(J: int, each: int, seed: list[int]) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(J), each), rng.normal(size=J * each)
    u0, u1 = rng.multivariate_normal([0, 0], [[1, 0.15], [0.15, 0.25]], size=J).T
    return pd.DataFrame({"y": 1 + 0.5 * x + u0[g] + u1[g] * x + rng.normal(size=J * each), "x": x, "g": g})


def of_reml(model: pw.Model, profile: bool) -> tuple[pd.DataFrame, dict[str, float]]:
    """Estimates and intervals by parameter, and what went wrong."""
    fit = model.fit_frequentist()
    wald = fit.confint(method="wald", df="satterthwaite", level=LEVEL).set_index("parameter")
    found = wald.rename(columns={"lower": "wald_lower", "upper": "wald_upper"})
    if profile:
        found[["profile_lower", "profile_upper"]] = fit.confint(method="profile", level=LEVEL).set_index("parameter")[
            ["lower", "upper"]
        ]
    return found, {"singular": float(fit.is_singular)}


def of_bayes(model: pw.Model, seed: int) -> tuple[pd.DataFrame, dict[str, float]]:
    fit = model.fit(draws=500, tune=500, chains=2, cores=1, seed=seed, progress=False)
    table = fit.summary(level=LEVEL).loc[list(TRUTH)]
    lower, upper = (next(c for c in table if c.endswith(end)) for end in ("_lb", "_ub"))
    found = table[["mean", lower, upper]].set_axis(["estimate", "bayes_lower", "bayes_upper"], axis=1)
    return found, {"divergences": float(fit.convergence.divergences), "not converged": float(not fit.converged)}


def cell(J: int, each: int, sets: int, profile: bool) -> list[dict]:
    """Bias, its Monte Carlo error, and coverage of every parameter and method."""
    kept: dict[str, list[pd.DataFrame]] = {"REML": [], "Bayes": []}
    troubles: dict[str, list[dict[str, float]]] = {"REML": [], "Bayes": []}
    failed = {"REML": 0, "Bayes": 0}
    for k in range(sets):
        model = pw.Model(FORMULA, simulated(J, each, [J, each, k]))
        for method, run in (("REML", lambda m, _: of_reml(m, profile)), ("Bayes", of_bayes)):
            try:
                found, trouble = run(model, k)
            except pw.PoolwiseError:
                failed[method] += 1
                continue
            kept[method].append(found)
            troubles[method].append(trouble)
    rows = []
    for method, tables in kept.items():
        for name, truth in TRUTH.items() if tables else ():
            every = pd.DataFrame([table.loc[name] for table in tables])
            error = every["estimate"] - truth
            row = {"J": J, "rows": each, "method": method, "parameter": name, "sets": len(every)}
            row |= {"bias": error.mean(), "mc": error.std() / len(error) ** 0.5, "rmse": (error**2).mean() ** 0.5}
            for kind in dict.fromkeys(c.rsplit("_", 1)[0] for c in every if c.endswith("_lower")):
                low, high = every[f"{kind}_lower"], every[f"{kind}_upper"]
                if low.notna().any():
                    row[kind] = ((low <= truth) & (truth <= high))[low.notna()].mean()
                    row[f"{kind}_n"] = int(low.notna().sum())
            rows.append(row | pd.DataFrame(troubles[method]).mean().to_dict() | {"failed": failed[method]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Are known parameters recovered?")
    parser.add_argument("sets", type=int, nargs="?", default=100)
    parser.add_argument("--cells", nargs="+", default=[f"{J}x{each}" for J in GROUPS for each in ROWS])
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--out", default="recovery.csv")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    every = []
    for name in given.cells:
        began = time.perf_counter()
        J, each = map(int, name.split("x"))
        every += cell(J, each, given.sets, not given.no_profile)
        pd.DataFrame(every).to_csv(given.out, index=False)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

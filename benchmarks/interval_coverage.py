"""Coverage of intervals of the counties' slopes on the design of bounce_rates, for docs/checks_pooling.md.

    python benchmarks/interval_coverage.py [simulations] [workers]

A cell is a true sd of the slopes; intercept sd 14, sigma 7.94, correlation 0 and the common effects are as estimated.
"""

import sys
import time

import poolwise as pw

PRESETS = ["article_2020_foundations", "weakly_informative", "pc"]
FORMULA = "bounce_time ~ std_age + (std_age | county)"


def main(simulations: int = 400, workers: int = 1) -> None:
    model = pw.Model(FORMULA, pw.load_dataset("bounce_rates"))
    for sd in (0.0, 1.0, 4.0):
        truth = {
            "std_age|county_sigma": sd,
            "1|county_sigma": 14.0,
            "corr|county[Intercept, std_age]": 0.0,
            "sigma": 7.94,
        }
        start = time.perf_counter()
        found = pw.design_coverage(
            model,
            truth=truth,
            presets=PRESETS,
            simulations=simulations,
            sizes=[20, 50],
            workers=workers,
            seed=20,
        )
        took = time.perf_counter() - start
        print(f"\ntrue sd of the slopes {sd:g}: singular {found.singular:.3f}, failed {found.failed}, {took:.0f} s")
        for fits in ("all", "singular"):
            table = found.table(fits)
            slopes = table[table["term"] == "std_age"]
            if len(slopes):
                print(f"-- {fits} fits")
                print(slopes.drop(columns="term").to_string(index=False, float_format="%.3f"), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""Simulation-based calibration of the sampling forms and families: is the posterior the model's posterior?

    uv run python benchmarks/calibration.py [--case NAME] [--n-sim 200]

Draws parameters from the priors, a response from them, fits it, and ranks the truth in its posterior; uniform ranks are
right. Prints a line a case and writes calibration.png, the ECDF of the ranks minus the uniform one, beside this file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import poolwise as pw

SEED = 20
# Formula, family, preset, form.
CASES = {
    "gaussian, collapsed": ("y ~ x + (x | g)", "gaussian", None, "collapsed"),
    "gaussian, whitened": ("y ~ x + (x | g)", "gaussian", None, "whitened"),
    "gaussian, crossed, whitened": ("y ~ x + (1 | g) + (1 | h)", "gaussian", None, "whitened"),
    "gaussian, crossed, collapsed": ("y ~ x + (x | g) + (1 | h)", "gaussian", None, "collapsed"),
    "gaussian, rstanarm": ("y ~ x + (x | g)", "gaussian", "rstanarm", "auto"),
    "gaussian, r2d2m2": ("y ~ x + z + (x | g)", "gaussian", "r2d2m2", "auto"),
    "bernoulli": ("b ~ x + (x | g)", "bernoulli", None, "auto"),
    "binomial": ("p(k, n) ~ x + (1 | g)", "binomial", None, "auto"),
    "poisson, crossed": ("c ~ x + (1 | g) + (1 | h)", "poisson", None, "auto"),
    "negative binomial": ("c ~ x + (1 | g)", "negativebinomial", None, "auto"),
    "student t": ("y ~ x + (1 | g)", "t", None, "auto"),
    "cumulative": ("o ~ x + (1 | g)", "cumulative", None, "auto"),
}


def table() -> pd.DataFrame:
    """80 rows in 10 groups and, crossed, 8; predictors away from zero; responses only for the scales of priors."""
    rng = np.random.default_rng(SEED)
    g, h = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)
    y = rng.normal(size=80)
    return pd.DataFrame(
        {
            "g": g.astype(str),
            "h": h.astype(str),
            "x": 2 + rng.normal(size=80),
            "z": rng.normal(size=80),
            "y": (y - y.mean()) / y.std(ddof=1),
            "b": np.arange(80) % 2,
            "n": 1 + rng.poisson(4, 80),
            "k": 1,
            "c": 1 + np.arange(80) % 3,
            "o": pd.Categorical(np.arange(80) % 4, ordered=True),
        }
    )


def calibrate(case: str, n_sim: int):
    """One case."""
    formula, family, priors, form = CASES[case]
    model = pw.Model(formula, table(), family=family, priors=priors)
    return pw.validate.simulation_based_calibration(model, n_sim=n_sim, form=form, seed=SEED, progress=False)


def picture(found: dict) -> None:
    """A panel a case, a curve a quantity; those that leave their own band are dashed."""
    from matplotlib.figure import Figure

    from poolwise.plot.calibration import calibration_frame, draw_difference

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(3, 4, sharex=True, sharey=True)
    for axis, (case, done) in zip(axes.flat, found.items(), strict=False):
        for k, (_, one) in enumerate(calibration_frame(done).groupby("quantity", sort=False)):
            draw_difference(axis, one if k == 0 else one.assign(lower=0.0, upper=0.0))
        axis.set_title(case, fontsize=9)
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    figure.supxlabel("share of the posterior draws", fontsize=9)
    figure.supylabel("ECDF of ranks minus uniform, 95 % band of one curve", fontsize=9)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


def main() -> None:
    """Print a line a case and draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--n-sim", type=int, default=200)
    arguments = parser.parse_args()
    found = {}
    print(f"{'case':<30}{'s':>7}{'quantities':>12}{'least p':>9}{'adjusted':>10}  worst quantity; notes")
    for case in [arguments.case] if arguments.case else CASES:
        started = time.perf_counter()
        found[case] = calibrate(case, arguments.n_sim)
        worst = found[case].table().iloc[0]
        print(
            f"{case:<30}{time.perf_counter() - started:>7.1f}{found[case].ranks.shape[1]:>12}{worst['p_value']:>9.3f}"
            f"{worst['p_adjusted']:>10.3f}  {worst['quantity']}; {found[case].divergences} divergent, "
            f"{found[case].failed} failed, {found[case].correlated:.0%} with few effective draws",
            flush=True,
        )
        if arguments.case:
            print(found[case])
    if not arguments.case:
        picture(found)


if __name__ == "__main__":
    main()

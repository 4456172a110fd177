"""Families other than the Gaussian beside Bambi + nutpie: effective draws a second, both of Bambi's parametrisations.

    uv run python benchmarks/glmm.py [--case NAME]

Each fit runs in a process of its own; run twice and read the second run, as the first fills the caches. Compilation is
counted apart. The smallest bulk effective sample size is over every parameter and every group-specific effect.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings

DRAWS, TUNE, CHAINS = 1000, 1000, 4
CASES = {
    "bernoulli": ("y ~ anger + gender + btype + situ + (1|id) + (1|item)", "bernoulli"),
    "cbpp": ("p(incidence, size) ~ period + (1|herd)", "binomial"),
    "poisson": ("y ~ year + x + (1|brood) + (1|row) + (1|place)", "poisson"),
    "negativebinomial": ("y ~ x + (1|g)", "negativebinomial"),
    "ordinal": ("y ~ x + (1|g)", "cumulative"),
}


def load(case: str):
    """The table of a case; all but cbpp are simulated in the shape of a well-known data set."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(3)
    if case == "cbpp":
        from poolwise.data.examples import load_dataset

        return load_dataset("cbpp")
    if case == "bernoulli":
        # As VerbAgg: 316 persons by 24 items.
        person, item = np.repeat(np.arange(316), 24), np.tile(np.arange(24), 316)
        anger, gender = rng.normal(20, 5, 316)[person], rng.integers(0, 2, 316)[person]
        eta = -1 + 0.05 * (anger - 20) + 0.3 * gender - 1.0 * (item % 3) - 1.0 * (item % 2)
        eta = eta + rng.normal(0, 1.3, 316)[person] + rng.normal(0, 0.5, 24)[item]
        return pd.DataFrame(
            {
                "y": (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(int),
                "anger": anger,
                "gender": gender,
                "btype": pd.Categorical(np.array(list("abc"))[item % 3]),
                "situ": item % 2,
                "id": pd.Categorical(person.astype(str)),
                "item": pd.Categorical(item.astype(str)),
            }
        )
    if case == "poisson":
        # As grouseticks: 403 chicks in 118 broods in 63 places, an effect a row for overdispersion.
        place = rng.integers(0, 63, 118)
        brood = rng.integers(0, 118, 403)
        x, year = rng.normal(0, 1, 118), rng.integers(0, 3, 118)
        eta = 0.4 - 0.8 * x[brood] + np.array([0, 1.2, -1.0])[year[brood]]
        eta = eta + rng.normal(0, 0.5, 63)[place[brood]] + rng.normal(0, 0.8, 118)[brood] + rng.normal(0, 0.55, 403)
        return pd.DataFrame(
            {
                "y": rng.poisson(np.exp(eta)),
                "x": x[brood],
                "year": pd.Categorical(np.array(["a", "b", "c"])[year[brood]]),
                "brood": pd.Categorical(brood.astype(str)),
                "row": pd.Categorical(np.arange(403).astype(str)),
                "place": pd.Categorical(place[brood].astype(str)),
            }
        )
    g, x = rng.integers(0, 40, 600), rng.normal(0, 1, 600)
    eta = 0.5 + 0.4 * x + rng.normal(0, 0.6, 40)[g]
    if case == "negativebinomial":
        y = rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(eta)))
    else:
        y = pd.Categorical(np.digitize(eta + rng.logistic(0, 1, 600), [-1.0, 0.5, 2.0]), ordered=True)
    return pd.DataFrame({"y": y, "x": x, "g": pd.Categorical(g.astype(str))})


def ours(case: str) -> dict:
    """One poolwise fit."""
    import poolwise as pw

    formula, family = CASES[case]
    data = load(case)
    from poolwise.fit.bayes import Sampling
    from poolwise.fit.whitened import WhitenedSampler
    from poolwise.result.posterior import whitened_tree

    started = time.perf_counter()
    model = pw.Model(formula, data, family=family)
    centred = model.specification.centred
    sampler = WhitenedSampler(model.design, model.specification.priors, centred=centred)
    settings = Sampling(DRAWS, TUNE, CHAINS, 1, 2, progress=False)
    ready = time.perf_counter()
    x, stats = sampler.sample(settings)
    draws = sampler.constrain(x, 2)
    done = time.perf_counter()
    return quality(whitened_tree(model.design, draws, stats, settings), done - ready, ready - started)


def theirs(case: str, noncentered: bool) -> dict:
    """One fit by Bambi + nutpie."""
    import bambi
    import nutpie

    formula, family = CASES[case]
    if family == "cumulative":
        formula = formula.replace("~ ", "~ 0 + ")
    started = time.perf_counter()
    model = bambi.Model(formula, load(case), family=family, noncentered=noncentered)
    model.build()
    # nutpie refuses the dimension that Bambi gives to the probabilities of an ordinal response.
    model.backend.model.named_vars_to_dims.pop("p", None)
    compiled = nutpie.compile_pymc_model(model.backend.model)
    ready = time.perf_counter()
    tree = nutpie.sample(compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=2, seed=1, progress_bar=False)
    return quality(tree, time.perf_counter() - ready, ready - started)


def quality(tree, seconds: float, compiled: float) -> dict:
    """Smallest bulk effective sample size and largest R-hat, over everything, and divergences."""
    import numpy as np
    from arviz_stats.base import array_stats

    ess, rhat = np.inf, 0.0
    for name, variable in tree["posterior"].to_dataset().data_vars.items():
        if str(name) in ("mu", "p") or "__obs__" in variable.dims or name.endswith("_offset"):
            continue
        values = variable.transpose("chain", "draw", ...).to_numpy()
        for column in values.reshape(*values.shape[:2], -1).transpose(2, 0, 1):
            if np.ptp(column) > 1e-12:
                ess = min(ess, float(array_stats.ess(column, chain_axis=0, draw_axis=1)))
                rhat = max(rhat, float(array_stats.rhat(column, chain_axis=0, draw_axis=1)))
    diverging = int(tree["sample_stats"]["diverging"].sum())
    return {"seconds": seconds, "compile": compiled, "ess": ess, "rhat": rhat, "divergences": diverging}


PROGRAMS = {
    "poolwise": ours,
    "Bambi + nutpie": lambda case: theirs(case, noncentered=True),
    "Bambi + nutpie, centred": lambda case: theirs(case, noncentered=False),
}


def main() -> None:
    """Print a line a case and program, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        warnings.simplefilter("ignore")
        print(json.dumps(PROGRAMS[arguments.one[0]](arguments.one[1])))
        return
    print(f"{'case':<18}{'program':<26}{'compile s':>10}{'sample s':>10}{'ESS':>8}{'ESS/s':>9}{'R-hat':>8}{'div':>6}")
    for case in [arguments.case] if arguments.case else CASES:
        rates = {}
        for program in PROGRAMS:
            command = [sys.executable, __file__, "--one", program, case]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            rates[program] = found["ess"] / found["seconds"]
            print(
                f"{case:<18}{program:<26}{found['compile']:>10.1f}{found['seconds']:>10.2f}{found['ess']:>8.0f}"
                f"{rates[program]:>9.1f}{found['rhat']:>8.3f}{found['divergences']:>6}",
                flush=True,
            )
        best = max(rate for program, rate in rates.items() if program != "poolwise")
        print(f"{case:<18}poolwise / the better of the two: {rates['poolwise'] / best:.1f} x", flush=True)


if __name__ == "__main__":
    main()

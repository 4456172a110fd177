"""How often checks fire where nothing is wrong, and where something is; for docs/checks_pooling.md.

python benchmarks/check_rates_pooling.py [data sets] [only cases whose name begins so]
"""

import sys
import time
import warnings

import numpy as np
import pandas as pd

import poolwise as pw
from poolwise import checks
from poolwise.result.no_pooling import NoPoolingFit
from poolwise.result.no_pooling_glm import NoPoolingGLM

HOSPITALS = "p(died, patients) ~ risk + (1 | hospital)"


def rows(seed: int, J: int, n: int, *, sd: float = 1.0, contextual: float = 0.0, family: str = "gaussian"):
    """A predictor that varies at both levels, groups of equal or (n = 0) lognormal sizes."""
    rng = np.random.default_rng(seed)
    sizes = np.full(J, n) if n else np.clip(np.exp(rng.normal(2.3, 0.8, J)).round(), 2, 100).astype(int)
    g = np.repeat(np.arange(J), sizes)
    x = rng.normal(size=J)[g] + rng.normal(size=len(g))
    mean = np.bincount(g, x)[g] / sizes[g]
    eta = 0.3 * x + contextual * mean + sd * rng.normal(size=J)[g]
    if family == "gaussian":
        y = eta + rng.normal(size=len(g))
    elif family == "poisson":
        y = rng.poisson(np.exp(eta))
    else:
        y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    return pd.DataFrame({"g": g.astype(str), "x": x, "y": y})


def between_within(seed: int, J: int, sd: float, contextual: float, family: str) -> str:
    data = rows(seed, J, 12, sd=sd, contextual=contextual, family=family)
    found = checks.between_within(pw.Model("y ~ x + (1 | g)", data, family))
    return found[0].severity if found else ""


def between_sloped(seed: int, J: int) -> str:
    found = checks.between_within(pw.Model("y ~ x + (x | g)", sloped(seed, 1.0, J)))
    return found[0].severity if found else ""


def audit(seed: int, slope: float, tau_slope: float) -> str:
    data = pw.hospital_mortality(100, slope, tau_slope=tau_slope, seed=seed)
    return _any(checks.audit_shrinkage(pw.Model(HOSPITALS, data, "binomial"), bayes=False).findings)


def audit_rows(seed: int, family: str, J: int) -> str:
    model = pw.Model("y ~ x + (1 | g)", rows(seed, J, 0, sd=0.5, family=family), family)
    return _any(checks.audit_shrinkage(model, bayes=False).findings)


def decides(seed: int, J: int) -> str:
    fit = pw.Model("y ~ x + (1 | g)", rows(seed, J, 8)).fit(300, 500, 2, seed, progress=False, target_accept=0.95)
    return _any(checks.prior_decides(fit))


def sloped(seed: int, sd: float, J: int = 20) -> pd.DataFrame:
    """Groups of 12 rows, whose slopes vary with this sd."""
    # Not the stream of `rows`, or the slopes would be the groups' means of x.
    rng = np.random.default_rng([seed, 1])
    data = rows(seed, J, 12)
    data["y"] += sd * rng.normal(size=J)[data["g"].astype(int)] * data["x"]
    return data


def every(seed: int, family: str) -> list[str]:
    """All checks of a fit under the defaults, and those of a study."""
    if family == "gaussian":
        model = pw.Model("y ~ x + (x | g)", sloped(seed, 1.0))
    else:
        model = pw.Model("y ~ x + (1 | g)", rows(seed, 20, 30, sd=0.7, family=family), family)
    bayes, partial = model.fit(seed=seed, progress=False), model.fit_frequentist()
    none = (NoPoolingFit if family == "gaussian" else NoPoolingGLM)(model.design, model.design.factors[0])
    found = [*bayes.check(), *checks.singular_fit(partial), *checks.too_few_rows(none)]
    found += checks.vanishing_intervals(partial, bayes)
    if isinstance(none, NoPoolingGLM):
        complete = pw.Model("y ~ x", model.design.frame, family).fit_frequentist()
        found += checks.separation(complete, none, partial) + checks.not_maximised(none, partial)
    return sorted({f"{one.code} ({one.severity})" for one in found})


def pit(seed: int, family: str) -> str:
    model = pw.Model("y ~ x + (1 | g)", rows(seed, 20, 30, sd=0.7, family=family), family)
    return _any(checks.loo_pit(model.fit(seed=seed, progress=False)))


def vanishing(seed: int, sd: float) -> str:
    model = pw.Model("y ~ x + (x | g)", sloped(seed, sd))
    bayes = model.fit(300, 500, 2, seed, progress=False, target_accept=0.95)
    return _any(checks.vanishing_intervals(model.fit_frequentist(), bayes))


def coding(seed: int, block: str, n: int, sigma: float) -> str:
    rng = np.random.default_rng(seed)
    g, f = np.repeat(np.arange(15), 3 * n), np.tile(np.arange(3), n * 15)
    y = 2 * rng.normal(size=(15, 3))[g, f] + sigma * rng.normal(size=len(g))
    data = pd.DataFrame({"g": g.astype(str), "f": np.array(list("uvw"))[f], "y": y})
    return _any(checks.coding_invariance(pw.Model(f"y ~ f + {block}", data), draws=300).findings)


def _any(found) -> str:
    return "fires" if found else ""


CASES = [
    ("between_within, no groups, J 8", between_within, (8, 0.0, 0.0, "gaussian")),
    ("between_within, no groups, J 8, bernoulli", between_within, (8, 0.0, 0.0, "bernoulli")),
    ("between_within, groups at random, J 8", between_within, (8, 1.0, 0.0, "gaussian")),
    ("between_within, groups at random, J 30", between_within, (30, 1.0, 0.0, "gaussian")),
    ("between_within, groups at random, J 30, bernoulli", between_within, (30, 1.0, 0.0, "bernoulli")),
    ("between_within, slopes at random too, J 20", between_sloped, (20,)),
    ("between_within, slopes at random too, J 60", between_sloped, (60,)),
    ("between_within, contextual effect 1, J 30", between_within, (30, 1.0, 1.0, "gaussian")),
    ("audit_shrinkage, hospitals, slope 0", audit, (0.0, -0.15)),
    ("audit_shrinkage, hospitals, slope 0, one spread", audit, (0.0, 0.0)),
    ("audit_shrinkage, hospitals, slope -0.10", audit, (-0.10, -0.15)),
    ("audit_shrinkage, hospitals, slope -0.20", audit, (-0.20, -0.15)),
    ("audit_shrinkage, gaussian, J 20", audit_rows, ("gaussian", 20)),
    ("audit_shrinkage, poisson, J 20", audit_rows, ("poisson", 20)),
    ("prior_decides, J 20", decides, (20,)),
    ("prior_decides, J 2", decides, (2,)),
    ("vanishing_intervals, slopes sd 1", vanishing, (1.0,)),
    ("vanishing_intervals, slopes sd 0", vanishing, (0.0,)),
    ("coding_matters, (f | g), 10 rows a cell", coding, ("(f | g)", 10, 0.5)),
    ("coding_matters, (f || g), 1 row a cell", coding, ("(f || g)", 1, 2.0)),
    ("loo_pit, poisson, J 20", pit, ("poisson",)),
    ("every check, gaussian, (x | g), J 20", every, ("gaussian",)),
    ("every check, poisson, J 20", every, ("poisson",)),
    ("every check, bernoulli, J 20", every, ("bernoulli",)),
]


def main(count: str = "200", only: str = "") -> None:
    warnings.simplefilter("ignore")
    for label, case, options in CASES:
        if not label.startswith(only):
            continue
        start = time.perf_counter()
        found = pd.Series([case(seed, *options) for seed in range(int(count))]).explode().dropna()
        shares = found[found != ""].value_counts().sort_index() / int(count)
        said = ", ".join(f"{name} {share:.3f}" for name, share in shares.items()) or "never"
        print(f"{label}: {said} ({count} data sets, {time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

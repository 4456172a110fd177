"""The adversarial table against Bambi and statsmodels, for docs/reliability.md.

    uv run --with statsmodels python benchmarks/reliability_peers.py {bambi,statsmodels} [--build-only] [--out FILE]

Every case that a peer can express (table, formula, family; for MixedLM one block) runs in a forked process. What FILE
has is not run again, so that a run that was stopped goes on; every sixth case comes first, so that what has run is
spread over all kinds. An outcome is

    clear      an error of the formula's own parser, or one that names a column, function or argument of the formula, a
               word that poolwise's own error has to hold, or missing, incomplete, infinite values
    obscure    any other exception, or a process that died
    right      common effects within TOLERANCE standard errors of those of the case's twin, fitted by poolwise (REML)
    wrong      other common effects, or a result where the table wants an error, and no warning before sampling
    warned     the same with a warning before sampling
    built      with --build-only: the model is built without a word, and not sampled
    hang       nothing after 90 s of processor time, or ten minutes

The cases and their right outcomes are poolwise's: a peer may have reasons to accept what is refused here.
"""

import argparse
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "adversarial"))
import cases_names
import cases_tables
import cases_values
from hostile import Case

import poolwise as pw

KINDS = {
    "values": [case for case in cases_values.CASES if case not in cases_values.SCALES],
    "scales": cases_values.SCALES,
    "dtypes": cases_tables.DTYPES,
    "shapes": cases_tables.SHAPES,
    "names": cases_names.NAMES,
    "formulas": cases_names.FORMULAS,
}
# 100 draws after 50 of warm-up have a Monte Carlo error of a tenth of a standard error and more, and a prior.
TOLERANCE = {"bambi": 1.0, "statsmodels": 0.1}
SECONDS, WAIT = 90, 600
STRIDE = 6
BUILD_ONLY = "--build-only"
CAUSES = {"missing", "incomplete", "nan", "nans", "inf", "infinite"}
WORDS = re.compile(r"[^\W\d]\w*")
BLOCK = re.compile(r"^(.*~.*?)\s*\+\s*\(([^()|]+)\|([^()|]+)\)\s*$", re.DOTALL)


def expressible(peer: str, case: Case) -> bool:
    if set(case.options) - {"family", "missing"} or case.options.get("missing") not in (None, "drop"):
        return False
    if not isinstance(case.formula, str) or not isinstance(case.data(), pd.DataFrame):
        return False
    if peer == "bambi":
        return True
    block = BLOCK.match(case.formula)
    return (
        "family" not in case.options
        and block is not None
        and (block[3].startswith("`") or not set(":/") & set(block[3]))
    )


def by_bambi(case: Case, data: pd.DataFrame, built: list[str]) -> pd.Series:
    import bambi

    drop = case.options.get("missing") == "drop"
    model = bambi.Model(case.formula, data, family=case.options.get("family", "gaussian"), dropna=drop)
    model.build()
    built.append("built")
    if BUILD_ONLY in sys.argv:
        return pd.Series(dtype=float)
    draws = model.fit(draws=50, tune=50, chains=2, cores=1, random_seed=1, inference_method="nutpie")["posterior"]
    parent = model.components[model.family.likelihood.parent]
    found = {}
    for term in [*([parent.intercept_term] if parent.intercept_term else []), *parent.common_terms.values()]:
        values = draws[term.name if term.name in draws else term.label]
        levels = term.levels if values.ndim > 2 else [None]
        means = np.atleast_1d(values.mean(("chain", "draw")).to_numpy())
        found |= {term.name if k is None else f"{term.name}[{k}]": m for k, m in zip(levels, means, strict=True)}
    return pd.Series(found)


def by_statsmodels(case: Case, data: pd.DataFrame, built: list[str]) -> pd.Series:
    import statsmodels.formula.api as smf

    fixed, effects, factor = (part.strip() for part in BLOCK.match(case.formula).groups())
    quoted = [re.sub(r"`([^`]*)`", lambda found: f"Q({found[1]!r})", text) for text in (fixed, effects)]
    missing = case.options.get("missing", "none")
    model = smf.mixedlm(quoted[0], data, groups=factor.strip("`"), re_formula=f"~{quoted[1]}", missing=missing)
    fit = model.fit()
    built.append("built")
    return pd.Series(fit.fe_params)


def plain(name: str) -> str:
    return re.sub(r"Q\(['\"](.*?)['\"]\)", r"\1", str(name)).replace("[T.", "[").replace("`", "")


def agrees(peer: str, case: Case, found: pd.Series) -> bool:
    """Whether the common effects are those of the twin, by name; by size where names differ."""
    formula, make = case.twin
    twin = pw.Model(formula, make()).fit_frequentist()
    right, allowed, back = {}, {}, {new: old for old, new in case.rename.items()}
    for name in twin.fixef.index:
        how = case.scale.get(back.get(name, name), case.scale.get(name, (0, 1)))
        if how != "any":
            right[back.get(name, name)] = how[0] + how[1] * twin.fixef[name]
            allowed[back.get(name, name)] = TOLERANCE[peer] * abs(how[1]) * twin.se[name]
    found = found.rename(plain)
    names = [name.removesuffix("_predictor") for name in right]
    if not (set(names) <= set(found.index) and found.index.is_unique):
        if len(found) != len(right):
            return False
        order = np.argsort(list(right.values()))
        return bool(
            (abs(np.sort(found) - np.sort(list(right.values()))) <= np.array(list(allowed.values()))[order]).all()
        )
    return bool((abs(found[names].to_numpy(float) - np.array(list(right.values()))) <= list(allowed.values())).all())


def clear(case: Case, error: BaseException) -> bool:
    """Whether an error names what is at fault, generously."""
    if type(error).__module__.split(".")[0] in ("patsy", "formulae"):
        return True
    names = (
        CAUSES
        | {word.strip("'").lower() for word in case.refused}
        | {name.lower() for name in WORDS.findall(case.formula)}
    )
    text = str(error).lower()
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names if name.strip())


def outcome(peer: str, case: Case) -> dict:
    built: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = {"bambi": by_bambi, "statsmodels": by_statsmodels}[peer](case, case.data(), built)
        except Exception as error:
            what = "clear" if clear(case, error) else "obscure"
            return {"outcome": what, "said": f"{type(error).__name__}: {str(error)[:300]}", "built": bool(built)}
    mine = ("bambi", "formulae", "statsmodels", "patsy")
    told = [str(one.message) for one in said if any(f"/{name}/" in one.filename for name in mine)]
    told = [text for text in told if "deprecated" not in text.lower()]
    if BUILD_ONLY in sys.argv and peer == "bambi":
        return {"outcome": "warned" if told else "built", "said": " | ".join(told)[:300], "built": True}
    if case.twin is not None and agrees(peer, case, found):
        return {"outcome": "right", "said": str(found.to_dict())[:300], "built": True}
    numbers = f"{found.to_dict()}"[:300]
    return {"outcome": "warned" if told else "wrong", "said": numbers + " | ".join(told)[:300], "built": True}


def ended(pid: int) -> int:
    """The status of a process that is killed if it waits for something that does not come."""
    late = time.monotonic() + WAIT
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > late:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def forked(peer: str, case: Case) -> dict:
    """The outcome of a case in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcome.json"
        pid = os.fork()
        if pid == 0:
            try:
                # Formulas that are code write files.
                os.chdir(folder)
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
                descriptor = os.open(os.devnull, os.O_WRONLY)
                os.dup2(descriptor, 1)
                os.dup2(descriptor, 2)
                path.write_text(json.dumps(outcome(peer, case)))
            finally:
                os._exit(0)
        status = ended(pid)
        if path.exists():
            return json.loads(path.read_text())
        stopped = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return {"outcome": "hang" if stopped else "obscure", "said": "died"}


def in_order(peer: str) -> list[tuple[str, Case]]:
    """The cases that a peer can express: every sixth of a kind, then the ones after these, and so on."""
    able = {kind: [case for case in cases if expressible(peer, case)] for kind, cases in KINDS.items()}
    return [(kind, case) for first in range(STRIDE) for kind, cases in able.items() for case in cases[first::STRIDE]]


def stored(path: Path) -> pd.DataFrame:
    lines = path.read_text().splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines], columns=["peer", "kind", "case", "wanted", "outcome"])


def main() -> None:
    parser = argparse.ArgumentParser(description="The adversarial table against other packages.")
    parser.add_argument("peer", choices=TOLERANCE)
    parser.add_argument("--most", type=int, default=None, help="how many cases at the most")
    parser.add_argument(BUILD_ONLY, action="store_true", help="of Bambi: nothing is sampled, no number is compared")
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    given = parser.parse_args()
    __import__(given.peer)
    pw.Model("y ~ x + (1|g)", cases_values.table()).fit_frequentist()
    before = set(stored(given.out)["case"])
    for kind, case in in_order(given.peer)[: given.most]:
        if case.name in before:
            continue
        found = forked(given.peer, case)
        row = {"peer": given.peer, "kind": kind, "case": case.name}
        row |= {"wanted": "numbers" if case.twin else "an error or a warning"}
        with open(given.out, "a") as file:
            file.write(json.dumps(row | found) + "\n")
        print(kind, case.name, found["outcome"], flush=True)
    print(pd.crosstab((rows := stored(given.out))["kind"], rows["outcome"], margins=True).to_string())


if __name__ == "__main__":
    main()

"""A paragraph of methods, ready for a paper, with its references; versions and seed."""

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd

from poolwise.errors import RowsNeededError
from poolwise.report.text import shown
from poolwise.result.bayes import BayesFit
from poolwise.spec.design import Design
from poolwise.spec.parameters import structure_note

PACKAGES = (
    "poolwise",
    "pymc",
    "pytensor",
    "nutpie",
    "numba",
    "arviz",
    "bambi",
    "formulae",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
)
REFERENCES = {
    "pymc": "Abril-Pla O, Andreani V, Carroll C, et al. (2023). PyMC: a modern, and comprehensive probabilistic "
    "programming framework in Python. PeerJ Computer Science 9, e1516.",
    "lme4": "Bates D, Mächler M, Bolker B, Walker S (2015). Fitting linear mixed-effects models using lme4. Journal of "
    "Statistical Software 67(1), 1-48.",
    "pooling": "Gelman A, Pardoe I (2006). Bayesian measures of explained variance and pooling in multilevel "
    "(hierarchical) models. Technometrics 48(2), 241-251.",
    "total": "Henderson CR (1975). Best linear unbiased estimation and prediction under a selection model. Biometrics "
    "31(2), 423-447.",
    "nuts": "Hoffman MD, Gelman A (2014). The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian Monte "
    "Carlo. Journal of Machine Learning Research 15, 1593-1623.",
    "sensitivity": "Kallioinen N, Paananen T, Bürkner PC, Vehtari A (2024). Detecting and diagnosing prior and "
    "likelihood sensitivity with power-scaling. Statistics and Computing 34, 57.",
    "arviz": "Kumar R, Carroll C, Hartikainen A, Martin O (2019). ArviZ a unified library for exploratory analysis of "
    "Bayesian models in Python. Journal of Open Source Software 4(33), 1143.",
    "loo": "Vehtari A, Gelman A, Gabry J (2017). Practical Bayesian model evaluation using leave-one-out "
    "cross-validation and WAIC. Statistics and Computing 27, 1413-1432.",
    "psis": "Vehtari A, Simpson D, Gelman A, Yao Y, Gabry J (2024). Pareto smoothed importance sampling. Journal of "
    "Machine Learning Research 25(72), 1-58.",
    "rhat": "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC (2021). Rank-normalization, folding, and "
    "localization: an improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16(2), 667-718.",
}


def paragraph(fit: BayesFit, study=None) -> tuple[str, list[str]]:
    """Methods in words, and what they cite.

    Parameters
    ----------
    fit : BayesFit
    study : PoolingStudy, optional
        Where there is one, its other fits and its held-out errors are told too.

    Returns
    -------
    tuple of str and list of str
        The paragraph, and its references in order of the alphabet.
    """
    design, settings, cited = fit.design, fit.settings, ["pymc", "arviz"]
    said = [design_in_words(design, "a Bayesian hierarchical model")]
    sources = list(dict.fromkeys(row.source for row in fit.resolved_priors))
    said.append(f"Priors came from {', '.join(sources)}; the table of priors gives each with its numbers.")
    draws = f"{settings.chains} chains of {settings.draws:,} draws"
    if fit.convergence.pareto_k is None:
        cited += ["nuts", "rhat"]
        found = fit.convergence
        said.append(
            f"The posterior was sampled by the No-U-Turn sampler (Hoffman & Gelman 2014) in {draws} after "
            f"{settings.tune:,} of warm-up, seed {settings.seed}: {sampling_in_words(fit)}. "
            f"R-hat was at most {found.rhat:.3f}, effective sample sizes at least {found.ess:,.0f}, and "
            f"{found.divergences} transitions diverged (Vehtari et al. 2021)."
        )
    else:
        cited += ["psis"]
        said.append(
            "The posterior was drawn by Pareto-smoothed importance sampling (Vehtari et al. 2024) in "
            f"{draws}, seed {settings.seed}: {sampling_in_words(fit)}."
        )
    said.append("Intervals are equal-tailed 95 % credible intervals unless said otherwise.")
    if study is not None:
        cited += ["lme4", "loo", "total"]
        how = "restricted maximum likelihood" if design.collapses else "the Laplace approximation"
        said.append(
            "Beside it stand complete pooling (one regression), no pooling (one regression a group) and partial "
            f"pooling by {how} (Bates et al. 2015), whose total intervals add the uncertainty of the common effects "
            f"(Henderson 1975). Held-out errors are of {study.folds}; expected log predictive densities by PSIS-LOO "
            "(Vehtari, Gelman & Gabry 2017)."
        )
    if len(design.factors) == 1:
        cited += ["pooling", "sensitivity"]
        said.append(
            "Pooling is measured by the pooling factor of Gelman and Pardoe (2006), sensitivity to priors by "
            "power-scaling (Kallioinen et al. 2024)."
        )
    said.append(
        f"Computations used poolwise {version_of('poolwise')}, PyMC {version_of('pymc')} (Abril-Pla et al. 2023), "
        f"ArviZ {version_of('arviz')} (Kumar et al. 2019) and Python {platform.python_version()}."
    )
    return " ".join(said), sorted(REFERENCES[key] for key in set(cited))


def sampling_in_words(fit: BayesFit) -> str:
    """What was sampled and what was integrated out, in the words of the field; what happened to the run as it is told.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
    >>> sampling_in_words(model.fit(seed=1, progress=False)).partition(" and ")[0]
    'the group-specific effects were integrated out analytically'
    """
    said, *later = re.split("(?=; resumed|; extended|; not complete)", fit.form, maxsplit=1)
    if said.startswith("collapsed form, independent"):
        words = (
            "common and group-specific effects were integrated out analytically, the variance parameters drawn from "
            "proposals about the posterior mode and weighted, and the effects then drawn from their exact conditional "
            "distribution"
        )
    elif not fit.design.all_factors:
        words = "all parameters were sampled together"
    elif said.startswith("collapsed form"):
        words = (
            "the group-specific effects were integrated out analytically and then drawn from their exact conditional "
            "distribution given the parameters"
        )
    elif said.startswith("whitened form"):
        words = (
            "parameters and group-specific effects were sampled together, the effects standardised by the Laplace "
            "approximation of their conditional distribution at each value of the group standard deviations"
        )
    else:
        every = [factor.name for factor in fit.design.all_factors]
        centred = [name for name in every if f"({name} centred" in said or f", {name} centred" in said]
        words = (
            "parameters and group-specific effects were sampled together, the effects in non-centred parameterisation"
        )
        words += f" but for those of {', '.join(centred)}, which were centred" if centred else ""
    return words + "".join(later)


def design_in_words(design: Design, model: str) -> str:
    """What was modelled, of which rows and groups."""
    link = "" if design.family.gaussian else f" with a {design.family.link} link"
    said = [
        f"We modelled {shown(design.formula.response)} ({design.n:,} rows) by {model} of family "
        f"{design.family.name}{link}, {shown(design.formula.text, 400)}."
    ]
    for factor in design.factors:
        sizes = factor.sizes
        said.append(
            f"Effects {structure_note(factor)} varied over the {factor.J:,} groups of {shown(factor.name)} "
            f"({sizes.min():,} to {sizes.max():,} rows, median {np.median(sizes):g})."
        )
    return " ".join(said)


def versions(fit: BayesFit) -> list[tuple[str, str]]:
    """Seed, size of the run, fingerprint of the rows and versions: what it takes to see the same numbers again."""
    settings = fit.settings
    run = f"{settings.chains} chains, {settings.draws:,} draws each after {settings.tune:,} of warm-up"
    found = [
        ("seed", str(settings.seed)),
        ("run", run),
        ("form, in poolwise's words", fit.form),
        ("rows used", rows_used(fit.design)),
    ]
    found += [(name, version_of(name)) for name in PACKAGES]
    return [*found, ("Python", platform.python_version())]


def rows_used(design: Design) -> str:
    """A digest of the rows, or how many were collapsed."""
    try:
        return fingerprint(design.frame)
    except RowsNeededError:
        return f"{design.n:,} rows, as sums"


def fingerprint(frame: pd.DataFrame) -> str:
    """A digest of the rows, the same for the same rows in the same order.

    Examples
    --------
    >>> fingerprint(pd.DataFrame({"x": [1.0, 2.0]})) == fingerprint(pd.DataFrame({"x": [1.0, 2.0]}))
    True
    """
    text = frame.to_csv(index=False, lineterminator="\n")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{len(frame):,} rows of {len(frame.columns)} columns, SHA-256 {digest[:16]}…"


def version_of(package: str) -> str:
    """Installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

"""Why is the fit singular, what do the data say about the variance, and what do the remedies make of it?

Long for its docstrings: each remedy is a fit whose columns of the one table are made here.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.check.again import Source, model_of, quiet_draws, quiet_fit, rebuilt
from poolwise.check.finding import Finding
from poolwise.check.single_out import elpd_given_variances
from poolwise.check.singular import singular_fit
from poolwise.errors import ArgumentError, FitError
from poolwise.model import Model
from poolwise.result import tables
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.pointwise import fits_memory
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.formula import Block

PRESETS = ("weakly_informative", "pc")
AS_IS, DROPPED, UNCORRELATED, PENALISED = "as it is", "drop the term", "uncorrelated", "boundary-avoiding"
# A direction of the group covariance with less than this share of its variance is not there.
NOTHING = 1e-6
Fit = FrequentistFit | GLMMFit | BayesFit


@dataclass(frozen=True, eq=False)
class Singularity:
    """What :func:`explain_singularity` found.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit
        The model as it is, by REML (or the Laplace approximation).
    components : DataFrame
        Principal components of each block's covariance: factor, block, component, sd (relative to the residual sd),
        proportion of the variance, and its loading on each effect.
    sds : DataFrame
        Group sds: parameter, estimate, lower, upper (profile likelihood), and the exact test of zero: rlrt, p.
    bootstrap : float
        Share of refits to data simulated from the fit that are singular; ``bootstrap_error`` its Monte Carlo error.
    remedies : DataFrame
        One row a fit: formula, the group sds, singular, converged, rmse, elpd, range of the groups' coefficients of
        each varying term and mean width of their intervals by kind.
    coef : DataFrame
        Coefficients of each group under each remedy and kind of interval, long.
    fits : dict of str to fit
        By remedy.
    figure : DataFrame
        Profile likelihood of each group sd: parameter, value, zeta, and deviance above the minimum.
    notes : tuple of str
        What was left out, and why; what of the table of remedies cannot be compared.
    n_sim : int
        Simulations behind each p.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    >>> why = pw.explain_singularity(model, n_boot=50, draws=500)
    >>> why.sds["parameter"].tolist()
    ['1|Batch_sigma']
    >>> why.remedies.index.tolist()
    ['as it is', 'drop the term', 'boundary-avoiding', 'Bayes, weakly_informative', 'Bayes, pc']
    """

    fit: FrequentistFit | GLMMFit
    components: pd.DataFrame
    sds: pd.DataFrame
    bootstrap: float
    bootstrap_error: float
    remedies: pd.DataFrame
    coef: pd.DataFrame
    fits: dict[str, Fit]
    figure: pd.DataFrame
    notes: tuple[str, ...]
    n_sim: int

    @property
    def findings(self) -> list[Finding]:
        """Where the fit is singular, the finding of :func:`~poolwise.checks.singular_fit` with this evidence."""
        found = singular_fit(self.fit)
        if not found:
            return []
        said = "".join(
            f" The profile likelihood of {row.parameter} holds everything from {row.lower:.3g} to {row.upper:.3g}"
            f"{'' if np.isnan(row.p) else f'; that it is zero has p {_p_text(row.p, self.n_sim)}'}."
            for row in self.sds.itertuples()
        )
        if not np.isnan(self.bootstrap):
            said += f" {self.bootstrap:.0%} of refits to data simulated from this very fit are singular."
        return [replace(found[0], meaning=found[0].meaning + said, table=self.remedies)]

    def plot(self):
        """The remedies side by side; see :func:`poolwise.plots.plot_remedies`.

        Returns
        -------
        matplotlib Figure

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
        >>> why = pw.explain_singularity(model, n_boot=50, draws=500)
        >>> figure = why.plot()
        """
        from poolwise.plot.remedies import plot_remedies

        return plot_remedies(self)

    def __repr__(self) -> str:
        head = f"{'Singular' if self.fit.is_singular else 'Regular'} fit of {self.fit.design.formula.text}"
        parts = [head]
        for title, table in (("Principal components of the group covariance", self.components), ("Sds", self.sds)):
            if len(table):
                parts.append(f"{title}\n{table.to_string(index=False, float_format='%.4g', na_rep='-')}")
        if not np.isnan(self.bootstrap):
            error = f"Monte Carlo error {self.bootstrap_error:.3f}"
            parts.append(f"Share of singular refits to data simulated from the fit: {self.bootstrap:.3f} ({error})")
        shown = self.remedies.drop(columns="formula").T.rename_axis(columns=None)
        parts.append(f"Remedies\n{shown.map(_cell).to_string()}")
        parts.append("\n".join(f"{name}: {formula}" for name, formula in self.remedies["formula"].items()))
        return "\n\n".join([*parts, *self.notes])

    def _repr_html_(self) -> str:
        shown = (self.components, self.sds, self.remedies.reset_index())
        html = "".join(table.to_html(index=False, float_format="%.4g", na_rep="–") for table in shown)
        return html + "".join(f"<p>{escape(note)}</p>" for note in self.notes)


def explain_singularity(
    source: Source,
    *,
    presets: Sequence[Any] = PRESETS,
    level: float = 0.95,
    n_boot: int = 400,
    n_sim: int = 10_000,
    draws: int = 1000,
    seed: int = 1,
) -> Singularity:
    """Look at a variance estimate on the boundary from every side, and fit the remedies side by side.

    Parameters
    ----------
    source : Model or fit
        With at least one grouping factor.
    presets : sequence of str, path or PriorPreset
        Of the Bayesian remedies.
    level : float, default 0.95
        Probability of all intervals.
    n_boot, n_sim : int, default 400, 10 000
        Refits of the bootstrap, and simulations of the exact test.
    draws : int, default 1000
        Of each chain of the Bayesian fits.
    seed : int, default 1

    Returns
    -------
    Singularity

    Raises
    ------
    FitError
        For a model without groups.

    Notes
    -----
    Principal components: singular value decomposition of each block of the relative covariance factor, as lme4's
    ``rePCA``. The exact test is of uncorrelated effects; of correlated ones it is made after uncorrelating them. elpd
    of REML fits is the log density of each row given the others at the estimated variances, common effects and groups
    integrated out; of Bayesian fits PSIS-LOO, which also knows the uncertainty of the variances.

    The term that is dropped is, in the first singular block, the one that explains the least variance, a slope before
    the intercept.

    References
    ----------
    Bates, Kliegl, Vasishth & Baayen (2015), arXiv 1506.04967, for principal components; Crainiceanu & Ruppert (2004),
    J. R. Stat. Soc. B 66, 165-185, for the test; Chung et al. (2013), Psychometrika 78, 685-709, for the penalty;
    Dubrule (1983), Math. Geology 15, 687-699, for leaving rows out at known variances.

    Examples
    --------
    >>> import poolwise as pw
    >>> model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff2"))
    >>> why = pw.explain_singularity(model, n_boot=50, draws=500)
    >>> why.remedies["sd(Intercept | Batch)"].round(3).to_dict()["boundary-avoiding"]
    1.489
    """
    tables.check_level(level)
    if isinstance(presets, str):
        raise ArgumentError(f"presets must be a list of presets, such as ['weakly_informative', 'pc']; got {presets!r}")
    model = model_of(source)
    if not model.design.factors:
        raise FitError("this model has no group-specific effects, so no group covariance that could be singular")
    base = quiet_fit(model)
    gaussian = isinstance(base, FrequentistFit)
    notes: list[str] = []
    fits: dict[str, Fit] = {AS_IS: base}
    simpler = _without_weakest(model, base)
    if simpler is not None:
        fits[DROPPED] = quiet_fit(simpler)
    plain = model
    if any(block.correlated and len(block.terms) > 1 for block in model.design.formula.blocks):
        plain = _reformulated(model, [replace(b, correlated=False) for b in model.design.formula.blocks])
        fits[UNCORRELATED] = quiet_fit(plain)
    if gaussian:
        fits[PENALISED] = quiet_fit(model, penalty="boundary_avoiding")
    for preset in presets:
        other = model.with_priors(preset)
        fits[f"Bayes, {other.specification.preset.name}"] = quiet_draws(other, draws=draws, tune=1000, seed=seed)
    share = error = float("nan")
    if isinstance(base, FrequentistFit):
        sds, figure = _sds(base, fits.get(UNCORRELATED, base), level, n_sim, seed, notes)
        share = base.bootstrap(n_boot, seed=seed, progress=False).singular
        error = float(np.sqrt(share * (1 - share) / n_boot))
    else:
        sds, figure = pd.DataFrame(columns=["parameter", "estimate", "lower", "upper", "rlrt", "p"]), pd.DataFrame()
        notes.append(
            f"Profile, exact test, bootstrap and penalty are of Gaussian models; not {model.design.family.name}."
        )
    remedies = pd.DataFrame([_row(name, fit, model, level) for name, fit in fits.items()]).set_index("fit")
    notes += _not_there(remedies, fits)
    coef = pd.concat([_coef(name, fit, level) for name, fit in fits.items()], ignore_index=True)
    return Singularity(
        base, principal_components(base), sds, share, error, remedies, coef, fits, figure, tuple(notes), n_sim
    )


def principal_components(fit: FrequentistFit | GLMMFit) -> pd.DataFrame:
    """Principal components of each block of the group covariances, as lme4's ``rePCA``.

    Parameters
    ----------
    fit : FrequentistFit or GLMMFit

    Returns
    -------
    DataFrame
        Columns factor, block, component, sd (relative to the residual sd; on the scale of the link for other
        families), proportion, and the loading of each effect.
    """
    T, rows, first = fit.structure.factor(fit.theta), [], 0
    for factor in fit.design.factors:
        for number, (start, size) in enumerate(zip(factor.structure.starts, factor.structure.sizes, strict=True)):
            at = slice(first + start, first + start + size)
            loadings, sd, _ = np.linalg.svd(T[at, at])
            effects, total = factor.effects[start : start + size], float((sd**2).sum())
            for k in range(size):
                share = float(sd[k] ** 2 / total) if total > 0 else np.nan
                own = dict(zip(effects, loadings[:, k], strict=True))
                rows.append({"factor": factor.name, "block": number + 1, "component": k + 1, "sd": sd[k]})
                rows[-1] |= {"proportion": share} | own
        first += factor.structure.q
    return pd.DataFrame(rows)


def _sds(
    base: Any, plain: Any, level: float, n_sim: int, seed: int, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profile interval and exact test of every group sd, and the profiles themselves."""
    wanted = [name for factor in base.design.factors for name in factor.sd_names]
    table = base.confint("profile", level, parameters=wanted)
    curves = [base.profile(name, level=max(level, 0.99)) for name in wanted]
    tests = []
    for name in wanted:
        try:
            test = plain.rlrt(name, n_sim=n_sim, seed=seed)
            tests.append((test.statistic, test.p_value))
        except FitError as error:
            tests.append((np.nan, np.nan))
            notes.append(str(error))
    table["rlrt"], table["p"] = zip(*tests, strict=True)
    if plain is not base:
        notes.append("The exact test is of the uncorrelated model: it knows one variance at a time.")
    figure = pd.concat([curve.assign(parameter=name) for name, curve in zip(wanted, curves, strict=True)])
    return table, figure.reset_index(drop=True)


def _p_text(p: float, n_sim: int) -> str:
    return f"= {p:.2g}" if p > 0 else f"< {1 / n_sim:.1g}"


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return "-" if np.isnan(value) else f"{value:.4g}"


def _row(name: str, fit: Fit, model: Model, level: float) -> dict[str, Any]:
    row: dict[str, Any] = {"fit": name, "formula": fit.design.formula.canonical}
    for factor in model.design.factors:
        row |= {f"sd({effect} | {factor.name})": np.nan for effect in factor.effects}
    row |= _sds_of(fit)
    elpd = np.nan
    if isinstance(fit, BayesFit):
        if fits_memory(fit):
            elpd = _loo(fit)
    elif isinstance(fit, FrequentistFit) and len(fit.design.factors) < 2:
        elpd = elpd_given_variances(fit)
    row |= {"singular": bool(fit.is_singular), "converged": bool(fit.converged), "rmse": fit.rmse(), "elpd": elpd}
    chosen = model.design.factors[0]
    for effect in chosen.effects:
        estimates = _of_term(fit, fit.intervals[0], level, effect)["estimate"]
        row |= {f"lowest {effect}": estimates.min(), f"highest {effect}": estimates.max()}
    for kind in ("conditional", "total", "bayes"):
        for effect in chosen.effects:
            table = _of_term(fit, kind, level, effect) if kind in fit.intervals else pd.DataFrame()
            width = float((table["upper"] - table["lower"]).mean()) if len(table) else np.nan
            row[f"width {kind} {effect}"] = width
    return row


def _not_there(remedies: pd.DataFrame, fits: dict[str, Fit]) -> list[str]:
    """What the table of remedies leaves out, and what in it cannot be compared."""
    said = []
    elpd = {name: not np.isnan(value) for name, value in remedies["elpd"].items()}
    bayes = {str(name): isinstance(fit, BayesFit) for name, fit in fits.items()}
    classical = [name for name in fits if not bayes[name]]
    if any(elpd[name] for name in classical) and any(elpd[name] for name in fits if bayes[name]):
        said.append(
            "elpd of REML fits takes the estimated variances as known, that of Bayesian fits averages over what they "
            "may be: compare it among the ones or among the others."
        )
    if not all(elpd[name] for name in classical):
        laplace = any(isinstance(fits[name], GLMMFit) for name in classical)
        why = "by the Laplace approximation" if laplace else "of several grouping factors"
        said.append(
            f"No elpd of frequentist fits {why}: the density of a row given all others, which it needs, is computed "
            "for Gaussian models of one factor."
        )
    if not all(elpd[name] for name in fits if bayes[name]):
        said.append("No elpd of Bayesian fits: rows times draws exceed memory; fit.kfold() estimates it by refits.")
    if any(bayes.values()):
        said.append(
            "Widths: a frequentist fit has no Bayesian interval, a Bayesian fit neither a conditional nor a total one."
        )
    if DROPPED in fits:
        said.append("A term that was dropped has no sd; its coefficient is the same in every group.")
    return [" ".join(said)] if said else []


def _of_term(fit: Fit, kind: str, level: float, term: str) -> pd.DataFrame:
    table = fit.coef(kind, level)
    own = table["factor"] == (fit.design.factors[0].name if fit.design.factors else "")
    return table[(table["term"] == term) & own]


def _loo(fit: BayesFit) -> float:
    with warnings.catch_warnings():
        # Rows with a high Pareto k are the finding unreliable_elpd.
        warnings.simplefilter("ignore", UserWarning)
        return float(fit.loo().elpd)


def _sds_of(fit: Fit) -> dict[str, float]:
    """Estimated sd of each effect; of a Bayesian fit the posterior mean."""
    found: dict[str, float] = {}
    for factor in fit.design.factors:
        if isinstance(fit, BayesFit):
            sds = np.sqrt((fit.factor_draws(factor) ** 2).sum(axis=2)).mean(axis=0)
        else:
            rows = fit.varcorr[(fit.varcorr["factor"] == factor.name) & fit.varcorr["var2"].isna()]
            sds = rows["sdcor"].to_numpy()
        found |= {f"sd({e} | {factor.name})": float(sd) for e, sd in zip(factor.effects, sds, strict=True)}
    return found


def _coef(name: str, fit: Fit, level: float) -> pd.DataFrame:
    parts = [fit.coef(kind, level).assign(remedy=name, interval=kind) for kind in fit.intervals]
    return pd.concat(parts, ignore_index=True)[["remedy", "interval", *names.COEF_COLUMNS]]


def _without_weakest(model: Model, fit: FrequentistFit | GLMMFit) -> Model | None:
    """The model without the term of a singular block that explains least; None where no block is singular."""
    T, first, blocks = fit.structure.factor(fit.theta), 0, list(model.design.formula.blocks)
    for factor in fit.design.factors:
        at = slice(first, first + factor.structure.q)
        first = at.stop
        place = _weakest(factor, T[at, at])
        if place is None:
            continue
        block, term = place
        left = [own for own in block.terms if own != term]
        at_block = blocks.index(block)
        if left:
            text = " + ".join(left if "1" in left else ["0", *left])
            blocks[at_block] = replace(block, terms=tuple(left), expression=text)
        else:
            del blocks[at_block]
        return _reformulated(model, blocks)
    return None


def _weakest(factor: GroupingFactor, T: Array) -> tuple[Block, str] | None:
    """The first block without full rank, and its term that explains the least variance of the rows."""
    column = 0
    for block, columns in factor.parts:
        width = columns.matrix.shape[1]
        at = slice(column, column + width)
        column += width
        own = T[at, at]
        sd = np.linalg.svd(own, compute_uv=False)
        if sd.min() ** 2 > NOTHING * float((sd**2).sum()):
            continue
        explained = {}
        for label, (name, where, _) in zip(block.terms, columns.terms, strict=True):
            Z, part = columns.matrix[:, where], own[where, :]
            spread = Z - Z.mean(axis=0) if name != names.INTERCEPT else Z
            explained[label] = float(((spread @ part) ** 2).sum(axis=1).mean())
        slopes = {label: value for label, value in explained.items() if label != "1"} or explained
        return block, min(slopes, key=slopes.__getitem__)
    return None


def _reformulated(model: Model, blocks: list[Block]) -> Model:
    """The model with other blocks, under its own preset."""
    formula = replace(model.design.formula, blocks=tuple(blocks))
    return rebuilt(replace(model.design, formula=formula), model.specification.preset)

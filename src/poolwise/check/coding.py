"""Do conclusions about groups depend on how the levels of a varying factor are coded?

Inside a block the columns of a factor have priors of their own (and independence under ``||``), and other codings have
other columns. REML of correlated effects does not mind; uncorrelated effects and priors do.

References
----------
Barr, Levy, Scheepers & Tily (2013), J. Memory and Language 68(3), 255-278, on uncorrelated effects of factors;
Schad, Vasishth, Hohenstein & Kliegl (2020), J. Memory and Language 110, 104038, on contrasts.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from poolwise.algebra.crossproducts import Array
from poolwise.check.again import Source, model_of, quiet_draws, quiet_fit, rebuilt
from poolwise.check.finding import Finding
from poolwise.data.columns import CATEGORICAL, TEXT, kind_of
from poolwise.errors import FitError
from poolwise.model import Model
from poolwise.result.bayes import BayesFit
from poolwise.result.tables import check_level
from poolwise.spec.formula import Block
from poolwise.spec.syntax import quote

# A shift of a group's contrast by this many posterior sds changes what is concluded of it.
SHIFT = 0.5
CODINGS = ("treatment", "sum", "cell means")


@dataclass(frozen=True, eq=False)
class CodingInvariance:
    """The same model under other codings of a factor inside its block, by :func:`coding_invariance`.

    Parameters
    ----------
    column, factor : str
        The factor that varies, and the grouping factor.
    codings : DataFrame
        A row a coding: formula, REML criterion (or -2 log-likelihood), largest shift of a group's contrast from the
        first coding in posterior sds, share of contrasts whose interval moved onto 0 or off it, and whether the chains
        converged.
    contrasts : DataFrame
        Difference of each level from the first within each group, under each coding: coding, group, level, estimate,
        sd, lower, upper.
    shift : float
        Threshold of the finding.

    Examples
    --------
    >>> import numpy as np, pandas as pd, poolwise as pw
    >>> rng = np.random.default_rng(1)
    >>> data = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 12), "f": np.tile(list("uvw"), 32)})
    >>> data["y"] = rng.normal(size=96)
    >>> found = pw.checks.coding_invariance(pw.Model("y ~ f + (f | g)", data), draws=200)
    >>> found.contrasts.columns.tolist()
    ['coding', 'group', 'level', 'estimate', 'sd', 'lower', 'upper']
    """

    column: str
    factor: str
    codings: pd.DataFrame
    contrasts: pd.DataFrame
    shift: float

    @property
    def findings(self) -> list[Finding]:
        """Empty or one, code ``coding_matters``."""
        worst = self.codings.loc[self.codings["shift"].idxmax()]
        if not worst["shift"] > self.shift:
            return []
        return [
            Finding(
                code="coding_matters",
                severity="warning",
                title=(
                    f"differences between levels of {self.column} within groups of {self.factor} move by up to "
                    f"{worst['shift']:.2f} posterior sds under {worst['coding']} coding; {worst['changed']:.0%} of "
                    "their intervals move onto 0 or off it"
                ),
                value=float(worst["shift"]),
                threshold=self.shift,
                meaning=(
                    "How the levels are coded is a convention, but inside the block it decides what the priors, and "
                    "the independence of uncorrelated effects, refer to: conclusions about groups follow from it."
                ),
                advice=(
                    f"Let the effects be correlated, (... | {self.factor}), and choose the coding whose columns the "
                    f"prior means: cell means, (0 + {self.column} | {self.factor}), treats all levels alike."
                ),
                reference="Barr, Levy, Scheepers & Tily (2013), J. Mem. Lang. 68, 255-278.",
                table=self.codings,
            )
        ]

    def __repr__(self) -> str:
        table = self.codings.to_string(index=False, float_format="%.4g")
        return f"Codings of {self.column} inside its block by {self.factor}\n{table}"

    def _repr_html_(self) -> str:
        return self.codings.to_html(index=False, float_format="%.4g")


def coding_invariance(
    source: Source,
    *,
    level: float = 0.95,
    shift: float = SHIFT,
    draws: int = 1000,
    seed: int = 1,
) -> CodingInvariance:
    """Fit the model under treatment, sum and cell-means coding of a factor that varies by group.

    Parameters
    ----------
    source : Model or fit
        With a block in which a factor stands as a term of its own, such as ``(f | g)`` or ``(0 + f || g)``; the first
        such block and factor. The common part is left as it is.
    level : float, default 0.95
        Probability of the intervals.
    shift : float, default 0.5
        Posterior sds by which a contrast may move.
    draws : int, default 1000
        Of each of four chains of each fit.
    seed : int, default 1

    Returns
    -------
    CodingInvariance

    Raises
    ------
    FitError
        Where no factor varies by group.

    Examples
    --------
    >>> import numpy as np, pandas as pd, poolwise as pw
    >>> rng = np.random.default_rng(1)
    >>> data = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 12), "f": np.tile(list("uvw"), 32)})
    >>> data["y"] = rng.normal(size=96)
    >>> found = coding_invariance(pw.Model("y ~ f + (f | g)", data), draws=200)
    >>> found.codings["coding"].tolist()
    ['treatment', 'sum', 'cell means']
    """
    level, model = check_level(level), model_of(source)
    at, column = _varying_factor(model)
    block = model.design.formula.blocks[at]
    preset = model.specification.preset
    rows, parts = [], []
    first: pd.DataFrame | None = None
    for coding in CODINGS:
        formula = model.design.formula
        blocks = list(formula.blocks)
        blocks[at] = _coded(block, column, coding)
        other = rebuilt(replace(model.design, formula=replace(formula, blocks=tuple(blocks))), preset)
        fit = quiet_draws(other, draws=draws, tune=1000, seed=seed)
        table = _contrasts(fit, block.factor, column, level)
        first = table if first is None else first
        moved = (table["estimate"] - first["estimate"]).abs() / first["sd"]
        changed = _conclusion(table) != _conclusion(first)
        rows.append(
            {
                "coding": coding,
                "formula": other.design.formula.canonical,
                "criterion": quiet_fit(other).criterion,
                "shift": float(moved.max()),
                "changed": float(changed.mean()),
                "converged": fit.converged,
            }
        )
        parts.append(table.assign(coding=coding))
    contrasts = pd.concat(parts, ignore_index=True)
    contrasts = contrasts[["coding", "group", "level", "estimate", "sd", "lower", "upper"]]
    return CodingInvariance(column, block.factor, pd.DataFrame(rows), contrasts, shift)


def _varying_factor(model: Model) -> tuple[int, str]:
    """The first block with a categorical column as a term of its own, and nothing else made of it."""
    frame = model.design.frame
    kinds = {quote(name): name for name in frame.columns if kind_of(frame[name]) in (CATEGORICAL, TEXT)}
    for at, block in enumerate(model.design.formula.blocks):
        for term in block.terms:
            alone = not any(term in other.split(":") for other in block.terms if other != term)
            if term in kinds and alone:
                return at, kinds[term]
    raise FitError(
        "no factor varies by group in this model, so there is no coding to change: it needs a block with a column of "
        "labels as a term of its own, such as (f | g)"
    )


def _coded(block: Block, column: str, coding: str) -> Block:
    term = quote(column)
    others = [own for own in block.terms if own not in ("1", term)]
    made = {"treatment": ["1", term], "sum": ["1", f"S({term})"], "cell means": ["0", term]}[coding]
    terms = (*(own for own in made if own != "0"), *others)
    return replace(block, terms=terms, expression=" + ".join([*made, *others]))


def _contrasts(fit: BayesFit, name: str, column: str, level: float) -> pd.DataFrame:
    """Each level less the first, common and group-specific part, within each group."""
    design = fit.design
    factor = next(own for own in design.factors if own.name == name)
    codes, labels = pd.factorize(design.frame[column], sort=True)
    rows = np.array([np.flatnonzero(codes == k)[0] for k in range(len(labels))])
    common = _alike(design.X, rows, codes)
    specific = _alike(factor.Z, rows, codes)
    effects, tables = fit.effects(factor), []
    for k in range(1, len(labels)):
        draws = (fit.coefficients @ (common[k] - common[0]))[:, None] + effects @ (specific[k] - specific[0])
        lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        found = {"group": factor.labels, "level": str(labels[k]), "estimate": draws.mean(axis=0)}
        tables.append(pd.DataFrame({**found, "sd": draws.std(axis=0), "lower": lower, "upper": upper}))
    return pd.concat(tables, ignore_index=True)


def _alike(columns: Array, rows: Array, codes: Array) -> Array:
    """One row of the design a level, in which columns that do not code the levels stand at their mean."""
    found = columns[rows].copy()
    for k in range(columns.shape[1]):
        if not np.array_equal(columns[:, k], columns[rows, k][codes]):
            found[:, k] = columns[:, k].mean()
    return found


def _conclusion(table: pd.DataFrame) -> pd.Series:
    """-1, 0 or 1: the interval is below 0, holds it, or is above."""
    return (table["lower"] > 0).astype(int) - (table["upper"] < 0).astype(int)

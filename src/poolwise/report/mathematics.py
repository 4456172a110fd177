"""The model in mathematics: likelihood, linear predictors, populations of groups, priors."""

from collections.abc import Sequence
from dataclasses import dataclass

from poolwise import names
from poolwise.priors.distributions import JOINT
from poolwise.priors.resolve import ResolvedPrior
from poolwise.report.mathml import SPACE, Math, call, ident, join, number, sign, sub, sup, word
from poolwise.report.text import shown
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor

# More common coefficients than this are written as a vector.
TERMS_WRITTEN = 6
GREEK = {
    "mu": "μ",
    "sigma": "σ",
    "nu": "ν",
    "eta": "η",
    "alpha": "α",
    "beta": "β",
    "lam": "λ",
    "kappa": "κ",
    "psi": "ψ",
}
DISTRIBUTIONS = {
    "gaussian": "Normal",
    "t": "StudentT",
    "negativebinomial": "NegativeBinomial",
    "cumulative": "OrderedCategorical",
    "sratio": "SequentialCategorical",
}


@dataclass(frozen=True)
class Equations:
    """Equations, and what their symbols mean.

    Parameters
    ----------
    lines : tuple of Math
        One a line.
    symbols : tuple of (Math, str)
        Symbol and meaning.
    note : str
        What the equations leave out.
    """

    lines: tuple[Math, ...]
    symbols: tuple[tuple[Math, str], ...]
    note: str = ""

    kind = "equations"

    @property
    def tex(self) -> str:
        """The equations as LaTeX."""
        body = " \\\\\n".join(
            line.tex.replace(r"\sim", r"&\sim", 1) if r"\sim" in line.tex else line.tex.replace("=", "&=", 1)
            for line in self.lines
        )
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def model_equations(design: Design, priors: Sequence[ResolvedPrior]) -> Equations:
    """The likelihood, the linear predictor, the population of groups and the priors.

    Parameters
    ----------
    design : Design
    priors : sequence of ResolvedPrior

    Returns
    -------
    Equations
        MathML and LaTeX; each symbol with the parameter of the posterior that it stands for.
    """
    i = ident("i")
    lines, letters = [_likelihood(design)], dict[str, Math]()
    symbols = [(sub(ident("y"), i), f"{shown(design.formula.response)} of row i")]
    for one in (design, *design.predicted):
        link, linear = one.family.link, sub(ident("η"), i) if not one.prefix else sub(_own(one, "η"), i)
        if link == "identity":
            linear = sub(_parent(one), i)
        else:
            inverse = sup(word(link), sign("−") + number(1)) + sign("(") + linear + sign(")")
            lines.append(sub(_parent(one), i) + sign("=") + inverse)
        lines.append(linear + sign("=") + _predictor(one))
        for k, name in enumerate(one.coefficient_names):
            letters[name] = _coefficient(one, k)
            symbols.append((letters[name], f"{shown(name)}, common effect"))
        several = len(one.factors) > 1
        for f, factor in enumerate(one.factors):
            lines += _population(one, factor, f, several=several)
            group = f"group of row i among the {factor.J:,} of {shown(factor.name)}"
            symbols.append((_index(f, several=several), group))
            for (letter, meaning), name in zip(_sds(one, factor, f, several=several), factor.sd_names, strict=True):
                letters[name] = letter
                symbols.append((letter, f"{shown(name)}: {meaning}"))
            if factor.structure.n_correlations:
                letters[factor.correlation_name] = _omega(one, f, several=several)
                said = f"correlations of the effects of {shown(factor.name)}"
                symbols.append((letters[factor.correlation_name], said))
    for own in design.constant_auxiliaries:
        letters[own.name] = ident(GREEK.get(own.name, own.name))
        symbols.append((letters[own.name], f"{own.name}, parameter of the family"))
    lines += [_prior(letters[row.parameter], row) for row in priors if row.parameter in letters and _alone(row)]
    return Equations(tuple(lines), tuple(symbols), " ".join(_notes(design, priors)))


def _alone(row: ResolvedPrior) -> bool:
    return row.prior.support != JOINT


def _prior(letter: Math, row: ResolvedPrior) -> Math:
    params = row.prior.params.items()
    arguments = [ident(GREEK.get(name, name)) + sign("=") + number(value) for name, value in params]
    return letter + sign("∼") + (call(row.prior.distribution, arguments) if arguments else word(row.prior.distribution))


def _own(design: Design, letter: str) -> Math:
    """A letter of the regression of a further parameter carries that parameter's sign."""
    return sup(ident(letter), sign("(") + _parent(design) + sign(")")) if design.prefix else ident(letter)


def _coefficient(design: Design, k: int) -> Math:
    if k == design.intercept:
        return _own(design, "α")
    return sub(_own(design, "β"), number(_place(design, k)))


def _sds(design: Design, factor: GroupingFactor, f: int, *, several: bool) -> list[tuple[Math, str]]:
    """Symbol and meaning of each group sd, kind after kind."""
    found = []
    for kind in ("",) if factor.kinds is None else factor.kinds.labels:
        for k, effect in enumerate(factor.effects):
            index = _effect_index(factor, f, k, several=several)
            what = "intercepts" if effect == names.INTERCEPT else f"slopes of {shown(effect)}"
            meaning = f"standard deviation of the {what} between groups"
            if kind:
                index, meaning = index + sign(",") + word(str(kind)), f"{meaning} of kind {shown(kind)}"
            found.append((sub(_own(design, "τ"), index), meaning))
    return found


def _place(design: Design, k: int) -> int:
    return k + 1 if design.intercept < 0 else k


def _parent(design: Design) -> Math:
    """What the formula predicts."""
    name = design.family.name if design.prefix else design.family.parent
    return ident(GREEK.get(name, name))


def _likelihood(design: Design) -> Math:
    family, i = design.family, ident("i")
    arguments = [sub(_parent(design), i)]
    if family.holds == "trials":
        arguments.insert(0, sub(ident("m"), i))
    constant = {own.name for own in design.constant_auxiliaries}
    for own in family.auxiliaries:
        letter = ident(GREEK.get(own.name, own.name))
        letter = letter if own.name in constant else sub(letter, i)
        if own.name == "sigma" and design.weights_column is not None and not design.frequency:
            weight = sub(ident("w"), i)
            root = Math(f"<msqrt>{weight.mathml}</msqrt>", rf"\sqrt{{{weight.tex}}}")
            letter = letter + sign("/") + root
        arguments.append(letter)
    name = DISTRIBUTIONS.get(family.name, "".join(part.capitalize() for part in family.name.split("_")))
    return sub(ident("y"), i) + sign("∼") + call(name, arguments)


def _predictor(design: Design) -> Math:
    i, parts = ident("i"), []
    columns = design.coefficient_names
    if len(columns) > TERMS_WRITTEN:
        parts.append(sub(sup(ident("x"), sign("⊤")), i) + _own(design, "β"))
    else:
        for k, name in enumerate(columns):
            letter = _coefficient(design, k)
            parts.append(letter if k == design.intercept else letter + sub(word(name.removeprefix(design.prefix)), i))
    for s, smooth in enumerate(design.smooths):
        predictors = [sub(word(part.columns_used[0]), i) for part in smooth.parts]
        parts.append(sub(_own(design, "f"), number(s + 1)) + sign("(") + join(predictors, sign(",")) + sign(")"))
    several = len(design.factors) > 1
    for f, factor in enumerate(design.factors):
        group = _index(f, several=several)
        if len(factor.effects) > TERMS_WRITTEN:
            parts.append(sub(sup(ident("z"), sign("⊤")), i) + sub(_own(design, "u"), group))
            continue
        for k, effect in enumerate(factor.effects):
            letter = sub(_own(design, "u"), _effect_index(factor, f, k, several=several) + sign(",") + group)
            parts.append(letter if effect == names.INTERCEPT else letter + sub(word(effect), i))
    if design.formula.offsets:
        parts.append(sub(word("offset"), i))
    return join(parts, sign("+")) if parts else number(0)


def _index(f: int, *, several: bool) -> Math:
    letter = sub(ident("j"), number(f + 1)) if several else ident("j")
    return letter + sign("[") + ident("i") + sign("]")


def _effect_index(factor: GroupingFactor, f: int, k: int, *, several: bool) -> Math:
    place = number(k if names.INTERCEPT in factor.effects else k + 1)
    return number(f + 1) + sign(",") + place if several else place


def _omega(design: Design, f: int, *, several: bool) -> Math:
    return sub(_own(design, "Ω"), number(f + 1)) if several else _own(design, "Ω")


def _population(design: Design, factor: GroupingFactor, f: int, *, several: bool) -> list[Math]:
    """Distribution of the effects, a line a block."""
    found = []
    j = ident("j")
    for start, size in zip(factor.structure.starts, factor.structure.sizes, strict=True):
        indices = [_effect_index(factor, f, k, several=several) for k in range(start, start + size)]
        taus = [sub(_own(design, "τ"), index) for index in indices]
        effects = [sub(_own(design, "u"), index + sign(",") + j) for index in indices]
        if size == 1:
            found.append(effects[0] + sign("∼") + call("Normal", [number(0), taus[0]]))
            continue
        if size > TERMS_WRITTEN:
            effects, taus = [effects[0], sign("…"), effects[-1]], [taus[0], sign("…"), taus[-1]]
        scale = call("diag", taus)
        spread = scale + SPACE + _omega(design, f, several=several) + SPACE + scale
        vector = sign("(") + join(effects, sign(",")) + sign(")")
        found.append(vector + sign("∼") + call("MultivariateNormal", [number(0), spread]))
    return found


def _notes(design: Design, priors: Sequence[ResolvedPrior]) -> list[str]:
    notes, factors = [], [factor for one in (design, *design.predicted) for factor in one.factors]
    if len(design.coefficient_names) > TERMS_WRITTEN:
        notes.append("The product of x and β sums all common effects.")
    if not all(map(_alone, priors)):
        notes.append("Parameters without a line of their own have a joint prior; the table of priors names it.")
    if any(factor.sd_regression is not None for factor in factors):
        notes.append("The log standard deviations between groups are linear in what describes the group.")
    for s, smooth in enumerate(design.smooths):
        own = f", one for each level of {smooth.by.columns_used[0]}" if smooth.by is not None else ""
        functions = f"{len(smooth.frequencies)} basis functions"
        notes.append(f"f{s + 1} is a Gaussian process, {smooth.kernel}, on {functions}{own}: {shown(smooth.term)}.")
    if any(factor.kinds is not None for factor in factors):
        notes.append("Each kind of group has standard deviations and correlations of its own.")
    if any(factor.relation is not None for factor in factors):
        notes.append("The effects of related groups are correlated as the given matrix says.")
    if any(factor.members is not None for factor in factors):
        notes.append("A row of several groups has the weighted sum of their effects.")
    if any(row.role == "intercept" and row.at == "mean" for row in priors):
        notes.append("The prior of α is that of the intercept at the means of the predictors.")
    if any(row.role in ("group_sd_intercept", "group_correlation") and row.at == "mean" for row in priors):
        said = "standard deviations of varying intercepts, and of correlations with them, stand at the means of the"
        notes.append(
            f"So the priors of {said} predictors; the equations, and the estimates, are at predictors of zero."
        )
    if design.family.holds == "levels":
        notes.append("The thresholds take the place of the intercept: link P(y ≤ k) = threshold k minus η.")
    if design.frequency:
        notes.append("A row with weight w counts as w rows.")
    if not design.collapses and not design.cells.outcome.plain:
        notes.append("Censored rows contribute the probability of their tail; truncated ones are renormalised.")
    return notes

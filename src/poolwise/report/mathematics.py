"""The model in mathematics, as MathML that browsers set without help and as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from poolwise import names
from poolwise.priors.distributions import JOINT
from poolwise.priors.resolve import ResolvedPrior
from poolwise.report.text import latex, shown
from poolwise.spec.design import Design, GroupingFactor

# More common coefficients than this are written as a vector, and names longer than this are cut.
TERMS_WRITTEN, LONGEST_NAME = 6, 40
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


class Math(NamedTuple):
    """A piece of mathematics in both languages."""

    mathml: str
    tex: str

    def __add__(self, other: "Math") -> "Math":  # type: ignore[override]
        return Math(self.mathml + other.mathml, f"{self.tex} {other.tex}")

    @property
    def block(self) -> Markup:
        """MathML for a line of its own."""
        return Markup(f'<math displaystyle="true"><mrow>{self.mathml}</mrow></math>')

    @property
    def inline(self) -> Markup:
        """MathML for a line of text."""
        return Markup(f"<math><mrow>{self.mathml}</mrow></math>")


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


SPACE = Math('<mspace width="0.2em"/>', r"\,")


def ident(letter: str, tex: str | None = None) -> Math:
    """A letter in italics."""
    return Math(f"<mi>{escape(letter)}</mi>", tex or _TEX.get(letter, letter))


def word(text: str) -> Math:
    """Upright text."""
    cut = shown(text, LONGEST_NAME)
    return Math(f"<mtext>{escape(cut)}</mtext>", rf"\text{{{latex(cut)}}}")


def number(value: float) -> Math:
    """A number."""
    return Math(f"<mn>{value:.4g}</mn>".replace("-", "\N{MINUS SIGN}"), f"{value:.4g}")


def sign(mark: str) -> Math:
    """An operator or a bracket."""
    return Math(f"<mo>{escape(mark)}</mo>", _TEX.get(mark, mark))


def sub(base: Math, index: Math) -> Math:
    """A letter with an index."""
    return Math(f"<msub>{_row(base)}{_row(index)}</msub>", f"{{{base.tex}}}_{{{index.tex}}}")


def sup(base: Math, index: Math) -> Math:
    """A letter with a mark above."""
    return Math(f"<msup>{_row(base)}{_row(index)}</msup>", f"{{{base.tex}}}^{{{index.tex}}}")


def call(name: str, arguments: Sequence[Math]) -> Math:
    """A distribution or function of arguments."""
    inside = join(arguments, sign(","))
    return word(name) + sign("(") + inside + sign(")")


def join(parts: Sequence[Math], between: Math) -> Math:
    """The parts with a sign between neighbours."""
    found = parts[0]
    for part in parts[1:]:
        found = found + between + part
    return found


def _row(part: Math) -> str:
    return f"<mrow>{part.mathml}</mrow>"


_TEX = {
    "μ": r"\mu", "σ": r"\sigma", "ν": r"\nu", "η": r"\eta", "α": r"\alpha", "β": r"\beta", "λ": r"\lambda",
    "κ": r"\kappa", "ψ": r"\psi", "τ": r"\tau", "Σ": r"\Sigma", "Ω": r"\Omega",
    "∼": r"\sim", "⊤": r"\top", "…": r"\dots",
    "−": "-",
}  # fmt: skip


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
    i, symbols = ident("i"), [(sub(ident("y"), ident("i")), f"{shown(design.formula.response)} of row i")]
    lines, linear = [_likelihood(design)], sub(ident("η"), i)
    if design.family.link == "identity":
        linear = sub(_parent(design), i)
    else:
        lines.append(sub(_parent(design), i) + sign("=") + _inverse_link(design))
    lines.append(linear + sign("=") + _predictor(design))
    letters: dict[str, Math] = {}
    for k, name in enumerate(design.coefficient_names):
        letter = ident("α") if k == design.intercept else sub(ident("β"), number(_place(design, k)))
        letters[name] = letter
        symbols.append((letter, f"{shown(name)}, common effect"))
    notes = [] if len(design.coefficient_names) <= TERMS_WRITTEN else ["x′ᵢβ sums all common effects."]
    several = len(design.factors) > 1
    for f, factor in enumerate(design.factors):
        lines += _population(factor, f, several=several)
        symbols.append(
            (
                _index(f, several=several),
                f"group of row i among the {factor.J:,} of {shown(factor.name)}",
            )
        )
        for k, (effect, sd) in enumerate(zip(factor.effects, factor.sd_names, strict=True)):
            letters[sd] = sub(ident("τ"), _effect_index(factor, f, k, several=several))
            what = "intercepts" if effect == names.INTERCEPT else f"slopes of {shown(effect)}"
            symbols.append((letters[sd], f"{shown(sd)}: standard deviation of the {what} between groups"))
        if factor.structure.n_correlations:
            letters[names.correlation(factor.name)] = _omega(f, several=several)
            symbols.append(
                (letters[names.correlation(factor.name)], f"correlations of the effects of {shown(factor.name)}")
            )
    for own in design.family.auxiliaries:
        letters[own.name] = ident(GREEK.get(own.name, own.name))
        symbols.append((letters[own.name], f"{own.name}, parameter of the family"))
    for row in priors:
        if row.parameter in letters and row.prior.support != JOINT:
            arguments = [
                ident(GREEK.get(name, name)) + sign("=") + number(value) for name, value in row.prior.params.items()
            ]
            prior = call(row.prior.distribution, arguments) if arguments else word(row.prior.distribution)
            lines.append(letters[row.parameter] + sign("∼") + prior)
    notes += _notes(design, priors)
    return Equations(tuple(lines), tuple(symbols), " ".join(notes))


def _place(design: Design, k: int) -> int:
    return k + 1 if design.intercept < 0 else k


def _parent(design: Design) -> Math:
    return ident(GREEK.get(design.family.parent, design.family.parent))


def _likelihood(design: Design) -> Math:
    family, i = design.family, ident("i")
    arguments = [sub(_parent(design), i)]
    if family.holds == "trials":
        arguments.insert(0, sub(ident("m"), i))
    for own in family.auxiliaries:
        letter = ident(GREEK.get(own.name, own.name))
        if own.name == "sigma" and design.weights is not None and not design.frequency:
            weight = sub(ident("w"), i)
            root = Math(f"<msqrt>{weight.mathml}</msqrt>", rf"\sqrt{{{weight.tex}}}")
            letter = letter + sign("/") + root
        arguments.append(letter)
    name = DISTRIBUTIONS.get(family.name, "".join(part.capitalize() for part in family.name.split("_")))
    return sub(ident("y"), i) + sign("∼") + call(name, arguments)


def _inverse_link(design: Design) -> Math:
    eta = sub(ident("η"), ident("i"))
    return sup(word(design.family.link), sign("−") + number(1)) + sign("(") + eta + sign(")")


def _predictor(design: Design) -> Math:
    i, parts = ident("i"), []
    columns = design.coefficient_names
    if len(columns) > TERMS_WRITTEN:
        parts.append(sub(sup(ident("x"), sign("⊤")), i) + ident("β"))
    else:
        for k, name in enumerate(columns):
            letter = ident("α") if k == design.intercept else sub(ident("β"), number(_place(design, k)))
            parts.append(letter if k == design.intercept else letter + sub(word(name), i))
    several = len(design.factors) > 1
    for f, factor in enumerate(design.factors):
        group = _index(f, several=several)
        if len(factor.effects) > TERMS_WRITTEN:
            parts.append(sub(sup(ident("z"), sign("⊤")), i) + sub(ident("u"), group))
            continue
        for k, effect in enumerate(factor.effects):
            letter = sub(ident("u"), _effect_index(factor, f, k, several=several) + sign(",") + group)
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


def _omega(f: int, *, several: bool) -> Math:
    return sub(ident("Ω"), number(f + 1)) if several else ident("Ω")


def _population(factor: GroupingFactor, f: int, *, several: bool) -> list[Math]:
    """Distribution of the effects, a line a block."""
    found = []
    j = ident("j")
    for start, size in zip(factor.structure.starts, factor.structure.sizes, strict=True):
        indices = [_effect_index(factor, f, k, several=several) for k in range(start, start + size)]
        taus = [sub(ident("τ"), index) for index in indices]
        effects = [sub(ident("u"), index + sign(",") + j) for index in indices]
        if size == 1:
            found.append(effects[0] + sign("∼") + call("Normal", [number(0), taus[0]]))
            continue
        if size > TERMS_WRITTEN:
            effects, taus = [effects[0], sign("…"), effects[-1]], [taus[0], sign("…"), taus[-1]]
        scale = call("diag", taus)
        spread = scale + SPACE + _omega(f, several=several) + SPACE + scale
        vector = sign("(") + join(effects, sign(",")) + sign(")")
        found.append(vector + sign("∼") + call("MultivariateNormal", [number(0), spread]))
    return found


def _notes(design: Design, priors: Sequence[ResolvedPrior]) -> list[str]:
    notes = []
    if any(row.prior.support == JOINT for row in priors):
        notes.append("Parameters without a line of their own have a joint prior; the table of priors names it.")
    if any(factor.sd_regression is not None for factor in design.factors):
        notes.append("The log standard deviations between groups are linear in what describes the group.")
    if any(row.role == "intercept" and row.at == "mean" for row in priors):
        notes.append("The prior of α is that of the intercept at the means of the predictors.")
    if design.family.holds == "levels":
        notes.append("The thresholds take the place of the intercept: link P(y ≤ k) = threshold k minus η.")
    if design.frequency:
        notes.append("A row with weight w counts as w rows.")
    if not design.outcome.plain:
        notes.append("Censored rows contribute the probability of their tail; truncated ones are renormalised.")
    return notes

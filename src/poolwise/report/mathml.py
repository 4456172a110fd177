"""Pieces of mathematics, as MathML that browsers set without help and as LaTeX."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from poolwise.report.text import latex, shown

# Names longer than this are cut.
LONGEST_NAME = 40


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

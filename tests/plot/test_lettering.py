"""Names in pictures: cut where they are long, no mathematics, no missing glyph."""

import io

import pytest
from matplotlib.figure import Figure

from poolwise.plot.lettering import NO_GLYPH, cut, legible, plain


def test_names_are_cut_in_their_middle_and_dollars_are_no_mathematics():
    assert cut("short", 10) == "short"
    assert cut("a\n b", 10) == "a b"
    assert len(cut("school number 1234567", 12)) == 12 and cut("school number 1234567", 12).endswith("567")
    assert plain("$x_1$") == r"\$x_1\$"


@legible
def drawn(names: list[str]) -> Figure:
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yticks(range(len(names)), names)
    right.set_title(names[0])
    right.annotate(names[-1], (0, 0))
    figure.suptitle(" ".join(names))
    return figure


@pytest.mark.parametrize(
    "names", [["東京都", "القاهرة", "กรุงเทพ"], ["a\x01b", "😀", "plain"], ["\U000e0100"], ["Łódź"]]
)
def test_any_letter_draws_without_a_warning(names):
    figure = drawn(names)
    figure.savefig(io.BytesIO(), format="png")
    figure.savefig(io.BytesIO(), format="svg")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(names)
    # A letter is itself, or the sign for one that no font of this machine has.
    for name, label in zip(names, labels, strict=True):
        assert len(label) == len(name)
        assert all(mark in (letter, NO_GLYPH) for letter, mark in zip(name, label, strict=True))
    if names == ["Łódź"]:
        assert labels == names


def test_an_unprintable_letter_is_a_square():
    assert drawn(["a\x01b", "c"]).axes[0].get_yticklabels()[0].get_text() == f"a{NO_GLYPH}b"

"""Tables as cells, CSV, Markdown and LaTeX; text cut and escaped for each."""

import io

import numpy as np
import pandas as pd
import pytest

from poolwise.report.tables import ROWS_SET, ROWS_SHOWN, Table, cells_of
from poolwise.report.text import latex, markdown, shown

FRAME = pd.DataFrame(
    {
        "group": ["a|b", "50 % & <i>", "c_d"],
        "n": [7, 1200, 30],
        "estimate": [0.01234567, np.nan, -3.0],
        "ok": [True, False, True],
    }
)


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([7, 1200], ["7", "1200"]),
        ([1.5, 2.25, np.nan], ["1.50", "2.25", "–"]),
        ([212.345, 180.1], ["212", "180"]),
        # The decimals that the smaller numbers need; of many sizes each its own.
        ([200.0, 4.6789], ["200.00", "4.68"]),
        # Two digits of the smallest where sizes differ by more, as parameters do.
        ([200.8896, 1.2944, 15.307, 0.0584], ["200.890", "1.294", "15.307", "0.058"]),
        ([1e-5, 12.3, 45_678.9], ["1e-05", "12.3", "45679"]),
        ([np.inf, -np.inf, 0.5], ["∞", "-∞", "0.500"]),
        ([0.0, 0.0], ["0", "0"]),
        ([np.nan], ["–"]),
        ([], []),
    ],
)
def test_numbers_of_a_column_have_decimals_that_suit_it(values, cells):
    assert cells_of(pd.Series(values, dtype=float)) == cells


def test_an_interval_has_the_decimals_of_its_estimate():
    frame = pd.DataFrame({"term": list("abcd"), "mean": [200.8, 1.2944, 15.307, 0.0584]})
    frame = frame.assign(lower=[190.2, -2.4, 9.1, -1.2], upper=[211.5, 1.9, 20.3, 3.1], sd=[5.5, 0.4, 1.2, 0.9])
    first = Table("t", "caption", frame).rows[0][1]
    assert first == ["a", "200.800", "190.200", "211.500", "5.500"]


def test_truth_and_text():
    assert cells_of(pd.Series([True, False])) == ["yes", "no"]
    assert cells_of(pd.Series(["a", None, np.nan], dtype=object)) == ["a", "–", "–"]


def test_csv_keeps_every_digit():
    table = Table("t", "caption", FRAME)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(table.csv())), FRAME)


def test_markdown_and_latex_are_escaped():
    table = Table("t", "caption", FRAME, {"estimate": "estimate, ms"})
    lines = table.markdown().splitlines()
    assert lines[0] == "| group | n | estimate, ms | ok |" and lines[1] == "| :--- | ---: | ---: | :--- |"
    assert lines[2].startswith(r"| a\|b | 7 | 0.0123 |") and r"50 % &amp; &lt;i&gt;" in lines[3]
    # As many unescaped bars in every line.
    assert {line.replace(r"\|", "").count("|") for line in lines} == {5}
    text = table.latex()
    assert text.startswith("\\begin{tabular}{lrrl}\n\\toprule\n") and r"50 \% \& <i> & 1200 & – & no \\" in text
    assert r"c\_d" in text


def test_long_tables_are_cut_on_the_page_and_whole_in_the_file():
    frame = pd.DataFrame({"group": [f"g{k}" for k in range(1500)], "n": range(1500)})
    table = Table("t", "caption", frame, group="group", places={f"g{k}": k for k in range(1500)})
    assert (
        len(table.rows) == ROWS_SHOWN
        and table.rows[0] == (0, ["g0", "0"])
        and table.rows[-1] == (1499, ["g1499", "1499"])
    )
    assert "1,500 rows" in table.left_out and [name for name, *_ in table.files] == ["CSV"]
    assert table.csv().count("\n") == 1501
    short = Table("t", "caption", frame.head(ROWS_SET))
    assert [name for name, *_ in short.files] == ["CSV", "Markdown", "LaTeX"] and short.left_out == ""


def test_text_is_cut_visibly_and_control_characters_are_seen():
    assert shown("x" * 500, 20) == "x" * 20 + "… (500 characters)"
    assert shown("a\x00b\x1b") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert latex(r"a\b{c}$d^e~") == r"a\textbackslash{}b\{c\}\$d\textasciicircum{}e\textasciitilde{}"
    assert markdown("a`b*<script>\n") == "a\\`b\\*&lt;script&gt; "

"""Design matrices are those of formulae, except where formulae is silently wrong."""

import formulae
import numpy as np
import pandas as pd
import pytest
from formulae.environment import Environment

from poolwise.errors import DataError, FormulaError
from poolwise.spec.evaluate import evaluate

N = 24
FUNCTIONS = {
    name: getattr(np, name) for name in ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "sin", "cos")
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(20260801)
    levels = pd.CategoricalDtype(["v", "u"], ordered=True)
    return pd.DataFrame(
        {
            "x": np.arange(N) + 1.0,
            "z": rng.normal(size=N),
            "f": list("bca" * (N // 3)),
            "g": pd.Series(list("uuvv" * (N // 4))).astype(levels),
            "my v": rng.normal(size=N),
            "b": [True, False, False] * (N // 3),
            "k": np.array([1, 2, 3, 3] * (N // 4)),
        }
    )


EXPRESSIONS = """
1 | 0 + x | 1 + x | 0 + f | 1 + f | 1 + g | 1 + x:f | 1 + x + x:f | 1 + f*g | 0 + f:g | 1 + f:g | 1 + b | 1 + z + x:z:f
1 + bs(x, df=4) | 1 + bs(x, 5, degree=2, intercept=True, lower_bound=-1, upper_bound=200) | 0 + poly(x, 2)
1 + poly(x, 2, raw=True)*f | 1 + scale(x) + center(z) + standardize(x):f | 1 + I(x ** 2) + log(x + 1)
1 + scale(log(x))
1 + C(k) + T(f, "b") | 1 + C(f, Treatment("c")) + S(g) | 1 + C(f, Sum) | 1 + T(k, 2) | 1 + `my v` + exp(`my v`)
1 + log2(x) + log10(x) + log1p(x) + expm1(z) + sqrt(x) + sin(z) + cos(z)
"""
PARTS = [part.strip() for part in EXPRESSIONS.replace("\n", "|").split("|") if part.strip()]


@pytest.mark.parametrize("expression", PARTS)
def test_columns_agree_with_formulae(table, expression):
    columns = evaluate(expression, table)
    expected = formulae.design_matrices(expression, table, na_action="pass", env=Environment([FUNCTIONS])).common
    labels = [label for term in expected.terms.values() for label in term.labels]
    assert columns.names == tuple(labels)
    np.testing.assert_allclose(columns.matrix, expected.design_matrix.reshape(N, -1), rtol=1e-15)
    assert [name for name, _, _ in columns.terms] == list(expected.terms)
    assert [where for _, where, _ in columns.terms] == list(expected.slices.values())
    assert columns.matrix.dtype == np.float64


@pytest.mark.parametrize("expression", ["1 + scale(x)*f", "0 + bs(x, df=5)", "1 + poly(x, 3)", "1 + C(g) + S(f)", "1"])
def test_new_rows_use_what_was_learned(table, expression):
    columns = evaluate(expression, table)
    rows = [7, 3, 3]
    np.testing.assert_array_equal(columns.apply(table.iloc[rows]), columns.matrix[rows])
    assert columns.apply(table.iloc[:0]).shape == (0, columns.matrix.shape[1])


def test_levels_of_a_term_are_none_only_for_one_plain_column(table):
    columns = evaluate("1 + x + f + poly(z, 2) + x:f", table)
    assert [levels for _, _, levels in columns.terms] == [None, None, ("b", "c"), ("0", "1"), ("b", "c")]
    assert columns.columns_used == ("x", "f", "z")


def test_empty_expression_has_no_columns(table):
    columns = evaluate("0", table)
    assert columns.matrix.shape == columns.apply(table).shape == (N, 0)
    assert columns.names == columns.terms == ()


def test_category_order_is_the_users_and_unused_levels_are_left_out():
    table = pd.DataFrame({"f": pd.Categorical(["lo", "hi", "mid"] * 2, categories=["lo", "mid", "unused", "hi"])})
    assert evaluate("1 + f", table).names == ("Intercept", "f[mid]", "f[hi]")
    assert evaluate("0 + C(f)", table).names == ("C(f)[lo]", "C(f)[mid]", "C(f)[hi]")


def test_integers_do_not_wrap_round():
    table = pd.DataFrame({"x": np.array([100, 101, 127], dtype=np.int8)})
    np.testing.assert_array_equal(evaluate("0 + I(x ** 2)", table).matrix[:, 0], [10000.0, 10201.0, 16129.0])
    assert table["x"].dtype == np.int8


def test_names_that_formulae_would_merge_stay_apart():
    table = pd.DataFrame({"x": [1.0, 2, 4], "Intercept": [3.0, 1, 2], "f": ["a", "b", "a"], "x:f": [7.0, 8, 8]})
    columns = evaluate("1 + Intercept + I((x + 1) * 2) + I(x + 1 * 2) + x:f + `x:f`", table)
    assert columns.names[:4] == ("Intercept", "Intercept", "I((x + 1) * 2)", "I(x + 1 * 2)")
    assert columns.names[4:] == ("x:f[a]", "x:f[b]", "`x:f`")
    np.testing.assert_array_equal(columns.matrix[:, 2], [4.0, 6, 10])
    np.testing.assert_array_equal(columns.matrix[:, 3], [3.0, 4, 6])


def test_only_the_table_is_looked_up(table):
    np_, secret = np, np.ones(N)
    assert np_ is np
    assert secret.sum() == N
    with pytest.raises(DataError, match="the table has no column 'secret'"):
        evaluate("1 + secret", table)
    with pytest.raises(FormulaError, match="not allowed"):
        evaluate("np.log(x)", table)
    assert evaluate("np.log(x)", table, trusted=True).names == ("Intercept", "np.log(x)")


FAILURES = [
    (
        "log(x - 1)",
        "the term 'log(x - 1)' is not finite in 1 row (row 0), where 'x' is 1.0 in row 0; change the values or the "
        "transformation, or leave these rows out",
    ),
    ("log(f)", "column 'f' holds text, but log(f) needs numbers"),
    ("xx", "the table has no column 'xx'; did you mean 'x'? Available: 'x', 'z', 'f', 'g', 'my v', 'b', 'k'."),
    ("T(f, 'q')", "T(f, \"q\"): \"q\" is no level of column 'f'; levels: 'a', 'b', 'c'"),
    ("poly(k, 3)", "poly(k, 3) needs more than 3 distinct values of 'k', which has 3; lower the degree"),
    (
        "bs(x, df=1)",
        "the expression 'bs(x, df=1)' cannot be evaluated: df=1 is too small for degree=3 and intercept=False; it must "
        "be >= 3",
    ),
]


@pytest.mark.parametrize(("expression", "message"), FAILURES)
def test_what_cannot_be_evaluated_is_named(table, expression, message, capsys):
    with pytest.raises(DataError) as caught:
        evaluate(expression, table)
    assert str(caught.value) == message
    assert capsys.readouterr().out == ""


NEW_TABLES = [
    (
        {"f": ["q", "a", "r", "q"], "x": 1.0},
        "column 'f' has 2 levels that the fitted data did not have: 'q' (rows 0, 3), 'r' (row 2); "
        "known levels: a, b, c",
    ),
    ({"f": ["a", None], "x": 1.0}, "column 'f' has 1 missing value (row 1); drop these rows or fill them in"),
    ({"f": ["a"], "x": ["b"]}, "column 'x' held numbers in the fitted data; here it holds other values"),
    ({"x": [1.0]}, "the table has no column 'f'; Available: 'x'."),
]


@pytest.mark.parametrize(("new", "message"), NEW_TABLES)
def test_new_rows_that_do_not_fit_are_named(table, new, message):
    columns = evaluate("1 + f + x", table)
    with pytest.raises(DataError) as caught:
        columns.apply(pd.DataFrame(new))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "values", [["a", "a"], [1j, 2], pd.to_datetime(["2020-01-01", "2021-01-01"]), [1, "a"], [None, 1.0]]
)
def test_columns_without_a_use_are_refused(values):
    with pytest.raises(DataError, match="column 'x'"):
        evaluate("1 + x", pd.DataFrame({"x": values}))

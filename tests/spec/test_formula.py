"""A formula means what R means by it, or is refused with the place and the way out; it never runs code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.errors import FormulaError
from poolwise.spec.formula import parse_expression, parse_formula

CANONICAL = [
    ("y ~ 1", "y ~ 1"),
    ("y~x", "y ~ 1 + x"),
    ("y ~ x - 1", "y ~ 0 + x"),
    ("y ~ -1 + x", "y ~ 0 + x"),
    ("y ~ 0 + x + 1", "y ~ 1 + x"),
    ("y ~ x + -1", "y ~ 0 + x"),
    ("y ~ a*b", "y ~ 1 + a + b + a:b"),
    ("y ~ a*b + a", "y ~ 1 + a + b + a:b"),
    ("y ~ a*b - a:b", "y ~ 1 + a + b"),
    ("y ~ a*b - b:a", "y ~ 1 + a + b"),
    ("y ~ a/b", "y ~ 1 + a + a:b"),
    ("y ~ (a + b)/c", "y ~ 1 + a + b + a:b:c"),
    ("y ~ (a + b + c)**2", "y ~ 1 + a + b + c + a:b + a:c + b:c"),
    ("y ~ (a + b):c", "y ~ 1 + a:c + b:c"),
    ("y ~ a*b*c", "y ~ 1 + a + b + a:b + c + a:c + b:c + a:b:c"),
    ("y ~ (x + ((z)))", "y ~ 1 + x + z"),
    ("log(y) ~ log(x+1)", "log(y) ~ 1 + log(x + 1)"),
    ("y ~ {x + 1}", "y ~ 1 + I(x + 1)"),
    ("y ~ I(-x**2)", "y ~ 1 + I(-(x ** 2))"),
    ("y ~ I((x+1)*2)", "y ~ 1 + I((x + 1) * 2)"),
    ("y ~ I(x - (z - 1))", "y ~ 1 + I(x - (z - 1))"),
    ("y ~ I(x**2**3)", "y ~ 1 + I(x ** (2 ** 3))"),
    ("y ~ I(1e-3*x/-2)", "y ~ 1 + I(0.001 * x / (-2))"),
    ("y ~ bs(x, df=4) + poly(z, 2)", "y ~ 1 + bs(x, df=4) + poly(z, 2)"),
    (
        "y ~ C(f, Treatment('a')) + T(g, 'b') + S(h) + C(k, Sum)",
        'y ~ 1 + C(f, Treatment("a")) + T(g, "b") + S(h) + C(k, Sum)',
    ),
    ("y ~ x + offset(log(n))", "y ~ 1 + x + offset(log(n))"),
    ("y ~ x + offset(a - b)", "y ~ 1 + x + offset(I(a - b))"),
    ("weighted(y, w) ~ x", "weighted(y, w) ~ 1 + x"),
    ("weighted(y / 2, w) ~ x", "weighted(I(y / 2), w) ~ 1 + x"),
    ("p(k, n) ~ x + offset(log(n))", "p(k, n) ~ 1 + x + offset(log(n))"),
    ("censored(y, status) ~ x", "censored(y, status) ~ 1 + x"),
    ("truncated(y, lb=-1) ~ x", "truncated(y, lb=-1) ~ 1 + x"),
    ("y ~ hsgp(x, m=10, c=1.5)", "y ~ 1 + hsgp(x, m=10, c=1.5)"),
    ("y ~ (x|g)", "y ~ 1 + (1 + x | g)"),
    ("y ~ (x||g)", "y ~ 1 + (1 + x || g)"),
    ("y ~ (0 + x|g)", "y ~ 1 + (0 + x | g)"),
    ("y ~ (x - 1|g)", "y ~ 1 + (0 + x | g)"),
    ("y ~ (-1 + x|g)", "y ~ 1 + (0 + x | g)"),
    ("y ~ 0 + (1|g)", "y ~ 0 + (1 | g)"),
    ("y ~ (((1|g)))", "y ~ 1 + (1 | g)"),
    ("y ~ (1|a/b/c)", "y ~ 1 + (1 | a) + (1 | a:b) + (1 | a:b:c)"),
    ("y ~ (1|g:h) + (0 + x|h:g)", "y ~ 1 + (1 | g:h) + (0 + x | g:h)"),
    ("y ~ (1|g) + (0 + x|g)", "y ~ 1 + (1 | g) + (0 + x | g)"),
    ("y ~ `my var` + `a.b` + `True` + `_z`", "y ~ 1 + `my var` + `a.b` + `True` + `_z`"),
    ("y ~ `x`", "y ~ 1 + x"),
    ("y ~ é", "y ~ 1 + é"),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_formula_is_understood_as_in_r(text, canonical):
    formula = parse_formula(text)
    assert formula.canonical == canonical
    assert parse_formula(canonical) == formula


def test_parts_of_a_formula():
    formula = parse_formula("weighted(log(y), w) ~ x*f + offset(log(n)) + (1 + `my x` || s/c)")
    assert formula.response == "log(y)"
    assert formula.response_columns == ("y",)
    assert formula.weights == "w"
    assert formula.common == "1 + x + f + x:f"
    assert formula.intercept
    assert formula.terms == ("x", "f", "x:f")
    assert formula.offsets == ("log(n)",)
    assert formula.offset_columns == ("n",)
    assert formula.columns == ("y", "w", "x", "f", "n", "my x", "s", "c")
    assert formula.predictors == ("x", "f", "n", "my x")
    assert formula.factors == ("s", "c")
    block = formula.blocks[1]
    assert (block.expression, block.terms, block.factor) == ("1 + `my x`", ("1", "`my x`"), "s:c")
    assert (block.columns, block.correlated) == (("s", "c"), False)


def test_only_normal_form_c_is_applied_to_names():
    micro, mu = "\u00b5", "\u03bc"
    assert parse_formula(f"y ~ {micro} + {mu}").columns == ("y", micro, mu)
    assert parse_formula("y ~ e\u0301").columns == ("y", "\u00e9")


def at(problem, formula, column, advice):
    return f"{problem}\n  {formula}\n  {' ' * column}^\n{advice}"


MESSAGES = [
    (
        "y ~ x + 1|g",
        "'|' stands outside brackets",
        9,
        "put the block in brackets: `y ~ x + (1 | g)`; if every term varies by group: `(x + 1 | g)`",
    ),
    ("y ~ x + x", "the term 'x' stands twice", 8, "write it once"),
    ("y ~ (1|g) + (x|g)", "two blocks on 'g' both hold an intercept", 12, "write `(0 + x | g)` here"),
    ("y ~ (1|g) + (1|g/h)", "two blocks on 'g' both hold an intercept", 12, "leave this block out"),
    (
        "y ~ log(y)",
        "the response 'y' also stands on the right",
        8,
        "leave it out on the right, or copy the column under another name if it is a different quantity",
    ),
    ("y", "the formula has no '~'", 1, "write `response ~ terms`: `y ~ x`"),
    ("y ~ x ~ z", "the formula has two '~'", 6, "write one `response ~ terms`"),
    (
        "y ~",
        "nothing stands right of '~'",
        3,
        "write the terms; `1` alone is a model with an intercept only",
    ),
    (
        "y ~ x^2",
        "'^' is not part of the grammar",
        5,
        "write `**`: `(a + b) ** 2` for interactions, `I(x ** 2)` for a square",
    ),
    ("y ~ my.var", "the name 'my.var' has a dot", 4, "if it is a column, write it in back-quotes: `my.var`"),
    (
        "y ~ np.log10(x)",
        "the call np.log10(...) is not allowed",
        4,
        "write `log10(...)`, or pass trusted=True if you trust it",
    ),
    (
        "y ~ .",
        "'.' is not part of the grammar",
        4,
        "R's `.` (all columns) is not part of the grammar; name the columns",
    ),
    (
        "y ~ (1|a*b)",
        "a block has one grouping factor, of columns joined with `:` or `/`",
        7,
        "write one block a factor: `(1 | a) + (1 | b) + (1 | a:b)`",
    ),
    (
        "y ~ (1|factor(g))",
        "a grouping factor is a column, not a call",
        7,
        "make a column with the groups in the table first, and name it here",
    ),
    ("y ~ (0|g)", "the block has no effects", 4, "write `(1 | g)` or `(0 + x | g)`"),
    ("y ~ 0", "the model has no terms", 4, "write `1` for an intercept, or name a column"),
    ("y ~ x ** 2", "the power of a single term, x, is the term itself", 4, "for arithmetic write I(x ** 2)"),
    ("y ~ log(x, 2)", "log(...) has 2 positional arguments", 4, "log takes 1 positional argument"),
]


@pytest.mark.parametrize(("formula", "problem", "column", "advice"), MESSAGES)
def test_message_shows_the_place_and_the_way_out(formula, problem, column, advice):
    with pytest.raises(FormulaError) as caught:
        parse_formula(formula)
    assert str(caught.value) == at(problem, formula, column, advice)


REFUSED = [
    ("y ~ lgo(x)", "did you mean 'log'"),
    ("y ~ bs(x, dff=3)", "did you mean 'df'"),
    ('y ~ __import__("os").system("x")', "'__import__' is not allowed"),
    ("y ~ x + pd.io.common.os.system('x')", "is not allowed"),
    ("y ~ I.__builtins__", "is not allowed"),
    ("y ~ x['a']", "subscripts"),
    ("y['a', 'b'] ~ x", "one label of the response in quotes"),
    ("y[] ~ x", "one label of the response in quotes"),
    ("y['a'] + z ~ x", "the response is one column or call"),
    ("y['a'", "one label of the response in quotes"),
    ("y['a'][0] ~ x", "subscripts"),
    ("log(y)['a'] ~ x", "subscripts"),
    ("y ~ bs(x, df=[1, 2])", "lists and subscripts"),
    ("y ~ x == 1", "comparisons"),
    ("y ~ a %in% b", "a/b"),
    ("y ~ x % 2", "'%'"),
    ("y ~ a & b", "a:b"),
    ("y ~ x / 2", "I(x / 2)"),
    ("y ~ 2 + x", "the number 2 is not a term"),
    ("y ~ x:x", "I(x ** 2)"),
    ("y ~ a:b + b:a", "stands twice"),
    ("y ~ x - z", "no term 'z' to remove"),
    ("y ~ (a + 1)*b", "intercept cannot be part"),
    ("y ~ (a + b) ** 99", "small integer"),
    ("y ~ (1|g|h)", "one bar"),
    ("y ~ ((1|g) | h)", "inside other brackets"),
    ("y ~ (|g)", "left of the bar"),
    ("y ~ (1|)", "right of the bar"),
    ("y ~ (1|a + b)", "(1 | a) + (1 | b)"),
    ("y ~ (1|2)", "a grouping factor is a column"),
    ("y ~ (offset(z)|g)", "an offset is not a term"),
    ("y ~ x - (1|g)", "cannot be removed"),
    ("y ~ (x|y)", "the response 'y'"),
    ("y ~ (y|g)", "the response 'y'"),
    ("y ~ x + offset(z) + offset(z)", "stands twice"),
    ("y ~ offset(3)", "no column"),
    ("y ~ weighted(x, w)", "belongs to the response"),
    ("scale(poly(y, 2)) ~ x", "inside another function"),
    ("y + 1 ~ x", "I(...)"),
    ("~ x", "left of '~'"),
    ("y ~ log()", "log takes 1 positional argument"),
    ("y ~ (x", "close the bracket"),
    ("y ~ `x", "not closed"),
    ("y ~ ``", "between the back-quotes"),
    ('y ~ T(f, "a)', "not closed"),
    ("y ~ 'x'", "is not a term"),
    ("y ~ True", "is not a term"),
    ("y ~ x z", "unexpected 'z'"),
    ("y ~ C(f, 3)", "as a contrast"),
    ("y ~ bs(x, df=z)", "as an option"),
    ("y ~ x\x00", "unexpected character"),
    ("y ~ " + "(" * 50 + "x" + ")" * 50, "nested more than 40"),
    ("y ~ " + "I(" * 50 + "x" + ")" * 50, "nested more than 40"),
    ("y ~ " + " + ".join(f"x{i}" for i in range(300)), "more than 200 terms"),
    ("y ~ (" + " + ".join(f"x{i}" for i in range(30)) + ") ** 3", "more than 200 terms"),
    ("y ~ " + ":".join(f"x{i}" for i in range(300)), "more than 100 operators"),
    ("y ~ I(" + "-" * 500 + "x)", "nested more than 40"),
    ("y ~ " + "x" * 10_001, "10005 characters"),
    ("y ~ I(x + 1e400)", "too large"),
    (None, "not NoneType"),
]


@pytest.mark.parametrize(("text", "part"), REFUSED)
def test_outside_the_grammar_is_refused(text, part):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert part in str(caught.value)


def test_trusted_lets_dotted_calls_pass():
    formula = parse_formula("y ~ np.log10(x) + x", trusted=True)
    assert formula.terms == ("np.log10(x)", "x")
    assert formula.columns == ("y", "x")
    with pytest.raises(FormulaError, match="not allowed"):
        parse_formula("y ~ np.__class__(x)", trusted=True)


def test_one_sided_expressions_have_no_blocks():
    assert parse_expression("x*f - 1").text == "0 + x + f + x:f"
    with pytest.raises(FormulaError, match="only common terms"):
        parse_expression("x + (1|g)")


NAMES = st.sampled_from(["a", "b", "c", "`d e`", "log(a)", "I(b ** 2)", "poly(c, 2)"])
SETS = st.recursive(
    NAMES,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "*", ":", "/"]), inner).map(lambda t: f"({' '.join(t)})"),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SETS, min_size=1, max_size=4), st.lists(SETS, max_size=2), st.sampled_from(["|", "||"]))
def test_canonical_text_is_a_fixed_point(common, varying, bar):
    blocks = [f"(0 + {expression} {bar} g{k})" for k, expression in enumerate(varying)]
    try:
        formula = parse_formula("y ~ " + " + ".join([*common, *blocks]))
    except FormulaError:
        return
    again = parse_formula(formula.canonical)
    assert again == formula
    assert again.canonical == formula.canonical


def test_names_with_spaces_and_empty_terms():
    with pytest.raises(FormulaError, match="back-quotes: `prior score`"):
        parse_formula("mark ~ prior score + (1|school)")
    # What is left where a shell has run a name in back-quotes as a command.
    with pytest.raises(FormulaError, match=r"nothing stands before '\+'"):
        parse_formula("mark ~  + (1|school)")


@pytest.mark.parametrize(
    ("formula", "advice"),
    [
        ("y ~ factor(x)", "`C(x)`"),
        ("y ~ ns(x, 3)", "`bs(x, df=5)`"),
        ("y ~ s(x)", "`hsgp(x, m=20, c=1.5)`"),
        ("y ~ mo(x)", "available: log"),
        ("trunc(y, 3) ~ x", "`truncated(y, lb, ub) ~ ...`"),
    ],
)
def test_functions_of_other_programs_lead_to_those_of_poolwise(formula, advice):
    with pytest.raises(FormulaError, match=r"is not part of poolwise") as caught:
        parse_formula(formula)
    assert advice in str(caught.value)

"""Tables: their shape, their dtypes, their indexes."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
from hostile import FORMULA, Case, table

WHOLE = np.arange(48) % 11 - 5


def whole(dtype) -> Case:
    return Case(
        f"{dtype} squared",
        lambda: table(
            x=pd.array((WHOLE * 11).tolist(), dtype=dtype)
            if str(dtype)[0].isupper() or "arrow" in str(dtype)
            else (WHOLE * 11).astype(dtype)
        ),
        "y ~ x + I(x**2) + (1|g)",
        twin=("y ~ x + I(x**2) + (1|g)", lambda: table(x=WHOLE * 11.0)),
    )


def arrow() -> pd.DataFrame:
    return pa.Table.from_pandas(table()).to_pandas(types_mapper=pd.ArrowDtype)


ORDER = ["top", "low", "mid"]
DTYPES = [
    *map(whole, ["int8", "int16", "Int8", "Int64", "int8[pyarrow]", "float32", "float16", "Float32", "float[pyarrow]"]),
    Case(
        "unsigned differences",
        lambda: table(x=(WHOLE + 5).astype("uint8"), z=((WHOLE * 7) % 5).astype("uint8")),
        "y ~ I(x - z) + (1|g)",
        twin=("y ~ I(x - z) + (1|g)", lambda: table(x=WHOLE + 5.0, z=((WHOLE * 7) % 5).astype(float))),
    ),
    Case(
        "int8 response",
        lambda: table(y=(table().y * 20).round().astype("int8")),
        twin=(FORMULA, lambda: table(y=(table().y * 20).round())),
    ),
    Case(
        "Decimal predictor",
        lambda: table(x=[Decimal(str(v)) for v in table().x]),
        refused=("'x'", "Decimal", "astype(float)"),
        csv=False,
    ),
    Case(
        "Decimal response", lambda: table(y=[Decimal(str(v)) for v in table().y]), refused=("'y'", "Decimal"), csv=False
    ),
    Case(
        "arrow decimals",
        lambda: table(x=pd.array([Decimal(f"{v:.3f}") for v in table().x], dtype=pd.ArrowDtype(pa.decimal128(10, 3)))),
        refused=("'x'", "Decimal"),
        csv=False,
    ),
    Case(
        "fractions",
        lambda: table(x=[Fraction(int(v), 3) for v in WHOLE]),
        twin=(FORMULA, lambda: table(x=WHOLE / 3)),
        csv=False,
    ),
    Case(
        "numeric text as predictor",
        lambda: table(x=[f"{v:.3f}" for v in table().x]),
        refused=("'x'", "numbers written as text", "to_numeric"),
        csv=False,
    ),
    Case(
        "numeric text as response",
        lambda: table(y=[f"{v:.3f}" for v in table().y]),
        refused=("'y'", "text", "table['y'] = pd.to_numeric(table['y'])"),
        csv=False,
    ),
    Case("complex predictor", lambda: table(x=table().x + 0j), refused=("'x'", "complex"), csv=False),
    Case("complex response", lambda: table(y=table().y + 1j), refused=("'y'", "complex"), csv=False),
    Case("datetime predictor", lambda: table(x=pd.date_range("2020", periods=48)), refused=("'x'", "dates"), csv=False),
    Case(
        "datetime with zone",
        lambda: table(x=pd.date_range("2020", periods=48, tz="UTC")),
        refused=("'x'", "dates"),
        csv=False,
    ),
    Case(
        "timedelta response",
        lambda: table(y=pd.to_timedelta(np.arange(48), unit="s")),
        refused=("'y'", "dates or durations"),
        csv=False,
    ),
    Case(
        "datetime.date objects",
        lambda: table(x=[datetime.date(2020, 1, 1 + v % 28) for v in range(48)]),
        refused=("'x'", "dates"),
        csv=False,
    ),
    Case("periods", lambda: table(x=pd.period_range("2020-01", periods=48, freq="M")), refused=("'x'",), csv=False),
    Case("intervals", lambda: table(x=pd.cut(table().x, 3).astype(object)), refused=("'x'",), csv=False),
    Case(
        "categories of intervals",
        lambda: table(f=pd.cut(table().x, [-9, -0.5, 0.5, 9])),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", lambda: table(f=pd.cut(table().x, [-9, -0.5, 0.5, 9], labels=["a", "b", "c"]))),
        rename={"f[(-0.5, 0.5]]": "f[b]", "f[(0.5, 9.0]]": "f[c]"},
        csv=False,
    ),
    Case("mixed objects", lambda: table(x=[1, "a"] * 24), refused=("'x'", "mixed"), csv=False),
    Case("lists as values", lambda: table(x=[[1.0]] * 48), refused=("'x'",), csv=False),
    Case("bytes", lambda: table(x=[b"1"] * 48), refused=("'x'",), csv=False),
    Case("numbers as objects", lambda: table(x=table().x.astype(object)), twin=(FORMULA, table), csv=False),
    Case(
        "bool predictor",
        lambda: table(x=table().x > 0),
        twin=(FORMULA, lambda: table(x=(table().x > 0) * 1.0)),
        csv=False,
    ),
    Case(
        "nullable bool predictor",
        lambda: table(x=pd.array((table().x > 0).tolist(), dtype="boolean")),
        twin=(FORMULA, lambda: table(x=(table().x > 0) * 1.0)),
        csv=False,
    ),
    Case(
        "object bool predictor",
        lambda: table(x=(table().x > 0).astype(object)),
        twin=(FORMULA, lambda: table(x=(table().x > 0) * 1.0)),
        csv=False,
    ),
    Case(
        "nullable bool with NA",
        lambda: table(x=pd.array([pd.NA, *(table().x > 0).tolist()[1:]], dtype="boolean")),
        refused=("'x'", "missing"),
        csv=False,
    ),
    Case(
        "categories 1 and '1' as groups",
        lambda: table(g=pd.Categorical([1, "1", "b"] * 16)),
        refused=("'g'", "print alike (1)"),
        csv=False,
    ),
    Case(
        "categories 1.0, 2.0 as groups",
        lambda: table(g=pd.Categorical(table().g.map(ord) * 1.0)),
        twin=(FORMULA, table),
        csv=False,
    ),
    Case(
        "dates as categories",
        lambda: table(f=pd.Categorical(pd.to_datetime("2020") + pd.to_timedelta(np.arange(48) % 3, unit="D"))),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", table),
        rename={"f[2020-01-02 00:00:00]": "f[mid]", "f[2020-01-03 00:00:00]": "f[top]"},
        csv=False,
    ),
    Case(
        "bool groups",
        lambda: table(g=table().x > 0),
        twin=(FORMULA, lambda: table(g=np.where(table().x > 0, "b", "a"))),
        csv=False,
    ),
    Case("everything arrow-backed", arrow, "y ~ x + f + (1|g)", twin=("y ~ x + f + (1|g)", table)),
    Case(
        "a pyarrow table",
        lambda: pa.Table.from_pandas(table()),
        "y ~ x + f + (1|g)",
        twin=("y ~ x + f + (1|g)", table),
        csv=False,
    ),
    Case("a dict of lists", lambda: {k: v.tolist() for k, v in table().items()}, twin=(FORMULA, table), csv=False),
    Case(
        "string dtype",
        lambda: table(f=table().f.astype("string"), g=table().g.astype("string")),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", table),
        csv=False,
    ),
    Case(
        "a sparse column",
        lambda: table(x=pd.arrays.SparseArray(WHOLE * 1.0)),
        twin=(FORMULA, lambda: table(x=WHOLE * 1.0)),
        csv=False,
    ),
    Case(
        "order of categories is the user's",
        lambda: table(f=pd.Categorical(table().f, ORDER)),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", lambda: table(f=table().f.map({"top": "a", "low": "b", "mid": "c"}))),
        rename={"f[low]": "f[b]", "f[mid]": "f[c]"},
        csv=False,
    ),
    Case(
        "ordered categories",
        lambda: table(f=pd.Categorical(table().f, ORDER, ordered=True)),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", lambda: table(f=table().f.map({"top": "a", "low": "b", "mid": "c"}))),
        rename={"f[low]": "f[b]", "f[mid]": "f[c]"},
        csv=False,
    ),
    Case(
        "unused levels of a predictor",
        lambda: table(f=pd.Categorical(table().f, ["none", "low", "mid", "top"])),
        "y ~ f + (1|g)",
        twin=("y ~ f + (1|g)", table),
        says=("unused level", "none"),
        csv=False,
    ),
    Case(
        "unused groups",
        lambda: table(g=pd.Categorical(table().g, [*"abcdefgh", "zz"])),
        twin=(FORMULA, table),
        says=("unused level", "zz"),
        csv=False,
    ),
    Case("float groups that are whole", lambda: table(g=table().g.map(ord) * 1.0), twin=(FORMULA, table)),
    Case("fractions as groups", lambda: table(g=table().x), refused=("'g'", "fractions")),
    Case(
        "huge integers as groups",
        lambda: table(g=[2**53 + int(k) for k in np.repeat(np.arange(8), 6)]),
        twin=(FORMULA, table),
    ),
    Case(
        "mixed labels of groups",
        lambda: table(g=[1 if k == "a" else k for k in table().g]),
        refused=("'g'", "mixed"),
        csv=False,
    ),
    Case("groups 1 and '1'", lambda: table(g=[1, "1"] * 24), refused=("'g'", "mixed"), csv=False),
    Case(
        "dates as groups",
        lambda: table(g=pd.to_datetime("2020") + pd.to_timedelta(np.repeat(np.arange(8), 6), unit="D")),
        refused=("'g'", "dates"),
        csv=False,
    ),
    Case(
        "integer predictor that is the factor too",
        lambda: table(g=np.repeat(np.arange(8), 6)),
        "y ~ g + (1|g)",
        refused=("'g'", "copy"),
    ),
    Case("numeric text as groups", lambda: table(g=table().g.map(ord).map(str)), twin=(FORMULA, table), csv=False),
    Case("one number as text in the response", lambda: table(y=[*table().y[:-1], "12 "]), refused=("'y'",), csv=False),
]
SHAPES = [
    Case("no rows", lambda: table().iloc[:0], refused=("no rows",)),
    Case("no columns", lambda: table()[[]], refused=("'y'",), csv=False),
    Case("one row", lambda: table().iloc[:1], refused=("one",)),
    Case("two rows", lambda: table().iloc[[0, 7]], refused=("row",)),
    Case("one group", lambda: table(g="a"), refused=("'g'", "one group only")),
    Case("every group of one row", lambda: table(g=[f"g{k}" for k in range(48)]), refused=("'g'", "one row")),
    Case(
        "fewer rows than coefficients",
        lambda: table().iloc[[0, 1, 6, 7]],
        "y ~ x + z + f + (1|g)",
        refused=("rows",),
        at="reml",
    ),
    Case(
        "two groups",
        lambda: table().iloc[:12],
        twin=(FORMULA, lambda: table().iloc[:12].sample(frac=1, random_state=1)),
    ),
    Case("rows shuffled", lambda: table().sample(frac=1, random_state=3), twin=(FORMULA, table)),
    Case(
        "some groups of one row",
        lambda: table().iloc[5:],
        twin=(FORMULA, lambda: table().iloc[5:].reset_index(drop=True)),
    ),
    Case("duplicate index", lambda: table().set_index(np.zeros(48, dtype=int)), twin=(FORMULA, table)),
    Case(
        "a MultiIndex of rows",
        lambda: table().set_index(["g", "h"], drop=False).rename_axis([None, None]),
        twin=(FORMULA, table),
    ),
    Case("groups in the index only", lambda: table().set_index("g"), refused=("'g'",), csv=False),
    Case("MultiIndex columns", lambda: pd.concat({"a": table()}, axis=1), refused=("header levels",), csv=False),
    Case(
        "duplicate columns",
        lambda: pd.concat([table(), table()[["x"]]], axis=1),
        refused=("2 columns called 'x'",),
        csv=False,
    ),
    Case(
        "duplicate columns not used",
        lambda: pd.concat([table(), table()[["z"]]], axis=1),
        twin=(FORMULA, table),
        csv=False,
    ),
    Case(
        "columns named by numbers",
        lambda: table().rename(columns={"x": 0}),
        "y ~ `0` + (1|g)",
        refused=("the int 0",),
        csv=False,
    ),
    Case(
        "columns of different lengths", lambda: {"y": [1.0, 2.0], "x": [1.0]}, refused=("different lengths",), csv=False
    ),
    Case("a list of rows", lambda: [[1, 2], [3, 4]], refused=("expected a table",), csv=False),
    Case("None for a table", lambda: None, refused=("expected a table",), csv=False),
    Case("an array", lambda: table()[["y", "x"]].to_numpy(), refused=("expected a table",), csv=False),
    Case("a path", lambda: "data.csv", refused=("expected a table",), csv=False),
    Case(
        "two-dimensional values",
        lambda: {"y": np.ones((3, 2)), "x": [1, 2, 3], "g": list("aab")},
        refused=("dimensions",),
        csv=False,
    ),
    Case(
        "a Series in a dict keeps its rows",
        lambda: {k: v.iloc[::-1] if k == "x" else v for k, v in table().items()},
        twin=(FORMULA, lambda: table(x=table().x.to_numpy()[::-1])),
        csv=False,
    ),
]
CASES = [*DTYPES, *SHAPES]

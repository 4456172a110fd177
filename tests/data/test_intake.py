"""Any table becomes plain pandas columns with the same values; the caller's table is never changed."""

import numpy as np
import pandas as pd
import pytest

from poolwise.data.columns import kind_of
from poolwise.data.intake import as_frame
from poolwise.errors import DataError

BIG = 2**60 + 1


class Foreign:
    """A table of another library."""

    def __init__(self, frame):
        self.frame = frame

    def to_pandas(self):
        return self.frame


@pytest.mark.parametrize("wrap", [lambda t: t, dict, Foreign], ids=["pandas", "dict", "to_pandas"])
def test_tables_of_any_kind(wrap):
    table = pd.DataFrame({"x": [1, 2], "g": ["a", "b"]}, index=[7, 9])
    frame = as_frame(wrap(table))
    assert frame.index.tolist() == [0, 1]
    assert frame["x"].tolist() == [1, 2]
    assert frame["g"].tolist() == ["a", "b"]
    frame.loc[0, "x"] = 99
    assert table["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        (pd.array([1, None, 3], dtype="Int64"), "float64", [1.0, np.nan, 3.0]),
        (pd.array([1, 2], dtype="Int8"), "int8", [1, 2]),
        (pd.array([True, None], dtype="boolean"), "float64", [1.0, np.nan]),
        (pd.array([True, False], dtype="boolean"), "bool", [True, False]),
        (pd.array([1.5, None], dtype="Float32"), "float64", [1.5, np.nan]),
        (pd.array(["a", None], dtype="string"), "object", ["a", np.nan]),
        (pd.array([BIG, None], dtype="Int64"), "object", [BIG, np.nan]),
        (np.array([1, 2], dtype=object), "int64", [1, 2]),
        (pd.arrays.SparseArray([0.0, 1.0]), "float64", [0.0, 1.0]),
    ],
)
def test_nullable_columns_become_plain_exactly(column, dtype, values):
    found = as_frame(pd.DataFrame({"x": column}))["x"]
    assert found.dtype == dtype
    pd.testing.assert_series_equal(found, pd.Series(values, dtype=dtype, name="x"))


@pytest.mark.parametrize(
    ("type_", "values"),
    [("int64", [1, None]), ("float64", [1.5, None]), ("string", ["a", None]), ("bool_", [True, None])],
)
def test_arrow_columns_become_plain(type_, values):
    arrow = pytest.importorskip("pyarrow")
    column = pd.Series(values, dtype=pd.ArrowDtype(getattr(arrow, type_)()))
    for found in (as_frame({"x": column})["x"], as_frame(arrow.table({"x": values}))["x"]):
        assert isinstance(found.dtype, np.dtype)
        assert found[0] == values[0]
        assert found.isna().tolist() == [False, True]


def test_categoricals_keep_their_order():
    column = pd.Categorical(["u", "v"], categories=["v", "u", "w"], ordered=True)
    found = as_frame({"g": column})["g"]
    assert found.cat.categories.tolist() == ["v", "u", "w"]
    assert found.cat.ordered


def test_names_are_compared_in_normal_form_c():
    assert as_frame({"e\u0301": [1]}).columns.tolist() == ["\u00e9"]
    assert as_frame({"\u00b5": [1], "\u03bc": [2]}).columns.tolist() == ["\u00b5", "\u03bc"]
    assert as_frame({"e\u0301": [1], "\u00e9": [2]}).columns.tolist() == ["e\u0301", "\u00e9"]


def test_duplicate_and_numeric_names_pass_until_they_are_needed():
    table = pd.DataFrame([[1, 2, 3]], columns=["a", "a", 0])
    assert as_frame(table).columns.tolist() == ["a", "a", 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "data is a int; expected a table: a pandas, polars or pyarrow table, or a dict of columns"),
        ([[1, 2]], "data is a list; expected a table: a pandas, polars or pyarrow table, or a dict of columns"),
        ({"x": [1, 2], "y": [1]}, "the columns have different lengths: 'x' has 2, 'y' has 1"),
        ({"x": 3}, "column 'x' is one int; expected a sequence with one value a row"),
        ({"x": "abc"}, "column 'x' is one str; expected a sequence with one value a row"),
        ({"x": np.ones((2, 2))}, "column 'x' has 2 dimensions; expected one value a row"),
    ],
)
def test_what_is_no_table_is_refused(data, message):
    with pytest.raises(DataError) as caught:
        as_frame(data)
    assert str(caught.value) == message


def test_several_header_levels_are_refused():
    table = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    with pytest.raises(DataError, match="the columns have 2 header levels; one is expected"):
        as_frame(table)


def test_kinds_of_columns():
    kinds = {
        "number": [1, 2.0],
        "text": ["a", None],
        "complex": [1j, 2],
        "time": pd.to_datetime(["2020-01-01", "2021-01-01"]),
        "mixed": [1, "a"],
        "categorical": pd.Categorical(["a", "b"]),
        "other": [{1}, {2}],
    }
    assert {kind: kind_of(as_frame({"x": values})["x"]) for kind, values in kinds.items()} == {
        kind: kind for kind in kinds
    }

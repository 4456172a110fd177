"""One pass names every problem of a table, with column, count and rows; a good table passes unchanged."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import poolwise
from poolwise.data.validate import check_table
from poolwise.errors import DataError

N = 12


def table(**columns):
    base = {"y": np.arange(N) + 0.5, "x": np.arange(N) ** 2, "g": list("bac" * (N // 3)), "w": np.ones(N)}
    return pd.DataFrame(base | columns)


def check(frame, **roles):
    return check_table(frame, **({"response": ["y"], "predictors": ["x"], "factors": ["g"]} | roles))


def with_value(value, *rows, name="x"):
    values = np.arange(N) * 1.5
    values[list(rows)] = value
    return table(**{name: values})


def test_a_good_table_passes():
    frame = table(extra=np.nan)
    before = frame.copy(deep=True)
    checked = check(frame)
    assert checked.frame.columns.tolist() == ["y", "x", "g"]
    assert checked.frame["g"].cat.categories.tolist() == ["a", "b", "c"]
    assert checked.rows.tolist() == list(range(N))
    assert (checked.dropped, checked.notes) == ({}, ())
    pd.testing.assert_frame_equal(frame, before)


ONE_PROBLEM = [
    (
        with_value(np.nan, 4, 7, 9),
        {},
        "column 'x' has 3 missing values (rows 4, 7, 9); drop them with missing='drop' or fill them in",
    ),
    (
        with_value(np.nan, *range(8)),
        {},
        "column 'x' has 8 missing values (rows 0, 1, 2, 3, 4 and 3 more); "
        "drop them with missing='drop' or fill them in",
    ),
    (
        with_value(np.inf, 2),
        {},
        "column 'x' has 1 infinite value (row 2); set them to a number or leave these rows out",
    ),
    (
        table(),
        {"predictors": ["xx"]},
        "the table has no column 'xx'; did you mean 'x'? Available: 'y', 'x', 'g', 'w'",
    ),
    (
        table().rename(columns={"x": 0}),
        {"predictors": ["0"]},
        "the table has no column '0'; its name is the int 0; make it text: table.columns = table.columns.map(str)",
    ),
    (pd.concat([table(), table()[["x"]]], axis=1), {}, "the table has 2 columns called 'x'; rename all but one"),
    (table().iloc[:0], {}, "the table has no rows"),
    (table(y=2.0), {}, "the response 'y' is 2.0 in every row; there is nothing to model"),
    (
        table(y=list("ab" * 6)),
        {},
        "the response 'y' holds text ('a', 'b'), not numbers; name the event in the formula, y['b'] ~ ..., with "
        "family='bernoulli'",
    ),
    (
        table(y=[f"{i}.5" for i in range(N)]),
        {},
        "the response 'y' holds text ('0.5', '1.5', '2.5' and 9 more), not numbers; convert it: "
        "table['y'] = pd.to_numeric(table['y'])",
    ),
    (
        table(y=list("abc" * 4)),
        {},
        "the response 'y' holds text ('a', 'b', 'c'), not numbers; convert it to numbers, or take "
        "family='categorical', or 'cumulative' where they have an order",
    ),
    (table(x=7), {}, "column 'x' is 7 in every row, which cannot be told from the intercept; leave it out"),
    (
        table(x=[Decimal(i) for i in range(N)]),
        {},
        "column 'x' holds Decimal numbers; convert it: table['x'].astype(float)",
    ),
    (
        table(x=np.arange(N) * 1j),
        {},
        "column 'x' holds complex numbers; use the real part, the modulus or the angle",
    ),
    (
        table(x=pd.date_range("2020", periods=N)),
        {},
        "column 'x' holds dates or durations; convert it to a number, such as days since a date, or to text labels",
    ),
    (
        table(x=[1, "a"] * 6),
        {},
        "column 'x' holds values of mixed types; convert it to one type: table['x'].astype(float) or .astype(str)",
    ),
    (
        table(x=[f"{i}.5" for i in range(N)]),
        {},
        "column 'x' holds numbers written as text (0.5, 1.5, 2.5 and 9 more); convert it: pd.to_numeric(table['x']), "
        "or make it a pd.Categorical if they are labels",
    ),
    (table(g="a"), {}, "the grouping factor 'g' has one group only (a); partial pooling needs several"),
    (
        table(g=list("abcdefghijkl")),
        {},
        "every group of 'g' has one row (12 groups); group and residual variation cannot be told apart; use a "
        "coarser factor or leave the block out",
    ),
    (
        table(g=np.arange(N) / 2),
        {},
        "the grouping factor 'g' holds fractions such as 0.5; a grouping factor is made of labels: convert it to "
        "integers, text or a pd.Categorical",
    ),
    (
        table(),
        {"factors": ["x"]},
        "column 'x' is used as a number and as a grouping factor; copy it under another name for one",
    ),
    (
        with_value(0.0, 3, 5, name="w").assign(w=lambda t: t.w + (t.index == 0)),
        {"weights": "w"},
        "the weights 'w' have 2 values that are zero or negative (rows 3, 5); leave these rows out",
    ),
    (table(w="a"), {"weights": "w"}, "the weights 'w' hold text, not numbers; convert them"),
]


@pytest.mark.parametrize(("frame", "roles", "message"), ONE_PROBLEM)
def test_one_problem_is_one_sentence(frame, roles, message):
    if roles.get("factors") == ["x"]:
        frame = frame.assign(x=[1, 2, 3] * 4)
    with pytest.raises(DataError) as caught:
        check(frame, **roles)
    assert str(caught.value) == message


def test_all_problems_come_in_one_error():
    frame = with_value(np.nan, 1).assign(w=-1.0, g=["a"] * N)
    with pytest.raises(DataError) as caught:
        check(frame, weights="w", predictors=["x", "zz"])
    lines = str(caught.value).split("\n- ")
    assert lines[0] == "the table has 4 problems:"
    assert [next(name for name in ("'zz'", "'x'", "'w'", "'g'") if name in line) for line in lines[1:]] == [
        "'zz'",
        "'x'",
        "'w'",
        "'g'",
    ]


def test_dropped_rows_are_counted_and_numbered():
    frame = with_value(np.nan, 1, 4)
    frame.loc[[4, 6], "y"] = np.nan
    checked = check(frame, missing="drop")
    assert checked.dropped == {"y": 2, "x": 2}
    assert checked.rows.tolist() == [0, 2, 3, 5, 7, 8, 9, 10, 11]
    assert checked.frame.index.tolist() == list(range(9))


def test_a_group_that_loses_all_rows_is_noted():
    frame = with_value(np.nan, 0, 3, 6, 9)
    assert check(frame, missing="drop").notes == (
        "column 'g': 1 group (b) left out, every row of which misses a value",
    )


def test_unused_levels_are_noted_and_the_order_kept():
    levels = pd.Categorical(list("bac" * 4), categories=list("zcbaw"))
    checked = check(table(g=levels))
    assert checked.frame["g"].cat.categories.tolist() == ["c", "b", "a"]
    assert checked.notes == ("column 'g': 2 unused levels (z, w) ignored",)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([10, 9, 2] * 4, [2, 9, 10]),
        (np.array([10.0, 9.0, 2.0] * 4), [2, 9, 10]),
        (["10", "9", "2"] * 4, ["10", "2", "9"]),
        ([True, False, True] * 4, [False, True]),
    ],
)
def test_groups_are_sorted_by_their_own_order(values, levels):
    assert check(table(g=values)).frame["g"].cat.categories.tolist() == levels


def test_cells_of_an_interaction_are_checked_together():
    frame = table(g=list("aabbcc" * 2), h=np.repeat(np.arange(6), 2))
    check(frame, factors=["g", "h"])
    with pytest.raises(DataError, match="every group of 'g:h' has one row"):
        check(frame.assign(h=np.tile(np.arange(6), 2) * 2 + np.repeat([0, 1], 6)), factors=["g", ("g", "h")])


def test_what_the_caller_allows():
    check(table(x=3), constant_ok=["x"])
    check(table(g=list("abcdefghijkl")), singletons_ok=True)
    with pytest.raises(DataError, match="missing='ignore' is not known; use 'error' or 'drop'"):
        check(table(), missing="ignore")


def test_few_labels_that_look_like_numbers_stay_labels():
    assert check(table(x=["1", "2", "3"] * 4)).frame["x"].tolist() == ["1", "2", "3"] * 4


@pytest.mark.parametrize(("size", "unit"), [(1e200, "1e202"), (1e-200, "1e-198")])
def test_units_whose_squares_no_double_holds_are_refused(size, unit):
    data = poolwise.load_dataset("sleepstudy")
    with pytest.raises(poolwise.PoolwiseError, match=rf"'Reaction' has values of the size of {unit}.* change its unit"):
        poolwise.Model("Reaction ~ Days + (1 | Subject)", data.assign(Reaction=data["Reaction"] * size))
    with pytest.raises(poolwise.PoolwiseError, match="'Days' has values of the size of"):
        poolwise.Model("Reaction ~ Days + (1 | Subject)", data.assign(Days=data["Days"] * size))


def test_a_few_texts_in_a_column_of_numbers_are_a_mistake():
    numbers = [str(value) for value in range(30)]
    table = pd.DataFrame({"y": np.arange(31.0), "x": [*numbers, "absent"], "g": ["a", "b"] * 15 + ["a"]})
    with pytest.raises(DataError, match=r"column 'x' holds numbers but for absent \(row 30\)"):
        check_table(table, response=["y"], predictors=["x"], factors=["g"])
    # The row is that of the caller's table, whatever was dropped before it.
    gaps = table.assign(y=table["y"].where(table.index > 2))
    with pytest.raises(DataError, match=r"absent \(row 30\)"):
        check_table(gaps, response=["y"], predictors=["x"], factors=["g"], missing="drop")
    # Labels of which some are numbers are labels.
    ages = table.assign(x=["10", "20", "30+"] * 10 + ["10"])
    assert len(check_table(ages, response=["y"], predictors=["x"], factors=["g"]).frame) == 31

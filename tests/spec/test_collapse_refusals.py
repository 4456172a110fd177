"""Bad sources, files and sites: one clear error that names the partition, the file or the site."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.errors import ArgumentError, DataError, RowsNeededError, StoreError
from poolwise.spec.collapsed_file import MAGIC

FORMULA = "y ~ x + f + (x | g)"


def table(seed: int = 0, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, x = rng.integers(0, 8, n), rng.normal(size=n)
    return pd.DataFrame(
        {"y": x + rng.normal(size=8)[g] + rng.normal(size=n), "x": x, "f": rng.choice(["a", "b"], n), "g": g}
    )


def written(folder, change=lambda frame: frame):
    """Two files, the second changed."""
    rows = table()
    rows[:200].to_parquet(folder / "first.parquet")
    change(rows[200:].reset_index(drop=True)).to_parquet(folder / "second.parquet", row_group_size=50)
    return str(folder / "*.parquet")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="x"), r"second.parquet: the table has no column 'x'"),
        (lambda t: t.assign(x=t["x"].astype(str)), r"second.parquet, row 0: column 'x' holds text .*numbers before"),
        (
            lambda t: t.assign(y=t["y"].where(t.index != 199)),
            r"second.parquet: column 'y' .* missing value \(row 199",
        ),
        (lambda t: t.assign(x=t["x"].where(t.index != 150, np.inf)), r"second.parquet: .*1 infinite value \(row 150"),
        (lambda t: t.assign(x=pd.Timestamp("2020-01-01")), r"second.parquet: column 'x' holds dates"),
    ],
)
def test_a_bad_partition_is_named(tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        pw.collapse(written(tmp_path, change), FORMULA, batch=60)


def test_rows_that_miss_a_value_are_dropped_and_counted(tmp_path):
    source = written(tmp_path, lambda t: t.assign(y=t["y"].where(t.index >= 7)))
    data = pw.collapse(source, FORMULA, missing="drop", batch=60)
    assert (data.n, data.dropped) == (393, {"y": 7})
    rows = table().drop(index=range(200, 207))
    assert data.total.mean[0, -1] == pytest.approx(rows["y"].mean(), rel=1e-12)


def test_a_damaged_file_is_named(tmp_path):
    source = written(tmp_path)
    content = bytearray((tmp_path / "second.parquet").read_bytes())
    content[len(content) // 4 : len(content) // 2] = b"\xff" * (len(content) // 2 - len(content) // 4)
    (tmp_path / "second.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"second.parquet: .*(damaged|cannot be read)"):
        pw.collapse(source, FORMULA, batch=50)
    (tmp_path / "second.parquet").write_bytes(content[:300])
    with pytest.raises(DataError, match=r"second.parquet: cannot be read"):
        pw.collapse(source, FORMULA)


def test_levels_unseen_by_the_agreed_ones_are_named():
    first = pw.collapse(table(), FORMULA)
    other = table(1).assign(f=lambda t: t["f"].where(t.index != 3, "new"))
    with pytest.raises(DataError, match="'f' has levels that like= does not have: new"):
        pw.collapse(other, FORMULA, like=first)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing-*.parquet", "no file matches"),
        ("nothing.parquet", "there is no file"),
        ([], "empty list"),
        (3, "expected a table"),
        (table()[:0], "no row is complete"),
        (table().assign(y=1.0), "is 1.0 in every row"),
        (table().assign(g=1), "one group only"),
        (table().assign(g=range(400)), "every group of 'g' has one row"),
        (
            table().assign(f=lambda t: np.where(t["x"] > 0, "a", "b"), x=lambda t: 1.0 * (t["x"] > 0)),
            "linear combination",
        ),
    ],
)
def test_sources_without_a_model(source, said):
    with pytest.raises(DataError, match=said):
        pw.collapse(source, FORMULA)


def test_what_would_have_to_learn_in_a_response_is_refused():
    with pytest.raises(DataError, match="response or an offset would have to learn"):
        pw.collapse(table(), "scale(y) ~ x + (1 | g)")
    with pytest.raises(DataError, match="is not one number a row"):
        pw.collapse(table().assign(c="none"), "censored(y, c) ~ x + (1 | g)")
    with pytest.raises(DataError, match="independent draws"):
        pw.collapse(table(), "y ~ x + (1 | gr(g, by=f))")
    with pytest.raises(ArgumentError, match="min_rows"):
        pw.collapse(table(), FORMULA, min_rows=0)


def test_small_cells_are_refused():
    rows = table()
    rows.loc[rows["g"] == 3, "f"] = "a"
    rows.loc[rows.index[rows["g"] == 3][:2], "f"] = "b"
    # Two rows of group 3 have f = b, so the sum of y over them is in the cross-products.
    with pytest.raises(DataError, match=r"1 cell of g \(3 ...\) have fewer than min_rows=5 rows"):
        pw.collapse(rows, FORMULA, min_rows=5)
    assert pw.collapse(rows, FORMULA, min_rows=2).min_rows == 2


def test_sites_that_disagree_are_named():
    first = pw.collapse(table(), FORMULA)
    called = ["Basel", "Graz"]
    with pytest.raises(DataError, match="Graz was collapsed for another model"):
        pw.combine([first, pw.collapse(table(1), "y ~ x + (x | g)")], names=called)
    with pytest.raises(DataError, match="Graz: column 'f' has the levels a, b, c"):
        pw.combine([first, pw.collapse(table(1).assign(f=["a", "b", "c", "a"] * 100), FORMULA)], names=called)
    with pytest.raises(DataError, match="Graz: column 'g' holds another type"):
        pw.combine([first, pw.collapse(table(1).assign(g=lambda t: t["g"].map("g{}".format)), FORMULA)], names=called)
    scaled = "y ~ scale(x) + (1 | g)"
    with pytest.raises(DataError, match=r"Graz: its transformations learned other numbers"):
        pw.combine([pw.collapse(table(), scaled), pw.collapse(table(1), scaled)], names=called)
    with pytest.raises(ArgumentError, match="list of CollapsedData"):
        pw.combine([table()])


def test_groups_of_sites_may_differ():
    rows = table()
    formula = "y ~ x + (x | g)"
    sites = [pw.collapse(rows[rows["g"] >= 4], formula), pw.collapse(rows[rows["g"] < 5], formula)]
    both = pd.concat([rows[rows["g"] >= 4], rows[rows["g"] < 5]])
    first, second = pw.Model(formula, both).fit_frequentist(), pw.Model(formula, pw.combine(sites)).fit_frequentist()
    pd.testing.assert_frame_equal(first.coef(), second.coef(), rtol=1e-9)


def test_another_model_of_the_sums_is_refused():
    data = pw.collapse(table(), FORMULA)
    with pytest.raises(DataError, match="were collapsed for"):
        pw.Model("y ~ x + (x | g)", data)
    with pytest.raises(DataError, match="Gaussian models"):
        pw.Model(FORMULA, data, family="t")
    with pytest.raises(pw.PoolwiseError, match="collapsed data do not have"):
        pw.Model(FORMULA, data, priors="brms")


def test_what_needs_rows_says_so():
    model = pw.Model(FORMULA, pw.collapse(table(), FORMULA))
    fit = model.fit_frequentist()
    for ask in (lambda: fit.fitted, lambda: fit.residuals, lambda: fit.predict(), lambda: model.pymc):
        with pytest.raises(RowsNeededError, match=r"only sums.*with the rows"):
            ask()
    with pytest.raises(ArgumentError, match="only sums are left"):
        model.fit(form="whitened", progress=False)
    with pytest.raises(RowsNeededError, match="only sums"):
        model.fit(form="generative", progress=False)


def saved(tmp_path) -> bytes:
    return pw.collapse(table(), FORMULA).save(tmp_path / "site.sums").read_bytes()


def resealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def with_header(content: bytes, **changes) -> bytes:
    """The file with another header and a checksum that fits."""
    at = len(MAGIC)
    end = at + 8 + int.from_bytes(content[at : at + 8], "little")
    header = json.loads(content[at + 8 : end]) | changes
    text = json.dumps(header).encode()
    return resealed(MAGIC + len(text).to_bytes(8, "little") + text + content[end:-32])


def test_files_that_are_not_whole_are_refused(tmp_path):
    content, path = saved(tmp_path), tmp_path / "site.sums"
    for wrong in (b"", b"PK\x03\x04", content[:-1], content[:60], content[:-40] + b"\0" + content[-39:]):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match=r"site.sums"):
            pw.load_collapsed(path)
    path.write_bytes(content.replace(b"collapsed 2", b"collapsed 3"))
    with pytest.raises(StoreError, match="another version"):
        pw.load_collapsed(path)
    with pytest.raises(StoreError, match="cannot be read"):
        pw.load_collapsed(tmp_path / "none.sums")


def test_no_row_is_in_a_file(tmp_path):
    content, rows = saved(tmp_path), table()
    for name in ("y", "x"):
        assert not any(value.tobytes() in content for value in rows[name].to_numpy())


HOSTILE = [
    {"canonical": "y ~ x + f + (x | g) + __import__('os')"},
    {"canonical": "y ~ x + (x | g)"},
    {"canonical": "y ~ np.log(x) + f + (x | g)"},
    {"canonical": "y ~ x + bs(x, df=1000000000) + f + (x | g)"},
    {"canonical": "y ~ x + f + C(x):C(g):f + (C(x) | g)"},
    {"canonical": 3},
    {"arrays": [["keys", "i8", [2**60]]]},
    {"arrays": [["keys", "O", [8]]]},
    {"arrays": [["keys", "i8", [-1]]]},
    {"arrays": []},
    {"columns": []},
    {"columns": [["y", "number", None, False, float("nan"), 1.0]]},
    {
        "canonical": "y ~ x:f:h:k + (1 | g)",
        "columns": [
            ["y", "number", None, False, 0, 1],
            ["x", "number", None, False, 0, 1],
            *([name, "text", [f"{name}{k}" for k in range(1000)], False, 0, 0] for name in ("f", "h", "k")),
            ["g", "number", list(range(8)), False, 0, 0],
        ],
    },
    {"states": [[{"call": "Scale", "mean": 0, "sd": 1}], []]},
    {"states": 3},
    {"log_weights": "x"},
    {"min_rows": -1},
    {"notes": [3]},
    {"folds": 0},
    {"folds": True},
    {"folds": 10**9},
    {"folds": None},
    {"notes": ["\ud800"]},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_headers_are_refused(tmp_path, changes):
    path = tmp_path / "site.sums"
    content = saved(tmp_path)
    path.write_bytes(with_header(content, **changes))
    with pytest.raises(StoreError, match=r"site.sums"):
        pw.load_collapsed(path)


def test_a_header_that_is_nested_deeply_is_refused(tmp_path):
    text = b'{"a":' + b"[" * 100_000
    (tmp_path / "deep.sums").write_bytes(resealed(MAGIC + len(text).to_bytes(8, "little") + text))
    with pytest.raises(StoreError, match=r"deep.sums"):
        pw.load_collapsed(tmp_path / "deep.sums")

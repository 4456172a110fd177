"""Counts in files and from sites: what was saved comes back, sites together are all rows, other files are refused.

Counts are whole numbers and add up exactly; sums of shares and of logs differ by rounding, 1e-13 of some hundreds.
"""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from test_counts import DESIGNS, table

import poolwise as pw
from poolwise.errors import ArgumentError, DataError, StoreError
from poolwise.spec.counted_file import MAGIC
from poolwise.spec.counts import FIELDS

pytestmark = pytest.mark.filterwarnings("ignore::poolwise.PoolwiseWarning")
FORMULA = "b ~ x + f + (1 | g)"


def counted(name: str, rows=None, **options):
    family, formula, given = DESIGNS[name]
    weights = {key: value for key, value in given.items() if key == "weights"}
    return pw.collapse(table() if rows is None else rows, formula, family=family, **weights, **options)


def same(found, expected, rtol=1e-13):
    pd.testing.assert_frame_equal(found.counts.keys, expected.counts.keys)
    for field in FIELDS:
        own = rtol if field in ("constant", "scaled", "squared") else 0.0
        np.testing.assert_allclose(getattr(found.counts, field), getattr(expected.counts, field), rtol=own)
    assert (found.recipe, found.family, found.weights) == (expected.recipe, expected.family, expected.weights)
    assert found.states == expected.states and found.dropped == expected.dropped


@pytest.mark.parametrize("name", DESIGNS)
def test_what_was_saved_comes_back(name, tmp_path):
    data = counted(name)
    again = pw.load_collapsed(data.save(tmp_path / "site.counts"))
    same(again, data, rtol=0.0)
    assert repr(again) == repr(data)


@pytest.mark.parametrize("name", DESIGNS)
def test_sites_together_are_all_rows(name, tmp_path):
    rows = table()
    # One site has three of twelve groups, and one of the levels of a factor.
    few = rows["g"].isin(["g1", "g2", "g3"]) & (rows["f"] != "low")
    sites = [rows[few], rows[~few][:900], rows[~few][900:]]
    agreed = counted(name, sites[1])
    files = [counted(name, site, like=agreed).save(tmp_path / f"{k}.counts") for k, site in enumerate(sites)]
    found = pw.combine([pw.load_collapsed(path) for path in files], names=["Basel", "Graz", "Pisa"])
    expected = counted(name, like=agreed)
    same(found, expected)
    family, formula, given = DESIGNS[name]
    ours, theirs = (pw.Model(formula, data, family, **given).fit_frequentist() for data in (found, expected))
    assert ours.loglik == pytest.approx(theirs.loglik, rel=1e-12)
    np.testing.assert_allclose(ours.fixef, theirs.fixef, rtol=1e-9)


def test_sites_keep_their_folds_when_they_agree(tmp_path):
    rows = table()
    first = counted("bernoulli", rows[:1500], folds=3)
    others = [counted("bernoulli", rows[1500:], folds=k, like=first) for k in (3, None, 4)]
    path = first.save(tmp_path / "folds.counts")
    both = pw.combine([pw.load_collapsed(path), others[0]])
    assert both.folds == 3 and "folds    3, of rows" in repr(both)
    for k in range(3):
        alone = [site.parts.rows[site.fold_of_part == k].sum() for site in (both, first, others[0])]
        assert alone[0] == alone[1] + alone[2]
    without = counted("bernoulli", rows[1500:], like=first)
    for other, said in zip(others[1:], ("site 2 none", "site 2 4"), strict=True):
        mixed = pw.combine([first, other])
        assert mixed.folds == 1 and said in mixed.notes[-1] and said in repr(mixed)
        same(mixed, pw.combine([counted("bernoulli", rows[:1500]), without]))


def test_folds_of_cells_that_are_too_small_are_refused():
    with pytest.raises(DataError, match=r"fewer than min_rows=20 rows.*within one of the 4 folds.*take fewer folds"):
        counted("counts", folds=4, min_rows=20)


def as_version_1(content: bytes) -> bytes:
    """A file as the first version wrote it, without folds and notes."""
    at = len(MAGIC)
    end = at + 8 + int.from_bytes(content[at : at + 8], "little")
    header = json.loads(content[at + 8 : end])
    del header["folds"], header["notes"]
    # Arrays follow one another in the order of the header: the last one is that of folds.
    *arrays, (name, _, shape) = header["arrays"]
    assert name == "fold"
    header["arrays"] = arrays
    text = json.dumps(header).encode()
    body = b"poolwise counted 1\n" + len(text).to_bytes(8, "little") + text + content[end : -32 - 8 * shape[0]]
    return body + hashlib.sha256(body).digest()


def test_files_of_the_first_version_are_read(tmp_path):
    data, path = counted("counts"), tmp_path / "old.counts"
    path.write_bytes(as_version_1(data.save(tmp_path / "new.counts").read_bytes()))
    same(pw.load_collapsed(path), data, rtol=0.0)
    path.write_bytes(as_version_1(counted("counts", folds=3).save(path).read_bytes()))
    with pytest.raises(StoreError, match="two cells are one"):
        pw.load_collapsed(path)


def test_levels_that_one_site_alone_has():
    rows = table().assign(f=lambda t: t["f"].astype(str))
    first, second = rows[rows["f"] != "mid"], rows[rows["f"] == "mid"]
    with pytest.raises(DataError, match="'f' "):
        pw.collapse(second, FORMULA, family="bernoulli")
    sites = [pw.collapse(first, FORMULA, family="bernoulli")]
    sites.append(pw.collapse(second, FORMULA, family="bernoulli", like=sites[0]))
    same(pw.combine(sites), pw.collapse(rows, FORMULA, family="bernoulli"))


def test_dropped_rows_and_the_smallest_number_are_kept(tmp_path):
    rows = table()
    rows.loc[3, "x"] = np.nan
    site = pw.collapse(rows, "b ~ x + (1 | h)", family="bernoulli", missing="drop", min_rows=20)
    again = pw.load_collapsed(site.save(tmp_path / "site.counts"))
    both = pw.combine([again, pw.collapse(rows.dropna(), "b ~ x + (1 | h)", family="bernoulli", min_rows=5)])
    assert (again.min_rows, both.min_rows, both.dropped, both.n) == (20, 5, {"x": 1}, 2 * len(rows) - 2)


def test_small_cells_are_refused():
    rows = table()
    smallest = rows.groupby(["x", "h"]).size().min()
    assert pw.collapse(rows, "c ~ x + (1 | h)", family="poisson", min_rows=int(smallest)).min_rows == smallest
    with pytest.raises(DataError, match=rf"1 cell of x:h .* have fewer than min_rows={smallest + 1} rows, so that"):
        pw.collapse(rows, "c ~ x + (1 | h)", family="poisson", min_rows=int(smallest) + 1)
    # Enough rows in each cell, but one event alone in one of them.
    first = (rows["x"] == 0) & (rows["h"] == 0)
    rows = rows.assign(b=np.where(first, np.cumsum(first) == 1, rows["b"]))
    with pytest.raises(DataError, match=r"1 cell of x:h \(0\.0:0 \.\.\.\).*or fewer of either response"):
        pw.collapse(rows, "b ~ x + (1 | h)", family="bernoulli", min_rows=2)


def test_sites_that_disagree_are_named():
    rows, called = table(), ["Basel", "Graz"]
    first = pw.collapse(rows, FORMULA, family="bernoulli")
    others = [
        ("b ~ x + (1 | g)", "bernoulli", rows, "Graz was collapsed for another model"),
        (FORMULA, "poisson", rows, "Graz was counted for family 'bernoulli', not 'poisson'"),
        (FORMULA, "bernoulli", rows.assign(g=rows["h"]), "Graz: column 'g' holds another type"),
        (
            FORMULA,
            "bernoulli",
            rows.assign(f=rows["f"].cat.reorder_categories(["low", "mid", "none", "top"])),
            "Graz: column 'f' has other categories, or in another order, than Basel",
        ),
    ]
    for formula, family, own, said in others:
        with pytest.raises(DataError, match=said):
            pw.combine([pw.collapse(own, formula, family=family), first][::-1], names=called)
    with pytest.raises(DataError, match=r"column 'f' has levels that like= does not have: mid"):
        kept = rows[rows["f"] != "mid"].assign(f=lambda t: t["f"].cat.remove_unused_categories())
        pw.collapse(rows, FORMULA, family="bernoulli", like=pw.collapse(kept, FORMULA, family="bernoulli"))
    scaled = "b ~ scale(x) + (1 | g)"
    with pytest.raises(DataError, match="Graz: its transformations learned other numbers"):
        pw.combine([pw.collapse(part, scaled, family="bernoulli") for part in (rows, rows[:500])], names=called)
    with pytest.raises(ArgumentError, match="takes a list of CollapsedData, or of CountedData"):
        pw.combine([first, pw.collapse(rows, "c ~ x + (1 | g)")])
    with pytest.raises(ArgumentError, match="takes counts"):
        pw.collapse(rows, FORMULA, family="bernoulli", like=pw.collapse(rows, "c ~ x + (1 | g)"))


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
def test_a_fit_of_counts_is_saved_stored_and_made_longer(tmp_path):
    family, formula, given = DESIGNS["probit"]
    model = pw.Model(formula, counted("probit"), family, **given)
    fit = model.fit(draws=100, tune=300, chains=2, seed=1, progress=False, store=tmp_path / "run")
    for again in (pw.load_fit(fit.save(tmp_path / "fit.nc")), pw.load_fit(tmp_path / "run")):
        pd.testing.assert_frame_equal(again.coef(), fit.coef())
        pd.testing.assert_frame_equal(again.predict(table(15)), fit.predict(table(15)))
        assert again.design.family == fit.design.family and again.rmse() == fit.rmse()
    longer = pw.resume(tmp_path / "run", draws=150, progress=False)
    assert longer.posterior.equals(fit.extend(50, progress=False).posterior)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    data = pw.collapse(table(), "p(s, t) ~ scale(x) + f + (1 | g)", family="binomial")
    return data.save(tmp_path_factory.mktemp("counts") / "site.counts").read_bytes()


def resealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def changed(content: bytes, change) -> bytes:
    """The file with another header and arrays, and a checksum that fits."""
    at = len(MAGIC)
    end = at + 8 + int.from_bytes(content[at : at + 8], "little")
    header, start, arrays = json.loads(content[at + 8 : end]), end, {}
    for name, kind, shape in header["arrays"]:
        arrays[name] = np.frombuffer(content, {"f8": "<f8", "i8": "<i8"}[kind], shape[0], start).copy()
        start += arrays[name].nbytes
    change(header, arrays)
    text = json.dumps(header).encode()
    values = b"".join(own.tobytes() for own in arrays.values())
    return resealed(MAGIC + len(text).to_bytes(8, "little") + text + values)


def test_files_that_are_not_whole_are_refused(content, tmp_path):
    path = tmp_path / "site.counts"
    for length in (*range(0, len(content), 997), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(StoreError, match=r"site\.counts"):
            pw.load_collapsed(path)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(content), 100):
        altered = bytearray(content)
        altered[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        with pytest.raises(StoreError, match=r"site\.counts"):
            pw.load_collapsed(path)
    path.write_bytes(content.replace(b"counted 2", b"counted 3"))
    with pytest.raises(StoreError, match="another version"):
        pw.load_collapsed(path)


def test_the_file_itself_is_read(content, tmp_path):
    (tmp_path / "site.counts").write_bytes(changed(content, lambda header, arrays: None))
    assert pw.load_collapsed(tmp_path / "site.counts").n == 3000


def at(name, value, k=0):
    def change(header, arrays):
        arrays[name][k] = value

    return change


def head(**changes):
    return lambda header, arrays: header.update(changes)


HOSTILE = {
    "code": head(canonical="p(s, t) ~ x + f + (1 | g) + __import__('os')"),
    "another formula": head(canonical="p(s, t) ~ scale(x) + (1 | g)"),
    "wide": head(canonical="p(s, t) ~ scale(x) + bs(x, df=1000000000) + f + (1 | g)"),
    "members": head(canonical="p(s, t) ~ scale(x) + f + (1 | mm(g, g))"),
    "no formula": head(canonical=3),
    "gamma": head(family="gamma"),
    "no family": head(family=None),
    "states": head(states=[[{"call": "Scale", "mean": 0, "sd": float("inf")}], []]),
    "states of others": head(states=[[{"call": "Center", "mean": 0}], []]),
    "fewer states": head(states=[]),
    "no states": head(states=3),
    "min_rows": head(min_rows=0),
    "dropped": head(dropped={"x": "3"}),
    "weights": head(weights=3),
    "surrogates": head(dropped={"\ud800": 3}),
    "no columns": head(columns=[]),
    "columns": head(columns=[["x", "number", None, False]]),
    "one level": lambda header, arrays: header["columns"][1].__setitem__(2, ["low"]),
    "levels twice": lambda header, arrays: header["columns"][1].__setitem__(2, ["low", "low", "mid", "top"]),
    "size": lambda header, arrays: header["arrays"][0].__setitem__(2, [2**39]),
    "types": lambda header, arrays: header["arrays"][-1].__setitem__(1, "O"),
    "a level": at("key_1", 9),
    "no level": at("key_1", -1),
    "no number": at("key_0", np.nan),
    "a cell twice": lambda header, arrays: [arrays[f"key_{k}"].__setitem__(1, arrays[f"key_{k}"][0]) for k in range(3)],
    "successes": at("y", 1e6),
    "minus": at("y", -1.0),
    "half": at("y", 0.5),
    "no trials": at("trials", 0.0),
    "no rows": at("rows", 0.0),
    "many rows": at("rows", 1e300),
    "nan": at("constant", np.nan),
    "shares": at("scaled", 1e6),
    "squares": at("squared", 0.0, 5),
    "a fold": at("fold", 1),
    "no folds": head(folds=0),
    "many folds": head(folds=10**9),
    "notes": head(notes=[3]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(content, tmp_path, name):
    path = tmp_path / "site.counts"
    path.write_bytes(changed(content, HOSTILE[name]))
    with pytest.raises(StoreError, match=r"site\.counts"):
        pw.load_collapsed(path)


def test_files_of_the_other_kind_are_no_like(content, tmp_path):
    text = b'{"a":' + b"[" * 100_000
    (tmp_path / "deep.counts").write_bytes(resealed(MAGIC + len(text).to_bytes(8, "little") + text))
    with pytest.raises(StoreError, match=r"deep\.counts"):
        pw.load_collapsed(tmp_path / "deep.counts")

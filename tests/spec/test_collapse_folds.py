"""Folds of rows kept apart in sums: the same whatever the batches, partitions and workers, and the total untouched.

Tolerance 1e-12 relative to the largest: parts merge in another order, which costs a few roundings of 1e-16.
"""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from test_collapse import partitions, table

import poolwise as pw
from poolwise.data.folds import fold_of_rows
from poolwise.errors import ArgumentError, DataError, StoreError
from poolwise.spec.collapsed_file import MAGIC

FORMULA = "y ~ scale(x) + f + (x | g)"
RTOL = 1e-12


def close(first, second) -> None:
    np.testing.assert_array_equal(first.keys, second.keys)
    np.testing.assert_array_equal(first.rows, second.rows)
    for one, other in ((first.plain, second.plain), (first.weighted, second.weighted)):
        for name in ("weight", "mean", "scatter"):
            a, b = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(a, b, rtol=0, atol=RTOL * np.abs(b).max())


def test_the_folds_of_one_seed_are_like_random_ones():
    counts = np.array([np.bincount(fold_of_rows(np.arange(1000), 5, seed), minlength=5) for seed in range(200)])
    # A sum of 200 chi-squares with 4 degrees of freedom: mean 800, sd 40.
    assert abs(((counts - 200.0) ** 2 / 200).sum() - 800) < 4 * 40
    first, second = (fold_of_rows(np.arange(5000), 4, seed) for seed in (0, 1))
    assert abs((first == second).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 5000)


@pytest.mark.parametrize("weights", [None, "w"])
def test_each_part_has_the_sums_of_its_rows_and_the_total_is_what_it_was(weights):
    rows = table()
    data = pw.collapse(rows, FORMULA, folds=4, seed=7, batch=170, weights=weights)
    close(data.sums, pw.collapse(rows, FORMULA, weights=weights).sums)
    assert data.n == len(rows) and data.folds == 4
    assert data.sums.log_weights == pytest.approx(0.0 if weights is None else np.log(rows["w"]).sum(), rel=1e-12)
    fold = fold_of_rows(np.arange(len(rows)), 4, seed=7)
    codes = rows["g"].astype("category").cat.codes
    for k in (0, 13, 40):
        own = rows[(codes == data.codes[data.cell_of_part[k], 0]) & (fold == data.fold_of_part[k])]
        assert data.parts.rows[k] == len(own)
        assert data.parts.plain.mean[k, -1] == pytest.approx(own["y"].mean(), rel=1e-12)


@pytest.mark.parametrize("source", ["dataset", "list", "dask", "lazy"])
def test_batches_and_partitions_have_no_say(source, tmp_path):
    rows = table()
    here = pw.collapse(rows, FORMULA, folds=3, seed=5)
    close(pw.collapse(partitions(source, rows), FORMULA, folds=3, seed=5, batch=111).parts, here.parts)


def test_a_row_keeps_its_fold_when_others_miss_values():
    rows = table()
    rows.loc[::7, "x"] = np.nan
    data = pw.collapse(rows, "y ~ x + (1 | g)", folds=3, missing="drop", batch=50)
    fold = fold_of_rows(np.arange(len(rows)), 3, seed=0)[rows["x"].notna()]
    np.testing.assert_array_equal(np.bincount(data.fold_of_part, data.parts.rows), np.bincount(fold))


def test_sites_keep_their_folds_when_they_agree(tmp_path):
    rows, formula = table(), "y ~ x + (x | g)"
    first = pw.collapse(rows[:500], formula, folds=3)
    others = [pw.collapse(rows[500:], formula, folds=k, like=first) for k in (3, None, 4)]
    paths = [site.save(tmp_path / f"{k}.sums") for k, site in enumerate((first, others[0]))]
    both = pw.combine([pw.load_collapsed(path) for path in paths])
    assert both.folds == 3 and "3, of rows" in repr(both)
    fold = np.concatenate([fold_of_rows(np.arange(n), 3, seed=0) for n in (500, 700)])
    np.testing.assert_array_equal(np.bincount(both.fold_of_part, both.parts.rows), np.bincount(fold))
    for other, said in zip(others[1:], ("Basel 3, Graz none", "Basel 3, Graz 4"), strict=True):
        mixed = pw.combine([first, other], names=["Basel", "Graz"])
        assert mixed.folds == 1 and said in mixed.notes[-1]
        close(mixed.sums, both.sums)


def test_few_rows_of_a_group_in_a_fold_are_refused():
    rows = table()
    assert pw.collapse(rows, "y ~ x + (x | g)", min_rows=20).min_rows == 20
    with pytest.raises(DataError, match=r"fewer than min_rows=20 rows within one of the 4 folds.*take fewer folds"):
        pw.collapse(rows, "y ~ x + (x | g)", min_rows=20, folds=4)
    assert pw.collapse(rows, "y ~ x + (x | g)", min_rows=4, folds=4).parts.rows.min() >= 4


@pytest.mark.parametrize("options", [{"folds": 1}, {"folds": True}, {"folds": 2.0}, {"folds": 3, "seed": -1}])
def test_folds_that_are_none(options):
    with pytest.raises(ArgumentError, match="must be"):
        pw.collapse(table(), FORMULA, **options)


def as_version_1(content: bytes) -> bytes:
    """A file without folds as the first version wrote it."""
    at = len(MAGIC)
    end = at + 8 + int.from_bytes(content[at : at + 8], "little")
    header = json.loads(content[at + 8 : end])
    del header["folds"]
    text = json.dumps(header).encode()
    body = b"poolwise collapsed 1\n" + len(text).to_bytes(8, "little") + text + content[end:-32]
    return body + hashlib.sha256(body).digest()


def test_files_of_the_first_version_are_read(tmp_path):
    data = pw.collapse(table(), FORMULA)
    path = tmp_path / "old.sums"
    path.write_bytes(as_version_1(data.save(tmp_path / "new.sums").read_bytes()))
    again = pw.load_collapsed(path)
    close(again.sums, data.sums)
    assert again.folds == 1
    path.write_bytes(as_version_1(pw.collapse(table(), FORMULA, folds=3).save(path).read_bytes()))
    with pytest.raises(StoreError, match="no known group"):
        pw.load_collapsed(path)


def test_a_file_keeps_folds_and_total(tmp_path):
    data = pw.collapse(table(), FORMULA, folds=5, weights="w")
    again = pw.load_collapsed(data.save(tmp_path / "site.sums"))
    assert again.folds == 5
    np.testing.assert_array_equal(again.parts.weighted.scatter, data.parts.weighted.scatter)
    np.testing.assert_array_equal(again.sums.plain.scatter, data.sums.plain.scatter)
    pd.testing.assert_series_equal(
        pw.Model(FORMULA, again, weights="w").fit_frequentist().fixef,
        pw.Model(FORMULA, data, weights="w").fit_frequentist().fixef,
    )

"""Random input for what reads strangers' text and files: how it is made, and the outcomes that are allowed.

The tests run each reader for a second, ``benchmarks/fuzz.py`` for as long as one likes. Under *forged* digests, which
fit, the readers' own checks have to hold.
"""

import atexit
import copy
import hashlib
import io
import json
import shutil
import tempfile
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from hostile import table
from hypothesis import strategies as st

import poolwise as pw
from poolwise.errors import FormulaError, PriorError, StoreError
from poolwise.priors.presets import load_preset
from poolwise.result.store import CHECKSUMS, RECIPE, TRAILER, _checksums
from poolwise.spec.collapsed_file import MAGIC, decode_collapsed, encode_collapsed
from poolwise.spec.counted_file import MAGIC as COUNTED
from poolwise.spec.counted_file import encode_counted
from poolwise.spec.formula import FUNCTIONS, parse_formula

READ, REFUSED = "read", "refused"


@dataclass(frozen=True)
class Reader:
    """Inputs, and a check that returns what became of one; whatever else it raises is a finding."""

    inputs: st.SearchStrategy
    check: Callable[[Any], str]


# Formulas

PIECES = [*"xyzfgh", "`a b`", "1", "0", "2", "1.5", "1e3", '"a"', "True", "~", "+", "-", "*", "/", ":", "**", "|", "||"]
PIECES += [*"(){},= .[]^", *(f"{name}(" for name in FUNCTIONS), "Treatment", "df", "µ", "e\u0301", "\u202e", "9" * 400]
WHOLE = [
    "y ~ x*f - x:f + offset(log(n)) + (1 + `my x` || s/c)",
    'weighted(log(y), w) ~ C(f, Treatment("a")) + bs(x, df=4) + poly(z, 2) + I(-x**2 / 3) + (0 + x | g:h)',
    "p(k, n) ~ (a + b + c)**2 + (x | gr(g, by=z)) + (1 | mm(g1, g2, weights=c(w1, w2)))",
]
SPLICED = st.builds(
    lambda text, at, length, new: text[: at % len(text)] + new + text[at % len(text) + length :],
    st.sampled_from(WHOLE),
    st.integers(0, 200),
    st.integers(0, 12),
    st.one_of(st.text(max_size=6), st.lists(st.sampled_from(PIECES), max_size=6).map("".join)),
)
FORMULAS = st.tuples(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join), SPLICED), st.booleans()
)


def formula(given: tuple[str, bool]) -> str:
    """Read, and then its canonical text is read as the same; or refused."""
    text, trusted = given
    outcome = REFUSED
    for whole in (text, f"y ~ {text}"):
        try:
            found = parse_formula(whole, trusted=trusted)
        except FormulaError:
            continue
        assert parse_formula(found.canonical, trusted=trusted) == found
        outcome = READ
    return outcome


# Presets

VALID = Path(load_preset("weakly_informative").source).read_text()
PRESETS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda start, length, text: (VALID[:start] + text + VALID[start + length :]).encode("utf-8", "surrogatepass"),
        st.integers(0, len(VALID)),
        st.integers(0, 40),
        st.one_of(st.text(max_size=20), st.sampled_from(["nan", "[[", "]]", "{", "}", '"""', "= ", "0x", "\n[a]\n"])),
    ),
    st.builds(
        lambda which, other: VALID.replace(lines(VALID, which), lines(VALID, other), 1).encode(),
        st.integers(0, 200),
        st.integers(0, 200),
    ),
)


def lines(text: str, which: int) -> str:
    every = text.splitlines()
    return every[which % len(every)]


def preset(content: bytes) -> str:
    """Loaded, and then it is TOML of the same name; or refused with the file's name."""
    path = folder() / "weakly_informative.toml"
    path.write_bytes(content)
    try:
        found = load_preset(path)
    except PriorError as error:
        assert str(path) in str(error)
        return REFUSED
    assert tomllib.loads(content.decode())["name"] == found.name
    return READ


# JSON, as a hostile writer changes it

ODD = [
    None,
    True,
    0,
    1,
    -1,
    2.5,
    2**70,
    1e308,
    -1e-320,
    float("nan"),
    float("inf"),
    "",
    "a",
    "x" * 3000,
    "\0",
    "\ud800",
]
ODD += [[], {}, [[]], [None], {"a": 1}, ["a", "a"], json.loads("[" * 90 + "]" * 90)]
CHANGES = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["put", "copy", "drop"]), st.integers(0, 10**6)),
    min_size=1,
    max_size=3,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key of a tree of lists and tables."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


def changed(tree: Any, changes: list[tuple[int, str, int]]) -> Any:
    """A copy with values replaced by odd ones, by other values of the tree, or left out."""
    tree = copy.deepcopy(tree)
    for where, how, what in changes:
        every = list(places(tree))
        if not every:
            return tree
        container, key = every[where % len(every)]
        if how == "drop":
            del container[key]
        else:
            other, its = every[what % len(every)]
            container[key] = copy.deepcopy(ODD[what % len(ODD)] if how == "put" else other[its])
    return tree


# Files of sums, and of counts


@cache
def sums_file() -> bytes:
    return encode_collapsed(pw.collapse(table(), "y ~ x + f + scale(z) + (x | g)"))


@cache
def counts_file() -> bytes:
    return encode_counted(pw.collapse(table(), "event ~ f + scale(trials) + (1 | g)", family="bernoulli"))


def resealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def with_header(content: bytes, change: Callable[[dict], dict]) -> bytes:
    """The file with another header and a checksum that fits."""
    at = content.index(b"\n") + 1
    end = at + 8 + int.from_bytes(content[at : at + 8], "little")
    text = json.dumps(change(json.loads(content[at + 8 : end]))).encode()
    return resealed(content[:at] + len(text).to_bytes(8, "little") + text + content[end:-32])


def overwritten(content: bytes, at: int, value: bytes) -> bytes:
    body = bytearray(content[:-32])
    begin = content.index(b"\n") + 1
    at = begin + at % (len(body) - begin)
    body[at : at + len(value)] = value
    return resealed(bytes(body))


NUMBERS = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.floats(width=64).map(lambda value: np.float64(value).tobytes()),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: np.int64(value).tobytes()),
)


def forged(magic: bytes, whole: Callable[[], bytes]) -> st.SearchStrategy:
    """Other bytes, numbers and headers than those of a file, under a checksum that fits."""
    return st.one_of(
        st.binary(max_size=200).map(lambda content: magic + content),
        st.tuples(st.integers(0, 10**6), NUMBERS).map(lambda other: overwritten(whole(), *other)),
        CHANGES.map(lambda changes: with_header(whole(), lambda header: changed(header, changes))),
    )


SUMS, COUNTS = forged(MAGIC, sums_file), forged(COUNTED, counts_file)


def sums(content: bytes) -> str:
    """Refused, or sums that are finite."""
    try:
        found = decode_collapsed(content, "the file")
    except StoreError:
        return REFUSED
    assert isinstance(found, pw.CollapsedData) and found.n > 0 and np.isfinite(found.total.mean).all()
    return READ


def counts(content: bytes) -> str:
    """Refused, or counts that are finite and can be shown."""
    try:
        found = decode_collapsed(content, "the file")
    except StoreError:
        return REFUSED
    assert isinstance(found, pw.CountedData) and found.n > 0 and np.isfinite(found.counts.squared).all() and repr(found)
    return READ


# Saved fits


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def fit_file() -> tuple[bytes, xr.DataTree]:
    """A saved fit, and its tree as the reader opens it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        made = pw.Model("y ~ x + f + (x|g)", table()).fit(draws=8, tune=60, chains=2, seed=1, progress=False)
    path = made.save(folder() / "whole.nc")
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        return path.read_bytes(), opened.load().copy()


def sealed(content: bytes) -> bytes:
    return content + TRAILER + hashlib.sha256(content).hexdigest().encode()


def forged(changes: list[tuple[int, str, int]]) -> bytes:
    """The fit with another recipe and digests that fit."""
    content, tree = fit_file()
    checksums = json.loads(tree.attrs[CHECKSUMS])
    recipe = json.dumps(changed(json.loads(tree.attrs[RECIPE]), changes))
    checksums[RECIPE] = hashlib.sha256(recipe.encode()).hexdigest()
    file = io.BytesIO(content[: content.rindex(TRAILER)])
    with h5py.File(file, "r+") as opened:
        opened.attrs[RECIPE], opened.attrs[CHECKSUMS] = recipe, json.dumps(checksums)
    return sealed(file.getvalue())


def forged_numbers(which: int, at: int, value: float) -> bytes:
    """The fit with one number of one array replaced and digests that fit."""
    tree = fit_file()[1].copy(deep=True)
    arrays = [
        (node, name) for node in tree.subtree for name in node.dataset.data_vars if node[name].dtype.kind in "iufb"
    ]
    node, name = arrays[which % len(arrays)]
    array = node[name]
    values = array.to_numpy().copy()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values.reshape(-1)[at % max(1, values.size)] = np.array(value).astype(values.dtype)
    node[name] = array.copy(data=values)
    tree.attrs[CHECKSUMS] = json.dumps(_checksums(tree))
    return sealed(bytes(tree.to_netcdf(engine="h5netcdf")))


def flipped(at: int, bits: int) -> bytes:
    content = bytearray(fit_file()[0])
    content[at % len(content)] ^= bits
    return bytes(content)


FITS = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=100).map(sealed),
    st.builds(flipped, st.integers(0, 10**6), st.integers(1, 255)),
    CHANGES.map(forged),
    st.builds(
        forged_numbers,
        st.integers(0, 1000),
        st.integers(0, 1000),
        st.one_of(st.floats(), st.integers(-300, 300).map(float)),
    ),
)


def fit(content: bytes) -> str:
    """Refused, or a fit that shows itself, or says in words of ours why it does not."""
    path = folder() / "fit.nc"
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pw.PoolwiseWarning)
            found = pw.load_fit(path)
    except StoreError:
        return REFUSED
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A stranger's numbers may be infinite.
        warnings.simplefilter("ignore", RuntimeWarning)
        coef = found.coef()
    assert len(coef) and str(found.convergence) and found.design.formula.text and len(found.priors)
    return READ


READERS = {
    "formula": Reader(FORMULAS, formula),
    "preset": Reader(PRESETS, preset),
    "fit": Reader(FITS, fit),
    "sums": Reader(SUMS, sums),
    "counts": Reader(COUNTS, counts),
}

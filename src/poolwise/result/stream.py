"""The store of a run: a place that draws are written to while they are made, and that a killed run leaves readable.

    manifest.json   what was asked and what is there; replaced whole, and written before sampling begins
    model.nc        the rows (or their sums), formula and priors, as a saved fit has them
    draws-0.bin     records of the draws by chain (data/records.py); a resumed run adds draws-1.bin ...
    lock            held by the one process that writes

This is a folder, or objects under a URL (data/storage.py, data/objects.py).

When a run is complete one file has all of its draws, exactly those of the fit that the run returns, and the manifest
their digest.

Long because writing, reading and going on share one layout and its checks.
"""

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.data.records import RecordWriter, open_regular, read_records
from poolwise.data.storage import Held, Storage, storage_of
from poolwise.errors import FitError, PartialRunWarning, PoolwiseWarning, StoreError, shown
from poolwise.fit.bayes import Sampling
from poolwise.fit.trace import MINIMUM
from poolwise.priors.resolve import ResolvedPrior
from poolwise.result.bayes import BayesFit
from poolwise.result.layout import Layout
from poolwise.result.posterior import data_tree
from poolwise.result.store import encode_fit, read_fit
from poolwise.spec.design import Design
from poolwise.spec.rowless import WithoutRows

FORMAT = 1
MANIFEST, MODEL = "manifest.json", "model.nc"
DRAWS = re.compile(r"draws-(0|[1-9][0-9]{0,5})\.bin")
RUNNING, COMPLETE = "running", "complete"
VERSIONS = ("poolwise", "nutpie", "numba", "numpy", "pymc")
# A manifest is a few lines; numbers written at a time when a store is completed.
MOST_MANIFEST, BLOCK = 50_000_000, 8_000_000
WHOLE = {"draws": 4, "tune": 0, "chains": 1, "seed": 0}


@dataclass(frozen=True)
class HowSampled:
    """The form that draws come from: its name, what of it is centred, and the form in words."""

    form: str
    free: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Stored:
    """What a store holds.

    Parameters
    ----------
    manifest : dict
        As read.
    design : Design
    priors : list of ResolvedPrior
    settings : Sampling
        What was asked.
    how : HowSampled or None
        None where there are no draws.
    layout : Layout or None
        Of the records.
    chains : list of ndarray (n, width)
        Records of each chain that was asked for.
    """

    manifest: dict
    design: Design
    priors: list[ResolvedPrior]
    settings: Sampling
    how: HowSampled | None
    layout: Layout | None
    chains: list[Array]

    @property
    def complete(self) -> bool:
        """Whether every draw is there."""
        return self.manifest["state"] == COMPLETE

    def fit(self, said: str = "") -> BayesFit:
        """The fit of the draws that are there, of as many chains and draws as make the largest rectangle."""
        lengths = sorted((len(chain) for chain in self.chains), reverse=True)
        draws = max(lengths, key=lambda length: length * sum(own >= length for own in lengths), default=0)
        if self.layout is None or self.how is None or draws < MINIMUM:
            raise StoreError("there are no draws to read yet")
        chosen = [chain[:draws] for chain in self.chains if len(chain) >= draws]
        posterior, stats = self.layout.datasets(np.stack(chosen))
        stats.attrs |= self.manifest["attributes"]
        settings = replace(self.settings, chains=len(chosen), draws=draws)
        tree = data_tree(self.design, posterior, stats)
        return BayesFit(self.design, tree, self.priors, settings, self.how.said + said)


def load_store(path: str | Path, *, trusted: bool = False) -> BayesFit:
    """The fit of the draws that a store has; says so where it is not complete."""
    stored = read_store(storage_of(path), trusted=trusted)
    if stored.complete:
        return stored.fit()
    wanted, lengths = stored.settings, [len(chain) for chain in stored.chains]
    there = f"{sum(lengths)} of {wanted.chains * wanted.draws} draws ({', '.join(map(str, lengths))} by chain)"
    if max(lengths) < MINIMUM:
        raise StoreError(
            f"the run of {str(path)!r} is not complete, and has no draws to read yet: {there}; it was stopped in "
            "warm-up, or goes on. pw.resume(path) makes them"
        )
    fit = stored.fit(f"; not complete: {there}")
    warnings.warn(
        f"the run of {str(path)!r} is not complete: {there}; {fit.settings.chains} chains of {fit.settings.draws} are "
        "returned. pw.resume(path) makes the others",
        PartialRunWarning,
        stacklevel=3,
    )
    return fit


def read_store(storage: Storage, *, trusted: bool = False) -> Stored:
    """Read all of a store.

    Raises
    ------
    StoreError
        If it is none, or was altered.
    """
    while True:
        manifest = _read_manifest(storage)
        try:
            return _read(storage, manifest, trusted)
        except StoreError:
            # A run that ends between two looks has put its draws into another file.
            if _read_manifest(storage) == manifest:
                raise


def _read(storage: Storage, manifest: dict, trusted: bool) -> Stored:
    with storage.local(MODEL) as model:
        with open_regular(model) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != manifest["model"]:
            raise StoreError(f"{storage.called(MODEL)} was altered or damaged: it is not the model of this run")
        design, _, priors, _, _ = read_fit(model, trusted=trusted)
    settings = Sampling(**manifest["settings"])
    chains: list[list[Array]] = [[] for _ in range(settings.chains)]
    headers: list[tuple[HowSampled, Layout]] = []
    for entry in manifest["files"]:
        place = storage.called(entry["name"])
        if manifest["state"] == RUNNING and not storage.has(entry["name"]):
            # Stopped before its first draw.
            continue
        with storage.local(entry["name"]) as file:
            records = read_records(file, place)
        headers.append(_header(records.header, place))
        if headers[-1][1] != headers[0][1]:
            raise StoreError(f"{place} has other variables than {manifest['files'][0]['name']!r}")
        if manifest["state"] == COMPLETE and (records.torn or records.digest != manifest["digest"]):
            raise StoreError(f"{place} was altered or damaged: it is not whole, and the run was complete")
        for own, (chain, missing) in enumerate(zip(entry["chains"], entry["missing"], strict=True)):
            if own in records.chains:
                chains[chain].append(records.chains[own][:missing])
    width = headers[0][1].width if headers else 0
    joined = [np.concatenate(own) if own else np.zeros((0, width)) for own in chains]
    how, layout = headers[0] if headers else (None, None)
    if manifest["state"] == COMPLETE and {len(chain) for chain in joined} != {settings.draws}:
        raise StoreError(f"{str(storage)!r} was altered or damaged: it says that it is complete, and draws are missing")
    if how is not None and manifest["said"]:
        how = replace(how, said=manifest["said"])
    return Stored(manifest, design, priors, settings, how, layout, joined)


def _header(header: dict, place: str) -> tuple[HowSampled, Layout]:
    try:
        form, free, said = header["form"], tuple(header["free"]), header["said"]
        if not all(isinstance(text, str) for text in (form, said, *free)):
            raise TypeError("the form is no text")
        return HowSampled(form, free, said), Layout.from_json(header["layout"], header["width"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{place} was altered or damaged: {error}") from error


def _read_manifest(storage: Storage) -> dict:
    """The manifest of a store, checked."""
    place = storage.called(MANIFEST)
    try:
        if not storage.has(MANIFEST):
            raise StoreError(f"there is no store of a poolwise run at {str(storage)!r}: it has no {MANIFEST}")
        text = storage.read(MANIFEST, MOST_MANIFEST)
    except OSError as error:
        raise StoreError(f"{place} cannot be read: {error.strerror or error}") from error
    try:
        whole = json.loads(text)
        manifest, sealed = whole["manifest"], whole["sha256"]
        if sealed != _seal(manifest):
            raise StoreError("its checksum does not fit")
        if manifest["format"] != FORMAT:
            raise StoreError(f"it has format {shown(manifest['format'])}, this version reads {FORMAT}")
        _check(manifest)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{place} was altered or damaged: {error}") from error
    return manifest


def _check(manifest: dict) -> None:
    """Refuse a manifest that no run writes."""

    def holds(true: bool, what: str) -> None:
        if not true:
            raise StoreError(f"it has {what}")

    settings, files, state = manifest["settings"], manifest["files"], manifest["state"]
    for name, least in WHOLE.items():
        holds(type(settings[name]) is int and least <= settings[name] < 2**63, f"{name}={settings[name]!r:.40}")
    cores, accept = settings["cores"], settings["target_accept"]
    holds(cores is None or (type(cores) is int and cores > 0), f"cores={cores!r:.40}")
    holds(accept is None or (type(accept) is float and 0 < accept < 1), f"target_accept={accept!r:.40}")
    holds({*settings} <= {*Sampling.__dataclass_fields__}, "settings of another version")
    holds(settings["chains"] <= 100_000, f"{settings['chains']} chains")
    holds(state in (RUNNING, COMPLETE), f"state {state!r:.40}")
    holds(isinstance(manifest["model"], str) and isinstance(manifest["said"], str), "no model")
    holds(isinstance(manifest["form"], str) and isinstance(manifest["attributes"], dict), "no form")
    holds(all(type(value) in (int, float) for value in manifest["attributes"].values()), "attributes of no use")
    holds(isinstance(files, list) and (len(files) == 1 or state == RUNNING), "no list of files")
    for entry in files:
        chains, missing = entry["chains"], entry["missing"]
        holds(isinstance(entry["name"], str) and bool(DRAWS.fullmatch(entry["name"])), f"a file {entry['name']!r:.40}")
        whole = all(type(chain) is int and 0 <= chain < settings["chains"] for chain in chains)
        holds(whole and len({*chains}) == len(chains) == len(missing), f"chains {chains!r:.80}")
        holds(all(type(count) is int and 0 <= count < 2**63 for count in missing), f"draws {missing!r:.80}")


def _seal(manifest: dict) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def refuse_other(before: HowSampled | None, new: HowSampled) -> None:
    """Refuse to join draws of two forms, as their statistics differ."""
    if before is not None and before.form != new.form:
        raise FitError(
            f"the new draws come from the {new.form} form, those that are there from the {before.form} one, as the "
            "importance weights of more draws are not to be trusted; fit the model anew with form='whitened'"
        )


class RunStore:
    """A store that is written to, by this process alone until it is closed.

    Parameters
    ----------
    storage : Storage
        Where it lies.
    lock : Held
        The right to write there.
    manifest : dict
        What is there.
    before : HowSampled, optional
        The form of the draws that are there.
    """

    def __init__(self, storage: Storage, lock: Held, manifest: dict, before: HowSampled | None = None):
        self._storage, self._lock, self._manifest, self._before = storage, lock, manifest, before
        self._writer: RecordWriter | None = None
        self._layout: Layout | None = None
        self._how: HowSampled | None = None
        self._broken = False

    @classmethod
    def create(
        cls, path: str | Path, design: Design, priors: Sequence[ResolvedPrior], settings: Sampling, form: str
    ) -> "RunStore":
        """A new store in an empty or new place, with everything but draws.

        Raises
        ------
        StoreError
            If there is one already, somebody else writes there, or the place cannot be written to.
        """
        storage = storage_of(path)
        try:
            storage.prepare()
            lock = storage.lock(f"no run can be stored in {str(path)!r}")
        except OSError as error:
            raise StoreError(f"no store can be made in {str(path)!r}: {error.strerror or error}") from error
        try:
            taken = storage.names()
            if MANIFEST in taken:
                raise StoreError(
                    f"{str(path)!r} holds a run already: pw.load_fit(path) reads it, pw.resume(path) goes on with it; "
                    f"choose another {storage.kind} for a new one"
                )
            if taken:
                raise StoreError(f"{str(path)!r} is not empty (it has {taken[0]!r}); choose a new {storage.kind}")
            content = encode_fit(xr.DataTree(), design, priors, settings, "")
            manifest = {
                "format": FORMAT,
                "versions": {name: version(name) for name in VERSIONS},
                "formula": design.formula.text,
                "family": design.family.name,
                "rows": int(design.n),
                "model": hashlib.sha256(content).hexdigest(),
                "settings": {**settings.__dict__, "progress": True},
                "form": form,
                "files": [],
                "state": RUNNING,
                "said": "",
                "attributes": {},
            }
            storage.write(MODEL, content, "the model of the run", verify=lambda file: _rebuilt(file, design))
            store = cls(storage, lock, manifest)
            store.begin(range(settings.chains), [settings.draws] * settings.chains)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise StoreError(f"no store can be made in {str(path)!r}: {error.strerror or error}") from error
            raise
        return store

    @classmethod
    def reopen(cls, path: str | Path, *, trusted: bool = False) -> tuple["RunStore", Stored]:
        """A store that is there, to go on with, and what it holds; a torn end is cut off."""
        storage = storage_of(path)
        _read_manifest(storage)
        lock = storage.lock(f"the run of {str(path)!r} cannot go on")
        try:
            stored = read_store(storage, trusted=trusted)
            return cls(storage, lock, stored.manifest, stored.how), stored
        except BaseException:
            lock.release()
            raise

    def begin(self, chains: Sequence[int], missing: Sequence[int], draws: int | None = None) -> None:
        """Note, before it runs, what the next stretch is to bring: so many draws for each of these chains."""
        try:
            entry = self._next(chains, missing)
        except OSError as error:
            raise StoreError(f"{str(self._storage)!r} cannot be written to: {error.strerror or error}") from error
        files = self._manifest["files"]
        settings = self._manifest["settings"]
        settings = {**settings, "draws": settings["draws"] if draws is None else draws}
        self._write(files=[*files, entry], state=RUNNING, settings=settings)

    def _next(self, chains: Sequence[int], missing: Sequence[int]) -> dict:
        """The manifest's entry of a file that is yet to be made."""
        last = max((int(entry["name"][6:-4]) for entry in self._manifest["files"]), default=-1)
        name = f"draws-{last + 1}.bin"
        # A run that was killed as it completed leaves a file that no manifest names.
        self._storage.remove(name)
        return {"name": name, "chains": list(chains), "missing": [int(count) for count in missing]}

    def sampling(self, how: HowSampled) -> None:
        """Note the form that draws will come from.

        Raises
        ------
        FitError
            If those that are there come from another one.
        """
        refuse_other(self._before, how)
        self._how = how

    def watch(self, chain: int, posterior: xr.Dataset, stats: xr.Dataset) -> None:
        """Write draws of a chain that are new; what cannot be written is said once, and the run goes on."""
        if self._broken:
            return
        try:
            writer = self._opened(self._manifest["files"][-1]["name"], posterior, stats)
            left = self._manifest["files"][-1]["missing"][chain] - writer.written(chain)
            assert self._layout is not None
            writer.append(chain, self._layout.records(posterior, stats)[0, : max(left, 0)])
        except OSError as error:
            self._failed(error)

    def _opened(self, name: str, posterior: xr.Dataset, stats: xr.Dataset) -> RecordWriter:
        if self._writer is None:
            assert self._how is not None
            self._layout = Layout.of(posterior, stats)
            header = {"width": self._layout.width, "layout": self._layout.as_json(), **self._how.__dict__}
            self._writer = RecordWriter(self._storage.grow(name), header)
        return self._writer

    def finish(self, fit: BayesFit, how: HowSampled) -> None:
        """Put all draws of a fit that is complete into one file, and note that the store is complete."""
        posterior, stats = fit.posterior, fit.data["sample_stats"].to_dataset()
        files, chains = self._manifest["files"], range(fit.settings.chains)
        try:
            self._close_writer()
            self.sampling(how)
            # Named by no manifest until all of it is there.
            entry = self._next(chains, [fit.settings.draws] * len(chains))
            writer = self._opened(entry["name"], posterior, stats)
            assert self._layout is not None
            block = max(1, BLOCK // self._layout.width)
            for chain in chains:
                for first in range(0, fit.settings.draws, block):
                    part = {names.CHAIN: [chain], names.DRAW: slice(first, first + block)}
                    writer.append(chain, self._layout.records(posterior.isel(part), stats.isel(part))[0])
            attributes = {name: float(value) for name, value in stats.attrs.items()}
            # Nothing is complete before the last byte is kept.
            self._close_writer()
            self._write(files=[entry], state=COMPLETE, digest=writer.digest, said=fit.form, attributes=attributes)
        except (OSError, StoreError) as error:
            self._failed(error)
            return
        for other in files:
            with contextlib.suppress(OSError):
                self._storage.remove(other["name"])

    def _failed(self, error: Exception) -> None:
        self._broken = True
        said = getattr(error, "strerror", None) or error
        warnings.warn(
            f"the store {str(self._storage)!r} cannot be written to any more: {said}; what it holds stays readable, "
            "and the fit is returned: save it to another place with fit.save(path)",
            PoolwiseWarning,
            stacklevel=2,
        )

    def _write(self, **changes) -> None:
        manifest = {**self._manifest, **changes}
        text = json.dumps({"manifest": manifest, "sha256": _seal(manifest)}, indent=1)
        self._storage.write(MANIFEST, text.encode(), "the manifest of the run")
        self._manifest = json.loads(text)["manifest"]

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def close(self) -> None:
        """Let others write."""
        try:
            self._close_writer()
        except OSError as error:
            if not self._broken:
                self._failed(error)
        finally:
            self._lock.release()

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _rebuilt(file: Path, design: Design) -> None:
    """Refuse a model that its file does not give back: the run could not go on with it."""
    again = read_fit(file, trusted=design.formula.trusted)[0]
    if not isinstance(design, WithoutRows) and not np.array_equal(again.y, design.y):
        raise StoreError(
            "the file of the model gives another response than the model has, so that a store cannot go on with it; "
            "leave store= out"
        )

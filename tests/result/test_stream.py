"""A store holds the run: all of it draw for draw, what a killed run left, and nothing that was touched since."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from killed_runs import Killed, fit_killed
from poolwise.data.lock import FolderLock
from poolwise.errors import StoreError
from poolwise.fit import nuts
from poolwise.result import stream
from poolwise.result.stream import MANIFEST, RunStore, _seal

# Two short chains are not judged here.
pytestmark = pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")

RUN = dict(draws=200, tune=200, chains=2, seed=3, progress=False)


@pytest.fixture(scope="module")
def model():
    return pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def stopped(model, tmp_path_factory):
    """A store as a killed run leaves it, with 60 and 80 draws."""
    path = tmp_path_factory.mktemp("runs") / "stopped"
    fit_killed(model, path, [60, 80], **RUN)
    return path


@pytest.fixture
def copied(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "copied")


def reseal(path, **changes):
    """The manifest of a store with other entries, and a checksum that fits."""
    manifest = json.loads((path / MANIFEST).read_text())["manifest"] | changes
    (path / MANIFEST).write_text(json.dumps({"manifest": manifest, "sha256": _seal(manifest)}))


@pytest.mark.parametrize("form", ["collapsed", "whitened"])
def test_a_complete_store_is_the_fit_draw_for_draw(model, tmp_path, form):
    with_store = model.fit(**RUN, form=form, store=tmp_path / "run")
    without, loaded = model.fit(**RUN, form=form), pw.load_fit(tmp_path / "run")
    for fit in (with_store, loaded):
        assert fit.data["posterior"].to_dataset().equals(without.data["posterior"].to_dataset())
        assert fit.data["sample_stats"].to_dataset().equals(without.data["sample_stats"].to_dataset())
        assert fit.form == without.form
    pd.testing.assert_frame_equal(loaded.coef(), without.coef())
    pd.testing.assert_frame_equal(loaded.priors, without.priors)
    assert loaded.convergence.rhat == without.convergence.rhat
    assert sorted(file.name for file in (tmp_path / "run").iterdir())[1:] == ["lock", MANIFEST, "model.nc"]


@pytest.mark.slow
def test_the_generative_form_is_stored(tmp_path, monkeypatch):
    model = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff"))
    monkeypatch.setattr(nuts, "EVERY", 0.02)
    monkeypatch.setattr(RunStore, "finish", lambda *_: None)
    fit = model.fit(**RUN, form="generative", store=tmp_path / "run")
    with pytest.warns(pw.PartialRunWarning, match="400 of 400"):
        loaded = pw.load_fit(tmp_path / "run")
    # Nothing is worked out between sampler and record.
    assert loaded.posterior.equals(fit.posterior)
    assert loaded.data["sample_stats"].to_dataset().equals(fit.data["sample_stats"].to_dataset())
    assert loaded.form.startswith(fit.form)
    longer = fit.extend(50, progress=False)
    assert longer.posterior.sizes["draw"] == 250 and longer.posterior.isel(draw=slice(0, 200)).equals(fit.posterior)


def test_several_factors_are_written_at_the_end(tmp_path):
    model = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"))
    fit = model.fit(**RUN, store=tmp_path / "run")
    loaded = pw.load_fit(tmp_path / "run")
    assert loaded.posterior.equals(fit.posterior) and loaded.form == fit.form
    assert loaded.convergence.pareto_k == fit.convergence.pareto_k
    assert loaded.convergence.ess == fit.convergence.ess


def test_streamed_draws_are_those_of_the_run(model, tmp_path, monkeypatch):
    monkeypatch.setattr(nuts, "EVERY", 0.02)
    monkeypatch.setattr(RunStore, "finish", lambda *_: None)
    run = RUN | {"draws": 3000}
    fit = model.fit(**run, store=tmp_path / "run")
    with pytest.warns(pw.PartialRunWarning, match=r"6000 of 6000 draws \(3000, 3000 by chain\)"):
        loaded = pw.load_fit(tmp_path / "run")
    for name, value in fit.posterior.items():
        # Products of matrices of other sizes may round otherwise.
        np.testing.assert_allclose(loaded.posterior[name], value, rtol=1e-12, atol=1e-12)
    assert loaded.data["sample_stats"].to_dataset().equals(fit.data["sample_stats"].to_dataset())


def test_the_manifest_stands_before_the_first_draw(model, tmp_path, monkeypatch):
    seen = {}

    def first(*_, **__):
        seen.update(json.loads((tmp_path / "run" / MANIFEST).read_text())["manifest"])
        seen["there"] = sorted(file.name for file in (tmp_path / "run").iterdir())
        raise Killed

    monkeypatch.setattr(nuts, "nutpie_without_arviz", first)
    with pytest.raises(Killed):
        model.fit(**RUN, store=tmp_path / "run")
    assert seen["there"] == ["lock", MANIFEST, "model.nc"]
    assert seen["formula"] == "Reaction ~ Days + (Days | Subject)" and seen["rows"] == 180
    assert seen["settings"]["seed"] == 3 and seen["settings"]["draws"] == 200 and seen["state"] == "running"
    content = (tmp_path / "run" / "model.nc").read_bytes()
    assert seen["model"] == hashlib.sha256(content).hexdigest()
    assert {"poolwise", "nutpie"} <= set(seen["versions"]) and seen["form"] == "auto"
    with pytest.raises(StoreError, match=r"has no draws to read yet: 0 of 400 draws.*pw\.resume\(path\) makes them"):
        pw.load_fit(tmp_path / "run")


def test_what_a_killed_run_left_is_read_and_flagged(stopped):
    with pytest.warns(pw.PartialRunWarning) as told:
        fit = pw.load_fit(stopped)
    assert "not complete: 140 of 400 draws (60, 80 by chain); 2 chains of 60 are returned" in str(told[0].message)
    assert (fit.settings.chains, fit.settings.draws) == (2, 60)
    assert fit.form.endswith("; not complete: 140 of 400 draws (60, 80 by chain)") and "not complete" in repr(fit)
    assert fit.convergence.draws == 60


def test_a_torn_end_is_left_out(copied):
    with open(copied / "draws-0.bin", "ab") as file:
        file.write(struct.pack("<IIQ", 0, 10, 60) + b"half a batch")
    with pytest.warns(pw.PartialRunWarning, match="140 of 400"):
        pw.load_fit(copied)


def altered(path, name, at):
    content = bytearray((path / name).read_bytes())
    content[at] ^= 1
    (path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "at"), [("draws-0.bin", -10), ("draws-0.bin", 300), ("model.nc", 3000), (MANIFEST, 60)]
)
def test_an_altered_store_is_refused(copied, name, at):
    altered(copied, name, at)
    with pytest.raises(StoreError, match="was altered or damaged"):
        pw.load_fit(copied)
    with pytest.raises(StoreError, match="was altered or damaged"):
        pw.resume(copied, progress=False)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_complete_store_is_refused(model, tmp_path, share):
    model.fit(**RUN, store=tmp_path / "run")
    (draws,) = (tmp_path / "run").glob("draws-*.bin")
    content = draws.read_bytes()
    draws.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StoreError, match=r"not whole, and the run was complete|no file of poolwise draws|header"):
        pw.load_fit(tmp_path / "run")
    draws.unlink()
    with pytest.raises(StoreError, match="there is no file"):
        pw.load_fit(tmp_path / "run")


HOSTILE = [
    {"files": [{"name": "../../etc/passwd", "chains": [0], "missing": [1]}]},
    {"files": [{"name": "draws-0.bin/../x", "chains": [0], "missing": [1]}]},
    {"files": [{"name": "draws-0.bin", "chains": [7], "missing": [1]}]},
    {"files": [{"name": "draws-0.bin", "chains": [0, 0], "missing": [1, 1]}]},
    {"files": [{"name": "draws-0.bin", "chains": [0], "missing": [-1]}]},
    {"files": "draws-0.bin"},
    {"settings": {"draws": 10**30, "tune": 0, "chains": 1, "seed": 0, "cores": None, "target_accept": None}},
    {"settings": {"draws": 10, "tune": 0, "chains": 10**9, "seed": 0, "cores": None, "target_accept": None}},
    {"settings": {"draws": "10", "tune": 0, "chains": 1, "seed": 0, "cores": None, "target_accept": None}},
    {"settings": {}},
    {"state": "whatever"},
    {"format": 99},
    {"attributes": {"pareto_k": "x"}},
    {"said": 5},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=range(len(HOSTILE)))
def test_a_manifest_that_no_run_writes_is_refused(copied, changes):
    reseal(copied, **changes)
    with pytest.raises(StoreError, match=r"was altered or damaged|has format 99"):
        pw.load_fit(copied)


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"manifest": 1, "sha256": 2}', "\x80\x04\x95", "null"])
def test_a_manifest_of_other_content_is_refused(copied, text):
    (copied / MANIFEST).write_text(text)
    with pytest.raises(StoreError, match="was altered or damaged"):
        pw.load_fit(copied)


def test_files_that_are_links_are_not_followed(copied):
    (copied / "draws-0.bin").rename(copied.parent / "elsewhere")
    (copied / "draws-0.bin").symlink_to(copied.parent / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        pw.load_fit(copied)


def test_a_response_that_is_not_that_of_the_table_is_stored(model, tmp_path):
    fit = model.with_response(2 * model.design.y).fit(**RUN, store=tmp_path / "run")
    again = pw.load_fit(tmp_path / "run")
    np.testing.assert_array_equal(again.design.y, 2 * model.design.y)
    assert again.rmse() == fit.rmse()


def test_a_model_of_another_run_is_refused(copied, model, tmp_path):
    model.with_priors("few_groups").fit(**RUN, store=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.nc", copied / "model.nc")
    with pytest.raises(StoreError, match="it is not the model of this run"):
        pw.load_fit(copied)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(StoreError, match=r"no store of a poolwise run at .* it has no manifest\.json"):
        pw.load_fit(tmp_path)


def test_places_where_no_store_can_be(model, copied, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    for path, said in [
        (copied, "holds a run already"),
        (tmp_path / "no" / "run", "there is no folder"),
        (tmp_path / "file", "a store is a folder, and"),
        (tmp_path / "taken", r"is not empty \(it has 'thesis.tex'\)"),
        ("ftps://bucket/run", "Protocol not known: ftps"),
        ("memory://a*", r"must not have '\*'"),
        (7, "got int"),
    ]:
        with pytest.raises(StoreError, match=said):
            model.fit(**RUN, store=path)


def test_two_writers(model, copied, tmp_path):
    store, _ = RunStore.reopen(copied)
    with store, pytest.raises(StoreError, match="cannot go on: another run writes there"):
        pw.resume(copied, progress=False)
    (tmp_path / "new").mkdir()
    lock = FolderLock(tmp_path / "new", "held")
    with pytest.raises(StoreError, match="another run writes there"):
        model.fit(**RUN, store=tmp_path / "new")
    lock.release()


@pytest.mark.parametrize("when", ["streaming", "at the end"])
def test_a_full_disk_is_said_and_the_fit_is_returned(model, tmp_path, monkeypatch, when):
    real = stream.RecordWriter.append

    def full(self, chain, records):
        if when == "streaming" or self.written(0) == 200 or len(records) == 200:
            raise OSError(28, "No space left on device")
        return real(self, chain, records)

    monkeypatch.setattr(stream.RecordWriter, "append", full)
    with pytest.warns(pw.PoolwiseWarning, match="cannot be written to any more: No space left on device"):
        fit = model.fit(**RUN, store=tmp_path / "run")
    assert fit.settings.draws == 200


def test_a_folder_that_cannot_be_written_to(model, tmp_path, monkeypatch):
    # As a folder of somebody else answers, also where the tests may write anywhere.
    def refused(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(StoreError, match="no store can be made"):
        model.fit(**RUN, store=tmp_path / "run")

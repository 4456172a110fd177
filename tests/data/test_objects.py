"""Files that grow in an object store: their bytes in order, one writer, and what a killed or ousted one leaves."""

import os
import signal
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest

import poolwise as pw
from poolwise.data import lease, objects
from poolwise.data.lease import LEASE
from poolwise.data.objects import Objects
from poolwise.data.records import RecordWriter, read_records
from poolwise.data.storage import Folder, storage_of
from poolwise.errors import StoreError

HEADER = {"width": 3}
HOLD = """
import sys, time
from poolwise.data import lease, objects
lease.RENEW = 0.05
place = objects.Objects(sys.argv[1])
held = place.lock("no")
place.grow("draws-0.bin").append(b"kept")
time.sleep(2.5)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(request):
    """An empty place in memory."""
    url = f"memory://{request.node.name.replace('[', '-').replace(']', '')}"
    yield Objects(url)
    memory = fsspec.filesystem("memory")
    if memory.exists(url):
        memory.rm(url, recursive=True)


@pytest.fixture
def quick(monkeypatch):
    """A lease that is renewed every 20 ms and runs out after 300."""
    monkeypatch.setattr(lease, "RENEW", 0.02)
    monkeypatch.setattr(lease, "WAIT", 0.3)


def test_a_file_is_its_parts_in_order(place, monkeypatch):
    # More than ten parts, so that their order is that of numbers; none is put by the clock.
    monkeypatch.setattr(objects, "FLUSH", 60.0)
    monkeypatch.setattr(objects, "PART", 100)
    monkeypatch.setattr(objects, "TOGETHER", 250)
    rng, expected = np.random.default_rng(1), []
    file = place.grow("draws-0.bin")
    writer = RecordWriter(file, HEADER)
    for _ in range(30):
        expected.append(rng.normal(size=(4, 3)))
        writer.append(0, expected[-1])
    writer.close()
    assert len(place._listed()) > 30 and place.names() == ["draws-0.bin"] and place.has("draws-0.bin")
    with place.local("draws-0.bin") as copy:
        found = read_records(copy, "it")
    np.testing.assert_array_equal(found.chains[0], np.concatenate(expected))
    assert found.digest == writer.digest and found.torn == 0
    with place.local("draws-0.bin") as copy:
        content = copy.read_bytes()
    assert max(place._listed().values()) <= 100 and sum(place._listed().values()) == len(content)
    place.remove("draws-0.bin")
    assert place.names() == []


def test_a_part_that_is_missing_or_of_another_place_is_refused(place, monkeypatch):
    monkeypatch.setattr(objects, "PART", 100)
    writer = RecordWriter(place.grow("draws-0.bin"), HEADER)
    for k in range(10):
        writer.append(0, np.full((4, 3), float(k)))
    writer.close()
    memory, first = fsspec.filesystem("memory"), place._at("draws-0.bin.000003")
    saved = memory.cat_file(first)
    for content in (None, saved[::-1], memory.cat_file(place._at("draws-0.bin.000005"))):
        memory.rm(first)
        if content is not None:
            memory.pipe_file(first, content)
        with place.local("draws-0.bin") as copy, pytest.raises(StoreError, match="it was altered or damaged"):
            read_records(copy, "it")
        memory.pipe_file(first, saved)


def test_bytes_are_put_by_the_clock(place, monkeypatch):
    monkeypatch.setattr(objects, "FLUSH", 0.05)
    file = place.grow("draws-0.bin")
    file.append(b"abc")
    until = time.monotonic() + 600
    while not place.has("draws-0.bin") and time.monotonic() < until:
        time.sleep(0.02)
    with place.local("draws-0.bin") as copy:
        assert copy.read_bytes() == b"abc"
    file.close()


def test_what_cannot_be_put_is_raised_and_ends_the_file(place, monkeypatch):
    file = place.grow("draws-0.bin")
    file.append(b"whole")
    file.flush()

    class NoKeyError(Exception):
        """As libraries of stores have their own."""

    def refused(*_, **__):
        raise NoKeyError("access denied")

    monkeypatch.setattr(place._fs, "pipe_file", refused, raising=False)
    file.append(b"more")
    file.flush()
    with pytest.raises(OSError, match="NoKeyError: access denied"):
        file.append(b"again")
    monkeypatch.undo()
    with pytest.raises(OSError, match="access denied"):
        file.close()
    with place.local("draws-0.bin") as copy:
        assert copy.read_bytes() == b"whole"


def test_an_interrupted_append_is_cut(place, monkeypatch):
    monkeypatch.setattr(objects, "FLUSH", 60.0)
    file = place.grow("draws-0.bin")
    file.append(b"whole")
    file.append(b"half of")
    file.cut(5)
    file.append(b"next")
    file.flush()
    file.cut(3)
    with pytest.raises(OSError, match="interrupted"):
        file.append(b"more")
    with place.local("draws-0.bin") as copy:
        assert copy.read_bytes() == b"wholenext"


def test_a_part_of_another_run_is_not_replaced(place):
    place.put("draws-0.bin.000000", b"theirs")
    file = place.grow("draws-0.bin")
    file.append(b"mine")
    with pytest.raises(OSError, match="another run writes here"):
        file.close()
    assert place.read("draws-0.bin.000000", 10) == b"theirs"
    # An answer that was lost: the very piece is there.
    place.put("draws-1.bin.000000", b"mine")
    file = place.grow("draws-1.bin")
    file.append(b"mine")
    file.close()


def test_the_second_is_refused(place, quick):
    first = place.lock("no run can be stored there")
    with pytest.raises(StoreError, match=r"no run can be stored there: another run writes there \(process \d+ on "):
        Objects(str(place)).lock("no run can be stored there")
    first.release()
    assert LEASE not in place._listed()
    Objects(str(place)).lock("again").release()


def test_a_lease_that_is_given_back_meanwhile(place, quick, monkeypatch):
    monkeypatch.setattr(lease, "RENEW", 60.0)
    monkeypatch.setattr(lease, "WAIT", 20.0)
    monkeypatch.setattr(objects, "FLUSH", 0.01)
    first = place.lock("no")
    calls, real = [], Objects.read

    def read(self, name, most):
        calls.append(name)
        if len(calls) == 3:
            first.release()
        return real(self, name, most)

    monkeypatch.setattr(Objects, "read", read)
    Objects(str(place)).lock("no").release()


def test_who_was_ousted_stops_writing(place, quick, monkeypatch):
    # A holder that stood still: it renews once more only after another has taken over.
    monkeypatch.setattr(lease, "RENEW", 60.0)
    stalled = place.lock("no")
    file = place.grow("draws-0.bin")
    other = Objects(str(place))
    with pytest.warns(pw.PoolwiseWarning, match=r"has not renewed it for 0\.3 s: it is taken over"):
        taken = other.lock("no")
    # Before it looks again by itself: what the other has written is neither removed nor replaced.
    other.put("draws-1.bin.000000", b"theirs", new=True)
    for ask in (lambda: place.remove("draws-1.bin"), lambda: place.write("draws-1.bin.000000", b"mine", "it")):
        stalled.lost = False
        with pytest.raises((OSError, StoreError), match="another run has taken its lease over"):
            ask()
    assert other.read("draws-1.bin.000000", 10) == b"theirs"
    other.remove("draws-1.bin")
    stalled.lost = False
    stalled._renew()
    file.append(b"late")
    with pytest.raises(OSError, match="another run has taken its lease over"):
        file.close()
    with pytest.raises(StoreError, match="another run has taken its lease over"):
        place.write("manifest.json", b"{}", "the manifest")
    stalled.release()
    assert LEASE in place._listed()
    taken.release()
    assert place.names() == []


def test_a_killed_holder_is_taken_over(tmp_path, quick):
    url = f"local://{tmp_path}"
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=rf"process {process.pid} on "):
        Objects(url).lock("no")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(600)
    process.stdout.close()
    with pytest.warns(pw.PoolwiseWarning, match="did not give its lease back"):
        Objects(url).lock("no").release()
    with Objects(url).local("draws-0.bin") as copy:
        assert copy.read_bytes() == b"kept"


def test_places_that_cannot_be_reached(monkeypatch, tmp_path):
    assert isinstance(storage_of(f"file://{tmp_path}/run"), Folder)
    with pytest.raises(StoreError, match="Protocol not known: nothing"):
        storage_of("nothing://bucket/run")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreError, match=r"'s3://bucket/run' needs another package .*pip install fsspec s3fs"):
        storage_of("s3://bucket/run")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreError, match=r"pip install fsspec$"):
        storage_of("memory://run")


def test_hostile_objects(place):
    with pytest.raises(StoreError, match="there is no object"):
        place.read("manifest.json", 10)
    with pytest.raises(StoreError, match="there is no object"), place.local("draws-0.bin"):
        pass
    place.put("manifest.json", b"x" * 1000)
    assert place.read("manifest.json", 10) == b"x" * 10
    place.put(LEASE, b"\xff" * 100_000)
    assert place._lease is None and place.names() == ["manifest.json"]

"""Saved fits that were altered: refused in words before a parser sees them; forged ones, whose digest fits, too."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hostile import FORMULA, table

import poolwise as pw
from poolwise.errors import StoreError
from poolwise.result.store import TRAILER


@pytest.fixture(scope="module")
def fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        return pw.Model(FORMULA, table()).fit(draws=20, tune=100, chains=1, seed=1, progress=False)


@pytest.fixture(scope="module")
def whole(fit, tmp_path_factory):
    return fit.save(tmp_path_factory.mktemp("fits") / "fit.nc").read_bytes()


def test_every_altered_byte_is_refused(whole, tmp_path):
    path = tmp_path / "fit.nc"
    for at in [*range(0, len(whole), 97), *range(len(whole) - 80, len(whole))]:
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        with pytest.raises(StoreError):
            pw.load_fit(path)


def sealed(content: bytes) -> bytes:
    return content + TRAILER + hashlib.sha256(content).hexdigest().encode()


def test_a_forged_digest_does_not_hide_altered_draws(fit, whole, tmp_path):
    content = bytearray(whole[: whole.rindex(TRAILER)])
    at = bytes(content).find(fit.data["posterior"]["sigma"].to_numpy()[0, :4].tobytes())
    assert at > 0
    content[at : at + 8] = np.array([123.0]).tobytes()
    (tmp_path / "fit.nc").write_bytes(sealed(bytes(content)))
    with pytest.raises(StoreError, match="checksum of '/posterior/sigma'"):
        pw.load_fit(tmp_path / "fit.nc")


def test_a_file_without_its_end_is_refused(whole, tmp_path):
    (tmp_path / "fit.nc").write_bytes(whole[: whole.rindex(TRAILER)])
    with pytest.raises(StoreError, match="its end is missing"):
        pw.load_fit(tmp_path / "fit.nc")


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_what_is_no_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fit.nc"
    for content in (
        b"",
        b"\0" * 5000,
        b"a,b\n1,2\n",
        pickle.dumps(Payload()),
        sealed(pickle.dumps(Payload())),
        b"PK\3\4" * 9,
    ):
        path.write_bytes(content)
        with pytest.raises(StoreError):
            pw.load_fit(path)
    assert not (tmp_path / "executed").exists()
    for other in (tmp_path / "nothing.nc", "/dev/zero"):
        with pytest.raises(StoreError, match="there is no file"):
            pw.load_fit(other)
    with pytest.raises(StoreError, match="it has no manifest"):
        pw.load_fit(tmp_path)


def test_a_full_disk_leaves_the_old_file_whole(fit, tmp_path, monkeypatch):
    path = fit.save(tmp_path / "fit.nc")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        fit.save(path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["fit.nc"]


LIMITED = """
import resource, signal, sys, warnings
import poolwise as pw
fit = pw.load_fit(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    fit.save(sys.argv[1])
except pw.PoolwiseError as error:
    print("refused:", error)
"""


def test_a_write_that_is_cut_short_leaves_the_old_file_whole(fit, tmp_path):
    """The limit of the size of a file stands for a full disk, on which HDF5's own writes would end the process."""
    path = fit.save(tmp_path / "fit.nc")
    before = path.read_bytes()
    run = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=600)
    assert path.read_bytes() == before
    assert run.returncode == 0 and run.stdout.startswith("refused: the fit could not be written"), run.stderr


WRITER = """
import sys
import poolwise as pw
fit = pw.load_fit(sys.argv[1])
for _ in range(8):
    fit.save(sys.argv[2])
"""


def test_two_writers_of_one_file(fit, tmp_path):
    source, shared = fit.save(tmp_path / "fit.nc"), tmp_path / "shared.nc"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(source), str(shared)]) for _ in range(2)]
    assert [writer.wait(timeout=600) for writer in writers] == [0, 0]
    assert pw.load_fit(shared).coef().equals(fit.coef())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fit.nc", "shared.nc"]

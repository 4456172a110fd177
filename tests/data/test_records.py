"""Records come back as they were appended; a torn end is left out, and whatever else was touched is refused."""

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolwise.data.records import RecordWriter, read_records
from poolwise.data.storage import GrowingFile
from poolwise.errors import StoreError

HEADER = {"width": 3, "what": "a test"}


def written(path, batches=((0, 4), (1, 2), (0, 5))):
    """A file of batches (chain, records), and its records by chain."""
    rng, expected = np.random.default_rng(1), {}
    writer = RecordWriter(GrowingFile(path), HEADER)
    for chain, count in batches:
        values = rng.normal(size=(count, 3))
        writer.append(chain, values)
        expected.setdefault(chain, []).append(values)
    digest = writer.digest
    writer.close()
    return {chain: np.concatenate(parts) for chain, parts in expected.items()}, digest


def test_round_trip(tmp_path):
    expected, digest = written(tmp_path / "draws")
    found = read_records(tmp_path / "draws")
    assert found.header == HEADER and found.digest == digest and found.torn == 0
    assert set(found.chains) == {0, 1}
    for chain, values in expected.items():
        np.testing.assert_array_equal(found.chains[chain], values)


def test_a_file_cut_anywhere_gives_the_batches_before(tmp_path):
    expected, _ = written(tmp_path / "draws")
    content = (tmp_path / "draws").read_bytes()
    sizes = [len(content) - 5 * 24 - 32 * 1, len(content)]
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        try:
            found = read_records(tmp_path / "cut")
        except StoreError as error:
            # Only where the header itself is not whole.
            assert length < 120 and ("header" in str(error) or "no file of poolwise draws" in str(error))
            continue
        for chain, values in found.chains.items():
            np.testing.assert_array_equal(values, expected[chain][: len(values)])
        assert found.torn <= 5 * 24 + 32
    assert sizes[0] < sizes[1]


def test_zeros_at_the_end_are_left_out(tmp_path):
    expected, digest = written(tmp_path / "draws")
    for count in (1, 15, 16, 32, 4000):
        content = (tmp_path / "draws").read_bytes()
        (tmp_path / "zeros").write_bytes(content + bytes(count))
        found = read_records(tmp_path / "zeros")
        assert (found.torn, found.digest) == (count, digest) and len(found.chains[0]) == len(expected[0])
        (tmp_path / "zeros").write_bytes(content + bytes(count + 40) + b"x")
        with pytest.raises(StoreError, match="was altered or damaged"):
            read_records(tmp_path / "zeros")


def test_every_altered_byte_is_noticed(tmp_path):
    expected, digest = written(tmp_path / "draws")
    content = bytearray((tmp_path / "draws").read_bytes())
    for at in range(len(content)):
        altered = content.copy()
        altered[at] ^= 1
        (tmp_path / "altered").write_bytes(altered)
        try:
            found = read_records(tmp_path / "altered")
        except StoreError:
            continue
        # A batch that claims to be longer than the file is torn: what is given is whole, and the digest tells.
        assert found.torn > 0 and found.digest != digest
        for chain, values in found.chains.items():
            np.testing.assert_array_equal(values, expected[chain][: len(values)])


def test_batches_cannot_change_places(tmp_path):
    written(tmp_path / "draws", ((0, 1), (1, 1), (2, 1)))
    content = (tmp_path / "draws").read_bytes()
    size = 16 + 24 + 16
    first, second, third = (content[len(content) - k * size :][:size] for k in (3, 2, 1))
    head = content[: len(content) - 3 * size]
    for other in (second + first + third, first + third, first + first):
        (tmp_path / "other").write_bytes(head + other)
        with pytest.raises(StoreError, match="the checksum of its draws at byte"):
            read_records(tmp_path / "other")


def test_a_failed_write_leaves_what_was_whole(tmp_path, monkeypatch):
    writer = RecordWriter(GrowingFile(tmp_path / "draws"), HEADER)
    writer.append(0, np.ones((2, 3)))
    real, calls = os.write, []

    def full(file, content):
        calls.append(len(content))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(file, content[:10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        writer.append(0, np.ones((2, 3)))
    monkeypatch.undo()
    writer.append(0, np.full((1, 3), 2.0))
    writer.close()
    found = read_records(tmp_path / "draws")
    assert found.torn == 0
    np.testing.assert_array_equal(found.chains[0], [[1.0] * 3, [1.0] * 3, [2.0] * 3])


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "draws").write_text("mine")
    with pytest.raises(FileExistsError):
        RecordWriter(GrowingFile(tmp_path / "draws"), HEADER)
    assert (tmp_path / "draws").read_text() == "mine"


def test_links_folders_and_pipes_are_refused(tmp_path):
    written(tmp_path / "draws")
    (tmp_path / "link").symlink_to(tmp_path / "draws")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe", "nothing"):
        with pytest.raises(StoreError, match="link, a folder or a device"):
            read_records(tmp_path / name)


@pytest.mark.parametrize("text", [b"{}", b'{"width": 0}', b'{"width": "3"}', b"[" * 5000, b"\xff", b'{"width": 1e400}'])
def test_headers_of_no_use_are_refused(tmp_path, text):
    import hashlib

    sealed = struct.pack("<Q", len(text)) + text
    (tmp_path / "draws").write_bytes(b"poolwise draws 1\n" + sealed + hashlib.blake2b(sealed, digest_size=16).digest())
    with pytest.raises(StoreError, match="was altered or damaged"):
        read_records(tmp_path / "draws")


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_other_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "draws"
    path.write_bytes(b"poolwise draws 1\n" + content)
    with pytest.raises(StoreError, match="was altered or damaged"):
        read_records(path)

"""A file is written whole or not at all, and only where a file can be."""

import os

import pytest

import poolwise as pw
from poolwise.data.whole_file import write_whole
from poolwise.errors import StoreError


def test_an_earlier_file_survives_what_fails(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"first", "the thing")

    def refuse(_):
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        write_whole(path, b"second", "the thing", verify=refuse)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_others_may_read_it_as_they_may_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert write_whole(tmp_path / "b", b"x", "it").stat().st_mode == plain.stat().st_mode


def test_no_folder_device_or_pipe_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place, message in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a device or pipe"),
        (tmp_path / "no" / "x", "no folder"),
    ):
        with pytest.raises(StoreError, match=message):
            write_whole(place, b"x", "the fit")
    assert os.listdir(tmp_path) == ["pipe"]
    for wrong in (None, 3):
        with pytest.raises(StoreError, match="must be a text or a Path"):
            write_whole(wrong, b"x", "the fit")
        with pytest.raises(pw.PoolwiseError, match="must be a text or a Path"):
            pw.load_fit(wrong)

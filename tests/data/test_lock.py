"""One writer a folder, in this process and in another; a holder that is killed holds nothing."""

import signal
import subprocess
import sys

import pytest

from poolwise.data.lock import FolderLock
from poolwise.errors import StoreError

HOLD = """
import sys, time
from pathlib import Path
from poolwise.data.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "no")
print("held", flush=True)
time.sleep(600)
"""


def test_the_second_is_refused(tmp_path):
    first = FolderLock(tmp_path, "no run can be stored there")
    with pytest.raises(StoreError, match=r"no run can be stored there: another run writes there \(process \d+\)"):
        FolderLock(tmp_path, "no run can be stored there")
    first.release()
    FolderLock(tmp_path, "again").release()


def test_a_killed_holder_holds_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=rf"process {process.pid}"):
        FolderLock(tmp_path, "no")
    process.send_signal(signal.SIGKILL)
    process.wait(600)
    process.stdout.close()
    FolderLock(tmp_path, "no").release()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link to another place"):
        FolderLock(tmp_path / "store", "no")
    assert (tmp_path / "elsewhere").read_text() == "precious"

"""One writer a folder: a lock that the system takes back when its holder ends, however it ends."""

import os
from pathlib import Path
from typing import Any

from poolwise.errors import StoreError


class FolderLock:
    """A lock on a folder, held until it is released or the process ends.

    Parameters
    ----------
    folder : Path
        The folder; a file ``lock`` in it is what is locked.
    what : str
        What is refused, for the message.

    Raises
    ------
    StoreError
        If somebody holds it.
    """

    def __init__(self, folder: Path, what: str):
        path = folder / "lock"
        if path.is_symlink():
            raise StoreError(f"{what}: {str(path)!r} is a link to another place; remove it")
        try:
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise StoreError(f"{what}: {error.strerror or error}") from error
        try:
            _lock(self._file)
        except OSError as error:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            self._file = None
            known = f" (process {holder})" if holder.isdigit() else ""
            raise StoreError(
                f"{what}: another run writes there{known}; wait until it has ended, or choose another folder"
            ) from error
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    """Lock an open file, or raise OSError."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        windows: Any = msvcrt
        os.lseek(file, 1 << 30, os.SEEK_SET)
        windows.locking(file, windows.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

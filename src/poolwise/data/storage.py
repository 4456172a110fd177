"""Where the store of a run lies: a folder of this machine, or objects under a URL; the same names and bytes in both."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from poolwise.data.lock import FolderLock
from poolwise.data.records import open_regular
from poolwise.data.whole_file import write_whole
from poolwise.errors import StoreError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class Held(Protocol):
    """The right to write, until it is released."""

    def release(self) -> None:
        """Let others write."""


class Growing(Protocol):
    """A new file that bytes are added to."""

    def append(self, content: bytes) -> None:
        """Add bytes; OSError if they cannot be kept."""

    def cut(self, size: int) -> None:
        """End the file where it was whole, after an append that did not return."""

    def close(self) -> None:
        """No more is added; OSError if something could not be kept."""


class Storage(Protocol):
    """A place with files by name; its text is what messages call it. What cannot be reached raises OSError."""

    kind: str

    def prepare(self) -> None:
        """Make the place, where a new one is to be filled."""

    def lock(self, what: str) -> Held:
        """The right to write here, for this process alone; StoreError, saying ``what``, if another one has it."""

    def names(self) -> list[str]:
        """Files that are there, sorted; without the lock."""

    def called(self, name: str) -> str:
        """A file in messages."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""

    def read(self, name: str, most: int) -> bytes:
        """The first ``most`` bytes of a file; StoreError if there is none."""

    def local(self, name: str) -> AbstractContextManager[Path]:
        """A file of this machine with these bytes, for as long as the context lasts; StoreError if there is none."""

    def write(self, name: str, content: bytes, what: str, verify: Callable[[Path], object] | None = None) -> None:
        """Write a file whole or not at all; StoreError if it cannot be."""

    def grow(self, name: str) -> Growing:
        """Begin a new file that grows."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class Folder:
    """A folder of this machine.

    Parameters
    ----------
    path : Path
        Its parent must exist.
    """

    kind = "folder"

    def __init__(self, path: Path):
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def prepare(self) -> None:
        """Make the folder."""
        self.path.mkdir(exist_ok=True)

    def lock(self, what: str) -> FolderLock:
        """The lock of the folder."""
        return FolderLock(self.path, what)

    def names(self) -> list[str]:
        """Files and folders there."""
        return sorted(other.name for other in self.path.iterdir() if other.name != "lock")

    def called(self, name: str) -> str:
        """Its path."""
        return repr(str(self.path / name))

    def has(self, name: str) -> bool:
        """Whether a file, or a link, is there."""
        return (self.path / name).exists() or (self.path / name).is_symlink()

    def read(self, name: str, most: int) -> bytes:
        """The first bytes of a regular file."""
        with open_regular(self.path / name) as file:
            return file.read(most)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """The file itself."""
        yield self.path / name

    def write(self, name: str, content: bytes, what: str, verify: Callable[[Path], object] | None = None) -> None:
        """Write it beside its place and move it there."""
        write_whole(self.path / name, content, what, verify)

    def grow(self, name: str) -> "GrowingFile":
        """A file that is appended to."""
        return GrowingFile(self.path / name)

    def remove(self, name: str) -> None:
        """Unlink it."""
        (self.path / name).unlink(missing_ok=True)


class GrowingFile:
    """A new file of this machine; what was appended is on the disk.

    Parameters
    ----------
    path : Path
        It must not exist.
    """

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)

    def append(self, content: bytes) -> None:
        """Write and sync."""
        left = memoryview(content)
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)

    def cut(self, size: int) -> None:
        """Truncate the file."""
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL, and no path."""
    return isinstance(place, str) and bool(URL.match(place))


def storage_of(place: str | Path) -> Storage:
    """The storage at a path or URL.

    Parameters
    ----------
    place : str or Path
        A folder, which need not exist; or a URL that fsspec knows (``s3://bucket/run``). ``file://`` is a folder.

    Raises
    ------
    StoreError
        If no store can be there, or the package that speaks to it is missing.
    """
    if not isinstance(place, str | Path):
        raise StoreError(f"a store is a folder or a URL, as a text or a Path; got {type(place).__name__}")
    if is_url(place) and not str(place).startswith("file://"):
        from poolwise.data.objects import Objects

        return Objects(str(place))
    path = Path(unquote(str(place).removeprefix("file://"))) if is_url(place) else Path(place)
    if not path.parent.is_dir():
        raise StoreError(f"no store can be made in {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.exists() and not path.is_dir():
        raise StoreError(f"a store is a folder, and {str(path)!r} is none; choose another path")
    return Folder(path)

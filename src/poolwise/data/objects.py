"""A store in an object store: a file that grows is many objects, and the right to write is a lease that is renewed.

    manifest.json, model.nc         objects of these names
    draws-0.bin.000000, .000001 ... what was added to draws-0.bin, about a second's draws each; their bytes one after
                                    the other are the file (records.py)
    lease                           who writes (lease.py)

Parts are created and never replaced, where the store can refuse to.
"""

import contextlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from poolwise.data.lease import LEASE, TAKEN, Beat, Lease
from poolwise.errors import StoreError

# Seconds between objects of new draws.
FLUSH = 1.0
PART_NAME = re.compile(r"(.+)\.([0-9]{6,12})")
# Bytes of an object at most, and bytes and objects fetched together.
PART, TOGETHER, AT_ONCE = 16_000_000, 64_000_000, 256
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}


class Objects:
    """Objects below a URL.

    Parameters
    ----------
    url : str
        As fsspec takes it; credentials and endpoints are those of its environment and configuration.

    Raises
    ------
    StoreError
        If fsspec, or its package for this kind of store, is missing; says which to install.
    """

    kind = "place"

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self._lease: Lease | None = None
        if found := re.search(r"[*?\[\]#]", url):
            raise StoreError(f"the URL of a store must not have {found.group()!r}; got {url!r}")
        protocol = url.split("://")[0].lower()
        try:
            from fsspec.core import url_to_fs

            self._fs, self._root = url_to_fs(self._url, use_listings_cache=False)
        except ImportError as error:
            needed = " ".join(dict.fromkeys(["fsspec", PACKAGES.get(protocol, "")])).strip()
            raise StoreError(
                f"a store at {url!r} needs another package ({error}): python -m pip install {needed}"
            ) from error
        except Exception as error:  # each kind of store has its own errors for what it cannot be reached by
            raise StoreError(f"no store can be at {url!r}: {error}") from error

    def __str__(self) -> str:
        return self._url

    def prepare(self) -> None:
        """Nothing: an object store has no folders, and buckets are not made."""

    def lock(self, what: str) -> "Lease":
        """The lease of this place."""
        self._lease = Lease(self, what)
        return self._lease

    def names(self) -> list[str]:
        """Files there, parts as the files they make."""
        own = (PART_NAME.sub(r"\1", name) for name in self._listed() if name != LEASE)
        return sorted(set(own))

    def called(self, name: str) -> str:
        """Its URL."""
        return repr(f"{self._url}/{name}")

    def has(self, name: str) -> bool:
        """Whether an object, or parts, of this name are there."""
        return name in self.names()

    def read(self, name: str, most: int) -> bytes:
        """The first bytes of an object."""
        try:
            with _as_os_error():
                return self._fs.cat_file(self._at(name), end=min(most, self._fs.info(self._at(name))["size"]))
        except FileNotFoundError as error:
            raise StoreError(f"there is no object {self.called(name)}") from error

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A temporary copy, of parts their bytes one after the other."""
        with tempfile.TemporaryDirectory(prefix="poolwise-") as folder:
            copy = Path(folder) / "copy"
            try:
                with _as_os_error(), open(copy, "wb") as file:
                    self._fetch(name, file)
            except FileNotFoundError as error:
                # A run that has ended removes the parts that its last file replaces.
                raise StoreError(f"there is no object {self.called(name)}") from error
            except OSError as error:
                raise StoreError(f"{self.called(name)} cannot be read: {error.strerror or error}") from error
            yield copy

    def _fetch(self, name: str, file: Any) -> None:
        sizes = self._listed()
        wanted = [name] if name in sizes else _parts_of(name, sizes)
        if not wanted:
            raise FileNotFoundError(name)
        while wanted:
            here, size = 0, 0
            while here < min(len(wanted), AT_ONCE) and (here == 0 or size + sizes[wanted[here]] <= TOGETHER):
                size += sizes[wanted[here]]
                here += 1
            paths, ends = [self._at(one) for one in wanted[:here]], [sizes[one] for one in wanted[:here]]
            file.writelines(self._fs.cat_ranges(paths, [0] * here, ends, on_error="raise"))
            wanted = wanted[here:]

    def write(self, name: str, content: bytes, what: str, verify: Callable[[Path], object] | None = None) -> None:
        """Put an object, which stores do whole or not at all; what verifies it reads a temporary copy before."""
        if verify is not None:
            with tempfile.TemporaryDirectory(prefix="poolwise-") as folder:
                (Path(folder) / name).write_bytes(content)
                verify(Path(folder) / name)
        try:
            if self._lease is not None:
                self._lease.verify()
            self.put(name, content)
        except OSError as error:
            said = f"{what} could not be written to {self.called(name)}: {error.strerror or error}"
            raise StoreError(f"{said}; an earlier object is untouched") from error

    def grow(self, name: str) -> "Parts":
        """A file of parts."""
        return Parts(self, name)

    def remove(self, name: str) -> None:
        """Delete an object, or parts; not those of a run that has taken over."""
        if self._lease is not None:
            self._lease.verify()
        sizes = self._listed()
        gone = [self._at(one) for one in ([name] if name in sizes else _parts_of(name, sizes))]
        if gone:
            with _as_os_error():
                self._fs.rm(gone)

    def put(self, name: str, content: bytes, *, new: bool = False) -> None:
        """Write an object; FileExistsError if it must be new and is not, where the store can tell."""
        if self._lease is not None and self._lease.lost and name != LEASE:
            raise OSError(TAKEN)
        with _as_os_error():
            self._fs.pipe_file(self._at(name), content, mode="create" if new else "overwrite")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _listed(self) -> dict[str, int]:
        """Size of every object directly here."""
        with _as_os_error():
            try:
                found = self._fs.ls(self._root, detail=True)
            except FileNotFoundError:
                return {}
        return {one["name"].rsplit("/", 1)[-1]: int(one["size"] or 0) for one in found if one["type"] == "file"}


class Parts:
    """A file that grows, as numbered objects; a thread puts what is new every ``FLUSH`` seconds.

    Parameters
    ----------
    objects : Objects
    name : str
        Of the file; there must be no part of it.
    """

    def __init__(self, objects: Objects, name: str):
        self._objects, self._name = objects, name
        # Bytes that wait, bytes and objects that were put, and why no more can be.
        self._waiting, self._size, self._count = bytearray(), 0, 0
        self._error: OSError | None = None
        self._turn = threading.RLock()
        self._beat = Beat(FLUSH, self.flush)

    def append(self, content: bytes) -> None:
        """Add bytes; they are put within ``FLUSH`` seconds and the time that the store takes."""
        with self._turn:
            self._waiting += content
            if len(self._waiting) >= PART:
                self.flush()
            if self._error is not None:
                raise self._error

    def flush(self) -> None:
        """Put what waits; an error is raised by whoever adds more."""
        with self._turn:
            while self._waiting and self._error is None:
                piece = bytes(self._waiting[:PART])
                try:
                    self._put(piece)
                except OSError as error:
                    self._error = error
                except BaseException:
                    self._error = OSError("writing was interrupted")
                    raise
                else:
                    del self._waiting[: len(piece)]
                    self._size, self._count = self._size + len(piece), self._count + 1

    def _put(self, piece: bytes) -> None:
        name = f"{self._name}.{self._count:06d}"
        try:
            self._objects.put(name, piece, new=True)
        except FileExistsError:
            # The library asks again when an answer was lost on its way: then it is this very piece.
            if self._objects.read(name, len(piece) + 1) != piece:
                raise OSError(f"{self._objects.called(name)} is there already: another run writes here") from None

    def cut(self, size: int) -> None:
        """Forget what waits beyond a size; what was put stays, and then nothing can follow it."""
        with self._turn:
            if size < self._size:
                self._error = OSError("writing was interrupted")
            del self._waiting[max(size - self._size, 0) :]

    def close(self) -> None:
        """Put what waits; OSError if it cannot be."""
        self._beat.stop()
        self.flush()
        if self._error is not None:
            raise self._error


def _parts_of(name: str, sizes: dict[str, int]) -> list[str]:
    """Names of the parts of a file, in order."""
    found = [
        (int(own.group(2)), own.group()) for own in map(PART_NAME.fullmatch, sizes) if own and own.group(1) == name
    ]
    return [part for _, part in sorted(found)]


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """What the libraries of stores raise, as OSError: each has classes of its own for a network or a key that fails."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error

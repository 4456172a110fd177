"""A file of numbers that grows: records of one length by chain, each batch sealed by a digest that counts all before.

    file    MAGIC, header, batch, batch, ...
    header  length (8 bytes), JSON text, digest
    batch   chain (4 bytes), records (4), number of the first record of its chain (8), numbers (float64), digest

Integers and numbers are little-endian. A digest is BLAKE2b of 16 bytes over the digest before it and what it seals, so
that a batch can be neither changed, nor moved, nor left out unnoticed. A process that ends while it writes leaves a
torn last batch, which readers leave out: what was written before is whole.
"""

import hashlib
import json
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.errors import StoreError

if TYPE_CHECKING:
    from poolwise.data.storage import Growing

MAGIC = b"poolwise draws 1\n"
LENGTH, BATCH = struct.Struct("<Q"), struct.Struct("<IIQ")
DIGEST = 16
# More chains or records a batch than this are no run's.
MOST_CHAINS, MOST_RECORDS = 100_000, 2**31


@dataclass(frozen=True)
class Records:
    """What a file of records holds.

    Parameters
    ----------
    header : dict
        As it was written.
    chains : dict of int to ndarray (n, width)
        Records of each chain that has any, in their order.
    digest : str
        Of everything that is whole.
    torn : int
        Bytes after that, of a batch that was not finished.
    """

    header: dict
    chains: dict[int, Array]
    digest: str
    torn: int


class RecordWriter:
    """A new file of records.

    Parameters
    ----------
    file : Growing
        Where to; it must be empty.
    header : dict
        What a reader needs; ``width`` is the numbers of a record.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is kept whole.
    """

    def __init__(self, file: "Growing", header: dict):
        self._width, self._file = int(header["width"]), file
        text = json.dumps(header, allow_nan=False).encode()
        sealed = LENGTH.pack(len(text)) + text
        # End of what is whole, its digest, records by chain: replaced together, so that no interrupt parts them.
        self._state: tuple[int, bytes, dict[int, int]] = (0, b"", {})
        self._append(MAGIC + sealed, sealed, {})

    @property
    def digest(self) -> str:
        """Of everything that was written."""
        return self._state[1].hex()

    def written(self, chain: int) -> int:
        """Records of a chain so far."""
        return self._state[2].get(chain, 0)

    def append(self, chain: int, records: Array) -> None:
        """Add records (n, width) of a chain; they are in the file, as it keeps things, when this returns.

        Parameters
        ----------
        chain : int
        records : ndarray (n, width)
        """
        if not len(records):
            return
        numbers = np.ascontiguousarray(records, dtype="<f8")
        if numbers.shape[1:] != (self._width,):
            raise ValueError(f"a record has {self._width} numbers; got {numbers.shape}")
        counts = self._state[2]
        first = counts.get(chain, 0)
        sealed = BATCH.pack(chain, len(numbers), first) + numbers.tobytes()
        self._append(sealed, sealed, {**counts, chain: first + len(numbers)})

    def _append(self, content: bytes, sealed: bytes, counts: dict[int, int]) -> None:
        end, before, _ = self._state
        digest = _digest(before, sealed)
        try:
            self._file.append(content + digest)
            self._state = (end + len(content) + DIGEST, digest, counts)
        except BaseException:
            # A full disk or an interrupt: the file ends where it was whole.
            self._file.cut(self._state[0])
            raise

    def close(self) -> None:
        """Close the file; OSError if something could not be kept."""
        self._file.close()


def read_records(path: Path, called: str | None = None) -> Records:
    """Read a file of records; nothing in it is executed, and no more is read than its own size.

    Parameters
    ----------
    path : Path
    called : str, optional
        The file in messages; its path by default.

    Returns
    -------
    Records

    Raises
    ------
    StoreError
        If it is not such a file, or was altered.
    """
    called = repr(str(path)) if called is None else called
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            return _read(file, size, called)
    except OSError as error:
        raise StoreError(f"{called} cannot be read: {error.strerror or error}") from error


def open_regular(path: Path) -> Any:
    """Open a file to read its bytes, if it is a regular file and no link to another.

    Raises
    ------
    StoreError
        For anything else.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink() or not path.is_file():
        raise StoreError(f"there is no file {str(path)!r}, or it is a link, a folder or a device")
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{str(path)!r} is no regular file")
    return os.fdopen(descriptor, "rb")


def _read(file: Any, size: int, called: str) -> Records:
    altered = f"{called} was altered or damaged"
    if file.read(len(MAGIC)) != MAGIC:
        raise StoreError(f"{called} is no file of poolwise draws")
    at, digest = len(MAGIC), b""
    start = file.read(LENGTH.size)
    length = LENGTH.unpack(start)[0] if len(start) == LENGTH.size else size
    if length > size - at - LENGTH.size - DIGEST:
        raise StoreError(f"{altered}: its header is cut off")
    text = file.read(length)
    digest = _digest(digest, start + text)
    if file.read(DIGEST) != digest:
        raise StoreError(f"{altered}: the checksum of its header does not fit")
    header, width = _header(text, altered)
    at += LENGTH.size + length + DIGEST
    parts: dict[int, list[Array]] = {}
    counts: dict[int, int] = {}
    while at < size:
        start = file.read(BATCH.size)
        if len(start) < BATCH.size:
            break
        chain, count, first = BATCH.unpack(start)
        whole = BATCH.size + 8 * width * count + DIGEST
        if whole > size - at:
            break
        numbers = file.read(8 * width * count)
        digest_now = _digest(digest, start, numbers)
        if file.read(DIGEST) != digest_now:
            if not any(start) and not any(numbers) and _only_zeros(file):
                # Room that a machine had made in the file before it lost its power.
                break
            raise StoreError(f"{altered}: the checksum of its draws at byte {at} does not fit")
        fits = chain < MOST_CHAINS and 0 < count < MOST_RECORDS and first == counts.get(chain, 0)
        if not fits:
            raise StoreError(f"{altered}: its draws at byte {at} do not follow those before them")
        parts.setdefault(chain, []).append(np.frombuffer(numbers, dtype="<f8").reshape(count, width))
        counts[chain] = first + count
        digest, at = digest_now, at + whole
    chains = {chain: np.concatenate(found).astype(np.float64, copy=False) for chain, found in parts.items()}
    return Records(header, chains, digest.hex(), size - at)


def _header(text: bytes, altered: str) -> tuple[dict, int]:
    try:
        header = json.loads(text)
        width = header["width"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(f"{altered}: its header cannot be read") from error
    if type(width) is not int or not 0 < width < 2**40:
        raise StoreError(f"{altered}: a record cannot have {width!r:.40} numbers")
    return header, width


def _only_zeros(file: Any) -> bool:
    """Whether nothing but zeros is left of a file."""
    while piece := file.read(1 << 20):
        if any(piece):
            return False
    return True


def _digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        found.update(part)
    return found.digest()

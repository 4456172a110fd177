"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from poolwise.errors import StoreError


def write_whole(path: str | Path, content: bytes, what: str, verify: Callable[[Path], object] | None = None) -> Path:
    """Write a file beside its place and move it there once it is complete; until then an earlier file is untouched.

    Parameters
    ----------
    path : str or Path
        Where to; the folder must exist.
    content : bytes
        All of the file.
    what : str
        What it is, for messages: ``"the fit"``.
    verify : callable, optional
        Reads the complete file before it is moved, and raises if something is wrong with it.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        If the folder is not there, the place is taken by something that is no file (a folder, a device), or writing
        fails.
    """
    path = check_place(path, what)
    temporary = path.with_name(f".{path.name[:60]}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        os.replace(temporary, path)
    except OSError as error:
        said = f"{what} could not be written to {str(path)!r}: {error.strerror or error}"
        raise StoreError(f"{said}; an earlier file is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def check_place(path: str | Path, what: str) -> Path:
    """The path, if a file can be there: what takes long asks before it begins.

    Raises
    ------
    StoreError
        If the folder is not there, or the place is taken by something that is no file.
    """
    if not isinstance(path, str | Path):
        raise StoreError(f"the path of {what} must be a text or a Path; got {type(path).__name__}")
    path = Path(path)
    if not path.parent.is_dir():
        raise StoreError(f"cannot write {what} to {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or pipe, not a file"
        raise StoreError(f"cannot write {what} to {str(path)!r}, which is {kind}; name a file")
    return path

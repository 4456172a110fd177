"""Compiled kernels that are kept on disk, in step with their sources.

Numba compares a cached kernel with the file that holds it. It does not notice that a kernel it calls, in another file,
has changed, as after an update of a checkout: the old machine code would go on with arrays of the new layout.
"""

from pathlib import Path

PACKAGE = Path(__file__).parent
# The folders whose files hold kernels or the constants in them.
SOURCES = ("algebra", "compile", "priors", "fit")


def drop_stale_kernels(package: Path = PACKAGE) -> int:
    """Delete the cached kernels that are older than the newest source; they are compiled anew when they are used.

    Parameters
    ----------
    package : Path
        The folder of the package.

    Returns
    -------
    int
        How many were deleted.
    """
    newest = max(
        (source.stat().st_mtime for folder in SOURCES for source in (package / folder).glob("*.py")), default=0.0
    )
    dropped = 0
    for index in package.glob("*/__pycache__/*.nbi"):
        try:
            if index.stat().st_mtime < newest:
                index.unlink()
                dropped += 1
        except FileNotFoundError:
            continue  # another process was first
        except PermissionError:
            break  # installed by somebody else, who does not edit it
    return dropped

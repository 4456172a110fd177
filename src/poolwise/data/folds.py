"""Which fold a row is of: by a hash of its number, so that no batch, partition or worker has a say in it."""

import numpy as np
from numpy.typing import NDArray

from poolwise.errors import ArgumentError

# A row's number is spread over the 64 bits by this odd step, the golden ratio's.
STEP = np.uint64(0x9E3779B97F4A7C15)
MOST_FOLDS = 1000


def fold_of_rows(numbers: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row, 0 to ``folds`` - 1.

    Parameters
    ----------
    numbers : ndarray of int (n,)
        Number of each row in its source, from 0; rows that miss a value have numbers too.
    folds : int
        How many.
    seed : int
        From 0; another one divides the rows anew.

    Returns
    -------
    ndarray of int (n,)

    References
    ----------
    Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, 453-472.

    Examples
    --------
    >>> fold_of_rows(np.arange(8), 3, seed=1).tolist()
    [2, 0, 1, 2, 2, 2, 2, 1]
    """
    with np.errstate(over="ignore"):
        start = _mixed(np.array([seed], dtype=np.uint64) + STEP)
        hashed = _mixed(start + (np.asarray(numbers).astype(np.uint64) + np.uint64(1)) * STEP)
    return (hashed % np.uint64(folds)).astype(np.int64)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def check_folds(folds: int | None, seed: int) -> int:
    """How many folds to keep apart, 1 where none were asked for.

    Raises
    ------
    ArgumentError
        If it is no number of folds, or the seed is none.
    """
    if folds is not None and (not isinstance(folds, int) or isinstance(folds, bool) or not 2 <= folds <= MOST_FOLDS):
        raise ArgumentError(f"folds must be None, or a whole number from 2 to {MOST_FOLDS}; got {folds!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must be a whole number from 0; got {seed!r}")
    return folds or 1

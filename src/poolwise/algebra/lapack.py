"""LAPACK's Cholesky factorisation in place and without Python's lock, so that threads run side by side.

``scipy.linalg.lapack.dpotrf`` holds the lock while it works, ``numpy.linalg.cholesky`` makes two copies.
"""

import ctypes

import numpy as np
from numba.extending import get_cython_function_address

from poolwise.algebra.crossproducts import Array

_POINTERS = (ctypes.c_char_p, *[ctypes.c_void_p] * 4)
# A foreign function of ctypes releases the lock.
_dpotrf = ctypes.CFUNCTYPE(None, *_POINTERS)(get_cython_function_address("scipy.linalg.cython_lapack", "dpotrf"))


def cholesky_in_place(S: Array) -> bool:
    """Overwrite the lower triangle of a symmetric matrix (C order) by its Cholesky factor; False where it has none.

    Parameters
    ----------
    S : ndarray (Q, Q)
        Only the lower triangle is read and written.

    Returns
    -------
    bool

    Examples
    --------
    >>> S = np.array([[4.0, 0.0], [2.0, 5.0]])
    >>> cholesky_in_place(S), S.tolist()
    (True, [[2.0, 0.0], [1.0, 2.0]])
    """
    if not (S.flags.c_contiguous and S.dtype == np.float64 and S.ndim == 2 and S.shape[0] == S.shape[1]):
        raise ValueError(f"a square matrix of doubles in C order is needed; got {S.dtype} of shape {S.shape}")
    size, failed = ctypes.c_int(len(S)), ctypes.c_int(0)
    # The lower triangle in C order is the upper one in Fortran order.
    _dpotrf(b"U", ctypes.byref(size), S.ctypes.data, ctypes.byref(size), ctypes.byref(failed))
    return failed.value == 0

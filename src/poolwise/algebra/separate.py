"""No pooling: one least-squares regression a group, from the cross-products of each group alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.crossproducts import Array

# A pivot this small against its diagonal is a column that the columns before it already explain.
PIVOT_TOLERANCE = 1e-9
# A combination of columns that agrees to that many digits has a coefficient of zero to fewer.
NOTHING = 1e-6


@dataclass(frozen=True)
class SeparateRegressions:
    """Least squares in each of J groups.

    Parameters
    ----------
    coefficients : ndarray (J, p)
        0 where a coefficient is not identified.
    aliased : ndarray of bool (J, p)
        Coefficients that the group's rows do not identify.
    inverse : ndarray (J, p, p)
        (X_j'X_j)^-1 over the identified columns, 0 elsewhere.
    rss : ndarray (J,)
        Residual sums of squares.
    free : ndarray (J, p, p)
        Column k: a combination of coefficients that a group's rows do not see, of an aliased k; 0 of another.
    """

    coefficients: Array
    aliased: NDArray[np.bool_]
    inverse: Array
    rss: Array
    free: Array

    def undetermined(self, matrix: Array) -> NDArray[np.bool_]:
        """Which of the coefficients ``matrix`` b (J, t) a group's rows do not determine.

        Those that change with a combination that the rows do not see: of a predictor that is constant in a group its
        own, and that of the intercept, which stands where the predictor is zero.

        Parameters
        ----------
        matrix : ndarray (t, p)

        References
        ----------
        Searle (1971), Linear Models, section 5.4: estimable functions.
        """
        moved = np.einsum("ta,jak->jtk", matrix, self.free)
        size = np.einsum("ta,jak->jtk", np.abs(matrix), np.abs(self.free))
        return (np.abs(moved) > NOTHING * size).any(axis=2)


def separate_regressions(XtX: Array, Xty: Array, yty: Array) -> SeparateRegressions:
    """Solve the normal equations of every group by the sweep operator, columns in order.

    Parameters
    ----------
    XtX, Xty, yty : ndarray (J, p, p), (J, p), (J,)
        Cross-products of each group, columns centred and scaled over all rows.

    Returns
    -------
    SeparateRegressions

    References
    ----------
    Goodnight (1979), The American Statistician 33, 149-158.
    """
    J, p = Xty.shape
    A = np.empty((J, p + 1, p + 1))
    A[:, :p, :p], A[:, :p, p], A[:, p, :p], A[:, p, p] = XtX, Xty, Xty, yty
    original = np.einsum("jkk->jk", XtX).copy()
    aliased = np.zeros((J, p), dtype=bool)
    for k in range(p):
        pivot = A[:, k, k].copy()
        sweep = pivot > PIVOT_TOLERANCE * np.maximum(original[:, k], np.finfo(float).tiny)
        aliased[:, k] = ~sweep
        B, d = A[sweep], pivot[sweep]
        row, column = B[:, k, :] / d[:, None], B[:, :, k].copy()
        B -= column[:, :, None] * row[:, None, :]
        B[:, k, :] = row
        B[:, :, k] = -column / d[:, None]
        B[:, k, k] = 1 / d
        A[sweep] = B
    identified = ~aliased
    inverse = A[:, :p, :p] * (identified[:, :, None] & identified[:, None, :])
    free = (np.eye(p) - A[:, :p, :p] * identified[:, :, None]) * aliased[:, None, :]
    # Columns have about the same length: what is far below the coefficient of the aliased one itself is rounding.
    free[np.abs(free) < NOTHING] = 0.0
    return SeparateRegressions(A[:, :p, p] * identified, aliased, inverse, np.maximum(A[:, p, p], 0.0), free)

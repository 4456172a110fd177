"""The factor and the inverse of one group's small matrix: numpy's, or NaN for what is not positive definite."""

import numpy as np
import pytest

from poolwise.algebra.groups import cholesky_inverse


@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_factor_inverse_and_determinant_are_numpys(q):
    A = np.random.default_rng(q).normal(size=(q, q + 2))
    M, L, inverse = A @ A.T, np.zeros((q, q)), np.zeros((q, q))
    logdet = cholesky_inverse(M.copy(), L, inverse)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(M), rtol=1e-10)
    np.testing.assert_allclose(inverse, np.linalg.inv(M), rtol=1e-8)
    assert logdet == pytest.approx(np.linalg.slogdet(M)[1], rel=1e-10)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_one_negative_or_zero_pivot_is_enough(q):
    for at in range(q):
        for value in (-1.0, 0.0, np.nan):
            M = np.eye(q)
            M[at, at] = value
            with np.errstate(all="ignore"):
                assert np.isnan(cholesky_inverse(M, np.zeros((q, q)), np.zeros((q, q))))

"""The coordinates of the algebra: what they promise of the columns, and that nothing is lost on the way back.

1e-10 is rounding at columns whose means are a thousand times their sds.
"""

import numpy as np
import pytest

from poolwise.algebra.basis import basis_of_moments, centring, dependent_columns, dependent_of_moments, make_basis
from poolwise.algebra.theta import BlockStructure

RNG = np.random.default_rng(3)
N = 60
X = np.column_stack([np.ones(N), 1000 + RNG.normal(size=N), 1e-3 * RNG.normal(size=N)])
Z = np.column_stack([np.ones(N), X[:, 1], 50 * RNG.normal(size=N) + 7])
Y = 300 + 20 * RNG.normal(size=N)
STRUCTURE = BlockStructure((2, 1))


def moments(columns):
    mean = columns.mean(axis=0)
    return mean, (columns - mean).T @ (columns - mean)


@pytest.fixture(params=["rows", "moments"])
def basis(request):
    if request.param == "rows":
        return make_basis(X, Z, Y, 0, centring(Z, STRUCTURE))
    mean, scatter = moments(np.column_stack([X[:, 1:], Z[:, 2], Y]))
    return basis_of_moments(N, mean, scatter, [-1, 0, 1], [-1, 0, 2], 0, STRUCTURE)


def test_columns_are_orthogonal_and_scaled(basis):
    Q, W, y = basis.rows(X, Z, Y)
    np.testing.assert_allclose(Q.T @ Q, N * np.eye(3), atol=1e-8 * N)
    np.testing.assert_allclose((W**2).mean(axis=0), 1, rtol=1e-10)
    # The correlated block is centred, the effect that stands alone is not.
    assert abs(W[:, 1].mean()) < 1e-10 and W[:, 2].mean() > 0.05
    assert y.mean() == pytest.approx(0, abs=1e-10) and (y**2).mean() == pytest.approx(1, rel=1e-10)


def test_coefficients_come_back_in_the_units_of_the_data(basis):
    Q, W, _ = basis.rows(X, Z, Y)
    b, v = RNG.normal(size=3), RNG.normal(size=3)
    offset, matrix = basis.to_coefficients
    mean = basis.y_shift + basis.y_scale * (Q @ b)
    np.testing.assert_allclose(X @ (offset + matrix @ b), mean, rtol=1e-9)
    np.testing.assert_allclose(Z @ (basis.to_effects @ v), basis.y_scale * (W @ v), rtol=1e-9, atol=1e-8)
    offset, matrix = basis.to_centred
    np.testing.assert_allclose((X - basis.centre) @ (offset + matrix @ b), mean, rtol=1e-9)
    np.testing.assert_allclose(basis.by_b(X), X @ basis.to_coefficients[1], atol=1e-7)


def test_a_row_counts_as_often_as_it_stands_for_others():
    times = RNG.integers(1, 5, N).astype(float)
    repeated = np.repeat(np.arange(N), times.astype(int))
    once = make_basis(X, Z, np.zeros(N), 0, centring(Z, STRUCTURE, times), times)
    often = make_basis(X[repeated], Z[repeated], np.zeros(len(repeated)), 0, centring(Z[repeated], STRUCTURE))
    for name in ("centre", "R", "z_centre", "z_scale"):
        np.testing.assert_allclose(getattr(once, name), getattr(often, name), rtol=1e-9, atol=1e-9)


def test_without_an_intercept_nothing_is_shifted():
    basis = make_basis(X[:, 1:], Z, Y, -1)
    assert basis.y_shift == 0 and not basis.centre.any()
    assert basis.y_scale == pytest.approx(np.sqrt((Y**2).mean()))
    mean, scatter = moments(np.column_stack([X[:, 1:], Y]))
    again = basis_of_moments(N, mean, scatter, [0, 1], [-1], -1, None)
    assert again.y_shift == 0 and again.y_scale == pytest.approx(basis.y_scale)
    # Of a mean a thousand sds away the square keeps ten digits.
    np.testing.assert_allclose(again.R, basis.R, rtol=1e-6, atol=1e-6 * np.abs(basis.R).max())


def test_columns_of_zeros_keep_their_scale():
    basis = make_basis(np.ones((N, 1)), np.zeros((N, 1)), np.full(N, 5.0), 0)
    assert basis.z_scale.tolist() == [1.0] and basis.y_scale == 1.0


@pytest.mark.parametrize("from_moments", [False, True])
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (lambda x: 3 * x - 2, [3]),
        (lambda x: np.full(N, 4.0), [3]),
        (lambda x: x + 1e-11 * RNG.normal(size=N), [3]),
        (lambda x: x + 1e-4 * RNG.normal(size=N), []),
        (lambda x: x**2, []),
    ],
)
def test_dependent_columns_are_named(extra, expected, from_moments):
    x = RNG.normal(size=N)
    columns = np.column_stack([np.ones(N), x, RNG.normal(size=N), extra(x)])
    if from_moments:
        mean, scatter = moments(np.column_stack([columns[:, 1:], Y]))
        assert dependent_of_moments(scatter, mean, N, [-1, 0, 1, 2], 0) == expected
    else:
        assert dependent_columns(columns, 0) == expected


def test_without_an_intercept_a_constant_is_a_predictor():
    x = RNG.normal(size=N)
    columns = np.column_stack([x, np.full(N, 4.0), 2 * x + 8])
    assert dependent_columns(columns, -1) == [2]
    mean, scatter = moments(np.column_stack([columns, Y]))
    assert dependent_of_moments(scatter, mean, N, [0, 1, 2], -1) == [2]
    assert dependent_columns(np.zeros((N, 0)), -1) == []

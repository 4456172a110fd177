"""One regression a group is least squares of that group's rows alone; 1e-9 is rounding of sums of products."""

import numpy as np

from poolwise.algebra.separate import separate_regressions


def sums(X, y):
    return X.T @ X, X.T @ y, y @ y


def solved(groups):
    return separate_regressions(*(np.array(part) for part in zip(*(sums(X, y) for X, y in groups), strict=True)))


def test_every_group_is_its_own_least_squares():
    rng = np.random.default_rng(1)
    groups = [(np.column_stack([np.ones(n), rng.normal(size=(n, 2))]), rng.normal(2, 1, n)) for n in (5, 9, 30)]
    found = solved(groups)
    for j, (X, y) in enumerate(groups):
        b, rss = np.linalg.lstsq(X, y)[:2]
        np.testing.assert_allclose(found.coefficients[j], b, rtol=1e-9)
        np.testing.assert_allclose(found.rss[j], rss[0], rtol=1e-9)
        np.testing.assert_allclose(found.inverse[j], np.linalg.inv(X.T @ X), rtol=1e-9)
    assert not found.aliased.any()


def test_what_a_group_does_not_identify_is_left_out():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=8), rng.normal(size=8)
    constant = np.column_stack([np.ones(8), np.full(8, 0.3), x])
    whole = np.column_stack([np.ones(8), rng.normal(size=8), x])
    found = solved([(constant, y), (whole, y)])
    assert found.aliased.tolist() == [[False, True, False], [False, False, False]]
    b, rss = np.linalg.lstsq(constant[:, [0, 2]], y)[:2]
    np.testing.assert_allclose(found.coefficients[0], [b[0], 0, b[1]], rtol=1e-9)
    np.testing.assert_allclose(found.rss[0], rss[0], rtol=1e-9)
    inverse = np.zeros((3, 3))
    inverse[np.ix_([0, 2], [0, 2])] = np.linalg.inv(constant[:, [0, 2]].T @ constant[:, [0, 2]])
    np.testing.assert_allclose(found.inverse[0], inverse, rtol=1e-9, atol=1e-15)


def test_a_group_without_rows_identifies_nothing():
    found = separate_regressions(np.zeros((1, 2, 2)), np.zeros((1, 2)), np.zeros(1))
    assert found.aliased.all() and not found.coefficients.any() and found.rss[0] == 0


def test_columns_that_agree_to_nine_digits_are_one():
    x = np.linspace(-1, 1, 12)
    for apart, one in ((1e-5, True), (1e-4, False)):
        X = np.column_stack([x, x + apart * x**2])
        # What is left of the second column has apart^2 of its square, against the tolerance of 1e-9.
        assert solved([(X, x**3)]).aliased[0, 1] == one


def test_a_constant_predictor_takes_the_intercept_along_unless_it_is_zero():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=10), rng.normal(size=10)

    def group(z):
        # Columns in the coordinates of the fits: centred over all rows, z at 4 and in units of 3.
        return np.column_stack([np.ones(10), x, np.full(10, (z - 4) / 3)]), y

    found = solved([group(7.0), group(0.0), (np.column_stack([np.ones(10), x, rng.normal(size=10)]), y)])
    # Back to predictors at zero: the intercept less 4 slopes of z a unit.
    matrix = np.array([[1, 0, -4 / 3], [0, 1, 0], [0, 0, 1 / 3]])
    assert found.undetermined(matrix).tolist() == [[True, False, True], [False, False, True], [False] * 3]


def test_of_two_predictors_that_agree_neither_is_determined_nor_is_their_sum_lost():
    x = np.linspace(-1, 1, 9)
    found = solved([(np.column_stack([np.ones(9), x, 2 * x]), x**2)])
    assert found.undetermined(np.eye(3)).tolist() == [[False, True, True]]
    assert found.undetermined(np.array([[0.0, 1.0, 2.0]])).tolist() == [[False]]

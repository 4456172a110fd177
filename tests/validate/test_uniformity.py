"""The exact band and p value of the ECDF test, against simulated uniform ranks.

Tolerances: coverage over 4,000 simulated sets of ranks has a standard error of at most 0.0035 at 0.95 and of 0.008 at
0.5; four of them are allowed. Counts are whole numbers, so that bands cover a little more than their level.
"""

import numpy as np
import pytest

from poolwise.validate.uniformity import band, counts_up_to, ecdf_places, p_value


@pytest.mark.parametrize(("N", "L"), [(60, 19), (100, 250)])
def test_the_band_holds_all_of_the_ecdf_with_its_probability(N, L):
    rng = np.random.default_rng(1)
    lower, upper = band(N, L, 0.95)
    counts = [counts_up_to(rng.integers(0, L + 1, N), L) for _ in range(4000)]
    inside = np.mean([np.all((c >= lower) & (c <= upper)) for c in counts])
    assert 0.95 - 0.014 < inside < 0.975


def test_p_values_of_uniform_ranks_are_no_smaller_than_uniform_and_hardly_larger():
    rng = np.random.default_rng(2)
    p = np.array([p_value(rng.integers(0, 101, 100), 100) for _ in range(600)])
    for alpha in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= alpha) - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / 600) + 0.02


def test_a_band_and_its_p_value_agree():
    rng = np.random.default_rng(3)
    lower, upper = band(100, 50, 0.9)
    for shift in np.linspace(1.0, 1.6, 25):
        ranks = np.floor(rng.random(100) ** shift * 51).astype(int)
        counts = counts_up_to(ranks, 50)
        inside = bool(np.all((counts >= lower) & (counts <= upper)))
        assert inside == (p_value(ranks, 50) > 0.1 - 1e-6)


def test_ranks_too_low_too_many_at_the_ends_and_too_few_are_seen():
    rng = np.random.default_rng(4)
    u = rng.random(150)
    for ranks in (u**1.6, np.where(u < 0.5, (2 * u) ** 2 / 2, 1 - (2 - 2 * u) ** 2 / 2), 0.25 + u / 2):
        assert p_value(np.floor(ranks * 101).astype(int), 100) < 0.01
    assert p_value(np.floor(u * 101).astype(int), 100) > 0.05


def test_places_are_few_when_ranks_are_many():
    assert list(ecdf_places(4)) == [0, 1, 2, 3]
    assert len(ecdf_places(10_000)) == 100

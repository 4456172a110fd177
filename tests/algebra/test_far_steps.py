"""The profiled criterion far out, where a step of the optimiser may land, is not finite and no error."""

from dataclasses import replace

import numpy as np
import pytest

import poolwise as pw
from poolwise.algebra.profiled import profile


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("far", [1e9, 1e20, 1e160])
def test_effects_that_leave_nothing_of_the_intercept_have_no_criterion(far, reml):
    # Balanced groups of 5 with 1 + 5 far^2 == 5 far^2 in floating point: what is left of X'X is exactly 0.
    stats = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).sufficient.stats
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(profile(stats, np.eye(1) * far, reml=reml).criterion)


@pytest.mark.parametrize("reml", [True, False])
def test_a_response_without_residual_has_no_criterion(reml):
    # Nothing is left of a response of zeros, and the logarithm of nothing is no number.
    found = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).sufficient.stats
    stats = replace(found, yty=0.0, Xty=np.zeros_like(found.Xty), Zty=np.zeros_like(found.Zty))
    assert np.isnan(profile(stats, np.eye(1), reml=reml).criterion)

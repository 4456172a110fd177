"""Where a step of the sampler goes far out the density is not finite, or very low; nothing is raised."""

import numpy as np
import pytest

import poolwise as pw
from poolwise.algebra.group_factor import FARTHEST
from poolwise.compile import whitened
from poolwise.compile.collapsed import log_posterior
from poolwise.fit.whitened import WhitenedSampler


@pytest.mark.parametrize("preset", ["r2d2m2", "horseshoe", "rstanarm", "icc_beta", "weakly_informative"])
def test_far_steps_raise_nothing(preset):
    model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"), priors=preset)
    one = model.sampler
    two = WhitenedSampler(model.design, model.specification.priors, centred=True)
    cases = (
        (log_posterior, one.pack(one.model), one.model.size, one.model.stats.p),
        (whitened.log_posterior, two.packed, two.model.size, two.model.pattern.size),
    )
    for density, packed, size, first in cases:
        near = density(np.zeros(size), packed, np.zeros(size))
        assert np.isfinite(near)
        for k in range(first, size):
            for far in (-800.0, -380.0, -100.0, -60.0, 60.0, 100.0, 380.0, 800.0):
                x = np.zeros(size)
                x[k] = far
                value = density(x, packed, np.zeros(size))
                assert not value > near + 50, (k, far, value)
                assert np.isnan(value) or abs(far) <= FARTHEST
        # All at once, in either direction.
        for seed in range(20):
            x = np.random.default_rng(seed).choice([-FARTHEST, FARTHEST], size)
            density(x, packed, np.zeros(size))

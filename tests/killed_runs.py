"""Runs that are killed, for tests of what their stores hold."""

import pytest

from poolwise.fit import nuts
from poolwise.result.stream import RunStore


class Killed(BaseException):
    """What a killed process does not live to see."""


def fit_killed(model, store, keep, **options):
    """Fit a model until the store holds so many draws of each chain, and no longer."""
    left, real = dict(enumerate(keep)), RunStore.watch

    def watch(self, chain, posterior, stats):
        # However few draws a batch has on a busy machine, each chain keeps as many as are left to it.
        own = slice(0, left[chain])
        if left[chain]:
            real(self, chain, posterior.isel(draw=own), stats.isel(draw=own))
        left[chain] -= min(left[chain], posterior.sizes["draw"])
        if not any(left.values()):
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(nuts, "EVERY", 0.02)
        patch.setattr(RunStore, "watch", watch)
        model.fit(**options, store=store)

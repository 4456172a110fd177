"""A watched run hands on every draw once, in time, and has the draws of one that is not watched."""

import numpy as np
import pytest
import xarray as xr

import poolwise as pw
from poolwise.fit import nuts
from poolwise.fit.bayes import Sampling
from poolwise.fit.trace import collected

SETTINGS = Sampling(draws=3000, tune=100, chains=3, seed=5, cores=2, progress=False)


@pytest.fixture(scope="module")
def sampler():
    return pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).sampler


def test_a_watched_run_is_the_same_run(sampler, monkeypatch):
    monkeypatch.setattr(nuts, "EVERY", 0.02)
    told: dict[int, list] = {}
    watched, stats = sampler.sample(
        SETTINGS, watch=lambda chain, draws, stats: told.setdefault(chain, []).append((draws, stats))
    )
    plain, plain_stats = sampler.sample(SETTINGS)
    np.testing.assert_array_equal(watched.sigma, plain.sigma)
    assert stats.identical(plain_stats)
    assert set(told) == {0, 1, 2} and max(map(len, told.values())) > 1
    joined = np.concatenate([np.concatenate([draws.sigma for draws, _ in told[chain]]) for chain in range(3)])
    np.testing.assert_array_equal(joined, plain.sigma)
    depth = np.concatenate([xr.concat([own for _, own in told[c]], "draw")["depth"].to_numpy() for c in range(3)])
    np.testing.assert_array_equal(depth, plain_stats["depth"])


class Clock:
    """A sampler that takes long to look at, and what it was waited for."""

    def __init__(self, monkeypatch, takes):
        self.now, self.takes, self.waits = 0.0, takes, []
        monkeypatch.setattr(nuts.time, "monotonic", lambda: self.now)

    def wait(self, timeout):
        self.waits.append(timeout)
        self.now += timeout
        if len(self.waits) > 5:
            return "all"
        raise TimeoutError

    def inspect(self):
        return self

    def get_arrow_trace(self):
        self.now += self.takes
        return ()

    def cancel(self):
        raise AssertionError


@pytest.mark.parametrize("takes", [0.0, 0.1, 0.3, 0.47])
def test_what_was_drawn_a_second_ago_has_been_handed_on(monkeypatch, takes):
    clock, ends = Clock(monkeypatch, takes), []
    assert nuts._awaited(clock, lambda trace: ends.append(clock.now)) == "all"
    # A draw made just after one look is handed on at the end of the next; the first sees those since the start.
    begins = [0.0, *(end - takes for end in ends[:-1])]
    assert max(np.subtract(ends, begins)) <= 1.0


def test_an_interrupt_keeps_what_was_begun(monkeypatch):
    clock = Clock(monkeypatch, 0.0)

    def interrupted(timeout):
        raise KeyboardInterrupt

    clock.wait, clock.abort = interrupted, lambda: "some"
    assert nuts._awaited(clock, lambda trace: None) == "some"


def test_nothing_to_keep_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt, match="before there were draws to keep"):
        collected(([], []), {})

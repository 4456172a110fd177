"""Parametric bootstrap: responses simulated from a fit, and the model fitted to each of them.

A replicate has a seed of its own, so that nothing depends on how many threads share the work. Only y changes: the
cross-products Z'Z, Z'X and X'X of the fit serve all replicates.

References
----------
Efron & Tibshirani (1993), An Introduction to the Bootstrap, sections 6.5 and 13.3; Bates, Maechler, Bolker & Walker
(2015), J. Stat. Softw. 67(1), section 5.1, on its use for mixed models.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits

from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.fit.reml import Optimum
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.fit.replicates import LEAST_START, Refitter
from poolwise.spec.crossed import CrossedSufficient, split
from poolwise.spec.design import Design
from poolwise.spec.sufficient import Sufficient
from poolwise.workers import Client, in_order

# Replicates a thread takes at a time.
CHUNK = 20


@dataclass(frozen=True)
class Replicates:
    """Fits of simulated responses, in the coordinates of the algebra.

    Parameters
    ----------
    b, Lambda, s : ndarray (R, p), (R, q, q), (R,)
        Common effects, relative factor, residual variance.
    converged : ndarray of bool (R,)
        Whether each optimiser came to rest.
    """

    b: Array
    Lambda: Array
    s: Array
    converged: Array


_NONE = Replicates(np.zeros((0, 0)), np.zeros((0, 0, 0)), np.zeros(0), np.zeros(0, dtype=bool))


def parametric_bootstrap(
    design: Design,
    collapsed: Sufficient | CrossedSufficient,
    optimum: Optimum,
    *,
    reml: bool,
    power: float,
    n_boot: int,
    seed: int,
    workers: int | None = None,
    client: Client | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Replicates:
    """Simulate and refit.

    Parameters
    ----------
    design : Design
        The rows.
    collapsed : Sufficient or CrossedSufficient
        Their collapsed form.
    optimum : Optimum
        The fit to simulate from: new group-specific effects and new residuals a replicate.
    reml, power : bool, float
        How to fit, see :func:`poolwise.fit.reml.optimise`.
    n_boot : int
        Number of replicates.
    seed : int
        Each replicate's generator is spawned from it.
    workers : int, optional
        Threads; the number of cores by default. It does not change the result.
    client : Client, optional
        Runs the replicates in place of threads.
    report : callable, optional
        Called with the number of replicates that are done.

    Returns
    -------
    Replicates
    """
    seeds = np.random.SeedSequence(seed).spawn(n_boot)
    refits = _Refits(_Simulation(design, collapsed, optimum), collapsed, optimum, reml, power, seeds)
    parts: list[Replicates] = [_NONE] * len(range(0, n_boot, CHUNK))
    done = 0
    # One BLAS thread each: many small matrices, side by side already.
    with threadpool_limits(1):
        if client is None:
            found = _in_threads(refits, len(parts), workers or os.cpu_count() or 1)
        else:
            found = enumerate(in_order(refits, len(parts), client=client))
        for chunk, part in found:
            parts[chunk] = part
            done += len(part.s)
            report(done)
    names = [field.name for field in fields(Replicates)]
    return Replicates(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(eq=False)
class _Refits:
    """A chunk of replicates by its number; it goes to other processes without what was compiled here."""

    simulate: "_Simulation"
    collapsed: Sufficient | CrossedSufficient
    optimum: Optimum
    reml: bool
    power: float
    seeds: list[np.random.SeedSequence]

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "refit"}

    @cached_property
    def refit(self) -> Callable:
        return _refitter(self.collapsed, self.optimum, reml=self.reml, power=self.power)

    def __call__(self, chunk: int) -> Replicates:
        seeds = self.seeds[chunk * CHUNK : (chunk + 1) * CHUNK]
        made, p, q = len(seeds), self.collapsed.stats.p, self.collapsed.structure.q
        found = Replicates(np.empty((made, p)), np.empty((made, q, q)), np.empty(made), np.empty(made, dtype=bool))
        for r, seed in enumerate(seeds):
            sums = self.simulate(np.random.default_rng(seed))
            found.Lambda[r], found.b[r], found.s[r], found.converged[r] = self.refit(*sums)
        return found


def _in_threads(run: _Refits, count: int, workers: int) -> Iterator[tuple[int, Replicates]]:
    """Chunks as they come, with their numbers; what waits is dropped when the caller is interrupted."""
    # Compiled once, before threads ask for it together.
    run.refit  # noqa: B018
    pool = ThreadPoolExecutor(workers)
    try:
        numbered = {pool.submit(run, chunk): chunk for chunk in range(count)}
        waiting = set(numbered)
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                yield numbered[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Simulation:
    """Draws X'y, y'y and Z'y of every factor for a response y = X b + Z u + e of the fit."""

    def __init__(self, design: Design, collapsed: Sufficient | CrossedSufficient, optimum: Optimum):
        stats = collapsed.stats
        T = optimum.Lambda * np.sqrt(optimum.at.s)
        self.Ts = stats.blocks(T) if isinstance(stats, CrossedProducts) else ([T] if design.factors else [])
        Z = np.column_stack([np.zeros((design.n, 0)), *(factor.Z for factor in design.factors)])
        self.X, Z, _ = collapsed.basis.rows(design.X, Z, np.zeros(design.n))
        self.Zs = split(Z, design) if design.factors else []
        self.groups = [(factor.codes, factor.J) for factor in design.factors]
        self.mean = self.X @ optimum.at.b
        self.sigma = np.sqrt(optimum.at.s)
        self.weights = np.ones(design.n) if design.weights is None else design.weights
        # A frequency weight w stands for w rows: their mean is drawn, and the squares within them.
        self.within = max(float(self.weights.sum()) - design.n, 0.0) if design.frequency else 0.0

    def __call__(self, rng: np.random.Generator) -> tuple[Array, float, list[Array]]:
        y = self.mean + self.sigma * rng.standard_normal(len(self.mean)) / np.sqrt(self.weights)
        for (codes, J), Z, T in zip(self.groups, self.Zs, self.Ts, strict=True):
            u = rng.standard_normal((J, len(T))) @ T.T
            y += np.einsum("nk,nk->n", Z, u[codes])
        wy = self.weights * y
        Ztys = [
            np.stack([np.bincount(codes, Z[:, k] * wy, J) for k in range(Z.shape[1])], axis=1)
            for (codes, J), Z in zip(self.groups, self.Zs, strict=True)
        ]
        extra = self.sigma**2 * rng.chisquare(self.within) if self.within else 0.0
        return self.X.T @ wy, float(y @ wy) + extra, Ztys


def _refitter(collapsed: Sufficient | CrossedSufficient, optimum: Optimum, *, reml: bool, power: float) -> Callable:
    """From X'y, y'y and the Z'y of every factor to Lambda, b, s and whether the optimiser came to rest."""
    stats, structure = collapsed.stats, collapsed.structure
    if isinstance(stats, CrossProducts):
        compiled = Refitter(stats, structure, optimum.Lambda, reml=reml, power=power)
        none = stats.Zty
        return lambda Xty, yty, Ztys: compiled(Xty, yty, Ztys[0] if Ztys else none)
    start = optimum.Lambda.copy()
    np.fill_diagonal(start, np.maximum(np.diag(start), LEAST_START))

    def refit(Xty: Array, yty: float, Ztys: list[Array]) -> tuple[Array, Array, float, bool]:
        factors = tuple(
            replace(factor, Xty=Xty, yty=yty, Zty=Zty) for factor, Zty in zip(stats.factors, Ztys, strict=True)
        )
        again = optimise_crossed(replace(stats, factors=factors), structure, reml=reml, start=start, power=power)
        return again.Lambda, again.at.b, again.at.s, again.converged

    return refit

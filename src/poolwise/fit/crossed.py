"""The Bayesian fit of several grouping factors in collapsed form: independent draws, effects and all, by importance.

The variance parameters are few, whatever the number of groups: proposals come from a split t at their posterior mode,
the common effects and the effects of all factors are drawn exactly given them, and weights correct the rest.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from poolwise import names
from poolwise.algebra.crossed import CrossedProducts
from poolwise.algebra.crossed_conditional import draw_effects
from poolwise.algebra.crossed_marginal import NormalPrior, crossed_marginal
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.schur import dense_storage
from poolwise.algebra.theta import lower_factor
from poolwise.compile.collapsed import Draws
from poolwise.compile.crossed import CrossedPosterior, exact_normal, normal_prior
from poolwise.errors import FitError
from poolwise.fit.bayes import Sampling, all_closed, prior_codes, scalar_priors
from poolwise.fit.importance import (
    DEGREES,
    DEGREES_CORRELATED,
    K_LIMIT,
    SplitT,
    copies,
    duplicated,
    smoothed_weights,
    split_t,
)
from poolwise.fit.reference import BOUNDARY_STEP
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.priors.distributions import JOINT
from poolwise.priors.prior import Prior
from poolwise.spec.crossed import CrossedSufficient, crossed_sufficient
from poolwise.spec.design import Design

# Proposals of the first wave and of each that follows, and the most there are, as shares of the draws.
FIRST, NEXT, MOST = 1.25, 0.5, 6.0
# Proposals that a tail is fitted to, at least.
LEAST_PROPOSALS = 400
# Share of draws that may repeat another.
REPEATED = 0.02
# More effects than this beside the largest factor make each draw too dear if they are crossed: it factorises the matrix
# of their square. Nested ones are served while a factorisation costs no more.
MOST_COLUMNS = 3000
# Multiplications of one factorisation from which threads gain more than they lose waiting for Python's lock.
WORTH_THREADS = 1e6


def serves_crossed(design: Design, priors: Mapping[str, Prior]) -> str:
    """Why the collapsed form of several factors cannot sample this model; empty if it can."""
    if not design.collapses:
        return f"the response is not Gaussian with an identity link, or is censored or truncated ({design.family})"
    if any(prior.support == JOINT for prior in priors.values()):
        return "a joint prior ties its variances together"
    if not all_closed(priors):
        return "a prior is not of its kernel"
    return ""


def is_affordable(design: Design) -> bool:
    """Whether a factorisation at every draw is: the effects beside those of the largest factor are few, or nested."""
    sizes = sorted(factor.J * factor.structure.q for factor in design.factors)
    if sum(sizes[:-1]) <= MOST_COLUMNS:
        return True
    try:
        storage = crossed_sufficient(design).stats.storage
    except FitError:
        return False
    return storage.work <= dense_storage(MOST_COLUMNS).work


@dataclass(frozen=True)
class CrossedDraws:
    """Independent draws of the posterior, (chains * draws, ...).

    Parameters
    ----------
    parameters : Draws
        Of the parameters.
    effects : list of ndarray (chains * draws, J_f, q_f)
        Of each factor, units of the data.
    stats : Dataset
        ``diverging``, all False; ``log_weight``, log of the importance weight over the average one; ``proposal``, which
        one the draw is: repeated draws share it. Its attribute ``pareto_k`` says how far the weights can be trusted.
    said : str
        How it went, in words.
    """

    parameters: Draws
    effects: list[Array]
    stats: xr.Dataset
    said: str


class CrossedSampler:
    """The collapsed posterior of a Gaussian model with several grouping factors.

    Parameters
    ----------
    design : Design
        Names and sizes.
    sufficient : CrossedSufficient
        Its collapsed rows, centred as the priors ask.
    priors : mapping of str to Prior
        Resolved, by parameter.
    """

    def __init__(self, design: Design, sufficient: CrossedSufficient, priors: Mapping[str, Prior]):
        stats, basis, structure = sufficient.stats, sufficient.basis, sufficient.structure
        coefficients, sds, sigma = scalar_priors(design, priors)
        eta: list[float] = []
        for factor in design.factors:
            correlation = priors.get(names.correlation(factor.name))
            eta += [correlation.params["eta"] if correlation else 1.0] * len(factor.structure.sizes)
        T, s = _reference(sufficient)
        codes = prior_codes(coefficients)
        normal = _stand_in(sufficient, codes, T, s)
        sd = np.sqrt((T**2).sum(axis=1)) * basis.sd_scale
        self.model = CrossedPosterior(
            stats,
            basis,
            structure,
            tuple(eta),
            codes,
            prior_codes(sds),
            prior_codes([sigma])[0],
            normal,
            sd,
            float(np.sqrt(s)) * basis.y_scale,
        )

    def sample(self, settings: Sampling) -> tuple[CrossedDraws | None, float]:
        """Draws and the Pareto k of their weights; None where k says that they are not to be trusted.

        Parameters
        ----------
        settings : Sampling
            Of the run; ``tune`` and ``target_accept`` mean nothing here.
        """
        from rich.console import Console
        from rich.progress import Progress

        wanted = settings.chains * settings.draws
        with threadpool_limits(1):
            # One BLAS thread: the draws themselves are spread over threads.
            model = self.model
            degrees = DEGREES_CORRELATED if model.structure.n_correlations else DEGREES
            proposal = split_t(model.with_gradient, lambda x: model.log_density(x)[0], np.zeros(model.size), degrees)
            if proposal is None:
                return None, np.inf
            rng = np.random.default_rng(settings.seed)
            sizes = [max(int(np.ceil(FIRST * wanted)), LEAST_PROPOSALS)]
            found: list[_Proposed] = []
            with Progress(console=Console(stderr=True), disable=not settings.progress, transient=True) as bar:
                task = bar.add_task("independent draws of parameters and effects", total=sizes[0])
                while True:
                    wave = self._wave(proposal, sizes[-1], settings, rng, lambda: bar.advance(task))
                    found.append(wave)
                    weights, k = smoothed_weights(np.concatenate([part.log_ratio for part in found]))
                    if k > K_LIMIT:
                        return None, k
                    if duplicated(weights, wanted) < REPEATED or sum(sizes) >= MOST * wanted:
                        break
                    sizes.append(max(int(np.ceil(NEXT * wanted)), LEAST_PROPOSALS))
                    bar.update(task, total=sum(sizes))
        return self._resampled(found, weights, k, settings, rng), k

    def _wave(self, proposal: SplitT, size: int, settings: Sampling, rng: np.random.Generator, advance) -> "_Proposed":
        """Proposals with common effects and effects drawn exactly, each from its own seed: threads change nothing."""
        model, stats = self.model, self.model.stats
        x, streams = proposal.draw(size, rng), rng.spawn(size)
        exact = exact_normal(model.coefficient_priors)
        log_target, b = np.full(size, -np.inf), np.zeros((size, stats.p))
        T, s = np.zeros((size, model.structure.q, model.structure.q)), np.ones(size)
        effects = [np.zeros((size, factor.J, factor.q)) for factor in stats.factors]

        def one(d: int) -> None:
            own = streams[d]
            value, at, there = model.log_density(x[d])
            if np.isfinite(value):
                b[d] = there.mean + lapack.dtrtrs(there.L, own.standard_normal(stats.p), lower=1, trans=1)[0]
                T[d], s[d] = at.T, at.s
                log_target[d] = value if exact else value + model.correction(b[d])
                for out, effect in zip(effects, draw_effects(stats, there.at, b[d], np.sqrt(at.s), own), strict=True):
                    out[d] = effect
            advance()

        threads = settings.cores or os.cpu_count() or 1 if _multiplications(stats) > WORTH_THREADS else 1
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(size)))
        return _Proposed(log_target - proposal.log_density(x), b, T, s, effects)

    def _resampled(
        self, found: "list[_Proposed]", weights: Array, k: float, settings: Sampling, rng: np.random.Generator
    ) -> CrossedDraws:
        basis, wanted = self.model.basis, settings.chains * settings.draws
        kept = copies(weights, wanted, rng)
        # The order of the draws is random: chains are interchangeable.
        chosen = rng.permutation(np.repeat(np.arange(len(kept)), kept))
        starts = np.cumsum([0, *(len(part.s) for part in found)])

        def gather(values: list[Array]) -> Array:
            out = np.empty((wanted, *values[0].shape[1:]))
            for start, value in zip(starts, values, strict=False):
                here = (chosen >= start) & (chosen < start + len(value))
                out[here] = value[chosen[here] - start]
            return out

        b, T, s = (gather([getattr(part, name) for part in found]) for name in ("b", "T", "s"))
        offset, matrix = basis.to_coefficients
        coefficients, factor = offset + b @ matrix.T, lower_factor(basis.to_effects @ T)
        parameters = Draws(b, T, s, coefficients, factor, np.sqrt(s) * basis.y_scale)
        effects = []
        for f, C in enumerate(self.model.stats.blocks(basis.to_effects)):
            effects.append(gather([part.effects[f] for part in found]) @ C.T)
            for part in found:
                # Effects are most of the memory: each factor's proposals go as soon as they are read.
                part.effects[f] = np.zeros((len(part.s), 0, 0))
        shape, dims = (settings.chains, settings.draws), ("chain", "draw")
        with np.errstate(divide="ignore"):
            log_weight = np.log(weights * len(weights))[chosen]
        stats = xr.Dataset(
            {
                "diverging": (dims, np.zeros(shape, dtype=bool)),
                "log_weight": (dims, log_weight.reshape(shape)),
                "proposal": (dims, chosen.reshape(shape)),
            },
            attrs={"pareto_k": k, "proposals": len(weights)},
        )
        effective = wanted**2 / float((kept.astype(float) ** 2).sum())
        said = (
            f"collapsed form, independent draws: common and group-specific effects drawn exactly, variances by "
            f"importance from {len(weights)} proposals (Pareto k {k:.2f}, {effective:.0f} effective draws)"
        )
        return CrossedDraws(parameters, effects, stats, said)


@dataclass(frozen=True)
class _Proposed:
    """Proposals in the coordinates of the algebra, and the log of target over proposal."""

    log_ratio: Array
    b: Array
    T: Array
    s: Array
    effects: list[Array]


def _multiplications(stats: CrossedProducts) -> float:
    """What a factorisation costs: the Schur complement of the eliminated factor, and its Cholesky factor."""
    return float((np.diff(stats.between.indptr).astype(float) ** 2).sum()) + 2 * stats.storage.work


def _reference(sufficient: CrossedSufficient) -> tuple[Array, float]:
    """T and s at the REML optimum, kept off the boundary; of the response's own size where there is none."""
    stats, structure = sufficient.stats, sufficient.structure
    Lambda, s = np.eye(structure.q), 1.0
    if stats.n > stats.p + 1:
        optimum = optimise_crossed(stats, structure, reml=True)
        if np.isfinite(optimum.at.criterion):
            Lambda, s = optimum.Lambda, optimum.at.s
    typical = np.concatenate([np.einsum("jkk->k", factor.ZtZ) / factor.J for factor in stats.factors])
    floor = BOUNDARY_STEP / np.sqrt(np.maximum(typical, 1e-8))
    return np.diag(np.maximum(np.sqrt((Lambda**2).sum(axis=1)), floor)) * np.sqrt(s), s


def _stand_in(sufficient: CrossedSufficient, codes: Array, T: Array, s: float) -> NormalPrior:
    """Normal priors of the common effects, good where the posterior of these is."""
    offset, matrix = sufficient.basis.to_centred
    around = codes[:, 1].copy()
    # Each round moves the place where a stand-in touches its prior; far from the data the first is not yet right.
    for _ in range(1 if exact_normal(codes) else 4):
        normal = normal_prior(codes, sufficient.basis, around)
        around = offset + matrix @ crossed_marginal(sufficient.stats, normal, T, s).mean
    return normal

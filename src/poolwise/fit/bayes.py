"""The Bayesian fit of one grouping factor: NUTS over the collapsed posterior, then exact group-specific effects."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from poolwise import names
from poolwise.algebra.conditional import fill_effects
from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.compile.collapsed import Collapsed, Draws, pack
from poolwise.errors import PriorError
from poolwise.fit.nuts import run, sample_packed
from poolwise.fit.reference import make_reference
from poolwise.priors.density import WIDTH, prior_code
from poolwise.priors.distributions import in_closed_set
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.joint import joint_sets
from poolwise.spec.sufficient import Sufficient

# Told parameters of a chain that are new, and their statistics.
ParametersWatch = Callable[[int, Draws, xr.Dataset], None]

# Acceptance rate that steps aim for. With few groups, or fewer rows in them than it takes to tell effects from noise,
# the posterior of the sds has a bend that long steps miss (a divergence in some thousand draws); elsewhere it is nearly
# normal, and longer steps cost nothing.
FEW_GROUPS, CAREFUL, NEARLY_NORMAL = 10, 0.9, 0.8


@dataclass(frozen=True)
class Sampling:
    """Settings of a run, the same for every form.

    Parameters
    ----------
    draws, tune, chains : int
        Kept and discarded draws of each chain.
    seed : int
        Of the sampler and of the group-specific effects.
    cores : int or None
        Chains side by side; all cores of the machine by default.
    progress : bool
        Whether to show progress.
    target_accept : float or None
        Acceptance rate that the step size aims for; None leaves it to the form.
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    seed: int = 0
    cores: int | None = None
    progress: bool = True
    target_accept: float | None = None

    def nuts(self, target_accept: float = CAREFUL) -> dict:
        """As keyword arguments of :func:`poolwise.fit.nuts.run`, with the form's own acceptance rate."""
        return self.__dict__ | {"target_accept": self.target_accept or target_accept}

    def continued(self, done: int, draws: int, chains: int) -> "Sampling":
        """Settings of fresh chains after ``done`` draws of all chains together, under a seed made from these two.

        The seed is the first 63 bits of ``numpy.random.SeedSequence(seed, spawn_key=(done,))``; the seed itself where
        nothing is there yet, so that the run begins as it began.
        """
        made = np.random.SeedSequence(self.seed, spawn_key=(done,)).generate_state(1, np.uint64)[0]
        return replace(self, draws=draws, chains=chains, seed=int(made >> np.uint64(1)) if done else self.seed)


def collapsed_model(design: Design, sufficient: Sufficient, priors: Mapping[str, Prior]) -> Collapsed:
    """The collapsed posterior of a design under resolved priors, its coordinates centred at a reference."""
    coefficients = [priors[name] for name in design.coefficient_names]
    mean, precision = np.zeros(len(coefficients)), np.zeros(len(coefficients))
    for k, prior in enumerate(coefficients):
        # Exact for normal priors; for the others it only has to keep the coordinates of the right size.
        place, scale = prior.params.get("mu", 0.0), prior.params.get("sigma")
        if scale is not None:
            mean[k], precision[k] = place, scale**-2
    eta: list[float] = []
    for factor in design.factors:
        # Without correlated effects there is no such parameter, and eta is never read.
        correlation = priors.get(names.correlation(factor.name))
        copies = 1 if factor.kinds is None else len(factor.kinds.labels)
        eta += [correlation.params["eta"] if correlation else 1.0] * len(factor.structure.sizes) * copies
    reference = make_reference(sufficient, mean, precision)
    joint = joint_sets(design, priors)
    return Collapsed(sufficient.stats, sufficient.basis, sufficient.structure, tuple(eta), reference, joint)


def scalar_priors(design: Design, priors: Mapping[str, Prior]) -> tuple[list[Prior], list[Prior], Prior]:
    """Priors of the coefficients, of the group sds and of sigma, in the order of the unconstrained vector."""
    sds = [priors[name] for factor in design.factors for name in factor.sd_names]
    return [priors[name] for name in design.coefficient_names], sds, priors[names.SIGMA]


def all_closed(priors: Mapping[str, Prior]) -> bool:
    """Whether poolwise's own kernel evaluates every prior."""
    return all(in_closed_set(prior.distribution) for prior in priors.values())


class CollapsedSampler:
    """The collapsed posterior of a design, compiled once and sampled for any statistics of that design.

    Parameters
    ----------
    design : Design
        Names and sizes.
    sufficient : Sufficient
        Its collapsed rows; coordinates are centred by them.
    priors : mapping of str to Prior
        Resolved, by parameter.
    door : {"auto", "direct", "general"}
        Which way into nutpie; direct where every prior is of the closed set.
    to_effects : callable, optional
        From the effects of the collapsed groups to those of the design's, where these are not exchangeable.
    """

    def __init__(
        self,
        design: Design,
        sufficient: Sufficient,
        priors: Mapping[str, Prior],
        door: str = "auto",
        to_effects: Callable[[Array], Array] | None = None,
    ):
        self.sufficient, self._to_effects = sufficient, to_effects
        self.model = collapsed_model(design, sufficient, priors)
        self._priors = scalar_priors(design, priors)
        if door == "auto":
            door = "direct" if all_closed(priors) else "general"
        if door == "general" and self.model.joint:
            others = sorted({prior.distribution for prior in priors.values() if not in_closed_set(prior.distribution)})
            raise PriorError(
                f"the collapsed form knows no joint prior beside {', '.join(others) or 'the general door'}; choose "
                "another distribution, or Model.fit(form='generative')"
            )
        self.door = door

    @cached_property
    def _general(self):
        from poolwise.compile.general import compile_general

        return compile_general(self.model, *self._priors, starting_point(self.model.size))

    def pack(self, model: Collapsed) -> Array:
        """The numbers of the direct door."""
        coefficients, sds, sigma = self._priors
        return pack(model, prior_codes(coefficients), prior_codes(sds), prior_codes([sigma])[0])

    def sample(
        self, settings: Sampling, stats: CrossProducts | None = None, watch: ParametersWatch | None = None
    ) -> tuple[Draws, xr.Dataset]:
        """Draws of the parameters (chains * draws, ...) and nutpie's sample statistics.

        Parameters
        ----------
        settings : Sampling
            Of the run.
        stats : CrossProducts, optional
            Statistics of some of the rows, in the same coordinates; the design's own by default.
        watch : callable, optional
            Told of new draws of a chain, and their statistics, while the run goes on.
        """
        model = self.model if stats is None else replace(self.model, stats=stats)
        rows = model.stats
        informed = rows.J >= FEW_GROUPS and rows.n >= (rows.q + 1) * rows.J and not model.joint
        nuts = settings.nuts(NEARLY_NORMAL if informed else CAREFUL)
        watched = None
        if watch is not None:

            def watched(chain: int, posterior: xr.Dataset, statistics: xr.Dataset) -> None:
                watch(chain, model.constrain(self._unconstrained(posterior).reshape(-1, model.size)), statistics)

        if self.door == "direct":
            packed = self.pack(model)
            x, sample_stats = sample_packed(packed, model.size, starting_point(model.size), watch=watched, **nuts)
        else:
            from poolwise.compile.general import with_statistics

            posterior, sample_stats = run(with_statistics(self._general, model.stats), watch=watched, **nuts)
            x = self._unconstrained(posterior)
        # The common effects are whitened by the statistics they were sampled under.
        return model.constrain(x.reshape(-1, model.size)), sample_stats

    def _unconstrained(self, posterior: xr.Dataset) -> Array:
        """Unconstrained vectors (chain, draw, size) as either door has them."""
        if self.door == "direct":
            return posterior["x"].to_numpy()
        from poolwise.compile.general import unconstrained

        return unconstrained(posterior)

    def effects(self, draws: Draws, settings: Sampling) -> Array:
        """Exact draws of the group-specific effects (chains * draws, J, q), units of the data."""
        stats = self.model.stats
        effects = np.empty((len(draws.s), stats.J if stats.q else 0, stats.q))
        streams = effect_streams(settings)

        def one(chain: int) -> None:
            rows = slice(chain * settings.draws, (chain + 1) * settings.draws)
            self._fill(draws.b[rows], draws.T[rows], draws.s[rows], streams[chain], effects[rows])

        # One chain a thread: the kernel releases the GIL.
        with ThreadPoolExecutor(settings.cores) as pool:
            list(pool.map(one, range(settings.chains)))
        return self._of_groups(effects)

    def effects_of(self, draws: Draws, stream: np.random.Generator) -> Array:
        """The same of draws of one chain; stretch after stretch from one stream they are those of the whole chain."""
        stats = self.model.stats
        effects = np.empty((len(draws.s), stats.J if stats.q else 0, stats.q))
        self._fill(draws.b, draws.T, draws.s, stream, effects)
        return self._of_groups(effects)

    def _fill(self, b: Array, T: Array, s: Array, stream: np.random.Generator, out: Array) -> None:
        if out.size:
            fill_effects(self.model.stats, b, T, s, stream, out)
            out[...] = out @ self.model.basis.to_effects.T

    def _of_groups(self, effects: Array) -> Array:
        return effects if self._to_effects is None or not effects.size else self._to_effects(effects)


def effect_streams(settings: Sampling) -> list[np.random.Generator]:
    """What the group-specific effects of each chain are drawn from."""
    return [np.random.default_rng(own) for own in np.random.SeedSequence(settings.seed).spawn(settings.chains)]


def prior_codes(priors: Sequence[Prior]) -> Array:
    """Rows (kind, p1, p2, p3, constant) of priors of the closed set."""
    rows = [prior_code(prior.distribution, prior.params) for prior in priors]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def starting_point(size: int):
    """Function from a seed to an initial vector: near the reference, spread over about one posterior sd."""

    def start(seed: int) -> Array:
        return np.random.default_rng(seed).uniform(-1.0, 1.0, size)

    return start

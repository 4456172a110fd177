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

    def sample(self, settings: Sampling, stats: CrossProducts | None = None) -> tuple[Draws, xr.Dataset]:
        """Draws of the parameters (chains * draws, ...) and nutpie's sample statistics.

        Parameters
        ----------
        settings : Sampling
            Of the run.
        stats : CrossProducts, optional
            Statistics of some of the rows, in the same coordinates; the design's own by default.
        """
        model = self.model if stats is None else replace(self.model, stats=stats)
        rows = model.stats
        informed = rows.J >= FEW_GROUPS and rows.n >= (rows.q + 1) * rows.J and not model.joint
        nuts = settings.nuts(NEARLY_NORMAL if informed else CAREFUL)
        if self.door == "direct":
            x, sample_stats = sample_packed(self.pack(model), model.size, starting_point(model.size), **nuts)
        else:
            from poolwise.compile.general import unconstrained, with_statistics

            trace = run(with_statistics(self._general, model.stats), **nuts)
            x, sample_stats = unconstrained(trace["posterior"].to_dataset()), trace["sample_stats"].to_dataset()
        # The common effects are whitened by the statistics they were sampled under.
        return model.constrain(x.reshape(-1, model.size)), sample_stats

    def effects(self, draws: Draws, settings: Sampling) -> Array:
        """Exact draws of the group-specific effects (chains * draws, J, q), units of the data."""
        # One chain a thread: the kernel releases the GIL.
        if not self.model.stats.q:
            return np.zeros((len(draws.s), 0, 0))
        effects = np.empty((len(draws.s), self.model.stats.J, self.model.stats.q))
        seeds = np.random.SeedSequence(settings.seed).spawn(settings.chains)

        def one(chain: int) -> None:
            rows = slice(chain * settings.draws, (chain + 1) * settings.draws)
            rng = np.random.default_rng(seeds[chain])
            fill_effects(self.model.stats, draws.b[rows], draws.T[rows], draws.s[rows], rng, effects[rows])
            effects[rows] = effects[rows] @ self.model.basis.to_effects.T

        with ThreadPoolExecutor(settings.cores) as pool:
            list(pool.map(one, range(settings.chains)))
        return effects if self._to_effects is None else self._to_effects(effects)


def prior_codes(priors: Sequence[Prior]) -> Array:
    """Rows (kind, p1, p2, p3, constant) of priors of the closed set."""
    rows = [prior_code(prior.distribution, prior.params) for prior in priors]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def starting_point(size: int):
    """Function from a seed to an initial vector: near the reference, spread over about one posterior sd."""

    def start(seed: int) -> Array:
        return np.random.default_rng(seed).uniform(-1.0, 1.0, size)

    return start

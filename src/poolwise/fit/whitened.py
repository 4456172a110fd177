"""NUTS over the whitened posterior: explicit effects of any grouping factors, for the families the kernel knows."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy.linalg import block_diag

from poolwise import names
from poolwise.algebra.basis import Basis, centring, make_basis
from poolwise.algebra.blockwise import coupling, follow_blocks
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.joint_mode import JointMode, joint_mode
from poolwise.algebra.likelihoods import CUMULATIVE, density_code, names_of
from poolwise.algebra.rows import make_rows
from poolwise.algebra.theta import BlockStructure, correlation_factor, lower_factor, sds_and_correlations
from poolwise.compile.whitened import Whitened, fill_unknowns, pack
from poolwise.fit.bayes import Sampling, all_closed, prior_codes
from poolwise.fit.nuts import sample_packed
from poolwise.priors.density import prior_logpdf
from poolwise.priors.joint import SMOOTH, JointSet, log_spectral
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.grouping import why_not_exchangeable
from poolwise.spec.joint import joint_sets, smooth_sets

# The factor is made anew at every point unless that takes more multiplications than this, and than this a row;
WORK, WORK_A_ROW = 2e6, 150.0
# or than this a row, where blocks lean on each other less than that: a crossed Bernoulli model of 340 effects (coupling
# 0.08) gains 2.4 times the effective draws a second, three nested factors (0.45) would lose two thirds of them.
LIGHT_A_ROW, COUPLING = 10.0, 0.2
# The coordinates are nearly normal, where longer steps cost nothing: twice the effective draws a second of 0.9.
TARGET_ACCEPT = 0.8
# The logs of a kernel's sd and length scale are not nearly normal: longer steps leave a few divergences.
SMOOTH_ACCEPT = 0.95
# Coefficients and weights of smooth functions have one dense block, whose factor is made anew at every point.
MOST_COLUMNS = 200


def serves(design: Design, priors: Mapping[str, Prior]) -> str:
    """Why the whitened form cannot sample this model; empty if it can."""
    if density_code(design.family.name, design.family.link) is None:
        return f"family {design.family} is not of its kernel"
    smooths = design.smooths
    linear = replace(design, smooths=()) if smooths else design
    if not linear.exchangeable:
        return why_not_exchangeable(linear)
    for smooth in smooths:
        if smooth.centred or not smooth.isotropic:
            return f"{smooth.term} has {'centred weights' if smooth.centred else 'a length scale for each predictor'}"
    if smooths and design.X.shape[1] + sum(own.basis.shape[1] for own in smooths) > MOST_COLUMNS:
        return f"smooth functions have more than {MOST_COLUMNS} columns"
    if design.collapsed is not None:
        return "it works on rows, of which only sums are left"
    if design.counted is not None:
        return "" if all_closed(priors) else "a prior is not of its kernel"
    if not design.outcome.plain:
        return "the response is censored or truncated"
    if design.weights is not None and not design.frequency:
        return "rows have precisions of their own"
    if not all_closed(priors):
        return "a prior is not of its kernel"
    return ""


class WhitenedSampler:
    """The whitened posterior of a design.

    Parameters
    ----------
    design : Design
        Rows and names.
    priors : mapping of str to Prior
        Resolved, by parameter.
    centred : bool
        Whether the priors of group intercepts stand at the means of their block's predictors.
    blockwise : bool, optional
        Whether only the blocks of the whitening follow the group sds; by default where a new factor costs too much.
    """

    def __init__(self, design: Design, priors: Mapping[str, Prior], *, centred: bool, blockwise: bool | None = None):
        self.design, counted = design, design.counted
        design = design.cells
        times = None if counted is None else counted.rows
        code, link = density_code(design.family.name, design.family.link) or (0, 0)
        self.ordinal = code == CUMULATIVE
        X = np.column_stack([np.ones(design.n), design.X]) if self.ordinal else design.X
        smooth = np.column_stack([np.zeros((design.n, 0)), *(own.basis for own in design.smooths)])
        structure = BlockStructure(tuple(size for factor in design.factors for size in factor.structure.sizes))
        Z = np.column_stack([np.zeros((design.n, 0)), *(factor.Z for factor in design.factors)])
        intercept = 0 if self.ordinal else design.intercept
        z_centre = centring(Z, structure, times) if centred else None
        basis = make_basis(X, Z, np.zeros(design.n), intercept, z_centre, times)
        basis = _with_columns(replace(basis, y_shift=0.0, y_scale=1.0), smooth)
        X, Z, _ = basis.rows(np.column_stack([X, smooth]), Z, np.zeros(design.n))
        ends = np.cumsum([len(factor.effects) for factor in design.factors])
        rows = make_rows(
            code,
            link,
            design.outcome.y,
            # Of a Poisson row, these count how many rows it stands for.
            design.outcome.trials if counted is None else counted.trials,
            design.weights,
            design.offset,
            X,
            np.split(Z, ends[:-1], axis=1) if len(ends) else [],
            [factor.codes for factor in design.factors],
            [factor.J for factor in design.factors],
            None if counted is None else float(counted.constant.sum()),
        )
        coefficients = [priors[name] for name in design.coefficient_names]
        if self.ordinal:
            coefficients = [Prior("Flat"), *coefficients]
        of_smooths = smooth_sets(design, priors)
        # Until their kernels follow the latents, weights have the variances at the kernels' centres.
        weights = [Prior("Normal", mu=0.0, sigma=sd) for sd in central_sds(of_smooths, smooth.shape[1])]
        sds = [priors[name] for factor in design.factors for name in factor.sd_names]
        own = [priors[name] for name in names_of(design.family.name)]
        anchor = 0
        if self.ordinal:
            # Levels at the ends may have few answers, or none: no other threshold should hang on one of theirs.
            answers = np.bincount(rows.y.astype(np.int64), rows.weight, len(design.outcome.levels or ()))
            below = np.cumsum(answers)[:-1]
            anchor = int(np.argmax(np.minimum(below, answers.sum() - below)))
            own = own * len(below)
        mode = self._mode(rows, basis, structure, [*coefficients, *weights], own, anchor)
        mode = _without_priors(mode, basis, weights)
        coefficients += [Prior("Flat")] * len(weights)
        eta: list[float] = []
        for factor in design.factors:
            correlation = priors.get(names.correlation(factor.name))
            eta += [correlation.params["eta"] if correlation else 1.0] * len(factor.structure.sizes)
        sd = np.sqrt(np.concatenate([np.zeros(0), *(np.diag(covariance) for covariance in mode.covariances)]))
        work = mode.pattern.work
        if blockwise is None:
            # The block of the weights is what has to follow the kernels.
            costly = work > WORK and work > WORK_A_ROW * rows.n
            light = work > LIGHT_A_ROW * rows.n
            blockwise = not weights and (costly or (light and coupling(mode, rows) < COUPLING))
        pattern, curvature, linear, between = mode.pattern, mode.curvature, mode.linear, None
        if blockwise:
            pattern, curvature, linear, between = follow_blocks(mode, rows)
        self.model = Whitened(
            rows,
            basis,
            structure,
            tuple(eta),
            pattern,
            curvature,
            linear,
            sd * basis.sd_scale,
            np.diff(mode.own) if self.ordinal else mode.own,
            between,
            tuple(self._shifted(one) for one in (*joint_sets(design, priors), *of_smooths)),
            anchor,
        )
        self.packed = pack(self.model, prior_codes(coefficients), prior_codes(sds), prior_codes(own))

    def _shifted(self, one: JointSet) -> JointSet:
        """A set with its coefficients as the kernel counts them, the intercept of an ordinal model before them."""
        return replace(one, coefficients=tuple((k + self.ordinal, scale) for k, scale in one.coefficients))

    def _mode(self, rows, basis, structure, coefficients, own, anchor):
        """The joint mode under normal stand-ins for the coefficients' priors."""
        mean, precision = np.zeros(len(coefficients)), np.zeros(len(coefficients))
        for k, prior in enumerate(coefficients):
            scale = prior.params.get("sigma")
            if scale is not None:
                mean[k], precision[k] = prior.params.get("mu", 0.0), scale**-2
        if self.ordinal:
            precision[0] = 1e-2
        offset, matrix = basis.to_centred
        block_of = np.array(structure.block_of)
        blocks, covariances, at = [], [], 0
        for factor in rows.factors:
            part = block_of[at : at + factor.q]
            blocks.append(part[:, None] == part[None])
            covariances.append(np.eye(factor.q) * 0.25)
            at += factor.q
        start, codes, at_zero = np.ones(len(own)), prior_codes(own), basis.to_coefficients[1]
        if self.ordinal:
            start = np.arange(float(len(own))) - anchor
        if "sigma" in names_of(self.design.family.name):
            start[0] = float(rows.y.std()) or 1.0

        def logpdf(values: Array, b: Array) -> float:
            if self.ordinal:
                values = values - (at_zero @ b)[0]
            return sum(prior_logpdf(int(row[0]), *row[1:], value)[0] for row, value in zip(codes, values, strict=True))

        return joint_mode(
            rows,
            matrix.T @ (precision[:, None] * matrix),
            matrix.T @ (precision * (mean - offset)),
            covariances,
            start,
            logpdf,
            blocks,
        )

    @property
    def said(self) -> str:
        """The form in words."""
        how = "" if self.model.between is None else ", block by block"
        kernels = " and of the kernels of smooth functions" if self.design.smooths else ""
        return (
            "whitened form, effects sampled by NUTS, whitened by the Laplace approximation at every value of the group "
            f"sds{kernels}{how}"
        )

    def sample(
        self, settings: Sampling, watch: Callable[[int, "WhitenedDraws", xr.Dataset], None] | None = None
    ) -> tuple[Array, xr.Dataset]:
        """Unconstrained draws (chains * draws, size) and nutpie's sample statistics.

        ``watch`` is told of new draws of a chain, and their statistics, while the run goes on.
        """
        size = self.model.size

        def start(seed: int) -> Array:
            return np.random.default_rng(seed).uniform(-1.0, 1.0, size)

        watched = None
        if watch is not None:

            def watched(chain: int, posterior: xr.Dataset, stats: xr.Dataset) -> None:
                watch(chain, self.constrain(posterior["x"].to_numpy()[0], cores=1), stats)

        nuts = settings.nuts(SMOOTH_ACCEPT if self.design.smooths else TARGET_ACCEPT)
        x, stats = sample_packed(self.packed, size, start, kernel="whitened", watch=watched, **nuts)
        return x.reshape(-1, size), stats

    def constrain(self, x: Array, cores: int | None = None) -> "WhitenedDraws":
        """Parameters and effects in the units of the data."""
        model, design = self.model, self.design
        N, q, r = model.pattern.size, model.structure.q, model.structure.n_correlations
        unknowns = np.empty((len(x), N))
        parts = np.array_split(np.arange(len(x)), max(1, cores or 2))
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda rows: fill_unknowns(x[rows], self.packed, unknowns[rows[0] : rows[-1] + 1]), parts))
        sd = model.sd * np.exp(x[:, N : N + q])
        L, at = np.zeros((len(x), q, q)), 0
        for first, size in zip(model.structure.starts, model.structure.sizes, strict=True):
            stop, count = first + size, size * (size - 1) // 2
            c = x[:, N + q + at : N + q + at + count]
            L[:, first:stop, first:stop] = correlation_factor(np.tanh(c), size)
            at += count
        T = (sd / model.basis.sd_scale)[..., None] * L
        offset, matrix = model.basis.to_coefficients
        coefficients = offset + unknowns[:, N - model.rows.p :] @ matrix.T
        own = model.own * np.exp(x[:, N + q + r : N + q + r + len(model.own)])
        parameters: dict[str, Array]
        if self.ordinal:
            steps = np.concatenate([np.zeros((len(x), 1)), np.cumsum(own, axis=1)], axis=1)
            steps -= steps[:, [model.anchor]]
            parameters = {"threshold": steps - coefficients[:, :1]}
            coefficients = coefficients[:, 1:]
        else:
            parameters = {name: own[:, k] for k, name in enumerate(names_of(design.family.name))}
        sds, correlations, effects, at = {}, {}, {}, 0
        for factor, place in zip(design.factors, model.rows.factors, strict=True):
            part = slice(at, at + place.q)
            to_effects = model.basis.to_effects[part, part]
            sds[factor.name], correlations[factor.name] = sds_and_correlations(
                lower_factor(to_effects @ T[:, part, part])
            )
            u = unknowns[:, place.first : place.first + place.J * place.q].reshape(len(x), place.J, place.q)
            effects[factor.name] = u @ to_effects.T
            at += place.q
        p = len(design.coefficient_names)
        smooths = self._smooths(coefficients[:, p:], x[:, N + q + r + len(model.own) :])
        return WhitenedDraws(coefficients[:, :p], sds, correlations, parameters, effects, smooths)

    def _smooths(self, weights: Array, latents: Array) -> dict[str, Array]:
        """Variables of the smooth functions, from the weights of all and the latents of all joint priors."""
        found: dict[str, Array] = {}
        at = first = 0
        kernels = []
        for one in self.model.joint:
            if one.kind == SMOOTH:
                kernels.append(np.exp(latents[:, at : at + 2] + one.centres))
            at += len(one.centres)
        for smooth in self.design.smooths:
            own = np.stack([kernels.pop(0) for _ in smooth.sd_names], axis=1)
            by_level = bool(smooth.levels) and not smooth.shared
            for kind, values in (("sigma", own[:, :, 0]), ("ell", own[:, :, 1])):
                found[smooth.called(kind)] = values if by_level else values[:, 0]
            columns = smooth.basis.shape[1]
            found[smooth.called("weights")] = weights[:, first : first + columns].reshape(-1, *smooth.shape)
            first += columns
        return found


@dataclass(frozen=True, eq=False)
class WhitenedDraws:
    """Draws (D, ...) in the units of the data: coefficients; sds, correlations, effects by factor; the family's own.

    ``smooths`` has the variables of smooth functions.
    """

    coefficients: Array
    sds: Mapping[str, Array]
    correlations: Mapping[str, Array]
    own: Mapping[str, Array]
    effects: Mapping[str, Array]
    smooths: Mapping[str, Array]


def _with_columns(basis: Basis, columns: Array) -> Basis:
    """The basis with more columns of X (n, m), centred and scaled, each by itself: their priors are independent."""
    if not columns.shape[1]:
        return basis
    centre = columns.mean(axis=0) * (basis.intercept >= 0)
    size = np.sqrt(((columns - centre) ** 2).mean(axis=0))
    R = block_diag(basis.R, np.diag(np.where(size > 0, size, 1.0)))
    return replace(basis, centre=np.concatenate([basis.centre, centre]), R=R)


def _without_priors(mode: JointMode, basis: Basis, weights: Sequence[Prior]) -> JointMode:
    """The mode, its curvature without the normal priors of the last coefficients, which follow latents."""
    curvature, pattern = mode.curvature.copy(), mode.pattern
    scales = np.diag(basis.to_centred[1])
    for k in range(1, len(weights) + 1):
        curvature[pattern.starts[pattern.size - k]] -= (scales[-k] / weights[-k].params["sigma"]) ** 2
    return replace(mode, curvature=curvature)


def central_sds(sets: Sequence[JointSet], columns: int) -> Array:
    """Prior sds of the weights of smooth functions at the centres of their kernels, not below 1e-3 of the largest.

    Smaller ones would drown what the data say when their precisions are taken off again.
    """
    found = np.ones(columns)
    weights = [pair for one in sets for pair in one.coefficients]
    first = min((position for position, _ in weights), default=0)
    for one in sets:
        for position, square in one.coefficients:
            found[position - first] = np.exp(0.5 * log_spectral(*one.arguments[:2], square, *one.centres)[0])
    return np.maximum(found, 1e-3 * found.max(initial=0.0))

"""The log posterior of a hierarchical model of many families, its effects whitened, as one numba function.

The unconstrained vector is ``[z (N) | log sd ratios (q) | atanh partial correlations | the family's own]``. With A and
c the curvature and linear term of the log likelihood at the joint mode of effects and coefficients, P the precision of
their priors given the group sds, H = A + P = L L':

    (u, b) = H^-1 c + L^-T z

so z would be standard normal at every value of the group sds if the log likelihood were quadratic; what it is beyond
that, the density says exactly. Latents of a joint prior set precisions of b, which are in P too. It is a change of
variables: the posterior is untouched. Where factoring H anew at every point costs too much (large crossed factors),
only its blocks follow the group sds and ``between``, how the blocks lean on each other, stays as at the reference: with
D_j = B_j + P the precision of block j with all others integrated out, D = C C' and F F' = C0^-1 H0 C0^-T at the
reference,

    (u, b) = D^-1 D0 mode + C^-T F^-T z

Long because value and gradient are one compiled pass, each part of the one beside its part of the other.

References
----------
Rue, Martino & Chopin (2009), J. R. Stat. Soc. B 71(2), 319-392, section 3, for the Gaussian approximation at the mode;
Hoffman et al. (2019), arXiv:1903.03704, for sampling through such a map.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse
from scipy.special import gammaln

from poolwise.algebra.basis import Basis
from poolwise.algebra.cholesky import Pattern, factorise, reverse_factor, solve_lower, solve_upper
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.group_factor import build_factor, is_near, pull_factor
from poolwise.algebra.likelihoods import CUMULATIVE, NORMAL, STUDENT, own_density, prepare
from poolwise.algebra.passes import row_densities
from poolwise.algebra.predictor import linear_predictor, make_layout, pull_rows
from poolwise.algebra.rows import Rows
from poolwise.algebra.scratch import borrowed
from poolwise.algebra.theta import BlockStructure, lkj_shapes
from poolwise.priors.density import WIDTH, prior_logpdf
from poolwise.priors.joint import JointSet, encode, joint_logpdf
from poolwise.priors.joint_precision import fill_precisions, pull_precisions

HEADER = 24
BETWEEN = 15  # where the header holds how many entries the factor between blocks has
DISTINCT = 16  # and how many distinct responses there are
LAYOUT, TABLE = 17, 18  # and the length of the layout of the rows, and of its tables
ANCHOR = 19  # and which threshold is minus the intercept
LENGTH = 14  # where the header holds the length of the whole
VALUE = 10  # and the constant of the log density


@dataclass(frozen=True, eq=False)
class Whitened:
    """A model with its whitening, ready to be evaluated.

    Parameters
    ----------
    rows : Rows
        The observations in the coordinates of the algebra.
    basis : Basis
        The way back to the units of the data.
    structure : BlockStructure
        Which effects are correlated, all factors one after the other.
    eta : tuple of float
        LKJ parameter of each block.
    pattern : Pattern
        Of the factor of H.
    curvature, linear : ndarray (entries,), (N,)
        A in the places of the pattern, prior precisions of the coefficients included, and c.
    sd : ndarray (q,)
        Reference group sds, units of the data.
    own : ndarray (k,)
        Reference values of the family's own parameters; steps between thresholds of an ordinal one.
    between : csc_array (N, N), optional
        F, its columns sorted; then ``pattern`` is that of the blocks alone, ``curvature`` B, ``linear`` D0 mode.
    joint : tuple of JointSet
        Parameters that share a joint prior.
    anchor : int, default 0
        The threshold of an ordinal response that is minus the intercept; the others are steps away from it.
    """

    rows: Rows
    basis: Basis
    structure: BlockStructure
    eta: tuple[float, ...]
    pattern: Pattern
    curvature: Array
    linear: Array
    sd: Array
    own: Array
    between: scipy.sparse.csc_array | None = None
    joint: tuple[JointSet, ...] = ()
    anchor: int = 0

    @property
    def size(self) -> int:
        """Length of the unconstrained vector."""
        latents = sum(len(one.centres) for one in self.joint)
        return self.pattern.size + self.structure.q + self.structure.n_correlations + len(self.own) + latents


def pack(model: Whitened, coefficient_priors: Array, sd_priors: Array, own_priors: Array) -> Array:
    """All numbers of a model and its priors as one flat array of 8-byte cells, integers by their bits.

    Parameters
    ----------
    model : Whitened
        The model.
    coefficient_priors, sd_priors, own_priors : ndarray (p, 5), (q, 5), (k or K - 1, 5)
        Rows (kind, p1, p2, p3, constant) as from :func:`poolwise.priors.density.prior_code`.

    Returns
    -------
    ndarray
    """
    rows, structure, pattern = model.rows, model.structure, model.pattern
    layout = make_layout(rows, model.basis.R)
    of_rows, order = layout.encode(), layout.order
    shapes = lkj_shapes(structure.sizes, model.eta)
    offset, matrix = model.basis.to_centred
    if rows.code == CUMULATIVE:
        # A threshold is minus the intercept at predictors of zero.
        matrix = model.basis.to_coefficients[1]
    header = np.zeros(HEADER)
    header[:10] = (
        pattern.size,
        structure.q,
        rows.p,
        len(structure.sizes),
        structure.n_correlations,
        len(model.own),
        rows.n,
        len(rows.factors),
        rows.code,
        rows.link,
    )
    header[VALUE] = _constants(model, matrix, shapes)
    header[11:14] = pattern.entries, len(pattern.scattered), len(own_priors)
    header[DISTINCT] = len(rows.distinct)
    header[LAYOUT], header[TABLE], header[ANCHOR] = len(of_rows), layout.table, model.anchor
    integers = [
        np.array([part for factor in rows.factors for part in (factor.first, factor.J, factor.q)], dtype=np.int64),
        pattern.starts,
        pattern.rows,
        pattern.targets,
        pattern.scattered,
    ]
    between = scipy.sparse.csc_array((0, 0)) if model.between is None else model.between
    if between.nnz:
        integers += [between.indptr, between.indices]
    floats = [
        rows.y[order],
        rows.trials[order],
        rows.weight[order],
        rows.distinct,
        rows.counts,
        rows.offset[order],
        of_rows,
        between.data,
        model.curvature,
        model.linear,
        offset,
        matrix,
        model.sd,
        1.0 / model.basis.sd_scale,
        np.array(structure.sizes, dtype=float),
        shapes,
        model.own,
        coefficient_priors,
        sd_priors,
        own_priors,
        encode(model.joint),
    ]
    cells = [header]
    cells += [np.ascontiguousarray(part, dtype=np.int64).ravel().view(np.float64) for part in integers]
    cells += [np.ravel(part).astype(np.float64) for part in floats]
    packed = np.concatenate(cells)
    packed[LENGTH], packed[BETWEEN] = len(packed), between.nnz
    return packed


def _constants(model: Whitened, matrix: Array, shapes: Array) -> float:
    """What no parameter moves: of the likelihood, of the effects' priors, and of the changes of variables."""
    rows = model.rows
    _, logdet = np.linalg.slogdet(matrix)
    effects = sum(factor.J * factor.q for factor in rows.factors)
    beta = gammaln(2 * shapes) - 2 * gammaln(shapes) - (2 * shapes - 1) * math.log(2)
    own = 0.0 if rows.code == CUMULATIVE else np.log(model.own).sum()
    prior = -0.5 * effects * math.log(2 * math.pi)
    between = 0.0 if model.between is None else np.log(model.between.diagonal()).sum()
    return float(rows.constant + prior + logdet + beta.sum() + np.log(model.sd).sum() + own - between)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_posterior(x, packed, grad):
    """Log posterior density over the unconstrained vector x; writes its gradient. NaN where the algebra breaks down."""
    if not is_near(x[int(packed[0]) :]):
        return math.nan
    # One allocation for the large work arrays, its owner used last: see ``borrowed``.
    work = np.empty(_work_size(packed) + 1)
    work[0] = evaluate(x, packed, grad, borrowed(work)[1:], True)
    return work[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _work_size(packed):
    return 4 * int(packed[0]) + 2 * int(packed[11]) + int(packed[TABLE]) + 4 * int(packed[6])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def evaluate(x, packed, grad, work, density):
    """``log_posterior``; fills effects and coefficients, the first N of ``work``; stops there without ``density``."""
    N, q, p, n_blocks, n_corr = int(packed[0]), int(packed[1]), int(packed[2]), int(packed[3]), int(packed[4])
    k_own, n, n_factors = int(packed[5]), int(packed[6]), int(packed[7])
    code, link, value = int(packed[8]), int(packed[9]), packed[VALUE]
    entries, n_scattered, k_priors = int(packed[11]), int(packed[12]), int(packed[13])
    at = HEADER
    factors = packed[at : at + 3 * n_factors].view(np.int64)
    at += 3 * n_factors
    starts = packed[at : at + N + 1].view(np.int64)
    at += N + 1
    where = packed[at : at + entries].view(np.int64)
    at += entries
    targets = packed[at : at + entries].view(np.int64)
    at += entries
    scattered = packed[at : at + n_scattered].view(np.int64)
    at += n_scattered
    n_between = int(packed[BETWEEN])
    n_starts = N + 1 if n_between > 0 else 0
    between_starts = packed[at : at + n_starts].view(np.int64)
    at += n_starts
    between_rows = packed[at : at + n_between].view(np.int64)
    at += n_between
    y = packed[at : at + n]
    at += n
    trials = packed[at : at + n]
    at += n
    weight = packed[at : at + n]
    at += n
    n_distinct = int(packed[DISTINCT])
    distinct = packed[at : at + n_distinct]
    at += n_distinct
    counts = packed[at : at + n_distinct]
    at += n_distinct
    row_offset = packed[at : at + n]
    at += n
    layout = packed[at : at + int(packed[LAYOUT])]
    at += len(layout)
    between = packed[at : at + n_between]
    at += n_between
    curvature = packed[at : at + entries]
    at += entries
    linear = packed[at : at + N]
    at += N
    offset = packed[at : at + p]
    at += p
    matrix = packed[at : at + p * p].reshape(p, p)
    at += p * p
    sd_reference = packed[at : at + q]
    at += q
    to_algebra = packed[at : at + q]
    at += q
    sizes = packed[at : at + n_blocks]
    at += n_blocks
    shapes = packed[at : at + n_corr]
    at += n_corr
    own_reference = packed[at : at + k_own]
    at += k_own
    coefficient_priors = packed[at : at + WIDTH * p].reshape(p, WIDTH)
    at += WIDTH * p
    sd_priors = packed[at : at + WIDTH * q].reshape(q, WIDTH)
    at += WIDTH * q
    own_priors = packed[at : at + WIDTH * k_priors].reshape(k_priors, WIDTH)
    joint = packed[at + WIDTH * k_priors :]

    # Group covariances, and their precisions in the diagonal blocks of H.
    sd, z_corr, left = np.empty(q), np.empty(n_corr), np.empty(n_corr)
    correlation, T = np.empty((q, q)), np.empty((q, q))
    value += build_factor(
        x[N : N + q],
        x[N + q : N + q + n_corr],
        sd_reference,
        to_algebra,
        sizes,
        shapes,
        sd,
        z_corr,
        left,
        correlation,
        T,
    )
    inverse, P = np.zeros((q, q)), np.zeros((q, q))
    for column in range(q):
        for i in range(column, q):
            total = 1.0 if i == column else 0.0
            for k in range(column, i):
                total -= T[i, k] * inverse[k, column]
            inverse[i, column] = total / T[i, i]
    for i in range(q):
        for k in range(q):
            for m in range(max(i, k), q):
                P[i, k] += inverse[m, i] * inverse[m, k]
    unknowns, center, bar, ahead = work[:N], work[N : 2 * N], work[2 * N : 3 * N], work[3 * N : 4 * N]
    L, L_bar = work[4 * N : 4 * N + entries], work[4 * N + entries : 4 * N + 2 * entries]
    table = work[4 * N + 2 * entries :][: int(packed[TABLE])]
    of_rows = work[4 * N + 2 * entries + len(table) :]
    eta, slopes, row_work, bits = (
        of_rows[:n],
        of_rows[n : 2 * n],
        of_rows[2 * n : 3 * n],
        of_rows[3 * n :].view(np.int64),
    )
    # Assignments of whole slices are far slower than loops here.
    for entry in range(entries):
        L[entry] = curvature[entry]
    begin = 0
    for f in range(n_factors):
        first, J, width = factors[3 * f], factors[3 * f + 1], factors[3 * f + 2]
        for j in range(J):
            for k in range(width):
                entry = starts[first + j * width + k]
                # The rows of a group's own block come first in each of its columns.
                for i in range(k, width):
                    L[entry + i - k] += P[begin + i, begin + k]
        for k in range(width):
            value -= J * math.log(T[begin + k, begin + k])
        begin += width
    tail = N + q + n_corr
    latents = tail + k_own
    # In units of the residual sd, which stands first among the family's own parameters, or of 1.
    scaled = code in (STUDENT, NORMAL)
    sigma = own_reference[0] * math.exp(x[tail]) if scaled else 1.0
    for k in range(N):
        center[k] = linear[k]
    follows = len(x) > latents
    prior_precision = np.empty(p if follows else 0)
    if follows:
        fill_precisions(joint, sigma, x[latents:], prior_precision)
        for i in range(p):
            for k in range(p):
                weighted = prior_precision[i] * matrix[i, k]
                center[N - p + k] -= weighted * offset[i]
                # The coefficients are last, and their columns whole.
                entry = starts[N - p + k]
                for m in range(k, p):
                    L[entry + m - k] += weighted * matrix[i, m]
    logdet = factorise(L, starts, targets, scattered)
    if not math.isfinite(logdet):
        return math.nan
    value -= logdet
    # y_center = L^-1 c and the unknowns L^-T (y_center + F^-T z).
    solve_lower(L, starts, where, center)
    for k in range(N):
        unknowns[k] = x[k]
    if n_between > 0:
        solve_upper(between, between_starts, between_rows, unknowns)
    for k in range(N):
        unknowns[k] += center[k]
    solve_upper(L, starts, where, unknowns)

    # The family's own parameters.
    own, own_bar = np.zeros(k_own + 2), np.zeros(k_own + 2)
    if code == CUMULATIVE:
        anchor = int(packed[ANCHOR])
        for k in range(anchor, k_own):
            own[k + 1] = own[k] + own_reference[k] * math.exp(x[tail + k])
        for k in range(anchor - 1, -1, -1):
            own[k] = own[k + 1] - own_reference[k] * math.exp(x[tail + k])
        for k in range(k_own):
            value += math.log(own_reference[k]) + x[tail + k]
    else:
        for k in range(k_own):
            own[k] = own_reference[k] * math.exp(x[tail + k])
            value += x[tail + k]
    if not density:
        return value

    # Likelihood.
    own = own[: k_own + (2 if code == CUMULATIVE else 1)]
    prepare(code, own)
    bar[:] = 0.0
    linear_predictor(layout, row_offset, unknowns[N - p :], unknowns, table, eta)
    value += row_densities(code, link, y, trials, weight, eta, own, own_bar, slopes, row_work, bits)
    pull_rows(layout, slopes, table, bar[N - p :], bar)
    value += own_density(code, own, own_bar, distinct, counts)

    # Priors of effects given their sds, with their share of the gradient by P.
    P_bar, grad_T = np.zeros((q, q)), np.zeros((q, q))
    begin = 0
    for f in range(n_factors):
        first, J, width = factors[3 * f], factors[3 * f + 1], factors[3 * f + 2]
        for j in range(J):
            base = first + j * width
            for i in range(width):
                total = 0.0
                for k in range(width):
                    total += P[begin + i, begin + k] * unknowns[base + k]
                    P_bar[begin + i, begin + k] -= 0.5 * unknowns[base + i] * unknowns[base + k]
                value -= 0.5 * unknowns[base + i] * total
                bar[base + i] -= total
        for k in range(width):
            grad_T[begin + k, begin + k] -= J / T[begin + k, begin + k]
        begin += width

    # Priors of coefficients at centred predictors, and of thresholds at predictors of zero.
    coefficient, coefficient_bar, sd_bar = np.empty(p), np.zeros(p), np.zeros(q)
    for i in range(p):
        coefficient[i] = offset[i]
        for k in range(p):
            coefficient[i] += matrix[i, k] * unknowns[N - p + k]
    if joint[0] > 0:
        grad[latents:] = 0.0
        logp, slope = joint_logpdf(joint, coefficient, sd, sigma, x[latents:], coefficient_bar, sd_bar, grad[latents:])
        value += logp
        if scaled:
            own_bar[0] += slope
    for i in range(p):
        total = coefficient[i]
        row = coefficient_priors[i]
        logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], total)
        value += logp
        slope += coefficient_bar[i]
        if code == CUMULATIVE and i == 0:
            for k in range(k_own + 1):
                row = own_priors[k]
                logp, by_threshold = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], own[k] - total)
                value += logp
                slope -= by_threshold
                own_bar[k] += by_threshold
        for k in range(p):
            bar[N - p + k] += slope * matrix[i, k]
    if code == CUMULATIVE:
        # A step moves all thresholds on its far side from the anchor.
        anchor, running = int(packed[ANCHOR]), 0.0
        for k in range(k_own, anchor, -1):
            running += own_bar[k]
            grad[tail + k - 1] = running * own_reference[k - 1] * math.exp(x[tail + k - 1]) + 1.0
        running = 0.0
        for k in range(anchor):
            running -= own_bar[k]
            grad[tail + k] = running * own_reference[k] * math.exp(x[tail + k]) + 1.0
    else:
        for k in range(k_own):
            row = own_priors[k]
            logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], own[k])
            value += logp
            grad[tail + k] = (own_bar[k] + slope) * own[k] + 1.0

    # Back through the whitening: to z, and through the factor to P.
    solve_lower(L, starts, where, bar)
    for k in range(N):
        grad[k] = bar[k]
    if n_between > 0:
        solve_lower(between, between_starts, between_rows, grad)
    for k in range(N):
        ahead[k] = bar[k]
    solve_upper(L, starts, where, ahead)
    for k in range(N):
        for entry in range(starts[k], starts[k + 1]):
            i = where[entry]
            L_bar[entry] = -unknowns[i] * bar[k] - ahead[i] * center[k]
        L_bar[starts[k]] -= 1.0 / L[starts[k]]
    reverse_factor(L, L_bar, starts, targets, scattered)
    begin = 0
    for f in range(n_factors):
        first, J, width = factors[3 * f], factors[3 * f + 1], factors[3 * f + 2]
        for j in range(J):
            for k in range(width):
                entry = starts[first + j * width + k]
                P_bar[begin + k, begin + k] += L_bar[entry]
                for i in range(k + 1, width):
                    half = 0.5 * L_bar[entry + i - k]
                    P_bar[begin + i, begin + k] += half
                    P_bar[begin + k, begin + i] += half
        begin += width
    if follows:
        for i in range(p):
            total = 0.0
            for k in range(p):
                total -= offset[i] * matrix[i, k] * ahead[N - p + k]
                entry = starts[N - p + k]
                for m in range(k, p):
                    total += L_bar[entry + m - k] * matrix[i, k] * matrix[i, m]
            prior_precision[i] = total if prior_precision[i] > 0.0 else 0.0
        slope = pull_precisions(joint, sigma, x[latents:], prior_precision, grad[latents:])
        if scaled:
            grad[tail] += slope * sigma
    # P = (T T')^-1, so T's cotangent is -2 P P_bar T^-T.
    for i in range(q):
        for m in range(q):
            total = 0.0
            for k in range(q):
                inner = 0.0
                for j in range(m + 1):
                    inner += P_bar[k, j] * inverse[m, j]
                total += P[i, k] * inner
            grad_T[i, m] -= 2.0 * total
    pull_factor(
        grad_T,
        T,
        sd,
        to_algebra,
        sizes,
        shapes,
        z_corr,
        left,
        correlation,
        grad[N : N + q],
        grad[N + q : N + q + n_corr],
    )
    for k in range(q):
        row = sd_priors[k]
        logp, slope = prior_logpdf(int(row[0]), row[1], row[2], row[3], row[4], sd[k])
        value += logp + x[N + k]
        grad[N + k] += (slope + sd_bar[k]) * sd[k] + 1.0
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_unknowns(x, packed, unknowns):
    """Effects and coefficients (D, N) of draws x (D, size), in the coordinates of the algebra."""
    nothing, work = np.empty(x.shape[1]), np.empty(_work_size(packed))
    for draw in range(x.shape[0]):
        evaluate(x[draw], packed, nothing, work, False)
        unknowns[draw] = work[: unknowns.shape[1]]

"""Predictions of a generalised linear mixed model, on the scale of the response."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.data.intake import as_frame
from poolwise.result import tables
from poolwise.result.group_modes import Groups, check_kind, check_seed, group_modes, group_rows
from poolwise.result.simulate import simulate
from poolwise.spec.response import trials_of

if TYPE_CHECKING:
    from poolwise.result.glmm import GLMMFit

# Numbers solved for at a time: about 100 MB.
BLOCK_NUMBERS = 10_000_000
# Behind the interval of a response.
DRAWS = 4000
# Of the rule that averages over the groups of a population.
NODES = 31


@dataclass(frozen=True)
class Predictor:
    """The linear predictor of new rows.

    Parameters
    ----------
    eta, variance : ndarray (n,)
        Its estimate and the variance of that.
    spread : ndarray (n,)
        The part of it that comes from groups integrated over the population.
    known : ndarray of bool (n,)
        Whether all groups of the row were in the data.
    records : list of (str, ndarray)
        By factor, what was done with each row's group.
    """

    eta: Array
    variance: Array
    spread: Array
    known: NDArray[np.bool_]
    records: list


def linear_predictor_of(fit: "GLMMFit", frame: pd.DataFrame, modes: Mapping[str, str | None], seed: int) -> Predictor:
    """The linear predictor of new rows with its uncertainty, groups as ``modes`` has them."""
    pattern = fit.predictor.problem.pattern
    places_of = [where.astype(np.int64) for where in pattern.by_factor(np.arange(float(pattern.size)))]
    X, eta = fit.design.common.apply(frame), fit.design.offset_of(frame)
    eta, h, known = eta + X @ fit._b, fit.predictor.basis.by_b(X), np.ones(len(frame), dtype=bool)
    spread = np.zeros(len(frame))
    spherical, records = [], []
    for f, (factor, where) in enumerate(zip(fit.design.factors, fit.predictor.problem.blocks, strict=False)):
        row = group_rows(factor, frame, modes[factor.name], fit._T[where, where], seed)
        # A level without rows, as cross-validation has them, was not seen either.
        seen = (row.codes >= 0) & (factor.sizes > 0)[row.codes]
        known &= row.known
        records.append(row.record)
        # A group that was not seen has the spread of the population, and does not move with b.
        eta = eta + row.drawn + np.einsum("nk,nk->n", row.Z, fit._modes[f][row.codes]) * seen
        h = h + np.einsum("nk,nkp->np", row.Z, fit._slopes[f][row.codes]) * seen[:, None]
        effects = row.Z @ fit._to_units[f]
        spread += np.where(seen, 0.0, (effects**2).sum(axis=1))
        spherical.append((row.codes, effects * seen[:, None]))
    variance = spread.copy()
    block = max(1, BLOCK_NUMBERS // max(1, pattern.size))
    for start in range(0, len(frame) if spherical else 0, block):
        chosen = slice(start, start + block)
        a = np.zeros((pattern.size, len(frame[chosen])))
        for (codes, effects), places in zip(spherical, places_of, strict=True):
            np.add.at(a, (places[codes[chosen]], np.arange(a.shape[1])[:, None]), effects[chosen])
        variance[chosen] += np.einsum("qn,qn->n", a, fit.optimum.point.expected.solve(a))
    variance += np.einsum("np,pr,nr->n", h, fit.optimum.covariance, h)
    return Predictor(eta, np.maximum(variance, 0.0), spread, known, records)


def predict(fit: "GLMMFit", data, *, groups: Groups, kind: str, level: float, seed: int) -> pd.DataFrame:
    """The table of :meth:`poolwise.result.glmm.GLMMFit.predict`."""
    tail, kind, seed = (1 - tables.check_level(level)) / 2, check_kind(kind), check_seed(seed)
    frame, link = fit.design.frame if data is None else as_frame(data), fit.design.family.link
    at = linear_predictor_of(fit, frame, group_modes(fit.design, groups), seed)
    mean, sd = population_mean(link, at.eta, at.spread), np.sqrt(at.variance)
    if kind == "mean":
        half = ndtri(1 - tail) * sd
        lower, upper = mean_interval(link, at.eta - half, at.eta + half)
        return tables.prediction_frame(mean, lower, upper, at.known, at.records)
    trials = None
    if fit.design.family.holds == "trials":
        trials = fit.design.outcome.trials if data is None else trials_of(fit.design.formula, frame)
        assert trials is not None  # the response counts them
        mean = mean * trials
    rng, own = np.random.default_rng([seed, 1]), float(np.exp(fit.optimum.point.log_own))
    lower, upper = np.empty(len(frame)), np.empty(len(frame))
    block = max(1, BLOCK_NUMBERS // DRAWS)
    for start in range(0, len(frame), block):
        chosen = slice(start, start + block)
        draws = at.eta[chosen] + sd[chosen] * rng.standard_normal((DRAWS, len(at.eta[chosen])))
        drawn = simulate(fit.design.family, draws, own, None if trials is None else trials[chosen], rng)
        lower[chosen], upper[chosen] = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return tables.prediction_frame(mean, lower, upper, at.known, at.records)


def population_mean(link: str, eta: Array, variance: Array) -> Array:
    """Mean of the response over normal effects of this variance (n,) around a linear predictor (n,).

    Examples
    --------
    >>> population_mean("log", np.array([0.0]), np.array([1.0])).round(6).tolist()
    [1.648721]
    """
    z, w = np.polynomial.hermite.hermgauss(NODES)
    found, wide = INVERSE[link](eta), variance > 0
    if wide.any():
        nodes = eta[wide] + np.sqrt(2 * variance[wide]) * z[:, None]
        found[wide] = w @ INVERSE[link](nodes) / np.sqrt(np.pi)
    return found


def mean_interval(link: str, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Bounds of the mean from those of the linear predictor.

    Examples
    --------
    >>> lower, upper = mean_interval("inverse", np.array([-1.0, 0.5]), np.array([2.0, 1.0]))
    >>> lower.tolist(), upper.tolist()
    ([0.5, 1.0], [inf, 2.0])
    """
    inverse = INVERSE[link]
    if link not in ("inverse", "inverse_squared"):
        return inverse(lower), inverse(upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(upper > 0, inverse(upper), np.nan), np.where(lower > 0, inverse(lower), np.inf)

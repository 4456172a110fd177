"""The generative model: explicit group-specific effects under Bambi's names, to read, to extend, and to sample.

It serves any number of grouping factors. Effects are non-centred; the correlations of a block come from canonical
partial correlations, whose independent Beta distributions are exactly an LKJ prior (Lewandowski, Kurowicka & Joe 2009).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from poolwise import names
from poolwise.algebra.basis import centring
from poolwise.algebra.theta import BlockStructure, lkj_shapes
from poolwise.compile.joint import joint_variables
from poolwise.compile.likelihood import inverse_link, observe
from poolwise.compile.pymc_priors import pymc_distribution
from poolwise.compile.smooths import smooth_part
from poolwise.errors import PriorError
from poolwise.priors.distributions import IMPROPER, JOINT
from poolwise.priors.prior import Prior
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor, GroupTerm
from poolwise.spec.families import Auxiliary

CENTRED = "_centred"


def generative_model(
    design: Design, priors: Mapping[str, Prior], *, centred: bool = False, explicit: Collection[str] = ()
) -> pm.Model:
    """PyMC model of a design with its priors.

    Parameters
    ----------
    design : Design
        The rows.
    priors : mapping of str to Prior
        Resolved, by parameter.
    centred : bool, default False
        Whether the priors of group intercepts stand at the means of their block's predictors, or at zero.
    explicit : collection of str, optional
        Factors whose effects are themselves the free variables (the centred parametrisation); standard normal ones
        stand for those of the others.

    Returns
    -------
    pm.Model
        Variables as :mod:`poolwise.names` says. Priors at centred predictors are those of ``Intercept_centred`` and
        ``1|g_sigma_centred``; ``Intercept``, ``1|g_sigma`` and ``corr|g`` follow from them, at predictors of zero.
    """
    coords: dict[str, Any] = {names.OBSERVATION: np.arange(design.n)}
    if design.outcome.categories is not None:
        coords[names.term_dim(design.response)] = list(design.outcome.categories)
    for factor in (factor for one in (design, *design.predicted) for factor in one.factors):
        coords[names.group_dim(factor.name)] = factor.labels
        coords |= {dim: list(factor.effects) for dim in factor.correlation_dims}
        if factor.kinds is not None:
            coords[factor.kind_dim] = list(factor.kinds.labels)
    with pm.Model(coords=coords) as model:
        own = {
            part.name: _own_parameter(part, priors[part.name], design, model)
            for part in design.constant_auxiliaries
            if priors[part.name].support != JOINT
        }
        for one in design.predicted:
            own[one.family.name] = inverse_link(one.family.link, _linear_predictor(one, priors, {}, model, centred, ()))
        # A joint prior makes sigma itself, or the other parameters in units of sigma, 1 where there is none.
        given = joint_variables(design, priors, own.get(names.SIGMA, None if design.family.has_sigma else 1.0))
        if design.family.has_sigma and names.SIGMA not in own:
            own[names.SIGMA] = pm.Deterministic(names.SIGMA, given[names.SIGMA])
        eta = _linear_predictor(design, priors, given, model, centred, explicit)
        scale = None
        if design.weights is not None and not design.frequency:
            scale = own[names.SIGMA] / np.sqrt(design.weights)
        observe(design, eta, own, scale)
    return model


def _linear_predictor(
    design: Design,
    priors: Mapping[str, Prior],
    given: Mapping[str, Any],
    model: pm.Model,
    centred: bool,
    explicit: Collection[str],
):
    parts = [smooth_part(own, priors, model) for own in design.smooths]
    middle = sum((part.mean() for part in parts), start=0.0) if design.intercept >= 0 else 0.0
    eta = pt.as_tensor(design.offset) + _common_part(design, priors, given, model, middle)
    if parts:
        eta = eta + sum(parts) - middle
    for factor in design.factors:
        eta = eta + _group_part(factor, priors, given, model, centred=centred, explicit=factor.name in explicit)
    return eta


def _named(model: pm.Model, name: str, prior: Prior, given: Any = None):
    """A variable under its prior, or under its name what a joint prior has given."""
    if given is not None:
        return pm.Deterministic(name, given)
    if prior.distribution == "JeffreysScale":
        # PyMC knows no density 1 / x: a flat positive variable and the density as a potential.
        value = pm.HalfFlat(name)
        pm.Potential(f"{name}_density", -pt.log(value))
        return value
    return model.register_rv(pymc_distribution(prior), name)


def _own_parameter(part: Auxiliary, prior: Prior, design: Design, model: pm.Model):
    """A parameter of the family: a number, or one a threshold between two levels."""
    if not part.vector:
        return _named(model, part.name, prior)
    assert design.outcome.levels is not None
    count = len(design.outcome.levels) - 1
    dim = names.term_dim(part.name)
    model.add_coord(dim, np.arange(count))
    base = pm.distributions.shape_utils.change_dist_size(pymc_distribution(prior), (count,))
    if not part.ordered or count == 1:
        return model.register_rv(base, part.name, dims=(dim,))
    transform, start = pm.distributions.transforms.ordered, np.linspace(-1.0, 1.0, count)
    return model.register_rv(base, part.name, dims=(dim,), default_transform=transform, initval=start)


def _common_part(
    design: Design, priors: Mapping[str, Prior], given: Mapping[str, Any], model: pm.Model, middle: Any = 0.0
):
    """X b with centred predictors; the terms are registered under their names.

    The intercept's prior stands at the means of the predictors and of the smooth functions, whose is ``middle``.
    """
    centre = design.X.mean(axis=0) if design.intercept >= 0 else np.zeros(design.X.shape[1])
    total: Any = np.zeros(design.n)
    shift: Any = middle
    for term, where, levels in design.common.terms:
        columns = list(range(where.start, where.stop))
        if columns == [design.intercept]:
            continue
        name = design.variable(term, where)
        parts = [(priors[own], given.get(own)) for own in (design.coefficient_names[k] for k in columns)]
        b = _vector(model, name, parts, None if levels is None else names.term_dim(design.prefix + term), levels)
        total = total + pt.dot(design.X[:, columns] - centre[columns], b)
        shift = shift + pt.dot(centre[columns], b)
    if design.intercept >= 0:
        intercept = design.coefficient_names[design.intercept]
        at_centre = _named(model, names.variable(intercept) + CENTRED, priors[intercept])
        pm.Deterministic(names.variable(intercept), at_centre - shift)
        total = total + at_centre
    return total


def _vector(model: pm.Model, name: str, parts: Sequence[tuple[Prior, Any]], dim: str | None, levels):
    """Coefficients of one term as a vector; one variable, or one a column where their priors differ in kind."""
    if dim is None:
        return pt.stack([_named(model, name, *parts[0])])
    model.add_coord(dim, list(levels))
    columns = [_named(model, f"{name}[{level}]", *part) for level, part in zip(levels, parts, strict=True)]
    return pm.Deterministic(name, pt.stack(columns), dims=dim)


def _group_part(
    factor: GroupingFactor,
    priors: Mapping[str, Prior],
    given: Mapping[str, Any],
    model: pm.Model,
    *,
    centred: bool,
    explicit: bool,
):
    """Contribution of one grouping factor: C T z by group, T = diag(sd) L, C from centred predictors to zero."""
    q, groups = len(factor.effects), names.group_dim(factor.name)
    C = centring(factor.Z, factor.structure) if centred else np.eye(q)
    before, T = _group_factors(factor, priors, given, model, C)
    if explicit:
        # The covariance at centred predictors has a triangular factor; C moves the effects to predictors of zero.
        called = names.dimension(names.in_category(f"{factor.prefix}{factor.name}__effects", factor.category))
        free = pm.MvNormal(called, np.zeros(q), chol=before, shape=(factor.J, q))
        effects = pt.dot(free, pt.as_tensor(C.T))
    else:
        called = names.dimension(names.in_category(f"{factor.prefix}{factor.name}__z", factor.category))
        z: Any = pm.Normal(called, 0.0, 1.0, shape=(factor.J, q))
        if factor.relation is not None:
            z = pt.dot(pt.as_tensor(factor.relation.root), z)
        # (J, q), each group under the covariance of its kind.
        effects = pt.dot(z, T.T) if factor.kinds is None else (T[factor.kinds.codes] * z[:, None, :]).sum(axis=2)
        if factor.sd_regression is not None:
            effects = effects * pt.exp(_log_sd(factor, priors, model))
    for term in factor.terms:
        value = effects[:, term.columns]
        dims: tuple[str, ...] = (groups,)
        if term.levels is None:
            value = value[:, 0]
        else:
            dims = (groups, _term_dim(factor, term, model))
        pm.Deterministic(factor.effect_name(term.name), value, dims=dims)
    return sum((pt.as_tensor(view.Z) * effects[view.codes]).sum(axis=1) for view in factor.views)


def _group_factors(
    factor: GroupingFactor, priors: Mapping[str, Prior], given: Mapping[str, Any], model: pm.Model, C: np.ndarray
):
    """Root of the group covariance at centred predictors and at zero, (q, q), or (K, q, q) with kinds of groups.

    Group sds and correlations are registered at predictors of zero, the former also at the means where they differ.
    """
    q, kinds = len(factor.effects), factor.kinds
    shape: tuple[int, ...] = () if kinds is None else (len(kinds.labels),)
    by_kind: tuple[str, ...] = () if kinds is None else (factor.kind_dim,)
    moved = bool(np.any(np.eye(q) != C))
    sds = []
    for term in factor.terms:
        base = factor.group_sd_name(term.name)
        if moved and term.name == names.INTERCEPT:
            base += CENTRED
        dims = by_kind
        if term.levels is not None:
            dims = (*by_kind, _term_dim(factor, term, model))
            model.add_coord(dims[-1], list(term.levels))
        own = [name for name, k in zip(factor.sd_names, factor.sd_columns, strict=True) if _within(k, term.columns)]
        values = [
            _named(model, _moved(name, factor.group_sd_name(term.name), base), priors[name], given.get(name))
            for name in own
        ]
        value = pt.stack(values)
        if dims:
            value = value.reshape((*shape, -1)) if term.levels is not None else value
            value = pm.Deterministic(base, value, dims=dims)
        sds.append(value.reshape((*shape, -1)))
    sd = pt.concatenate(sds, axis=-1)
    L = _correlation_factor(factor, priors)
    before = sd[..., None] * L
    T = pt.matmul(pt.as_tensor(C), before)
    if moved:
        variance = (T**2).sum(axis=-1)
        intercept = factor.effects.index(names.INTERCEPT)
        name = factor.group_sd_name(names.INTERCEPT)
        pm.Deterministic(name, pt.sqrt(variance[..., intercept]), dims=by_kind or None)
        L = T / pt.sqrt(variance)[..., None]
    if factor.structure.n_correlations:
        both = (*by_kind, *factor.correlation_dims)
        pm.Deterministic(factor.correlation_name, pt.matmul(L, pt.swapaxes(L, -1, -2)), dims=both)
    return before, T


def _moved(name: str, old: str, new: str) -> str:
    return names.variable(name).replace(old, new, 1)


def _within(k: int, columns: slice) -> bool:
    return columns.start <= k < columns.stop


def _term_dim(factor: GroupingFactor, term: GroupTerm, model: pm.Model) -> str:
    """Dimension of the columns of a term; a second factor with other levels of the same term has its own."""
    dim = names.expression_dim(term.name)
    known = model.coords.get(dim)
    return dim if known is None or list(known) == list(term.levels or ()) else f"{dim}_{factor.name}"


def _log_sd(factor: GroupingFactor, priors: Mapping[str, Prior], model: pm.Model):
    """How far the log of each group's sds (J, q) lies from that of a group with covariates at their means."""
    assert factor.sd_regression is not None
    by_effect = [pt.stack([_named(model, name, priors[name]) for name in own]) for own in factor.log_sd_names]
    return pt.dot(pt.as_tensor(factor.sd_regression.W), pt.stack(by_effect).T)


def _correlation_factor(factor: GroupingFactor, priors: Mapping[str, Prior]):
    """Cholesky factor (q, q) of the correlations, (K, q, q) with kinds; a Beta variable a partial correlation."""
    structure, kinds = factor.structure, factor.kinds
    if not structure.n_correlations:
        return np.eye(structure.q)
    eta = priors[factor.correlation_name].params["eta"]
    shapes = lkj_shapes(structure.sizes, [eta] * len(structure.sizes))
    shape = (len(shapes),) if kinds is None else (len(kinds.labels), len(shapes))
    beta = pm.Beta(names.dimension(f"{factor.correlation_name}_partial"), shapes, shapes, shape=shape)
    if kinds is None:
        return _from_partial(structure, beta)
    return pt.stack([_from_partial(structure, beta[k]) for k in range(len(kinds.labels))])


def _from_partial(structure: BlockStructure, beta):
    entries: list[list[Any]] = [[pt.constant(0.0) for _ in range(structure.q)] for _ in range(structure.q)]
    index = 0
    for start, size in zip(structure.starts, structure.sizes, strict=True):
        for row in range(size):
            left: Any = pt.constant(1.0)
            for column in range(row):
                partial = 2 * beta[index] - 1
                entries[start + row][start + column] = partial * pt.sqrt(left)
                left = left * (1 - partial**2)
                index += 1
            entries[start + row][start + row] = pt.sqrt(left)
    return pt.stack([pt.stack(row) for row in entries])


def prior_predictive(model: pm.Model, priors: Mapping[str, Prior], draws: int, seed: int | None) -> xr.DataTree:
    """Prior draws of every variable and of the response.

    Raises
    ------
    PriorError
        If a prior is improper: there is nothing to draw from.
    """
    improper = [name for name, prior in priors.items() if prior.distribution in IMPROPER]
    if improper:
        raise PriorError(
            f"the priors of {', '.join(map(repr, improper))} are improper (flat), so the prior has no predictions; "
            "choose a proper preset such as 'weakly_informative', or override those priors"
        )
    with model:
        return pm.sample_prior_predictive(draws, random_seed=seed)

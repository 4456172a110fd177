"""What was asked: formula, table, family and priors, resolved and checked, before anything is compiled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from poolwise.data.intake import as_frame
from poolwise.data.validate import CheckedTable
from poolwise.errors import ArgumentError, DataError, PriorError
from poolwise.priors.distributions import GROUP_SDS, JOINT
from poolwise.priors.presets import PriorPreset, as_preset
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior, resolve
from poolwise.spec.checked import checked_rows
from poolwise.spec.collapsed import CollapsedData
from poolwise.spec.counted import CountedData
from poolwise.spec.counted_design import CountedDesign, counted_design
from poolwise.spec.design import Design, build_design
from poolwise.spec.event import with_event
from poolwise.spec.families import Family, family_of
from poolwise.spec.formula import Formula
from poolwise.spec.grouping import why_not_exchangeable
from poolwise.spec.parameters import facts_of, parameters_of
from poolwise.spec.predicted import check_predicted, read_formulas


@dataclass(frozen=True)
class Specification:
    """A model as understood.

    Parameters
    ----------
    formula : Formula
        Parsed, blocks apart.
    table : CheckedTable
        The rows used and what was dropped.
    design : Design
        The numbers.
    preset : PriorPreset
        Where the priors come from.
    resolved : tuple of ResolvedPrior
        One a parameter, numbers only.
    """

    formula: Formula
    table: CheckedTable
    design: Design
    preset: PriorPreset
    resolved: tuple[ResolvedPrior, ...]

    @property
    def family(self) -> Family:
        """Distribution of the response."""
        return self.design.family

    @property
    def priors(self) -> Mapping[str, Prior]:
        """The priors by parameter."""
        return {row.parameter: row.prior for row in self.resolved}

    @property
    def centred(self) -> bool:
        """Whether the priors of group intercepts stand at the means of their block's predictors."""
        return self.preset.group_intercept_at == "mean"

    def with_priors(self, priors) -> "Specification":
        """The same question under other priors."""
        preset, resolved = _resolve(self.design, priors)
        return replace(self, preset=preset, resolved=resolved)


def specify(
    formula,
    data,
    family: str = "gaussian",
    priors=None,
    *,
    link: str | None = None,
    group_correlation: bool = True,
    weights: str | None = None,
    missing: str = "error",
    covariances: Mapping[str, pd.DataFrame] | None = None,
    trusted: bool = False,
) -> Specification:
    """Parse, check, evaluate and resolve; see :class:`poolwise.Model` for the parameters."""
    if weights is not None and not isinstance(weights, str):
        raise ArgumentError(f"weights must be the name of a column of the table; got a {type(weights).__name__}")
    if covariances is not None and not isinstance(covariances, Mapping):
        raise ArgumentError(f"covariances must be a dict of matrices by name; got a {type(covariances).__name__}")
    chosen = family_of(family, link)
    if isinstance(data, CountedData):
        return _of_counts(formula, data, chosen, priors, group_correlation=group_correlation, weights=weights)
    if isinstance(data, CollapsedData):
        return _of_sums(formula, data, chosen, priors, group_correlation=group_correlation, weights=weights)
    parsed, further = read_formulas(formula, trusted=trusted)
    check_predicted(further, chosen)
    if not group_correlation:
        parsed, further = parsed.uncorrelated, tuple(one.uncorrelated for one in further)
    frame, parsed, event = with_event(as_frame(data), parsed, chosen)
    table = checked_rows(frame, parsed, further, chosen, weights, missing)
    design = build_design(parsed, table, weights, chosen, covariances, further)
    if chosen.gaussian and set(np.unique(design.y)) == {0.0, 1.0}:
        note = f"the response {parsed.response!r} holds only 0 and 1; family='bernoulli' models their probability"
        table = replace(table, notes=(*table.notes, note))
    if event:
        table = replace(table, notes=(*table.notes, event))
    _refuse_unused(covariances, [parsed, *further])
    preset, resolved = _resolve(design, priors)
    return Specification(parsed, table, design, preset, resolved)


def restored(design: Design, resolved: Sequence[ResolvedPrior]) -> Specification:
    """What was asked by a fit of which the design and the priors are left: the same numbers, without their preset."""
    stands = {row.at for row in resolved if row.role in ("group_sd_intercept", "group_correlation")}
    preset = PriorPreset(
        "restored", "", "", "", "", (), "", {}, group_intercept_at="zero" if "zero" in stands else "mean"
    )
    if isinstance(design, CountedDesign):
        table = _no_rows(design.source.dropped)
    elif design.collapsed is not None:
        table = _no_rows(design.collapsed.dropped, design.collapsed.notes)
    else:
        table = CheckedTable(design.frame, np.arange(design.n))
    return Specification(design.formula, table, design, preset, tuple(resolved))


def _no_rows(dropped: dict[str, int], notes: tuple[str, ...] = ()) -> CheckedTable:
    return CheckedTable(pd.DataFrame(), np.zeros(0, dtype=np.int64), dropped, notes)


def _of_sums(
    formula: str, data: CollapsedData, family: Family, priors, *, group_correlation: bool, weights: str | None
) -> Specification:
    if not family.gaussian:
        raise DataError(
            f"these sums serve Gaussian models with the identity link, not family {family}; collapse the rows with "
            "family="
        )
    there = data.recipe
    _refuse_other(formula, there.formula, there.weights, group_correlation, weights)
    design = data.design
    preset, resolved = _resolve(design, priors)
    return Specification(there.formula, _no_rows(data.dropped, data.notes), design, preset, resolved)


def _of_counts(
    formula: str, data: CountedData, family: Family, priors, *, group_correlation: bool, weights: str | None
) -> Specification:
    _refuse_other(formula, data.recipe, data.weights, group_correlation, weights)
    design, table = counted_design(data, family)
    preset, resolved = _resolve(design, priors)
    return Specification(data.recipe, table, design, preset, resolved)


def _refuse_other(
    formula: str, there: Formula, there_weights: str | None, group_correlation: bool, weights: str | None
) -> None:
    """Refuse a model other than the one that rows were collapsed for."""
    parsed, further = read_formulas(formula, trusted=there.trusted)
    if further:
        raise DataError("collapsed data serve one sigma for all rows; fit formulas of further parameters from the rows")
    if not group_correlation:
        parsed = parsed.uncorrelated
    if parsed != there or weights not in (None, there_weights):
        raise DataError(
            f"the rows were collapsed for {there.canonical}"
            f"{f' with weights={there_weights!r}' if there_weights else ''}; a model of {parsed.canonical}"
            f"{f' with weights={weights!r}' if weights else ''} needs its own collapse()"
        )


def _refuse_unused(covariances: Mapping[str, pd.DataFrame] | None, formulas: Sequence[Formula]) -> None:
    named = {block.cov for formula in formulas for block in formula.blocks if block.cov}
    for name in covariances or {}:
        if name not in named:
            raise DataError(f"covariances= has {name!r}, which no block names; write `(1 | gr(g, cov={name}))`")


def _resolve(design: Design, priors) -> tuple[PriorPreset, tuple[ResolvedPrior, ...]]:
    """The preset for the design's family, and one prior a parameter."""
    preset, overrides = as_preset(priors)
    # The effects of a category are log odds against the first.
    link = "logit" if design.family.has_reference else design.family.link
    preset = preset.for_family(design.family.name, link)
    resolved = resolve(preset, facts_of(design), parameters_of(design), overrides)
    joint = [row for row in resolved if row.prior.support == JOINT and (row.role in GROUP_SDS or design.predicted)]
    if joint and not design.exchangeable:
        raise PriorError(
            f"preset {preset.name!r} has a joint prior, of group sds or in units of sigma, which takes groups and rows "
            f"that are independent draws from one distribution; here {why_not_exchangeable(design)}. Choose another "
            "preset, for instance 'weakly_informative'"
        )
    shared = {row.prior.distribution for row in resolved if row.prior.support == JOINT} & {"ICCBeta", "R2D2M2"}
    if shared and not design.family.has_sigma:
        raise PriorError(
            f"the joint prior {shared.pop()} of preset {preset.name!r} divides the variance between groups and "
            f"residuals; family {design.family.name!r} has no residual variance. Choose another preset, for instance "
            "'weakly_informative'"
        )
    return preset, resolved

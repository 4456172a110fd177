"""What was asked: formula, table, family and priors, resolved and checked, before anything is compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from poolwise.data.intake import as_frame
from poolwise.data.validate import CheckedTable, check_table
from poolwise.errors import DataError, PoolwiseError, near_names
from poolwise.priors.presets import PriorPreset, as_preset
from poolwise.priors.prior import Prior
from poolwise.priors.resolve import ResolvedPrior, resolve
from poolwise.spec.design import Design, build_design
from poolwise.spec.formula import Formula, parse_formula
from poolwise.spec.parameters import facts_of, parameters_of

FAMILIES = ("gaussian",)


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
    family : str
        Distribution of the response.
    preset : PriorPreset
        Where the priors come from.
    resolved : tuple of ResolvedPrior
        One a parameter, numbers only.
    """

    formula: Formula
    table: CheckedTable
    design: Design
    family: str
    preset: PriorPreset
    resolved: tuple[ResolvedPrior, ...]

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
        preset, overrides = as_preset(priors)
        resolved = resolve(preset, facts_of(self.design), parameters_of(self.design), overrides)
        return replace(self, preset=preset, resolved=resolved)


def specify(
    formula: str,
    data,
    family: str = "gaussian",
    priors=None,
    *,
    group_correlation: bool = True,
    weights: str | None = None,
    missing: str = "error",
    trusted: bool = False,
) -> Specification:
    """Parse, check, evaluate and resolve; see :class:`poolwise.Model` for the parameters."""
    if family not in FAMILIES:
        raise PoolwiseError(f"family {family!r} is not available; {near_names(str(family), FAMILIES)}")
    parsed = parse_formula(formula, trusted=trusted)
    if not group_correlation:
        parsed = _uncorrelated(parsed)
    if parsed.weights is not None and weights is not None:
        raise DataError(
            f"weights are given twice: weighted(..., {parsed.weights}) in the formula and weights={weights!r}; keep one"
        )
    table = check_table(
        as_frame(data),
        response=parsed.response_columns,
        predictors=parsed.predictors,
        factors=tuple(dict.fromkeys(block.columns for block in parsed.blocks)),
        weights=weights or parsed.weights,
        missing=missing,
        constant_ok=parsed.offset_columns,
    )
    design = build_design(parsed, table, weights)
    preset, overrides = as_preset(priors)
    resolved = resolve(preset, facts_of(design), parameters_of(design), overrides)
    return Specification(parsed, table, design, family, preset, resolved)


def _uncorrelated(formula: Formula) -> Formula:
    return replace(formula, blocks=tuple(replace(block, correlated=False) for block in formula.blocks))

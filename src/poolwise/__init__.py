"""Bayesian hierarchical models with honest pooling.

A formula, a table and a prior preset go in; a PyMC model, its posterior, its checks and an honest comparison with the
frequentist fits come out. Names are loaded when they are first used, so that importing poolwise costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from poolwise.kernel_cache import drop_stale_kernels

__version__ = "0.1.0"

_HOME = {
    "Model": "model",
    "BayesFit": "result.bayes",
    "FrequentistFit": "result.frequentist",
    "NoPoolingFit": "result.no_pooling",
    "GLMMFit": "result.glmm",
    "NoPoolingGLM": "result.no_pooling_glm",
    "PoolingStudy": "compare.study",
    "compare_pooling": "compare.pooling",
    "PriorComparison": "compare.priors",
    "PriorImplications": "result.implications",
    "compare_priors": "compare.priors",
    "CheckSettings": "check.settings",
    "Finding": "check.finding",
    "Singularity": "check.singularity",
    "ShrinkageAudit": "check.shrinkage_audit",
    "audit_shrinkage": "check.shrinkage_audit",
    "explain_singularity": "check.singularity",
    "between_within": "check.between_within",
    "Prior": "priors.prior",
    "PriorPreset": "priors.presets",
    "presets": "priors.presets",
    "load_preset": "priors.presets",
    "load_dataset": "data.examples",
    "datasets": "data.examples",
    "hospital_mortality": "data.simulated",
    "DesignCoverage": "validate.coverage",
    "design_coverage": "validate.coverage",
    "load_fit": "result.store",
    "resume": "continuing",
    "CollapsedData": "spec.collapsed",
    "CountedData": "spec.counted",
    "collapse": "spec.collapse",
    "combine": "spec.combine",
    "load_collapsed": "spec.collapsed_file",
    "RowsNeededError": "errors",
    "StandardisedRates": "result.standardise",
    "standardised_rates": "result.standardise",
    "rank_groups": "result.standardise",
    "write_report": "report.write",
    "PoolwiseError": "errors",
    "FindingsError": "errors",
    "PoolwiseWarning": "errors",
    "ConvergenceWarning": "errors",
    "OtherFormWarning": "errors",
    "PartialRunWarning": "errors",
    "UncentredSlopeWarning": "errors",
}
_MODULES = {"checks": "check.public", "plots": "plot.public", "validate": "validate"}

__all__ = [
    "BayesFit",
    "CheckSettings",
    "CollapsedData",
    "ConvergenceWarning",
    "CountedData",
    "DesignCoverage",
    "Finding",
    "FindingsError",
    "FrequentistFit",
    "GLMMFit",
    "Model",
    "NoPoolingFit",
    "NoPoolingGLM",
    "OtherFormWarning",
    "PartialRunWarning",
    "PoolingStudy",
    "PoolwiseError",
    "PoolwiseWarning",
    "Prior",
    "PriorComparison",
    "PriorImplications",
    "PriorPreset",
    "RowsNeededError",
    "ShrinkageAudit",
    "Singularity",
    "StandardisedRates",
    "UncentredSlopeWarning",
    "__version__",
    "audit_shrinkage",
    "between_within",
    "checks",
    "collapse",
    "combine",
    "compare_pooling",
    "compare_priors",
    "datasets",
    "design_coverage",
    "explain_singularity",
    "hospital_mortality",
    "load_collapsed",
    "load_dataset",
    "load_fit",
    "load_preset",
    "plots",
    "presets",
    "rank_groups",
    "resume",
    "standardised_rates",
    "validate",
    "write_report",
]

if TYPE_CHECKING:
    from poolwise import validate
    from poolwise.check import public as checks
    from poolwise.check.between_within import between_within
    from poolwise.check.finding import Finding
    from poolwise.check.settings import CheckSettings
    from poolwise.check.shrinkage_audit import ShrinkageAudit, audit_shrinkage
    from poolwise.check.singularity import Singularity, explain_singularity
    from poolwise.compare.pooling import compare_pooling
    from poolwise.compare.priors import PriorComparison, compare_priors
    from poolwise.compare.study import PoolingStudy
    from poolwise.continuing import resume
    from poolwise.data.examples import datasets, load_dataset
    from poolwise.data.simulated import hospital_mortality
    from poolwise.errors import (
        ConvergenceWarning,
        FindingsError,
        OtherFormWarning,
        PartialRunWarning,
        PoolwiseError,
        PoolwiseWarning,
        RowsNeededError,
        UncentredSlopeWarning,
    )
    from poolwise.model import Model
    from poolwise.plot import public as plots
    from poolwise.priors.presets import PriorPreset, load_preset, presets
    from poolwise.priors.prior import Prior
    from poolwise.report.write import write_report
    from poolwise.result.bayes import BayesFit
    from poolwise.result.frequentist import FrequentistFit
    from poolwise.result.glmm import GLMMFit
    from poolwise.result.implications import PriorImplications
    from poolwise.result.no_pooling import NoPoolingFit
    from poolwise.result.no_pooling_glm import NoPoolingGLM
    from poolwise.result.standardise import StandardisedRates, rank_groups, standardised_rates
    from poolwise.result.store import load_fit
    from poolwise.spec.collapse import collapse
    from poolwise.spec.collapsed import CollapsedData
    from poolwise.spec.collapsed_file import load_collapsed
    from poolwise.spec.combine import combine
    from poolwise.spec.counted import CountedData
    from poolwise.validate.coverage import DesignCoverage, design_coverage


drop_stale_kernels()


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"poolwise.{_MODULES[name]}")
    if name in _HOME:
        return getattr(import_module(f"poolwise.{_HOME[name]}"), name)
    raise AttributeError(f"poolwise has no {name!r}")


def __dir__() -> list[str]:
    return __all__

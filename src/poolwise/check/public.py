"""The checks, for use one by one."""

from poolwise.check.between_within import between_within, slopes_between_within
from poolwise.check.coding import CodingInvariance, coding_invariance
from poolwise.check.few_rows import too_few_rows
from poolwise.check.finding import Finding, Findings
from poolwise.check.geometry import few_effective_draws, low_energy, tree_depth
from poolwise.check.held_out import KFold, kfold
from poolwise.check.leave_group_out import LeaveGroupOut, leave_group_out
from poolwise.check.likelihood import not_maximised, separation
from poolwise.check.loo import unreliable_elpd
from poolwise.check.loo_pit import loo_pit, loo_pit_values
from poolwise.check.mixed import mixed_predictive
from poolwise.check.predictive import posterior_predictive, predictive_statistics
from poolwise.check.prior_decides import prior_decides
from poolwise.check.priors import prior_findings
from poolwise.check.run import check
from poolwise.check.sampling import not_converged
from poolwise.check.shrinkage_audit import ShrinkageAudit, audit_shrinkage
from poolwise.check.singular import singular_fit
from poolwise.check.singularity import Singularity, explain_singularity, principal_components
from poolwise.check.uncentred import uncentred_slope
from poolwise.check.vanishing import interval_widths, intervals_by_kind, vanishing_intervals

__all__ = [
    "CodingInvariance",
    "Finding",
    "Findings",
    "KFold",
    "LeaveGroupOut",
    "ShrinkageAudit",
    "Singularity",
    "audit_shrinkage",
    "between_within",
    "check",
    "coding_invariance",
    "explain_singularity",
    "few_effective_draws",
    "interval_widths",
    "intervals_by_kind",
    "kfold",
    "leave_group_out",
    "loo_pit",
    "loo_pit_values",
    "low_energy",
    "mixed_predictive",
    "not_converged",
    "not_maximised",
    "posterior_predictive",
    "predictive_statistics",
    "principal_components",
    "prior_decides",
    "prior_findings",
    "separation",
    "singular_fit",
    "slopes_between_within",
    "too_few_rows",
    "tree_depth",
    "uncentred_slope",
    "unreliable_elpd",
    "vanishing_intervals",
]

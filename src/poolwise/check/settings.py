"""What counts, and what is then done: the thresholds and actions of all checks in one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from poolwise.check.finding import Severity
from poolwise.errors import ArgumentError, UnknownNameError, near_names

Action = Literal["ignore", "note", "warn", "raise"]
CODES = (
    "between_within",
    "check_failed",
    "few_effective_draws",
    "flat_few_groups",
    "gamma_for_mode",
    "heavy_tail_few_groups",
    "intercept_prior_without_intercept",
    "lkj_one",
    "loo_pit",
    "low_energy",
    "not_converged",
    "posterior_predictive",
    "prior_conflict",
    "prior_decides",
    "prior_dominates",
    "prior_scale",
    "response_scale_on_log",
    "singular_fit",
    "tree_depth",
    "uncentred_slope",
    "undue_shrinkage",
    "unreliable_elpd",
)


@dataclass(frozen=True)
class CheckSettings:
    """Thresholds of the checks that :meth:`poolwise.BayesFit.check` runs, and what a finding does.

    Parameters
    ----------
    alpha : float, default 0.05
        Two-sided probability of the checks that test a hypothesis, ``between_within`` and ``undue_shrinkage``.
    predictive_alpha : float, default 0.01
        Two-sided posterior predictive probability below which a statistic of the data counts, divided by the number
        of statistics. These probabilities are conservative (Meng 1994).
    pit_alpha : float, default 0.01
        Probability of the test of ``loo_pit`` below which it counts.
    contraction : float, default 0.5
        Below it the prior of a group sd decides, 1 - (posterior sd / prior sd)^2.
    bfmi : float, default 0.3
        Smallest energy Bayesian fraction of missing information that does not count (Betancourt 2016, arXiv
        1604.00695).
    depth_share : float, default 0.01
        Largest share of trajectories that may reach the longest length.
    mcse_share : float, default 0.1
        Largest Monte Carlo error of an interval's end, in widths of the interval.
    actions : mapping of str to {"ignore", "note", "warn", "raise"}
        By code or by severity ("note", "warning", "serious"), the code before the severity. "ignore" leaves a finding
        out, "note" lists it (the default), "warn" also issues a :class:`~poolwise.PoolwiseWarning`, "raise" stops with
        a :class:`~poolwise.FindingsError`, in a pipeline for instance.

    Raises
    ------
    ArgumentError
        If a threshold is not a share, or an action is none of the four.
    UnknownNameError
        If an action is given for a code that there is not.

    Examples
    --------
    >>> CheckSettings(contraction=0.3, actions={"serious": "raise", "lkj_one": "ignore"}).action("lkj_one", "note")
    'ignore'
    """

    alpha: float = 0.05
    predictive_alpha: float = 0.01
    pit_alpha: float = 0.01
    contraction: float = 0.5
    bfmi: float = 0.3
    depth_share: float = 0.01
    mcse_share: float = 0.1
    actions: Mapping[str, Action] = field(default_factory=dict)

    def __post_init__(self):
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name != "actions" and not (isinstance(value, int | float) and 0 < value < 1):
                raise ArgumentError(f"{name} must lie strictly between 0 and 1; got {value!r}")
        known = (*CODES, *get_args(Severity))
        for name, action in self.actions.items():
            if name not in known:
                raise UnknownNameError(f"actions has no code or severity {name!r}; {near_names(name, known)}")
            if action not in get_args(Action):
                raise ArgumentError(
                    f"the action of {name!r} must be one of {', '.join(map(repr, get_args(Action)))}; got {action!r}"
                )

    def action(self, code: str, severity: str) -> Action:
        """What a finding of this code and severity does.

        :meta private:
        """
        return self.actions.get(code, self.actions.get(severity, "note"))

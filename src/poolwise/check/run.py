"""All checks that suit a fit, ranked; what each finding does is a matter of settings."""

import warnings
from collections.abc import Callable

from poolwise.check.again import model_of
from poolwise.check.between_within import between_within
from poolwise.check.finding import Finding, Findings
from poolwise.check.geometry import few_effective_draws, low_energy, tree_depth
from poolwise.check.loo import unreliable_elpd
from poolwise.check.loo_pit import loo_pit
from poolwise.check.predictive import posterior_predictive
from poolwise.check.prior_decides import prior_decides
from poolwise.check.priors import prior_findings
from poolwise.check.sampling import not_converged
from poolwise.check.settings import CheckSettings
from poolwise.check.shrinkage_audit import audit_shrinkage
from poolwise.check.singular import singular_fit
from poolwise.errors import FindingsError, FitError, PoolwiseError, PoolwiseWarning
from poolwise.model import Model
from poolwise.result.bayes import BayesFit
from poolwise.result.frequentist import FrequentistFit
from poolwise.result.glmm import GLMMFit
from poolwise.result.pointwise import fits_memory
from poolwise.spec.exponential import refuse_without_likelihood_fit
from poolwise.spec.grouping import refuse_grouping
from poolwise.spec.rowless import WithoutRows
from poolwise.spec.specification import restored

# The checks that are made from frequentist fits with more terms.
POOLING = ("between_within", "undue_shrinkage")

Fit = BayesFit | FrequentistFit | GLMMFit


def check(fit: Fit, settings: CheckSettings | None = None) -> Findings:
    """Run every check that suits a fit.

    Parameters
    ----------
    fit : BayesFit, FrequentistFit or GLMMFit
    settings : CheckSettings, optional
        Thresholds and actions.

    Returns
    -------
    Findings
        The most severe first. A check that cannot be run on this fit is listed too, code ``check_failed``, with why;
        ``not_applicable`` names those that need a frequentist fit, where the model has none.

    Raises
    ------
    FindingsError
        If a finding's action is "raise".

    Warns
    -----
    PoolwiseWarning
        If a finding's action is "warn".
    """
    settings = CheckSettings() if settings is None else settings
    found: list[Finding] = []
    for name, one in _checks(fit, settings).items():
        try:
            with warnings.catch_warnings():
                # What a refit warns of stands in findings of its own.
                warnings.simplefilter("ignore")
                found += one()
        except Exception as error:
            found.append(_failed(name, error))
    kept = [finding for finding in found if settings.action(finding.code, finding.severity) != "ignore"]
    findings = Findings(kept, _not_applicable(fit))
    stopping = [one for one in findings if settings.action(one.code, one.severity) == "raise"]
    if stopping:
        raise FindingsError("\n\n".join(map(str, stopping)), findings)
    for finding in findings:
        if settings.action(finding.code, finding.severity) == "warn":
            warnings.warn(f"{finding.code}: {finding.title}", PoolwiseWarning, stacklevel=3)
    return findings


def _checks(fit: Fit, settings: CheckSettings) -> dict[str, Callable[[], list[Finding]]]:
    pooling: dict[str, Callable[[], list[Finding]]] = {}
    if fit.design.factors and not _not_applicable(fit):
        pooling["between_within"] = lambda: between_within(fit, alpha=settings.alpha, complete_pooling=False)
        pooling["undue_shrinkage"] = lambda: audit_shrinkage(fit, bayes=False, alpha=settings.alpha).findings
    if not isinstance(fit, BayesFit):
        return {"singular_fit": lambda: singular_fit(fit), **pooling}
    checks: dict[str, Callable[[], list[Finding]]] = {
        "not_converged": lambda: not_converged(fit),
        "tree_depth": lambda: tree_depth(fit, most=settings.depth_share),
        "low_energy": lambda: low_energy(fit, least=settings.bfmi),
        "few_effective_draws": lambda: few_effective_draws(fit, most=settings.mcse_share),
        "prior_decides": lambda: prior_decides(fit, least=settings.contraction),
        "priors": lambda: prior_findings(_model(fit)),
        "posterior_predictive": lambda: posterior_predictive(fit, alpha=settings.predictive_alpha),
    }
    if fits_memory(fit):
        checks["loo_pit"] = lambda: loo_pit(fit, alpha=settings.pit_alpha)
        checks["unreliable_elpd"] = lambda: unreliable_elpd(fit.loo(pointwise=True))
    left_out = _not_applicable(fit)
    return {name: one for name, one in checks.items() if name not in left_out} | pooling


def _not_applicable(fit: Fit) -> tuple[str, ...]:
    """Checks of groups that need a frequentist fit, or one covariance and a linear mean, where the model has none."""
    if not any(own.factors for own in fit.design.linear):
        return ()
    try:
        refuse_grouping(fit.design, "what priors imply")
    except FitError:
        return (*POOLING, "prior_decides")
    try:
        refuse_without_likelihood_fit(fit.design)
    except FitError:
        return POOLING
    return ()


def _model(fit: BayesFit) -> Model:
    """The model of a fit: of its sums or counts where there are no rows to make it anew from."""
    if isinstance(fit.design, WithoutRows):
        return Model.of(restored(fit.design, fit.resolved_priors))
    return model_of(fit)


def _failed(name: str, error: Exception) -> Finding:
    expected = isinstance(error, PoolwiseError)
    return Finding(
        code="check_failed",
        severity="note" if expected else "warning",
        title=f"{name} was not checked: {error if expected else f'{type(error).__name__}: {error}'}",
        value=float("nan"),
        threshold=float("nan"),
        meaning="Nothing is known about this question; its absence from the list does not mean that all is well.",
        advice=(
            "Run the check by itself from pw.checks with what it asks for."
            if expected
            else "This is an error of poolwise: please report it with the formula and the versions."
        ),
        reference='poolwise\'s documentation, page "The checks, finding by finding".',
    )

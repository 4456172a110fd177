"""Did NUTS explore freely: trajectories cut short, energies that hardly move, interval ends known too roughly?"""

import numpy as np
import pandas as pd

from poolwise.check.finding import Finding
from poolwise.result.bayes import BayesFit

BFMI, DEPTH_SHARE, MCSE_SHARE = 0.3, 0.01, 0.1
BETANCOURT = "Betancourt (2017), A conceptual introduction to Hamiltonian Monte Carlo, arXiv:1701.02434."


def tree_depth(fit: BayesFit, *, most: float = DEPTH_SHARE) -> list[Finding]:
    """One finding, code ``tree_depth``, where too large a share of trajectories reached the longest length.

    Parameters
    ----------
    fit : BayesFit
    most : float
        Largest share of such trajectories.

    Returns
    -------
    list of Finding
        Empty where nothing is found.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> pw.checks.tree_depth(fit)
    []
    """
    stats = fit.data["sample_stats"]
    if "maxdepth_reached" not in stats:
        return []
    by_chain = stats["maxdepth_reached"].mean("draw")
    share = float(by_chain.mean())
    if share <= most:
        return []
    return [
        Finding(
            code="tree_depth",
            severity="warning",
            title=f"{share:.1%} of the trajectories reached the greatest tree depth",
            value=share,
            threshold=most,
            meaning="Trajectories were cut before they turned: draws stay close to one another, and cost much.",
            advice="Scale the predictors (center(), scale()), or choose form='whitened' or 'collapsed'.",
            reference=BETANCOURT,
            table=pd.DataFrame({"chain": np.arange(len(by_chain)), "share": by_chain.to_numpy()}),
        )
    ]


def low_energy(fit: BayesFit, *, least: float = BFMI) -> list[Finding]:
    """One finding, code ``low_energy``, where the energy changes too little from draw to draw (E-BFMI).

    References
    ----------
    Betancourt (2016), arXiv:1604.00695; ArviZ measures it.

    Parameters
    ----------
    fit : BayesFit
    least : float
        Smallest energy Bayesian fraction of missing information.

    Returns
    -------
    list of Finding
        Empty where nothing is found.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> pw.checks.low_energy(fit)
    []
    """
    stats = fit.data["sample_stats"]
    if "energy" not in stats:
        return []
    from arviz_stats import bfmi as arviz_bfmi

    with np.errstate(divide="ignore", invalid="ignore"):
        bfmi = np.atleast_1d(arviz_bfmi(fit.data)["energy"].to_numpy())
    if np.all(bfmi >= least):
        return []
    worst = float(np.nanmin(bfmi)) if np.isfinite(bfmi).any() else float("nan")
    return [
        Finding(
            code="low_energy",
            severity="warning",
            title=f"the energy hardly moves between draws: E-BFMI {worst:.2f} in the worst chain",
            value=worst,
            threshold=least,
            meaning="The tails of the posterior are explored slowly, often those of a group sd near zero.",
            advice="Run longer with more tuning; look at the priors of the group sds, or choose another form.",
            reference=BETANCOURT,
            table=pd.DataFrame({"chain": np.arange(len(bfmi)), "bfmi": bfmi}),
        )
    ]


def few_effective_draws(fit: BayesFit, *, most: float = MCSE_SHARE, level: float = 0.95) -> list[Finding]:
    """One finding, code ``few_effective_draws``, where an interval's end has a large Monte Carlo error.

    Parameters
    ----------
    fit : BayesFit
    most : float, default 0.1
        Largest error, in widths of the interval.
    level : float, default 0.95
        Probability of the equal-tailed interval.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16(2), 667-718; ArviZ measures it.

    Returns
    -------
    list of Finding
        Empty where nothing is found.

    Examples
    --------
    >>> import poolwise as pw
    >>> fit = pw.Model("Yield ~ 1 + (1 | Batch)", pw.load_dataset("dyestuff")).fit(seed=1, progress=False)
    >>> pw.checks.few_effective_draws(fit)
    []
    """
    from arviz_stats.base import array_stats

    tail, rows = (1 - level) / 2, []
    groups = {dim for dim in fit.posterior.dims if str(dim).endswith("__factor_dim")}
    for name, variable in fit.posterior.data_vars.items():
        if groups & set(variable.dims):
            continue
        values = variable.transpose("chain", "draw", ...).to_numpy()
        flat = values.reshape(*values.shape[:2], -1)
        for k in range(flat.shape[2]):
            one = np.ascontiguousarray(flat[:, :, k])
            width = float(np.ptp(np.quantile(one, [tail, 1 - tail])))
            # The diagonal of a correlation matrix is 1 up to rounding.
            if not width > 1e-12 * np.abs(one).max():
                continue
            errors = [
                float(array_stats.mcse(one, method="quantile", prob=p, chain_axis=0, draw_axis=1))
                for p in (tail, 1 - tail)
            ]
            label = str(name) if flat.shape[2] == 1 else f"{name}[{k}]"
            rows.append({"parameter": label, "width": width, "mcse": max(errors), "share": max(errors) / width})
    table = pd.DataFrame(rows, columns=["parameter", "width", "mcse", "share"])
    rough = table[~(table["share"] <= most)]
    if rough.empty:
        return []
    worst = rough.loc[rough["share"].idxmax()]
    return [
        Finding(
            code="few_effective_draws",
            severity="warning",
            title=(
                f"the ends of {len(rough)} {level:.0%} intervals are rough: Monte Carlo error {worst['mcse']:.3g} at a "
                f"width of {worst['width']:.3g} ({worst['parameter']})"
            ),
            value=float(worst["share"]),
            threshold=most,
            meaning="Another seed would give visibly other interval ends.",
            advice="Raise draws, four times for half the error; or report fewer digits, or a narrower interval.",
            reference="Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16(2), 667-718.",
            table=table.sort_values("share", ascending=False, ignore_index=True),
        )
    ]

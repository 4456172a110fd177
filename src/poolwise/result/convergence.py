"""Has the sampler converged? R-hat, effective sample sizes and divergences of the parameters, in words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from poolwise import names
from poolwise.algebra import diagnostics
from poolwise.algebra.crossproducts import Array

# Vehtari et al. (2021), sections 3 and 4: the thresholds the field uses.
RHAT_LIMIT = 1.01
ESS_PER_CHAIN = 100


@dataclass(frozen=True)
class Convergence:
    """Measures of a run and what they mean.

    Parameters
    ----------
    table : DataFrame
        One row a parameter: rhat, ess_bulk, ess_tail.
    divergences : int
        Divergent transitions after warm-up.
    chains, draws : int
        Size of the run.
    pareto_k : float, optional
        Of the importance weights of independent draws, which NUTS does not make: there are no chains to disagree.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16(2), 667-718.
    """

    table: pd.DataFrame
    divergences: int
    chains: int
    draws: int
    pareto_k: float | None = None

    @property
    def rhat(self) -> float:
        """Largest R-hat; NaN where a chain is stuck or a single chain makes it undefined."""
        return float(self.table["rhat"].max(skipna=False))

    @property
    def ess(self) -> float:
        """Smallest of all bulk and tail effective sample sizes."""
        return float(self.table[["ess_bulk", "ess_tail"]].min(skipna=False).min(skipna=False))

    @property
    def problems(self) -> list[str]:
        """What is wrong and what to do, one sentence each; empty when nothing is."""
        found = []
        if self.divergences:
            found.append(
                f"{self.divergences} of {self.chains * self.draws} draws diverged: the posterior has a region the "
                "sampler cannot follow; raise target_accept to 0.99, or look at the priors of the group sds"
            )
        if self.pareto_k is None and self.chains > 1 and not self.rhat <= RHAT_LIMIT:
            worst = self.table["rhat"].idxmax() if self.table["rhat"].notna().any() else self.table.index[0]
            found.append(
                f"R-hat reaches {self.rhat:.3f} ({worst}), above {RHAT_LIMIT}: the chains disagree; "
                "run longer (tune, draws) before reading any number"
            )
        needed = ESS_PER_CHAIN * self.chains
        if not self.ess >= needed:
            found.append(
                f"the smallest effective sample size is {self.ess:.0f}, below {needed}: "
                "intervals and quantiles are unreliable; raise draws"
            )
        return found

    def __str__(self) -> str:
        if self.pareto_k is not None:
            line = f"independent draws, Pareto k {self.pareto_k:.2f}, effective draws {self.ess:.0f}"
            return "\n".join([line, *(f"  ! {problem}" for problem in self.problems)])
        rhat = f"R-hat at most {self.rhat:.3f}" if self.chains > 1 else "no R-hat of one chain"
        line = f"{rhat}, effective draws at least {self.ess:.0f}, {self.divergences} divergences"
        if self.chains == 1:
            line += "\n  one chain cannot show whether it converged: give chains=4"
        return "\n".join([line, *(f"  ! {problem}" for problem in self.problems)])


def convergence(posterior: xr.Dataset, sample_stats: xr.Dataset | None, group_dims: set[str]) -> Convergence:
    """Measure every parameter; group-specific effects are left out where they are exact draws given the parameters.

    Parameters
    ----------
    posterior : Dataset
        With dims chain and draw.
    sample_stats : Dataset or None
        For the divergences.
    group_dims : set of str
        Dimensions of the groups; variables that have one are group-specific effects.

    Returns
    -------
    Convergence
    """
    rows, independent = {}, None
    if sample_stats is not None and "proposal" in sample_stats:
        # Resampled draws are independent but for those that repeat a proposal.
        copies = np.unique(sample_stats["proposal"].to_numpy(), return_counts=True)[1].astype(float)
        independent = copies.sum() ** 2 / (copies**2).sum()
    for name, variable in posterior.data_vars.items():
        if group_dims & set(variable.dims):
            continue
        variable = variable.transpose(names.CHAIN, names.DRAW, ...)
        values = variable.to_numpy()
        flat = values.reshape(*values.shape[:2], -1)
        for index in range(flat.shape[2]):
            one = flat[:, :, index]
            if names.is_correlation(variable.dims) and _repeats(variable, index, one):
                continue
            label = str(name) if flat.shape[2] == 1 else _label(variable, index)
            rows[label] = (
                diagnostics.rhat(one) if one.shape[0] > 1 else np.nan,
                diagnostics.ess_bulk(one) if independent is None else independent,
                diagnostics.ess_tail(one) if independent is None else independent,
            )
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["rhat", "ess_bulk", "ess_tail"])
    diverging = 0 if sample_stats is None else int(sample_stats["diverging"].sum())
    k = None if independent is None or sample_stats is None else float(sample_stats.attrs["pareto_k"])
    return Convergence(table, diverging, posterior.sizes[names.CHAIN], posterior.sizes[names.DRAW], k)


def _repeats(variable: xr.DataArray, index: int, draws: Array) -> bool:
    """Whether a number of a correlation matrix is no parameter: of its diagonal or below it, or fixed at 0."""
    row, column = np.unravel_index(index, variable.shape[2:])[-2:]
    return bool(row >= column or np.ptp(draws) < 1e-12)


def _label(variable: xr.DataArray, index: int) -> str:
    """The name of one number of a variable, as a summary has it: ``corr|g[Intercept, x]``."""
    dims = [dim for dim in variable.dims if dim not in (names.CHAIN, names.DRAW)]
    places = np.unravel_index(index, [variable.sizes[dim] for dim in dims])
    said = [variable[dim].to_numpy()[k] if dim in variable.coords else k for dim, k in zip(dims, places, strict=True)]
    return f"{variable.name}[{', '.join(map(str, said))}]"

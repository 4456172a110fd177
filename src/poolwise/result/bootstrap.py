"""The parametric bootstrap of a frequentist fit, as a result."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import warn

import numpy as np
import pandas as pd

from poolwise.errors import ArgumentError, ConvergenceWarning
from poolwise.fit.bootstrap import parametric_bootstrap
from poolwise.fit.reml import BOUNDARY_AVOIDING, SINGULAR_TOLERANCE
from poolwise.result import tables
from poolwise.spec.targets import values
from poolwise.workers import Client, check_workers

if TYPE_CHECKING:
    from poolwise.result.inference import Inference

# More refits than this share that did not come to rest are worth a warning.
UNSETTLED = 0.01


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates from simulated responses.

    Parameters
    ----------
    draws : DataFrame (replicates, parameters)
        One row a replicate; a correlation is NaN where an sd is 0.
    estimate : Series
        The fit that was simulated from.
    singular : float
        Share of replicates whose fit is singular.
    converged : float
        Share of replicates whose optimiser came to rest.
    seed : int
        What reproduces the draws.
    """

    draws: pd.DataFrame
    estimate: pd.Series
    singular: float
    converged: float
    seed: int

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """Percentile intervals; columns parameter, estimate, lower, upper."""
        tail = (1 - tables.check_level(level)) / 2
        bounds = self.draws.quantile([tail, 1 - tail])
        table = tables.interval_frame(list(self.draws.columns), self.estimate, bounds.iloc[0], bounds.iloc[1])
        table.attrs = {
            "method": "bootstrap",
            "n_boot": len(self.draws),
            "singular": self.singular,
            "converged": self.converged,
            "seed": self.seed,
        }
        return table

    def __repr__(self) -> str:
        table = self.confint().to_string(index=False, float_format="%.4g")
        return (
            f"Parametric bootstrap of {len(self.draws)} replicates, seed {self.seed}; singular refits "
            f"{self.singular:.0%}, converged {self.converged:.1%}\n95 % percentile intervals\n{table}"
        )


def bootstrap(
    fit: "Inference",
    n_boot: int,
    *,
    seed: int | None,
    workers: int | None,
    progress: bool,
    client: Client | None = None,
) -> Bootstrap:
    """Simulate from a fit and refit, see :meth:`.Inference.bootstrap`."""
    from rich.console import Console
    from rich.progress import Progress

    if not isinstance(n_boot, int | np.integer) or n_boot < 2:
        raise ArgumentError(f"n_boot must be a whole number of at least 2; got {n_boot!r}")
    check_workers(workers, client)
    seed = tables.choose_seed(seed)
    power = 0.0 if fit.penalty is None else BOUNDARY_AVOIDING
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("bootstrap", total=n_boot)
        found = parametric_bootstrap(
            fit.design,
            fit.sufficient,
            fit.optimum,
            reml=fit.reml,
            power=power,
            n_boot=int(n_boot),
            seed=seed,
            workers=workers,
            client=client,
            report=lambda done: bar.update(task, completed=done),
        )
    basis = fit.sufficient.basis
    draws = values(fit._targets, basis, found.b, found.Lambda, found.s)
    diagonal = np.einsum("rkk->rk", found.Lambda) / basis.z_scale
    singular = float((diagonal < SINGULAR_TOLERANCE).any(axis=1).mean())
    converged = float(found.converged.mean())
    if converged < 1 - UNSETTLED:
        warn(
            f"{1 - converged:.1%} of the bootstrap's refits did not come to rest; their estimates are among the "
            "draws, and the intervals may be rough",
            ConvergenceWarning,
            stacklevel=3,
        )
    frame = pd.DataFrame(draws, columns=[target.name for target in fit._targets])
    return Bootstrap(frame, fit._estimates, singular, converged, seed)

"""Fits of many simulated responses of one model, in this process or in several."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from poolwise.algebra.crossproducts import Array
from poolwise.errors import ConvergenceWarning, FitError, OtherFormWarning, UncentredSlopeWarning
from poolwise.model import Model
from poolwise.validate.simulate import Parameters, posterior_parameters


@dataclass(frozen=True, eq=False)
class Fitted:
    """What is kept of one fit.

    Parameters
    ----------
    parameters : Parameters
        Thinned draws.
    ess : float
        Smallest bulk effective sample size of a parameter.
    divergences : int
        Divergent draws.
    form : str
        As the fit says it, without the figures of that fit.
    """

    parameters: Parameters
    ess: float
    divergences: int
    form: str


@dataclass(frozen=True, eq=False)
class Runs:
    """The same model of many responses.

    Parameters
    ----------
    model : Model
        As :func:`travelling` makes it.
    responses : ndarray (R, n)
        One a fit.
    seeds : list of SeedSequence
        One a fit, so that nothing depends on who makes it.
    draws, tune, thin : int
        Of the one chain a fit.
    form : str
        Form of the posterior.
    """

    model: Model
    responses: Array
    seeds: list[np.random.SeedSequence]
    draws: int
    tune: int
    thin: int
    form: str

    @property
    def kept(self) -> int:
        """Draws that are left after thinning."""
        return self.draws // self.thin

    def fit(self, r: int) -> Fitted | None:
        """One fit; None where it stops."""
        seed = int(self.seeds[r].generate_state(1)[0])
        again = self.model.with_response(self.responses[r])
        with warnings.catch_warnings():
            # One short chain is not judged by what several long ones have to reach; effective sizes are kept.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UncentredSlopeWarning)
            # Each fit says its form, and the result counts them.
            warnings.simplefilter("ignore", OtherFormWarning)
            try:
                fit = again.fit(self.draws, self.tune, 1, seed, self.form, progress=False, cores=1)
            except FitError:
                return None
        ess = float(fit.convergence.table["ess_bulk"].min())
        form = fit.form.split(",")[0].split(" (")[0]
        return Fitted(posterior_parameters(fit, self.thin), ess, fit.convergence.divergences, form)


def travelling(model: Model) -> Model:
    """The model without the functions that evaluate new rows, which cannot go to another process."""
    design = model.design
    factors = tuple(replace(factor, parts=()) for factor in design.factors)
    return model.with_design(replace(design, common=replace(design.common, _again=np.asarray), factors=factors))

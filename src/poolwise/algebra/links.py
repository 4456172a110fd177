"""Links between the mean of a response and the linear predictor, and their inverses."""

from collections.abc import Callable, Mapping

import numpy as np
import scipy.special
from numpy.typing import NDArray

Array = NDArray[np.float64]

LINK: Mapping[str, Callable[[Array], Array]] = {
    "identity": lambda mu: mu,
    "log": np.log,
    "logit": scipy.special.logit,
    "probit": scipy.special.ndtri,
    "cloglog": lambda mu: np.log(-np.log1p(-mu)),
    "inverse": lambda mu: 1 / mu,
    "inverse_squared": lambda mu: 1 / mu**2,
}

INVERSE: Mapping[str, Callable[[Array], Array]] = {
    "identity": lambda eta: eta,
    "log": np.exp,
    "logit": scipy.special.expit,
    "probit": scipy.special.ndtr,
    "cloglog": lambda eta: -np.expm1(-np.exp(eta)),
    "inverse": lambda eta: 1 / eta,
    "inverse_squared": lambda eta: 1 / np.sqrt(eta),
}

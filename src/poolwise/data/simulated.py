"""Simulated data with the truth beside them."""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from poolwise.errors import ArgumentError

# Patients fall into five strata of risk, standardised.
STRATA = np.array([-1.5, -0.75, 0.0, 0.75, 1.5])
RISK = 0.6  # log odds of dying per unit of risk
MEAN_LOG_SIZE, SD_LOG_SIZE = 3.6, 1.15
CENTRE = 4.0  # log patients of the hospital that has the level itself, and the sd tau itself
SICKER = 0.15  # how much a unit of log patients lowers the mean risk of a hospital's patients
LEVEL = -1.75
LARGEST = 5000


def hospital_mortality(
    hospitals: int = 200,
    slope: float = -0.2,
    tau: float = 0.22,
    *,
    tau_slope: float = -0.15,
    rows: Literal["strata", "patients"] = "strata",
    seed: int = 1,
) -> pd.DataFrame:
    """Simulated deaths of patients in hospitals, where small hospitals are worse: shrinkage to one mean hides it.

    Parameters
    ----------
    hospitals : int, default 200
        Number of hospitals; their numbers of patients are lognormal with median 37.
    slope : float, default -0.2
        Change of a hospital's log odds by a unit of log patients; 0 for quality that does not depend on size.
    tau : float, default 0.22
        Standard deviation of the log odds between hospitals of 55 patients.
    tau_slope : float, default -0.15
        Change of log tau by a unit of log patients; 0 for the same spread at every size.
    rows : {"strata", "patients"}
        A row a hospital and stratum of risk, with counts, or a row a patient. The same patients under one seed.
    seed : int, default 1
        The same seed gives the same table.

    Returns
    -------
    DataFrame
        Columns hospital, log_n (log patients of the hospital), risk, then died and patients by stratum, or died (0 or
        1) by patient; and the truth: alpha, the hospital's log odds at risk 0, and probability, the row's chance to
        die. ``attrs["truth"]`` has the parameters.

    Raises
    ------
    ArgumentError
        For fewer than 2 hospitals, a negative tau, or rows of another name.

    Notes
    -----
    With n_j patients in hospital j and v_j = log n_j - 4,

        alpha_j ~ N(-1.75 + slope v_j, (tau exp(tau_slope v_j))^2)
        died_ij ~ Bernoulli(logit^-1(alpha_j + 0.6 risk_ij))

    and risk_ij in five strata, drawn with weights proportional to exp(-0.15 (log n_j - 3.6) risk): patients of small
    hospitals are a little sicker.

    References
    ----------
    George, Rockova, Rosenbaum, Satopaa & Silber (2017), J. Am. Stat. Assoc. 112(519), 933-947, for the question;
    Silber et al. (2010), Health Services Research 45(5p1), 1148-1167. The numbers are invented.

    Examples
    --------
    >>> table = hospital_mortality(hospitals=50)
    >>> list(table.columns)
    ['hospital', 'log_n', 'risk', 'died', 'patients', 'alpha', 'probability']
    >>> int(table["patients"].sum()) == len(hospital_mortality(hospitals=50, rows="patients"))
    True
    """
    if not isinstance(hospitals, int | np.integer) or isinstance(hospitals, bool) or hospitals < 2:
        raise ArgumentError(f"hospitals must be a whole number of at least 2; got {hospitals!r}")
    if not tau >= 0:
        raise ArgumentError(f"tau is a standard deviation, at least 0; got {tau!r}")
    if rows not in ("strata", "patients"):
        raise ArgumentError(f"rows must be 'strata' or 'patients'; got {rows!r}")
    rng = np.random.default_rng(seed)
    sizes = np.clip(np.round(np.exp(rng.normal(MEAN_LOG_SIZE, SD_LOG_SIZE, hospitals))), 1, LARGEST).astype(int)
    log_n = np.log(sizes)
    v = log_n - CENTRE
    alpha = LEVEL + slope * v + tau * np.exp(tau_slope * v) * rng.standard_normal(hospitals)
    weights = np.exp(-SICKER * np.outer(log_n - MEAN_LOG_SIZE, STRATA))
    patients = rng.multinomial(sizes, weights / weights.sum(axis=1, keepdims=True))
    probability = expit(alpha[:, None] + RISK * STRATA)
    died = rng.binomial(patients, probability)
    labels = [f"h{j + 1:0{len(str(hospitals))}d}" for j in range(hospitals)]
    table = pd.DataFrame(
        {
            "hospital": pd.Categorical(np.repeat(labels, len(STRATA)), labels),
            "log_n": np.repeat(log_n, len(STRATA)),
            "risk": np.tile(STRATA, hospitals),
            "died": died.ravel(),
            "patients": patients.ravel(),
            "alpha": np.repeat(alpha, len(STRATA)),
            "probability": probability.ravel(),
        }
    )
    table = table[table["patients"] > 0].reset_index(drop=True)
    if rows == "patients":
        counts = table["patients"].to_numpy()
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        deaths = np.repeat(table["died"].to_numpy(), counts)
        table = table.loc[np.repeat(table.index, counts)].drop(columns="patients").reset_index(drop=True)
        table["died"] = (place < deaths).astype(int)
    table.attrs["truth"] = {"slope": slope, "tau": tau, "tau_slope": tau_slope, "risk": RISK, "level": LEVEL}
    return table

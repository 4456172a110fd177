"""The plots, for use one by one."""

from poolwise.plot.calibration import calibration_frame, plot_calibration
from poolwise.plot.estimates import estimates_frame, plot_estimates
from poolwise.plot.prior import plot_prior, prior_frame
from poolwise.plot.prior_predictive import plot_prior_predictive, prior_predictive_frame

__all__ = [
    "calibration_frame",
    "estimates_frame",
    "plot_calibration",
    "plot_estimates",
    "plot_prior",
    "plot_prior_predictive",
    "prior_frame",
    "prior_predictive_frame",
]

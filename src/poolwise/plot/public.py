"""The plots, for use one by one."""

from poolwise.plot.arrows import arrows_frame, plot_arrows
from poolwise.plot.calibration import calibration_frame, plot_calibration
from poolwise.plot.estimates import estimates_frame, plot_estimates
from poolwise.plot.lines import lines_frame, plot_lines
from poolwise.plot.prior import plot_prior, prior_frame
from poolwise.plot.prior_predictive import plot_prior_predictive, prior_predictive_frame

__all__ = [
    "arrows_frame",
    "calibration_frame",
    "estimates_frame",
    "lines_frame",
    "plot_arrows",
    "plot_calibration",
    "plot_estimates",
    "plot_lines",
    "plot_prior",
    "plot_prior_predictive",
    "prior_frame",
    "prior_predictive_frame",
]

"""The plots, for use one by one."""

from poolwise.plot.animation import animation_frame
from poolwise.plot.arrows import arrows_frame, plot_arrows
from poolwise.plot.calibration import calibration_frame, plot_calibration
from poolwise.plot.coverage import coverage_frame, plot_coverage
from poolwise.plot.estimates import estimates_frame, plot_estimates
from poolwise.plot.finding import plot_finding
from poolwise.plot.forest import forest_frame, plot_forest
from poolwise.plot.group_sd import group_sd_frame, plot_group_sds
from poolwise.plot.lines import lines_frame, plot_lines
from poolwise.plot.pooling_factor import plot_pooling, pooling_frame
from poolwise.plot.predictive import plot_posterior_predictive, predictive_tree
from poolwise.plot.prior import plot_prior, prior_frame
from poolwise.plot.prior_predictive import plot_prior_predictive, prior_predictive_frame
from poolwise.plot.remedies import plot_remedies, remedies_frame
from poolwise.plot.scores import plot_scores, scores_frame
from poolwise.plot.sizes import plot_sizes, sizes_frame
from poolwise.plot.updating import plot_prior_to_posterior, prior_to_posterior_frame

__all__ = [
    "animation_frame",
    "arrows_frame",
    "calibration_frame",
    "coverage_frame",
    "estimates_frame",
    "forest_frame",
    "group_sd_frame",
    "lines_frame",
    "plot_arrows",
    "plot_calibration",
    "plot_coverage",
    "plot_estimates",
    "plot_finding",
    "plot_forest",
    "plot_group_sds",
    "plot_lines",
    "plot_pooling",
    "plot_posterior_predictive",
    "plot_prior",
    "plot_prior_predictive",
    "plot_prior_to_posterior",
    "plot_remedies",
    "plot_scores",
    "plot_sizes",
    "pooling_frame",
    "predictive_tree",
    "prior_frame",
    "prior_predictive_frame",
    "prior_to_posterior_frame",
    "remedies_frame",
    "scores_frame",
    "sizes_frame",
]

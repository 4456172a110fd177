"""Does the software do what it says? Simulation-based calibration of any model, coverage of intervals on a design."""

from poolwise.validate.calibration import Calibration, simulation_based_calibration
from poolwise.validate.coverage import DesignCoverage, design_coverage

__all__ = ["Calibration", "DesignCoverage", "design_coverage", "simulation_based_calibration"]

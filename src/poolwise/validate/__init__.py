"""Does the software do what it says? Simulation-based calibration of any model."""

from poolwise.validate.calibration import Calibration, simulation_based_calibration

__all__ = ["Calibration", "simulation_based_calibration"]

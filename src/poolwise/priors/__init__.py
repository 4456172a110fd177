"""Priors as data: distributions, presets, scaling rules. Nothing here imports PyMC or evaluates anything."""

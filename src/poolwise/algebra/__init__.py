"""The pooling algebra: sums instead of rows, group-specific effects integrated out.

Nothing here knows of formulas, priors or PyMC: arrays go in, numbers come out.
"""

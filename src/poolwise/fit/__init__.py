"""Estimation: the frequentist optimum and the Bayesian sampler."""

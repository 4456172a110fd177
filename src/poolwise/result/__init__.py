"""Fitted models: one protocol (coef, predict, rmse, intervals) over frequentist and Bayesian estimates."""

"""Several grouping factors agree with brms; what the generative model serves."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

import poolwise as pw
from conftest import reference
from poolwise import names

# Standard errors of the difference that are allowed.
MCSE_LIMIT = 4.0


def test_crossed_factors_agree_with_brms():
    model = pw.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", pw.load_dataset("penicillin"), priors="brms")
    fit = model.fit(draws=4000, seed=3, progress=False)
    brms = reference("Penicillin__crossed.brms")["params"]
    ours = {"b_Intercept": "Intercept", "sigma": "sigma"}
    ours |= {f"sd_{factor}__Intercept": names.group_sd("Intercept", factor) for factor in ("plate", "sample")}
    for theirs, name in ours.items():
        draws = fit.data["posterior"][name].to_numpy()
        mcse = draws.std() / np.sqrt(array_stats.ess(draws, chain_axis=0, draw_axis=1))
        limit = MCSE_LIMIT * np.hypot(mcse, brms[theirs]["mcse_mean"])
        assert abs(draws.mean() - brms[theirs]["mean"]) < limit, theirs
    assert set(fit.coef(factor="sample")["group"]) == set("ABCDEF")


def test_nested_and_crossed_factors_compile():
    pastes = pw.load_dataset("pastes")
    nested = pw.Model("strength ~ 1 + (1 | batch/cask)", pastes)
    assert [factor.name for factor in nested.design.factors] == ["batch", "batch:cask"]
    assert [factor.J for factor in nested.design.factors] == [10, 30]
    assert {"1|batch", "1|batch:cask", "1|batch:cask_sigma"} <= set(nested.pymc.named_vars)
    with pytest.raises(pw.PoolwiseError, match=r"serves one grouping factor, this model has 2 \(batch, batch:cask\)"):
        nested.sampler  # noqa: B018


def test_prior_predictive_draws_the_response(bounce):
    model = pw.Model("bounce_time ~ std_age + (1 | county)", bounce)
    tree = model.prior_predictive(draws=200, seed=1)
    drawn = tree["prior_predictive"]["bounce_time"].to_numpy()
    assert drawn.shape == (1, 200, 613)
    # The prior of the intercept alone has sd 2.5 sd(y) around the mean of y.
    assert abs(drawn.mean() - bounce["bounce_time"].mean()) < 5 * 2.5 * bounce["bounce_time"].std() / np.sqrt(200)


def test_an_improper_prior_has_no_predictions(bounce):
    model = pw.Model("bounce_time ~ std_age + (1 | county)", bounce, priors="flat")
    with pytest.raises(pw.PoolwiseError, match="improper"):
        model.prior_predictive(draws=10, seed=1)

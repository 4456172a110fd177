"""The model behind a fit: refits of what it gives are the fit, to 1e-6, two optimisations' rounding."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.again import model_of, row_weights, with_columns
from poolwise.check.between_within import slopes_between_within
from poolwise.check.shrinkage_audit import audit_shrinkage
from poolwise.errors import ArgumentError


def table(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {"g": np.repeat(list("abcdefgh"), 6), "h": np.tile(list("uvw"), 16), "w": rng.gamma(5, size=48)}
    )
    data["n"], data["x"] = rng.integers(5, 30, 48), rng.normal(size=48)
    effect = dict(zip("abcdefgh", rng.normal(size=8), strict=True))
    data["y"] = data["x"] + data["g"].map(effect) + rng.normal(size=48)
    data["k"] = rng.binomial(data["n"], 1 / (1 + np.exp(-data["y"])))
    data["share"] = data["k"] / data["n"]
    return data


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ x + (x | g)", {"weights": "w"}),
        ("weighted(y, n) ~ x + (1 | g)", {}),
        ("y ~ x + offset(w) + (1 | g) + (1 | h)", {}),
        ("p(k, n) ~ x + (1 | g)", {"family": "binomial", "link": "probit"}),
        ("share ~ x + (1 | g)", {"family": "binomial", "weights": "n"}),
    ],
)
def test_the_model_of_a_fit_gives_the_fit(formula, options):
    fit = pw.Model(formula, table(), **options).fit_frequentist()
    again = model_of(fit).fit_frequentist()
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-6)
    assert again.fixef.to_numpy() == pytest.approx(fit.fixef.to_numpy(), rel=1e-4)
    assert again.design.family.link == fit.design.family.link
    wider = with_columns(model_of(fit), {"z": np.arange(48.0)})
    assert wider.design.coefficient_names[-1] == "z" and wider.design.n == 48
    weights = row_weights(fit.design)
    assert (weights == (table()["n"] if "n" in formula or options.get("weights") == "n" else 1)).all()


def test_priors_come_along():
    called = {"x": pw.Prior("Normal", mu=0, sigma=0.25)}
    model = pw.Model("y ~ x + (1 | g)", table(), priors=called)
    wider = with_columns(model, {"z": np.arange(48.0)})
    assert wider.specification.priors["x"].params["sigma"] == 0.25
    other = with_columns(model.with_priors("pc"), {"z": np.arange(48.0)})
    assert other.specification.preset.name == "pc"
    fit = model.fit(seed=1, progress=False)
    assert model_of(fit).specification.priors == model.specification.priors
    assert (
        audit_shrinkage(fit, dict(zip("abcdefgh", range(8), strict=True)), draws=200).comparison["elpd"].notna().all()
    )


def test_joint_priors_need_the_model():
    model = pw.Model("y ~ x + (1 | g)", table(), priors="icc_beta")
    fit = model.fit(seed=1, progress=False)
    with pytest.raises(ArgumentError, match="hand over the"):
        model_of(fit)
    assert model_of(fit, "pc").specification.preset.name == "pc" and model_of(model) is model
    with pytest.raises(ArgumentError, match=r"a pw\.Model or one of its fits"):
        model_of("y ~ x")


def test_several_factors():
    found = slopes_between_within(pw.Model("y ~ x + (1 | g) + (1 | h)", table()), "g")
    assert found["df"].iloc[0] == 6 and np.isfinite(found["p"].iloc[0])

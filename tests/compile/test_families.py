"""Every family: poolwise's generative model and Bambi's own give the same log density of the response.

Both are evaluated at the same values of the linear predictor's coefficients and of the family's own parameters, so
they agree to rounding; 1e-8 relative leaves room for Bambi's clipping of probabilities at machine precision.
"""

import bambi as bmb
import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.spec.families import FAMILIES, family_of

N, GROUPS = 60, 6
OWN = {"sigma": 0.7, "alpha": 1.9, "kappa": 3.1, "psi": 0.8, "nu": 4.2, "b": 0.6, "lam": 2.3}
# The linear predictor has to be positive under the inverse links.
COEFFICIENTS = {"inverse": (0.9, 0.1), "inverse_squared": (0.9, 0.1)}


def response(family: str, rng: np.random.Generator) -> np.ndarray:
    draws = {
        "real": lambda: rng.normal(1, 1, N),
        "positive": lambda: rng.gamma(2, 1, N),
        "nonnegative": lambda: rng.gamma(2, 1, N) * (rng.random(N) < 0.8),
        "unit": lambda: rng.beta(2, 3, N),
        "circle": lambda: rng.vonmises(0, 2, N),
        "count": lambda: rng.poisson(2, N),
        "binary": lambda: rng.integers(0, 2, N),
        "trials": lambda: rng.integers(0, 5, N),
        "levels": lambda: rng.integers(0, 4, N),
    }
    return draws[family_of(family).holds]()


@pytest.fixture
def table(request) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    y: object = response(request.param, rng)
    if family_of(request.param).holds == "levels":
        y = pd.Categorical(y, ordered=True)
    return pd.DataFrame(
        {
            "y": y,
            "n": np.full(N, 5),
            "x": rng.normal(0, 0.5, N),
            "g": rng.permutation(np.arange(N) % GROUPS).astype(str),
        }
    )


@pytest.mark.parametrize(
    ("table", "name"), [(name, name) for name in FAMILIES if not family_of(name).categorical], indirect=["table"]
)
def test_density_of_the_response_is_bambis(table, name):
    family = family_of(name)
    left = "p(y, n)" if family.holds == "trials" else "y"
    intercept, slope = COEFFICIENTS.get(family.link, (0.3, 0.4))
    model = pw.Model(f"{left} ~ x + (1|g)", table, family=name)
    ours = model.pymc
    peer = bmb.Model(f"{left} ~ {'' if family.has_intercept else '0 + '}x", table[["y", "n", "x"]], family=name)
    peer.build()
    theirs = peer.backend.model
    thresholds = np.array([-1.0, 0.2, 1.1])

    def density(pymc, values):
        names = {variable.name for variable in pymc.free_RVs}
        found = {key: value for key, value in values.items() if key in names}
        assert names == set(found)
        point = {}
        for variable in pymc.free_RVs:
            transform = pymc.rvs_to_transforms[variable]
            value = np.asarray(found[variable.name], dtype=float)
            if transform is not None:
                value = transform.forward(value, *variable.owner.inputs).eval()
            point[pymc.rvs_to_values[variable].name] = value
        return pymc.compile_logp(vars=list(pymc.observed_RVs), sum=True, mode="FAST_COMPILE")(point)

    values = {**OWN, "x": slope, "threshold": thresholds, "g__z": np.zeros((GROUPS, 1)), "1|g_sigma": 0.5}
    own = density(ours, {**values, "Intercept_centred": intercept})
    # Bambi's intercept stands at the mean of x, as ours; ordinal models have none and centre nothing.
    bambis = density(theirs, {**values, "Intercept": intercept})
    assert own == pytest.approx(bambis, rel=1e-8)

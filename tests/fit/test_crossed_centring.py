"""Several grouping factors do not mind where a predictor's zero lies either, and take the penalty."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw

FORMULA = "y ~ x + (x | g) + (1 | h)"


def table(shift: float) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    g, h, x = rng.integers(0, 10, 200), rng.integers(0, 6, 200), rng.normal(size=200)
    u, v = rng.normal(size=(10, 2)), rng.normal(size=6)
    y = 1 + x + u[g, 0] + 0.7 * u[g, 1] * x + 0.5 * v[h] + rng.normal(size=200)
    return pd.DataFrame({"y": y, "x": x + shift, "g": g.astype(str), "h": h.astype(str)})


@pytest.mark.parametrize("shift", [20.0, 2000.0])
def test_a_shift_moves_only_the_intercepts(shift):
    one, two = (pw.Model(FORMULA, table(by)).fit_frequentist() for by in (0.0, shift))
    assert two.criterion == pytest.approx(one.criterion, rel=1e-9)
    assert two.fixef["x"] == pytest.approx(one.fixef["x"], rel=1e-6)
    slopes = one.ranef["g"]["x"].to_numpy()
    np.testing.assert_allclose(two.ranef["g"]["x"], slopes, atol=1e-5)
    np.testing.assert_allclose(two.ranef["h"]["Intercept"], one.ranef["h"]["Intercept"], atol=1e-5)
    expected = one.ranef["g"]["Intercept"] - shift * slopes
    np.testing.assert_allclose(two.ranef["g"]["Intercept"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(two.fitted, one.fitted, atol=1e-5)


def test_the_penalty_moves_a_singular_fit_off_the_boundary():
    data = pw.load_dataset("dyestuff2")
    model = pw.Model("Yield ~ 1 + (1 | Batch) + (1 | place)", data.assign(place=data.groupby("Batch").cumcount()))
    plain, penalised = model.fit_frequentist(), model.fit_frequentist(penalty="boundary_avoiding")
    assert plain.is_singular and not penalised.is_singular
    assert penalised.converged and "penalty" in penalised.method
    assert penalised.criterion > plain.criterion

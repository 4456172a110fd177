"""Coding of a factor inside a block.

REML of correlated effects is the same under every coding, to 1e-6 of the criterion, two optimisers' rounding; priors
and uncorrelated effects are not. Contrasts of well-determined groups move by Monte Carlo error only: 2,000 draws give a
mean an error of 0.03 posterior sds, and the largest of 60 differences stays below 0.25.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.check.coding import coding_invariance
from poolwise.errors import FitError


def cells(n: int, sigma: float, J: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g, f = np.repeat(np.arange(J), 3 * n), np.tile(np.arange(3), n * J)
    u = 2 * rng.normal(size=(J, 3))
    y = u[g, f] + sigma * rng.normal(size=len(g))
    return pd.DataFrame({"g": g.astype(str), "f": np.array(list("uvw"))[f], "y": y, "x": rng.normal(size=len(g))})


def test_correlated_effects_of_many_rows_do_not_mind():
    found = coding_invariance(pw.Model("y ~ f + x + (f | g)", cells(10, 0.5)), draws=500)
    assert found.codings["coding"].tolist() == ["treatment", "sum", "cell means"]
    assert np.ptp(found.codings["criterion"]) < 1e-6 * abs(found.codings["criterion"].iloc[0])
    assert found.findings == [] and found.codings["shift"].max() < 0.25
    # Ten rows a cell: a group's contrast is nearly the difference of its cell means.
    data = cells(10, 0.5)
    means = data.pivot_table("y", "g", "f")
    one = found.contrasts.query("coding == 'treatment' and level == 'w'").set_index("group")["estimate"]
    assert one[means.index].to_numpy() == pytest.approx((means["w"] - means["u"]).to_numpy(), abs=0.15)


def test_uncorrelated_effects_mind():
    found = coding_invariance(pw.Model("y ~ f + (f || g)", cells(1, 2.0)), draws=300)
    (finding,) = found.findings
    assert finding.code == "coding_matters" and finding.value > finding.threshold == 0.5
    assert np.ptp(found.codings["criterion"]) > 0.5 and found.codings["changed"].max() > 0
    assert found.codings["formula"].tolist()[1:] == ["y ~ 1 + f + (1 + S(f) || g)", "y ~ 1 + f + (0 + f || g)"]


def test_no_factor_varies():
    with pytest.raises(FitError, match="no factor varies"):
        coding_invariance(pw.Model("y ~ f + (x | g)", cells(2, 1.0)))

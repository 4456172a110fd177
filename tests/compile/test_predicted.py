"""Formulas for further parameters: the density of every family is Bambi's, with each of its parameters predicted.

Both are evaluated at the same coefficients; 1e-8 relative leaves room for Bambi's clipping at machine precision.
"""

import bambi as bmb
import numpy as np
import pytest
from test_families import COEFFICIENTS, GROUPS, OWN, table  # noqa: F401

import poolwise as pw
from poolwise.spec.families import FAMILIES, family_of

CASES = [(name, own.name) for name in FAMILIES for own in family_of(name).auxiliaries if not own.vector]


@pytest.mark.parametrize(("table", "name", "parameter"), [(name, name, own) for name, own in CASES], indirect=["table"])
def test_density_of_the_response_is_bambis(table, name, parameter):  # noqa: F811
    family = family_of(name)
    left = "p(y, n)" if family.holds == "trials" else "y"
    intercept, slope = COEFFICIENTS.get(family.link, (0.3, 0.4))
    ours = pw.Model([f"{left} ~ x", f"{parameter} ~ x + (1|g)"], table, family=name).pymc
    further = bmb.Formula(f"{left} ~ x", f"{parameter} ~ x")
    peer = bmb.Model(further, table[["y", "n", "x"]], family=name)
    peer.build()

    def density(pymc, values):
        names = {variable.name for variable in pymc.free_RVs}
        assert names <= set(values)
        point = {}
        for variable in pymc.free_RVs:
            transform = pymc.rvs_to_transforms[variable]
            value = np.asarray(values[variable.name], dtype=float)
            if transform is not None:
                value = transform.forward(value, *variable.owner.inputs).eval()
            point[pymc.rvs_to_values[variable].name] = value
        return pymc.compile_logp(vars=list(pymc.observed_RVs), sum=True, mode="FAST_COMPILE")(point)

    values = {**OWN, "x": slope, f"{parameter}_x": -0.3}
    effects = {f"{parameter}_g__z": np.zeros((GROUPS, 1)), f"{parameter}_1|g_sigma": 0.5}
    own = density(ours, {**values, **effects, "Intercept_centred": intercept, f"{parameter}_Intercept_centred": 0.6})
    bambis = density(peer.backend.model, {**values, "Intercept": intercept, f"{parameter}_Intercept": 0.6})
    assert own == pytest.approx(bambis, rel=1e-8)

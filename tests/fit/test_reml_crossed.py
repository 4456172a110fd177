"""REML and ML of crossed and nested factors agree with lme4, which was run to tight tolerances on the same data."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from conftest import REFERENCE, reference
from poolwise.algebra import schur
from poolwise.algebra.crossed_conditional import crossed_moments
from poolwise.algebra.crossed_profiled import profile_crossed
from poolwise.errors import FitError
from poolwise.fit.reml import optimise
from poolwise.fit.reml_crossed import optimise_crossed
from poolwise.spec import crossed
from poolwise.spec.crossed import crossed_sufficient, split
from poolwise.spec.sufficient import sufficient

# lme4's printed optimum is a minimum: the criterion is flat there, and agrees far better than the parameters.
CRITERION_RTOL = 1e-6
PARAMETER_RTOL = 1e-4

MODELS = {
    "Penicillin__crossed": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "Pastes__nested": ("pastes", "strength ~ 1 + (1 | batch/cask)"),
    "InstEval__crossed": ("insteval", "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"),
    "cake__treatment": ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
}
# lme4 writes the cells of a nested factor the other way round.
REVERSED = {"cask:batch": "batch:cask"}


def load(name: str) -> pd.DataFrame:
    if name == "cake":
        return pd.read_csv(REFERENCE / "cake.csv", dtype=dict.fromkeys(["replicate", "recipe", "temperature"], str))
    return pw.load_dataset(name)


class InUnits:
    """An optimum in the units of the data."""

    def __init__(self, design, collapsed, reml):
        self.design, basis, stats = design, collapsed.basis, collapsed.stats
        self.optimum = optimise_crossed(stats, collapsed.structure, reml=reml)
        at = self.optimum.at
        degrees = stats.n - stats.p if reml else stats.n
        self.criterion = at.criterion + 2 * degrees * np.log(basis.y_scale)
        if reml:
            self.criterion += 2 * np.log(np.abs(np.diag(basis.R))).sum()
        offset, matrix = basis.to_coefficients
        self.fixef = offset + matrix @ at.b
        self.vcov = at.s * matrix @ np.linalg.inv(at.A) @ matrix.T
        self.sigma = np.sqrt(at.s) * basis.y_scale
        self.theta = np.diag(self.optimum.Lambda) / basis.z_scale
        moments = crossed_moments(stats, at.b, self.optimum.Lambda * np.sqrt(at.s), at.s)
        scales = split(basis.y_scale / basis.z_scale, design)
        self.modes = [m[:, 0] * scale[0] for m, scale in zip(moments.mean, scales, strict=True)]
        self.condsd = [np.sqrt(c[:, 0, 0]) * scale[0] for c, scale in zip(moments.covariance, scales, strict=True)]


@pytest.fixture(scope="module", params=list(MODELS))
def collapsed(request):
    data, formula = MODELS[request.param]
    design = pw.Model(formula, load(data)).design
    return request.param, design, crossed_sufficient(design)


@pytest.fixture(scope="module", params=[True, False], ids=["REML", "ML"])
def pair(request, collapsed):
    name, design, rows = collapsed
    lme4 = reference(f"{name}.lme4")["REML" if request.param else "ML"]
    return InUnits(design, rows, request.param), lme4, request.param


def place(design, factor: str) -> int:
    return [f.name for f in design.factors].index(REVERSED.get(factor, factor))


def test_criterion(pair):
    fit, lme4, reml = pair
    assert fit.optimum.converged
    assert fit.criterion == pytest.approx(lme4["REMLcrit" if reml else "deviance"], rel=CRITERION_RTOL)


def test_common_effects(pair):
    fit, lme4, _ = pair
    for k, name in enumerate(fit.design.coefficient_names):
        in_r = name.replace("Intercept", "(Intercept)").replace("[", "").replace("]", "")
        se = lme4["se"][in_r]
        # An estimate near zero by chance is compared on the scale of its standard error.
        assert fit.fixef[k] == pytest.approx(lme4["fixef"][in_r], rel=PARAMETER_RTOL, abs=PARAMETER_RTOL * se)
        assert np.sqrt(fit.vcov[k, k]) == pytest.approx(se, rel=PARAMETER_RTOL)


def test_variance_components(pair):
    fit, lme4, _ = pair
    assert fit.sigma == pytest.approx(lme4["sigma"], rel=PARAMETER_RTOL)
    for name, value in lme4["theta"].items():
        f = place(fit.design, name.removesuffix(".(Intercept)"))
        assert fit.theta[f] == pytest.approx(value, rel=PARAMETER_RTOL)
    for factor, block in lme4["VarCorr"].items():
        f = place(fit.design, factor)
        assert fit.theta[f] * fit.sigma == pytest.approx(block["sd"][0], rel=PARAMETER_RTOL)


def test_group_specific_effects(pair):
    fit, lme4, _ = pair
    for factor, block in lme4["ranef"].items():
        f, column = place(fit.design, factor), block["(Intercept)"]
        labels = fit.design.factors[f].labels
        levels = [":".join(level.split(":")[::-1]) if factor in REVERSED else level for level in column["level"]]
        at = [labels.index(level) for level in levels]
        # Modes are compared on the scale of the largest: some are near zero by chance.
        scale = np.abs(column["mode"]).max()
        np.testing.assert_allclose(fit.modes[f][at], column["mode"], rtol=0, atol=PARAMETER_RTOL * scale)
        np.testing.assert_allclose(fit.condsd[f][at], column["condsd"], rtol=PARAMETER_RTOL)


@pytest.mark.parametrize("name", ["Penicillin__crossed", "Pastes__nested"])
@pytest.mark.parametrize("reml", [True, False])
def test_criterion_at_a_fixed_theta(name, reml):
    """lme4's optimum, which no optimiser of ours can blur."""
    lme4, (data, formula) = reference(f"{name}.lme4")["REML" if reml else "ML"], MODELS[name]
    design = pw.Model(formula, load(data)).design
    rows = crossed_sufficient(design)
    theta = np.empty(2)
    for label, value in lme4["theta"].items():
        theta[place(design, label.removesuffix(".(Intercept)"))] = value
    at = profile_crossed(rows.stats, np.diag(theta), reml=reml)
    units = 2 * (design.n - reml) * np.log(rows.basis.y_scale) + 2 * reml * np.log(rows.basis.R[0, 0])
    assert at.criterion + units == pytest.approx(lme4["REMLcrit" if reml else "deviance"], rel=1e-10)
    # In units of a standard error, about 1 / sqrt(second derivative), lme4's optimum is stationary.
    assert np.abs(np.diag(at.gradient)).max() < 1e-3


@pytest.mark.parametrize("name", ["Penicillin__crossed", "Pastes__nested", "cake__treatment"])
def test_the_start_does_not_matter(name):
    data, formula = MODELS[name]
    rows = crossed_sufficient(pw.Model(formula, load(data)).design)
    optimum = optimise_crossed(rows.stats, rows.structure, reml=True)
    for start in (0.02, 20.0):
        far = optimise_crossed(rows.stats, rows.structure, reml=True, start=start * np.eye(rows.structure.q))
        np.testing.assert_allclose(far.Lambda, optimum.Lambda, rtol=1e-5)


def test_a_variance_of_zero_is_found_and_left():
    """Batch means of equal size without spread: the optimum is on the boundary, whatever the start."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"a": np.repeat(np.arange(6), 20).astype(str), "b": np.tile(np.arange(10), 12).astype(str)})
    noise = rng.normal(size=120)
    frame["y"] = (
        noise - frame.assign(noise=noise).groupby("a")["noise"].transform("mean") + 2 * (frame["b"].astype(int) % 3)
    )
    rows = crossed_sufficient(pw.Model("y ~ 1 + (1 | a) + (1 | b)", frame).design)
    optimum = optimise_crossed(rows.stats, rows.structure, reml=True)
    assert optimum.Lambda[0, 0] == 0.0
    assert optimum.converged
    # On the boundary the criterion is even, its slope 0: the way back must be found from there.
    spread = frame.assign(y=frame["y"] + frame["a"].astype(int))
    rows = crossed_sufficient(pw.Model("y ~ 1 + (1 | a) + (1 | b)", spread).design)
    inside = optimise_crossed(rows.stats, rows.structure, reml=True, start=np.diag([0.0, 1.0]))
    assert inside.Lambda[0, 0] == pytest.approx(
        optimise_crossed(rows.stats, rows.structure, reml=True).Lambda[0, 0], rel=1e-5
    )
    assert inside.Lambda[0, 0] > 0.5


@pytest.mark.parametrize("formula", ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)"])
def test_one_factor_has_the_optimum_of_one_factor(formula):
    design = pw.Model(formula, pw.load_dataset("sleepstudy")).design
    rows, alone = crossed_sufficient(design), sufficient(design)
    for reml in (True, False):
        ours = optimise_crossed(rows.stats, rows.structure, reml=reml, start=np.eye(2))
        theirs = optimise(alone.stats, alone.structure, reml=reml)
        assert ours.at.criterion == pytest.approx(theirs.at.criterion, rel=1e-9)
        np.testing.assert_allclose(ours.at.s, theirs.at.s, rtol=1e-5)


def pupils(schools: int) -> pd.DataFrame:
    """Three measures of each of twenty pupils in each of eight classes of a school, sds 1, 0.7, 0.9 and 1."""
    rng = np.random.default_rng(1)
    pupil = np.repeat(np.arange(schools * 160), 3)
    classroom, school, x = pupil // 20, pupil // 160, rng.normal(size=len(pupil))
    effects = rng.normal(size=schools)[school] + 0.7 * rng.normal(size=schools * 8)[classroom]
    effects += 0.9 * rng.normal(size=schools * 160)[pupil]
    y = 1 + 0.5 * x + effects + rng.normal(size=len(pupil))
    return pd.DataFrame({"y": y, "x": x, "school": school, "room": classroom, "pupil": pupil}).astype(
        dict.fromkeys(("school", "room", "pupil"), str)
    )


def test_nested_factors_of_any_size_are_served(monkeypatch):
    formula, data = "y ~ x + (1 | school) + (1 | room) + (1 | pupil)", pupils(60)
    dense = pw.Model(formula, data).fit_frequentist()
    monkeypatch.setattr(schur, "DENSE_COLUMNS", 0)
    monkeypatch.setattr(crossed, "MOST_COLUMNS", 5)
    model = pw.Model(formula, data)
    assert crossed_sufficient(model.design).stats.storage.pattern is not None
    sparse = model.fit_frequentist()
    # Two optima of one criterion, each within the optimiser's tolerance.
    assert sparse.loglik == pytest.approx(dense.loglik, abs=1e-6)
    np.testing.assert_allclose(sparse.summary()["se"], dense.summary()["se"], rtol=1e-5)
    for name, effects in dense.ranef.items():
        np.testing.assert_allclose(sparse.ranef[name], effects, atol=1e-5)
    new = data.head(9).assign(room="another", school="7")
    # Known pupils in a school and a room they were never in: columns that no row joined.
    new = data.head(4).assign(room=["8", "9", "another", "8"], school=["7", "8", "7", "another"])
    one, other = sparse.predict(new), dense.predict(new)
    np.testing.assert_allclose(one[["lower", "upper"]], other[["lower", "upper"]], atol=1e-4)


def test_too_many_effects_for_a_dense_matrix_are_refused(monkeypatch):
    monkeypatch.setattr(crossed, "MOST_COLUMNS", 5)
    data, formula = MODELS["Penicillin__crossed"]
    design = pw.Model(formula, load(data)).design
    with pytest.raises(FitError, match=r"have 6 effects \(sample with 6\), so crossed"):
        crossed_sufficient(design)

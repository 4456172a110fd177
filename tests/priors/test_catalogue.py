"""The catalogue mirrors its peers: the numbers that Bambi, rstanarm and brms set for the same data."""

import math

import bambi
import numpy as np
import pytest

import poolwise as pw
from poolwise.compile.collapsed import log_posterior

DATA = {
    "bounce": ("bounce_time ~ std_age + (std_age | county)", "bounce_rates"),
    "sleepstudy": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "radon": ("log_radon ~ floor + log_uranium + (floor | county)", "radon"),
}


def resolved(case: str, preset: str) -> dict:
    formula, name = DATA[case]
    return pw.Model(formula, pw.load_dataset(name), priors=preset).specification.priors


@pytest.mark.parametrize("case", DATA)
def test_bambi(case):
    """Bambi itself is asked."""
    formula, name = DATA[case]
    peer = bambi.Model(formula, pw.load_dataset(name))
    peer.build()
    ours = resolved(case, "bambi_0_21")
    mean = peer.parameters["mu"]
    for term, value in {"Intercept": mean.intercept_term, **mean.common_terms}.items():
        assert ours[term].distribution == value.prior.name == "Normal"
        for argument in ("mu", "sigma"):
            expected = float(np.squeeze(value.prior.args[argument]))
            assert ours[term].params[argument] == pytest.approx(expected, rel=1e-9)
    for term, value in mean.group_specific_terms.items():
        sd = value.prior.args["sigma"]
        assert ours[f"{term}_sigma"].distribution == sd.name == "HalfNormal"
        assert ours[f"{term}_sigma"].params["sigma"] == pytest.approx(float(sd.args["sigma"]), rel=1e-9)
    sigma = peer.parameters["sigma"].prior
    assert ours["sigma"].distribution == sigma.name == "HalfStudentT"
    assert ours["sigma"].params["nu"] == sigma.args["nu"]
    assert ours["sigma"].params["sigma"] == pytest.approx(float(sigma.args["sigma"]), rel=1e-9)


# prior_summary() of rstanarm 2.21.3: intercept location and scale, slope scales, mean of the residual sd's exponential.
RSTANARM = {
    "sleepstudy": (298.507891667, 140.821892813, {"Days": 48.8915117549}, 56.3287571252),
    "bounce": (199.9773399199, 37.1478641716, {"std_age": 37.1478641716}, 14.8591456686),
    "radon": (
        1.264779237141,
        2.048387422538,
        {"floor": 5.495802237965, "log_uranium": 5.607039672031},
        0.819354969015,
    ),
}


@pytest.mark.parametrize("case", RSTANARM)
def test_rstanarm(case):
    location, scale, slopes, residual = RSTANARM[case]
    ours = resolved(case, "rstanarm")
    # prior_summary() prints twelve digits.
    assert ours["Intercept"].params["mu"] == pytest.approx(location, rel=1e-9)
    assert ours["Intercept"].params["sigma"] == pytest.approx(scale, rel=1e-9)
    for name, expected in slopes.items():
        assert dict(ours[name].params) == {"mu": 0.0, "sigma": pytest.approx(expected, rel=1e-9)}
    assert 1 / ours["sigma"].params["lam"] == pytest.approx(residual, rel=1e-9)
    decov = [prior for prior in ours.values() if prior.distribution == "Decov"]
    assert len(decov) == 2
    assert all(dict(prior.params) == {"concentration": 1.0, "shape": 1.0, "scale": 1.0} for prior in decov)


CBPP = "p(incidence, size) ~ period + (1 | herd)"


def cbpp(preset: str) -> dict:
    return pw.Model(CBPP, pw.load_dataset("cbpp"), family="binomial", priors=preset).specification.priors


def test_bambi_on_a_binomial_response():
    peer = bambi.Model(CBPP, pw.load_dataset("cbpp"), family="binomial")
    peer.build()
    ours, theirs = cbpp("bambi_0_21"), peer.parameters["p"]
    assert dict(ours["Intercept"].params) == {
        name: float(theirs.intercept_term.prior.args[name]) for name in ("mu", "sigma")
    }
    slopes = theirs.common_terms["period"].prior.args
    for k, level in enumerate("234"):
        expected = {name: pytest.approx(float(slopes[name][k]), rel=1e-9) for name in ("mu", "sigma")}
        assert dict(ours[f"period[{level}]"].params) == expected
    sd = theirs.group_specific_terms["1|herd"].prior.args["sigma"].args["sigma"]
    assert ours["1|herd_sigma"].params["sigma"] == pytest.approx(float(sd), rel=1e-9)


def test_brms_on_a_binomial_response():
    """As the prior summary in the reference says: flat slopes, Student t with 3 degrees of freedom, scale 2.5."""
    ours = cbpp("brms")
    assert ours["Intercept"] == pw.Prior("StudentT", nu=3, mu=0, sigma=2.5)
    assert ours["1|herd_sigma"] == pw.Prior("HalfStudentT", nu=3, sigma=2.5)
    assert all(ours[f"period[{level}]"].distribution == "Flat" for level in "234")


def test_pc_says_what_it_says():
    prior = resolved("sleepstudy", "pc")["1|Subject_sigma"]
    u, alpha = prior.params["u"], prior.params["alpha"]
    assert u == pytest.approx(pw.load_dataset("sleepstudy")["Reaction"].std())
    rate = -math.log(alpha) / u
    assert math.exp(-rate * u) == pytest.approx(0.05)


SCALED = ["weakly_informative", "gelman_half_t", "pc", "boundary_avoiding", "few_groups", "icc_beta", "r2d2m2"]
SCALED += ["horseshoe"]


@pytest.mark.parametrize("preset", [*SCALED, "flat"])
def test_the_density_follows_the_units(preset):
    """In units a times as large the log posterior differs by a constant, whatever the parameters."""
    data = pw.load_dataset("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    changed = data.assign(Reaction=data["Reaction"] / 1000, Days=data["Days"] * 24 + 2000)
    values = []
    for table in (data, changed):
        sampler = pw.Model(formula, table, priors=preset).sampler
        packed = sampler.pack(sampler.model)
        rng = np.random.default_rng(1)
        points = rng.normal(0, 0.5, (5, sampler.model.size))
        values.append([log_posterior(x, packed, np.zeros(len(x))) for x in points])
    differences = np.subtract(*values)
    # Cancellation of about 2,000 / 2.9 sds of Days, squared, in double precision.
    np.testing.assert_allclose(differences, differences[0], atol=1e-6)

"""A prior is whole and valid when constructed, or the message says what is allowed."""

import copy
import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from poolwise.errors import PriorError
from poolwise.priors.distributions import DISTRIBUTIONS, IMPROPER, OWN
from poolwise.priors.prior import Prior, Scaled

ARGUMENTS = {"real": 0.5, "positive": 2.0, "share": 0.25}


def example(name: str) -> Prior:
    if name == "Uniform":
        return Prior(name, lower=0, upper=2)
    return Prior(name, **{key: ARGUMENTS[domain] for key, domain in DISTRIBUTIONS[name].arguments.items()})


def test_numbers_and_rules():
    prior = Prior("Normal", sigma={"rule": "sd_y", "times": 2.5}, mu=np.float64(1))
    assert dict(prior.params) == {"mu": 1.0, "sigma": Scaled("sd_y", 2.5)}
    assert str(prior) == "Normal(mu=1, sigma=2.5 x sd_y)"
    assert str(Prior("HalfNormal", sigma={"rule": "sd_y"})) == "HalfNormal(sigma=sd_y)"


def test_equality_hash_and_repr():
    one, other = Prior("Normal", mu=0, sigma=2.5), Prior("Normal", sigma=2.5, mu=0.0)
    assert one == other
    assert len({one, other}) == 1
    assert one != Prior("Normal", mu=0, sigma=2)
    assert repr(one) == 'Prior("Normal", mu=0, sigma=2.5)'


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_repr_is_the_call(name):
    assert eval(repr(example(name)), {"Prior": Prior}) == example(name)


def test_exponential_takes_its_scale():
    assert Prior("Exponential", scale=4) == Prior("Exponential", lam=0.25)


def test_a_prior_does_not_change():
    prior = Prior("HalfNormal", sigma=1)
    with pytest.raises(AttributeError, match="does not change"):
        prior.distribution = "Normal"
    with pytest.raises(TypeError):
        prior.params["sigma"] = 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Norml", {"mu": 0, "sigma": 1}), "unknown distribution 'Norml'; did you mean 'Normal'"),
        ((3, {}), "unknown distribution 3"),
        (("Normal", {"mu": 0, "sd": 1}), "Normal has no argument 'sd'; .*'mu', 'sigma'"),
        (("Normal", {"mu": 0}), "Normal needs mu, sigma; missing: sigma"),
        (("Flat", {"mu": 0}), "Flat has no argument 'mu'; There are none"),
        (("Normal", {"mu": 0, "sigma": -1}), "Normal: sigma must be positive; got -1"),
        (("Normal", {"mu": 0, "sigma": 0}), "Normal: sigma must be positive; got 0"),
        (("Normal", {"mu": float("nan"), "sigma": 1}), "Normal: mu must be finite; got nan"),
        (("Normal", {"mu": float("inf"), "sigma": 1}), "Normal: mu must be finite; got inf"),
        (("Normal", {"mu": "0", "sigma": 1}), r"Normal: mu must be a number; got '0' \(str\)"),
        (("Normal", {"mu": True, "sigma": 1}), r"Normal: mu must be a number; got True \(bool\)"),
        (("Uniform", {"lower": 2, "upper": 1}), "Uniform needs lower < upper; got lower=2.0, upper=1.0"),
        (("Exponential", {"scale": -1}), "Exponential: scale must be a positive number; got -1"),
        (("HalfNormal", {"sigma": {"rule": "sdy"}}), "HalfNormal: sigma: unknown rule 'sdy'; did you mean 'sd_y'"),
        (("HalfNormal", {"sigma": {"rule": "sd_y", "times": -1}}), "sigma: times must be positive; got -1"),
        (("HalfNormal", {"sigma": {"times": 1}}), "sigma as a table needs 'rule' and optionally 'times'"),
        (("HalfNormal", {"sigma": {"rule": "sd_y", "plus": 1}}), "sigma as a table needs 'rule'"),
    ],
)
def test_messages(arguments, message):
    distribution, params = arguments
    with pytest.raises(PriorError, match=message):
        Prior(distribution, **params)


def test_coerce_reads_what_bambi_keeps():
    # bambi.Prior has a name and keeps its arguments as arrays of no dimension.
    bambi = SimpleNamespace(name="Normal", args={"mu": np.array(0.0), "sigma": np.array([2.0])})
    assert Prior.coerce(bambi) == Prior("Normal", mu=0, sigma=2)
    prior = Prior("Flat")
    assert Prior.coerce(prior) is prior


@pytest.mark.parametrize("value", [("Normal", 0, 1), 1.0, None])
def test_coerce_refuses_the_rest(value):
    with pytest.raises(
        PriorError,
        match=r"must be a pw.Prior, a text such as .* or a distribution of PreliZ; got .*\(" + type(value).__name__,
    ):
        Prior.coerce(value)


def test_supports():
    assert Prior("HalfNormal", sigma=1).fits("positive")
    assert Prior("Uniform", lower=0, upper=5).fits("positive")
    assert not Prior("Uniform", lower=-1, upper=5).fits("positive")
    assert not Prior("Normal", mu=0, sigma=1).fits("positive")
    assert Prior("Normal", mu=0, sigma=1).fits("real")
    assert Prior("LKJ", eta=1).fits("correlation")
    assert not Prior("LKJ", eta=1).fits("real")
    assert not Prior("Normal", mu=0, sigma=1).fits("correlation")


def test_lists_of_names_are_distributions():
    assert set(IMPROPER) | set(OWN) <= set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_copies_and_pickles(name):
    prior = example(name)
    assert copy.deepcopy(prior) == prior
    assert pickle.loads(pickle.dumps(prior)) == prior


@pytest.mark.parametrize(
    ("value", "message"),
    [({"rule": ["sd_y"]}, r"unknown rule \['sd_y'\]"), (10**400, "must be finite; got an integer beyond 1e308")],
    ids=["rule", "integer"],
)
def test_odd_values_from_a_file_have_a_message_too(value, message):
    with pytest.raises(PriorError, match=message):
        Prior("HalfNormal", sigma=value)


def preliz_like(name: str, **numbers):
    """As PreliZ makes them: a class a distribution, its arguments as attributes, None until they are set."""
    return type(name, (SimpleNamespace,), {"__module__": "preliz.distributions"})(**numbers)


def test_distributions_of_preliz_are_priors():
    # Gamma(mu=2, sigma=1) of PreliZ knows alpha and beta as well.
    gamma = preliz_like("Gamma", mu=2.0, sigma=1.0, alpha=np.float64(4.0), beta=np.float64(2.0))
    assert Prior.coerce(gamma) == Prior("Gamma", alpha=4, beta=2)
    with pytest.raises(PriorError, match="no number for sigma"):
        Prior.coerce(preliz_like("Normal", mu=0.0, sigma=None))
    with pytest.raises(PriorError, match="unknown distribution 'Kumaraswamy'"):
        Prior.coerce(preliz_like("Kumaraswamy", a=1.0, b=1.0))


def test_priors_become_distributions_of_preliz(monkeypatch):
    made = ModuleType("preliz")
    made.HalfNormal = lambda sigma: preliz_like("HalfNormal", sigma=sigma)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "preliz", made)
    assert Prior.coerce(Prior("HalfNormal", sigma=2).to_preliz()) == Prior("HalfNormal", sigma=2)
    with pytest.raises(PriorError, match="no distribution 'PC'"):
        Prior("PC", u=1, alpha=0.05).to_preliz()
    with pytest.raises(PriorError, match="follows the data"):
        Prior("HalfNormal", sigma={"rule": "sd_y"}).to_preliz()

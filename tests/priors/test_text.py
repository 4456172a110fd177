"""Priors as text: what tables show is read back, nothing is evaluated."""

import pytest

import poolwise as pw
from poolwise.priors.distributions import DISTRIBUTIONS
from poolwise.priors.prior import Prior


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_what_is_shown_is_read_back(name):
    arguments = dict.fromkeys(DISTRIBUTIONS[name].arguments, 0.5) | ({"upper": 2} if name == "Uniform" else {})
    prior = Prior(name, **arguments)
    assert Prior.coerce(str(prior)) == prior
    assert Prior.coerce(f"{name}({', '.join(map(str, arguments.values()))})") == prior


def test_rules_and_blanks():
    prior = Prior("Normal", mu=0, sigma={"rule": "sd_y", "times": 2.5})
    for text in (str(prior), " Normal ( 0 ,sigma = 2.5  x  sd_y ) ", "Normal(-0, +2.5e0 x sd_y)"):
        assert Prior.coerce(text) == prior
    assert Prior.coerce("HalfNormal(sd_y)") == Prior("HalfNormal", sigma={"rule": "sd_y"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weakly_informative", r"'weakly_informative' is not of the form DISTRIBUTION\(argument=number, ...\)"),
        ("Norml(0, 1)", "unknown distribution 'Norml'; did you mean 'Normal'"),
        ("Normal(0)", "Normal needs mu, sigma; missing: sigma"),
        ("Normal(0, 1, 2)", "Normal takes mu, sigma"),
        ("Normal(sigma=1, 0)", "'0' has no name and follows one that has; name it too"),
        ("Normal(0, mu=1)", "gives mu twice"),
        ("Normal(0, 1e)", "sigma is '1e', neither a number nor a rule; a rule is written 'sigma=2.5 x sd_y'"),
        ("Normal(0, 2 x __import__)", "neither a number nor a rule|unknown rule"),
        ("Normal(0, open('x'))", "is not of the form"),
        ("Normal(0, -1)", "sigma must be positive"),
        ("Normal(0, nan)", "sigma must be finite"),
    ],
)
def test_what_is_no_prior_is_refused_in_words(text, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        Prior.coerce(text)


def test_a_model_takes_them(bounce):
    data = bounce.rename(columns={"std_age": "my age"})
    formula = "bounce_time ~ `my age` + (`my age` | county)"
    priors = {"`my age`": "Normal(0, 1)", "`my age`|county_sigma": "HalfNormal(sigma=3)", "sigma": "Exponential(0.1)"}
    table = pw.Model(formula, data, priors=priors).priors.set_index("parameter")
    called = table.loc[table["source"] == "call", "distribution"].to_dict()
    assert called == {
        "my age": "Normal(mu=0, sigma=1)",
        "my age|county_sigma": "HalfNormal(sigma=3)",
        "sigma": "Exponential(lam=0.1)",
    }
    with pytest.raises(pw.PoolwiseError, match="no parameter 'your age' in this model; did you mean 'my age'"):
        pw.Model(formula, data, priors={"your age": "Normal(0, 1)"})
    with pytest.raises(pw.PoolwiseError, match=r"must be Normal\(mu=0, sigma=<a prior>\)"):
        pw.Model(formula, data, priors={"1|county": "HalfNormal(3)"})

"""The model in mathematics: well-formed MathML, LaTeX that closes, and the symbols of the design."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.report.mathematics import model_equations


def equations(formula, data, family="gaussian", **options):
    model = pw.Model(formula, data, family, **options)
    return model, model_equations(model.design, model.specification.resolved)


def words(line) -> str:
    return "".join(ElementTree.fromstring(line.block).itertext())


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {"x": rng.normal(size=n), "z<&>": rng.normal(size=n), "g": np.arange(n) % 8, "h": np.arange(n) % 5}
    )
    frame["y"], frame["w"], frame["k"] = rng.normal(size=n), 2.0, rng.poisson(2, n)
    frame["half"] = np.where(frame["g"] > 3, "upper", "lower")
    return frame.assign(level=pd.Categorical(rng.choice(list("abc"), n), ordered=True))


CASES = [
    ("y ~ x + (x | g)", "gaussian", {}),
    ("y ~ x + (x || g) + (1 | h)", "gaussian", {}),
    ("y ~ 0 + x + (0 + x | g)", "gaussian", {}),
    ("y ~ `z<&>` + (`z<&>` | g)", "gaussian", {}),
    ("y ~ x + (1 | g)", "gaussian", {"weights": "w"}),
    ("y ~ x", "gaussian", {}),
    ("k ~ x + offset(x) + (1 | g)", "poisson", {}),
    ("level ~ x + (1 | g)", "cumulative", {}),
    ("y ~ poly(x, 3) + C(h) + (1 | g)", "t", {}),
    ("y ~ 1 + (1 | g)", "gaussian", {"priors": "icc_beta"}),
    ("y ~ x + (x | gr(g, by=half))", "gaussian", {}),
    ("y ~ x + (1 | gr(g, sd=~ half))", "gaussian", {}),
    ("y ~ x + (1 | mm(g, h))", "gaussian", {}),
    (["y ~ x + (x | g)", "sigma ~ x + (1 | h)"], "gaussian", {}),
]


@pytest.mark.parametrize(("formula", "family", "options"), CASES)
def test_mathml_is_well_formed_and_latex_closes(data, formula, family, options):
    model, found = equations(formula, data, family, **options)
    for line in found.lines:
        ElementTree.fromstring(line.block)
        assert line.tex.count("{") - line.tex.count(r"\{") == line.tex.count("}") - line.tex.count(r"\}")
        assert line.tex.isascii() or "text" in line.tex
    for symbol, meaning in found.symbols:
        ElementTree.fromstring(symbol.inline)
        assert meaning
    assert found.tex.startswith("\\begin{aligned}") and found.tex.count("&") >= len(found.lines)
    # Every parameter with a prior of its own has a line, or the note says where it is.
    listed = [row for row in model.specification.resolved if row.prior.support != "joint"]
    priors = [line for line in found.lines if re.search(r"\\sim \\text\{[A-Z]", line.tex)]
    assert len(priors) >= len(listed) or "joint" in found.note


def test_the_model_of_the_demo(bounce):
    model, found = equations("bounce_time ~ std_age + (std_age | county)", bounce)
    lines = [words(line) for line in found.lines]
    assert lines[0] == "yi∼Normal(μi,σ)"
    assert lines[1] == "μi=α+β1std_agei+u0,j[i]+u1,j[i]std_agei"
    assert lines[2] == "(u0,j,u1,j)∼MultivariateNormal(0,diag(τ0,τ1)Ωdiag(τ0,τ1))"
    assert "τ0∼HalfNormal(σ=14.86)" in lines and "Ω∼LKJ(η=2)" in lines
    assert found.lines[0].tex == r"{y}_{i} \sim \text{Normal} ( {\mu}_{i} , \sigma )"
    meanings = " ".join(meaning for _, meaning in found.symbols)
    assert all(name in meanings for name in ("1|county_sigma", "std_age|county_sigma", "sigma", "Intercept"))
    assert len(model.priors) == sum("∼" in line for line in lines) - 2


def test_further_parameters_have_letters_of_their_own(data):
    model, found = equations(["y ~ x + (x | g)", "sigma ~ x + (1 | h)"], data)
    lines = [words(line) for line in found.lines]
    assert lines[0] == "yi∼Normal(μi,σi)" and "σi=log−1(η(σ)i)" in lines
    assert "η(σ)i=α(σ)+β(σ)1xi+u(σ)0,j[i]" in lines and "u(σ)0,j∼Normal(0,τ(σ)0)" in lines
    # A line for every prior.
    assert sum("∼" in line for line in lines) == len(model.priors) + 3


def test_kinds_of_groups_have_sds_of_their_own(data):
    _, found = equations("y ~ x + (x | gr(g, by=half))", data)
    meanings = [meaning for _, meaning in found.symbols]
    assert any("slopes of x between groups of kind upper" in meaning for meaning in meanings)
    assert sum(words(line).startswith("τ") for line in found.lines) == 4 and "Each kind of group" in found.note


def test_links_factors_and_weights_are_said(data):
    _, poisson = equations("k ~ x + offset(x) + (1 | g)", data, "poisson")
    lines = [words(line) for line in poisson.lines]
    assert lines[:2] == ["yi∼Poisson(μi)", "μi=log−1(ηi)"] and lines[2].endswith("+offseti")
    _, two = equations("y ~ 1 + (1 | g) + (1 | h)", data)
    assert words(two.lines[1]) == "μi=α+u1,0,j1[i]+u2,0,j2[i]"
    _, weighted = equations("y ~ x + (1 | g)", data, weights="w")
    assert words(weighted.lines[0]) == "yi∼Normal(μi,σ/wi)" and r"\sqrt" in weighted.lines[0].tex
    _, levels = equations("level ~ x + (1 | g)", data, "cumulative")
    assert "thresholds" in levels.note

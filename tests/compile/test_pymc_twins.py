"""What PyMC evaluates and what poolwise's kernels evaluate are one: priors, links, the Op and its gradient.

PyMC keeps some normalising constants in single precision: densities agree to 1e-6, gradients to 1e-5 of their size.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from test_doors import random_model

from poolwise.algebra.links import INVERSE
from poolwise.compile.collapsed import log_posterior
from poolwise.compile.general import PARTS, general_model
from poolwise.compile.likelihood import inverse_link
from poolwise.compile.pymc_priors import pymc_distribution
from poolwise.fit.bayes import scalar_priors
from poolwise.priors.density import prior_code, prior_logpdf
from poolwise.priors.prior import Prior

PLAIN = Mode(linker="py", optimizer=None)
PRIORS = [
    Prior("Normal", mu=0.3, sigma=2), Prior("StudentT", nu=4, mu=0.3, sigma=2), Prior("Cauchy", alpha=0.3, beta=2),
    Prior("Laplace", mu=0.3, b=2), Prior("JeffreysScale"), Prior("HalfNormal", sigma=2),
    Prior("HalfStudentT", nu=4, sigma=2), Prior("HalfCauchy", beta=2), Prior("Exponential", lam=2),
    Prior("Gamma", alpha=2, beta=3), Prior("InverseGamma", alpha=2, beta=3), Prior("SqrtInverseGamma", alpha=2, beta=3),
    Prior("LogNormal", mu=0.3, sigma=2), Prior("Beta", alpha=2, beta=3), Prior("Uniform", lower=0, upper=3),
    Prior("PC", u=2, alpha=0.05),
]  # fmt: skip


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.distribution)
def test_a_prior_in_pymc_has_the_kernels_density(prior):
    import pymc as pm

    code = prior_code(prior.distribution, prior.params)
    for x in (0.2, 0.7):
        theirs = pm.logp(pymc_distribution(prior), pt.constant(x)).eval(mode=PLAIN)
        assert float(theirs) == pytest.approx(prior_logpdf(*code, x)[0], abs=1e-6)


@pytest.mark.parametrize("link", INVERSE)
def test_an_inverse_link_in_pytensor_is_numpys(link):
    eta = np.array([0.05, 0.4, 0.9])
    found = pt.as_tensor(inverse_link(link, pt.as_tensor(eta))).eval(mode=PLAIN)
    np.testing.assert_allclose(found, INVERSE[link](eta), rtol=1e-12)


def test_a_link_that_there_is_not():
    with pytest.raises(ValueError, match="loglog"):
        inverse_link("loglog", pt.constant(1.0))


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ 0 + (1 | g)"])
def test_value_and_gradient_of_the_op_in_plain_python(formula):
    model = random_model(1, formula)
    sampler = model.sampler
    theirs = general_model(sampler.model, *scalar_priors(model.design, model.specification.priors))
    values = {variable.name: variable for variable in theirs.value_vars}
    names = [name for name in PARTS if name in values]
    inputs = [values[name] for name in names]
    logp = theirs.logp()
    evaluate = pytensor.function(inputs, [logp, *pt.grad(logp, inputs)], mode=PLAIN, on_unused_input="ignore")
    x = np.random.default_rng(0).normal(0, 0.7, sampler.model.size)
    parts, gradient = dict(zip(PARTS, sampler.model.split(x), strict=True)), np.zeros_like(x)
    direct = log_posterior(x, sampler.pack(sampler.model), gradient)
    value, *slopes = evaluate(*(parts[name] for name in names))
    assert float(value) == pytest.approx(direct, abs=1e-6)
    np.testing.assert_allclose(np.concatenate([np.ravel(slope) for slope in slopes]), gradient, rtol=1e-5, atol=1e-6)

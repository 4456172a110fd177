"""Links have the values of their definitions, and each inverse undoes its link."""

import math

import numpy as np
import pytest

from poolwise.algebra.links import INVERSE, LINK

# A mean and what its link makes of it, by hand; the quantile of the normal distribution from a table.
KNOWN = {
    "identity": (-2.5, -2.5),
    "log": (2.0, math.log(2)),
    "logit": (0.25, -math.log(3)),
    "probit": (0.975, 1.959963984540054),
    "cloglog": (1 - math.exp(-2), math.log(2)),
    "inverse": (4.0, 0.25),
    "inverse_squared": (4.0, 1 / 16),
}


@pytest.mark.parametrize("link", LINK)
def test_known_values_there_and_back(link):
    mean, eta = KNOWN[link]
    assert LINK[link](np.array([mean]))[0] == pytest.approx(eta, rel=1e-12)
    assert INVERSE[link](np.array([eta]))[0] == pytest.approx(mean, rel=1e-12)


def test_every_link_has_its_inverse():
    assert list(LINK) == list(INVERSE) == list(KNOWN)

"""design_coverage: what it simulates, and that it counts right.

Coverage of intervals that are exact is held against the nominal 95 % within 4 Monte Carlo errors; the table of the
main example is in docs/checks_pooling.md.
"""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw
from poolwise.errors import ArgumentError, DataError, UnknownNameError
from poolwise.validate.coverage import _classes, _response, _root, _truth

SLOPES = "bounce_time ~ std_age + (std_age | county)"


@pytest.fixture(scope="module")
def model(bounce):
    return pw.Model(SLOPES, bounce)


def test_truth_is_estimated_where_it_is_not_given(model):
    truth = _truth(model, {"std_age|county_sigma": 1.0})
    assert truth["std_age|county_sigma"] == 1.0 and truth["1|county_sigma"] == pytest.approx(13.989, abs=1e-3)
    assert truth["corr|county[Intercept, std_age]"] == pytest.approx(1.0)
    assert truth["sigma"] == pytest.approx(7.936, abs=1e-3)
    root = _root(model.design.factors[0], truth)
    assert root @ root.T == pytest.approx(np.array([[13.989**2, 13.989], [13.989, 1.0]]), rel=1e-3)


def test_responses_have_the_variance_they_should(model):
    truth = _truth(model, {"std_age|county_sigma": 2.0, "corr|county[Intercept, std_age]": -0.5})
    drawn = [_response(model.design, truth, np.random.default_rng(seed)) for seed in range(800)]
    u = np.stack([true for _, true in drawn])[:, 0] - truth[["Intercept", "std_age"]].to_numpy()
    # Sampling error of an sd over 800 draws is 2.5 %, of the correlation 0.03.
    assert u.std(axis=0) == pytest.approx([13.989, 2.0], rel=0.1)
    assert np.corrcoef(u.T)[0, 1] == pytest.approx(-0.5, abs=0.12)
    y, true = drawn[0]
    design = model.design
    noise = y - np.einsum("nk,nk->n", design.X, true[design.factors[0].codes])
    assert noise.std() == pytest.approx(7.936, rel=0.1)


def test_no_pooling_covers_and_conditional_intervals_do_not(model):
    found = pw.design_coverage(
        model, truth={"std_age|county_sigma": 1.0}, presets=[], simulations=60, sizes=[20, 50], seed=3
    )
    table = found.table().set_index(["interval", "term", "sizes"])
    assert list(table.index.levels[0]) == ["conditional", "no pooling", "total"] and found.failed == 0
    row = table.loc[("no pooling", "std_age", "75 to 150")]
    assert abs(row["coverage"] - 0.95) < 4 * max(row["mc_error"], 0.01)
    article, total = (table.loc[(kind, "std_age", "7"), "coverage"] for kind in ("conditional", "total"))
    assert article < total < 0.9 and article < 0.65
    assert 0.3 < found.singular < 0.9
    split = found.table("singular")["simulations"].max() + found.table("regular")["simulations"].max()
    assert split == 60 and found.singular * 60 == pytest.approx(found.table("singular")["simulations"].max())
    assert "Coverage of 95% intervals in 60 simulations" in repr(found)


def test_bayesian_intervals_of_several_presets_in_two_processes(model):
    options = {"presets": ["weakly_informative", "pc"], "simulations": 3, "draws": 100, "tune": 200, "seed": 5}
    one, two = (pw.design_coverage(model, workers=workers, **options) for workers in (1, 2))
    pd.testing.assert_frame_equal(one.replicates, two.replicates)
    assert {"bayes, weakly_informative", "bayes, pc"} < set(one.replicates["interval"])


def test_binomial_designs():
    data = pw.hospital_mortality(15, seed=2)
    model = pw.Model("p(died, patients) ~ risk + (1 | hospital)", data, "binomial")
    found = pw.design_coverage(model, presets=[], simulations=5, seed=1)
    widths = found.table().set_index(["interval", "sizes"])["width"]
    assert (widths["conditional"] <= widths["total"]).all()


def test_classes_of_sizes(model):
    factor = model.design.factors[0]
    classes, labels = _classes(factor, [20, 50])
    assert labels == ["7", "22 to 37", "75 to 150"] and classes[factor.sizes == 7].tolist() == [0]
    assert len(_classes(factor, None)[1]) == 3


def test_bad_arguments(model, bounce):
    with pytest.raises(UnknownNameError, match="no parameter 'tau'"):
        pw.design_coverage(model, truth={"tau": 1.0})
    with pytest.raises(DataError, match="one grouping factor"):
        pw.design_coverage("bounce_time ~ std_age", bounce)
    with pytest.raises(ArgumentError, match="simulations"):
        pw.design_coverage(model, simulations=0)
    with pytest.raises(ArgumentError, match="fits must be"):
        pw.design_coverage(model, simulations=1, presets=[], seed=1).table("odd")

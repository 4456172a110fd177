"""What a response may hold under each family, and what is said where it does not."""

import numpy as np
import pandas as pd
import pytest

import poolwise as pw

N = 24


def table(**columns) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = {"x": rng.normal(size=N), "g": np.repeat(list("abcd"), N // 4), "n": np.full(N, 5)}
    return pd.DataFrame(base | columns)


def model(y, formula: str = "y ~ x + (1|g)", **options) -> pw.Model:
    return pw.Model(formula, table(y=y), **options)


COUNTS = np.arange(N) % 6
ORDERED = pd.Categorical(np.array(["low", "mid", "high"])[np.arange(N) % 3], ["low", "mid", "high"], ordered=True)


def replaced(values, row: int, value) -> np.ndarray:
    found = np.array(values, dtype=float)
    found[row] = value
    return found


@pytest.mark.parametrize(
    ("y", "formula", "family", "message"),
    [
        (
            replaced(COUNTS, 7, -1),
            "y ~ x + (1|g)",
            "poisson",
            r"whole numbers from 0.* such as -1.* \(row 7\)",
        ),
        (replaced(COUNTS, 7, 0.5), "y ~ x + (1|g)", "negativebinomial", r"0.5 \(row 7\)"),
        (COUNTS * 1.0, "y ~ x + (1|g)", "gamma", r"positive numbers.*'hurdle_gamma'"),
        (COUNTS, "y ~ x + (1|g)", "bernoulli", r"0 and 1 .*'poisson'"),
        (COUNTS, "y ~ x + (1|g)", "beta", "between 0 and 1"),
        (replaced(COUNTS, 3, 9), "p(y, n) ~ x + (1|g)", "binomial", r"more successes than trials in .*\(row 3"),
        (COUNTS + 5, "p(n, y) ~ x + (1|g)", "poisson", "use family='binomial'"),
        (COUNTS, "y ~ x + (1|g)", "binomial", r"write p\(successes, trials\)"),
        (np.zeros(N), "p(y, n) ~ x + (1|g)", "binomial", "is 0 in every row"),
        (np.zeros(N), "y ~ x + (1|g)", "poisson", "nothing to model"),
        (["a", "b"] * (N // 2), "y ~ x + (1|g)", "bernoulli", "name the event in the formula"),
        (["a", "b"] * (N // 2), "y ~ x + (1|g)", "cumulative", "without an order"),
        (ORDERED.add_categories(["top"]), "y ~ x + (1|g)", "cumulative", "1 level without rows: top"),
        (COUNTS + 0.5, "y ~ x + (1|g)", "cumulative", "has fractions"),
        (COUNTS, "y ~ 0 + x + (1|g)", "cumulative", "take the place of the intercept"),
        (COUNTS, "y ~ x + (1|g)", "poison", "did you mean 'poisson'"),
        (COUNTS, "censored(y, g) ~ x", "gaussian", "'none', 'left' or 'right'"),
        (COUNTS, "truncated(y, lb=1) ~ x + (1|g)", "poisson", "outside its bounds in 4 rows"),
    ],
)
def test_a_response_outside_its_family_is_refused_in_words(y, formula, family, message):
    with pytest.raises(pw.PoolwiseError, match=message):
        model(y, formula, family=family)


def test_an_unknown_link_lists_the_links():
    with pytest.raises(pw.PoolwiseError, match="no link 'logt'; did you mean 'logit'"):
        model(COUNTS % 2, family="bernoulli", link="logt")


def test_successes_and_trials_in_three_ways():
    shares = table(y=COUNTS, share=COUNTS / 5, failures=5 - COUNTS.clip(0, 5))
    shares["y"] = COUNTS.clip(0, 5)
    shares["share"] = shares["y"] / 5
    made = [
        pw.Model("p(y, n) ~ x + (1|g)", shares, family="binomial"),
        pw.Model("p(y, 5) ~ x + (1|g)", shares, family="binomial"),
        pw.Model("cbind(y, failures) ~ x + (1|g)", shares, family="binomial"),
        pw.Model("share ~ x + (1|g)", shares, family="binomial", weights="n"),
    ]
    for one in made:
        np.testing.assert_array_equal(one.design.y, shares["y"])
        np.testing.assert_array_equal(one.design.outcome.trials, 5)
        np.testing.assert_allclose(one.design.outcome.scaled, shares["share"])
        assert one.design.weights is None


def test_levels_keep_their_order():
    found = model(ORDERED, family="cumulative").design
    assert found.outcome.levels == ("low", "mid", "high")
    np.testing.assert_array_equal(found.y, np.arange(N) % 3)
    assert "Intercept" not in found.coefficient_names


def test_true_and_false_are_events():
    np.testing.assert_array_equal(model(COUNTS > 2, family="bernoulli").design.y, COUNTS > 2)


def test_one_row_a_group_needs_no_residual():
    data = table(y=COUNTS, row=np.arange(N).astype(str))
    assert pw.Model("y ~ x + (1|row)", data, family="poisson").design.factors[0].J == N
    with pytest.raises(pw.PoolwiseError, match="one row"):
        pw.Model("y ~ x + (1|row)", data)


def test_priors_on_a_link_scale_do_not_follow_the_units_of_the_response():
    one, two = (
        pw.Model("y ~ x + (1|g)", table(y=(COUNTS + 1.0) * unit), "gamma", link="log") for unit in (1.0, 1000.0)
    )
    before, after = one.specification.priors, two.specification.priors
    assert before["x"] == after["x"] and before["1|g_sigma"] == after["1|g_sigma"]
    shift = after["Intercept"].params["mu"] - before["Intercept"].params["mu"]
    assert shift == pytest.approx(np.log(1000.0))


def test_a_model_says_what_its_weights_are():
    data = table(y=COUNTS + 0.5, w=np.arange(N) % 4 + 1)
    said = "weights        w, precision weights: the residual variance of a row is sigma^2 / w"
    assert said in repr(pw.Model("y ~ x", data, weights="w"))
    assert "weights        w, frequency weights: a row counts as w rows" in repr(pw.Model("weighted(y, w) ~ x", data))
    assert "weights" not in repr(pw.Model("y ~ x", data))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("negbinomial", "negativebinomial"),
        ("ordinal", "cumulative"),
        ("zero_inflated_negbinomial", "zero_inflated_negativebinomial"),
    ],
)
def test_words_of_other_programs_lead_to_the_family(given, meant):
    with pytest.raises(pw.PoolwiseError, match=f"family '{given}' is not available; did you mean '{meant}'"):
        pw.Model("y ~ x", table(y=COUNTS), given)

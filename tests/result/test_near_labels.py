"""New groups whose labels may be misspelt: told where nothing says that they are new, and only there."""

import time
import warnings

import pandas as pd
import pytest

import poolwise as pw
from poolwise.cli import DONE, main
from poolwise.result.near_labels import near_labels

SAID = "'Chesire' is a new group of 'county' and predicted as one; did you mean 'cheshire'?"


@pytest.fixture(scope="module")
def fits(bounce):
    study = pw.compare_pooling(
        "bounce_time ~ std_age + (std_age | county)", bounce, draws=500, seed=1, progress=False, folds=2
    )
    return [study.bayes, study.reml, study.none]


@pytest.fixture
def new():
    return pd.DataFrame({"std_age": [0.0, 0.0, 1.0], "county": ["kent", "Chesire", "Chesire"]})


def test_a_misspelt_group_is_told(fits, new):
    for fit in fits:
        with pytest.warns(pw.PoolwiseWarning) as caught:
            table = fit.predict(new)
        assert [str(one.message) for one in caught] == [SAID]
        assert table["groups"].tolist() == ["observed", "new", "new"]
    with pytest.warns(pw.PoolwiseWarning, match="did you mean 'cheshire'"):
        fits[0].predict_draws(new)


def test_what_is_meant_is_not_told(fits, new):
    for fit in fits[:2]:
        for mode in ("population_draw", "population_mean", "integrated"):
            fit.predict(new, groups=mode)
            fit.predict(new, groups={"county": mode})
        fit.predict(new.assign(county="atlantis"))


def test_other_families_and_crossed_factors():
    data = pw.load_dataset("cbpp").assign(year=lambda d: ["early", "later"] * 28)
    data["herd"] = "herd " + data["herd"].astype(str)
    for formula in ("p(incidence, size) ~ 1 + (1 | herd)", "p(incidence, size) ~ 1 + (1 | herd) + (1 | year)"):
        fit = pw.Model(formula, data, "binomial").fit_frequentist()
        with pytest.warns(pw.PoolwiseWarning, match="'Herd  3' is a new group of 'herd' .* did you mean 'herd 3'"):
            fit.predict(data.head(2).assign(herd="Herd  3"))
        fit.predict(data.head(2).assign(herd="herd 99"))


def test_from_the_shell(fits, new, tmp_path, capsys):
    new.to_csv(tmp_path / "new.csv", index=False)
    fits[0].save(tmp_path / "posterior.nc")
    assert main(["predict", str(tmp_path), str(tmp_path / "new.csv")]) == DONE
    assert capsys.readouterr().err == f"poolwise: {SAID}\n"


@pytest.mark.parametrize(
    ("new", "known", "meant"),
    [
        ("Kent", "kent", "kent"),
        ("kent ", "kent", "kent"),
        ("North  Yorkshire", "north yorkshire", "north yorkshire"),
        ("north yorkshir", "north yorkshire", "north yorkshire"),
        ("sussex", "essex", None),
        ("north", "south", None),
        ("site 12", "site 11", None),
        ("site12", "sites12", "sites12"),
        ("Site 12", "site 12", "site 12"),
        ("region b", "region a", None),
        ("309", "308", None),
        ("a", "b", None),
        ("east wing", "east", None),
    ],
)
def test_what_is_near(new, known, meant):
    assert near_labels([new], ["something else", known]) == ({} if meant is None else {new: meant})


def test_many_groups_take_no_time():
    known = [f"group of number {j}" for j in range(100_000)]
    start = time.perf_counter()
    assert near_labels(["Group of number 77", "gruop of number 3"], known) == {
        "Group of number 77": "group of number 77"
    }
    # A tenth of a second alone; ten times that on a machine with other work.
    assert time.perf_counter() - start < 2


def test_many_new_groups_are_new(fits, bounce):
    new = pd.DataFrame({"std_age": 0.0, "county": [f"Kent{' ' * k}" for k in range(1, 40)]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits[1].predict(new)

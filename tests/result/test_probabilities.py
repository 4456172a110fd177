"""Probabilities of each level or category: they add up to 1, and give the mean level, to rounding of the sums."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import poolwise as pw
from poolwise.cli import DONE, main

LEVELS = ["low", "mid", "high"]


def rows(J: int = 6, each: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(J), each), rng.normal(size=J * each)
    latent = x + rng.normal(size=J)[g] + rng.logistic(size=len(x))
    answer = pd.cut(latent, [-99, -0.5, 1, 99], labels=LEVELS)
    return pd.DataFrame({"answer": answer, "x": x, "g": [f"g{j}" for j in g]})


@pytest.fixture(scope="module", params=["cumulative", "sratio"])
def fit(request):
    return pw.Model("answer ~ x + (1 | g)", rows(), request.param).fit(1000, 1000, 4, seed=1, progress=False)


def test_a_row_for_each_row_and_level(fit):
    new = pd.DataFrame({"x": [0.0, 1.0, 1.0], "g": ["g0", "g1", "new"]})
    table = fit.predict(new, kind="probability")
    assert table.columns.tolist() == ["row", "category", "estimate", "lower", "upper", "groups", "groups[g]"]
    assert table["category"].tolist() == LEVELS * 3 and table["row"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert ((table["lower"] >= 0) & (table["lower"] < table["estimate"]) & (table["upper"] <= 1)).all()
    np.testing.assert_allclose(table.groupby("row")["estimate"].sum(), 1)
    mean_level = (table["estimate"] * np.tile([1, 2, 3], 3)).groupby(table["row"]).sum()
    np.testing.assert_allclose(mean_level, fit.predict(new)["estimate"])
    assert table["groups"].tolist() == ["observed"] * 6 + ["new"] * 3
    draws = fit.predict_draws(new, kind="probability")
    assert draws.shape == (4000, 3, 3)
    np.testing.assert_allclose(draws.mean(axis=0).ravel(), table["estimate"])


def test_they_are_those_of_the_thresholds(fit):
    new = pd.DataFrame({"x": [0.7]})
    draws = fit.predict_draws(new, groups="population_mean", kind="probability")[:, 0]
    threshold = fit.posterior["threshold"].to_numpy().reshape(4000, 2)
    below = expit(threshold - 0.7 * fit.posterior["x"].to_numpy().reshape(4000, 1))
    np.testing.assert_allclose(draws[:, 0], below[:, 0])
    of_high = 1 - below[:, 1] if fit.design.family.name == "cumulative" else (1 - below[:, 0]) * (1 - below[:, 1])
    np.testing.assert_allclose(draws[:, 2], of_high)


def test_levels_of_numbers_stay_numbers():
    data = rows().assign(answer=lambda d: d["answer"].cat.codes * 10)
    fit = pw.Model("answer ~ x", data, "cumulative").fit(500, 500, 4, seed=1, progress=False)
    table = fit.predict(kind="probability")
    assert table["category"].tolist()[:3] == [0, 10, 20] and pd.api.types.is_integer_dtype(table["category"])
    shares = table.groupby("category")["estimate"].mean()
    np.testing.assert_allclose(shares, data["answer"].value_counts(normalize=True).sort_index(), atol=0.02)


def test_of_categories_it_is_the_mean():
    data = rows().assign(answer=lambda d: d["answer"].astype(str))
    fit = pw.Model("answer ~ x", data, "categorical").fit(500, 500, 4, seed=1, progress=False)
    pd.testing.assert_frame_equal(fit.predict(kind="probability"), fit.predict())


def test_other_families_have_none(bounce):
    fit = pw.Model("bounce_time ~ std_age", bounce).fit(500, 500, 4, seed=1, progress=False)
    with pytest.raises(pw.PoolwiseError, match="family 'gaussian' has neither: ask for kind='mean'"):
        fit.predict(kind="probability")
    with pytest.raises(pw.PoolwiseError, match="kind must be 'mean' or 'response'; got 'probability'"):
        fit.predict_draws(kind="probability")


def test_from_the_shell(tmp_path, capsys):
    data, out = tmp_path / "data.csv", tmp_path / "fit"
    rows().to_csv(data, index=False)
    command = ["fit", str(data), "answer ~ x + (1 | g)", "--family", "cumulative", "--out", str(out), "--quiet"]
    main([*command, "--levels", "low, mid, high", "--draws", "200", "--chains", "2"])
    capsys.readouterr()
    (tmp_path / "new.csv").write_text("x,g\n0.5,g1\n0.5,other\n")
    assert main(["predict", str(out), str(tmp_path / "new.csv"), "--kind", "probability"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [["0.5", "g1", level] for level in LEVELS]
    assert lines[-1] == "Columns: estimate and 95 % interval of the probability of each level"
    assert main(["predict", str(out), str(tmp_path / "new.csv")]) == DONE
    assert capsys.readouterr().out.endswith("of the mean level, from 1; --kind probability for each level\n")

"""The simulated hospitals: reproducible, the truth in them, and the effect that they are made for.

Monte Carlo tolerances: 4 standard errors of a binomial share or of a least-squares slope.
"""

import numpy as np
import pytest
from scipy.special import expit

import poolwise as pw
from poolwise.errors import ArgumentError


def test_one_seed_gives_one_table():
    assert pw.hospital_mortality(seed=4).equals(pw.hospital_mortality(seed=4))
    assert not pw.hospital_mortality(seed=4).equals(pw.hospital_mortality(seed=5))


def test_rows_of_patients_add_up_to_those_of_strata():
    strata, patients = (pw.hospital_mortality(40, seed=2, rows=rows) for rows in ("strata", "patients"))
    keys = ["hospital", "risk"]
    again = patients.groupby(keys, observed=True)["died"].agg(["sum", "size"])
    assert again["sum"].tolist() == strata["died"].tolist()
    assert again["size"].tolist() == strata["patients"].tolist()
    assert set(patients["died"]) == {0, 1}


def test_the_truth_is_what_the_deaths_were_drawn_from():
    table = pw.hospital_mortality(2000, slope=-0.3, tau=0.1, tau_slope=0.0, seed=3)
    assert np.allclose(table["probability"], expit(table["alpha"] + table.attrs["truth"]["risk"] * table["risk"]))
    n, p = table["patients"], table["probability"]
    z = (table["died"] - n * p).sum() / np.sqrt((n * p * (1 - p)).sum())
    assert abs(z) < 4
    one = table.drop_duplicates("hospital")
    v = one["log_n"] - 4
    slope, level = np.polyfit(v, one["alpha"], 1)
    residual = one["alpha"] - level - slope * v
    assert slope == pytest.approx(-0.3, abs=4 * 0.1 / np.sqrt(len(one)) / v.std())
    assert residual.std() == pytest.approx(0.1, rel=4 / np.sqrt(2 * len(one)))


def test_small_hospitals_are_worse_and_their_patients_sicker():
    table = pw.hospital_mortality(1000, seed=1)
    small = table["log_n"] < table["log_n"].quantile(0.2)
    rate = {part: rows["died"].sum() / rows["patients"].sum() for part, rows in table.groupby(small)}
    risk = {part: np.average(rows["risk"], weights=rows["patients"]) for part, rows in table.groupby(small)}
    assert rate[True] > rate[False] + 0.05
    assert risk[True] > risk[False]


@pytest.mark.parametrize("wrong", [{"hospitals": 1}, {"tau": -1.0}, {"rows": "wards"}])
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        pw.hospital_mortality(**wrong)

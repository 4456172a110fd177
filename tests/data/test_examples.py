"""The data sets load offline, with R's columns, rows and factor levels, each with source and licence."""

import socket

import pandas as pd
import pytest

from poolwise.data.examples import datasets, load_dataset
from poolwise.errors import UnknownNameError

NAMES = [
    "bounce_rates",
    "sleepstudy",
    "dyestuff",
    "dyestuff2",
    "penicillin",
    "pastes",
    "cbpp",
    "radon",
    "eight_schools",
    "insteval",
]


def test_the_catalogue():
    table = datasets()
    assert sorted(table["name"]) == sorted(NAMES)
    assert table.notna().all(axis=None)
    assert (table[["description", "source", "licence"]].map(len) > 2).all(axis=None)


@pytest.mark.parametrize("name", NAMES)
def test_rows_groups_and_factors_are_those_of_the_catalogue(name):
    frame, entry = load_dataset(name), datasets().set_index("name").loc[name]
    assert len(frame) == entry["rows"]
    assert not frame.isna().any(axis=None)
    for text in entry["groups"].split(", "):
        count, factor = text.split(" ")
        assert isinstance(frame[factor].dtype, pd.CategoricalDtype)
        assert frame[factor].nunique() == int(count) == len(frame[factor].cat.categories)


def test_means_of_the_responses():
    # Means in R of the data as shipped with lme4.
    assert load_dataset("sleepstudy")["Reaction"].mean() == pytest.approx(298.5079, abs=5e-5)
    assert load_dataset("dyestuff")["Yield"].mean() == pytest.approx(1527.5)
    assert load_dataset("dyestuff2")["Yield"].mean() == pytest.approx(5.6656)
    assert load_dataset("penicillin")["diameter"].mean() == pytest.approx(22.9722, abs=5e-5)
    assert load_dataset("pastes")["strength"].mean() == pytest.approx(60.0533, abs=5e-5)


def test_group_labels_are_text_in_numeric_order():
    subject = load_dataset("sleepstudy")["Subject"]
    assert list(subject.cat.categories[:3]) == ["308", "309", "310"]
    assert not subject.cat.ordered
    assert list(load_dataset("cbpp")["herd"].cat.categories) == [str(k) for k in range(1, 16)]


def test_ordered_factors():
    frame = load_dataset("insteval")
    assert frame["studage"].cat.ordered
    assert list(frame["studage"].cat.categories) == ["2", "4", "6", "8"]
    assert not frame["service"].cat.ordered


def test_std_age_is_standardised_with_n_minus_1():
    frame = load_dataset("bounce_rates")
    expected = (frame["age"] - frame["age"].mean()) / frame["age"].std(ddof=1)
    pd.testing.assert_series_equal(frame["std_age"], expected, check_names=False, rtol=1e-12)


def test_eight_schools():
    frame = load_dataset("eight_schools")
    assert list(frame["effect"]) == [28, 8, -3, 7, -1, 1, 18, 12]
    assert list(frame["se"]) == [15, 10, 16, 11, 9, 11, 10, 18]
    assert list(frame["school"]) == list("ABCDEFGH")


def test_each_call_gives_a_fresh_table():
    first = load_dataset("dyestuff")
    first["Yield"] = 0
    assert load_dataset("dyestuff")["Yield"].mean() == pytest.approx(1527.5)


@pytest.mark.parametrize(("name", "near"), [("bounce", "bounce_rates"), ("sleepstudies", "sleepstudy")])
def test_an_unknown_name_lists_the_near_one(name, near):
    with pytest.raises(UnknownNameError, match=f"no data set '{name}'; did you mean '{near}'"):
        load_dataset(name)


def test_the_first_department_is_that_of_r():
    # lme4 orders the departments by hand; the first is the reference of treatment contrasts.
    assert list(load_dataset("insteval")["dept"].cat.categories[:3]) == ["15", "5", "10"]


@pytest.mark.parametrize("name", NAMES)
def test_loading_opens_no_connection(name, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a data set asked for the network")

    monkeypatch.setattr(socket, "socket", refused)
    assert len(load_dataset(name)) > 0

"""Every case of the tables: one clear error, or the numbers of its twin, through every entry point that it fits.

Common effects agree with the twin's to the case's tolerance relative to their size (default 1e-5: both are the optimum
of one criterion, reached in other coordinates), predictions to 1e-4 of their range, posterior means of predictions to a
quarter of their standard deviation (120 draws a fit, other random numbers where the coordinates differ).
"""

import warnings

import cases_names
import cases_tables
import cases_values
import numpy as np
import pandas as pd
import pytest
from hostile import FORMULA, Case, table

import poolwise as pw
from poolwise.cli import main
from poolwise.errors import PoolwiseError

CASES = [*cases_values.CASES, *cases_tables.CASES, *cases_names.CASES]
REFUSED = [case for case in CASES if case.refused or (case.twin is None and not case.warns)]
VALID = [case for case in CASES if case.twin is not None]
WARNED = [case for case in CASES if case.warns]
# What the posterior could see beside the optimum: scales, labels, names of its own variables.
SAMPLED = {case.name for case in [*cases_values.SCALES, *cases_names.NAMES] if case.twin}
SAMPLED -= {f"predictor {name[:30]!r}" for name in cases_names.ODD_NAMES if name not in cases_names.OURS}
RUN = dict(draws=60, tune=200, chains=2, seed=1, progress=False)


def by_name(cases: list[Case]):
    return pytest.mark.parametrize("case", cases, ids=[f"{k}-{case.name[:40]!a}" for k, case in enumerate(cases)])


def test_the_table_is_large_and_its_names_are_unique():
    assert len({case.name for case in CASES}) == len(CASES) >= 120
    assert len(REFUSED) + len(VALID) + len(WARNED) == len(CASES)


def fitted(case: Case, data):
    model = pw.Model(case.formula, data, **case.options)
    if case.at == "model":
        return model
    if case.at == "reml":
        return model.fit_frequentist()
    return model.fit(**RUN)


@by_name(REFUSED)
def test_refused_in_words(case, tmp_path, capsys):
    data = case.data()
    before = data.copy(deep=True) if isinstance(data, pd.DataFrame) else None
    with pytest.raises(PoolwiseError) as caught:
        fitted(case, data)
    message = str(caught.value)
    assert [word for word in case.refused if word not in message] == []
    assert len(message) < 3000
    if case.at != "model":
        pw.Model(case.formula, data, **case.options)
    if before is not None:
        pd.testing.assert_frame_equal(data, before)
    given = {"family", "missing", "priors"}
    if case.csv and case.at == "model" and isinstance(data, pd.DataFrame) and set(case.options) <= given:
        data.to_csv(tmp_path / "data.csv", index=False)
        options = [text for name, value in case.options.items() for text in (f"--{name}", str(value))]
        if options[:2] == ["--missing", "ignore"]:
            return
        out = tmp_path / "out"
        code = main(["compare", str(tmp_path / "data.csv"), case.formula, *options, "--quiet", "--out", str(out)])
        told = capsys.readouterr().err
        assert code == 1 and told.startswith("poolwise: ") and "Traceback" not in told and not out.exists()


@by_name(VALID)
def test_right_numbers(case):
    data, (formula, make) = case.data(), case.twin
    before = data.copy(deep=True) if isinstance(data, pd.DataFrame) else None
    twin_data = make()
    options = {name: value for name, value in case.options.items() if name not in ("missing", "weights")}
    with warnings.catch_warnings():
        # Short runs, and slopes far from zero on purpose; any other warning is an error.
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        warnings.simplefilter("ignore", pw.UncentredSlopeWarning)
        model, twin = pw.Model(case.formula, data, **case.options), pw.Model(formula, twin_data, **options)
        reml, expected = model.fit_frequentist(), twin.fit_frequentist()
        pairs = [(reml, expected, max(1e-4, min(case.rtol, 1e-2)))]
        if case.name in SAMPLED:
            pairs.append((model.fit(**RUN), twin.fit(**RUN), 0.25))
    assert [words for words in case.says if words not in repr(model)] == []
    named = [case.rename.get(name, name) for name in reml.fixef.index]
    assert sorted(named) == sorted(expected.fixef.index)
    back = {new: old for old, new in case.rename.items()}
    for name, found in zip(named, reml.fixef, strict=True):
        how = case.scale.get(back.get(name, name), case.scale.get(name, (0, 1)))
        if how != "any" and np.isfinite(case.rtol):
            shift, factor = how
            right = shift + factor * expected.fixef[name]
            # A coefficient near zero is compared with a tenth of a unit of y.
            assert abs(found - right) <= case.rtol * abs(factor) * (abs(expected.fixef[name]) + 0.1)
    new = data.dropna() if case.options.get("missing") == "drop" else data
    for fit, other, tolerance in pairs:
        found, right = fit.predict(new), other.predict(twin_data)
        assert np.isfinite(found[["estimate", "lower", "upper"]].to_numpy()).all()
        assert (found["groups"] == "observed").all()
        if len(found) == len(right) and np.isfinite(case.rtol) and "offset" not in case.formula:
            shift, _ = case.scale.get("Intercept", (0, 1)) if case.scale.get("Intercept") != "any" else (0, 1)
            factor = case.scale["sd"][1] if isinstance(case.scale.get("sd"), tuple) else 1
            for column in ("estimate", "lower", "upper"):
                values = (np.sort(found[column]) - shift) / factor
                spread = (
                    np.ptp(right["estimate"])
                    if fit is reml
                    else np.std(right["estimate"]) * (1 if column == "estimate" else 3)
                )
                np.testing.assert_allclose(values, np.sort(right[column]), rtol=0, atol=tolerance * spread)
    for shown in (model, *(pair[0] for pair in pairs)):
        html = shown._repr_html_() if hasattr(shown, "_repr_html_") else ""
        assert "<img" not in html and "<svg" not in html and "<script" not in html
    if before is not None:
        pd.testing.assert_frame_equal(data, before)


@by_name(WARNED)
def test_right_with_a_warning(case):
    with pytest.warns(pw.PoolwiseWarning) as caught:
        pw.Model(case.formula, case.data(), **case.options).fit_frequentist()
    said = " ".join(str(warning.message) for warning in caught)
    assert [word for word in case.warns if word not in said] == []


SAVED = [
    "labels: separators",
    "labels: NaN-like text",
    "labels: HTML",
    "labels: unicode",
    "predictor 'sigma'",
    "predictor 'a/b'",
    "categories of intervals",
    "dates as categories",
    "cells whose texts coincide",
    "predictor '1|g'",
]


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning")
@by_name([case for case in VALID if case.name in SAVED])
def test_saved_and_read_again(case, tmp_path):
    data = case.data()
    fit = pw.Model(case.formula, data).fit(**RUN)
    again = pw.load_fit(fit.save(tmp_path / "fit.nc"))
    pd.testing.assert_frame_equal(again.coef(), fit.coef())
    pd.testing.assert_frame_equal(again.predict(data), fit.predict(data))


STUDIED = ["predictor 'sigma'", "predictor 'chain'", "labels: HTML", "x at 1e9 + N(0, 1)", "predictor '$x'"]


@pytest.mark.filterwarnings("ignore::poolwise.ConvergenceWarning", "ignore::poolwise.UncentredSlopeWarning")
@by_name([case for case in VALID if case.name in STUDIED])
def test_the_study_and_its_pictures(case, tmp_path):
    study = pw.compare_pooling(case.formula, case.data(), draws=60, chains=2, seed=1, progress=False)
    study.plot_estimates().savefig(tmp_path / "estimates.png")
    study.plot_lines()
    html = study._repr_html_()
    assert "<img src=x" not in html and "<svg onload" not in html
    assert study.coef()["estimate"].notna().all()


@pytest.mark.parametrize("name", list(cases_names.PRIOR_CALLS))
def test_wrong_priors(name):
    make, words = cases_names.PRIOR_CALLS[name]
    with pytest.raises(PoolwiseError) as caught:
        pw.Model(FORMULA, table(), **make())
    assert [word for word in words if word not in str(caught.value)] == []


def test_aliased_effects_are_added_to_their_common_effect():
    """A varying predictor called sigma: its coefficient of a group is common plus group-specific, as of any name."""
    plain = pw.Model("y ~ x + (x|g)", table()).fit_frequentist().coef()
    named = pw.Model("y ~ sigma + (sigma|g)", table().rename(columns={"x": "sigma"})).fit_frequentist().coef()
    assert named["term"].unique().tolist() == ["Intercept", "sigma_predictor"]
    np.testing.assert_allclose(named["estimate"], plain["estimate"], rtol=1e-6)


def test_a_variable_of_the_caller_is_never_data():
    z = np.arange(48.0)
    with pytest.raises(PoolwiseError, match="no column 'zz'"):
        pw.Model("y ~ zz + (1|g)", table().assign(z=z).rename(columns={"z": "other"}))


PREDICTED = {
    "a column missing": (lambda t: t.drop(columns="x"), "'x'"),
    "the factor missing": (lambda t: t.drop(columns="g"), "'g'"),
    "text": (lambda t: t.assign(x="a"), "held numbers"),
    "numbers as text": (lambda t: t.assign(x=t.x.map(str)), "held numbers"),
    "categories": (lambda t: t.assign(x=pd.Categorical(t.x)), "held numbers"),
    "NaN": (lambda t: t.assign(x=np.nan), "missing"),
    "infinity": (lambda t: t.assign(x=np.inf), "not finite"),
    "None": (lambda t: t.assign(x=None), "missing"),
    "no group": (lambda t: t.assign(g=None), "misses its value"),
    "columns twice": (lambda t: pd.concat([t, t[["x"]]], axis=1), "2 columns called 'x'"),
    "factors twice": (lambda t: pd.concat([t, t[["g"]]], axis=1), "2 columns called 'g'"),
    "header levels": (lambda t: pd.concat({"a": t}, axis=1), "header levels"),
    "a list": (lambda t: [1], "expected a table"),
    "complex": (lambda t: t.assign(x=1j), "held numbers"),
    "dates": (lambda t: t.assign(x=pd.Timestamp("2020")), "held numbers"),
    "beyond squares": (lambda t: t.assign(x=1e300), "beyond"),
    "lists as groups": (lambda t: t.assign(g=[[1]] * 48), "neither numbers nor text"),
    "dates as groups": (lambda t: t.assign(g=pd.Timestamp("2020")), "dates"),
    "an unseen level": (lambda t: t.assign(f="new"), "'new'"),
}


@pytest.fixture(scope="module")
def fits():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.ConvergenceWarning)
        model = pw.Model("y ~ x + f + (1|g)", table())
        return model.fit(**RUN), model.fit_frequentist(), pw.NoPoolingFit(model.design, model.design.factors[0])


@pytest.mark.parametrize("name", list(PREDICTED))
def test_predictions_of_hostile_tables(fits, name):
    change, words = PREDICTED[name]
    for fit in fits:
        with pytest.raises(PoolwiseError) as caught:
            fit.predict(change(table()))
        assert words in str(caught.value)


def test_predictions_of_no_rows_and_of_new_groups(fits):
    for fit in fits:
        assert len(fit.predict(table().iloc[:0])) == 0
    for fit in fits[:2]:
        assert (fit.predict(table().assign(g="zz"))["groups"] == "new").all()
        with pytest.raises(PoolwiseError, match="zz"):
            fit.predict(table().assign(g="zz"), groups="observed")


WRONG_RUNS = [
    {"draws": 0}, {"draws": 2.5}, {"draws": True}, {"draws": 10**15}, {"tune": 10**15}, {"chains": 0},
    {"chains": 10**9}, {"seed": -1}, {"seed": 1.5}, {"seed": "a"}, {"seed": 2**70}, {"cores": 0}, {"cores": "a"},
    {"form": "x"}, {"target_accept": 1.5}, {"target_accept": "a"},
]  # fmt: skip


@pytest.mark.parametrize("given", WRONG_RUNS, ids=str)
def test_wrong_runs(given):
    with pytest.raises(PoolwiseError, match="draws" if "tune" in given else next(iter(given))):
        pw.Model(FORMULA, table()).fit(**(RUN | given))


def test_a_run_without_warm_up_says_so():
    with pytest.warns(pw.ConvergenceWarning) as caught:
        fit = pw.Model(FORMULA, table()).fit(draws=400, tune=0, chains=2, seed=1, progress=False)
    assert any("tune=0 leaves no warm-up" in str(warning.message) for warning in caught)
    assert not fit.converged
